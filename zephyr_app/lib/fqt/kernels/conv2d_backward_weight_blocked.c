/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution's weight gradient (SPEC.md 4.4; Eq. 2) in blocks: what a few weights of a channel meet at all output
 * positions, x - z_x with 0 on the padding, fills a panel and meets the errors of all output channels, so that a
 * gradient is touched once a panel. With one output position the panel is the input and each channel's gradient a
 * multiple. */
#include "blocks.h"
#include "conv2d_backward_weight_sparse.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define COLUMNS 2 /* output channels at once */
#define VECTORS FQT_GRADIENT_VECTORS

struct inputs {
    const struct fqt_geometry *g;
    int32_t zero_x;
    const uint8_t *x;
};

/* Output positions first..first+count-1, the first one at (oy, ox). */
struct positions {
    int32_t first, count;
    int32_t oy, ox;
};

/* A weight of a channel. */
struct weight {
    int32_t ky, kx, ci;
};

static void advance(const struct fqt_geometry *g, struct weight *weight, int32_t n) {
    weight->ci += n;
    while (weight->ci >= g->in_c) {
        weight->ci -= g->in_c;
        weight->kx++;
        if (weight->kx == g->kernel_w) {
            weight->kx = 0;
            weight->ky++;
        }
    }
}

/* Puts zeros at elements p..end-1 of vectors v..v+n-1. */
static void put_zeros(union fqt_word *panel, int32_t v, int32_t n, int32_t p, int32_t end) {
    for (; p < end; p++) {
        for (int32_t i = 0; i < n; i++) {
            fqt_set_column(panel, VECTORS, v + i, p, 0);
        }
    }
}

/* Puts what a weight, vector v, or with n == VECTORS its neighbours too, meet at the positions: a row of outputs at a
 * time, in it those whose tap lies inside the input. */
static void fill_vectors(const struct inputs *inputs, const struct positions *at, struct weight weight, int32_t v,
                         int32_t n, union fqt_word *panel) {
    const struct fqt_geometry *g = inputs->g;
    int32_t dx = weight.kx * g->dilation_w - g->pad_left;
    int32_t before = dx < 0 ? divided_up(-dx, g->stride_w) : 0;
    int32_t behind = g->in_w > dx ? divided_up(g->in_w - dx, g->stride_w) : 0;
    int32_t ox = at->ox;
    int32_t iy = at->oy * g->stride_h + weight.ky * g->dilation_h - g->pad_top;
    for (int32_t p = 0; p < at->count;) {
        int32_t end = fqt_min(at->count, p + g->out_w - ox);
        bool inside = iy >= 0 && iy < g->in_h;
        int32_t first = fqt_min(end, p + fqt_max(before - ox, 0));
        int32_t last = inside ? fqt_min(end, p + behind - ox) : first;
        put_zeros(panel, v, n, p, first);
        if (last > first) {
            int32_t ix = (ox + first - p) * g->stride_w + dx;
            const uint8_t *x = inputs->x + (iy * g->in_w + ix) * g->in_c + weight.ci;
            int32_t step = g->stride_w * g->in_c;
            if (n == VECTORS) {
                fqt_fill_neighbours(panel, first, x, step, last - first, inputs->zero_x);
            } else {
                fqt_fill_column(panel, v, first, x, step, last - first, inputs->zero_x);
            }
        }
        put_zeros(panel, v, n, fqt_max(first, last), end);
        p = end;
        ox = 0;
        iy += g->stride_h;
    }
}

/* Puts what the next weights of a channel meet, of which n exist; 0 for the others. */
static void fill(const struct inputs *inputs, const struct positions *at, struct weight *weight, int32_t n,
                 union fqt_word *panel) {
    if (weight->ci + VECTORS <= inputs->g->in_c) {
        fill_vectors(inputs, at, *weight, 0, VECTORS, panel);
        advance(inputs->g, weight, VECTORS);
        return;
    }
    for (int32_t v = 0; v < VECTORS; v++) {
        if (v < n) {
            fill_vectors(inputs, at, *weight, v, 1, panel);
            advance(inputs->g, weight, 1);
        } else {
            put_zeros(panel, v, 1, 0, at->count);
        }
    }
}

/* Puts the offsets of the positions' errors; fills up the last quad with zeros. Returns the quads. */
static int32_t fill_offsets(const struct positions *at, int32_t columns, union fqt_word *panel) {
    int32_t p = 0;
    for (; p < at->count; p++) {
        fqt_set_offset(panel, VECTORS, p, p * columns);
    }
    for (; p % FQT_QUAD != 0; p++) {
        fqt_set_offset(panel, VECTORS, p, 0);
        for (int32_t v = 0; v < VECTORS; v++) {
            fqt_set_column(panel, VECTORS, v, p, 0);
        }
    }
    return p / FQT_QUAD;
}

/* Adds the panel's sums with all columns of e, two at least; gradient: of weight k of channel 0, which has `weights`
 * from there. */
