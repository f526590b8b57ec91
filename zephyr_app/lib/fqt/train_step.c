/* SPDX-License-Identifier: Apache-2.0 */
/* One sample through the network and back; the minibatch (SPEC.md section 7). A small machine that walks the table of
 * layers. */
#include "carve.h"

#include <fqt/arithmetic.h>
#include <fqt/ranges.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>
#include <fqt/train_step.h>

#include <string.h>

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
    return fqt_layer_type(model, l) == FQT_U8;
}

/* Number of weights of a layer that has some. */
static uint32_t n_weights(const struct fqt_model *model, uint32_t l) {
    return fqt_layer_fan_in(model, l) * fqt_layer_outputs(model, l);
}

static int32_t n_positions(const struct fqt_model *model, uint32_t l) {
    return (int32_t)model->tensors[l + 1].h * model->tensors[l + 1].w;
}

/* Whether the error at tensor t is masked where a ReLU cut. */
static bool is_masked(const struct fqt_model *model, uint32_t t) {
    return (model->tensors[t].flags & FQT_TENSOR_RELU) != 0;
}

static uint32_t last_weighted(const struct fqt_model *model) {
    uint32_t l = model->header->n_layers - 1;
    while (!fqt_layer_has_weights(&model->layers[l])) {
        l--; /* some layer is trained, so some has weights */
    }
    return l;
}

/* ---- Layout ---- */

/* Bytes of the largest error at tensors of one parity. Errors exist behind the first trained layer's input. */
static uint64_t largest_error(const struct fqt_model *model, uint32_t parity) {
    uint64_t largest = 0;
    for (uint32_t t = fqt_first_trained(model) + 1; t < model->header->n_tensors; t++) {
        uint64_t bytes = t % 2 == parity ? fqt_tensor_bytes(model, t) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* Most output channels of a trained layer. */
static uint32_t most_channels(const struct fqt_model *model) {
    uint32_t most = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        uint32_t channels = trains(model, l) ? fqt_layer_outputs(model, l) : 0;
        most = channels > most ? channels : most;
    }
    return most;
}

static uint32_t count_trained(const struct fqt_model *model) {
    uint32_t n = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        n += trains(model, l);
    }
    return n;
}

/* Feature maps in front of the first trained layer are needed only until the next one is made: two buffers in turn. The
 * others stay for the way back. Tensor 0 is the caller's sample. features may be NULL while counting. */
static void place_features(struct carve *carve, const struct fqt_model *model, const void **features) {
    uint32_t first = fqt_first_trained(model);
    uint64_t passing[2] = {0, 0};
    for (uint32_t t = 1; t < first; t++) {
        uint64_t bytes = fqt_tensor_bytes(model, t);
        passing[t % 2] = bytes > passing[t % 2] ? bytes : passing[t % 2];
    }
    const void *buffers[2] = {carve_take(carve, passing[0]), carve_take(carve, passing[1])};
    for (uint32_t t = 1; t < model->header->n_tensors; t++) {
        const void *feature = t < first ? buffers[t % 2] : carve_take(carve, fqt_tensor_bytes(model, t));
        if (features != NULL) {
            features[t] = feature;
        }
    }
}

/* Gradients and counts of the trained layers, one behind the other. layers may be NULL while counting. */
static void place_sums(struct carve *carve, const struct fqt_model *model, struct fqt_layer_training *layers) {
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (!trains(model, l)) {
            continue;
        }
        uint32_t outputs = fqt_layer_outputs(model, l);
        void *gradient = carve_take(carve, (uint64_t)n_weights(model, l) * 4);
        void *bias_gradient = carve_take(carve, (uint64_t)outputs * 4);
        int32_t *chosen = carve_take(carve, (uint64_t)outputs * 4);
        if (layers != NULL) {
            layers[l].gradient = gradient;
            layers[l].bias_gradient = bias_gradient;
            layers[l].chosen = chosen;
        }
    }
}

/* Places all pieces of a trainer; with carve->memory NULL it only counts and leaves the trainer's tables alone. */
static void place(struct carve *carve, const struct fqt_model *model, struct fqt_trainer *trainer) {
    uint32_t n_layers = model->header->n_layers;
    trainer->features = carve_take(carve, model->header->n_tensors * sizeof *trainer->features);
    trainer->transfers = carve_take(carve, (2 * count_trained(model) + 1) * sizeof *trainer->transfers);
    trainer->layers = carve_take(carve, n_layers * sizeof *trainer->layers);
    if (trainer->layers != NULL) {
        memset(trainer->layers, 0, n_layers * sizeof *trainer->layers);
    }
    place_features(carve, model, trainer->features);
    trainer->errors[0] = carve_take(carve, largest_error(model, 0));
    trainer->errors[1] = carve_take(carve, largest_error(model, 1));
    trainer->norms = carve_take(carve, (uint64_t)most_channels(model) * 4);
    place_sums(carve, model, trainer->layers);
}

