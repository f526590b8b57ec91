/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution's error to the input (SPEC.md 4.3; Eq. 1, 4) in blocks: what a few input positions gather, an error for
 * each tap and output channel, 0 where no output reads them, fills a panel and meets the weights of all input channels.
 * Positions that are a multiple of the stride apart have the same taps. */
#include "blocks.h"
#include "conv2d_backward_input_sparse.h"
#include "error_finish.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define SUMS (32 * FQT_ERROR_VECTORS) /* between two fillings of the panel */

struct errors {
    const struct fqt_geometry *g;
    const struct fqt_error_quantization *q;
    const struct fqt_channels *kept;
    const int8_t *e;
    int32_t columns; /* of e */
    bool scaled;     /* whether a grid's share is not 1 */
};

/* What a panel holds: the errors that n input positions gather. */
struct gathered {
    int32_t n;
    int32_t iy[FQT_ERROR_VECTORS], ix[FQT_ERROR_VECTORS]; /* iy < 0: no position */
    int32_t zero_sums[FQT_ERROR_VECTORS];                 /* sum e K z_w so far */
    int32_t count;                                        /* elements in the panel */
    bool whole;                                           /* whether it has never been full */
    union fqt_word panel[FQT_PANEL_WORDS];
};

/* Input channels ci..ci+n-1 and their sums, acc: [n][vectors]. */
struct channels {
    const uint8_t *w; /* of channel ci */
    int32_t n;
    int32_t acc[SUMS];
};

static void meet_weights(struct gathered *panel, struct channels *channels) {
    if (panel->count == 0) {
        return;
    }
    int32_t n = panel->n;
    int32_t elements = panel->count;
    for (; elements % FQT_QUAD != 0; elements++) {
        fqt_set_offset(panel->panel, n, elements, 0);
        for (int32_t v = 0; v < n; v++) {
            fqt_set_column(panel->panel, n, v, elements, 0);
        }
    }
    int32_t quads = elements / FQT_QUAD;
    int32_t *acc = channels->acc;
    int32_t c = 0;
#ifdef FQT_PAIRED
    for (; n == 4 && c + 2 <= channels->n; c += 2) {
        fqt_columns_4x2_u8(panel->panel, channels->w + c, quads, acc + c * n);
    }
#endif
#ifdef FQT_BLOCKS_ARMV6M
    for (; c + 8 <= channels->n; c += 8) {
        fqt_columns_1x8(panel->panel, channels->w + c, quads, acc + c);
    }
#endif
    for (; n == 1 && c + 4 <= channels->n; c += 4) {
        fqt_columns_1x4(panel->panel, channels->w + c, quads, acc + c);
    }
    for (; c < channels->n; c++) {
        for (int32_t p = 0; p < panel->count; p++) {
            int32_t weight = channels->w[fqt_offset(panel->panel, n, p) + c];
            for (int32_t v = 0; v < n; v++) {
                acc[c * n + v] += fqt_column(panel->panel, n, v, p) * weight;
            }
        }
    }
}

/* The output along one axis that reads an input index with a tap, `distance` from the output's origin; -1 if there is
 * none. */
static inline int32_t read_by(int32_t distance, int32_t stride, int32_t size) {
    if (distance < 0) {
        return -1;
    }
    if (stride > 1) {
        int32_t out = distance / stride;
        return distance == out * stride && out < size ? out : -1;
    }
    return distance < size ? distance : -1;
}

/* Elements p..: errors of columns j.. of e, times their grids' shares. */
static void put_scaled_errors(const struct errors *errors, struct gathered *panel, int32_t p, const int8_t *const *e,
                              int32_t j, int32_t count) {
    const struct fqt_error_quantization *q = errors->q;
    for (int32_t i = 0; i < count; i++) {
        int32_t grid = fqt_grid_index(q->grids, fqt_kept_channel(errors->kept, j + i));
        int32_t factor = q->factors[grid];
        int32_t zero_w = q->zero_w[grid];
        for (int32_t v = 0; v < panel->n; v++) {
            int32_t error = e[v] == NULL ? 0 : e[v][j + i] * factor;
            fqt_set_column(panel->panel, panel->n, v, p + i, error);
            panel->zero_sums[v] += error * zero_w;
        }
    }
}

static void put_errors(const struct errors *errors, struct gathered *panel, int32_t p, const int8_t *const *e,
                       int32_t j, int32_t count) {
#ifdef FQT_PAIRED
    if (panel->n == 4 && !errors->scaled) {
        int32_t sums[4];
        fqt_fill_columns(panel->panel, p, e, j, count, sums);
        for (int32_t v = 0; v < 4; v++) {
            panel->zero_sums[v] += sums[v] * errors->q->zero_w[0];
        }
        return;
    }
#endif
    put_scaled_errors(errors, panel, p, e, j, count);
}

/* Of one vector: the errors of kept columns j.. that are not 0, as fqt_fill_errors() puts those of all. */
static void put_kept_errors(const struct errors *errors, struct gathered *panel, const int8_t *e, int32_t j,
                            int32_t count, int32_t tap, int32_t fan_in) {
    int32_t p = panel->count;
    int32_t sum = 0;
    for (const int8_t *end = e + j + count, *at = e + j; at < end; at++, j++) {
        if (*at != 0) {
            fqt_set_column(panel->panel, 1, 0, p, *at);
            fqt_set_offset(panel->panel, 1, p, tap + errors->kept->indices[j] * fan_in);
            sum += *at;
            p++;
        }
    }
    panel->count = p;
    panel->zero_sums[0] += sum * errors->q->zero_w[0];
}

