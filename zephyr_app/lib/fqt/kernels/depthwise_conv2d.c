/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4): each channel has a kernel of its
 * own. */
#include "blocks.h"
#include "depthwise_conv2d_blocked.h"
#include "window.h"

/* Index of weight (c, ky, kx). */
static int32_t weight_index(const struct fqt_geometry *g, int32_t c, int32_t ky, int32_t kx) {
    return (c * g->kernel_h + ky) * g->kernel_w + kx;
}

/* Index of input (row of tap ky, column of tap h.first, c). */
static int32_t input_index(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t ky, int32_t c) {
    return ((v.in + (ky - v.first) * g->dilation_h) * g->in_w + h.in) * g->in_c + c;
}

/* ---- Forward, Eq. 3 ---- */

static int32_t accumulate_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, struct taps v,
                             struct taps h, int32_t c, const uint8_t *x, const uint8_t *w, int32_t acc) {
    int32_t step = g->dilation_w * g->in_c;
    int32_t zero_x = q->zero_x;
    int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, c)];
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const uint8_t *pixel = x + input_index(g, v, h, ky, c);
        const uint8_t *w_row = w + weight_index(g, c, ky, 0);
        for (int32_t kx = h.first; kx < h.last; kx++) {
            acc += (*pixel - zero_x) * (w_row[kx] - zero_w);
            pixel += step;
        }
    }
    return acc;
}

/* A function of its own, as the error's below: the stack of blocked kernels does not lie on its. */
__attribute__((noinline)) static void forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                                 const uint8_t *x, const uint8_t *w, uint8_t *y,
                                                 struct fqt_extremes *extremes) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t c = 0; c < g->out_c; c++) {
                *y++ = fqt_output_u8(q, c, accumulate_u8(g, q, v, h, c, x, w, q->bias_acc[c]), extremes);
            }
        }
    }
}

void fqt_depthwise_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                     const uint8_t *x, const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
#ifdef FQT_BLOCKS
    if (fqt_depthwise_is_blocked(g, q->grids, q->requantizers)) {
        fqt_depthwise_blocked_forward(g, q, x, w, y, extremes);
        return;
    }
#endif
    forward_u8(g, q, x, w, y, extremes);
}

static float accumulate_f32(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t c, const float *x,
                            const float *w, float acc) {
    int32_t step = g->dilation_w * g->in_c;
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const float *pixel = x + input_index(g, v, h, ky, c);
        const float *w_row = w + weight_index(g, c, ky, 0);
        for (int32_t kx = h.first; kx < h.last; kx++) {
            acc = acc + *pixel * w_row[kx];
            pixel += step;
        }
    }
    return acc;
}

void fqt_depthwise_conv2d_forward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                                      const float *w, const float *bias, float *y) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t c = 0; c < g->out_c; c++) {
                *y++ = fqt_activate(activation, accumulate_f32(g, v, h, c, x, w, bias[c]));
            }
        }
    }
}

/* ---- Error to the input, Eq. 1 and 4: each input element visits the outputs that read it, in raster order ---- */

/* An input position and the outputs that may read it. */
struct place {
    int32_t iy, ix;
    struct outputs v, h;
};

/* columns: of e. */
static int32_t gather_u8(const struct fqt_geometry *g, struct place p, int32_t zero_w, const int8_t *e, int32_t columns,
                         const uint8_t *w) {
    int32_t sum = 0;
    for (int32_t oy = p.v.first; oy < p.v.last; oy++) {
        int32_t ky = tap_on(p.iy, oy, g->stride_h, g->pad_top, g->dilation_h);
        for (int32_t ox = p.h.first; ky >= 0 && ox < p.h.last; ox++) {
            int32_t kx = tap_on(p.ix, ox, g->stride_w, g->pad_left, g->dilation_w);
            if (kx >= 0) {
                sum += e[(oy * g->out_w + ox) * columns] * (w[weight_index(g, 0, ky, kx)] - zero_w);
            }
        }
    }
    return sum;
}