__attribute__((noinline)) static void add_columns(const union fqt_word *panel, int32_t quads, int32_t factor,
                                                  const int8_t *e, int32_t columns, const struct fqt_channels *kept,
                                                  int32_t fan_in, int32_t weights, int32_t *gradient) {
    for (int32_t done = 0; done < columns; done += COLUMNS) {
        int32_t j = fqt_min(done, columns - COLUMNS); /* the last of an odd number once more with the one before */
        int32_t *const to[COLUMNS] = {gradient + fqt_kept_channel(kept, j) * fan_in,
                                      gradient + fqt_kept_channel(kept, j + 1) * fan_in};
        if (weights == VECTORS && j == done) {
            fqt_gradients(panel, e + j, quads, to, factor);
            continue;
        }
        int32_t sums[COLUMNS][VECTORS];
        fqt_clear(sums, COLUMNS * VECTORS / FQT_QUAD);
        int32_t *const rows[COLUMNS] = {sums[0], sums[1]};
        fqt_gradients(panel, e + j, quads, rows, factor);
        for (int32_t v = 0; v < weights; v++) {
            to[0][v] += j == done ? sums[0][v] : 0;
            to[1][v] += sums[1][v];
        }
    }
}

static void add_gradients(const struct inputs *inputs, int32_t fraction_bits, const int8_t *e, int32_t columns,
                          const struct fqt_channels *kept, int32_t *gradient) {
    const struct fqt_geometry *g = inputs->g;
    int32_t positions = g->out_h * g->out_w;
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    struct positions at = {0};
    union fqt_word panel[FQT_PANEL_WORDS];
    for (; at.first < positions; at.first += at.count) {
        at.count = fqt_min(fqt_column_capacity(VECTORS), positions - at.first);
        int32_t quads = fill_offsets(&at, columns, panel);
        struct weight weight = {0, 0, 0};
        for (int32_t k = 0; k < fan_in; k += VECTORS) {
            int32_t n = fqt_min(VECTORS, fan_in - k);
            fill(inputs, &at, &weight, n, panel);
            add_columns(panel, quads, 1 << fraction_bits, e + at.first * columns, columns, kept, fan_in, n,
                        gradient + k);
        }
        at.ox += at.count;
        while (at.ox >= g->out_w) {
            at.ox -= g->out_w;
            at.oy++;
        }
    }
}

/* The biases' gradients: the errors of each column. */
static void add_errors(int32_t positions, const int8_t *e, int32_t columns, const struct fqt_channels *kept,
                       int32_t *gradient) {
    int32_t n = positions * columns;
    int32_t j = 0;
    for (; positions > 1 && j + FQT_QUAD <= columns; j += FQT_QUAD) {
        int32_t sums[FQT_QUAD] = {0, 0, 0, 0};
        for (int32_t i = j; i < n; i += columns) {
            sums[0] += e[i];
            sums[1] += e[i + 1];
            sums[2] += e[i + 2];
            sums[3] += e[i + 3];
        }
        for (int32_t i = 0; i < FQT_QUAD; i++) {
            gradient[fqt_kept_channel(kept, j + i)] += sums[i];
        }
    }
    for (; j < columns; j++) {
        int32_t sum = 0;
        for (int32_t i = j; i < n; i += columns) {
            sum += e[i];
        }
        gradient[fqt_kept_channel(kept, j)] += sum;
    }
}

/* Of one output position that reads all inputs. */
static void add_rank_one(const struct inputs *inputs, int32_t fraction_bits, const int8_t *e, int32_t columns,
                         const struct fqt_channels *kept, int32_t *gradient) {
    int32_t fan_in = inputs->g->in_c;
    int32_t part = fqt_row_capacity(1);
    union fqt_word panel[FQT_PANEL_WORDS];
    for (int32_t k = 0; k < fan_in; k += part) {
        int32_t count = fqt_min(part, fan_in - k);
        int32_t quads = count / FQT_QUAD;
        fqt_fill_row(panel, 1, 0, 0, inputs->x + k, count, inputs->zero_x);
        for (int32_t j = 0; j < columns; j++) {
            int32_t factor = e[j] * (1 << fraction_bits);
            int32_t *to = gradient + fqt_kept_channel(kept, j) * fan_in + k;
            if (factor != 0 && quads > 0) {
                fqt_rank_one(to, panel, factor, quads);
            }
            for (int32_t i = quads * FQT_QUAD; i < count; i++) {
                to[i] += factor * fqt_row(panel, 1, 0, i);
            }
        }
    }
}

void fqt_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits, const int8_t *e,
                                   const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                   const struct fqt_channels *kept) {
    const struct inputs inputs = {g, zero_x, x};
    int32_t columns = fqt_n_kept(kept, g->out_c);
    add_errors(g->out_h * g->out_w, e, columns, kept, bias_gradient);
    if (g->in_h == 1 && g->in_w == 1 && g->kernel_h == 1 && g->kernel_w == 1) {
        add_rank_one(&inputs, fraction_bits, e, columns, kept, gradient);
    } else if (columns == 1 || (columns <= FQT_FEW_COLUMNS && g->in_c >= FQT_QUAD)) {
        fqt_conv2d_backward_weight_sparse(g, zero_x, fraction_bits, e, columns, x, gradient, kept);
    } else {
        add_gradients(&inputs, fraction_bits, e, columns, kept, gradient);
    }
}

#endif
