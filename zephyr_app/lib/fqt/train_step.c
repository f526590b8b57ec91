/* SPDX-License-Identifier: Apache-2.0 */
/* One sample through the network and back; the minibatch (SPEC.md section 7). A small machine that walks the table of
 * layers. */
#include "minibatch.h"
#include "operators/operator.h"

#include <fqt/arithmetic.h>
#include <fqt/config.h>
#include <fqt/ranges.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>
#include <fqt/train_step.h>

#include <string.h>

static fqt_gradient_function *const gradient_functions[] = {
#if FQT_WITH_CONV2D
    [FQT_CONV2D] = fqt_conv2d_layer_gradient,
#endif
#if FQT_WITH_LINEAR
    [FQT_LINEAR] = fqt_linear_layer_gradient,
#endif
#if FQT_WITH_DEPTHWISE_CONV2D
    [FQT_DEPTHWISE_CONV2D] = fqt_depthwise_conv2d_layer_gradient,
#endif
};

static fqt_backward_function *const backward_functions[] = {
#if FQT_WITH_CONV2D
    [FQT_CONV2D] = fqt_conv2d_layer_backward,
#endif
#if FQT_WITH_LINEAR
    [FQT_LINEAR] = fqt_linear_layer_backward,
#endif
#if FQT_WITH_MAX_POOL2D
    [FQT_MAX_POOL2D] = fqt_max_pool2d_layer_backward,
#endif
#if FQT_WITH_DEQUANTIZE
    [FQT_DEQUANTIZE] = fqt_dequantize_layer_backward,
#endif
#if FQT_WITH_DEPTHWISE_CONV2D
    [FQT_DEPTHWISE_CONV2D] = fqt_depthwise_conv2d_layer_backward,
#endif
#if FQT_WITH_AVG_POOL2D
    [FQT_AVG_POOL2D] = fqt_avg_pool2d_layer_backward,
#endif
#if FQT_WITH_ADD
    [FQT_ADD] = fqt_add_layer_backward,
#endif
#if FQT_WITH_HARD_SWISH
    [FQT_HARD_SWISH] = fqt_hard_swish_layer_backward,
#endif
};

/* NULL where the output has no range of its own; as long as there are operators. */
static fqt_unit_function *const unit_functions[FQT_HARD_SWISH + 1] = {
#if FQT_WITH_CONV2D
    [FQT_CONV2D] = fqt_weights_unit,
#endif
#if FQT_WITH_LINEAR
    [FQT_LINEAR] = fqt_weights_unit,
#endif
#if FQT_WITH_DEPTHWISE_CONV2D
    [FQT_DEPTHWISE_CONV2D] = fqt_weights_unit,
#endif
#if FQT_WITH_AVG_POOL2D
    [FQT_AVG_POOL2D] = fqt_avg_pool2d_unit,
#endif
#if FQT_WITH_ADD
    [FQT_ADD] = fqt_output_unit,
#endif
#if FQT_WITH_HARD_SWISH
    [FQT_HARD_SWISH] = fqt_output_unit,
#endif
};

/* ---- Questions about a layer ---- */

static const struct fqt_model *model_of(const struct fqt_trainer *trainer) {
    return &trainer->network->model;
}

static uint32_t n_layers_of(const struct fqt_trainer *trainer) {
    return model_of(trainer)->header->n_layers;
}

static bool trains(const struct fqt_model *model, uint32_t l) {
    return fqt_layer_trains(&model->layers[l]);
}

static bool is_quantized(const struct fqt_model *model, uint32_t l) {
    return !FQT_WITH_FLOAT32 || fqt_layer_type(model, l) == FQT_U8;
}

uint32_t fqt_layer_weight_count(const struct fqt_model *model, uint32_t l) {
    return fqt_layer_fan_in(model, l) * fqt_layer_outputs(model, l);
}

int32_t fqt_layer_positions(const struct fqt_model *model, uint32_t l) {
    return (int32_t)model->tensors[l + 1].h * model->tensors[l + 1].w;
}

static uint32_t last_weighted(const struct fqt_model *model) {
    uint32_t l = model->header->n_layers - 1;
    while (!fqt_layer_has_weights(&model->layers[l])) {
        l--; /* some layer is trained, so some has weights */
    }
    return l;
}

