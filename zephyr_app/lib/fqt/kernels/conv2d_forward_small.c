/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution forward (SPEC.md 4.1; Eq. 3) where a window is a few reads, as in a network's first layer: it is read
 * where it lies and meets weights that have been unpacked before. So nothing is gathered but windows that lie partly on
 * the padding. */
#include "conv2d_forward_small.h"

#include "window.h"

#ifdef FQT_BLOCKS

#define WINDOW_BYTES (FQT_SMALL_READS * FQT_READ_BYTES)
#define FEW_POSITIONS 16 /* not worth unpacking for */
#ifdef FQT_PAIRED
#define SUMS 64 /* at once */
static const int32_t side_by_side[FQT_SMALL_READS] = {0, 4, 8};
#else
#define SUMS 32
static const int32_t side_by_side[FQT_SMALL_READS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
#endif

/* Of a kernel row's neighbours. */
static int32_t reads_of_run(const struct fqt_geometry *g) {
    return (g->kernel_w * g->in_c + FQT_READ_BYTES - 1) / FQT_READ_BYTES;
}

bool fqt_conv2d_is_small(const struct fqt_geometry *g) {
    return g->kernel_h <= FQT_SMALL_READS && g->kernel_w * g->in_c <= WINDOW_BYTES &&
           g->kernel_h * reads_of_run(g) <= FQT_SMALL_READS && (g->dilation_w == 1 || g->kernel_w == 1) &&
           g->out_h * g->out_w >= FEW_POSITIONS;
}

/* Channels co..: weights w - z_w with 0 behind each run, and biases less what z_x takes off. A
 * function of its own, so that its registers leave the stack before the sums need it. */
__attribute__((noinline)) static void unpack(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                             int32_t co, const uint8_t *w, struct fqt_small_rows *rows) {
    int32_t length = g->kernel_w * g->in_c;
    int32_t run = reads_of_run(g) * FQT_READ_BYTES;
    fqt_clear(rows->words, FQT_SMALL_WORDS / FQT_QUAD);
    w += co * g->kernel_h * length;
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t zero_w = q->zero_w[fqt_grid_index(q->grids, co + i)];
        int32_t sum = 0;
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {
            for (int32_t k = ky * run; k < ky * run + length; k++) {
                int32_t value = *w++ - zero_w;
                fqt_set_small(rows, i, k, value);
                sum += value;
            }
        }
        fqt_set_small(rows, i, -1, q->bias_acc[co + i] - q->zero_x * sum);
    }
}

/* What is read of a window at (iy, ix), z_x on the padding. */
static void copy_window(const struct fqt_geometry *g, int32_t zero_x, const uint8_t *x, int32_t iy, int32_t ix,
                        uint8_t *bytes) {
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        int32_t row = iy + ky * g->dilation_h;
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            int32_t column = ix + kx;
            bool inside = row >= 0 && row < g->in_h && column >= 0 && column < g->in_w;
            for (int32_t ci = 0; ci < g->in_c; ci++) {
                bytes[kx * g->in_c + ci] = inside ? x[(row * g->in_w + column) * g->in_c + ci] : (uint8_t)zero_x;
            }
        }
        bytes += reads_of_run(g) * FQT_READ_BYTES;
    }
}

/* The sums of a window that lies partly on the padding. */
__attribute__((noinline)) static void meet_padding(const struct fqt_geometry *g, int32_t zero_x, const uint8_t *x,
                                                   int32_t iy, int32_t ix, const struct fqt_small_rows *rows,
                                                   int32_t *acc) {
    uint8_t bytes[WINDOW_BYTES] = {0};
    copy_window(g, zero_x, x, iy, ix, bytes);
    fqt_small_window(bytes, side_by_side, rows, acc);
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

/* Outputs of channels co.. at all positions; at: what is read of a window, from its origin. */
static void forward_channels(const struct fqt_geometry *g, struct fqt_results *results, const uint8_t *x,
                             const int32_t at[FQT_SMALL_READS], const struct fqt_small_rows *rows, int32_t co,
                             uint8_t *y) {
    const int32_t channels = rows->count;
    int32_t farthest = (g->kernel_h - 1) * g->dilation_h * g->in_w * g->in_c + reads_of_run(g) * FQT_READ_BYTES;
    int32_t last = g->in_h * g->in_w * g->in_c - farthest; /* a window behind this would be read beyond the input */
    int32_t batch = g->out_c == channels ? SUMS / channels : 1;
    int32_t waiting = 0;
    int32_t acc[SUMS + FQT_QUAD];
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        int32_t iy = oy * g->stride_h - g->pad_top;
        bool inside = iy >= 0 && iy + (g->kernel_h - 1) * g->dilation_h < g->in_h;
        int32_t ix = -g->pad_left;
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            int32_t first = (iy * g->in_w + ix) * g->in_c;
            int32_t *sums = acc + waiting * channels;
            if (inside && ix >= 0 && ix <= g->in_w - g->kernel_w && first <= last) {
                fqt_small_window(x + first, at, rows, sums);
            } else {
                meet_padding(g, results->q->zero_x, x, iy, ix, rows, sums);
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
    int32_t at[FQT_SMALL_READS] = {0};
    int32_t reads = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        for (int32_t i = 0; i < reads_of_run(g); i++) {
            at[reads++] = ky * g->dilation_h * g->in_w * g->in_c + i * FQT_READ_BYTES;
        }
    }
    struct fqt_small_rows rows;
    rows.reads = (reads + 2) / 3 * 3;
    for (int32_t co = 0; co < g->out_c; co += rows.count) {
        rows.count = fqt_min(FQT_SMALL_CHANNELS, g->out_c - co);
        unpack(g, results->q, co, w, &rows);
        forward_channels(g, results, x, at, &rows, co, y + co);
    }
}

#endif