size_t fqt_trainer_memory_size(const struct fqt_model *model) {
    struct carve carve = {NULL, 0};
    struct fqt_trainer trainer;
    place(&carve, model, &trainer);
    carve_take(&carve, fqt_version_size(model));
    return carve_size(&carve);
}

/* What a commit copies: each trained layer's parameters from their gradients' place, and the version. */
static void list_transfers(struct fqt_trainer *trainer) {
    struct fqt_network *network = trainer->network;
    struct fqt_transfer *transfer = trainer->transfers;
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        if (trains(&network->model, l)) {
            const struct fqt_layer_parameters *p = &network->parameters[l];
            const struct fqt_layer_record *layer = &network->model.layers[l];
            const void *staged = trainer->layers[l].gradient;
            if (is_quantized(&network->model, l)) {
                staged = fqt_staged_weights(staged, (int32_t)layer->weight_bytes);
            }
            *transfer++ = (struct fqt_transfer){(void *)p->weights, staged, layer->weight_bytes};
            *transfer++ = (struct fqt_transfer){(void *)p->bias, trainer->layers[l].bias_gradient, layer->bias_bytes};
        }
    }
    *transfer++ = (struct fqt_transfer){network->live.tensors, trainer->next.tensors, network->version_bytes};
    network->n_transfers = (uint32_t)(transfer - trainer->transfers);
    network->transfers = trainer->transfers;
}

/* ---- Init ---- */

int32_t fqt_lambda_q12(float lambda) {
    return fqt_fround(lambda * 4096.0f, 0, FQT_RATE_ONE);
}

static bool config_is_valid(const struct fqt_train_config *config) {
    return config->batch_size >= 1 && config->batch_size <= FQT_MAX_GRADIENTS && config->learning_rate >= 0.0f &&
           config->learning_rate <= 3.402823466e38f && config->lambda_min >= 0 &&
           config->lambda_min <= config->lambda_max && config->lambda_max <= FQT_RATE_ONE;
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
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        struct fqt_layer_training *sums = &trainer->layers[l];
        sums->acc = (struct fqt_extremes){INT32_MAX, INT32_MIN};
        sums->error_max_u8 = 0;
        sums->error_max_f32 = 0.0f;
        if (trains(model, l)) {
            size_t channels = fqt_layer_outputs(model, l);
            memset(sums->bias_gradient, 0, channels * 4);
            memset(sums->chosen, 0, channels * sizeof *sums->chosen);
            if (!is_quantized(model, l)) {
                memset(sums->gradient, 0, (size_t)n_weights(model, l) * 4);
            }
        }
    }
    trainer->samples = 0;
}

enum fqt_status fqt_trainer_init(struct fqt_trainer *trainer, struct fqt_network *network,
                                 const struct fqt_train_config *config, void *memory, size_t size) {
    if (trainer == NULL || network == NULL || config == NULL || memory == NULL || network->mode != FQT_TRAINING ||
        (uintptr_t)memory % _Alignof(void *) != 0 || !config_is_valid(config)) {
        return FQT_ERROR_ARGUMENT;
    }
    const struct fqt_model *model = &network->model;
    if (fqt_first_trained(model) == model->header->n_layers) {
        return FQT_ERROR_NOT_TRAINABLE;
    }
    if (!gradients_fit(model, config->batch_size)) {
        return FQT_ERROR_BOUND;
    }
    if (size < fqt_trainer_memory_size(model)) {
        return FQT_ERROR_MEMORY;
    }
    memset(trainer, 0, sizeof *trainer);
    trainer->network = network;
    trainer->config = *config;
    trainer->first_trained = fqt_first_trained(model);
    trainer->last_weighted = last_weighted(model);
    struct carve carve = {memory, 0};
    place(&carve, model, trainer);
    trainer->next = fqt_version_at(model, carve_take(&carve, network->version_bytes));
    list_transfers(trainer);
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (trains(model, l)) {
            trainer->layers[l].fraction_bits = fqt_fraction_bits(n_positions(model, l), (int32_t)config->batch_size);
            memset(trainer->layers[l].gradient, 0, (size_t)n_weights(model, l) * 4);
        }
    }
    clear_minibatch(trainer);
    return FQT_OK;
}

