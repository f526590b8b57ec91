/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4). */
#include "window.h"

/* Input channels whose errors are summed at once: enough to reuse each e, few enough for the stack. */
#define BLOCK 16

/* Index of weight (co, ky, kx, 0). */
static int32_t weight_index(const struct fqt_geometry *g, int32_t co, int32_t ky, int32_t kx) {
    return ((co * g->kernel_h + ky) * g->kernel_w + kx) * g->in_c;
}

/* A row of taps is runs of neighbours in input and weights: one run of all its taps, or with dilation one a tap. */
struct runs {
    int32_t n, length;
    int32_t step; /* from one to the next in the input; in the weights it is the length */
};

static struct runs runs_of(const struct fqt_geometry *g, struct taps h) {
    int32_t taps = h.last - h.first;
    if (g->dilation_w == 1) {
        return (struct runs){1, taps * g->in_c, 0};
    }
    return (struct runs){taps, g->in_c, g->dilation_w * g->in_c};
}

/* Index of input (row of tap ky, column of tap h.first, 0). */
static int32_t input_index(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t ky) {
    return ((v.in + (ky - v.first) * g->dilation_h) * g->in_w + h.in) * g->in_c;
}

/* ---- Forward, Eq. 3 ---- */

/* acc + sum (x - z_x)(w - z_w) of one output. */
static int32_t accumulate_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, struct taps v,
                             struct taps h, int32_t co, const uint8_t *x, const uint8_t *w, int32_t acc) {
    struct runs runs = runs_of(g, h);
    int32_t zero_x = q->zero_x;
    int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, co)];
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const uint8_t *x_run = x + input_index(g, v, h, ky);
        const uint8_t *w_run = w + weight_index(g, co, ky, h.first);
        for (int32_t run = 0; run < runs.n; run++) {
            for (int32_t i = 0; i < runs.length; i++) {
                acc += (x_run[i] - zero_x) * (w_run[i] - zero_w);
            }
            x_run += runs.step;
            w_run += runs.length;
        }
    }
    return acc;
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t co = 0; co < g->out_c; co++) {
                *y++ = fqt_output_u8(q, co, accumulate_u8(g, q, v, h, co, x, w, q->bias_acc[co]), extremes);
            }
        }
    }
}

static float accumulate_f32(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t co, const float *x,
                            const float *w, float acc) {
    struct runs runs = runs_of(g, h);
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const float *x_run = x + input_index(g, v, h, ky);
        const float *w_run = w + weight_index(g, co, ky, h.first);
        for (int32_t run = 0; run < runs.n; run++) {
            for (int32_t i = 0; i < runs.length; i++) {
                acc = acc + x_run[i] * w_run[i];
            }
            x_run += runs.step;
            w_run += runs.length;
        }
    }
    return acc;
}

void fqt_conv2d_forward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                            const float *w, const float *bias, float *y) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t co = 0; co < g->out_c; co++) {
                *y++ = fqt_activate(activation, accumulate_f32(g, v, h, co, x, w, bias[co]));
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

/* Taps of output (oy, ox) on a block. */
static int32_t row_tap(const struct fqt_geometry *g, struct input_block b, int32_t oy) {
    return tap_on(b.iy, oy, g->stride_h, g->pad_top, g->dilation_h);
}

static int32_t column_tap(const struct fqt_geometry *g, struct input_block b, int32_t ox) {
    return tap_on(b.ix, ox, g->stride_w, g->pad_left, g->dilation_w);
}

/* The errors of one output position. */
static void add_errors_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q, struct input_block b,
                          int32_t ky, int32_t kx, const int8_t *e, const uint8_t *w, int32_t *sum) {
    for (int32_t co = 0; co < g->out_c; co++) {
        if (e[co] == 0) {
            continue;
        }
        int32_t grid = fqt_grid_index(q->grids, co);
        int32_t error = e[co] * q->factors[grid];
        int32_t zero_w = q->zero_w[grid];
        const uint8_t *w_row = w + weight_index(g, co, ky, kx) + b.ci;
        for (int32_t j = 0; j < b.n; j++) {
            sum[j] += error * (w_row[j] - zero_w);
        }
    }
}