/* Whether the range of layer l's output follows what its sums have been. */
static bool adapts(const struct fqt_model *model, uint32_t l) {
    bool adaptive = (model->tensors[l + 1].flags & FQT_TENSOR_ADAPTIVE) != 0;
    return adaptive && unit_functions[model->layers[l].op] != NULL;
}

/* Whether errors that layers have sent to tensor t set its error scale. The logits' is fixed, and max pooling passes
 * its output's on. */
static bool error_scale_moves(const struct fqt_model *model, uint32_t t, bool is_pooled) {
    return fqt_tensor_carries_error(model, t) && model->tensors[t].type == FQT_U8 && t < model->header->n_layers &&
           !is_pooled;
}

static uint32_t n_extremes(const struct fqt_model *model, uint32_t l) {
    return fqt_layer_has_weights(&model->layers[l]) ? model->layers[l].grids : 1;
}

/* ---- Layout ---- */

static void *take_if(bool wanted, struct carve *carve, uint64_t bytes) {
    return wanted ? carve_take(carve, bytes) : NULL;
}

/* is_pooled: whether max pooling reads its output. */
static struct fqt_layer_sums take_sums(struct carve *carve, const struct fqt_model *model, uint32_t l, bool is_pooled) {
    bool trained = trains(model, l);
    uint64_t channels = 4ull * fqt_layer_outputs(model, l);
    struct fqt_layer_sums sums;
    sums.gradient = take_if(trained, carve, trained ? 4ull * fqt_layer_weight_count(model, l) : 0);
    sums.bias_gradient = take_if(trained, carve, channels);
    sums.chosen = take_if(trained, carve, channels);
    sums.extremes = take_if(adapts(model, l), carve, n_extremes(model, l) * sizeof *sums.extremes);
    sums.largest_error = take_if(error_scale_moves(model, l + 1, is_pooled), carve, sizeof *sums.largest_error);
#if FQT_WITH_WEIGHT_RANGES
    sums.ranges = take_if(trained && is_quantized(model, l), carve, model->layers[l].grids * sizeof *sums.ranges);
#endif
    return sums;
}

struct fqt_layer_sums fqt_sums_of(const struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_network *network = trainer->network;
    if (l < network->first) {
        return (struct fqt_layer_sums){0};
    }
    struct carve carve = {trainer->sums, trainer->places[l - network->first]};
    bool is_pooled = fqt_place_of(network, l + 1)->error_scale != l + 1;
    return take_sums(&carve, &network->model, l, is_pooled);
}

/* Takes the sums of all layers, from the first trained one on; places: where to put each one's, or NULL. */
static uint8_t *take_all_sums(struct carve *carve, const struct fqt_model *model, uint32_t *places) {
    uint32_t first = fqt_first_trained(model);
    uint8_t *sums = carve_take(carve, 0);
    uint64_t start = carve->used;
    for (uint32_t l = first; l < model->header->n_layers; l++) {
        if (places != NULL) {
            places[l - first] = (uint32_t)(carve->used - start); /* the size was checked before */
        }
        take_sums(carve, model, l, fqt_tensor_is_pooled(model, l + 1));
    }
    return sums;
}

void fqt_place_minibatch(struct carve *carve, const struct fqt_model *model, struct fqt_trainer *trainer) {
    uint32_t layers = model->header->n_layers - fqt_first_trained(model);
    trainer->places = carve_take(carve, layers * sizeof *trainer->places);
    trainer->sums = take_all_sums(carve, model, trainer->places);
    trainer->next = carve_take(carve, fqt_version_size(model));
}

/* Of a forward pass; of the selection, which needs a norm a channel and leaves a list of half that; of the way back,
 * which needs a factor a grid behind the list. */
static uint64_t scratch_size(const struct fqt_model *model) {
    uint64_t largest = fqt_forward_scratch_size(model); /* 4 bytes a channel and grid: more than list and factors */
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        uint64_t norms = trains(model, l) ? 4ull * fqt_layer_outputs(model, l) : 0;
        largest = norms > largest ? norms : largest;
    }
    return largest;
}

/* Places all pieces of a trainer. */
static void place(struct carve *carve, const struct fqt_model *model, struct fqt_trainer *trainer) {
    trainer->arena = carve_take(carve, model->header->training_arena);
    fqt_place_minibatch(carve, model, trainer);
    trainer->scratch = carve_take(carve, scratch_size(model));
}

