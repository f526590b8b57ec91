/* SPDX-License-Identifier: Apache-2.0 */
/* Golden cases of the arithmetic, the operators and the update rule: kinds 1 to 95. */
#include "replay_internal.h"

#include <fqt/arithmetic.h>
#include <fqt/kernels.h>
#include <fqt/model_file.h>
#include <fqt/ranges.h>
#include <fqt/sparse_update.h>
#include <fqt/standardized_sgd.h>

/* ---- 1-4: arithmetic ---- */

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
    return g[10] >= 0 && g[10] < 256 && g[11] >= 0 && g[11] < 256;
}

/* Takes a geometry; of a linear layer's only in_c and out_c count, a depthwise kernel has one channel. */
static struct shape take_shape(struct replay_run *run, enum fqt_op op) {
    static const int32_t one[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
    const int32_t *g = replay_take(run, REPLAY_I32, 12);
    if (g == NULL || (op != FQT_LINEAR && !is_sound(g))) {
        run->malformed = true;
        g = one;
    }
    struct shape s;
    s.g = (struct fqt_geometry){g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11]};
    if (op == FQT_LINEAR) {
        s.g = (struct fqt_geometry){1, 1, g[2], 1, 1, g[5], 1, 1, 1, 1, 0, 0};
    }
    s.n_x = (uint64_t)s.g.in_h * (uint64_t)s.g.in_w * (uint64_t)s.g.in_c;
    s.n_y = (uint64_t)s.g.out_h * (uint64_t)s.g.out_w * (uint64_t)s.g.out_c;
    s.n_w = (uint64_t)s.g.out_c * (uint64_t)s.g.kernel_h * (uint64_t)s.g.kernel_w *
            (op == FQT_DEPTHWISE_CONV2D ? 1u : (uint64_t)s.g.in_c);
    return s;
}

/* ---- 10-15, 20-25, 90-95: convolution, linear, depthwise convolution ---- */

static void forward_u8(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *z = replay_take(run, REPLAY_I32, 4);
    const float *m = replay_take(run, REPLAY_F32, 1);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    const uint8_t *w = replay_take(run, REPLAY_U8, s.n_w);
    const int32_t *bias_acc = replay_take(run, REPLAY_I32, (uint64_t)s.g.out_c);
    uint8_t *y = replay_room(run, s.n_y);
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_forward_quantization q = {z[0], z[1], z[2], z[3], fqt_requantizer_of(m[0])};
    struct fqt_extremes extremes = {INT32_MAX, INT32_MIN};
    if (op == FQT_LINEAR) {
        fqt_linear_forward_u8(s.g.in_c, s.g.out_c, &q, x, w, bias_acc, y, &extremes);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_forward_u8(&s.g, &q, x, w, bias_acc, y, &extremes);
    } else {
        fqt_conv2d_forward_u8(&s.g, &q, x, w, bias_acc, y, &extremes);
    }
    replay_check(run, y);
    replay_check(run, &extremes);
}

