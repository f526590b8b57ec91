/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) where a window is three words at most, as in a network's first layer: it is
 * read where it lies and stays in registers while it meets all weights, which have been unpacked before. So nothing is
 * gathered but windows that lie partly on the padding. */
#include "conv2d_forward_small.h"

#include "window.h"

#ifdef FQT_PAIRED

#define SUMS 64          /* at once */
#define CHANNELS 16      /* whose weights are unpacked at once */
#define FEW_POSITIONS 16 /* not worth unpacking for */

/* A kernel row's run of neighbours is so many words. */
static int32_t words_of_run(const struct fqt_geometry *g) {
    return (g->kernel_w * g->in_c + FQT_QUAD - 1) / FQT_QUAD;
}

bool fqt_conv2d_is_small(const struct fqt_geometry *g) {
    return g->kernel_h <= FQT_SMALL_WORDS && g->kernel_w * g->in_c <= FQT_SMALL_WORDS * FQT_QUAD &&
           g->kernel_h * words_of_run(g) <= FQT_SMALL_WORDS && (g->dilation_w == 1 || g->kernel_w == 1) &&
           g->out_h * g->out_w >= FEW_POSITIONS;
}

/* A channel's weights w - z_w with 0 behind each run, and its bias less what z_x takes off. */
static void unpack_row(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, int32_t co,
                       const uint8_t *w, struct fqt_small_row *row) {
    int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, co)];
    int32_t length = g->kernel_w * g->in_c;
    int32_t run = words_of_run(g) * FQT_QUAD;
    int32_t sum = 0;
    for (int32_t i = 0; i < 2 * FQT_SMALL_WORDS; i++) {
        row->pairs[i].word = 0;
    }
    w += co * g->kernel_h * length;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        for (int32_t i = 0; i < length; i++) {
            int32_t value = *w++ - zero_w;
            fqt_set_row(row->pairs, 1, 0, ky * run + i, value);
            sum += value;
        }
    }
    row->start = q->bias_acc[co] - q->zero_x * sum;
}

/* A window's words, as they lie in the input, from its origin; z_x on the padding. */
static void copy_window(const struct fqt_geometry *g, int32_t zero_x, const uint8_t *x, int32_t iy, int32_t ix,
                        uint8_t *bytes) {
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        int32_t row = iy + ky * g->dilation_h;
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            int32_t column = ix + kx;
            bool inside = row >= 0 && row < g->in_h && column >= 0 && column < g->in_w;
            for (int32_t ci = 0; ci < g->in_c; ci++) {
                bytes[kx * g->in_c + ci] =
                    inside ? x[(row * g->in_w + column) * g->in_c + ci] : (uint8_t)zero_x;
            }
        }
        bytes += words_of_run(g) * FQT_QUAD;
    }
}

/* Puts the outputs of n positions. */
static void put(struct fqt_results *results, int32_t co, int32_t channels, int32_t n, const int32_t *acc, uint8_t *y) {
    if (results->q->grids == 1) {
        fqt_results_put(results, 0, co, n * channels, acc, y);
        return;
    }
    for (int32_t i = 0; i < n * channels; i += channels) {
        fqt_results_put(results, 0, co, channels, acc + i, y + i);
    }
}

/* Outputs of channels co.. at all positions; at: of a window's words. */
static void forward_channels(const struct fqt_geometry *g, struct fqt_results *results, const uint8_t *x,
                             const int32_t at[FQT_SMALL_WORDS], const struct fqt_small_row *rows, int32_t co,
                             int32_t channels, uint8_t *y) {
    static const int32_t copied_at[FQT_SMALL_WORDS] = {0, FQT_QUAD, 2 * FQT_QUAD};
    int32_t farthest = (g->kernel_h - 1) * g->dilation_h * g->in_w * g->in_c + words_of_run(g) * FQT_QUAD;
    int32_t last = g->in_h * g->in_w * g->in_c - farthest; /* a window behind this has a word that leaves the input */
    int32_t batch = g->out_c == channels ? SUMS / channels : 1;
    int32_t waiting = 0;
    int32_t acc[SUMS + 1];
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        int32_t iy = oy * g->stride_h - g->pad_top;
        bool inside = iy >= 0 && iy + (g->kernel_h - 1) * g->dilation_h < g->in_h;
        int32_t ix = -g->pad_left;
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            int32_t first = (iy * g->in_w + ix) * g->in_c;
            int32_t *sums = acc + waiting * channels;
            if (inside && ix >= 0 && ix <= g->in_w - g->kernel_w && first <= last) {
                fqt_small_window(x + first, at, rows, channels, sums);
            } else {
                uint8_t bytes[FQT_SMALL_WORDS * FQT_QUAD] = {0};
                copy_window(g, results->q->zero_x, x, iy, ix, bytes);
                fqt_small_window(bytes, copied_at, rows, channels, sums);
            }
            ix += g->stride_w;
            waiting++;
            if (waiting == batch) {
                put(results, co, channels, waiting, acc, y);
                y += waiting * g->out_c;
                waiting = 0;
            }
        }
    }
    if (waiting > 0) {
        put(results, co, channels, waiting, acc, y);
    }
}

void fqt_conv2d_forward_small(const struct fqt_geometry *g, struct fqt_results *results, const uint8_t *x,
                              const uint8_t *w, uint8_t *y) {
    int32_t words = words_of_run(g);
    int32_t at[FQT_SMALL_WORDS] = {0};
    for (int32_t i = 0; i < g->kernel_h * words; i++) {
        at[i] = i / words * g->dilation_h * g->in_w * g->in_c + i % words * FQT_QUAD;
    }
    for (int32_t co = 0; co < g->out_c; co += CHANNELS) {
        struct fqt_small_row rows[CHANNELS];
        int32_t channels = fqt_min(CHANNELS, g->out_c - co);
        for (int32_t i = 0; i < channels; i++) {
            unpack_row(g, results->q, co + i, w, rows + i);
        }
        forward_channels(g, results, x, at, rows, co, channels, y + co);
    }
}

#endif
