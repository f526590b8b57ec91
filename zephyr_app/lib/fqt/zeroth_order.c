/* SPDX-License-Identifier: Apache-2.0 */
/* Training without back-propagation: gradients of quantized layers from differences of losses (SPEC.md section 17). */
#include "minibatch.h"
#include "operators/quantization.h"

#include <fqt/arithmetic.h>
#include <fqt/config.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>
#include <fqt/zeroth_order.h>

#include <string.h>

#define LARGEST_DIFFERENCE (127 * 255) /* of losses, Q16: a query has the bound of an error times an input */
#define MAX_STEP 127u
#define BLOCK 32u /* signs in a random word */

/* How a layer's gradient is found. */
enum method { BY_WEIGHTS, BY_NODES, EXACTLY };

static enum method method_of(const struct fqt_model *model, const struct fqt_zeroth_config *config, uint32_t l) {
    if (config->exact_last && l == model->header->n_layers - 1) {
        return EXACTLY;
    }
    return l >= config->first_node ? BY_NODES : BY_WEIGHTS;
}

static const struct fqt_model *model_of(const struct fqt_zeroth_trainer *trainer) {
    return &trainer->base.network->model;
}

/* The first trained layer from l on; the number of layers if there is none. */
static uint32_t next_trained(const struct fqt_model *model, uint32_t l) {
    while (l < model->header->n_layers && !fqt_layer_trains(&model->layers[l])) {
        l++;
    }
    return l;
}

/* ---- Signs, channels, units (SPEC.md 17.2) ---- */

/* u of one query; a random word holds 32 signs. */
struct signs {
    uint32_t key, block, word;
};

static struct signs signs_of(uint32_t key) {
    return (struct signs){key, UINT32_MAX, 0};
}

static inline bool is_positive(struct signs *signs, uint32_t i) {
    if (i / BLOCK != signs->block) {
        signs->block = i / BLOCK;
        signs->word = fqt_random_word(signs->key, signs->block);
    }
    return (signs->word >> (i % BLOCK)) & 1;
}

/* u(i) v. */
static inline int32_t signed_by(struct signs *signs, uint32_t i, int32_t v) {
    return is_positive(signs, i) ? v : -v;
}

/* The channels that a sample trains: k neighbours. */
struct block {
    uint32_t first, k, channels;
};

static inline bool keeps(const struct block *block, uint32_t co) {
    uint32_t behind = co >= block->first ? co - block->first : co + block->channels - block->first;
    return behind < block->k;
}

static float estimate_unit(const struct fqt_zeroth_config *config, uint32_t step, float scale) {
    if (step == 0) {
        return 0.0f;
    }
    float span = (float)(config->antithetic ? 2 * step : step);
    return (1.0f / (span * ((float)config->queries * 65536.0f))) / scale;
}

/* How layer l's sums count. */
static struct fqt_gradient_units units_of(const struct fqt_trainer *base, uint32_t l) {
    const struct fqt_zeroth_trainer *trainer = (const struct fqt_zeroth_trainer *)base; /* its first member */
    const struct fqt_zeroth_config *config = &trainer->config;
    if (method_of(model_of(trainer), config, l) != BY_WEIGHTS) {
        return fqt_error_gradient_units(base, l);
    }
    float scale = fqt_tensor_grid(base->network, l + 1).scale;
    return (struct fqt_gradient_units){
        .fraction_bits = fqt_fraction_bits((int32_t)config->queries, (int32_t)base->config.batch_size),
        .bias_scale = estimate_unit(config, config->bias_step, scale),
    };
}

/* ---- Where feature maps lie ----
 * A layer starts again and again from the same inputs, so these stay where they are, and what lies behind is placed
 * anew: each output at the lowest place that is free. No plan of the file says that, and no copy is needed. */

/* Places in the arena. Tensor 0 is the caller's: its entry is the place of the unperturbed outputs of a layer that is
 * estimated by nodes. */
