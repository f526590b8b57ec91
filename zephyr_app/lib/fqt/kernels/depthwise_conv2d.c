/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4): each channel has a kernel of its
 * own. */
#include "window.h"

#include <stddef.h>

/* Index of weight (c, ky, kx). */
static int32_t weight_index(const struct fqt_geometry *g, int32_t c, int32_t ky, int32_t kx) {
    return (c * g->kernel_h + ky) * g->kernel_w + kx;
}

/* ---- Forward, Eq. 3 ---- */

static int32_t accumulate_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, struct taps v,
                             struct taps h, int32_t c, const uint8_t *x, const uint8_t *w, int32_t acc) {
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const uint8_t *pixel = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c + c;
        const uint8_t *w_row = w + weight_index(g, c, ky, 0);
        for (int32_t kx = h.first; kx < h.last; kx++) {
            acc += (*pixel - q->zero_x) * (w_row[kx] - q->zero_w);
            pixel += g->in_c;
        }
    }
    return acc;
}

void fqt_depthwise_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                     const uint8_t *x, const uint8_t *w, const int32_t *bias_acc, uint8_t *y,
                                     struct fqt_extremes *extremes) {
    struct fqt_extremes seen = {INT32_MAX, INT32_MIN};
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t c = 0; c < g->out_c; c++) {
                int32_t acc = accumulate_u8(g, q, v, h, c, x, w, bias_acc[c]);
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

static float accumulate_f32(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t c, const float *x,
                            const float *w, float acc) {
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const float *pixel = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c + c;
        const float *w_row = w + weight_index(g, c, ky, 0);
        for (int32_t kx = h.first; kx < h.last; kx++) {
            acc = acc + *pixel * w_row[kx];
            pixel += g->in_c;
        }
    }
    return acc;
}

void fqt_depthwise_conv2d_forward_f32(const struct fqt_geometry *g, bool relu, const float *x, const float *w,
                                      const float *bias, float *y) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t c = 0; c < g->out_c; c++) {
                float acc = accumulate_f32(g, v, h, c, x, w, bias[c]);
                *y++ = relu && !(acc > 0.0f) ? 0.0f : acc;
            }
        }
    }
}

/* ---- Error to the input, Eq. 1 and 4: each input element visits the outputs that read it, in raster order ---- */

static int32_t gather_u8(const struct fqt_geometry *g, int32_t zero_w, struct outputs v, struct outputs h, int32_t iy,
                         int32_t ix, int32_t c, const int8_t *e, const uint8_t *w) {
    int32_t sum = 0;
    for (int32_t oy = v.first; oy < v.last; oy++) {
        for (int32_t ox = h.first; ox < h.last; ox++) {
            int32_t tap = weight_index(g, c, iy + g->pad_top - oy * g->stride_h, ix + g->pad_left - ox * g->stride_w);
            sum += e[(oy * g->out_w + ox) * g->out_c + c] * (w[tap] - zero_w);
        }
    }
    return sum;
}

int32_t fqt_depthwise_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                               const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx) {
    int32_t largest = 0;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        struct outputs v = outputs_of(iy, g->stride_h, g->pad_top, g->kernel_h, g->out_h);
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct outputs h = outputs_of(ix, g->stride_w, g->pad_left, g->kernel_w, g->out_w);
            for (int32_t c = 0; c < g->in_c; c++) {
                int32_t sum = gather_u8(g, q->zero_w, v, h, iy, ix, c, e, w);
                largest = fqt_max(largest, fqt_errors_u8(q, 1, &sum, x++, dx++));
            }
        }
    }
    return largest;
}

static float gather_f32(const struct fqt_geometry *g, struct outputs v, struct outputs h, int32_t iy, int32_t ix,
                        int32_t c, const float *e, const float *w) {
    float sum = 0.0f;
    for (int32_t oy = v.first; oy < v.last; oy++) {
        for (int32_t ox = h.first; ox < h.last; ox++) {
            int32_t tap = weight_index(g, c, iy + g->pad_top - oy * g->stride_h, ix + g->pad_left - ox * g->stride_w);
            /* A sum from +0 is never -0: adding +-0 changes no bit. */
            sum = sum + e[(oy * g->out_w + ox) * g->out_c + c] * w[tap];
        }
    }
    return sum;
}

void fqt_depthwise_conv2d_backward_input_f32(const struct fqt_geometry *g, bool masked, const float *e, const float *w,
                                             const float *x, float *dx) {
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        struct outputs v = outputs_of(iy, g->stride_h, g->pad_top, g->kernel_h, g->out_h);
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct outputs h = outputs_of(ix, g->stride_w, g->pad_left, g->kernel_w, g->out_w);
            for (int32_t c = 0; c < g->in_c; c++) {
                float sum = gather_f32(g, v, h, iy, ix, c, e, w);
                *dx++ = masked && !(*x > 0.0f) ? 0.0f : sum;
                x++;
            }
        }
    }
}

/* ---- Weight gradient, Eq. 2 ---- */

void fqt_depthwise_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                             const int8_t *e, const uint8_t *x, int32_t *gradient,
                                             int32_t *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t c = 0; c < g->out_c; c++) {
                int32_t error = *e++;
                if (error == 0) {
                    continue;
                }
                bias_gradient[c] += error;
                int32_t factor = error * (1 << fraction_bits);
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const uint8_t *pixel = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c + c;
                    int32_t *row = gradient + weight_index(g, c, ky, 0);
                    for (int32_t kx = h.first; kx < h.last; kx++) {
                        row[kx] += factor * (*pixel - zero_x);
                        pixel += g->in_c;
                    }
                }
            }
        }
    }
}

void fqt_depthwise_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x,
                                              float *gradient, float *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = taps_of(oy, g->stride_h, g->pad_top, g->kernel_h, g->in_h);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = taps_of(ox, g->stride_w, g->pad_left, g->kernel_w, g->in_w);
            for (int32_t c = 0; c < g->out_c; c++) {
                float error = *e++;
                if (error == 0.0f) {
                    continue;
                }
                bias_gradient[c] = bias_gradient[c] + error;
                for (int32_t ky = v.first; ky < v.last; ky++) {
                    const float *pixel = x + ((v.in + ky - v.first) * g->in_w + h.in) * g->in_c + c;
                    float *row = gradient + weight_index(g, c, ky, 0);
                    for (int32_t kx = h.first; kx < h.last; kx++) {
                        row[kx] = row[kx] + error * *pixel;
                        pixel += g->in_c;
                    }
                }
            }
        }
    }
}
