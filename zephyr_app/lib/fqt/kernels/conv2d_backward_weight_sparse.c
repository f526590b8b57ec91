/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution's weight gradient (SPEC.md 4.4; Eq. 2) for few output channels, as sparse updates leave them: a channel's
 * errors fill a panel, with the offsets of the inputs that they meet, and meet the inputs where these lie. A panel of
 * inputs, as in conv2d_backward_weight_blocked.c, would be used too seldom. */
#include "conv2d_backward_weight_sparse.h"

#include "blocks.h"
#include "window.h"

#ifdef FQT_BLOCKS

#define WEIGHTS 4 /* at once */
#define PIECE 64  /* errors of a channel at once */

/* An output channel: its errors are `columns` apart. */
struct channel {
    const struct fqt_geometry *g;
    const int8_t *e;
    int32_t columns;
    const uint8_t *x;
    int32_t zero_x, factor;
    int32_t *gradient;
};

/* Neighbouring weights that meet neighbouring inputs: a tap's, or a kernel row's where no tap ever lies outside the
 * input. */
struct run {
    int32_t dy, dx; /* from a window's origin */
    int32_t weight, length;
};

/* The errors that are not 0 and whose windows have a run inside the input. */
struct met {
    int32_t count, sum;
    union fqt_word panel[FQT_PANEL_WORDS];
};

/* gradient += factor sum e (x - z_x), of the run's weights. */
static void meet_inputs(const struct channel *channel, struct met *met, const struct run *run) {
    int32_t *gradient = channel->gradient + run->weight;
    int32_t zero = met->sum * channel->zero_x;
    int32_t elements = met->count;
    for (; elements % FQT_QUAD != 0; elements++) {
        fqt_set_offset(met->panel, 1, elements, 0);
        fqt_set_column(met->panel, 1, 0, elements, 0);
    }
    for (int32_t c = 0; elements > 0 && c < run->length; c += WEIGHTS) {
        int32_t n = fqt_min(WEIGHTS, run->length - c);
        int32_t sums[WEIGHTS] = {0};
        if (n == WEIGHTS) {
            fqt_columns_1x4(met->panel, channel->x + c, elements / FQT_QUAD, sums);
        } else {
            for (int32_t p = 0; p < met->count; p++) {
                int32_t error = fqt_column(met->panel, 1, 0, p);
                const uint8_t *x = channel->x + fqt_offset(met->panel, 1, p) + c;
                for (int32_t i = 0; i < n; i++) {
                    sums[i] += error * x[i];
                }
            }
        }
        for (int32_t i = 0; i < n; i++) {
            gradient[c + i] += channel->factor * (sums[i] - zero);
        }
    }
    met->count = 0;
    met->sum = 0;
}

/* The errors of `count` neighbouring outputs; offset: of what the first one meets. */
static void put_errors(const struct channel *channel, struct met *met, const int8_t *e, int32_t count, int32_t offset) {
    int8_t piece[PIECE];
    for (int32_t i = 0; channel->columns > 1 && i < count; i++) {
        piece[i] = e[i * channel->columns];
    }
    int32_t sum;
    met->count += fqt_fill_errors(met->panel, met->count, channel->columns > 1 ? piece : e, count, offset,
                                  channel->g->stride_w * channel->g->in_c, &sum);
    met->sum += sum;
}

static void add_run(const struct channel *channel, struct met *met, const struct run *run) {
    const struct fqt_geometry *g = channel->g;
    int32_t first = run->dx < 0 ? divided_up(-run->dx, g->stride_w) : 0;
    int32_t last = g->in_w > run->dx ? fqt_min(g->out_w, divided_up(g->in_w - run->dx, g->stride_w)) : 0;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        int32_t iy = oy * g->stride_h + run->dy;
        for (int32_t ox = first, count; iy >= 0 && iy < g->in_h && ox < last; ox += count) {
            if (met->count == fqt_column_capacity(1)) {
                meet_inputs(channel, met, run);
            }
            count = fqt_min(fqt_min(last - ox, PIECE), fqt_column_capacity(1) - met->count);
            put_errors(channel, met, channel->e + (oy * g->out_w + ox) * channel->columns, count,
                       (iy * g->in_w + ox * g->stride_w + run->dx) * g->in_c);
        }
    }
    meet_inputs(channel, met, run);
}

static void add_channel(const struct channel *channel) {
    const struct fqt_geometry *g = channel->g;
    bool whole_rows = g->dilation_w == 1 && g->pad_left == 0 && (g->out_w - 1) * g->stride_w + g->kernel_w <= g->in_w;
    int32_t taps = whole_rows ? g->kernel_w : 1;
    struct run run = {.weight = 0, .length = taps * g->in_c};
    struct met met = {.count = 0, .sum = 0};
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        run.dy = ky * g->dilation_h - g->pad_top;
        for (int32_t kx = 0; kx < g->kernel_w; kx += taps) {
            run.dx = kx * g->dilation_w - g->pad_left;
            add_run(channel, &met, &run);
            run.weight += run.length;
        }
    }
}

void fqt_conv2d_backward_weight_sparse(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                       const int8_t *e, int32_t columns, const uint8_t *x, int32_t *gradient,
                                       const struct fqt_channels *kept) {
    int32_t fan_in = g->kernel_h * g->kernel_w * g->in_c;
    struct channel channel = {.g = g, .columns = columns, .x = x, .zero_x = zero_x, .factor = 1 << fraction_bits};
    for (int32_t j = 0; j < columns; j++) {
        channel.e = e + j;
        channel.gradient = gradient + fqt_kept_channel(kept, j) * fan_in;
        add_channel(&channel);
    }
}

#endif