struct layout {
    const struct fqt_model *model;
    const uint8_t *readers; /* [tensors]: the last one of each */
    uint32_t *offsets;      /* [tensors] */
    uint64_t size;          /* of the arena so far */
    uint32_t kept, behind;  /* of the stage: nothing lives below the first one, nor between its start and the second */
};

/* The number of layers for a tensor that none reads. */
static void find_last_readers(const struct fqt_model *model, uint8_t *readers) {
    uint32_t n = model->header->n_layers;
    for (uint32_t l = 0; l < n; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        readers[layer->input] = (uint8_t)l;
        if (layer->op == FQT_ADD) {
            readers[layer->input2] = (uint8_t)l;
        }
    }
    readers[n] = (uint8_t)n;
}

/* A layer that starts again: 0 before the first trained one. */
struct stage {
    uint32_t start;
    bool by_nodes;
};

static uint64_t place_bytes(const struct layout *layout, struct stage stage, uint32_t t) {
    return (fqt_tensor_bytes(layout->model, t == 0 ? stage.start + 1 : t) + 3) / 4 * 4;
}

/* Whether tensor u, placed before, is needed by layer l or behind it. */
static bool lives(const struct layout *layout, struct stage stage, uint32_t u, uint32_t l) {
    if (u == 0) {
        return stage.by_nodes;
    }
    return layout->readers[u] >= (u <= stage.start ? stage.start : l);
}

/* Whether tensor t may be written over u, which its layer reads last (SPEC.md section 14). */
static bool may_be_in_place(const struct layout *layout, struct stage stage, uint32_t u, uint32_t t) {
    const struct fqt_model *model = layout->model;
    if (u <= stage.start || t == 0 || layout->readers[u] != t - 1) {
        return false;
    }
    enum fqt_op op = (enum fqt_op)model->layers[t - 1].op;
    return (op == FQT_ADD || op == FQT_HARD_SWISH) && fqt_tensor_bytes(model, u) == fqt_tensor_bytes(model, t);
}

/* Where tensor t may begin at the lowest because of u; `at` if that is no obstacle. */
static uint64_t past(const struct layout *layout, struct stage stage, uint32_t u, uint32_t t, uint64_t at) {
    uint64_t first = layout->offsets[u];
    uint64_t end = first + place_bytes(layout, stage, u);
    if (at >= end || at + place_bytes(layout, stage, t) <= first) {
        return at;
    }
    bool in_place = may_be_in_place(layout, stage, u, t);
    return in_place && at <= first ? first : end;
}

/* The next one from tensor u on that lives at layer l. A chain of many layers has few, so most are passed over. */
static uint32_t next_alive(const struct layout *layout, struct stage stage, uint32_t u, uint32_t l) {
    while (u <= l && !lives(layout, stage, u, l)) {
        u++;
        u = u < layout->kept ? layout->kept : u;
        u = u > stage.start && u < layout->behind ? layout->behind : u;
    }
    return u;
}

/* Places tensor t, or the copy of the stage's outputs. */
static void place_tensor(struct layout *layout, struct stage stage, uint32_t t) {
    uint32_t l = t == 0 ? stage.start : t - 1; /* tensors up to this one have a place */
    uint32_t first = t == 0 ? 1 : 0;
    uint64_t at = 0;
    for (uint32_t u = next_alive(layout, stage, first, l); u <= l;) {
        uint64_t next = past(layout, stage, u, t, at);
        u = next_alive(layout, stage, next == at ? u + 1 : first, l); /* at a new place all are looked at again */
        at = next;
    }
    layout->offsets[t] = (uint32_t)at;
    uint64_t end = at + place_bytes(layout, stage, t);
    layout->size = end > layout->size ? end : layout->size;
}