/* ---- Observation and state ---- */

void fqt_trainer_observe(struct fqt_trainer *trainer, fqt_observer *observe, void *user) {
    trainer->observe = observe;
    trainer->observe_user = user;
}

static void tell(const struct fqt_trainer *trainer, enum fqt_event kind, uint32_t index, const void *data,
                 uint64_t bytes) {
    if (trainer->observe != NULL) {
        trainer->observe(trainer->observe_user, kind, index, data, (uint32_t)bytes);
    }
}

/* The state in the order of SPEC.md section 11. */
static void walk_state(const struct fqt_trainer *trainer, fqt_observer *visit, void *user) {
    const struct fqt_network *network = trainer->network;
    const struct fqt_model *model = &network->model;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        if (fqt_layer_has_weights(&model->layers[l])) {
            visit(user, FQT_EVENT_WEIGHTS, l, network->parameters[l].weights, model->layers[l].weight_bytes);
            visit(user, FQT_EVENT_BIAS, l, network->parameters[l].bias, model->layers[l].bias_bytes);
            visit(user, FQT_EVENT_WEIGHT_GRID, l, &network->live.layers[l], 8); /* its first two fields */
        }
        if (trains(model, l) && is_quantized(model, l)) {
            visit(user, FQT_EVENT_RESIDUALS, l, trainer->layers[l].gradient, n_weights(model, l) * 4);
        }
    }
    for (uint32_t t = 0; t < model->header->n_tensors; t++) {
        visit(user, FQT_EVENT_TENSOR, t, &network->live.tensors[t], sizeof network->live.tensors[t]);
    }
    uint32_t counters[2] = {trainer->loss_max, trainer->step};
    visit(user, FQT_EVENT_COUNTERS, 0, counters, sizeof counters);
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

static void forward(struct fqt_trainer *trainer, const uint8_t *sample) {
    trainer->features[0] = sample;
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        void *y = (void *)trainer->features[l + 1];
        fqt_forward_layer(trainer->network, l, trainer->features[l], y, &trainer->layers[l].acc);
        tell(trainer, FQT_EVENT_OUTPUT, l, y, fqt_tensor_bytes(model_of(trainer), l + 1));
    }
}

static void *error_at(const struct fqt_trainer *trainer, uint32_t t) {
    return trainer->errors[t % 2];
}

/* Loss and prediction; writes the error at the logits (SPEC.md 4.7). */
static struct fqt_loss loss_and_error(struct fqt_trainer *trainer, uint32_t label) {
    const struct fqt_model *model = model_of(trainer);
    uint32_t last = n_layers_of(trainer);
    int32_t classes = (int32_t)fqt_model_classes(model);
    const void *logits = trainer->features[last];
    void *error = error_at(trainer, last);
    struct fqt_loss loss;
    if (is_quantized(model, last - 1)) {
        float scale = trainer->network->live.tensors[last].scale;
        loss = fqt_softmax_cross_entropy_u8(classes, (int32_t)label, scale, logits, error);
    } else {
        loss = fqt_softmax_cross_entropy_f32(classes, (int32_t)label, logits, error);
    }
    trainer->loss_max = loss.loss > trainer->loss_max ? loss.loss : trainer->loss_max;
    tell(trainer, FQT_EVENT_LOSS, 0, &loss, sizeof loss);
    tell(trainer, FQT_EVENT_ERROR, last, error, fqt_tensor_bytes(model, last));
    return loss;
}

/* Sparse selection at the output of a trained layer (SPEC.md section 5). */
static void select_channels(struct fqt_trainer *trainer, uint32_t l, int32_t rate) {
    const struct fqt_model *model = model_of(trainer);
    int32_t channels = (int32_t)fqt_layer_outputs(model, l);
    int32_t *chosen = trainer->layers[l].chosen;
    bool exempt = l == trainer->last_weighted && !trainer->config.sparse_last;
    int32_t k = exempt ? channels : fqt_kept_channels(rate, channels);
    if (k >= channels) {
        for (int32_t co = 0; co < channels; co++) {
            chosen[co]++;
        }
        return;
    }
    void *error = error_at(trainer, l + 1);
    if (is_quantized(model, l)) {
        fqt_sparse_select_u8(trainer->norms, n_positions(model, l), channels, k, error, chosen);
    } else {
        fqt_sparse_select_f32(trainer->norms, n_positions(model, l), channels, k, error, chosen);
    }
    tell(trainer, FQT_EVENT_SELECTED_ERROR, l, error, fqt_tensor_bytes(model, l + 1));
}