__attribute__((noinline)) static int32_t backward_input_u8(const struct fqt_geometry *g,
                                                           const struct fqt_error_quantization *q, const int8_t *e,
                                                           const uint8_t *w, const uint8_t *x, int8_t *dx,
                                                           const struct fqt_channels *kept) {
    int32_t columns = fqt_n_kept(kept, g->out_c);
    int32_t largest = 0;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct place p = {iy, ix, readers_of_row(g, iy), readers_of_column(g, ix)};
            int32_t j = 0;
            for (int32_t c = 0; c < g->in_c; c++) {
                int32_t sum = 0;
                if (j < columns && fqt_kept_channel(kept, j) == c) {
                    int32_t grid = fqt_grid_index(q->grids, c);
                    const uint8_t *w_channel = w + weight_index(g, c, 0, 0);
                    sum = gather_u8(g, p, q->zero_w[grid], e + j, columns, w_channel) * q->factors[grid];
                    j++;
                }
                largest = fqt_max(largest, fqt_errors_u8(q, 1, &sum, x++, dx++));
            }
        }
    }
    return largest;
}

int32_t fqt_depthwise_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                               const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                               const struct fqt_channels *kept) {
#ifdef FQT_BLOCKS
    if (!fqt_errors_are_random(q) && fqt_depthwise_is_blocked(g, 1, &q->requantizer)) {
        return fqt_depthwise_blocked_backward_input(g, q, e, w, x, dx, kept);
    }
#endif
    return backward_input_u8(g, q, e, w, x, dx, kept);
}

static float gather_f32(const struct fqt_geometry *g, struct place p, int32_t c, const float *e, const float *w) {
    float sum = 0.0f;
    for (int32_t oy = p.v.first; oy < p.v.last; oy++) {
        int32_t ky = tap_on(p.iy, oy, g->stride_h, g->pad_top, g->dilation_h);
        for (int32_t ox = p.h.first; ky >= 0 && ox < p.h.last; ox++) {
            int32_t kx = tap_on(p.ix, ox, g->stride_w, g->pad_left, g->dilation_w);
            if (kx >= 0) {
                /* A sum from +0 is never -0: adding +-0 changes no bit. */
                sum = sum + e[(oy * g->out_w + ox) * g->out_c + c] * w[weight_index(g, c, ky, kx)];
            }
        }
    }
    return sum;
}

void fqt_depthwise_conv2d_backward_input_f32(const struct fqt_geometry *g, enum fqt_activation activation,
                                             bool accumulate, const float *e, const float *w, const float *x,
                                             float *dx) {
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct place p = {iy, ix, readers_of_row(g, iy), readers_of_column(g, ix)};
            for (int32_t c = 0; c < g->in_c; c++) {
                fqt_error_f32(activation, accumulate, gather_f32(g, p, c, e, w), x++, dx++);
            }
        }
    }
}

/* ---- Weight gradient, Eq. 2 ---- */

void fqt_depthwise_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                             const int8_t *e, const uint8_t *x, int32_t *gradient,
                                             int32_t *bias_gradient, const struct fqt_channels *kept) {
    int32_t columns = fqt_n_kept(kept, g->out_c);
#ifdef FQT_BLOCKS
    if (fqt_depthwise_is_blocked(g, 0, NULL)) {
        fqt_depthwise_blocked_backward_weight(g, zero_x, fraction_bits, e, x, gradient, bias_gradient, kept);
        return;
    }
#endif
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t j = 0; j < columns; j++) {
                int32_t error = *e++;
                if (error == 0) {
                    continue;
                }
                int32_t c = fqt_kept_channel(kept, j);
                bias_gradient[c] += error;
                int32_t factor = error * (1 << fraction_bits);
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const uint8_t *pixel = x + input_index(g, v, h, ky, c);
                    int32_t *row = gradient + weight_index(g, c, ky, 0);
                    for (int32_t kx = h.first; kx < h.last; kx++) {
                        row[kx] += factor * (*pixel - zero_x);
                        pixel += g->dilation_w * g->in_c;
                    }
                }
            }
        }
    }
}

void fqt_depthwise_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x,
                                              float *gradient, float *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t c = 0; c < g->out_c; c++) {
                float error = *e++;
                if (error == 0.0f) {
                    continue;
                }
                bias_gradient[c] = bias_gradient[c] + error;
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const float *pixel = x + input_index(g, v, h, ky, c);
                    float *row = gradient + weight_index(g, c, ky, 0);
                    for (int32_t kx = h.first; kx < h.last; kx++) {
                        row[kx] = row[kx] + error * *pixel;
                        pixel += g->dilation_w * g->in_c;
                    }
                }
            }
        }
    }
}