/* Places the outputs of layers stage.start..end - 1. */
static void place_stage(struct layout *layout, struct stage stage, uint32_t end) {
    layout->kept = 1;
    while (layout->kept <= stage.start && !lives(layout, stage, layout->kept, stage.start)) {
        layout->kept++;
    }
    layout->behind = stage.start + 1;
    if (stage.by_nodes) {
        place_tensor(layout, stage, 0);
    }
    for (uint32_t t = stage.start + 1; t <= end; t++) {
        while (layout->behind < t && !lives(layout, stage, layout->behind, t - 1)) {
            layout->behind++;
        }
        place_tensor(layout, stage, t);
    }
}

static struct stage stage_of(const struct fqt_model *model, const struct fqt_zeroth_config *config, uint32_t l) {
    return (struct stage){l, method_of(model, config, l) == BY_NODES};
}

static uint64_t arena_size(const struct fqt_model *model, const struct fqt_zeroth_config *config) {
    uint32_t offsets[model->header->n_tensors]; /* at most 256: as few as the model has, for small stacks */
    uint8_t readers[model->header->n_tensors];
    struct layout layout = {.model = model, .readers = readers, .offsets = offsets};
    find_last_readers(model, readers);
    uint32_t n_layers = model->header->n_layers;
    uint32_t first = next_trained(model, 0);
    place_stage(&layout, (struct stage){0, false}, first);
    for (uint32_t l = first; l < n_layers; l = next_trained(model, l + 1)) {
        place_stage(&layout, stage_of(model, config, l), n_layers);
    }
    return layout.size;
}

/* ---- Layout ---- */

static uint64_t parameters_size(const struct fqt_model *model, const struct fqt_zeroth_config *config) {
    uint64_t largest = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        if (fqt_layer_trains(layer) && method_of(model, config, l) == BY_WEIGHTS) {
            uint64_t bytes = ((uint64_t)layer->weight_bytes + 3) / 4 * 4 + layer->bias_bytes;
            largest = bytes > largest ? bytes : largest;
        }
    }
    return largest;
}

/* Differences are summed once all are known: by nodes only. */
static uint64_t differences_size(const struct fqt_model *model, const struct fqt_zeroth_config *config) {
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (fqt_layer_trains(&model->layers[l]) && method_of(model, config, l) == BY_NODES) {
            return (uint64_t)config->queries * sizeof(int32_t);
        }
    }
    return 0;
}

static void place(struct carve *carve, const struct fqt_model *model, const struct fqt_zeroth_config *config,
                  struct fqt_zeroth_trainer *trainer) {
    trainer->base.arena = carve_take(carve, arena_size(model, config));
    fqt_place_minibatch(carve, model, &trainer->base);
    trainer->base.scratch = carve_take(carve, fqt_forward_scratch_size(model));
    trainer->offsets = carve_take(carve, 4ull * model->header->n_tensors);
    trainer->parameters = carve_take(carve, parameters_size(model, config));
    trainer->differences = carve_take(carve, differences_size(model, config));
    trainer->logits_error = carve_take(carve, fqt_tensor_bytes(model, model->header->n_layers));
}

size_t fqt_zeroth_memory_size(const struct fqt_model *model, const struct fqt_zeroth_config *config) {
    struct carve carve = {NULL, 0};
    struct fqt_zeroth_trainer trainer;
    place(&carve, model, config, &trainer);
    return carve_size(&carve);
}

/* ---- Init ---- */

static bool config_is_valid(const struct fqt_zeroth_config *config) {
    return config->queries >= 1 && config->queries <= FQT_MAX_QUERIES && config->weight_step >= 1 &&
           config->weight_step <= MAX_STEP && config->bias_step <= MAX_STEP && config->node_step >= 1 &&
           config->node_step <= MAX_STEP;
}

/* Whether options of training with errors are asked for. */
static bool has_options(const struct fqt_train_config *config) {
    bool found = false;
#if FQT_WITH_WEIGHT_RANGES
    found = found || config->weight_range != FQT_HYSTERESIS;
#endif
#if FQT_WITH_STOCHASTIC_ERRORS
    found = found || config->stochastic_errors == FQT_STOCHASTIC_ALL;
#endif
    (void)config;
    return found;
}

