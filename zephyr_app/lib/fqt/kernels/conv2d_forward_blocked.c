/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) in blocks: the windows of a few output positions, x - z_x with 0 on the
 * padding, are gathered in a panel and meet the weights of all output channels. So every edge, stride and dilation
 * costs the same, and what remains of z_w is a product with the panel's sum. */
#include "conv2d_forward_small.h"
#include "conv2d_outputs.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define SUMS (FQT_PAIR_ROWS * FQT_ROW_VECTORS) /* between two fillings of the panel with a part of a large window */

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

/* Puts a run of neighbours, elements k.. of vector v of the part, as far as they are in it. */
static void fill_run(struct windows *windows, int32_t v, int32_t zero_x, const uint8_t *x, int32_t k, int32_t length,
                     int32_t part) {
    int32_t from = fqt_max(k, 0);
    int32_t n = fqt_min(k + length, part) - from;
    if (n > 0) {
        windows->sums[v] += fqt_fill_row(windows->panel, windows->n, v, from, x + (from - k), n, zero_x);
    }
}

/* Whether a window lies partly on the padding. */
static bool is_clipped(const struct fqt_geometry *g, const struct windows *windows, int32_t v) {
    struct taps rows = windows->rows[v];
    struct taps columns = windows->columns[v];
    return rows.last - rows.first < g->kernel_h || columns.last - columns.first < g->kernel_w;
}

static void fill_window(const struct fqt_geometry *g, struct windows *windows, int32_t v, int32_t zero_x,
                        const uint8_t *x, struct part part) {
    struct taps rows = windows->rows[v];
    struct taps columns = windows->columns[v];
    int32_t taps = columns.last - columns.first;
    int32_t runs = g->dilation_w == 1 ? 1 : taps;
    int32_t length = g->dilation_w == 1 ? taps * g->in_c : g->in_c;
    int32_t next_run = g->dilation_w * g->in_c;
    int32_t next_row = g->dilation_h * g->in_w * g->in_c;
    int32_t w_row = g->kernel_w * g->in_c;
    int32_t at = (rows.in * g->in_w + columns.in) * g->in_c;
    int32_t k = rows.first * w_row + columns.first * g->in_c - part.first;
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        for (int32_t run = 0; run < runs; run++) {
            fill_run(windows, v, zero_x, x + at + run * next_run, k + run * length, length, part.last - part.first);
        }
        at += next_row;
        k += w_row;
    }
}

static void fill(const struct fqt_geometry *g, struct windows *windows, int32_t zero_x, const uint8_t *x,
                 struct part part) {
    for (int32_t v = 0; v < windows->n; v++) {
        if (is_clipped(g, windows, v)) {
            fqt_clear(windows->panel, FQT_PANEL_WORDS / FQT_QUAD);
            break;
        }
    }
    for (int32_t v = 0; v < windows->n; v++) {
        fill_window(g, windows, v, zero_x, x, part);
    }
}

/* All outputs at the positions. */
static void meet_weights(const struct fqt_geometry *g, struct fqt_results *results, struct windows *windows,
                         const uint8_t *x, const uint8_t *w, uint8_t *y) {
    const struct fqt_forward_quantization *q = results->q;
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    int32_t n = windows->n;
    int32_t capacity = fqt_row_capacity(n);
    int32_t group = n == 1 ? SUMS : FQT_PAIR_ROWS;
    for (int32_t co = 0; co < g->out_c; co += group) {
        int32_t acc[SUMS];
        struct fqt_rows rows; /* field by field: a C library's memset() is slow */
        rows.panel = windows->panel;
        rows.step = fan_in;
        rows.count = fqt_min(group, g->out_c - co);
        rows.acc = acc;
        bool filled = co > 0 && fan_in <= capacity;
        for (int32_t v = 0; v < n; v++) {
            rows.start[v] = q->bias_acc + co;
            windows->sums[v] = filled ? windows->sums[v] : 0;
        }
        for (int32_t k = 0; k < fan_in; k += capacity) {
            struct part part = {k, fqt_min(k + capacity, fan_in)};
            if (!filled) {
                fill(g, windows, q->zero_x, x, part);
            }
            rows.w = w + co * fan_in + k;
            rows.length = part.last - k;
#if FQT_ROW_VECTORS > 1
            if (n > 1) {
                fqt_rows_2(&rows);
                rows.start[1] = acc + FQT_PAIR_ROWS;
            } else
#endif
            {
                fqt_rows_1(&rows);
            }
            rows.start[0] = acc;
        }
        for (int32_t v = 0; v < n; v++) {
            fqt_results_put(results, windows->sums[v], co, rows.count, acc + v * FQT_PAIR_ROWS, y + v * g->out_c + co);
        }
    }
}

/* A function of its own: small windows need no panel on the stack. */
__attribute__((noinline)) static void forward(const struct fqt_geometry *g, struct fqt_results *results,
                                              const uint8_t *x, const uint8_t *w, uint8_t *y) {
    struct windows windows;
    int32_t waiting = 0;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps rows = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            windows.rows[waiting] = rows;
            windows.columns[waiting] = columns_of(g, ox);
            waiting++;
            if (waiting == FQT_ROW_VECTORS) {
                windows.n = FQT_ROW_VECTORS;
                meet_weights(g, results, &windows, x, w, y);
                y += FQT_ROW_VECTORS * g->out_c;
                waiting = 0;
            }
        }
    }
#if FQT_ROW_VECTORS > 1
    if (waiting > 0) {
        windows.n = 1;
        meet_weights(g, results, &windows, x, w, y);
    }
#endif
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct fqt_results results;
    fqt_results_init(&results, q, extremes);
    if (fqt_conv2d_is_small(g)) {
        fqt_conv2d_forward_small(g, &results, x, w, y);
        return;
    }
    forward(g, &results, x, w, y);
}

#endif