size_t fqt_trainer_memory_size(const struct fqt_model *model) {
    struct carve carve = {NULL, 0};
    struct fqt_trainer trainer;
    place(&carve, model, &trainer);
    return carve_size(&carve);
}

/* What a commit copies: each trained layer's parameters from their gradients' place, and the small part. */
static void copy_version(void *user) {
    const struct fqt_trainer *trainer = user;
    const struct fqt_network *network = trainer->network;
    const struct fqt_model *model = &network->model;
    for (uint32_t l = network->first; l < model->header->n_layers; l++) {
        if (trains(model, l)) {
            const struct fqt_layer_record *layer = &model->layers[l];
            struct fqt_layer_sums sums = fqt_sums_of(trainer, l);
            const void *staged = sums.gradient;
            if (is_quantized(model, l)) {
                staged = fqt_staged_weights(staged, (int32_t)layer->weight_bytes);
            }
            memcpy((void *)fqt_layer_weights(network, l), staged, layer->weight_bytes);
            memcpy((void *)fqt_layer_bias(network, l), sums.bias_gradient, layer->bias_bytes);
        }
    }
    memcpy(network->live, trainer->next, (size_t)fqt_version_size(model));
}

/* ---- Init ---- */

int32_t fqt_lambda_q12(float lambda) {
    return fqt_fround(lambda * 4096.0f, 0, FQT_RATE_ONE);
}

#if FQT_WITH_STOCHASTIC_ERRORS
#define LAST_STOCHASTIC_ERRORS FQT_STOCHASTIC_ALL
#else
#define LAST_STOCHASTIC_ERRORS FQT_STOCHASTIC_NONE
#endif

static bool config_is_valid(const struct fqt_train_config *config) {
    return config->batch_size >= 1 && config->batch_size <= FQT_MAX_GRADIENTS && config->learning_rate >= 0.0f &&
           config->learning_rate <= 3.402823466e38f && config->lambda_min >= 0 &&
           config->lambda_min <= config->lambda_max && config->lambda_max <= FQT_RATE_ONE;
}

static bool options_are_valid(const struct fqt_train_config *config) {
    if (config->stochastic_errors > LAST_STOCHASTIC_ERRORS) {
        return false;
    }
#if FQT_WITH_WEIGHT_RANGES
    bool averages = config->weight_range == FQT_MOVING_AVERAGE;
    return config->weight_range <= FQT_LITERAL &&
           (!averages || (config->range_rate > 0.0f && config->range_rate <= 1.0f));
#else
    (void)config;
    return true;
#endif
}

/* Whether the integer sums of a minibatch fit (SPEC.md section 9). */
static bool gradients_fit(const struct fqt_model *model, uint32_t batch_size) {
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        uint64_t positions = (uint64_t)model->tensors[l + 1].h * model->tensors[l + 1].w;
        if (trains(model, l) && is_quantized(model, l) && positions * batch_size > FQT_MAX_GRADIENTS) {
            return false;
        }
    }
    return true;
}

/* Zeroes the sums and trackers of the minibatch. Quantized gradients start with the residuals of their weights. */
static void clear_minibatch(struct fqt_trainer *trainer) {
    const struct fqt_model *model = model_of(trainer);
    for (uint32_t l = trainer->network->first; l < n_layers_of(trainer); l++) {
        struct fqt_layer_sums sums = fqt_sums_of(trainer, l);
        for (uint32_t i = 0; sums.extremes != NULL && i < n_extremes(model, l); i++) {
            sums.extremes[i] = (struct fqt_extremes){INT32_MAX, INT32_MIN};
        }
        if (sums.largest_error != NULL) {
            *sums.largest_error = 0.0f;
        }
        if (trains(model, l)) {
            size_t channels = fqt_layer_outputs(model, l);
            memset(sums.bias_gradient, 0, channels * 4);
            memset(sums.chosen, 0, channels * sizeof *sums.chosen);
            if (!is_quantized(model, l)) {
                memset(sums.gradient, 0, (size_t)fqt_layer_weight_count(model, l) * 4);
            }
        }
    }
    trainer->samples = 0;
}