/* Whether trained layers are quantized and their sums fit (SPEC.md 17.1). */
static enum fqt_status check_layers(const struct fqt_model *model, const struct fqt_zeroth_config *config,
                                    uint32_t batch_size) {
    for (uint32_t l = next_trained(model, 0); l < model->header->n_layers; l = next_trained(model, l + 1)) {
        if (fqt_layer_type(model, l) != FQT_U8) {
            return FQT_ERROR_UNSUPPORTED;
        }
    }
    if ((uint64_t)config->queries * batch_size > FQT_MAX_GRADIENTS) {
        return FQT_ERROR_BOUND;
    }
    for (uint32_t l = next_trained(model, 0); l < model->header->n_layers; l = next_trained(model, l + 1)) {
        uint64_t positions = (uint64_t)model->tensors[l + 1].h * model->tensors[l + 1].w;
        if (method_of(model, config, l) != BY_WEIGHTS && positions * batch_size > FQT_MAX_GRADIENTS) {
            return FQT_ERROR_BOUND;
        }
    }
    return FQT_OK;
}

enum fqt_status fqt_zeroth_init(struct fqt_zeroth_trainer *trainer, struct fqt_network *network,
                                const struct fqt_train_config *config, const struct fqt_zeroth_config *zeroth,
                                void *memory, size_t size) {
    if (trainer == NULL || network == NULL || config == NULL || zeroth == NULL || memory == NULL ||
        (uintptr_t)memory % 4 != 0 || !config_is_valid(zeroth)) {
        return FQT_ERROR_ARGUMENT;
    }
    enum fqt_status status = fqt_trainer_check(network, config);
    if (status == FQT_OK && has_options(config)) {
        status = FQT_ERROR_UNSUPPORTED;
    }
    if (status == FQT_OK) {
        status = check_layers(&network->model, zeroth, config->batch_size);
    }
    if (status != FQT_OK) {
        return status;
    }
    if (size < fqt_zeroth_memory_size(&network->model, zeroth)) {
        return FQT_ERROR_MEMORY;
    }
    fqt_trainer_clear(&trainer->base, network, config);
    trainer->config = *zeroth;
    trainer->base.units = units_of;
    struct carve carve = {memory, 0};
    place(&carve, &network->model, zeroth, trainer);
    fqt_trainer_begin(&trainer->base);
    return FQT_OK;
}

/* ---- Forward passes ---- */

static uint8_t *feature_at(const struct fqt_zeroth_trainer *trainer, uint32_t t) {
    return t == 0 ? (uint8_t *)trainer->base.sample : trainer->base.arena + trainer->offsets[t];
}

/* Layers first..end - 1. recording: whether the extremes of their sums count. */
static void run(struct fqt_zeroth_trainer *trainer, uint32_t first, uint32_t end, bool recording) {
    for (uint32_t l = first; l < end; l++) {
        const struct fqt_layer_record *layer = &model_of(trainer)->layers[l];
        struct fqt_extremes *extremes = recording ? fqt_sums_of(&trainer->base, l).extremes : NULL;
        fqt_forward_layer(trainer->base.network, l, feature_at(trainer, layer->input),
                          feature_at(trainer, layer->input2), feature_at(trainer, l + 1), trainer->base.scratch,
                          extremes);
    }
}

/* Loss and prediction of the logits; the error at them is left behind. */
static struct fqt_loss loss_of_logits(struct fqt_zeroth_trainer *trainer, uint32_t label) {
    const void *logits = feature_at(trainer, model_of(trainer)->header->n_layers);
    return fqt_loss_of_logits(&trainer->base, label, logits, trainer->logits_error);
}

/* Loss after the layers from l on. */
static uint32_t loss_behind(struct fqt_zeroth_trainer *trainer, uint32_t l, uint32_t label) {
    run(trainer, l, model_of(trainer)->header->n_layers, false);
    return loss_of_logits(trainer, label).loss;
}

