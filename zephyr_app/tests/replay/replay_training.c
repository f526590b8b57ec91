/* SPDX-License-Identifier: Apache-2.0 */
/* Golden cases of whole training runs and of model files: kinds 100 to 105 and 110. */
#include "replay_internal.h"

#include <fqt/train_step.h>
#include <fqt/zeroth_order.h>

#include <string.h>

/* ---- A training run from a case's first arrays ---- */

#define FIRST_ZEROTH_KIND 102u
#define FIRST_OPTIONS_KIND 104u

struct training {
    struct fqt_model model;
    struct fqt_network network;
    bool zeroth;                              /* without back-propagation */
    struct fqt_zeroth_trainer zeroth_trainer; /* with back-propagation its base alone */
    struct fqt_trainer *trainer;
    const uint8_t *samples;
    const int32_t *labels;
    uint32_t n_samples;
    uint32_t n_steps;
    uint32_t sample_size;
};

/* Takes what a run without back-propagation has beside the others; all zero if the case has none. */
static struct fqt_zeroth_config take_zeroth_config(struct replay_run *run) {
    const uint32_t *numbers = replay_take(run, REPLAY_U32, 7);
    if (numbers == NULL) {
        return (struct fqt_zeroth_config){0};
    }
    return (struct fqt_zeroth_config){
        .queries = numbers[0],
        .weight_step = numbers[1],
        .bias_step = numbers[2],
        .node_step = numbers[3],
        .antithetic = numbers[4] != 0,
        .first_node = numbers[5],
        .exact_last = numbers[6] != 0,
    };
}

/* Takes what a run with options has beside the others into the config; marks the run if the build leaves them out. */
static void take_options(struct replay_run *run, struct fqt_train_config *config) {
    const uint32_t *numbers = replay_take(run, REPLAY_U32, 2);
    const float *range_rate = replay_take(run, REPLAY_F32, 1);
    if (numbers == NULL || range_rate == NULL) {
        return;
    }
#if FQT_WITH_WEIGHT_RANGES
    config->weight_range = (enum fqt_weight_range)numbers[0];
    config->range_rate = range_rate[0];
#else
    run->malformed = run->malformed || numbers[0] != FQT_HYSTERESIS;
#endif
    config->stochastic_errors = (enum fqt_stochastic_errors)numbers[1]; /* init refuses what the build leaves out */
}

/* Opens the model and prepares training; marks the run if something is missing. Returns whether it may start. */
static bool set_up(struct replay_run *run, struct training *t) {
    uint32_t model_size = replay_count(run);
    const uint8_t *blob = replay_take(run, REPLAY_U8, model_size);
    const uint32_t *numbers = replay_take(run, REPLAY_U32, 7);
    const float *learning_rate = replay_take(run, REPLAY_F32, 1);
    if (!replay_ready(run) || fqt_model_open(&t->model, blob, model_size) != FQT_OK) {
        run->malformed = true;
        return false;
    }
    t->n_samples = numbers[5];
    t->n_steps = numbers[6];
    t->sample_size = (uint32_t)fqt_tensor_elements(&t->model.tensors[0]);
    t->samples = replay_take(run, REPLAY_U8, (uint64_t)t->n_samples * t->sample_size);
    t->labels = replay_take(run, REPLAY_I32, t->n_samples);
    t->zeroth = run->replay_case->kind >= FIRST_ZEROTH_KIND && run->replay_case->kind < FIRST_OPTIONS_KIND;
    struct fqt_zeroth_config zeroth = {0};
    if (t->zeroth) {
        zeroth = take_zeroth_config(run);
    }
    struct fqt_train_config config = {
        .batch_size = numbers[0],
        .learning_rate = learning_rate[0],
        .lambda_min = (int32_t)numbers[2],
        .lambda_max = (int32_t)numbers[3],
        .seed = numbers[1],
        .sparse_last = numbers[4] != 0,
    };
    if (run->replay_case->kind >= FIRST_OPTIONS_KIND) {
        take_options(run, &config);
    }
    size_t network_size = fqt_network_memory_size(&t->model, FQT_TRAINING);
    size_t trainer_size = t->zeroth ? fqt_zeroth_memory_size(&t->model, &zeroth) : fqt_trainer_memory_size(&t->model);
    void *network_memory = replay_room(run, network_size);
    void *trainer_memory = replay_room(run, trainer_size);
    if (!replay_ready(run)) {
        return false;
    }
    t->trainer = &t->zeroth_trainer.base;
    enum fqt_status status = FQT_ERROR_ARGUMENT;
    if (t->n_samples > 0) {
        status = fqt_network_init(&t->network, &t->model, FQT_TRAINING, network_memory, network_size);
    }
    if (status == FQT_OK && t->zeroth) {
        status = fqt_zeroth_init(&t->zeroth_trainer, &t->network, &config, &zeroth, trainer_memory, trainer_size);
    } else if (status == FQT_OK) {
        status = fqt_trainer_init(t->trainer, &t->network, &config, trainer_memory, trainer_size);
    }
    run->malformed = run->malformed || status != FQT_OK;
    return replay_ready(run);
}

