/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4). */
#include "blocks.h"
#include "window.h"

/* Input channels whose errors are summed at once: enough to reuse each e, few enough for the stack. */
#define BLOCK 16

/* Index of weight (co, ky, kx, 0). */
static int32_t weight_index(const struct fqt_geometry *g, int32_t co, int32_t ky, int32_t kx) {
    return ((co * g->kernel_h + ky) * g->kernel_w + kx) * g->in_c;
}

/* The part of a window that lies inside the input. A row of taps is runs of neighbours in input and weights: one run of
 * all its taps, or with dilation one a tap. */
struct window {
    int32_t rows, runs, length;
    int32_t x, x_row, x_run; /* in the input: index of the first run, steps to the next row and run */
    int32_t w, w_row;        /* in a channel's weights; the next run is `length` on */
};

static struct window window_of(const struct fqt_geometry *g, struct taps v, struct taps h) {
    int32_t taps = h.last - h.first;
    bool neighbours = g->dilation_w == 1;
    return (struct window){
        .rows = v.last - v.first,
        .runs = neighbours ? 1 : taps,
        .length = neighbours ? taps * g->in_c : g->in_c,
        .x = (v.in * g->in_w + h.in) * g->in_c,
        .x_row = v.last - v.first > 1 ? g->dilation_h * g->in_w * g->in_c : 0, /* never far beyond the input */
        .x_run = g->dilation_w * g->in_c,
        .w = weight_index(g, 0, v.first, h.first),
        .w_row = g->kernel_w * g->in_c,
    };
}

/* Weights of an output channel. */
static int32_t fan_in_of(const struct fqt_geometry *g) {
    return weight_index(g, 1, 0, 0);
}

/* ---- Forward, Eq. 3 ---- */

#ifndef FQT_BLOCKS /* conv2d_forward_blocked.c */
/* acc + sum (x - z_x)(w - z_w) of one run. A function of its own, because within three loops a Cortex-M0+ has too few
 * registers for it. */
__attribute__((noinline)) static int32_t dot_u8(const uint8_t *x, const uint8_t *w, int32_t n, int32_t acc,
                                                int32_t zero_x, int32_t zero_w) {
    for (int32_t i = 0; i < n; i++) {
        acc += (x[i] - zero_x) * (w[i] - zero_w);
    }
    return acc;
}

/* acc + sum (x - z_x)(w - z_w) of one output; w: of its channel. */
static int32_t accumulate_u8(const struct window *window, int32_t zero_x, int32_t zero_w, const uint8_t *x,
                             const uint8_t *w, int32_t acc) {
    x += window->x;
    w += window->w;
    for (int32_t row = 0; row < window->rows; row++) {
        for (int32_t run = 0; run < window->runs; run++) {
            acc = dot_u8(x + run * window->x_run, w + run * window->length, window->length, acc, zero_x, zero_w);
        }
        x += window->x_row;
        w += window->w_row;
    }
    return acc;
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    int32_t fan_in = fan_in_of(g);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct window window = window_of(g, v, columns_of(g, ox));
            for (int32_t co = 0; co < g->out_c; co++) {
                int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, co)];
                int32_t acc = accumulate_u8(&window, q->zero_x, zero_w, x, w + co * fan_in, q->bias_acc[co]);
                *y++ = fqt_output_u8(q, co, acc, extremes);
            }
        }
    }
}

#endif

static float accumulate_f32(const struct window *window, const float *x, const float *w, float acc) {
    x += window->x;
    w += window->w;
    for (int32_t row = 0; row < window->rows; row++) {
        for (int32_t run = 0; run < window->runs; run++) {
            const float *x_run = x + run * window->x_run;
            const float *w_run = w + run * window->length;
            for (int32_t i = 0; i < window->length; i++) {
                acc = acc + x_run[i] * w_run[i];
            }
        }
        x += window->x_row;
        w += window->w_row;
    }
    return acc;
}