/* Layer l starts again from here on: its inputs stay. */
static void begin_stage(struct fqt_zeroth_trainer *trainer, struct stage stage, uint32_t end) {
    uint8_t readers[model_of(trainer)->header->n_tensors];
    struct layout layout = {.model = model_of(trainer), .readers = readers, .offsets = trainer->offsets};
    find_last_readers(layout.model, readers);
    place_stage(&layout, stage, end);
}

/* ---- Estimates ---- */

/* A layer and a sample in the middle of their queries. */
struct query {
    struct fqt_zeroth_trainer *trainer;
    uint32_t l;
    uint32_t label;
    uint32_t loss;     /* unperturbed */
    uint32_t base_key; /* of the keys of signs */
    struct block block;
    int32_t delta;        /* biases' perturbation, Q20 */
    const uint8_t *nodes; /* unperturbed outputs */
};

/* Loss with parameters or outputs moved along the signs (direction 1) or against them (-1). */
typedef uint32_t perturbed_loss(const struct query *query, uint32_t key, int32_t direction);

static uint32_t query_key(const struct query *query, uint32_t q) {
    const struct fqt_zeroth_trainer *trainer = query->trainer;
    return fqt_random_word(query->base_key, trainer->base.samples * trainer->config.queries + q);
}

/* d of a query. */
static int32_t difference_of(const struct query *query, uint32_t key, perturbed_loss *loss_along) {
    uint32_t plus = loss_along(query, key, 1);
    uint32_t minus = query->trainer->config.antithetic ? loss_along(query, key, -1) : query->loss;
    return fqt_clamp((int32_t)(plus - minus), -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE); /* losses are below 2^21 */
}

/* ---- By weights (SPEC.md 17.3) ---- */

static int32_t *perturbed_bias(const struct query *query) {
    uint32_t bytes = model_of(query->trainer)->layers[query->l].weight_bytes;
    return (int32_t *)(void *)(query->trainer->parameters + ((size_t)bytes + 3) / 4 * 4);
}

/* Writes w' and b'. */
static void perturb_parameters(const struct query *query, uint32_t key, int32_t direction) {
    const struct fqt_network *network = query->trainer->base.network;
    const uint8_t *w = fqt_layer_weights(network, query->l);
    const int32_t *b = fqt_layer_bias(network, query->l);
    uint8_t *weights = query->trainer->parameters;
    int32_t *bias = perturbed_bias(query);
    uint32_t fan_in = fqt_layer_fan_in(&network->model, query->l);
    uint32_t n = fqt_layer_weight_count(&network->model, query->l);
    int32_t step = direction * (int32_t)query->trainer->config.weight_step;
    struct signs signs = signs_of(key);
    for (uint32_t co = 0; co < query->block.channels; co++) {
        uint32_t end = (co + 1) * fan_in;
        if (!keeps(&query->block, co)) {
            memcpy(weights + end - fan_in, w + end - fan_in, fan_in);
            continue;
        }
        for (uint32_t i = end - fan_in; i < end; i++) {
            weights[i] = (uint8_t)fqt_clamp(w[i] + signed_by(&signs, i, step), 0, 255);
        }
    }
    for (uint32_t co = 0; co < query->block.channels; co++) {
        int32_t move = keeps(&query->block, co) ? signed_by(&signs, n + co, direction * query->delta) : 0;
        bias[co] = fqt_clamp(b[co] + move, 1 - FQT_WIDE_LIMIT, FQT_WIDE_LIMIT - 1); /* each within 2^30 */
    }
}

static uint32_t loss_by_weights(const struct query *query, uint32_t key, int32_t direction) {
    struct fqt_zeroth_trainer *trainer = query->trainer;
    const struct fqt_layer_record *layer = &model_of(trainer)->layers[query->l];
    perturb_parameters(query, key, direction);
    struct fqt_forward_pass pass = {
        .network = trainer->base.network,
        .l = query->l,
        .weights = trainer->parameters,
        .bias = perturbed_bias(query),
        .x = feature_at(trainer, layer->input),
        .y = feature_at(trainer, query->l + 1),
        .scratch = trainer->base.scratch,
    };
    fqt_run_forward_pass(&pass);
    return loss_behind(trainer, query->l + 1, query->label);
}