/* Step i of a run, and the update where one follows; false if the library refuses it. */
static bool step(struct replay_run *run, struct training *t, uint32_t i, struct fqt_loss *loss) {
    uint32_t j = i % t->n_samples;
    const uint8_t *sample = t->samples + (size_t)j * t->sample_size;
    uint32_t label = (uint32_t)t->labels[j];
    enum fqt_status status = t->zeroth ? fqt_zeroth_step(&t->zeroth_trainer, sample, label, loss)
                                       : fqt_train_step(t->trainer, sample, label, loss);
    if (status == FQT_OK && i + 1 == t->n_steps) { /* the rest, if there is one */
        status = fqt_train_update(t->trainer);
    }
    run->malformed = run->malformed || status != FQT_OK;
    return replay_ready(run);
}

/* ---- 100, 102, 104: losses, predictions, and a checksum of the state after each update ---- */

static void trajectory(struct replay_run *run) {
    struct training t;
    if (!set_up(run, &t)) {
        return;
    }
    uint32_t loss_array = run->next_array;
    const uint32_t *expected = replay_take(run, REPLAY_U32, 2ull * t.n_steps);
    uint32_t batch_size = t.trainer->config.batch_size;
    uint32_t n_updates = t.n_steps / batch_size + (t.n_steps % batch_size != 0);
    const uint32_t *checksums = replay_take(run, REPLAY_U32, n_updates);
    if (!replay_ready(run)) {
        return;
    }
    struct replay_difference where = {.array = loss_array, .type = REPLAY_U32};
    struct replay_difference sum = {.array = loss_array + 1, .type = REPLAY_U32};
    for (uint32_t i = 0; i < t.n_steps; i++) {
        struct fqt_loss loss;
        if (!step(run, &t, i, &loss)) {
            return;
        }
        where.element = 2 * i;
        replay_compare(run, where, expected[2 * i], loss.loss);
        where.element = 2 * i + 1;
        replay_compare(run, where, expected[2 * i + 1], loss.prediction);
        if (t.trainer->samples == 0) {
            sum.element = t.trainer->step - 1;
            replay_compare(run, sum, checksums[sum.element], fqt_state_crc(t.trainer));
        }
    }
}

/* ---- 101, 105: every tensor of every step; 103: gradients and states ---- */

struct trace {
    struct replay_run *run;
    const struct fqt_model *model;
    const uint8_t *stream;
    uint32_t size;
    uint32_t at;
    uint32_t array;
    bool lost; /* the records no longer correspond: comparing further says nothing */
};

/* Type of a record's values. */
static enum replay_type type_of(const struct fqt_model *model, enum fqt_event kind, uint32_t index) {
    bool quantized_tensor = kind == FQT_EVENT_ERROR && model->tensors[index].type == FQT_U8;
    bool of_layer = kind == FQT_EVENT_OUTPUT || kind == FQT_EVENT_SELECTED_ERROR || kind == FQT_EVENT_WEIGHTS;
    bool quantized_layer = of_layer && fqt_layer_type(model, index) == FQT_U8;
    if (quantized_tensor || (quantized_layer && kind == FQT_EVENT_SELECTED_ERROR)) {
        return REPLAY_I8;
    }
    if (quantized_layer) {
        return REPLAY_U8;
    }
    return kind == FQT_EVENT_LOSS || kind == FQT_EVENT_COUNTERS ? REPLAY_U32 : REPLAY_F32;
}