enum fqt_status fqt_trainer_check(const struct fqt_network *network, const struct fqt_train_config *config) {
    if (network->mode != FQT_TRAINING || !config_is_valid(config) || !options_are_valid(config)) {
        return FQT_ERROR_ARGUMENT;
    }
    return fqt_model_trains(&network->model) ? FQT_OK : FQT_ERROR_NOT_TRAINABLE;
}

void fqt_trainer_clear(struct fqt_trainer *trainer, struct fqt_network *network,
                       const struct fqt_train_config *config) {
    memset(trainer, 0, sizeof *trainer);
    trainer->network = network;
    trainer->config = *config;
    trainer->units = fqt_error_gradient_units;
    trainer->last_weighted = last_weighted(&network->model);
}

#if FQT_WITH_WEIGHT_RANGES
/* Moving averages start at the ranges of the grids. */
static void begin_ranges(struct fqt_trainer *trainer) {
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        struct fqt_grid_range *ranges = fqt_sums_of(trainer, l).ranges;
        if (ranges == NULL) {
            continue;
        }
        struct fqt_grids grids = fqt_layer_grids(trainer->network, l);
        for (uint32_t i = 0; i < model_of(trainer)->layers[l].grids; i++) {
            ranges[i].lo = (float)-grids.zero[i] * grids.scale[i];
            ranges[i].hi = (float)(255 - grids.zero[i]) * grids.scale[i];
        }
    }
}
#endif

void fqt_trainer_begin(struct fqt_trainer *trainer) {
    trainer->network->copy_version = copy_version;
    trainer->network->trainer = trainer;
    memset(trainer->sums, 0, (size_t)(trainer->next - trainer->sums)); /* no residuals yet */
    clear_minibatch(trainer);
#if FQT_WITH_WEIGHT_RANGES
    begin_ranges(trainer);
#endif
}

enum fqt_status fqt_trainer_init(struct fqt_trainer *trainer, struct fqt_network *network,
                                 const struct fqt_train_config *config, void *memory, size_t size) {
    if (trainer == NULL || network == NULL || config == NULL || memory == NULL || (uintptr_t)memory % 4 != 0) {
        return FQT_ERROR_ARGUMENT;
    }
    enum fqt_status status = fqt_trainer_check(network, config);
    if (status != FQT_OK) {
        return status;
    }
    const struct fqt_model *model = &network->model;
    if (!gradients_fit(model, config->batch_size)) {
        return FQT_ERROR_BOUND;
    }
    if (size < fqt_trainer_memory_size(model)) {
        return FQT_ERROR_MEMORY;
    }
    fqt_trainer_clear(trainer, network, config);
    struct carve carve = {memory, 0};
    place(&carve, model, trainer);
    fqt_trainer_begin(trainer);
    return FQT_OK;
}

/* ---- Observation and state ---- */

void fqt_trainer_observe(struct fqt_trainer *trainer, fqt_observer *observe, void *user) {
    trainer->observe = observe;
    trainer->observe_user = user;
}

void fqt_trainer_tell(const struct fqt_trainer *trainer, enum fqt_event kind, uint32_t index, const void *data,
                      uint64_t bytes) {
    if (trainer->observe != NULL) {
        trainer->observe(trainer->observe_user, kind, index, data, (uint32_t)bytes);
    }
}

static void visit_layer(const struct fqt_trainer *trainer, uint32_t l, fqt_observer *visit, void *user) {
    const struct fqt_network *network = trainer->network;
    const struct fqt_layer_record *layer = &network->model.layers[l];
    visit(user, FQT_EVENT_WEIGHTS, l, fqt_layer_weights(network, l), layer->weight_bytes);
    visit(user, FQT_EVENT_BIAS, l, fqt_layer_bias(network, l), layer->bias_bytes);
    if (is_quantized(&network->model, l)) {
        visit(user, FQT_EVENT_WEIGHT_GRID, l, fqt_layer_grids(network, l).scale, 8u * layer->grids);
    }
    if (trains(&network->model, l) && is_quantized(&network->model, l)) {
        visit(user, FQT_EVENT_RESIDUALS, l, fqt_sums_of(trainer, l).gradient,
              fqt_layer_weight_count(&network->model, l) * 4);
#if FQT_WITH_WEIGHT_RANGES
        if (trainer->config.weight_range == FQT_MOVING_AVERAGE) {
            visit(user, FQT_EVENT_WEIGHT_RANGES, l, fqt_sums_of(trainer, l).ranges, 8u * layer->grids);
        }
#endif
    }
}