static void gather_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q, struct input_block b,
                      const int8_t *e, const uint8_t *w, int32_t *sum) {
    struct outputs v = readers_of_row(g, b.iy);
    struct outputs h = readers_of_column(g, b.ix);
    for (int32_t oy = v.first; oy < v.last; oy++) {
        int32_t ky = row_tap(g, b, oy);
        for (int32_t ox = h.first; ky >= 0 && ox < h.last; ox++) {
            int32_t kx = column_tap(g, b, ox);
            if (kx >= 0) {
                add_errors_u8(g, q, b, ky, kx, e + (oy * g->out_w + ox) * g->out_c, w, sum);
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
                gather_u8(g, q, block, e, w, sum);
                largest = fqt_max(largest, fqt_errors_u8(q, block.n, sum, x, dx));
                x += block.n;
                dx += block.n;
            }
        }
    }
    return largest;
}

static void add_errors_f32(const struct fqt_geometry *g, struct input_block b, int32_t ky, int32_t kx, const float *e,
                           const float *w, float *sum) {
    for (int32_t co = 0; co < g->out_c; co++) {
        if (e[co] == 0.0f) {
            continue; /* a sum from +0 is never -0: adding +-0 changes no bit */
        }
        const float *w_row = w + weight_index(g, co, ky, kx) + b.ci;
        for (int32_t j = 0; j < b.n; j++) {
            sum[j] = sum[j] + e[co] * w_row[j];
        }
    }
}

static void gather_f32(const struct fqt_geometry *g, struct input_block b, const float *e, const float *w, float *sum) {
    struct outputs v = readers_of_row(g, b.iy);
    struct outputs h = readers_of_column(g, b.ix);
    for (int32_t oy = v.first; oy < v.last; oy++) {
        int32_t ky = row_tap(g, b, oy);
        for (int32_t ox = h.first; ky >= 0 && ox < h.last; ox++) {
            int32_t kx = column_tap(g, b, ox);
            if (kx >= 0) {
                add_errors_f32(g, b, ky, kx, e + (oy * g->out_w + ox) * g->out_c, w, sum);
            }
        }
    }
}

void fqt_conv2d_backward_input_f32(const struct fqt_geometry *g, enum fqt_activation activation, bool accumulate,
                                   const float *e, const float *w, const float *x, float *dx) {
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t ci = 0; ci < g->in_c; ci += BLOCK) {
                struct input_block block = {iy, ix, ci, fqt_min(BLOCK, g->in_c - ci)};
                float sum[BLOCK] = {0};
                gather_f32(g, block, e, w, sum);
                for (int32_t j = 0; j < block.n; j++) {
                    fqt_error_f32(activation, accumulate, sum[j], x++, dx++);
                }
            }
        }
    }
}

/* ---- Weight gradient, Eq. 2 ---- */

static void add_gradient_u8(const struct fqt_geometry *g, struct taps v, struct taps h, int32_t zero_x, int32_t factor,
                            int32_t co, const uint8_t *x, int32_t *gradient) {
    struct runs runs = runs_of(g, h);
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const uint8_t *x_run = x + input_index(g, v, h, ky);
        int32_t *run_gradient = gradient + weight_index(g, co, ky, h.first);
        for (int32_t run = 0; run < runs.n; run++) {
            for (int32_t i = 0; i < runs.length; i++) {
                run_gradient[i] += factor * (x_run[i] - zero_x);
            }
            x_run += runs.step;
            run_gradient += runs.length;
        }
    }
}

void fqt_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits, const int8_t *e,
                                   const uint8_t *x, int32_t *gradient, int32_t *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t co = 0; co < g->out_c; co++) {
                int32_t error = *e++;
                if (error == 0) {
                    continue;
                }
                bias_gradient[co] += error;
                add_gradient_u8(g, v, h, zero_x, error * (1 << fraction_bits), co, x, gradient);
            }
        }
    }
}

static void add_gradient_f32(const struct fqt_geometry *g, struct taps v, struct taps h, float error, int32_t co,
                             const float *x, float *gradient) {
    struct runs runs = runs_of(g, h);
    for (int32_t ky = v.first; ky < v.last; ky++) {
        const float *x_run = x + input_index(g, v, h, ky);
        float *run_gradient = gradient + weight_index(g, co, ky, h.first);
        for (int32_t run = 0; run < runs.n; run++) {
            for (int32_t i = 0; i < runs.length; i++) {
                run_gradient[i] = run_gradient[i] + error * x_run[i];
            }
            x_run += runs.step;
            run_gradient += runs.length;
        }
    }
}

void fqt_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x, float *gradient,
                                    float *bias_gradient) {
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct taps h = columns_of(g, ox);
            for (int32_t co = 0; co < g->out_c; co++) {
                float error = *e++;
                if (error == 0.0f) {
                    continue;
                }
                bias_gradient[co] = bias_gradient[co] + error;
                add_gradient_f32(g, v, h, error, co, x, gradient);
            }
        }
    }
}