void fqt_conv2d_forward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                            const float *w, const float *bias, float *y) {
    int32_t fan_in = fan_in_of(g);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct window window = window_of(g, v, columns_of(g, ox));
            for (int32_t co = 0; co < g->out_c; co++) {
                *y++ = fqt_activate(activation, accumulate_f32(&window, x, w + co * fan_in, bias[co]));
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

#ifndef FQT_BLOCKS /* conv2d_backward_input_blocked.c */
/* The errors of one output position. */
static void add_errors_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q, struct input_block b,
                          int32_t ky, int32_t kx, const int8_t *e, const uint8_t *w, const struct fqt_channels *kept,
                          int32_t *sum) {
    int32_t fan_in = fan_in_of(g);
    int32_t columns = fqt_n_kept(kept, g->out_c);
    w += weight_index(g, 0, ky, kx) + b.ci;
    for (int32_t column = 0; column < columns; column++) {
        if (e[column] == 0) {
            continue;
        }
        int32_t co = fqt_kept_channel(kept, column);
        int32_t grid = fqt_grid_index(q->grids, co);
        int32_t error = e[column] * q->factors[grid];
        int32_t zero_w = q->zero_w[grid];
        const uint8_t *w_row = w + co * fan_in;
        for (int32_t j = 0; j < b.n; j++) {
            sum[j] += error * (w_row[j] - zero_w);
        }
    }
}

static void gather_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q, struct input_block b,
                      const int8_t *e, const uint8_t *w, const struct fqt_channels *kept, int32_t *sum) {
    int32_t columns = fqt_n_kept(kept, g->out_c);
    struct outputs v = readers_of_row(g, b.iy);
    struct outputs h = readers_of_column(g, b.ix);
    for (int32_t oy = v.first; oy < v.last; oy++) {
        int32_t ky = row_tap(g, b, oy);
        for (int32_t ox = h.first; ky >= 0 && ox < h.last; ox++) {
            int32_t kx = column_tap(g, b, ox);
            if (kx >= 0) {
                add_errors_u8(g, q, b, ky, kx, e + (oy * g->out_w + ox) * columns, w, kept, sum);
            }
        }
    }
}

int32_t fqt_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                     const struct fqt_channels *kept) {
    int32_t largest = 0;
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t ci = 0; ci < g->in_c; ci += BLOCK) {
                struct input_block block = {iy, ix, ci, fqt_min(BLOCK, g->in_c - ci)};
                int32_t sum[BLOCK] = {0};
                gather_u8(g, q, block, e, w, kept, sum);
                largest = fqt_max(largest, fqt_errors_u8(q, block.n, sum, x, dx));
                x += block.n;
                dx += block.n;
            }
        }
    }
    return largest;
}

#endif

static void add_errors_f32(const struct fqt_geometry *g, struct input_block b, int32_t ky, int32_t kx, const float *e,
                           const float *w, float *sum) {
    int32_t fan_in = fan_in_of(g);
    w += weight_index(g, 0, ky, kx) + b.ci;
    for (int32_t co = 0; co < g->out_c; co++) {
        if (e[co] == 0.0f) {
            continue; /* a sum from +0 is never -0: adding +-0 changes no bit */
        }
        const float *w_row = w + co * fan_in;
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

#ifndef FQT_BLOCKS /* conv2d_backward_weight_blocked.c */
/* One output's share; gradient: of its channel. */
static void add_gradient_u8(const struct window *window, int32_t zero_x, int32_t factor, const uint8_t *x,
                            int32_t *gradient) {
    x += window->x;
    gradient += window->w;
    for (int32_t row = 0; row < window->rows; row++) {
        for (int32_t run = 0; run < window->runs; run++) {
            const uint8_t *x_run = x + run * window->x_run;
            int32_t *gradient_run = gradient + run * window->length;
            for (int32_t i = 0; i < window->length; i++) {
                gradient_run[i] += factor * (x_run[i] - zero_x);
            }
        }
        x += window->x_row;
        gradient += window->w_row;
    }
}

void fqt_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits, const int8_t *e,
                                   const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                   const struct fqt_channels *kept) {
    int32_t fan_in = fan_in_of(g);
    int32_t columns = fqt_n_kept(kept, g->out_c);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct window window = window_of(g, v, columns_of(g, ox));
            for (int32_t column = 0; column < columns; column++) {
                int32_t error = *e++;
                if (error == 0) {
                    continue;
                }
                int32_t co = fqt_kept_channel(kept, column);
                bias_gradient[co] += error;
                add_gradient_u8(&window, zero_x, error * (1 << fraction_bits), x, gradient + co * fan_in);
            }
        }
    }
}

#endif

static void add_gradient_f32(const struct window *window, float error, const float *x, float *gradient) {
    x += window->x;
    gradient += window->w;
    for (int32_t row = 0; row < window->rows; row++) {
        for (int32_t run = 0; run < window->runs; run++) {
            const float *x_run = x + run * window->x_run;
            float *gradient_run = gradient + run * window->length;
            for (int32_t i = 0; i < window->length; i++) {
                gradient_run[i] = gradient_run[i] + error * x_run[i];
            }
        }
        x += window->x_row;
        gradient += window->w_row;
    }
}

void fqt_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x, float *gradient,
                                    float *bias_gradient) {
    int32_t fan_in = fan_in_of(g);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps v = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            struct window window = window_of(g, v, columns_of(g, ox));
            for (int32_t co = 0; co < g->out_c; co++) {
                float error = *e++;
                if (error == 0.0f) {
                    continue;
                }
                bias_gradient[co] = bias_gradient[co] + error;
                add_gradient_f32(&window, error, x, gradient + co * fan_in);
            }
        }
    }
}
