/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) in blocks: the windows of a few output positions, x - z_x with 0 on the
 * padding, are gathered in a panel and meet the weights of all output channels. So every edge, stride and dilation
 * costs the same, and what remains of z_w is a product with the panel's sum. */
#include "blocks.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define SUMS (32 * FQT_ROW_VECTORS) /* between two fillings of the panel with a part of a large window */

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

/* The elements of a panel of n vectors behind its last quad. */
static void add_tail(const union fqt_word *panel, int32_t n, const uint8_t *const rows[], int32_t length,
                     int32_t *acc) {
    for (int32_t k = length & ~(FQT_QUAD - 1); k < length; k++) {
        for (int32_t v = 0; v < n; v++) {
            int32_t element = fqt_row(panel, n, v, k);
            for (int32_t i = v; i < FQT_QUAD; i += n) {
                acc[i] += element * rows[n == 1 ? i : i >> 1][k];
            }
        }
    }
}

/* Sums of a panel of one vector and some rows of weights. Beyond the last row are sums that nobody reads. */
__attribute__((noinline)) static void add_rows_1(const union fqt_word *panel, const uint8_t *w, int32_t fan_in,
                                                 int32_t rows, int32_t length, int32_t *acc) {
    for (; rows > 0; rows -= FQT_QUAD) {
        const uint8_t *at[FQT_QUAD] = {w, rows > 1 ? w + fan_in : w, rows > 2 ? w + 2 * fan_in : w,
                                       rows > 3 ? w + 3 * fan_in : w};
        if (length >= FQT_QUAD) {
            fqt_rows_1x4(panel, at, length / FQT_QUAD, acc);
        }
        if (length % FQT_QUAD != 0) {
            add_tail(panel, 1, at, length, acc);
        }
        w += rows > FQT_QUAD ? FQT_QUAD * fan_in : 0;
        acc += FQT_QUAD;
    }
}

#if FQT_ROW_VECTORS > 1
/* The same of two vectors; acc: [row][2]. */
__attribute__((noinline)) static void add_rows_2(const union fqt_word *panel, const uint8_t *w, int32_t fan_in,
                                                 int32_t rows, int32_t length, int32_t *acc) {
    for (; rows > 0; rows -= 2) {
        const uint8_t *at[2] = {w, rows > 1 ? w + fan_in : w};
        if (length >= FQT_QUAD) {
            fqt_rows_2x2(panel, at, length / FQT_QUAD, acc);
        }
        if (length % FQT_QUAD != 0) {
            add_tail(panel, 2, at, length, acc);
        }
        w += rows > 2 ? 2 * fan_in : 0;
        acc += FQT_QUAD;
    }
}
#endif

/* Outputs of channels co..co+rows-1 at one position. acc: [row][n]; zero_sum: the window's. One grid: everything is
 * known before the loop, but not to a compiler, because y might change it. */
__attribute__((noinline)) static void finish(const struct fqt_forward_quantization *q, int32_t n, int32_t zero_sum,
                                             int32_t co, int32_t rows, const int32_t *acc, uint8_t *y,
                                             struct fqt_extremes *extremes) {
    if (q->grids > 1) {
        for (int32_t i = 0; i < rows; i++) {
            int32_t sum = acc[i * n] - q->zero_w[co + i] * zero_sum + q->bias_acc[co + i];
            y[i] = fqt_output_u8(q, co + i, sum, extremes);
        }
        return;
    }
    const int32_t minus = q->zero_w[0] * zero_sum;
    const int32_t *bias = q->bias_acc + co;
    for (int32_t i = 0; extremes != NULL && i < rows; i++) {
        fqt_widen(extremes, acc[i * n] - minus + bias[i]);
    }
    const struct fqt_requantizer requantizer = q->requantizers[0];
    const int32_t plus = fqt_requantizer_half(requantizer) - minus;
    const int32_t zero_y = q->zero_y;
    const int32_t lower = q->lower;
    const int32_t upper = q->upper;
    for (const uint8_t *end = y + rows; y < end; y++) {
        *y = (uint8_t)fqt_clamp(fqt_requantize_raised(*acc + *bias++ + plus, requantizer) + zero_y, lower, upper);
        acc += n;
    }
}

/* All outputs at the positions. */
static void meet_weights(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                         struct windows *windows, const uint8_t *x, const uint8_t *w, uint8_t *y,
                         struct fqt_extremes *extremes) {
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    int32_t n = windows->n;
    int32_t capacity = fqt_row_capacity(n);
    int32_t group = n == 1 ? SUMS : SUMS / FQT_ROW_VECTORS;
    for (int32_t co = 0; co < g->out_c; co += group) {
        int32_t rows = fqt_min(group, g->out_c - co);
        int32_t acc[SUMS];
        fqt_clear(acc, (rows * n + FQT_QUAD - 1) / FQT_QUAD);
        bool filled = co > 0 && fan_in <= capacity;
        for (int32_t v = 0; v < n && !filled; v++) {
            windows->sums[v] = 0;
        }
        for (int32_t k = 0; k < fan_in; k += capacity) {
            struct part part = {k, fqt_min(k + capacity, fan_in)};
            if (!filled) {
                fill(g, windows, q->zero_x, x, part);
            }
            const uint8_t *from = w + co * fan_in + k;
#if FQT_ROW_VECTORS > 1
            if (n > 1) {
                add_rows_2(windows->panel, from, fan_in, rows, part.last - k, acc);
                continue;
            }
#endif
            add_rows_1(windows->panel, from, fan_in, rows, part.last - k, acc);
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
                windows.n = FQT_ROW_VECTORS;
                meet_weights(g, q, &windows, x, w, y, extremes);
                y += FQT_ROW_VECTORS * g->out_c;
                waiting = 0;
            }
        }
    }
#if FQT_ROW_VECTORS > 1
    if (waiting > 0) {
        windows.n = 1;
        meet_weights(g, q, &windows, x, w, y, extremes);
    }
#endif
}

#endif
