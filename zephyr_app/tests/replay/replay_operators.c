/* SPDX-License-Identifier: Apache-2.0 */
/* Golden cases of the arithmetic, the operators and the update rule: kinds 1 to 95. */
#include "replay_internal.h"

#include <fqt/arithmetic.h>
#include <fqt/kernels.h>
#include <fqt/model_file.h>
#include <fqt/ranges.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>

#include <string.h>

/* ---- 1-6: arithmetic ---- */

static void requantize(struct replay_run *run) {
    uint32_t n = replay_count(run);
    const float *m = replay_take(run, REPLAY_F32, n);
    const int32_t *a = replay_take(run, REPLAY_I32, n);
    int32_t *y = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        y[i] = fqt_requantize(a[i], fqt_requantizer_of(m[i]));
    }
    replay_check(run, y);
}

static void rescale(struct replay_run *run) {
    uint32_t n = replay_count(run);
    const float *m = replay_take(run, REPLAY_F32, n);
    const int32_t *a = replay_take(run, REPLAY_I32, n);
    const uint32_t *r = replay_take(run, REPLAY_U32, n);
    int32_t *y = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        y[i] = fqt_rescale(a[i], m[i], r[i]);
    }
    replay_check(run, y);
}

static void random_words(struct replay_run *run) {
    uint32_t n = replay_count(run) / 4;
    const uint32_t *in = replay_take(run, REPLAY_U32, 4ull * n);
    uint32_t *word = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        word[i] = fqt_random_word(fqt_random_key(in[4 * i], in[4 * i + 1], in[4 * i + 2]), in[4 * i + 3]);
    }
    replay_check(run, word);
}

/* The library draws no order: its words make one as SPEC.md 3 says. */
static void sample_order(struct replay_run *run) {
    const uint32_t *in = replay_take(run, REPLAY_U32, 3);
    uint32_t n = replay_count(run);
    uint32_t *p = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    uint32_t key = fqt_random_key(in[0], in[1], FQT_STREAM_SAMPLE_ORDER);
    for (uint32_t i = 0; i < n; i++) {
        p[i] = i;
    }
    for (uint32_t i = n - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(((uint64_t)fqt_random_word(key, i) * (i + 1)) >> 32);
        uint32_t other = p[j];
        p[j] = p[i];
        p[i] = other;
    }
    replay_check(run, p);
}

/* Nor does it draw weights: networks come from files. */
static void initial_weights(struct replay_run *run) {
    const uint32_t *in = replay_take(run, REPLAY_U32, 4);
    uint32_t n = replay_count(run);
    float *w = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    uint32_t key = fqt_random_key(in[0], 0, 0x10000u + in[1]);
    float bound = fqt_sqrt(6.0f / (float)in[2]);
    for (uint32_t i = 0; i < n; i++) {
        w[i] = ((float)(fqt_random_word(key, i) >> 8) * 0x1p-23f - 1.0f) * bound;
    }
    replay_check(run, w);
}

static void log2_words(struct replay_run *run) {
    uint32_t n = replay_count(run);
    const uint32_t *v = replay_take(run, REPLAY_U32, n);
    uint32_t *y = replay_room(run, 4ull * n);
    if (!replay_ready(run)) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        y[i] = fqt_log2_q16(v[i]);
    }
    replay_check(run, y);
}

bool replay_arithmetic(struct replay_run *run) {
    switch (run->replay_case->kind) {
    case 1:
        requantize(run);
        return true;
    case 2:
        rescale(run);
        return true;
    case 3:
        random_words(run);
        return true;
    case 4:
        log2_words(run);
        return true;
    case 5:
        sample_order(run);
        return true;
    case 6:
        initial_weights(run);
        return true;
    default:
        return false;
    }
}

/* ---- Geometry ---- */

/* Sizes of the arrays of an operator. */
struct shape {
    struct fqt_geometry g;
    uint64_t n_x, n_y, n_w;
};

static bool is_sound(const int32_t *g) {
    for (int i = 0; i < 10; i++) {
        if (g[i] < 1 || g[i] > 65535) {
            return false;
        }
    }
    return g[10] >= 0 && g[10] < 256 && g[11] >= 0 && g[11] < 256 && g[12] >= 1 && g[12] < 256 && g[13] >= 1 &&
           g[13] < 256;
}

