/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) in blocks: the windows of a few output positions, x - z_x with 0 on the
 * padding, are gathered in a panel and meet the weights of all output channels. So every edge, stride and dilation
 * costs the same, and what remains of z_w is a product with the panel's sum. */
#include "blocks.h"
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

/* Where outputs go and what they need, one grid or many. */
struct results {
    const struct fqt_forward_quantization *q;
    struct fqt_extremes *extremes;
    struct fqt_outputs outputs; /* of one grid */
};

/* What fqt_put_outputs() need not report. Where nobody asks for extremes, all sums have been seen. */
static void see(struct results *results) {
    const struct fqt_extremes *seen = results->extremes;
    struct fqt_outputs *outputs = &results->outputs;
    if (seen == NULL) {
        outputs->least = 0;
        outputs->span = UINT32_MAX;
    } else if (seen->least > seen->greatest) { /* none so far */
        outputs->least = INT32_MAX;
        outputs->span = 0;
    } else {
        outputs->least = seen->least + fqt_requantizer_half(results->q->requantizers[0]);
        outputs->span = (uint32_t)seen->greatest - (uint32_t)seen->least;
    }
}

static struct results results_of(const struct fqt_forward_quantization *q, struct fqt_extremes *extremes) {
    struct fqt_requantizer r = q->requantizers[0];
    struct results results = {
        .q = q,
        .extremes = extremes,
        /* post <= 21, so that the offset leaves the product its 31 bits */
        .outputs = {.pre = r.pre,
                    .post = r.post,
                    .mantissa = r.mantissa,
                    .offset = ((int32_t)1 << (r.post - 1)) + q->zero_y * ((int32_t)1 << r.post),
                    .lower = (uint32_t)q->lower * FQT_LANES,
                    .upper = (uint32_t)q->upper * FQT_LANES},
    };
    see(&results);
    return results;
}

/* Outputs of channels co..co+rows-1 at one position. acc: their sums; zero_sum: the window's. */
static void finish(struct results *results, int32_t zero_sum, int32_t co, int32_t rows, const int32_t *acc,
                   uint8_t *y) {
    const struct fqt_forward_quantization *q = results->q;
    if (q->grids > 1) {
        for (int32_t i = 0; i < rows; i++) {
            y[i] = fqt_output_u8(q, co + i, acc[i] - q->zero_w[co + i] * zero_sum, results->extremes);
        }
        return;
    }
    int32_t minus = q->zero_w[0] * zero_sum;
    int32_t plus = fqt_requantizer_half(q->requantizers[0]) - minus;
    if (fqt_put_outputs(&results->outputs, plus, acc, rows, y)) {
        for (int32_t i = 0; i < rows; i++) {
            fqt_widen(results->extremes, acc[i] - minus);
        }
        see(results);
    }
}

/* All outputs at the positions. */
static void meet_weights(const struct fqt_geometry *g, struct results *results, struct windows *windows,
                         const uint8_t *x, const uint8_t *w, uint8_t *y) {
    const struct fqt_forward_quantization *q = results->q;
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    int32_t n = windows->n;
    int32_t capacity = fqt_row_capacity(n);
    int32_t group = n == 1 ? SUMS : FQT_PAIR_ROWS;
    for (int32_t co = 0; co < g->out_c; co += group) {
        int32_t acc[SUMS];
        struct fqt_rows rows = {
            .panel = windows->panel,
            .step = fan_in,
            .count = fqt_min(group, g->out_c - co),
            .acc = acc,
        };
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
            finish(results, windows->sums[v], co, rows.count, acc + v * FQT_PAIR_ROWS, y + v * g->out_c + co);
        }
    }
}

void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct windows windows;
    struct results results = results_of(q, extremes);
    int32_t waiting = 0;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        struct taps rows = rows_of(g, oy);
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            windows.rows[waiting] = rows;
            windows.columns[waiting] = columns_of(g, ox);
            waiting++;
            if (waiting == FQT_ROW_VECTORS) {
                windows.n = FQT_ROW_VECTORS;
                meet_weights(g, &results, &windows, x, w, y);
                y += FQT_ROW_VECTORS * g->out_c;
                waiting = 0;
            }
        }
    }
#if FQT_ROW_VECTORS > 1
    if (waiting > 0) {
        windows.n = 1;
        meet_weights(g, &results, &windows, x, w, y);
    }
#endif
}

#endif
