/* SPDX-License-Identifier: Apache-2.0 */
/* A network in memory, and inference (SPEC.md 4, 8). */
#include "carve.h"

#include <fqt/network.h>

#include <string.h>

uint64_t fqt_tensor_bytes(const struct fqt_model *model, uint32_t t) {
    const struct fqt_tensor_record *tensor = &model->tensors[t];
    return fqt_tensor_elements(tensor) * (tensor->type == FQT_F32 ? 4u : 1u);
}

static bool is_quantized_with_weights(const struct fqt_model *model, uint32_t l) {
    return fqt_layer_has_weights(&model->layers[l]) && fqt_layer_type(model, l) == FQT_U8;
}

/* ---- Layout ---- */

/* The first layer whose scales can change: its weights are trained, or its output's range adapts. */
static uint32_t first_moving(const struct fqt_model *model) {
    uint32_t first = fqt_first_trained(model);
    for (uint32_t l = 0; l < first; l++) {
        if ((model->tensors[l + 1].flags & FQT_TENSOR_ADAPTIVE) != 0) {
            return l;
        }
    }
    return first;
}

/* Output channels of the quantized layers from..to-1. */
static uint32_t count_bias_acc(const struct fqt_model *model, uint32_t from, uint32_t to) {
    uint32_t n = 0;
    for (uint32_t l = from; l < to; l++) {
        n += is_quantized_with_weights(model, l) ? fqt_layer_outputs(model, l) : 0;
    }
    return n;
}

size_t fqt_version_size(const struct fqt_model *model) {
    uint32_t n_layers = model->header->n_layers;
    return model->header->n_tensors * sizeof(struct fqt_tensor_values) + n_layers * sizeof(struct fqt_layer_values) +
           count_bias_acc(model, first_moving(model), n_layers) * sizeof(int32_t);
}

struct fqt_version fqt_version_at(const struct fqt_model *model, void *memory) {
    struct fqt_version version;
    version.tensors = memory;
    version.layers = (struct fqt_layer_values *)(void *)(version.tensors + model->header->n_tensors);
    version.bias_acc = (int32_t *)(void *)(version.layers + model->header->n_layers);
    return version;
}

int32_t *fqt_bias_acc(const struct fqt_network *network, const struct fqt_version *version, uint32_t l) {
    int32_t *start = l < network->first_moving ? network->fixed_bias_acc : version->bias_acc;
    return start + network->parameters[l].bias_acc_at;
}

/* A copy of part of the file in RAM, or where it would be. */
static const void *copy_of(struct carve *carve, const void *from, size_t bytes) {
    void *to = carve_take(carve, bytes);
    return to == NULL ? from : memcpy(to, from, bytes);
}

static struct fqt_layer_parameters place_parameters(struct carve *carve, const struct fqt_model *model,
                                                    enum fqt_mode mode, uint32_t l) {
    const struct fqt_layer_record *layer = &model->layers[l];
    struct fqt_layer_parameters p = {NULL, NULL, 0};
    if (!fqt_layer_has_weights(layer)) {
        return p;
    }
    p.weights = model->blob + layer->weight_offset;
    p.bias = model->blob + layer->bias_offset;
    if (mode == FQT_TRAINING && fqt_layer_trains(layer)) {
        p.weights = copy_of(carve, p.weights, layer->weight_bytes);
        p.bias = copy_of(carve, p.bias, layer->bias_bytes);
    }
    uint32_t moving = first_moving(model);
    p.bias_acc_at = count_bias_acc(model, l < moving ? 0 : moving, l);
    return p;
}

/* Places all pieces of a network; network may be NULL while counting. */
static void place(struct carve *carve, const struct fqt_model *model, enum fqt_mode mode, struct fqt_network *network) {
    uint32_t n_layers = model->header->n_layers;
    struct fqt_layer_parameters *parameters = carve_take(carve, n_layers * sizeof *parameters);
    void *fixed = carve_take(carve, count_bias_acc(model, 0, first_moving(model)) * sizeof(int32_t));
    void *version = carve_take(carve, fqt_version_size(model));
    for (uint32_t l = 0; l < n_layers; l++) {
        struct fqt_layer_parameters p = place_parameters(carve, model, mode, l);
        if (parameters != NULL) {
            parameters[l] = p;
        }
    }
    if (network != NULL) {
        network->parameters = parameters;
        network->fixed_bias_acc = fixed;
        network->live = fqt_version_at(model, version);
    }
}