/* Takes a geometry; of a linear layer's only in_c and out_c count, a depthwise kernel has one channel. */
static struct shape take_shape(struct replay_run *run, enum fqt_op op) {
    static const int32_t one[14] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1};
    const int32_t *g = replay_take(run, REPLAY_I32, 14);
    if (g == NULL || (op != FQT_LINEAR && !is_sound(g))) {
        run->malformed = true;
        g = one;
    }
    struct shape s;
    s.g = (struct fqt_geometry){g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13]};
    if (op == FQT_LINEAR) {
        s.g = (struct fqt_geometry){1, 1, g[2], 1, 1, g[5], 1, 1, 1, 1, 0, 0, 1, 1};
    }
    s.n_x = (uint64_t)s.g.in_h * (uint64_t)s.g.in_w * (uint64_t)s.g.in_c;
    s.n_y = (uint64_t)s.g.out_h * (uint64_t)s.g.out_w * (uint64_t)s.g.out_c;
    s.n_w = (uint64_t)s.g.out_c * (uint64_t)s.g.kernel_h * (uint64_t)s.g.kernel_w *
            (op == FQT_DEPTHWISE_CONV2D ? 1u : (uint64_t)s.g.in_c);
    return s;
}

/* Takes the arrays' count of grids: 1 or one for each output channel. */
static uint32_t take_grids(struct replay_run *run, int32_t outputs) {
    uint32_t n = replay_count(run);
    run->malformed |= n != 1 && n != (uint32_t)outputs;
    return n;
}

/* Takes n values that an error is added to. Returns where it is made: there; or, where nothing was before, in the place
 * of the input, as networks do it (SPEC.md section 14). *x: the input, then where it is. */
static void *take_error(struct replay_run *run, enum replay_type type, uint64_t n, bool accumulate, const void **x) {
    const void *before = replay_take(run, type, n);
    uint64_t bytes = type == REPLAY_F32 ? 4 * n : n;
    void *dx = replay_room(run, bytes);
    if (!replay_ready(run)) {
        return NULL;
    }
    memcpy(dx, accumulate ? before : *x, (size_t)bytes);
    *x = accumulate ? *x : dx;
    return dx;
}

/* ---- 10-15, 20-25, 90-95: convolution, linear, depthwise convolution ---- */

static void forward_u8(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *z = replay_take(run, REPLAY_I32, 4);
    uint32_t n = take_grids(run, s.g.out_c);
    const int32_t *zero_w = replay_take(run, REPLAY_I32, n);
    const float *m = replay_take(run, REPLAY_F32, n);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    const uint8_t *w = replay_take(run, REPLAY_U8, s.n_w);
    const int32_t *bias_acc = replay_take(run, REPLAY_I32, (uint64_t)s.g.out_c);
    uint8_t *y = replay_room(run, s.n_y);
    struct fqt_requantizer *requantizers = replay_room(run, n * sizeof *requantizers);
    struct fqt_extremes *extremes = replay_room(run, n * sizeof *extremes);
    if (!replay_ready(run)) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        requantizers[i] = fqt_requantizer_of(m[i]);
        extremes[i] = (struct fqt_extremes){INT32_MAX, INT32_MIN};
    }
    struct fqt_forward_quantization q = {z[0], z[1], z[2], z[3], (int32_t)n, zero_w, requantizers, bias_acc};
    if (op == FQT_LINEAR) {
        fqt_linear_forward_u8(s.g.in_c, s.g.out_c, &q, x, w, y, extremes);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_forward_u8(&s.g, &q, x, w, y, extremes);
    } else {
        fqt_conv2d_forward_u8(&s.g, &q, x, w, y, extremes);
    }
    replay_check(run, y);
    replay_check(run, extremes);
}

static struct fqt_error_quantization error_quantization(const int32_t *limits, float m) {
    return (struct fqt_error_quantization){
        .lowest = limits[0],
        .highest = limits[1],
        .accumulate = limits[2] != 0,
        .requantizer = fqt_requantizer_of(m),
    };
}