static void backward_weight_u8(struct fqt_trainer *trainer, uint32_t l, const struct fqt_geometry *g) {
    int32_t zero_x = trainer->network->live.tensors[l].zero;
    const int8_t *e = error_at(trainer, l + 1);
    const uint8_t *x = trainer->features[l];
    const struct fqt_layer_training *sums = &trainer->layers[l];
    switch (model_of(trainer)->layers[l].op) {
    case FQT_LINEAR:
        fqt_linear_backward_weight_u8(g->in_c, g->out_c, zero_x, sums->fraction_bits, e, x, sums->gradient,
                                      sums->bias_gradient);
        break;
    case FQT_DEPTHWISE_CONV2D:
        fqt_depthwise_conv2d_backward_weight_u8(g, zero_x, sums->fraction_bits, e, x, sums->gradient,
                                                sums->bias_gradient);
        break;
    default:
        fqt_conv2d_backward_weight_u8(g, zero_x, sums->fraction_bits, e, x, sums->gradient, sums->bias_gradient);
    }
}

static void backward_weight_f32(struct fqt_trainer *trainer, uint32_t l, const struct fqt_geometry *g) {
    const float *e = error_at(trainer, l + 1);
    const float *x = trainer->features[l];
    const struct fqt_layer_training *sums = &trainer->layers[l];
    switch (model_of(trainer)->layers[l].op) {
    case FQT_LINEAR:
        fqt_linear_backward_weight_f32(g->in_c, g->out_c, e, x, sums->gradient, sums->bias_gradient);
        break;
    case FQT_DEPTHWISE_CONV2D:
        fqt_depthwise_conv2d_backward_weight_f32(g, e, x, sums->gradient, sums->bias_gradient);
        break;
    default:
        fqt_conv2d_backward_weight_f32(g, e, x, sums->gradient, sums->bias_gradient);
    }
}

/* Eq. 2 for layer l. */
static void backward_weight(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    struct fqt_geometry g = fqt_layer_geometry(model, l);
    const struct fqt_layer_training *sums = &trainer->layers[l];
    if (is_quantized(model, l)) {
        backward_weight_u8(trainer, l, &g);
    } else {
        backward_weight_f32(trainer, l, &g);
    }
    tell(trainer, FQT_EVENT_GRADIENT, l, sums->gradient, (uint64_t)n_weights(model, l) * 4);
    tell(trainer, FQT_EVENT_BIAS_GRADIENT, l, sums->bias_gradient, (uint64_t)g.out_c * 4);
}

static float error_scale(const struct fqt_trainer *trainer, uint32_t t) {
    return fqt_error_scale_in_force(trainer->network->live.tensors[t].error_scale);
}

/* Eq. 1, 4 for a quantized layer with weights. */
static void backward_input_u8(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    const struct fqt_layer_values *values = &trainer->network->live.layers[l];
    struct fqt_geometry g = fqt_layer_geometry(model, l);
    float scale = values->weight_scale * error_scale(trainer, l + 1);
    struct fqt_error_quantization q = {
        .zero_w = values->weight_zero,
        .zero_x = trainer->network->live.tensors[l].zero,
        .masked = is_masked(model, l),
        .requantizer = fqt_requantizer_of(scale / error_scale(trainer, l)),
    };
    const int8_t *e = error_at(trainer, l + 1);
    const uint8_t *w = trainer->network->parameters[l].weights;
    const uint8_t *x = trainer->features[l];
    int8_t *dx = error_at(trainer, l);
    int32_t largest;
    switch (model->layers[l].op) {
    case FQT_LINEAR:
        largest = fqt_linear_backward_input_u8(g.in_c, g.out_c, &q, e, w, x, dx);
        break;
    case FQT_DEPTHWISE_CONV2D:
        largest = fqt_depthwise_conv2d_backward_input_u8(&g, &q, e, w, x, dx);
        break;
    default:
        largest = fqt_conv2d_backward_input_u8(&g, &q, e, w, x, dx);
    }
    struct fqt_layer_training *sums = &trainer->layers[l];
    sums->error_max_u8 = largest > sums->error_max_u8 ? largest : sums->error_max_u8;
}