static void backward_input_u8(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *z = replay_take(run, REPLAY_I32, 3);
    const float *m = replay_take(run, REPLAY_F32, 1);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    const uint8_t *w = replay_take(run, REPLAY_U8, s.n_w);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    int8_t *dx = replay_room(run, s.n_x);
    if (!replay_ready(run)) {
        return;
    }
    struct fqt_error_quantization q = {z[0], z[1], z[2] != 0, fqt_requantizer_of(m[0])};
    int32_t largest;
    if (op == FQT_LINEAR) {
        largest = fqt_linear_backward_input_u8(s.g.in_c, s.g.out_c, &q, e, w, x, dx);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        largest = fqt_depthwise_conv2d_backward_input_u8(&s.g, &q, e, w, x, dx);
    } else {
        largest = fqt_conv2d_backward_input_u8(&s.g, &q, e, w, x, dx);
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
    if (op == FQT_LINEAR) {
        fqt_linear_backward_weight_u8(s.g.in_c, s.g.out_c, z[0], z[1], e, x, gradient, bias_gradient);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_backward_weight_u8(&s.g, z[0], z[1], e, x, gradient, bias_gradient);
    } else {
        fqt_conv2d_backward_weight_u8(&s.g, z[0], z[1], e, x, gradient, bias_gradient);
    }
    replay_check(run, gradient);
    replay_check(run, bias_gradient);
}

static void forward_f32(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *relu = replay_take(run, REPLAY_I32, 1);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    const float *w = replay_take(run, REPLAY_F32, s.n_w);
    const float *bias = replay_take(run, REPLAY_F32, (uint64_t)s.g.out_c);
    float *y = replay_room(run, 4 * s.n_y);
    if (!replay_ready(run)) {
        return;
    }
    if (op == FQT_LINEAR) {
        fqt_linear_forward_f32(s.g.in_c, s.g.out_c, relu[0] != 0, x, w, bias, y);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_forward_f32(&s.g, relu[0] != 0, x, w, bias, y);
    } else {
        fqt_conv2d_forward_f32(&s.g, relu[0] != 0, x, w, bias, y);
    }
    replay_check(run, y);
}

static void backward_input_f32(struct replay_run *run, enum fqt_op op) {
    struct shape s = take_shape(run, op);
    const int32_t *masked = replay_take(run, REPLAY_I32, 1);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    const float *w = replay_take(run, REPLAY_F32, s.n_w);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    float *dx = replay_room(run, 4 * s.n_x);
    if (!replay_ready(run)) {
        return;
    }
    if (op == FQT_LINEAR) {
        fqt_linear_backward_input_f32(s.g.in_c, s.g.out_c, masked[0] != 0, e, w, x, dx);
    } else if (op == FQT_DEPTHWISE_CONV2D) {
        fqt_depthwise_conv2d_backward_input_f32(&s.g, masked[0] != 0, e, w, x, dx);
    } else {
        fqt_conv2d_backward_input_f32(&s.g, masked[0] != 0, e, w, x, dx);
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

/* ---- 30-33: max pooling ---- */

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
    const int32_t *z = replay_take(run, REPLAY_I32, 2);
    const uint8_t *x = replay_take(run, REPLAY_U8, s.n_x);
    const int8_t *e = replay_take(run, REPLAY_I8, s.n_y);
    int8_t *dx = replay_room(run, s.n_x);
    if (replay_ready(run)) {
        fqt_max_pool2d_backward_u8(&s.g, z[0], z[1] != 0, x, e, dx);
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
    const int32_t *masked = replay_take(run, REPLAY_I32, 1);
    const float *x = replay_take(run, REPLAY_F32, s.n_x);
    const float *e = replay_take(run, REPLAY_F32, s.n_y);
    float *dx = replay_room(run, 4 * s.n_x);
    if (replay_ready(run)) {
        fqt_max_pool2d_backward_f32(&s.g, masked[0] != 0, x, e, dx);
        replay_check(run, dx);
    }
}

/* ---- 40-51: dequantize, loss ---- */

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
    const int32_t *z = replay_take(run, REPLAY_I32, 2);
    const float *error_scale = replay_take(run, REPLAY_F32, 1);
    uint32_t n = replay_count(run);
    const float *e = replay_take(run, REPLAY_F32, n);
    const uint8_t *x = replay_take(run, REPLAY_U8, n);
    int8_t *dx = replay_room(run, n);
    if (replay_ready(run)) {
        float largest = fqt_dequantize_backward((int32_t)n, z[0], z[1] != 0, error_scale[0], e, x, dx);
        replay_check(run, dx);
        replay_check(run, &largest);
    }
}

static void softmax_u8(struct replay_run *run) {
    const int32_t *label = replay_take(run, REPLAY_I32, 1);
    const float *scale = replay_take(run, REPLAY_F32, 1);
    uint32_t n = replay_count(run);
    const uint8_t *logits = replay_take(run, REPLAY_U8, n);
    int8_t *e = replay_room(run, n);
    if (replay_ready(run)) {
        struct fqt_loss loss = fqt_softmax_cross_entropy_u8((int32_t)n, label[0], scale[0], logits, e);
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
    switch (kind) {
    case 30:
        max_pool2d_forward_u8(run);
        return true;
    case 31:
        max_pool2d_backward_u8(run);
        return true;
    case 32:
        max_pool2d_forward_f32(run);
        return true;
    case 33:
        max_pool2d_backward_f32(run);
        return true;
    case 40:
        dequantize_forward(run);
        return true;
    case 41:
        dequantize_backward(run);
        return true;
    case 50:
        softmax_u8(run);
        return true;
    case 51:
        softmax_f32(run);
        return true;
    default:
        return false;
    }
}

/* ---- 60-80: sparse updates, update rule, ranges ---- */

static void sparse_select_u8(struct replay_run *run) {
    const int32_t *shape = replay_take(run, REPLAY_I32, 3);
    uint64_t channels = shape == NULL ? 0 : (uint64_t)shape[1];
    int8_t *e = replay_copy(run, REPLAY_I8, shape == NULL ? 0 : (uint64_t)shape[0] * channels);
    int32_t *chosen = replay_copy(run, REPLAY_I32, channels);
    int32_t *norms = replay_room(run, 4 * channels);
    if (replay_ready(run)) {
        fqt_sparse_select_u8(norms, shape[0], shape[1], shape[2], e, chosen);
        replay_check(run, e);
        replay_check(run, chosen);
    }
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
    const int32_t *sizes = replay_take(run, REPLAY_I32, 5);
    const uint32_t *stream = replay_take(run, REPLAY_U32, 3);
    const float *scales = replay_take(run, REPLAY_F32, 2);
    uint64_t outputs = sizes == NULL ? 0 : (uint64_t)sizes[0];
    uint64_t n = sizes == NULL ? 0 : outputs * (uint64_t)sizes[1];
    const uint8_t *w = replay_take(run, REPLAY_U8, n);
    int32_t *gradient = replay_copy(run, REPLAY_I32, n);
    const int32_t *chosen = replay_take(run, REPLAY_I32, outputs);
    if (!replay_ready(run)) {
        return;
    }
    uint32_t key = fqt_random_key(stream[0], stream[1], stream[2]);
    struct fqt_update u = {sizes[0], sizes[1], sizes[3], scales[1], sizes[4], key};
    struct fqt_grid grid = fqt_update_weights_u8(&u, (struct fqt_grid){scales[0], sizes[2]}, w, gradient, chosen);
    replay_check(run, fqt_staged_weights(gradient, (int32_t)n));
    replay_check(run, &grid.scale);
    replay_check(run, &grid.zero);
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
        struct fqt_update u = {(int32_t)n, 1, batch[0], scales[1], 0, 0};
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
        struct fqt_update u = {sizes[0], sizes[1], sizes[2], learning_rate[0], 0, 0};
        fqt_update_weights_f32(&u, w, gradient, chosen);
        fqt_update_bias_f32(&u, bias, bias_gradient);
        replay_check(run, gradient);
        replay_check(run, bias_gradient);
    }
}

static void update_range(struct replay_run *run) {
    const int32_t *relu = replay_take(run, REPLAY_I32, 1);
    const float *f = replay_take(run, REPLAY_F32, 4);
    const int32_t *z = replay_take(run, REPLAY_I32, 3);
    if (replay_ready(run)) {
        struct fqt_range old = {f[1], f[2], {f[3], z[0]}};
        struct fqt_range range = fqt_update_range(old, relu[0] != 0, f[0], (struct fqt_extremes){z[1], z[2]});
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