/* The state in the order of SPEC.md section 11. */
static void walk_state(const struct fqt_trainer *trainer, fqt_observer *visit, void *user) {
    const struct fqt_model *model = model_of(trainer);
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (fqt_layer_has_weights(&model->layers[l])) {
            visit_layer(trainer, l, visit, user);
        }
    }
    for (uint32_t t = 0; t < model->header->n_tensors; t++) {
        struct fqt_tensor_values values = fqt_values_of(trainer->network, t);
        visit(user, FQT_EVENT_TENSOR, t, &values, sizeof values);
    }
    uint32_t counters[2] = {trainer->loss_max, trainer->step};
    visit(user, FQT_EVENT_COUNTERS, 0, counters, sizeof counters);
}

void fqt_trainer_visit(const struct fqt_trainer *trainer, fqt_observer *visit, void *user) {
    walk_state(trainer, visit, user);
}

static void add_to_crc(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    (void)kind;
    (void)index;
    uint32_t *crc = user;
    *crc = fqt_crc32(*crc, data, bytes);
}

uint32_t fqt_state_crc(const struct fqt_trainer *trainer) {
    uint32_t crc = 0;
    walk_state(trainer, add_to_crc, &crc);
    return crc;
}

/* ---- One sample ---- */

static void *feature_at(const struct fqt_trainer *trainer, uint32_t t) {
    return t == 0 ? (void *)trainer->sample : trainer->arena + model_of(trainer)->tensors[t].feature_offset;
}

static void *error_at(const struct fqt_trainer *trainer, uint32_t t) {
    return trainer->arena + model_of(trainer)->tensors[t].error_offset;
}

static void forward(struct fqt_trainer *trainer) {
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        const struct fqt_layer_record *layer = &model_of(trainer)->layers[l];
        void *y = feature_at(trainer, l + 1);
        fqt_forward_layer(trainer->network, l, feature_at(trainer, layer->input), feature_at(trainer, layer->input2), y,
                          trainer->scratch, fqt_sums_of(trainer, l).extremes);
        fqt_trainer_tell(trainer, FQT_EVENT_OUTPUT, l, y, fqt_tensor_bytes(model_of(trainer), l + 1));
    }
}

/* Of a stream of random words of this sample (SPEC.md 16.2). */
static uint32_t sample_key(const struct fqt_trainer *trainer, uint32_t stream) {
    const struct fqt_train_config *config = &trainer->config;
    return fqt_random_key(config->seed, trainer->step * config->batch_size + trainer->samples, stream);
}

struct fqt_loss fqt_loss_of_logits(const struct fqt_trainer *trainer, uint32_t label, const void *logits, void *error) {
    uint32_t last = n_layers_of(trainer);
    int32_t classes = (int32_t)fqt_model_classes(model_of(trainer));
    if (!is_quantized(model_of(trainer), last - 1)) {
        return fqt_softmax_cross_entropy_f32(classes, (int32_t)label, logits, error);
    }
    float scale = fqt_tensor_grid(trainer->network, last).scale;
    uint32_t key = sample_key(trainer, FQT_STREAM_LOSS);
    bool half_up = trainer->config.stochastic_errors == FQT_STOCHASTIC_NONE;
    return fqt_softmax_cross_entropy_u8(classes, (int32_t)label, scale, half_up ? NULL : &key, logits, error);
}

/* Loss and prediction; writes the error at the logits (SPEC.md 4.7). */
static struct fqt_loss loss_and_error(struct fqt_trainer *trainer, uint32_t label) {
    const struct fqt_model *model = model_of(trainer);
    uint32_t last = n_layers_of(trainer);
    void *error = error_at(trainer, last);
    struct fqt_loss loss = fqt_loss_of_logits(trainer, label, feature_at(trainer, last), error);
    trainer->loss_max = loss.loss > trainer->loss_max ? loss.loss : trainer->loss_max;
    fqt_trainer_tell(trainer, FQT_EVENT_LOSS, 0, &loss, sizeof loss);
    fqt_trainer_tell(trainer, FQT_EVENT_ERROR, last, error, fqt_tensor_bytes(model, last));
    return loss;
}