static void backward_input_f32(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    struct fqt_geometry g = fqt_layer_geometry(model, l);
    bool masked = is_masked(model, l);
    const float *e = error_at(trainer, l + 1);
    const float *w = trainer->network->parameters[l].weights;
    const float *x = trainer->features[l];
    float *dx = error_at(trainer, l);
    switch (model->layers[l].op) {
    case FQT_LINEAR:
        fqt_linear_backward_input_f32(g.in_c, g.out_c, masked, e, w, x, dx);
        break;
    case FQT_DEPTHWISE_CONV2D:
        fqt_depthwise_conv2d_backward_input_f32(&g, masked, e, w, x, dx);
        break;
    default:
        fqt_conv2d_backward_input_f32(&g, masked, e, w, x, dx);
    }
}

static void backward_pool(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    struct fqt_geometry g = fqt_layer_geometry(model, l);
    const void *x = trainer->features[l];
    const void *e = error_at(trainer, l + 1);
    void *dx = error_at(trainer, l);
    if (is_quantized(model, l)) {
        int32_t zero_x = trainer->network->live.tensors[l].zero;
        fqt_max_pool2d_backward_u8(&g, zero_x, is_masked(model, l), x, e, dx);
    } else {
        fqt_max_pool2d_backward_f32(&g, is_masked(model, l), x, e, dx);
    }
}

static void backward_dequantize(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    int32_t n = (int32_t)fqt_tensor_elements(&model->tensors[l]);
    int32_t zero_x = trainer->network->live.tensors[l].zero;
    float largest = fqt_dequantize_backward(n, zero_x, is_masked(model, l), error_scale(trainer, l),
                                            error_at(trainer, l + 1), trainer->features[l], error_at(trainer, l));
    struct fqt_layer_training *sums = &trainer->layers[l];
    sums->error_max_f32 = largest > sums->error_max_f32 ? largest : sums->error_max_f32;
}

/* The error at layer l's input from that at its output. */
static void backward_input(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    switch (model->layers[l].op) {
    case FQT_MAX_POOL2D:
        backward_pool(trainer, l);
        break;
    case FQT_DEQUANTIZE:
        backward_dequantize(trainer, l);
        break;
    default:
        if (is_quantized(model, l)) {
            backward_input_u8(trainer, l);
        } else {
            backward_input_f32(trainer, l);
        }
    }
    tell(trainer, FQT_EVENT_ERROR, l, error_at(trainer, l), fqt_tensor_bytes(model, l));
}

static void backward(struct fqt_trainer *trainer, uint32_t loss) {
    const struct fqt_train_config *config = &trainer->config;
    int32_t rate = fqt_update_rate(loss, trainer->loss_max, config->lambda_min, config->lambda_max);
    for (uint32_t l = n_layers_of(trainer); l-- > trainer->first_trained;) {
        if (trains(model_of(trainer), l)) {
            select_channels(trainer, l, rate);
            backward_weight(trainer, l);
        }
        if (l > trainer->first_trained) {
            backward_input(trainer, l);
        }
    }
}

enum fqt_status fqt_train_sample(struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label,
                                 struct fqt_loss *result) {
    if (trainer == NULL || sample == NULL) {
        return FQT_ERROR_ARGUMENT;
    }
    if (label >= fqt_model_classes(model_of(trainer))) {
        return FQT_ERROR_LABEL;
    }
    if (trainer->samples >= trainer->config.batch_size) {
        return FQT_ERROR_BOUND;
    }
    forward(trainer, sample);
    struct fqt_loss loss = loss_and_error(trainer, label);
    backward(trainer, loss.loss);
    trainer->samples++;
    if (result != NULL) {
        *result = loss;
    }
    return FQT_OK;
}

/* ---- The end of a minibatch ---- */

