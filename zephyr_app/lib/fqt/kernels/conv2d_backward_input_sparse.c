/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution's error to the input (SPEC.md 4.3; Eq. 1, 4) where many errors are 0 or few channels are kept: scattered.
 * Each error that is not 0 adds its multiple of a row of its channel's kernel to the sums of an input row, neighbours
 * in both. */
#include "conv2d_backward_input_sparse.h"

#include "blocks.h"
#include "error_finish.h"
#include "window.h"

#ifdef FQT_BLOCKS

#ifdef FQT_PAIRED
#define SUMS 320 /* of an input row at once */
#else
#define SUMS 160
#endif

struct errors {
    const struct fqt_geometry *g;
    const struct fqt_error_quantization *q;
    const struct fqt_channels *kept;
    const int8_t *e;
    int32_t columns; /* of e */
    const uint8_t *w;
};

/* Neighbours of an input row: channels ci..ci+n-1 of so many positions, all channels or one position. */
struct piece {
    int32_t iy, ix, positions;
    int32_t ci, n;
    int32_t sums[SUMS];
};

/* The errors of one output from column j on, times `length` weights, of channel 0 from `weight` on. */
__attribute__((noinline)) static void add_errors(const struct errors *errors, const int8_t *e, int32_t j,
                                                 int32_t weight, int32_t length, int32_t *sums) {
    const struct fqt_error_quantization *q = errors->q;
    int32_t fan_in = errors->g->kernel_h * errors->g->kernel_w * errors->g->in_c;
    for (; j < errors->columns; j++) {
        if (e[j] != 0) {
            int32_t co = fqt_kept_channel(errors->kept, j);
            int32_t grid = fqt_grid_index(q->grids, co);
            fqt_axpy_u8(sums, errors->w + co * fan_in + weight, length, e[j] * q->factors[grid], q->zero_w[grid]);
        }
    }
}

/* An output's errors, e, from column j on, over the taps of kernel row ky that lie on the piece. */
__attribute__((noinline)) static void add_output(const struct errors *errors, struct piece *piece, int32_t ox,
                                                 const int8_t *e, int32_t j, int32_t ky) {
    const struct fqt_geometry *g = errors->g;
    struct taps h = taps_of(ox, g->stride_w, g->pad_left + piece->ix, g->kernel_w, g->dilation_w, piece->positions);
    int32_t taps = g->dilation_w == 1 ? h.last - h.first : 1;
    for (int32_t kx = h.first; kx < h.last; kx += taps) {
        add_errors(errors, e, j, (ky * g->kernel_w + kx) * g->in_c + piece->ci, taps * piece->n,
                   piece->sums + h.in * piece->n);
        h.in += g->dilation_w;
    }
}

/* Index of the first of n errors that is not 0; n if there is none. */
static int32_t first_nonzero(const int8_t *e, int32_t n) {
    int32_t j = 0;
    while (j < n && e[j] == 0) {
        j++;
    }
    return j;
}

/* A row of outputs; e: of its first one. */
static void add_row(const struct errors *errors, struct piece *piece, struct outputs outputs, const int8_t *e,
                    int32_t ky) {
    const int32_t columns = errors->columns;
    for (int32_t ox = outputs.first; ox < outputs.last; ox++) {
        int32_t j = first_nonzero(e, columns);
        if (j < columns) {
            add_output(errors, piece, ox, e, j, ky);
        }
        e += columns;
    }
}

static void add_rows(const struct errors *errors, struct piece *piece) {
    const struct fqt_geometry *g = errors->g;
    struct outputs outputs = readers_of_column(g, piece->ix);
    outputs.last = readers_of_column(g, piece->ix + piece->positions - 1).last;
    struct outputs rows = readers_of_row(g, piece->iy);
    for (int32_t oy = rows.first; oy < rows.last; oy++) {
        int32_t ky = tap_on(piece->iy, oy, g->stride_h, g->pad_top, g->dilation_h);
        if (ky >= 0) {
            add_row(errors, piece, outputs, errors->e + (oy * g->out_w + outputs.first) * errors->columns, ky);
        }
    }
}

/* Instructions, about: checked on layers of mnist-cnn and of scripts/bench_mcu.py. Of panels: a tap of an input
 * position, an error's place in a panel, a product. Scattered: a look at an error, a row of products, a product, in
 * halves. */
#ifdef FQT_PAIRED
#define COLUMNS 2 /* input channels that meet a panel at once; fewer do it slowly */
#define PANEL_TAP 25
#define PANEL_ERROR 2
#define PANEL_PRODUCT_HALVES 3
#define LOOK 6
#define ROW 30
#define PRODUCT_HALVES 6
#else
#define COLUMNS 4
#define PANEL_TAP 60
#define PANEL_ERROR 5
#define PANEL_PRODUCT_HALVES 7
#define LOOK 6
#define ROW 40
#define PRODUCT_HALVES 11
#endif

#define SAMPLE 128 /* errors that are looked at before */

bool fqt_conv2d_backward_input_is_sparse(const struct fqt_geometry *g, const int8_t *e, int32_t columns) {
    int32_t total = g->out_h * g->out_w * columns;
    int32_t step = (total / SAMPLE) | 1; /* through all columns */
    int32_t seen = 0;
    int32_t nonzero = 0;
    for (int32_t i = 0; i < total; i += step) {
        nonzero += e[i] != 0;
        seen++;
    }
    /* Of an output. */
    int64_t taps = g->kernel_h * g->kernel_w;
    int64_t products = taps * g->in_c;
    int64_t panel = taps * (g->stride_h * g->stride_w * PANEL_TAP + columns * PANEL_ERROR);
    int64_t looks = columns * g->kernel_h * LOOK;
    int64_t scattered = g->kernel_h * ROW + products * PRODUCT_HALVES / 2;
#ifdef FQT_PAIRED
    panel += columns * products * PANEL_PRODUCT_HALVES / 2; /* 0, too */
#else
    scattered -= products * PANEL_PRODUCT_HALVES / 2;
#endif
    return g->in_h * g->in_w > 1 && (g->in_c < COLUMNS || (panel - looks) * seen > scattered * columns * nonzero);
}

int32_t fqt_conv2d_backward_input_sparse(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                         const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                         const struct fqt_channels *kept) {
    const struct errors errors = {g, q, kept, e, fqt_n_kept(kept, g->out_c), w};
    struct fqt_error_finish finish = fqt_error_finish_of(q);
    struct piece piece;
    int32_t positions = fqt_max(SUMS / g->in_c, 1);
    for (piece.iy = 0; piece.iy < g->in_h; piece.iy++) {
        for (piece.ix = 0; piece.ix < g->in_w; piece.ix += positions) {
            piece.positions = fqt_min(positions, g->in_w - piece.ix);
            for (piece.ci = 0; piece.ci < g->in_c; piece.ci += SUMS) {
                piece.n = fqt_min(SUMS, g->in_c - piece.ci);
                int32_t length = piece.positions * piece.n;
                fqt_clear(piece.sums, (length + FQT_QUAD - 1) / FQT_QUAD);
                add_rows(&errors, &piece);
                fqt_finish_errors(&finish, length, piece.sums, 1, 0, x, dx);
                x += length;
                dx += length;
            }
        }
    }
    return finish.largest;
}

#endif