size_t fqt_network_memory_size(const struct fqt_model *model, enum fqt_mode mode) {
    struct carve carve = {NULL, 0};
    place(&carve, model, mode, NULL);
    return carve_size(&carve);
}

/* ---- Versions ---- */

static void load_values(const struct fqt_model *model, struct fqt_version *version) {
    for (uint32_t t = 0; t < model->header->n_tensors; t++) {
        const struct fqt_tensor_record *r = &model->tensors[t];
        version->tensors[t] = (struct fqt_tensor_values){r->scale, r->zero, r->lo, r->hi, r->error_scale};
    }
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        const struct fqt_layer_record *r = &model->layers[l];
        version->layers[l] = (struct fqt_layer_values){r->weight_scale, r->weight_zero, {0, 0, 1}};
    }
}

void fqt_pass_scales(const struct fqt_model *model, struct fqt_version *version) {
    struct fqt_tensor_values *t = version->tensors;
    uint32_t n_layers = model->header->n_layers;
    for (uint32_t l = 0; l < n_layers; l++) {
        if (model->layers[l].op == FQT_MAX_POOL2D) {
            t[l + 1].scale = t[l].scale;
            t[l + 1].zero = t[l].zero;
        }
    }
    for (uint32_t l = n_layers; l-- > 0;) {
        if (model->layers[l].op == FQT_MAX_POOL2D) {
            t[l].error_scale = t[l + 1].error_scale;
        }
    }
}

void fqt_prepare_layer(const struct fqt_network *network, struct fqt_version *version, uint32_t l,
                       const int32_t *bias) {
    if (!is_quantized_with_weights(&network->model, l)) {
        return;
    }
    struct fqt_layer_values *layer = &version->layers[l];
    float unit = version->tensors[l].scale * layer->weight_scale;
    layer->requantizer = fqt_requantizer_of(unit / version->tensors[l + 1].scale);
    float m = 1.0f / (unit * FQT_BIAS_ONE);
    int32_t *bias_acc = fqt_bias_acc(network, version, l);
    for (uint32_t co = 0; co < fqt_layer_outputs(&network->model, l); co++) {
        bias_acc[co] = fqt_clamp(fqt_rescale(bias[co], m, FQT_NEAREST), -FQT_ACC_LIMIT, FQT_ACC_LIMIT);
    }
}

void fqt_finish_commit(struct fqt_network *network) {
    if (atomic_load_explicit(&network->pending, memory_order_acquire) == 0) {
        return;
    }
    for (uint32_t i = 0; i < network->n_transfers; i++) {
        memcpy(network->transfers[i].to, network->transfers[i].from, network->transfers[i].bytes);
    }
}

enum fqt_status fqt_network_init(struct fqt_network *network, const struct fqt_model *model, enum fqt_mode mode,
                                 void *memory, size_t size) {
    if (network == NULL || model == NULL || memory == NULL || (uintptr_t)memory % _Alignof(void *) != 0) {
        return FQT_ERROR_ARGUMENT;
    }
    if (size < fqt_network_memory_size(model, mode)) {
        return FQT_ERROR_MEMORY;
    }
    network->model = *model;
    network->mode = mode;
    network->first_moving = first_moving(model);
    network->version_bytes = fqt_version_size(model);
    network->transfers = NULL;
    network->n_transfers = 0;
    atomic_init(&network->pending, 0);
    struct carve carve = {memory, 0};
    place(&carve, model, mode, network);
    load_values(model, &network->live);
    fqt_pass_scales(model, &network->live);
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        fqt_prepare_layer(network, &network->live, l, network->parameters[l].bias);
    }
    return FQT_OK;
}

/* ---- Forward ---- */

static void forward_weights_u8(const struct fqt_network *network, uint32_t l, const uint8_t *x, uint8_t *y,
                               struct fqt_extremes *extremes) {
    const struct fqt_tensor_values *tensors = network->live.tensors;
    const struct fqt_layer_values *values = &network->live.layers[l];
    bool relu = (network->model.layers[l].flags & FQT_LAYER_RELU) != 0;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, l);
    struct fqt_forward_quantization q = {
        .zero_x = tensors[l].zero,
        .zero_w = values->weight_zero,
        .zero_y = tensors[l + 1].zero,
        .lower = relu ? tensors[l + 1].zero : 0,
        .requantizer = values->requantizer,
    };
    const uint8_t *w = network->parameters[l].weights;
    const int32_t *bias_acc = fqt_bias_acc(network, &network->live, l);
    switch (network->model.layers[l].op) {
    case FQT_LINEAR:
        fqt_linear_forward_u8(g.in_c, g.out_c, &q, x, w, bias_acc, y, extremes);
        break;
    case FQT_DEPTHWISE_CONV2D:
        fqt_depthwise_conv2d_forward_u8(&g, &q, x, w, bias_acc, y, extremes);
        break;
    default:
        fqt_conv2d_forward_u8(&g, &q, x, w, bias_acc, y, extremes);
    }
}