/* Errors as a sparse update passes them on: where channels have none but 0, without these. kept: the others. */
static const int8_t *keep(struct replay_run *run, const struct shape *s, const int8_t *e, struct fqt_channels *kept) {
    uint64_t channels = (uint64_t)s->g.out_c;
    uint16_t *indices = replay_room(run, 2 * channels);
    int8_t *compact = replay_room(run, s->n_y);
    if (!replay_ready(run)) {
        return e;
    }
    *kept = (struct fqt_channels){0, indices};
    for (uint64_t co = 0; co < channels; co++) {
        bool any = false;
        for (uint64_t i = co; i < s->n_y; i += channels) {
            any = any || e[i] != 0;
        }
        if (any) {
            indices[kept->count++] = (uint16_t)co;
        }
    }
    for (uint64_t i = 0, p = 0; p < s->n_y; p += channels) {
        for (int32_t j = 0; j < kept->count; j++) {
            compact[i++] = e[p + indices[j]];
        }
    }
    return compact;
}

static void backward_input_u8(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *limits = replay_take(run, REPLAY_I32, 3);
    uint32_t n = take_grids(run, s.g.out_c);
    const int32_t *zero_w = replay_take(run, REPLAY_I32, n);
    const int32_t *factors = replay_take(run, REPLAY_I32, n);
    const float *m = replay_take(run, REPLAY_F32, 1);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    const uint8_t *w = replay_take(run, REPLAY_U8, s.n_w);
    const void *x = replay_take(run, REPLAY_U8, s.n_x);
    int8_t *dx = take_error(run, REPLAY_I8, s.n_x, limits != NULL && limits[2] != 0, &x);
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_channels channels = {0};
    const int8_t *kept_e = keep(run, &s, e, &channels);
    const struct fqt_channels *kept = channels.count == s.g.out_c ? NULL : &channels;
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_error_quantization q = error_quantization(limits, m[0]);
    q.grids = (int32_t)n;
    q.zero_w = zero_w;
    q.factors = factors;
    int32_t largest;
    if (op == FQT_LINEAR) {
        largest = fqt_linear_backward_input_u8(s.g.in_c, s.g.out_c, &q, kept_e, w, x, dx, kept);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        largest = fqt_depthwise_conv2d_backward_input_u8(&s.g, &q, kept_e, w, x, dx, kept);
    } else {
        largest = fqt_conv2d_backward_input_u8(&s.g, &q, kept_e, w, x, dx, kept);
    }
    replay_check(run, dx);
    replay_check(run, &largest);
}

static void backward_weight_u8(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *z = replay_take(run, REPLAY_I32, 2);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    int32_t *gradient = replay_copy(run, REPLAY_I32, s.n_w);
    int32_t *bias_gradient = replay_copy(run, REPLAY_I32, (uint64_t)s.g.out_c);
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_channels channels = {0};
    const int8_t *kept_e = keep(run, &s, e, &channels);
    const struct fqt_channels *kept = channels.count == s.g.out_c ? NULL : &channels;
    if (!replay_ready(run)) {
        return;
    }
    if (op == FQT_LINEAR) {
        fqt_linear_backward_weight_u8(s.g.in_c, s.g.out_c, z[0], z[1], kept_e, x, gradient, bias_gradient, kept);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_backward_weight_u8(&s.g, z[0], z[1], kept_e, x, gradient, bias_gradient, kept);
    } else {
        fqt_conv2d_backward_weight_u8(&s.g, z[0], z[1], kept_e, x, gradient, bias_gradient, kept);
    }
    replay_check(run, gradient);
    replay_check(run, bias_gradient);
}

static void forward_f32(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *act = replay_take(run, REPLAY_I32, 1);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    const float *w = replay_take(run, REPLAY_F32, s.n_w);
    const float *bias = replay_take(run, REPLAY_F32, (uint64_t)s.g.out_c);
    float *y = replay_room(run, 4 * s.n_y);
    if (!replay_ready(run)) {
        return;
    }
    enum fqt_activation activation = (enum fqt_activation)act[0];
    if (op == FQT_LINEAR) {
        fqt_linear_forward_f32(s.g.in_c, s.g.out_c, activation, x, w, bias, y);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_forward_f32(&s.g, activation, x, w, bias, y);
    } else {
        fqt_conv2d_forward_f32(&s.g, activation, x, w, bias, y);
    }
    replay_check(run, y);
}