int32_t fqt_layer_kept_channels(const struct fqt_trainer *trainer, uint32_t l, int32_t rate) {
    const struct fqt_model *model = model_of(trainer);
    int32_t channels = (int32_t)fqt_layer_outputs(model, l);
    bool exempt = l == trainer->last_weighted && !trainer->config.sparse_last;
    return exempt ? channels : fqt_kept_channels(rate, channels);
}

/* Sparse selection at the output of a trained layer (SPEC.md section 5). Returns whether the error has only the
 * channels of *kept afterwards, together; no other layer reads it (section 14). float32 layers set errors to 0. */
static bool select_channels(struct fqt_trainer *trainer, uint32_t l, int32_t rate, struct fqt_channels *kept) {
    const struct fqt_model *model = model_of(trainer);
    int32_t channels = (int32_t)fqt_layer_outputs(model, l);
    int32_t positions = fqt_layer_positions(model, l);
    int32_t *chosen = fqt_sums_of(trainer, l).chosen;
    int32_t k = fqt_layer_kept_channels(trainer, l, rate);
    if (k >= channels) {
        for (int32_t co = 0; co < channels; co++) {
            chosen[co]++;
        }
        return false;
    }
    void *error = error_at(trainer, l + 1);
    uint64_t bytes = fqt_tensor_bytes(model, l + 1);
    if (!is_quantized(model, l)) {
        fqt_sparse_select_f32(trainer->scratch, positions, channels, k, error, chosen);
        fqt_trainer_tell(trainer, FQT_EVENT_SELECTED_ERROR, l, error, bytes);
        return false;
    }
    *kept = fqt_sparse_select_u8(trainer->scratch, positions, channels, k, error, chosen);
    if (trainer->observe != NULL) {
        fqt_sparse_zero_u8(positions, channels, kept, error);
        fqt_trainer_tell(trainer, FQT_EVENT_SELECTED_ERROR, l, error, bytes);
    }
    fqt_sparse_compact_u8(positions, channels, kept, error);
    return true;
}

/* Low bits of layer l's gradient that the residuals take, where errors make it. */
static int32_t fraction_bits_of_errors(const struct fqt_trainer *trainer, uint32_t l) {
    return fqt_fraction_bits(fqt_layer_positions(model_of(trainer), l), (int32_t)trainer->config.batch_size);
}

struct fqt_gradient_units fqt_error_gradient_units(const struct fqt_trainer *trainer, uint32_t l) {
    return (struct fqt_gradient_units){
        .fraction_bits = fraction_bits_of_errors(trainer, l),
        .bias_scale = fqt_tensor_error_scale(trainer->network, l + 1),
    };
}

void fqt_add_gradient(const struct fqt_trainer *trainer, uint32_t l, const void *e, const void *x,
                      const struct fqt_channels *kept) {
    const struct fqt_model *model = model_of(trainer);
    struct fqt_layer_sums sums = fqt_sums_of(trainer, l);
    struct fqt_gradient_pass pass = {
        .network = trainer->network,
        .l = l,
        .e = e,
        .kept = kept,
        .x = x,
        .fraction_bits = is_quantized(model, l) ? fraction_bits_of_errors(trainer, l) : 0,
        .gradient = sums.gradient,
        .bias_gradient = sums.bias_gradient,
    };
    gradient_functions[model->layers[l].op](&pass);
}

void fqt_tell_gradients(const struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    struct fqt_layer_sums sums = fqt_sums_of(trainer, l);
    fqt_trainer_tell(trainer, FQT_EVENT_GRADIENT, l, sums.gradient, (uint64_t)fqt_layer_weight_count(model, l) * 4);
    fqt_trainer_tell(trainer, FQT_EVENT_BIAS_GRADIENT, l, sums.bias_gradient,
                     (uint64_t)fqt_layer_outputs(model, l) * 4);
}

#if FQT_WITH_STOCHASTIC_ERRORS
/* Of the random words that this sample's error is rounded by, which layer l sends to tensor t (SPEC.md 16.2). */
static uint32_t error_key(const struct fqt_trainer *trainer, uint32_t l, uint32_t t) {
    uint32_t operand = t == model_of(trainer)->layers[l].input ? 0 : 1;
    return sample_key(trainer, FQT_STREAM_ERRORS + 2 * l + operand);
}
#endif