static void forward_weights_f32(const struct fqt_network *network, uint32_t l, const float *x, float *y) {
    bool relu = (network->model.layers[l].flags & FQT_LAYER_RELU) != 0;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, l);
    const struct fqt_layer_parameters *p = &network->parameters[l];
    switch (network->model.layers[l].op) {
    case FQT_LINEAR:
        fqt_linear_forward_f32(g.in_c, g.out_c, relu, x, p->weights, p->bias, y);
        break;
    case FQT_DEPTHWISE_CONV2D:
        fqt_depthwise_conv2d_forward_f32(&g, relu, x, p->weights, p->bias, y);
        break;
    default:
        fqt_conv2d_forward_f32(&g, relu, x, p->weights, p->bias, y);
    }
}

static void forward_pool(const struct fqt_network *network, uint32_t l, const void *x, void *y) {
    struct fqt_geometry g = fqt_layer_geometry(&network->model, l);
    if (fqt_layer_type(&network->model, l) == FQT_U8) {
        fqt_max_pool2d_forward_u8(&g, x, y);
    } else {
        fqt_max_pool2d_forward_f32(&g, x, y);
    }
}

void fqt_forward_layer(const struct fqt_network *network, uint32_t l, const void *x, void *y,
                       struct fqt_extremes *extremes) {
    const struct fqt_tensor_values *tensor = &network->live.tensors[l];
    switch (network->model.layers[l].op) {
    case FQT_MAX_POOL2D:
        forward_pool(network, l, x, y);
        break;
    case FQT_DEQUANTIZE:
        fqt_dequantize_forward((int32_t)fqt_tensor_elements(&network->model.tensors[l]), tensor->zero, tensor->scale, x,
                               y);
        break;
    default:
        if (fqt_layer_type(&network->model, l) == FQT_U8) {
            forward_weights_u8(network, l, x, y, extremes);
        } else {
            forward_weights_f32(network, l, x, y);
        }
    }
}

/* ---- Inference ---- */

/* Tensor t's bytes rounded up to 4; tensor 0 is the caller's sample and takes none. */
static uint64_t arena_bytes(const struct fqt_model *model, uint32_t t) {
    return t == 0 ? 0 : (fqt_tensor_bytes(model, t) + 3) / 4 * 4;
}

size_t fqt_inference_arena_size(const struct fqt_model *model) {
    struct carve carve = {NULL, 0};
    for (uint32_t t = 1; t < model->header->n_tensors; t++) {
        uint64_t pair = arena_bytes(model, t - 1) + arena_bytes(model, t);
        carve.used = pair > carve.used ? pair : carve.used;
    }
    return carve_size(&carve);
}

enum fqt_status fqt_infer(struct fqt_network *network, void *arena, size_t arena_size, const uint8_t *sample,
                          uint32_t *prediction, const void **logits) {
    if (network == NULL || arena == NULL || (uintptr_t)arena % 4 != 0 || sample == NULL || prediction == NULL) {
        return FQT_ERROR_ARGUMENT;
    }
    const struct fqt_model *model = &network->model;
    size_t size = fqt_inference_arena_size(model);
    if (arena_size < size) {
        return FQT_ERROR_MEMORY;
    }
    fqt_finish_commit(network);
    const void *x = sample;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        /* Neighbours lie at opposite ends of the arena. */
        uint8_t *y = (uint8_t *)arena + (l % 2 == 0 ? 0 : size - (size_t)arena_bytes(model, l + 1));
        fqt_forward_layer(network, l, x, y, NULL);
        x = y;
    }
    int32_t classes = (int32_t)fqt_model_classes(model);
    bool quantized = fqt_layer_type(model, model->header->n_layers - 1) == FQT_U8;
    *prediction = (uint32_t)(quantized ? fqt_largest_u8(classes, x) : fqt_largest_f32(classes, x));
    if (logits != NULL) {
        *logits = x;
    }
    return FQT_OK;
}