static void backward_input_f32(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *how = replay_take(run, REPLAY_I32, 2);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    const float *w = replay_take(run, REPLAY_F32, s.n_w);
    const void *x = replay_take(run, REPLAY_F32, s.n_x);
    float *dx = take_error(run, REPLAY_F32, s.n_x, how != NULL && how[1] != 0, &x);
    if (!replay_ready(run)) {
        return;
    }
    enum fqt_activation activation = (enum fqt_activation)how[0];
    bool accumulate = how[1] != 0;
    if (op == FQT_LINEAR) {
        fqt_linear_backward_input_f32(s.g.in_c, s.g.out_c, activation, accumulate, e, w, x, dx);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_backward_input_f32(&s.g, activation, accumulate, e, w, x, dx);
    } else {
        fqt_conv2d_backward_input_f32(&s.g, activation, accumulate, e, w, x, dx);
    }
    replay_check(run, dx);
}

static void backward_weight_f32(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    float *gradient = replay_copy(run, REPLAY_F32, s.n_w);
    float *bias_gradient = replay_copy(run, REPLAY_F32, (uint64_t)s.g.out_c);
    if (!replay_ready(run)) {
        return;
    }
    if (op == FQT_LINEAR) {
        fqt_linear_backward_weight_f32(s.g.in_c, s.g.out_c, e, x, gradient, bias_gradient);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_backward_weight_f32(&s.g, e, x, gradient, bias_gradient);
    } else {
        fqt_conv2d_backward_weight_f32(&s.g, e, x, gradient, bias_gradient);
    }
    replay_check(run, gradient);
    replay_check(run, bias_gradient);
}

/* ---- 30-37: pooling ---- */

static void max_pool2d_forward_u8(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_MAX_POOL2D);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    uint8_t *y = replay_room(run, s.n_y);
    if (replay_ready(run)) {
        fqt_max_pool2d_forward_u8(&s.g, x, y);
        replay_check(run, y);
    }
}

static void max_pool2d_backward_u8(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_MAX_POOL2D);
    const int32_t *limits = replay_take(run, REPLAY_I32, 2);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    int8_t *dx = replay_room(run, s.n_x);
    if (replay_ready(run)) {
        fqt_max_pool2d_backward_u8(&s.g, limits[0], limits[1], x, e, dx);
        replay_check(run, dx);
    }
}

static void max_pool2d_forward_f32(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_MAX_POOL2D);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    float *y = replay_room(run, 4 * s.n_y);
    if (replay_ready(run)) {
        fqt_max_pool2d_forward_f32(&s.g, x, y);
        replay_check(run, y);
    }
}

static void max_pool2d_backward_f32(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_MAX_POOL2D);
    const int32_t *act = replay_take(run, REPLAY_I32, 1);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    float *dx = replay_room(run, 4 * s.n_x);
    if (replay_ready(run)) {
        fqt_max_pool2d_backward_f32(&s.g, (enum fqt_activation)act[0], x, e, dx);
        replay_check(run, dx);
    }
}

static void avg_pool2d_forward_u8(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_AVG_POOL2D);
    const int32_t *z = replay_take(run, REPLAY_I32, 2);
    const float *m = replay_take(run, REPLAY_F32, 1);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    uint8_t *y = replay_room(run, s.n_y);
    if (replay_ready(run)) {
        struct fqt_extremes extremes = {INT32_MAX, INT32_MIN};
        fqt_avg_pool2d_forward_u8(&s.g, z[0], z[1], fqt_requantizer_of(m[0]), x, y, &extremes);
        replay_check(run, y);
        replay_check(run, &extremes);
    }
}

static void avg_pool2d_backward_u8(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_AVG_POOL2D);
    const int32_t *limits = replay_take(run, REPLAY_I32, 3);
    const float *m = replay_take(run, REPLAY_F32, 1);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    const void *x = replay_take(run, REPLAY_U8, s.n_x);
    int8_t *dx = take_error(run, REPLAY_I8, s.n_x, limits != NULL && limits[2] != 0, &x);
    if (replay_ready(run)) {
        struct fqt_error_quantization q = error_quantization(limits, m[0]);
        int32_t largest = fqt_avg_pool2d_backward_u8(&s.g, &q, e, x, dx);
        replay_check(run, dx);
        replay_check(run, &largest);
    }
}

static void avg_pool2d_forward_f32(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_AVG_POOL2D);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    float *y = replay_room(run, 4 * s.n_y);
    if (replay_ready(run)) {
        fqt_avg_pool2d_forward_f32(&s.g, x, y);
        replay_check(run, y);
    }
}

