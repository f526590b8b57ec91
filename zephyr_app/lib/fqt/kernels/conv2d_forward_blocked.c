/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) in blocks: the windows of a few output positions, x - z_x with 0 on the
 * padding, are gathered in a panel and meet the weights of all output channels. So every edge, stride and dilation
 * costs the same, and what remains of z_w is a product with the panel's sum. */
#include "blocks.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define SUMS 32 /* between two fillings of the panel with a part of a large window */

/* What a panel holds of n output positions. */
struct windows {
    int32_t n;
    struct taps rows[FQT_ROW_VECTORS], columns[FQT_ROW_VECTORS];
    int32_t sums[FQT_ROW_VECTORS]; /* of whole windows once all parts have been filled */
    union fqt_word panel[FQT_PANEL_WORDS];
};

/* Elements first..last-1 of a window. */
struct part {
    int32_t first, last;
};

/* Puts a run of neighbours, elements k.. of vector v, as far as they are in the part. */
static void fill_run(struct windows *windows, int32_t v, int32_t zero_x, const uint8_t *x, int32_t k, int32_t length,
                     struct part part) {
    int32_t from = fqt_max(k, part.first);
    int32_t to = fqt_min(k + length, part.last);
    if (from < to) {
        windows->sums[v] +=
            fqt_fill_row(windows->panel, windows->n, v, from - part.first, x + (from - k), to - from, zero_x);
    }
}

static void fill_window(const struct fqt_geometry *g, struct windows *windows, int32_t v, int32_t zero_x,
                        const uint8_t *x, struct part part) {
    struct taps rows = windows->rows[v];
    struct taps columns = windows->columns[v];
    int32_t taps = columns.last - columns.first;
    if (rows.last - rows.first < g->kernel_h || taps < g->kernel_w) {
        for (int32_t k = 0; k < part.last - part.first; k++) {
            fqt_set_row(windows->panel, windows->n, v, k, 0);
        }
    }
    int32_t runs = g->dilation_w == 1 ? 1 : taps;
    int32_t length = g->dilation_w == 1 ? taps * g->in_c : g->in_c;
    x += (rows.in * g->in_w + columns.in) * g->in_c;
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        int32_t k = (ky * g->kernel_w + columns.first) * g->in_c;
        for (int32_t run = 0; run < runs; run++) {
            const uint8_t *pixel = x + run * g->dilation_w * g->in_c;
            fill_run(windows, v, zero_x, pixel, k + run * g->in_c, length, part);
        }
        x += ky + 1 < rows.last ? g->dilation_h * g->in_w * g->in_c : 0;
    }
}

/* Sums of the panel, of n vectors, and some rows of weights; acc: [row][n]. */
static inline void add_rows(const union fqt_word *panel, int32_t n, const uint8_t *w, int32_t fan_in, int32_t rows,
                            int32_t length, int32_t *acc) {
    int32_t quads = length / FQT_QUAD;
    int32_t step = FQT_QUAD / n;
    for (int32_t row = 0; row < rows; row += step) {
        const uint8_t *at[FQT_QUAD];
        for (int32_t i = 0; i < step; i++) {
            at[i] = row + i < rows ? w + i * fan_in : w; /* beyond the last row a sum that nobody reads */
        }
        if (quads > 0) {
#ifdef FQT_PAIRED
            if (n == 2) {
                fqt_rows_2x2(panel, at, quads, acc);
            } else
#endif
            {
                fqt_rows_1x4(panel, at, quads, acc);
            }
        }
        for (int32_t k = quads * FQT_QUAD; k < length; k++) {
            for (int32_t i = 0; i < step; i++) {
                for (int32_t v = 0; v < n; v++) {
                    acc[i * n + v] += fqt_row(panel, n, v, k) * at[i][k];
                }
            }
        }
        w += step * fan_in;
        acc += FQT_QUAD;
    }
}

/* Outputs of channels co..co+rows-1 at one position. acc: [row][n]; zero_sum: the window's. */
static inline void finish(const struct fqt_forward_quantization *q, int32_t n, int32_t zero_sum, int32_t co,
                          int32_t rows, const int32_t *acc, uint8_t *y, struct fqt_extremes *extremes) {
    if (q->grids > 1) {
        for (int32_t i = 0; i < rows; i++) {
            y[i] = fqt_output_u8(q, co + i, acc[i * n] - q->zero_w[co + i] * zero_sum, extremes);
        }
        return;
    }
    /* One grid: everything is known before the loop; not to a compiler, because y might change it. */
    const struct fqt_requantizer requantizer = q->requantizers[0];
    const int32_t zero_y = q->zero_y;
    const int32_t lower = q->lower;
    const int32_t upper = q->upper;
    const int32_t minus = q->zero_w[0] * zero_sum;
    for (int32_t i = 0; i < rows; i++) {
        int32_t sum = acc[i * n] - minus;
        y[i] = (uint8_t)fqt_clamp(fqt_requantize(sum, requantizer) + zero_y, lower, upper);
    }
    for (int32_t i = 0; extremes != NULL && i < rows; i++) {
        fqt_widen(extremes, acc[i * n] - minus);
    }
}

/* All outputs at n positions. */
static inline void meet_weights(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, int32_t n,
                                struct windows *windows, const uint8_t *x, const uint8_t *w, uint8_t *y,
                                struct fqt_extremes *extremes) {
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    int32_t capacity = fqt_row_capacity(n);
    windows->n = n;
    for (int32_t co = 0; co < g->out_c; co += SUMS / n) {
        int32_t rows = fqt_min(SUMS / n, g->out_c - co);
        int32_t acc[SUMS];
        for (int32_t i = 0; i < rows; i++) {
            for (int32_t v = 0; v < n; v++) {
                acc[i * n + v] = q->bias_acc[co + i];
            }
        }
        bool filled = co > 0 && fan_in <= capacity;
        for (int32_t v = 0; v < n && !filled; v++) {
            windows->sums[v] = 0;
        }
        for (int32_t k = 0; k < fan_in; k += capacity) {
            struct part part = {k, fqt_min(k + capacity, fan_in)};
            for (int32_t v = 0; v < n && !filled; v++) {
                fill_window(g, windows, v, q->zero_x, x, part);
            }
            add_rows(windows->panel, n, w + co * fan_in + k, fan_in, rows, part.last - k, acc);
        }
        for (int32_t v = 0; v < n; v++) {
            finish(q, n, windows->sums[v], co, rows, acc + v, y + v * g->out_c + co, extremes);
        }
    }
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct windows windows;
    int32_t waiting = 0;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps rows = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            windows.rows[waiting] = rows;
            windows.columns[waiting] = columns_of(g, ox);
            waiting++;
            if (waiting == FQT_ROW_VECTORS) {
                meet_weights(g, q, FQT_ROW_VECTORS, &windows, x, w, y, extremes);
                y += FQT_ROW_VECTORS * g->out_c;
                waiting = 0;
            }
        }
    }
#if FQT_ROW_VECTORS > 1
    if (waiting > 0) {
        meet_weights(g, q, 1, &windows, x, w, y, extremes);
    }
#endif
}

#endif