/* The error that layer l sends to tensor t, one of its inputs, if that carries one. */
static void backward_input(struct fqt_trainer *trainer, uint32_t l, uint32_t t, const struct fqt_channels *kept) {
    const struct fqt_model *model = model_of(trainer);
    if (!fqt_tensor_carries_error(model, t)) {
        return;
    }
    uint32_t list_words = kept == NULL ? 0 : (uint32_t)(kept->count + 1) / 2;
    struct fqt_backward_pass pass = {
        .network = trainer->network,
        .l = l,
        .input = t,
        .e = error_at(trainer, l + 1),
        .kept = kept,
        .x = feature_at(trainer, t),
        .dx = error_at(trainer, t),
        .scratch = (uint32_t *)trainer->scratch + list_words,
        .accumulate = l != fqt_place_of(trainer->network, t)->last_reader,
    };
#if FQT_WITH_STOCHASTIC_ERRORS
    uint32_t key;
    if (trainer->config.stochastic_errors == FQT_STOCHASTIC_ALL) {
        key = error_key(trainer, l, t);
        pass.key = &key;
    }
#endif
    float range = backward_functions[model->layers[l].op](&pass);
    float *largest = fqt_sums_of(trainer, t - 1).largest_error;
    if (largest != NULL && range > *largest) {
        *largest = range;
    }
    fqt_trainer_tell(trainer, FQT_EVENT_ERROR, t, pass.dx, fqt_tensor_bytes(model, t));
}

static void backward(struct fqt_trainer *trainer, uint32_t loss) {
    const struct fqt_train_config *config = &trainer->config;
    int32_t rate = fqt_update_rate(loss, trainer->loss_max, config->lambda_min, config->lambda_max);
    const struct fqt_model *model = model_of(trainer);
    for (uint32_t l = n_layers_of(trainer); l-- > trainer->network->first;) {
        const struct fqt_layer_record *layer = &model->layers[l];
        if (!fqt_tensor_carries_error(model, l + 1)) {
            continue;
        }
        struct fqt_channels list;
        const struct fqt_channels *kept = NULL; /* all */
        if (trains(model, l)) {
            kept = select_channels(trainer, l, rate, &list) ? &list : NULL;
            fqt_add_gradient(trainer, l, error_at(trainer, l + 1), feature_at(trainer, layer->input), kept);
            fqt_tell_gradients(trainer, l);
        }
        backward_input(trainer, l, layer->input, kept);
        if (layer->op == FQT_ADD) {
            backward_input(trainer, l, layer->input2, kept);
        }
    }
}

enum fqt_status fqt_sample_check(const struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label) {
    if (trainer == NULL || sample == NULL) {
        return FQT_ERROR_ARGUMENT;
    }
    if (label >= fqt_model_classes(model_of(trainer))) {
        return FQT_ERROR_LABEL;
    }
    return trainer->samples < trainer->config.batch_size ? FQT_OK : FQT_ERROR_BOUND;
}

enum fqt_status fqt_train_sample(struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label,
                                 struct fqt_loss *result) {
    enum fqt_status status = fqt_sample_check(trainer, sample, label);
    if (status != FQT_OK) {
        return status;
    }
    trainer->sample = sample;
    forward(trainer);
    struct fqt_loss loss = loss_and_error(trainer, label);
    backward(trainer, loss.loss);
    trainer->samples++;
    if (result != NULL) {
        *result = loss;
    }
    return FQT_OK;
}

/* ---- The end of a minibatch ---- */

/* Eq. 5-8: layer l's new parameters over its gradients, its new grids into the next version. */
static void update_parameters(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_network *network = trainer->network;
    const struct fqt_model *model = &network->model;
    const void *weights = fqt_layer_weights(network, l);
    const void *bias = fqt_layer_bias(network, l);
    struct fqt_layer_sums sums = fqt_sums_of(trainer, l);
    struct fqt_update u = {
        .outputs = (int32_t)fqt_layer_outputs(model, l),
        .fan_in = (int32_t)fqt_layer_fan_in(model, l),
        .batch = (int32_t)trainer->samples,
        .learning_rate = trainer->config.learning_rate,
        .key = fqt_random_key(trainer->config.seed, trainer->step, l),
    };
    if (is_quantized(model, l)) {
        struct fqt_gradient_units units = trainer->units(trainer, l);
        u.fraction_bits = units.fraction_bits;
#if FQT_WITH_WEIGHT_RANGES
        u.weight_range = trainer->config.weight_range;
        u.range_rate = trainer->config.range_rate;
        u.ranges = sums.ranges;
#endif
        int32_t grids = model->layers[l].grids;
        float *scale = fqt_stored_grids(network, trainer->next, l);
        int32_t *zero = (int32_t *)(void *)(scale + grids);
        fqt_update_weights_u8(&u, grids, scale, zero, weights, sums.gradient, sums.chosen);
        fqt_update_bias_u8(&u, units.bias_scale, bias, sums.bias_gradient);
    } else {
        fqt_update_weights_f32(&u, weights, sums.gradient, sums.chosen);
        fqt_update_bias_f32(&u, bias, sums.bias_gradient);
    }
}

