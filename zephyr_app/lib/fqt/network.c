/* SPDX-License-Identifier: Apache-2.0 */
/* A network in memory, and inference (SPEC.md 4, 8). */
#include "carve.h"
#include "operators/operator.h"

#include <fqt/config.h>
#include <fqt/network.h>
#include <fqt/ranges.h>

#include <stdatomic.h>
#include <string.h>

/* ---- What moves, and where it lies ----
 * From the first trained layer on; nothing before it carries an error. A version: for each of these layers the values
 * of its tensor, if they move, and its grids, if it is trained. Behind the live one: their parameters. */

uint32_t fqt_first_trained(const struct fqt_model *model) {
    uint32_t l = 0;
    while (l < model->header->n_layers && !fqt_layer_trains(&model->layers[l])) {
        l++;
    }
    return l;
}

static bool tensor_moves(const struct fqt_model *model, uint32_t t) {
    return model->tensors[t].type == FQT_U8 && fqt_tensor_carries_error(model, t); /* only then a range adapts */
}

static uint32_t values_bytes(const struct fqt_model *model, uint32_t t) {
    return tensor_moves(model, t) ? sizeof(struct fqt_tensor_values) : 0;
}

static uint32_t grids_bytes(const struct fqt_layer_record *layer) {
    return fqt_layer_trains(layer) ? 8u * layer->grids : 0;
}

uint64_t fqt_version_size(const struct fqt_model *model) {
    uint64_t bytes = 0;
    for (uint32_t l = fqt_first_trained(model); l < model->header->n_layers; l++) {
        bytes += values_bytes(model, l + 1) + grids_bytes(&model->layers[l]);
    }
    return bytes;
}

/* Takes all pieces; network: NULL to count them alone. */
static void place(struct carve *carve, const struct fqt_model *model, struct fqt_network *network) {
    uint32_t n = model->header->n_layers;
    uint32_t first = fqt_first_trained(model);
    struct fqt_place *places = carve_take(carve, (n - first) * sizeof *places);
    uint64_t start = carve->used;
    uint8_t *live = carve_take(carve, fqt_version_size(model));
    uint32_t version = 0;
    for (uint32_t l = first; l < n; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        if (network != NULL) {
            places[l - first].version = version;
            places[l - first].parameters = (uint32_t)(carve->used - start); /* the size was checked before */
        }
        version += values_bytes(model, l + 1) + grids_bytes(layer);
        if (fqt_layer_trains(layer)) {
            carve_take(carve, layer->weight_bytes);
            carve_take(carve, layer->bias_bytes);
        }
    }
    if (network != NULL) {
        network->first = first;
        network->places = places;
        network->live = live;
    }
}

size_t fqt_network_memory_size(const struct fqt_model *model, enum fqt_mode mode) {
    struct carve carve = {NULL, 0};
    if (mode == FQT_TRAINING) {
        place(&carve, model, NULL);
    }
    return carve_size(&carve);
}

const struct fqt_place *fqt_place_of(const struct fqt_network *network, uint32_t t) {
    return &network->places[t - 1 - network->first];
}

static bool is_in_ram(const struct fqt_network *network, uint32_t l) {
    return l >= network->first && fqt_layer_trains(&network->model.layers[l]);
}

const void *fqt_layer_weights(const struct fqt_network *network, uint32_t l) {
    if (!is_in_ram(network, l)) {
        return network->model.blob + network->model.layers[l].weight_offset;
    }
    return network->live + fqt_place_of(network, l + 1)->parameters;
}

const void *fqt_layer_bias(const struct fqt_network *network, uint32_t l) {
    const struct fqt_layer_record *layer = &network->model.layers[l];
    if (!is_in_ram(network, l)) {
        return network->model.blob + layer->bias_offset;
    }
    struct carve carve = {network->live, fqt_place_of(network, l + 1)->parameters};
    carve_take(&carve, layer->weight_bytes);
    return carve_take(&carve, layer->bias_bytes);
}

/* ---- Values ---- */

struct fqt_tensor_values *fqt_stored_values(const struct fqt_network *network, uint8_t *version, uint32_t t) {
    if (t <= network->first || !tensor_moves(&network->model, t)) {
        return NULL;
    }
    return (struct fqt_tensor_values *)(void *)(version + fqt_place_of(network, t)->version);
}