static void avg_pool2d_backward_f32(struct replay_run *run) {
    struct shape s = take_shape(run, FQT_AVG_POOL2D);
    const int32_t *how = replay_take(run, REPLAY_I32, 2);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    const void *x = replay_take(run, REPLAY_F32, s.n_x);
    float *dx = take_error(run, REPLAY_F32, s.n_x, how != NULL && how[1] != 0, &x);
    if (replay_ready(run)) {
        fqt_avg_pool2d_backward_f32(&s.g, (enum fqt_activation)how[0], how[1] != 0, e, x, dx);
        replay_check(run, dx);
    }
}

/* ---- 44-47, 52-55: addition, hard-swish. Outputs are made in the input's place, as networks do. ---- */

static void add_forward_u8(struct replay_run *run) {
    const int32_t *z = replay_take(run, REPLAY_I32, 5);
    const float *m = replay_take(run, REPLAY_F32, 2);
    uint32_t n = replay_count(run);
    uint8_t *a = replay_copy(run, REPLAY_U8, n);
    const uint8_t *b = replay_take(run, REPLAY_U8, n);
    if (replay_ready(run)) {
        struct fqt_add_quantization q = {
            z[0], z[1], z[2], z[3], z[4], fqt_requantizer_of(m[0]), fqt_requantizer_of(m[1])};
        struct fqt_extremes extremes = {INT32_MAX, INT32_MIN};
        fqt_add_forward_u8((int32_t)n, &q, a, b, a, &extremes);
        replay_check(run, a);
        replay_check(run, &extremes);
    }
}

static void add_backward_u8(struct replay_run *run) {
    const int32_t *limits = replay_take(run, REPLAY_I32, 3);
    const float *m = replay_take(run, REPLAY_F32, 1);
    uint32_t n = replay_count(run);
    const int8_t *e = replay_take(run, REPLAY_I8, n);
    const void *x = replay_take(run, REPLAY_U8, n);
    int8_t *dx = take_error(run, REPLAY_I8, n, limits != NULL && limits[2] != 0, &x);
    if (replay_ready(run)) {
        struct fqt_error_quantization q = error_quantization(limits, m[0]);
        int32_t largest = fqt_add_backward_u8((int32_t)n, &q, e, x, dx);
        replay_check(run, dx);
        replay_check(run, &largest);
    }
}

static void add_forward_f32(struct replay_run *run) {
    const int32_t *act = replay_take(run, REPLAY_I32, 1);
    uint32_t n = replay_count(run);
    const float *a = replay_take(run, REPLAY_F32, n);
    float *b = replay_copy(run, REPLAY_F32, n);
    if (replay_ready(run)) {
        fqt_add_forward_f32((int32_t)n, (enum fqt_activation)act[0], a, b, b);
        replay_check(run, b);
    }
}

static void add_backward_f32(struct replay_run *run) {
    const int32_t *how = replay_take(run, REPLAY_I32, 2);
    uint32_t n = replay_count(run);
    const float *e = replay_take(run, REPLAY_F32, n);
    const void *x = replay_take(run, REPLAY_F32, n);
    float *dx = take_error(run, REPLAY_F32, n, how != NULL && how[1] != 0, &x);
    if (replay_ready(run)) {
        fqt_add_backward_f32((int32_t)n, (enum fqt_activation)how[0], how[1] != 0, e, x, dx);
        replay_check(run, dx);
    }
}

static void hard_swish_forward_u8(struct replay_run *run) {
    const int32_t *z = replay_take(run, REPLAY_I32, 2);
    const float *scales = replay_take(run, REPLAY_F32, 2);
    uint32_t n = replay_count(run);
    uint8_t *x = replay_copy(run, REPLAY_U8, n);
    if (replay_ready(run)) {
        struct fqt_extremes extremes = {INT32_MAX, INT32_MIN};
        fqt_hard_swish_forward_u8((int32_t)n, z[0], z[1], scales[0], scales[1], x, x, &extremes);
        replay_check(run, x);
        replay_check(run, &extremes);
    }
}