/* Integer sums of quantized layers are told apart from float32 ones for the report only. */
static enum replay_type report_type(const struct fqt_model *model, enum fqt_event kind, uint32_t index) {
    bool sums = kind == FQT_EVENT_GRADIENT || kind == FQT_EVENT_BIAS_GRADIENT || kind == FQT_EVENT_BIAS;
    return sums && fqt_layer_type(model, index) == FQT_U8 ? REPLAY_I32 : type_of(model, kind, index);
}

static void observe(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    struct trace *trace = user;
    if (trace->lost) {
        return;
    }
    uint32_t header[3] = {kind, index, bytes};
    uint32_t expected_header[3] = {0, 0, 0};
    uint32_t left = trace->size - trace->at;
    if (left >= sizeof header) {
        memcpy(expected_header, trace->stream + trace->at, sizeof header);
    }
    struct replay_difference where = {.array = trace->array, .record_kind = kind, .record_index = index};
    where.type = REPLAY_U32;
    where.element = UINT32_MAX; /* the record's header, not one of its values */
    for (int i = 0; i < 3; i++) {
        replay_compare(trace->run, where, expected_header[i], header[i]);
    }
    trace->lost = memcmp(header, expected_header, sizeof header) != 0 || bytes > left - sizeof header;
    if (trace->lost) {
        return;
    }
    const uint8_t *expected = trace->stream + trace->at + sizeof header;
    enum replay_type type = report_type(trace->model, kind, index);
    uint32_t width = type == REPLAY_U8 || type == REPLAY_I8 ? 1 : 4;
    where.type = type;
    for (uint32_t i = 0; i < bytes / width; i++) {
        where.element = i;
        replay_compare(trace->run, where, replay_element(type, expected, i), replay_element(type, data, i));
    }
    trace->at += (uint32_t)sizeof header + (bytes + 3) / 4 * 4;
}

/* Inference sees what the next step's forward pass will: its prediction is the step's. Where its memory is left over.
 */
static void infer_and_step(struct replay_run *run, struct training *t, uint32_t i, void *arena, size_t arena_size) {
    struct replay_difference where = {.array = run->next_array - 1, .record_kind = FQT_EVENT_LOSS, .type = REPLAY_U32};
    const uint8_t *sample = t->samples + (size_t)(i % t->n_samples) * t->sample_size;
    uint32_t prediction;
    const void *logits;
    struct fqt_loss loss;
    enum fqt_status status =
        arena == NULL ? FQT_OK : fqt_infer(&t->network, arena, arena_size, sample, &prediction, &logits);
    run->malformed = run->malformed || status != FQT_OK;
    if (step(run, t, i, &loss) && arena != NULL) {
        where.element = i;
        replay_compare(run, where, loss.prediction, prediction);
    }
}

static void trace_run(struct replay_run *run) {
    struct training t;
    if (!set_up(run, &t)) {
        return;
    }
    size_t arena_size = fqt_inference_arena_size(&t.model);
    void *arena = arena_size + 16 <= run->work_left ? replay_room(run, arena_size) : NULL;
    uint32_t size = replay_count(run);
    const uint8_t *stream = replay_take(run, REPLAY_U8, size);
    if (!replay_ready(run)) {
        return;
    }
    struct trace trace = {run, &t.model, stream, size, 0, run->next_array - 1, false};
    fqt_trainer_observe(t.trainer, observe, &trace);
    for (uint32_t i = 0; i < t.n_steps && replay_ready(run); i++) {
        infer_and_step(run, &t, i, arena, arena_size);
    }
    struct replay_difference end = {.array = trace.array, .type = REPLAY_U32, .element = trace.at};
    replay_compare(run, end, size, trace.at);
}

/* ---- 110: what a model file is answered ---- */

static void model_error(struct replay_run *run) {
    uint32_t size = replay_count(run);
    const uint8_t *blob = replay_take(run, REPLAY_U8, size);
    if (replay_ready(run)) {
        struct fqt_model model;
        int32_t status = fqt_model_open(&model, blob, size);
        replay_check(run, &status);
    }
}

bool replay_training(struct replay_run *run) {
    switch (run->replay_case->kind) {
    case 100:
    case 102:
    case 104:
        trajectory(run);
        return true;
    case 101:
    case 103:
    case 105:
        trace_run(run);
        return true;
    case 110:
        model_error(run);
        return true;
    default:
        return false;
    }
}