float *fqt_stored_grids(const struct fqt_network *network, uint8_t *version, uint32_t l) {
    uint32_t at = fqt_place_of(network, l + 1)->version + values_bytes(&network->model, l + 1);
    return (float *)(void *)(version + at);
}

/* Without what max pooling passes on. */
static struct fqt_tensor_values own_values(const struct fqt_network *network, uint32_t t) {
    const struct fqt_tensor_values *stored = fqt_stored_values(network, network->live, t);
    const struct fqt_tensor_record *r = &network->model.tensors[t];
    return stored != NULL ? *stored : (struct fqt_tensor_values){r->scale, r->zero, r->lo, r->hi, r->error_scale};
}

/* The tensor whose scale and zero point tensor t has. */
static uint32_t source_of_scale(const struct fqt_network *network, uint32_t t) {
    while (t > 0 && t <= network->first && network->model.layers[t - 1].op == FQT_MAX_POOL2D) {
        t = network->model.layers[t - 1].input;
    }
    return t > network->first ? fqt_place_of(network, t)->scale : t;
}

/* The first layer that reads tensor t; the number of layers if none does. */
static uint32_t first_reader(const struct fqt_model *model, uint32_t t) {
    uint32_t l = t;
    while (l < model->header->n_layers && !fqt_layer_reads(model, l, t)) {
        l++;
    }
    return l;
}

bool fqt_tensor_is_pooled(const struct fqt_model *model, uint32_t t) {
    uint32_t l = first_reader(model, t); /* where it pools it is the only one */
    return l < model->header->n_layers && model->layers[l].op == FQT_MAX_POOL2D;
}

/* The tensor whose error scale tensor t has. */
static uint32_t source_of_error_scale(const struct fqt_network *network, uint32_t t) {
    while (t <= network->first && fqt_tensor_is_pooled(&network->model, t)) {
        t = first_reader(&network->model, t) + 1; /* nothing sends errors there, but the file says a scale */
    }
    return t > network->first ? fqt_place_of(network, t)->error_scale : t;
}

struct fqt_grid fqt_tensor_grid(const struct fqt_network *network, uint32_t t) {
    uint32_t source = source_of_scale(network, t);
    const struct fqt_tensor_values *stored = fqt_stored_values(network, network->live, source);
    const struct fqt_tensor_record *r = &network->model.tensors[source];
    return stored != NULL ? (struct fqt_grid){stored->scale, stored->zero} : (struct fqt_grid){r->scale, r->zero};
}

struct fqt_tensor_values fqt_values_of(const struct fqt_network *network, uint32_t t) {
    struct fqt_tensor_values values = own_values(network, t);
    struct fqt_grid grid = fqt_tensor_grid(network, t);
    values.scale = grid.scale;
    values.zero = grid.zero;
    values.error_scale = own_values(network, source_of_error_scale(network, t)).error_scale;
    return values;
}

float fqt_tensor_error_scale(const struct fqt_network *network, uint32_t t) {
    return fqt_error_scale_in_force(own_values(network, source_of_error_scale(network, t)).error_scale);
}

struct fqt_grids fqt_layer_grids(const struct fqt_network *network, uint32_t l) {
    const struct fqt_layer_record *layer = &network->model.layers[l];
    const float *scale = (const float *)(const void *)(network->model.blob + layer->grid_offset);
    if (is_in_ram(network, l)) {
        scale = fqt_stored_grids(network, network->live, l);
    }
    return (struct fqt_grids){layer->grids, scale, (const int32_t *)(const void *)(scale + layer->grids)};
}

/* ---- Hand-over of versions ----
 * On one core inference preempts training like a signal handler: the compiler alone could move a copy past the flag,
 * and a signal fence forbids it that. What two cores need besides is in the lock. */

void fqt_network_share(struct fqt_network *network, const struct fqt_lock *lock) {
    network->lock = lock;
}

static void take_lock(const struct fqt_network *network) {
    if (network->lock != NULL) {
        network->lock->take(network->lock->user);
    }
}

static void release_lock(const struct fqt_network *network) {
    if (network->lock != NULL) {
        network->lock->release(network->lock->user);
    }
}