/* G += u d 2^bits, G_b += u d. */
static void add_estimate(const struct query *query, uint32_t key, int32_t difference) {
    const struct fqt_zeroth_trainer *trainer = query->trainer;
    struct fqt_layer_sums sums = fqt_sums_of(&trainer->base, query->l);
    int32_t *gradient = sums.gradient;
    int32_t *bias_gradient = sums.bias_gradient;
    uint32_t fan_in = fqt_layer_fan_in(model_of(trainer), query->l);
    uint32_t n = fqt_layer_weight_count(model_of(trainer), query->l);
    int32_t value = difference * (1 << units_of(&trainer->base, query->l).fraction_bits);
    struct signs signs = signs_of(key);
    for (uint32_t co = 0; co < query->block.channels; co++) {
        for (uint32_t i = co * fan_in; keeps(&query->block, co) && i < (co + 1) * fan_in; i++) {
            gradient[i] += signed_by(&signs, i, value);
        }
    }
    for (uint32_t co = 0; trainer->config.bias_step > 0 && co < query->block.channels; co++) {
        bias_gradient[co] += keeps(&query->block, co) ? signed_by(&signs, n + co, difference) : 0;
    }
}

static void estimate_by_weights(struct query *query) {
    const struct fqt_zeroth_trainer *trainer = query->trainer;
    float scale = fqt_tensor_grid(trainer->base.network, query->l + 1).scale;
    query->delta = fqt_rescale((int32_t)trainer->config.bias_step, scale * FQT_BIAS_ONE, FQT_NEAREST);
    for (uint32_t q = 0; q < trainer->config.queries; q++) {
        uint32_t key = query_key(query, q);
        add_estimate(query, key, difference_of(query, key, loss_by_weights));
    }
}

/* ---- By nodes (SPEC.md 17.4) ---- */

/* Outputs that are perturbed: those that pass errors, of kept channels. */
static inline bool moves(const struct query *query, struct fqt_limits passes, uint32_t i) {
    return query->nodes[i] > passes.lower && query->nodes[i] < passes.upper &&
           keeps(&query->block, i % query->block.channels);
}

static uint32_t loss_by_nodes(const struct query *query, uint32_t key, int32_t direction) {
    struct fqt_zeroth_trainer *trainer = query->trainer;
    const struct fqt_network *network = trainer->base.network;
    uint32_t t = query->l + 1;
    struct fqt_limits passes = fqt_error_limits(network, t);
    enum fqt_activation activation = fqt_tensor_activation(&network->model, t);
    struct fqt_limits limits = fqt_output_limits(activation, fqt_tensor_grid(network, t));
    int32_t step = direction * (int32_t)trainer->config.node_step;
    struct signs signs = signs_of(key);
    uint8_t *y = feature_at(trainer, t);
    uint32_t n = (uint32_t)fqt_tensor_bytes(&network->model, t);
    for (uint32_t i = 0; i < n; i++) {
        int32_t node = query->nodes[i];
        if (moves(query, passes, i)) {
            node = fqt_clamp(node + signed_by(&signs, i, step), limits.lower, limits.upper);
        }
        y[i] = (uint8_t)node;
    }
    return loss_behind(trainer, t, query->label);
}

/* S of the 32 elements of a block of signs. */
static void sum_differences(const struct query *query, uint32_t block, int32_t *sums) {
    memset(sums, 0, BLOCK * sizeof *sums);
    for (uint32_t q = 0; q < query->trainer->config.queries; q++) {
        uint32_t word = fqt_random_word(query_key(query, q), block);
        int32_t difference = query->trainer->differences[q];
        for (uint32_t j = 0; j < BLOCK; j++) {
            sums[j] += (word >> j) & 1 ? difference : -difference;
        }
    }
}

