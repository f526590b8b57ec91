/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) in blocks: the windows of a few output positions, x - z_x with 0 on the
 * padding, are gathered in a panel and meet the weights of all output channels. So every edge, stride and dilation
 * costs the same, and what remains of z_w is a product with the panel's sum. */
#include "blocks.h"
#include "window.h"
#include <string.h>

#ifdef FQT_BLOCKS

#define SUMS 32      /* between two fillings of the panel with a part of a large window */
#define BLOCK_ROWS 4 /* at most */

/* What a panel holds: elements first..last-1 of the windows of n output positions from (oy, ox). */
struct windows {
    int32_t n;
    int32_t oy[FQT_ROW_VECTORS], ox[FQT_ROW_VECTORS];
    int32_t sums[FQT_ROW_VECTORS]; /* of whole windows once all parts have been filled */
    union fqt_word panel[FQT_PANEL_WORDS];
};

static int32_t fan_in_of(const struct fqt_geometry *g) {
    return g->kernel_h * g->kernel_w * g->in_c;
}

/* Puts a run of neighbours, elements k.. of vector v, as far as they are among first..last-1. */
static void fill_run(struct windows *windows, int32_t v, int32_t zero_x, const uint8_t *x, int32_t k, int32_t length,
                     int32_t first, int32_t last) {
    int32_t from = fqt_max(k, first);
    int32_t to = fqt_min(k + length, last);
    if (from < to) {
        windows->sums[v] +=
            fqt_fill_row(windows->panel, windows->n, v, from - first, x + (from - k), to - from, zero_x);
    }
}

static void fill_window(const struct fqt_geometry *g, struct windows *windows, int32_t v, int32_t zero_x,
                        const uint8_t *x, int32_t first, int32_t last) {
    struct taps rows = rows_of(g, windows->oy[v]);
    struct taps columns = columns_of(g, windows->ox[v]);
    int32_t taps = columns.last - columns.first;
    if (rows.last - rows.first < g->kernel_h || taps < g->kernel_w) {
        for (int32_t k = 0; k < last - first; k++) {
            fqt_set_row(windows->panel, windows->n, v, k, 0);
        }
    }
    int32_t runs = g->dilation_w == 1 ? 1 : taps;
    int32_t length = g->dilation_w == 1 ? taps * g->in_c : g->in_c;
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        int32_t iy = rows.in + (ky - rows.first) * g->dilation_h;
        const uint8_t *pixel = x + (iy * g->in_w + columns.in) * g->in_c;
        int32_t k = (ky * g->kernel_w + columns.first) * g->in_c;
        for (int32_t run = 0; run < runs; run++) {
            fill_run(windows, v, zero_x, pixel, k, length, first, last);
            pixel += g->dilation_w * g->in_c;
            k += g->in_c;
        }
    }
}

static void fill(const struct fqt_geometry *g, struct windows *windows, int32_t zero_x, const uint8_t *x, int32_t first,
                 int32_t last) {
    for (int32_t v = 0; v < windows->n; v++) {
        fill_window(g, windows, v, zero_x, x, first, last);
    }
}

/* Adds the panel's share to the sums of some rows of weights; rows of w from element `first`. acc: [row][n]. */
static void add_rows(const struct windows *windows, const uint8_t *w, int32_t fan_in, int32_t rows, int32_t length,
                     int32_t *acc) {
    int32_t quads = length / FQT_QUAD;
    int32_t n = windows->n;
    int32_t step = BLOCK_ROWS / n;
    for (int32_t row = 0; row < rows; row += step) {
        const uint8_t *at[BLOCK_ROWS];
        for (int32_t i = 0; i < step; i++) {
            at[i] = w + fqt_min(row + i, rows - 1) * fan_in; /* beyond the last a sum that nobody reads */
        }
        if (quads == 0) {
            /* only what follows */
#ifdef FQT_PAIRED
        } else if (n == 2) {
            fqt_rows_2x2(windows->panel, at, quads, acc);
#endif
        } else {
            fqt_rows_1x4(windows->panel, at, quads, acc);
        }
        for (int32_t k = quads * FQT_QUAD; k < length; k++) {
            for (int32_t i = 0; i < BLOCK_ROWS; i++) {
                acc[i] += fqt_row(windows->panel, n, i % n, k) * at[i / n][k];
            }
        }
        acc += BLOCK_ROWS;
    }
}

/* Outputs of channels co..co+rows-1 at all positions of the panel. y: of the first. */
static void finish(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                   const struct windows *windows, int32_t co, int32_t rows, const int32_t *acc, uint8_t *y,
                   struct fqt_extremes *extremes) {
    for (int32_t v = 0; v < windows->n; v++) {
        for (int32_t i = 0; i < rows; i++) {
            int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, co + i)];
            int32_t sum = acc[i * windows->n + v] - zero_w * windows->sums[v] + q->bias_acc[co + i];
            y[v * g->out_c + co + i] = fqt_output_u8(q, co + i, sum, extremes);
        }
    }
}

/* Places the windows at the positions from (oy, ox) on; returns where the next ones start. */
static void place(const struct fqt_geometry *g, struct windows *windows, int32_t *oy, int32_t *ox) {
    for (int32_t v = 0; v < windows->n; v++) {
        windows->oy[v] = *oy;
        windows->ox[v] = *ox;
        *ox += 1;
        if (*ox == g->out_w) {
            *ox = 0;
            *oy += 1;
        }
    }
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct windows windows;
    int32_t fan_in = fan_in_of(g);
    int32_t positions = g->out_h * g->out_w;
    int32_t oy = 0;
    int32_t ox = 0;
    for (int32_t p = 0; p < positions; p += windows.n) {
        windows.n = fqt_min(FQT_ROW_VECTORS, positions - p);
        int32_t part = fqt_min(fan_in, fqt_row_capacity(windows.n));
        place(g, &windows, &oy, &ox);
        int32_t rows;
        for (int32_t co = 0; co < g->out_c; co += rows) {
            rows = fqt_min(SUMS / windows.n, g->out_c - co);
            int32_t acc[SUMS] = {0};
            bool filled = co > 0 && part == fan_in;
            if (!filled) {
                memset(windows.sums, 0, sizeof windows.sums);
            }
            for (int32_t k = 0; k < fan_in; k += part) {
                int32_t last = fqt_min(k + part, fan_in);
                if (!filled) {
                    fill(g, &windows, q->zero_x, x, k, last);
                }
                add_rows(&windows, w + co * fan_in + k, fan_in, rows, last - k, acc);
            }
            finish(g, q, &windows, co, rows, acc, y, extremes);
        }
        y += windows.n * g->out_c;
    }
}

#endif