/* Copies a pending version to its place. Repeating it is harmless, so whoever comes first does it. */
static void finish_commit(const struct fqt_network *network) {
    if (network->pending != 0) {
        network->copy_version(network->trainer);
    }
    atomic_signal_fence(memory_order_seq_cst);
}

/* Inference may preempt this anywhere: between the flag's rise and fall it finishes the copying itself. The gradients
 * hold the new parameters until the flag falls. */
void fqt_commit(struct fqt_network *network) {
    take_lock(network);
    atomic_signal_fence(memory_order_seq_cst); /* the version is whole */
    network->pending = 1;
    atomic_signal_fence(memory_order_seq_cst);
    finish_commit(network);
    network->pending = 0;
    atomic_signal_fence(memory_order_seq_cst);
    release_lock(network);
}

/* ---- Init ---- */

static void set_reader(struct fqt_network *network, uint32_t t, uint32_t l) {
    if (t > network->first) {
        network->places[t - 1 - network->first].last_reader = (uint8_t)l;
    }
}

/* Who reads a tensor last, and what max pooling passes on: forward, then backward. */
static void find_sources(struct fqt_network *network) {
    const struct fqt_model *model = &network->model;
    uint32_t n = model->header->n_layers;
    for (uint32_t l = network->first; l < n; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        bool pools = layer->op == FQT_MAX_POOL2D;
        network->places[l - network->first].scale = (uint8_t)(pools ? source_of_scale(network, layer->input) : l + 1);
        set_reader(network, l + 1, n);
        set_reader(network, layer->input, l);
        if (layer->op == FQT_ADD) {
            set_reader(network, layer->input2, l);
        }
    }
    for (uint32_t l = n; l-- > network->first;) {
        struct fqt_place *place = &network->places[l - network->first];
        uint32_t reader = place->last_reader;
        bool pooled = reader < n && model->layers[reader].op == FQT_MAX_POOL2D;
        place->error_scale = pooled ? fqt_place_of(network, reader + 1)->error_scale : (uint8_t)(l + 1);
    }
}

/* Copies what moves from the file. */
static void load(struct fqt_network *network) {
    const struct fqt_model *model = &network->model;
    for (uint32_t l = network->first; l < model->header->n_layers; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        const struct fqt_tensor_record *r = &model->tensors[l + 1];
        struct fqt_tensor_values *values = fqt_stored_values(network, network->live, l + 1);
        if (values != NULL) {
            *values = (struct fqt_tensor_values){r->scale, r->zero, r->lo, r->hi, r->error_scale};
        }
        if (fqt_layer_trains(layer)) {
            float *grids = fqt_stored_grids(network, network->live, l);
            memcpy(grids, model->blob + layer->grid_offset, 8u * layer->grids);
            memcpy((void *)fqt_layer_weights(network, l), model->blob + layer->weight_offset, layer->weight_bytes);
            memcpy((void *)fqt_layer_bias(network, l), model->blob + layer->bias_offset, layer->bias_bytes);
        }
    }
}

enum fqt_status fqt_network_init(struct fqt_network *network, const struct fqt_model *model, enum fqt_mode mode,
                                 void *memory, size_t size) {
    if (network == NULL || model == NULL || (uintptr_t)memory % 4 != 0) {
        return FQT_ERROR_ARGUMENT;
    }
    size_t needed = fqt_network_memory_size(model, mode);
    if (size < needed) {
        return FQT_ERROR_MEMORY;
    }
    if (memory == NULL && needed > 0) {
        return FQT_ERROR_ARGUMENT;
    }
    network->model = *model;
    network->mode = mode;
    network->first = model->header->n_layers;
    network->places = NULL;
    network->live = NULL;
    network->copy_version = NULL;
    network->trainer = NULL;
    network->pending = 0;
    network->lock = NULL;
    if (mode == FQT_TRAINING) {
        struct carve carve = {memory, 0};
        place(&carve, model, network);
        find_sources(network);
        load(network);
    }
    return FQT_OK;
}

/* ---- Forward ---- */