/* The error scale at the output of layer l (SPEC.md section 8). Reads the live version, writes the next. */
static void move_error_scale(struct fqt_trainer *trainer, uint32_t l) {
    const float *largest = fqt_sums_of(trainer, l).largest_error;
    if (largest != NULL) {
        float old = fqt_values_of(trainer->network, l + 1).error_scale;
        struct fqt_tensor_values *next = fqt_stored_values(trainer->network, trainer->next, l + 1);
        next->error_scale = fqt_update_error_scale(old, *largest);
    }
}

/* The range of layer l's output (SPEC.md section 8). Reads the live version, writes the next. */
static void move_range(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    const struct fqt_extremes *extremes = fqt_sums_of(trainer, l).extremes;
    if (extremes == NULL) {
        return;
    }
    float lo = 0.0f;
    float hi = 0.0f; /* the range holds 0 in any case */
    for (uint32_t i = 0; i < n_extremes(model, l); i++) {
        float unit = unit_functions[model->layers[l].op](trainer->network, l, i);
        float lo_grid = (float)extremes[i].least * unit;
        float hi_grid = (float)extremes[i].greatest * unit;
        lo = lo_grid < lo ? lo_grid : lo;
        hi = hi_grid > hi ? hi_grid : hi;
    }
    struct fqt_tensor_values old = fqt_values_of(trainer->network, l + 1);
    struct fqt_range range = {old.lo, old.hi, {old.scale, old.zero}};
    range = fqt_update_range(range, fqt_tensor_activation(model, l + 1), lo, hi);
    struct fqt_tensor_values *next = fqt_stored_values(trainer->network, trainer->next, l + 1);
    next->lo = range.lo;
    next->hi = range.hi;
    next->scale = range.grid.scale;
    next->zero = range.grid.zero;
}

/* The staged weights are live now; what rounding left of them starts the next minibatch's gradients. */
static void restore_residuals(struct fqt_trainer *trainer) {
    const struct fqt_model *model = model_of(trainer);
    for (uint32_t l = trainer->network->first; l < n_layers_of(trainer); l++) {
        if (trains(model, l) && is_quantized(model, l)) {
            fqt_restore_residuals(fqt_sums_of(trainer, l).gradient, (int32_t)fqt_layer_weight_count(model, l));
        }
    }
}

enum fqt_status fqt_train_update(struct fqt_trainer *trainer) {
    if (trainer == NULL) {
        return FQT_ERROR_ARGUMENT;
    }
    if (trainer->samples == 0) {
        return FQT_OK;
    }
    struct fqt_network *network = trainer->network;
    memcpy(trainer->next, network->live, (size_t)fqt_version_size(&network->model));
    for (uint32_t l = network->first; l < n_layers_of(trainer); l++) {
        if (trains(&network->model, l)) {
            update_parameters(trainer, l);
        }
        move_error_scale(trainer, l);
        move_range(trainer, l);
    }
    fqt_commit(network);
    restore_residuals(trainer);
    clear_minibatch(trainer);
    trainer->step++;
    if (trainer->observe != NULL) {
        walk_state(trainer, trainer->observe, trainer->observe_user);
    }
    return FQT_OK;
}

enum fqt_status fqt_train_step(struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label,
                               struct fqt_loss *result) {
    enum fqt_status status = fqt_train_sample(trainer, sample, label, result);
    if (status != FQT_OK || trainer->samples < trainer->config.batch_size) {
        return status;
    }
    return fqt_train_update(trainer);
}