/* Eq. 5-8: layer l's new parameters over its gradients, its new grid into the next version. */
static void update_parameters(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    const struct fqt_layer_parameters *p = &trainer->network->parameters[l];
    const struct fqt_layer_training *sums = &trainer->layers[l];
    struct fqt_update u = {
        .outputs = (int32_t)fqt_layer_outputs(model, l),
        .fan_in = (int32_t)fqt_layer_fan_in(model, l),
        .batch = (int32_t)trainer->samples,
        .learning_rate = trainer->config.learning_rate,
        .fraction_bits = sums->fraction_bits,
        .key = fqt_random_key(trainer->config.seed, trainer->step, l),
    };
    if (is_quantized(model, l)) {
        struct fqt_layer_values *next = &trainer->next.layers[l];
        struct fqt_grid grid = {next->weight_scale, next->weight_zero};
        grid = fqt_update_weights_u8(&u, grid, p->weights, sums->gradient, sums->chosen);
        next->weight_scale = grid.scale;
        next->weight_zero = grid.zero;
        fqt_update_bias_u8(&u, error_scale(trainer, l + 1), p->bias, sums->bias_gradient);
    } else {
        fqt_update_weights_f32(&u, p->weights, sums->gradient, sums->chosen);
        fqt_update_bias_f32(&u, p->bias, sums->bias_gradient);
    }
}

/* The error scale at the input of layer l (SPEC.md section 8). Reads the live version, writes the next. */
static void move_error_scale(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    const struct fqt_version *live = &trainer->network->live;
    const struct fqt_layer_training *sums = &trainer->layers[l];
    float observed;
    if (model->layers[l].op == FQT_DEQUANTIZE) {
        observed = sums->error_max_f32 / 127.0f;
    } else if (fqt_layer_has_weights(&model->layers[l]) && is_quantized(model, l)) {
        float unit = live->layers[l].weight_scale * error_scale(trainer, l + 1);
        observed = ((float)sums->error_max_u8 * unit) / 127.0f;
    } else {
        return;
    }
    trainer->next.tensors[l].error_scale = fqt_update_error_scale(live->tensors[l].error_scale, observed);
}

/* The range of layer l's output (SPEC.md section 8). Reads the live version, writes the next. */
static void move_range(struct fqt_trainer *trainer, uint32_t l) {
    const struct fqt_model *model = model_of(trainer);
    const struct fqt_version *live = &trainer->network->live;
    bool adaptive = (model->tensors[l + 1].flags & FQT_TENSOR_ADAPTIVE) != 0;
    if (!adaptive || !fqt_layer_has_weights(&model->layers[l])) {
        return;
    }
    const struct fqt_tensor_values *old = &live->tensors[l + 1];
    bool relu = (model->layers[l].flags & FQT_LAYER_RELU) != 0;
    float unit = live->tensors[l].scale * live->layers[l].weight_scale;
    struct fqt_range range = {old->lo, old->hi, {old->scale, old->zero}};
    range = fqt_update_range(range, relu, unit, trainer->layers[l].acc);
    struct fqt_tensor_values *next = &trainer->next.tensors[l + 1];
    next->lo = range.lo;
    next->hi = range.hi;
    next->scale = range.grid.scale;
    next->zero = range.grid.zero;
}

/* Requantizers and bias_acc of the next version, from the biases just made. */
static void prepare_next(struct fqt_trainer *trainer) {
    struct fqt_network *network = trainer->network;
    fqt_pass_scales(&network->model, &trainer->next);
    for (uint32_t l = network->first_moving; l < n_layers_of(trainer); l++) {
        const int32_t *bias =
            trains(&network->model, l) ? trainer->layers[l].bias_gradient : network->parameters[l].bias;
        fqt_prepare_layer(network, &trainer->next, l, bias);
    }
}

/* Makes the next version the live one. Inference may preempt this anywhere: between the flag's rise and fall it
 * finishes the copying itself. The gradients hold the new parameters until the flag falls. */
static void commit(struct fqt_network *network) {
    atomic_store_explicit(&network->pending, 1, memory_order_release);
    fqt_finish_commit(network);
    atomic_store_explicit(&network->pending, 0, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst); /* nothing written later may move up in front of the fall */
}

/* The staged weights are live now; what rounding left of them starts the next minibatch's gradients. */
static void restore_residuals(struct fqt_trainer *trainer) {
    const struct fqt_model *model = model_of(trainer);
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        if (trains(model, l) && is_quantized(model, l)) {
            fqt_restore_residuals(trainer->layers[l].gradient, (int32_t)n_weights(model, l));
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
    memcpy(trainer->next.tensors, network->live.tensors, network->version_bytes);
    for (uint32_t l = 0; l < n_layers_of(trainer); l++) {
        if (trains(&network->model, l)) {
            update_parameters(trainer, l);
        }
        move_error_scale(trainer, l);
        move_range(trainer, l);
    }
    prepare_next(trainer);
    commit(network);
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