static void hard_swish_backward_u8(struct replay_run *run) {
    const int32_t *z = replay_take(run, REPLAY_I32, 4);
    const float *scales = replay_take(run, REPLAY_F32, 2);
    uint32_t n = replay_count(run);
    const int8_t *e = replay_take(run, REPLAY_I8, n);
    const void *x = replay_take(run, REPLAY_U8, n);
    int8_t *dx = take_error(run, REPLAY_I8, n, z != NULL && z[3] != 0, &x);
    if (replay_ready(run)) {
        struct fqt_error_quantization q = error_quantization(z + 1, scales[1]);
        int32_t largest = fqt_hard_swish_backward_u8((int32_t)n, z[0], scales[0], &q, e, x, dx);
        replay_check(run, dx);
        replay_check(run, &largest);
    }
}

static void hard_swish_forward_f32(struct replay_run *run) {
    uint32_t n = replay_count(run);
    float *x = replay_copy(run, REPLAY_F32, n);
    if (replay_ready(run)) {
        fqt_hard_swish_forward_f32((int32_t)n, x, x);
        replay_check(run, x);
    }
}

static void hard_swish_backward_f32(struct replay_run *run) {
    const int32_t *how = replay_take(run, REPLAY_I32, 2);
    uint32_t n = replay_count(run);
    const float *e = replay_take(run, REPLAY_F32, n);
    const void *x = replay_take(run, REPLAY_F32, n);
    float *dx = take_error(run, REPLAY_F32, n, how != NULL && how[1] != 0, &x);
    if (replay_ready(run)) {
        fqt_hard_swish_backward_f32((int32_t)n, (enum fqt_activation)how[0], how[1] != 0, e, x, dx);
        replay_check(run, dx);
    }
}

/* ---- 40, 41, 50, 51: dequantize, loss ---- */

static void dequantize_forward(struct replay_run *run) {
    const int32_t *z = replay_take(run, REPLAY_I32, 1);
    const float *scale = replay_take(run, REPLAY_F32, 1);
    uint32_t n = replay_count(run);
    const uint8_t *x = replay_take(run, REPLAY_U8, n);
    float *y = replay_room(run, 4ull * n);
    if (replay_ready(run)) {
        fqt_dequantize_forward((int32_t)n, z[0], scale[0], x, y);
        replay_check(run, y);
    }
}

static void dequantize_backward(struct replay_run *run) {
    const int32_t *limits = replay_take(run, REPLAY_I32, 2);
    const float *error_scale = replay_take(run, REPLAY_F32, 1);
    uint32_t n = replay_count(run);
    const float *e = replay_take(run, REPLAY_F32, n);
    const uint8_t *x = replay_take(run, REPLAY_U8, n);
    int8_t *dx = replay_room(run, n);
    if (replay_ready(run)) {
        float largest = fqt_dequantize_backward((int32_t)n, limits[0], limits[1], error_scale[0], e, x, dx);
        replay_check(run, dx);
        replay_check(run, &largest);
    }
}

static void softmax_u8(struct replay_run *run) {
    const int32_t *label = replay_take(run, REPLAY_I32, 1);
    const float *scale = replay_take(run, REPLAY_F32, 1);
    const uint32_t *rounding = replay_take(run, REPLAY_U32, 2); /* stochastic?, key */
    uint32_t n = replay_count(run);
    const uint8_t *logits = replay_take(run, REPLAY_U8, n);
    int8_t *e = replay_room(run, n);
    if (replay_ready(run)) {
        const uint32_t *key = rounding[0] != 0 ? &rounding[1] : NULL;
        struct fqt_loss loss = fqt_softmax_cross_entropy_u8((int32_t)n, label[0], scale[0], key, logits, e);
        replay_check(run, e);
        replay_check(run, &loss);
    }
}

static void softmax_f32(struct replay_run *run) {
    const int32_t *label = replay_take(run, REPLAY_I32, 1);
    uint32_t n = replay_count(run);
    const float *logits = replay_take(run, REPLAY_F32, n);
    float *e = replay_room(run, 4ull * n);
    if (replay_ready(run)) {
        struct fqt_loss loss = fqt_softmax_cross_entropy_f32((int32_t)n, label[0], logits, e);
        replay_check(run, e);
        replay_check(run, &loss);
    }
}