/* Adds what the positions gather over one tap, e: each one's errors or NULL. */
__attribute__((noinline)) static void gather_tap(const struct errors *errors, struct gathered *panel,
                                                 struct channels *channels, int32_t tap, const int8_t *const *e) {
    int32_t fan_in = errors->g->kernel_h * errors->g->kernel_w * errors->g->in_c;
    for (int32_t j = 0; j < errors->columns;) {
        if (panel->count == fqt_column_capacity(panel->n)) {
            meet_weights(panel, channels);
            panel->count = 0;
            panel->whole = false;
        }
        int32_t count = fqt_min(errors->columns - j, fqt_column_capacity(panel->n) - panel->count);
        if (panel->n == 1 && !errors->scaled) {
            if (errors->kept == NULL) {
                int32_t sum;
                panel->count +=
                    fqt_fill_errors(panel->panel, panel->count, e[0] + j, count, tap + j * fan_in, fan_in, &sum);
                panel->zero_sums[0] += sum * errors->q->zero_w[0];
            } else {
                put_kept_errors(errors, panel, e[0], j, count, tap, fan_in);
            }
            j += count;
            continue;
        }
        if (errors->kept == NULL) {
            fqt_fill_offsets(panel->panel, panel->n, panel->count, tap + j * fan_in, fan_in, count);
        } else {
            for (int32_t i = 0; i < count; i++) {
                int32_t offset = tap + errors->kept->indices[j + i] * fan_in;
                fqt_set_offset(panel->panel, panel->n, panel->count + i, offset);
            }
        }
        put_errors(errors, panel, panel->count, e, j, count);
        panel->count += count;
        j += count;
    }
}

static void gather(const struct errors *errors, struct gathered *panel, struct channels *channels) {
    const struct fqt_geometry *g = errors->g;
    for (int32_t v = 0; v < panel->n; v++) {
        panel->zero_sums[v] = 0;
    }
    panel->count = 0;
    panel->whole = true;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const int8_t *row[FQT_ERROR_VECTORS] = {NULL};
        for (int32_t v = 0; v < panel->n; v++) {
            int32_t oy = read_by(panel->iy[v] + g->pad_top - ky * g->dilation_h, g->stride_h, g->out_h);
            row[v] = panel->iy[v] < 0 || oy < 0 ? NULL : errors->e + oy * g->out_w * errors->columns;
        }
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            const int8_t *e[FQT_ERROR_VECTORS];
            bool any = false;
            for (int32_t v = 0; v < panel->n; v++) {
                int32_t ox = read_by(panel->ix[v] + g->pad_left - kx * g->dilation_w, g->stride_w, g->out_w);
                e[v] = row[v] == NULL || ox < 0 ? NULL : row[v] + ox * errors->columns;
                any = any || e[v] != NULL;
            }
            if (any) {
                gather_tap(errors, panel, channels, (ky * g->kernel_w + kx) * g->in_c, e);
            }
        }
    }
}

/* All input channels of the panel's positions. */
static void send(const struct errors *errors, struct gathered *panel, struct fqt_error_finish *finish, const uint8_t *w,
                 const uint8_t *x, int8_t *dx) {
    const struct fqt_geometry *g = errors->g;
    struct channels channels;
    for (int32_t ci = 0; ci < g->in_c; ci += channels.n) {
        channels.w = w + ci;
        channels.n = fqt_min(SUMS / panel->n, g->in_c - ci);
        fqt_clear(channels.acc, (channels.n * panel->n + FQT_QUAD - 1) / FQT_QUAD);
        if (ci == 0 || !panel->whole) {
            gather(errors, panel, &channels);
        }
        meet_weights(panel, &channels);
        for (int32_t v = 0; v < panel->n && panel->iy[v] >= 0; v++) {
            int32_t at = (panel->iy[v] * g->in_w + panel->ix[v]) * g->in_c + ci;
            fqt_finish_errors(finish, channels.n, channels.acc + v, panel->n, panel->zero_sums[v], x + at, dx + at);
        }
    }
}

/* Input positions from (first_y, first_x) in steps of the stride. */
static void send_to_every_stride(const struct errors *errors, int32_t first_y, int32_t first_x,
                                 struct fqt_error_finish *finish, const uint8_t *w, const uint8_t *x, int8_t *dx) {
    const struct fqt_geometry *g = errors->g;
    struct gathered panel;
    panel.n = g->in_h * g->in_w == 1 ? 1 : FQT_ERROR_VECTORS;
    int32_t iy = first_y;
    int32_t ix = first_x;
    while (iy < g->in_h) {
        for (int32_t v = 0; v < panel.n; v++) {
            panel.iy[v] = iy < g->in_h ? iy : -1;
            panel.ix[v] = ix;
            ix += g->stride_w;
            if (ix >= g->in_w) {
                ix = first_x;
                iy += g->stride_h;
            }
        }
        send(errors, &panel, finish, w, x, dx);
    }
}

int32_t fqt_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                     const struct fqt_channels *kept) {
    const struct errors errors = {g, q, kept, e, fqt_n_kept(kept, g->out_c), q->grids > 1 || q->factors[0] != 1};
    if (fqt_conv2d_backward_input_is_sparse(g, e, errors.columns)) {
        return fqt_conv2d_backward_input_sparse(g, q, e, w, x, dx, kept);
    }
    struct fqt_error_finish finish = fqt_error_finish_of(q);
    for (int32_t iy = 0; iy < fqt_min(g->stride_h, g->in_h); iy++) {
        for (int32_t ix = 0; ix < fqt_min(g->stride_w, g->in_w); ix++) {
            send_to_every_stride(&errors, iy, ix, &finish, w, x, dx);
        }
    }
    return finish.largest;
}

#endif