/* Writes e over the output's place; returns the largest |S|. */
static int32_t node_error(const struct query *query, struct fqt_requantizer requantizer) {
    const struct fqt_zeroth_trainer *trainer = query->trainer;
    uint32_t t = query->l + 1;
    struct fqt_limits passes = fqt_error_limits(trainer->base.network, t);
    int8_t *e = (int8_t *)feature_at(trainer, t);
    uint32_t n = (uint32_t)fqt_tensor_bytes(model_of(trainer), t);
    int32_t largest = 0;
    int32_t sums[BLOCK];
    for (uint32_t i = 0; i < n; i++) {
        if (i % BLOCK == 0) {
            sum_differences(query, i / BLOCK, sums);
        }
        int32_t sum = moves(query, passes, i) ? sums[i % BLOCK] : 0;
        int32_t size = sum < 0 ? -sum : sum;
        largest = size > largest ? size : largest;
        e[i] = (int8_t)fqt_clamp(fqt_requantize(sum, requantizer), -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
    return largest;
}

/* Raises the R of layer l's error where its scale is kept: behind max pooling. */
static void observe_error(const struct fqt_zeroth_trainer *trainer, uint32_t l, float range) {
    uint32_t source = fqt_place_of(trainer->base.network, l + 1)->error_scale;
    float *largest = fqt_sums_of(&trainer->base, source - 1).largest_error;
    if (largest != NULL && range > *largest) {
        *largest = range;
    }
}

static void estimate_by_nodes(struct query *query) {
    struct fqt_zeroth_trainer *trainer = query->trainer;
    const struct fqt_model *model = model_of(trainer);
    uint32_t t = query->l + 1;
    run(trainer, query->l, t, false);
    uint8_t *nodes = trainer->base.arena + trainer->offsets[0];
    memcpy(nodes, feature_at(trainer, t), (size_t)fqt_tensor_bytes(model, t));
    query->nodes = nodes;
    for (uint32_t q = 0; q < trainer->config.queries; q++) {
        trainer->differences[q] = difference_of(query, query_key(query, q), loss_by_nodes);
    }
    float scale = fqt_tensor_grid(trainer->base.network, t).scale;
    float unit = estimate_unit(&trainer->config, trainer->config.node_step, scale);
    float m = unit / fqt_tensor_error_scale(trainer->base.network, t);
    int32_t largest = node_error(query, fqt_requantizer_of(m));
    observe_error(trainer, query->l, ((float)largest * unit) / 127.0f);
    uint32_t input = model->layers[query->l].input;
    fqt_add_gradient(&trainer->base, query->l, feature_at(trainer, t), feature_at(trainer, input), NULL);
}

/* ---- Exactly (SPEC.md 17.5) ---- */

static void take_exact_error(const struct query *query) {
    struct fqt_zeroth_trainer *trainer = query->trainer;
    run(trainer, query->l, query->l + 1, false);
    loss_of_logits(trainer, query->label);
    int8_t *e = trainer->logits_error;
    uint32_t n = (uint32_t)fqt_tensor_bytes(model_of(trainer), query->l + 1);
    for (uint32_t i = 0; i < n; i++) {
        e[i] = keeps(&query->block, i % query->block.channels) ? e[i] : 0;
    }
    uint32_t input = model_of(trainer)->layers[query->l].input;
    fqt_add_gradient(&trainer->base, query->l, e, feature_at(trainer, input), NULL);
}

/* ---- One sample ---- */

/* The channels of layer l that this sample trains; counts them. */
static struct block choose_block(const struct fqt_zeroth_trainer *trainer, uint32_t l, int32_t rate) {
    const struct fqt_trainer *base = &trainer->base;
    uint32_t channels = fqt_layer_outputs(model_of(trainer), l);
    uint32_t key = fqt_random_key(base->config.seed, base->step, FQT_STREAM_BLOCK + l);
    struct block block = {
        .first = (uint32_t)(((uint64_t)fqt_random_word(key, base->samples) * channels) >> 32),
        .k = (uint32_t)fqt_layer_kept_channels(base, l, rate),
        .channels = channels,
    };
    int32_t *chosen = fqt_sums_of(base, l).chosen;
    for (uint32_t co = 0; co < channels; co++) {
        chosen[co] += keeps(&block, co);
    }
    return block;
}

/* Adds to the gradients of layer l, whose inputs are in their places and stay there. */
static void estimate(struct fqt_zeroth_trainer *trainer, uint32_t l, uint32_t label, uint32_t loss, int32_t rate) {
    const struct fqt_trainer *base = &trainer->base;
    struct query query = {
        .trainer = trainer,
        .l = l,
        .label = label,
        .loss = loss,
        .base_key = fqt_random_key(base->config.seed, base->step, FQT_STREAM_SIGNS + l),
        .block = choose_block(trainer, l, rate),
    };
    switch (method_of(model_of(trainer), &trainer->config, l)) {
    case BY_WEIGHTS:
        estimate_by_weights(&query);
        break;
    case BY_NODES:
        estimate_by_nodes(&query);
        break;
    case EXACTLY:
        take_exact_error(&query);
        break;
    }
    fqt_tell_gradients(base, l);
}

/* The gradients of all trained layers, from the first to the last, which leaves the inputs of each in its turn. */
static void estimate_all(struct fqt_zeroth_trainer *trainer, uint32_t first, uint32_t label, uint32_t loss) {
    const struct fqt_train_config *config = &trainer->base.config;
    int32_t rate = fqt_update_rate(loss, trainer->base.loss_max, config->lambda_min, config->lambda_max);
    uint32_t n_layers = model_of(trainer)->header->n_layers;
    for (uint32_t l = first; l < n_layers;) {
        estimate(trainer, l, label, loss, rate);
        uint32_t next = next_trained(model_of(trainer), l + 1);
        if (next < n_layers) {
            run(trainer, l, next, false);
            begin_stage(trainer, stage_of(model_of(trainer), &trainer->config, next), n_layers);
        }
        l = next;
    }
}

enum fqt_status fqt_zeroth_sample(struct fqt_zeroth_trainer *trainer, const uint8_t *sample, uint32_t label,
                                  struct fqt_loss *result) {
    enum fqt_status status = fqt_sample_check(trainer == NULL ? NULL : &trainer->base, sample, label);
    if (status != FQT_OK) {
        return status;
    }
    trainer->base.sample = sample;
    uint32_t n_layers = model_of(trainer)->header->n_layers;
    uint32_t first = next_trained(model_of(trainer), 0);
    begin_stage(trainer, (struct stage){0, false}, first);
    run(trainer, 0, first, true);
    begin_stage(trainer, stage_of(model_of(trainer), &trainer->config, first), n_layers);
    run(trainer, first, n_layers, true);
    struct fqt_loss loss = loss_of_logits(trainer, label);
    trainer->base.loss_max = loss.loss > trainer->base.loss_max ? loss.loss : trainer->base.loss_max;
    fqt_trainer_tell(&trainer->base, FQT_EVENT_LOSS, 0, &loss, sizeof loss);
    estimate_all(trainer, first, label, loss.loss);
    trainer->base.samples++;
    if (result != NULL) {
        *result = loss;
    }
    return FQT_OK;
}

enum fqt_status fqt_zeroth_step(struct fqt_zeroth_trainer *trainer, const uint8_t *sample, uint32_t label,
                                struct fqt_loss *result) {
    enum fqt_status status = fqt_zeroth_sample(trainer, sample, label, result);
    if (status != FQT_OK || trainer->base.samples < trainer->base.config.batch_size) {
        return status;
    }
    return fqt_train_update(&trainer->base);
}