static bool replay_weighted(struct replay_run *run, uint32_t direction, enum fqt_op op) {
    switch (direction) {
    case 0:
        forward_u8(run, op);
        return true;
    case 1:
        backward_input_u8(run, op);
        return true;
    case 2:
        backward_weight_u8(run, op);
        return true;
    case 3:
        forward_f32(run, op);
        return true;
    case 4:
        backward_input_f32(run, op);
        return true;
    case 5:
        backward_weight_f32(run, op);
        return true;
    default:
        return false;
    }
}

bool replay_kernels(struct replay_run *run) {
    uint32_t kind = run->replay_case->kind;
    if ((kind >= 10 && kind < 30) || (kind >= 90 && kind < 100)) {
        enum fqt_op op = kind < 20 ? FQT_CONV2D : kind < 30 ? FQT_LINEAR : FQT_DEPTHWISE_CONV2D;
        return replay_weighted(run, kind % 10, op);
    }
    static const struct {
        uint32_t kind;
        void (*run)(struct replay_run *run);
    } kernels[] = {
        {30, max_pool2d_forward_u8},
        {31, max_pool2d_backward_u8},
        {32, max_pool2d_forward_f32},
        {33, max_pool2d_backward_f32},
        {34, avg_pool2d_forward_u8},
        {35, avg_pool2d_backward_u8},
        {36, avg_pool2d_forward_f32},
        {37, avg_pool2d_backward_f32},
        {40, dequantize_forward},
        {41, dequantize_backward},
        {44, add_forward_u8},
        {45, add_backward_u8},
        {46, add_forward_f32},
        {47, add_backward_f32},
        {50, softmax_u8},
        {51, softmax_f32},
        {52, hard_swish_forward_u8},
        {53, hard_swish_backward_u8},
        {54, hard_swish_forward_f32},
        {55, hard_swish_backward_f32},
    };
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        if (kernels[i].kind == kind) {
            kernels[i].run(run);
            return true;
        }
    }
    return false;
}

/* ---- 60-80: sparse updates, update rule, ranges ---- */

/* Puts kept errors back to where they came from. */
static void spread(int32_t positions, int32_t channels, const struct fqt_channels *kept, const int8_t *compact,
                   int8_t *e) {
    for (int32_t p = 0; p < positions; p++) {
        for (int32_t j = 0; j < kept->count; j++) {
            e[p * channels + kept->indices[j]] = compact[p * kept->count + j];
        }
    }
}

/* Both ways to leave channels out have to end in the same errors. */
static void sparse_select_u8(struct replay_run *run) {
    const int32_t *shape = replay_take(run, REPLAY_I32, 3);
    uint64_t channels = shape == NULL ? 0 : (uint64_t)shape[1];
    int8_t *e = replay_copy(run, REPLAY_I8, shape == NULL ? 0 : (uint64_t)shape[0] * channels);
    int32_t *chosen = replay_copy(run, REPLAY_I32, channels);
    void *scratch = replay_room(run, 4 * channels);
    int8_t *compact = replay_room(run, shape == NULL ? 0 : (uint64_t)shape[0] * channels);
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_channels kept = fqt_sparse_select_u8(scratch, shape[0], shape[1], shape[2], e, chosen);
    memcpy(compact, e, (size_t)(shape[0] * shape[1]));
    fqt_sparse_compact_u8(shape[0], shape[1], &kept, compact);
    fqt_sparse_zero_u8(shape[0], shape[1], &kept, e);
    spread(shape[0], shape[1], &kept, compact, e);
    replay_check(run, e);
    replay_check(run, chosen);
}

static void sparse_select_f32(struct replay_run *run) {
    const int32_t *shape = replay_take(run, REPLAY_I32, 3);
    uint64_t channels = shape == NULL ? 0 : (uint64_t)shape[1];
    float *e = replay_copy(run, REPLAY_F32, shape == NULL ? 0 : (uint64_t)shape[0] * channels);
    int32_t *chosen = replay_copy(run, REPLAY_I32, channels);
    float *norms = replay_room(run, 4 * channels);
    if (replay_ready(run)) {
        fqt_sparse_select_f32(norms, shape[0], shape[1], shape[2], e, chosen);
        replay_check(run, e);
        replay_check(run, chosen);
    }
}

