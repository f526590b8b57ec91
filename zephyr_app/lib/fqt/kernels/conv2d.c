/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4). */
#include "window.h"

#include <stddef.h>

/* Input channels whose errors are summed at once: enough to reuse each e, few enough for the stack. */
#define BLOCK 16

/* Index of weight (co, ky, kx, 0). */
static int32_t weight_index(const struct fqt_geometry *g, int32_t co, int32_t ky, int32_t kx) {
    return ((co * g->kernel_h + ky) * g->kernel_w + kx) * g->in_c;
}

/* ---- Forward, Eq. 3 ---- */

/* Taps kx of one row are neighbours in input and weights, so a row is one run of products. */
static int32_t accumulate_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, struct taps v,
                             struct taps h, int32_t co, const uint8_t *x, const uint8_t *w, int32_t acc) {
    int32_t length = (h.last - h.first) * g->in_c;
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const uint8_t *x_row = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c;
        const uint8_t *w_row = w + weight_index(g, co, ky, h.first);
        for (int32_t i = 0; i < length; i++) {
            acc += (x_row[i] - q->zero_x) * (w_row[i] - q->zero_w);
        }
    }
    return acc;
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, const int32_t *bias_acc, uint8_t *y, struct fqt_extremes *extremes) {
    struct fqt_extremes seen = {INT32_MAX, INT32_MIN};
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t co = 0; co < g->out_c; co++) {
                int32_t acc = accumulate_u8(g, q, v, h, co, x, w, bias_acc[co]);
                fqt_widen(&seen, acc);
                *y++ = fqt_output_u8(q, acc);
            }
        }
    }
    if (extremes != NULL) {
        fqt_widen(extremes, seen.least);
        fqt_widen(extremes, seen.greatest);
    }
}

static float accumulate_f32(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t co, const float *x,
                            const float *w, float acc) {
    int32_t length = (h.last - h.first) * g->in_c;
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const float *x_row = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c;
        const float *w_row = w + weight_index(g, co, ky, h.first);
        for (int32_t i = 0; i < length; i++) {
            acc = acc + x_row[i] * w_row[i];
        }
    }
    return acc;
}

void fqt_conv2d_forward_f32(const struct fqt_geometry *g, bool relu, const float *x, const float *w, const float *bias,
                            float *y) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t co = 0; co < g->out_c; co++) {
                float acc = accumulate_f32(g, v, h, co, x, w, bias[co]);
                *y++ = relu && !(acc > 0.0f) ? 0.0f : acc;
            }
        }
    }
}

/* ---- Error to the input, Eq. 1 and 4 ----
 * Gathered: each input element visits the outputs that read it, in raster order, co within. No scratch, and float32
 * gets its order. */

/* Where n input channels from ci of input position (iy, ix) are. */
struct input_block {
    int32_t iy, ix, ci, n;
};

static void gather_u8(const struct fqt_geometry *g, int32_t zero_w, struct input_block b, const int8_t *e,
                      const uint8_t *w, int32_t *sum) {
    struct outputs v = outputs_of(b.iy, g->stride_h, g->pad_top, g->kernel_h, g->out_h);
    struct outputs h = outputs_of(b.ix, g->stride_w, g->pad_left, g->kernel_w, g->out_w);
    for (int32_t oy = v.first; oy < v.last; oy++) {
        for (int32_t ox = h.first; ox < h.last; ox++) {
            int32_t ky = b.iy + g->pad_top - oy * g->stride_h;
            int32_t kx = b.ix + g->pad_left - ox * g->stride_w;
            const int8_t *e_row = e + (oy * g->out_w + ox) * g->out_c;
            for (int32_t co = 0; co < g->out_c; co++) {
                if (e_row[co] == 0) {
                    continue;
                }
                const uint8_t *w_row = w + weight_index(g, co, ky, kx) + b.ci;
                for (int32_t j = 0; j < b.n; j++) {
                    sum[j] += e_row[co] * (w_row[j] - zero_w);
                }
            }
        }
    }
}

int32_t fqt_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx) {
    int32_t largest = 0;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t ci = 0; ci < g->in_c; ci += BLOCK) {
                struct input_block block = {iy, ix, ci, fqt_min(BLOCK, g->in_c - ci)};
                int32_t sum[BLOCK] = {0};
                gather_u8(g, q->zero_w, block, e, w, sum);
                largest = fqt_max(largest, fqt_errors_u8(q, block.n, sum, x, dx));
                x += block.n;
                dx += block.n;
            }
        }
    }
    return largest;
}

static void gather_f32(const struct fqt_geometry *g, struct input_block b, const float *e, const float *w, float *sum) {
    struct outputs v = outputs_of(b.iy, g->stride_h, g->pad_top, g->kernel_h, g->out_h);
    struct outputs h = outputs_of(b.ix, g->stride_w, g->pad_left, g->kernel_w, g->out_w);
    for (int32_t oy = v.first; oy < v.last; oy++) {
        for (int32_t ox = h.first; ox < h.last; ox++) {
            int32_t ky = b.iy + g->pad_top - oy * g->stride_h;
            int32_t kx = b.ix + g->pad_left - ox * g->stride_w;
            const float *e_row = e + (oy * g->out_w + ox) * g->out_c;
            for (int32_t co = 0; co < g->out_c; co++) {
                if (e_row[co] == 0.0f) {
                    continue; /* a sum from +0 is never -0: adding +-0 changes no bit */
                }
                const float *w_row = w + weight_index(g, co, ky, kx) + b.ci;
                for (int32_t j = 0; j < b.n; j++) {
                    sum[j] = sum[j] + e_row[co] * w_row[j];
                }
            }
        }
    }
}

void fqt_conv2d_backward_input_f32(const struct fqt_geometry *g, bool masked, const float *e, const float *w,
                                   const float *x, float *dx) {
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t ci = 0; ci < g->in_c; ci += BLOCK) {
                struct input_block block = {iy, ix, ci, fqt_min(BLOCK, g->in_c - ci)};
                float sum[BLOCK] = {0};
                gather_f32(g, block, e, w, sum);
                for (int32_t j = 0; j < block.n; j++) {
                    *dx++ = masked && !(*x > 0.0f) ? 0.0f : sum[j];
                    x++;
                }
            }
        }
    }
}

/* ---- Weight gradient, Eq. 2 ---- */

void fqt_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits, const int8_t *e,
                                   const uint8_t *x, int32_t *gradient, int32_t *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            int32_t length = (h.last - h.first) * g->in_c;
            for (int32_t co = 0; co < g->out_c; co++) {
                int32_t error = *e++;
                if (error == 0) {
                    continue;
                }
                bias_gradient[co] += error;
                int32_t factor = error * (1 << fraction_bits);
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const uint8_t *x_row = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c;
                    int32_t *row = gradient + weight_index(g, co, ky, h.first);
                    for (int32_t i = 0; i < length; i++) {
                        row[i] += factor * (x_row[i] - zero_x);
                    }
                }
            }
        }
    }
}

void fqt_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x, float *gradient,
                                    float *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            int32_t length = (h.last - h.first) * g->in_c;
            for (int32_t co = 0; co < g->out_c; co++) {
                float error = *e++;
                if (error == 0.0f) {
                    continue;
                }
                bias_gradient[co] = bias_gradient[co] + error;
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const float *x_row = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c;
                    float *row = gradient + weight_index(g, co, ky, h.first);
                    for (int32_t i = 0; i < length; i++) {
                        row[i] = row[i] + error * x_row[i];
                    }
                }
            }
        }
    }
}