static fqt_forward_function *const forward_functions[] = {
#if FQT_WITH_CONV2D
    [FQT_CONV2D] = fqt_conv2d_layer_forward,
#endif
#if FQT_WITH_LINEAR
    [FQT_LINEAR] = fqt_linear_layer_forward,
#endif
#if FQT_WITH_MAX_POOL2D
    [FQT_MAX_POOL2D] = fqt_max_pool2d_layer_forward,
#endif
#if FQT_WITH_DEQUANTIZE
    [FQT_DEQUANTIZE] = fqt_dequantize_layer_forward,
#endif
#if FQT_WITH_DEPTHWISE_CONV2D
    [FQT_DEPTHWISE_CONV2D] = fqt_depthwise_conv2d_layer_forward,
#endif
#if FQT_WITH_AVG_POOL2D
    [FQT_AVG_POOL2D] = fqt_avg_pool2d_layer_forward,
#endif
#if FQT_WITH_ADD
    [FQT_ADD] = fqt_add_layer_forward,
#endif
#if FQT_WITH_HARD_SWISH
    [FQT_HARD_SWISH] = fqt_hard_swish_layer_forward,
#endif
};

void fqt_run_forward_pass(const struct fqt_forward_pass *pass) {
    forward_functions[pass->network->model.layers[pass->l].op](pass);
}

void fqt_forward_layer(const struct fqt_network *network, uint32_t l, const void *x, const void *x2, void *y,
                       void *scratch, struct fqt_extremes *extremes) {
    struct fqt_forward_pass pass = {
        .network = network,
        .l = l,
        .weights = fqt_layer_weights(network, l),
        .bias = fqt_layer_bias(network, l),
        .x = x,
        .x2 = x2,
        .y = y,
        .scratch = scratch,
        .extremes = extremes,
    };
    fqt_run_forward_pass(&pass);
}

/* Requantizers of the grids and bias_acc of the largest layer. */
uint64_t fqt_forward_scratch_size(const struct fqt_model *model) {
    uint64_t largest = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        uint32_t grids = model->layers[l].grids;
        uint64_t bytes = grids == 0 ? 0 : 4ull * (grids + fqt_layer_outputs(model, l));
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* ---- Inference ---- */

size_t fqt_inference_arena_size(const struct fqt_model *model) {
    struct carve carve = {NULL, 0};
    carve_take(&carve, model->header->inference_arena);
    carve_take(&carve, fqt_forward_scratch_size(model));
    return carve_size(&carve);
}

/* All layers from the sample to the logits. */
static void run_layers(const struct fqt_network *network, uint8_t *features, const uint8_t *sample) {
    const struct fqt_model *model = &network->model;
    uint8_t *scratch = features + model->header->inference_arena;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        const struct fqt_layer_record *layer = &model->layers[l];
        const uint8_t *x = layer->input == 0 ? sample : features + model->tensors[layer->input].inference_offset;
        const uint8_t *x2 = layer->input2 == 0 ? sample : features + model->tensors[layer->input2].inference_offset;
        fqt_forward_layer(network, l, x, x2, features + model->tensors[l + 1].inference_offset, scratch, NULL);
    }
}

enum fqt_status fqt_infer(struct fqt_network *network, void *arena, size_t arena_size, const uint8_t *sample,
                          uint32_t *prediction, const void **logits) {
    if (network == NULL || arena == NULL || (uintptr_t)arena % 4 != 0 || sample == NULL || prediction == NULL) {
        return FQT_ERROR_ARGUMENT;
    }
    const struct fqt_model *model = &network->model;
    if (arena_size < fqt_inference_arena_size(model)) {
        return FQT_ERROR_MEMORY;
    }
    take_lock(network);
    finish_commit(network);
    run_layers(network, arena, sample);
    release_lock(network);
    const struct fqt_tensor_record *last = &model->tensors[model->header->n_tensors - 1];
    const void *y = (const uint8_t *)arena + last->inference_offset;
    int32_t classes = (int32_t)fqt_model_classes(model);
    if (FQT_WITH_FLOAT32 && last->type == FQT_F32) {
        *prediction = (uint32_t)fqt_largest_f32(classes, y);
    } else {
        *prediction = (uint32_t)fqt_largest_u8(classes, y);
    }
    if (logits != NULL) {
        *logits = y;
    }
    return FQT_OK;
}