static void update_weights_u8(struct replay_run *run) {
    const int32_t *sizes = replay_take(run, REPLAY_I32, 4);
    const uint32_t *stream = replay_take(run, REPLAY_U32, 3);
    const float *learning_rate = replay_take(run, REPLAY_F32, 1);
    uint32_t grids = take_grids(run, sizes == NULL ? 1 : sizes[0]);
    float *scale = replay_copy(run, REPLAY_F32, grids);
    int32_t *zero = replay_copy(run, REPLAY_I32, grids);
    uint64_t outputs = sizes == NULL ? 0 : (uint64_t)sizes[0];
    uint64_t n = sizes == NULL ? 0 : outputs * (uint64_t)sizes[1];
    const uint8_t *w = replay_take(run, REPLAY_U8, n);
    int32_t *gradient = replay_copy(run, REPLAY_I32, n);
    const int32_t *chosen = replay_take(run, REPLAY_I32, outputs);
    if (!replay_ready(run)) {
        return;
    }
    uint32_t key = fqt_random_key(stream[0], stream[1], stream[2]);
    struct fqt_update u = {.outputs = sizes[0],
                           .fan_in = sizes[1],
                           .batch = sizes[2],
                           .learning_rate = learning_rate[0],
                           .fraction_bits = sizes[3],
                           .key = key};
    fqt_update_weights_u8(&u, (int32_t)grids, scale, zero, w, gradient, chosen);
    replay_check(run, fqt_staged_weights(gradient, (int32_t)n));
    replay_check(run, scale);
    replay_check(run, zero);
    fqt_restore_residuals(gradient, (int32_t)n);
    replay_check(run, gradient);
}

static void update_bias_u8(struct replay_run *run) {
    const int32_t *batch = replay_take(run, REPLAY_I32, 1);
    const float *scales = replay_take(run, REPLAY_F32, 2);
    uint32_t n = replay_count(run);
    const int32_t *bias = replay_take(run, REPLAY_I32, n);
    int32_t *bias_gradient = replay_copy(run, REPLAY_I32, n);
    if (replay_ready(run)) {
        struct fqt_update u = {.outputs = (int32_t)n, .fan_in = 1, .batch = batch[0], .learning_rate = scales[1]};
        fqt_update_bias_u8(&u, scales[0], bias, bias_gradient);
        replay_check(run, bias_gradient);
    }
}

static void update_f32(struct replay_run *run) {
    const int32_t *sizes = replay_take(run, REPLAY_I32, 3);
    const float *learning_rate = replay_take(run, REPLAY_F32, 1);
    uint64_t outputs = sizes == NULL ? 0 : (uint64_t)sizes[0];
    uint64_t n = sizes == NULL ? 0 : outputs * (uint64_t)sizes[1];
    const float *w = replay_take(run, REPLAY_F32, n);
    const float *bias = replay_take(run, REPLAY_F32, outputs);
    float *gradient = replay_copy(run, REPLAY_F32, n);
    float *bias_gradient = replay_copy(run, REPLAY_F32, outputs);
    const int32_t *chosen = replay_take(run, REPLAY_I32, outputs);
    if (replay_ready(run)) {
        struct fqt_update u = {
            .outputs = sizes[0], .fan_in = sizes[1], .batch = sizes[2], .learning_rate = learning_rate[0]};
        fqt_update_weights_f32(&u, w, gradient, chosen);
        fqt_update_bias_f32(&u, bias, bias_gradient);
        replay_check(run, gradient);
        replay_check(run, bias_gradient);
    }
}

static void update_range(struct replay_run *run) {
    const int32_t *act = replay_take(run, REPLAY_I32, 1);
    const float *f = replay_take(run, REPLAY_F32, 5);
    const int32_t *zero = replay_take(run, REPLAY_I32, 1);
    if (replay_ready(run)) {
        struct fqt_range old = {f[2], f[3], {f[4], zero[0]}};
        struct fqt_range range = fqt_update_range(old, (enum fqt_activation)act[0], f[0], f[1]);
        float values[3] = {range.lo, range.hi, range.grid.scale};
        replay_check(run, values);
        replay_check(run, &range.grid.zero);
    }
}

bool replay_update(struct replay_run *run) {
    switch (run->replay_case->kind) {
    case 60:
        sparse_select_u8(run);
        return true;
    case 61:
        sparse_select_f32(run);
        return true;
    case 70:
        update_weights_u8(run);
        return true;
    case 71:
        update_bias_u8(run);
        return true;
    case 72:
        update_f32(run);
        return true;
    case 80:
        update_range(run);
        return true;
    default:
        return false;
    }
}
