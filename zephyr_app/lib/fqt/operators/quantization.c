/* SPDX-License-Identifier: Apache-2.0 */
/* What operators derive from scales and zero points (SPEC.md 4.1, 4.3, 8). */
#include "quantization.h"

#define ALL_PASS 1000                       /* above every byte */
#define LARGEST_PRODUCT (127 * 255)         /* of an error and a centred weight */
#define LARGEST_SUM (INT32_MAX - (1 << 28)) /* that a requantizer takes */
#define MAX_FACTOR_BITS 8

/* How errors are rounded. Where that is no choice it names a member that is 0 without being named, too. */
#if FQT_WITH_STOCHASTIC_ERRORS
#define ROUNDING(pass) .key = (pass)->key, .first = (pass)->dx
#else
#define ROUNDING(pass) .grids = 0
#endif

/* The byte that is real 6, or one above all. */
static int32_t six(struct fqt_grid grid) {
    return grid.zero + fqt_fround(6.0f / grid.scale, 0, ALL_PASS);
}

struct fqt_limits fqt_output_limits(enum fqt_activation activation, struct fqt_grid y) {
    struct fqt_limits limits = {activation == FQT_ACT_NONE ? 0 : y.zero, 255};
    if (activation == FQT_ACT_RELU6) {
        limits.upper = fqt_clamp(six(y), 0, 255);
    }
    return limits;
}

struct fqt_limits fqt_error_limits(const struct fqt_network *network, uint32_t t) {
    enum fqt_activation activation = fqt_tensor_activation(&network->model, t);
    struct fqt_grid x = fqt_tensor_grid(network, t);
    return (struct fqt_limits){
        .lower = activation == FQT_ACT_NONE ? -1 : x.zero,
        .upper = activation == FQT_ACT_RELU6 ? six(x) : ALL_PASS,
    };
}

struct fqt_error_quantization fqt_error_quantization(const struct fqt_backward_pass *pass, float unit) {
    struct fqt_limits limits = fqt_error_limits(pass->network, pass->input);
    return (struct fqt_error_quantization){
        .lowest = limits.lower,
        .highest = limits.upper,
        .accumulate = pass->accumulate,
        .requantizer = fqt_requantizer_of(unit / fqt_tensor_error_scale(pass->network, pass->input)),
        ROUNDING(pass),
    };
}

float fqt_error_range(const struct fqt_backward_pass *pass, float unit, int32_t largest) {
    float step = pass->accumulate ? fqt_tensor_error_scale(pass->network, pass->input) : unit;
    return ((float)largest * step) / 127.0f;
}

float fqt_output_unit(const struct fqt_network *network, uint32_t l, uint32_t grid) {
    (void)grid;
    return fqt_tensor_grid(network, l + 1).scale * FQT_128TH;
}

/* ---- Layers with weights ---- */

float fqt_weights_unit(const struct fqt_network *network, uint32_t l, uint32_t grid) {
    float scale_x = fqt_tensor_grid(network, network->model.layers[l].input).scale;
    return scale_x * fqt_layer_grids(network, l).scale[grid];
}

struct fqt_forward_quantization fqt_weights_quantization(const struct fqt_forward_pass *pass) {
    const struct fqt_network *network = pass->network;
    const struct fqt_model *model = &network->model;
    struct fqt_grid x = fqt_tensor_grid(network, model->layers[pass->l].input);
    struct fqt_grid y = fqt_tensor_grid(network, pass->l + 1);
    struct fqt_grids grids = fqt_layer_grids(network, pass->l);
    struct fqt_limits limits = fqt_output_limits(fqt_tensor_activation(model, pass->l + 1), y);
    struct fqt_requantizer *requantizers = pass->scratch;
    int32_t *bias_acc = (int32_t *)(void *)(requantizers + grids.n);
    const int32_t *bias = pass->bias;
    float m = 0.0f;
    for (uint32_t co = 0; co < fqt_layer_outputs(model, pass->l); co++) {
        if (co < grids.n) {
            float unit = x.scale * grids.scale[co];
            requantizers[co] = fqt_requantizer_of(unit / y.scale);
            m = 1.0f / (unit * FQT_BIAS_ONE);
        }
        bias_acc[co] = fqt_clamp(fqt_rescale(bias[co], m, FQT_NEAREST), -FQT_ACC_LIMIT, FQT_ACC_LIMIT);
    }
    return (struct fqt_forward_quantization){
        .zero_x = x.zero,
        .zero_y = y.zero,
        .lower = limits.lower,
        .upper = limits.upper,
        .grids = (int32_t)grids.n,
        .zero_w = grids.zero,
        .requantizers = requantizers,
        .bias_acc = bias_acc,
    };
}

static float largest_scale(struct fqt_grids grids) {
    float largest = grids.scale[0];
    for (uint32_t i = 1; i < grids.n; i++) {
        largest = grids.scale[i] > largest ? grids.scale[i] : largest;
    }
    return largest;
}

/* Fraction bits of the factors K: as many as the sums of a fan-out leave free. One grid needs no factor. */
static int32_t factor_bits(uint32_t grids, uint32_t fan_out) {
    int64_t bound = (int64_t)LARGEST_PRODUCT * fan_out;
    int32_t bits = 0;
    while (grids > 1 && bits < MAX_FACTOR_BITS && bound << (bits + 1) <= LARGEST_SUM) {
        bits++;
    }
    return bits;
}

struct fqt_error_quantization fqt_weights_error_quantization(const struct fqt_backward_pass *pass, float *unit) {
    static const int32_t one = 1;
    struct fqt_grids grids = fqt_layer_grids(pass->network, pass->l);
    int32_t bits = factor_bits(grids.n, fqt_layer_fan_out(&pass->network->model, pass->l));
    float factor_one = (float)(1 << bits);
    float largest = largest_scale(grids);
    int32_t *factors = pass->scratch;
    for (uint32_t i = 0; grids.n > 1 && i < grids.n; i++) {
        factors[i] = fqt_fround((grids.scale[i] / largest) * factor_one, 0, 1 << bits);
    }
    *unit = (largest * fqt_tensor_error_scale(pass->network, pass->l + 1)) * (1.0f / factor_one);
    struct fqt_error_quantization q = fqt_error_quantization(pass, *unit);
    q.grids = (int32_t)grids.n;
    q.zero_w = grids.zero;
    q.factors = grids.n > 1 ? factors : &one;
    return q;
}
