/* SPDX-License-Identifier: Apache-2.0 */
/* Max pooling (SPEC.md 4.5): the first maximum in raster order wins, forward and backward. */
#include "blocks.h"
#include "packed.h"
#include "window.h"

#include <string.h>

#ifdef FQT_PAIRED
#define WORDS true /* four channels at once */
#else
#define WORDS false
#endif

/* Index of the first tap of a window: output (oy, ox), channel c. */
static int32_t window_start(const struct fqt_geometry *g, int32_t oy, int32_t ox, int32_t c) {
    return (oy * g->stride_h * g->in_w + ox * g->stride_w) * g->in_c + c;
}

/* ---- Forward ---- */

/* y = max(x, y) of n channels. */
static void take_larger_u8(const uint8_t *x, int32_t n, uint8_t *y) {
    int32_t c = 0;
    for (; WORDS && c + 4 <= n; c += 4) {
        packed_store(y + c, packed_max_u8(packed_load(x + c), packed_load(y + c)));
    }
    for (; c < n; c++) {
        y[c] = x[c] > y[c] ? x[c] : y[c];
    }
}

static void take_larger_f32(const float *x, int32_t n, float *y) {
    for (int32_t c = 0; c < n; c++) {
        y[c] = x[c] > y[c] ? x[c] : y[c];
    }
}

/* name: y = maximum of each window. One body for both types. */
#define DEFINE_FORWARD(name, type, take_larger)                                                                        \
    void name(const struct fqt_geometry *g, const type *x, type *y) {                                                  \
        for (int32_t oy = 0; oy < g->out_h; oy++) {                                                                    \
            for (int32_t ox = 0; ox < g->out_w; ox++) {                                                                \
                const type *row = x + window_start(g, oy, ox, 0);                                                      \
                memcpy(y, row, (size_t)g->in_c * sizeof *y);                                                           \
                for (int32_t ky = 0; ky < g->kernel_h; ky++) {                                                         \
                    for (int32_t kx = ky == 0; kx < g->kernel_w; kx++) {                                               \
                        take_larger(row + kx * g->in_c, g->in_c, y);                                                   \
                    }                                                                                                  \
                    row += g->in_w * g->in_c;                                                                          \
                }                                                                                                      \
                y += g->in_c;                                                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_FORWARD(fqt_max_pool2d_forward_u8, uint8_t, take_larger_u8)
DEFINE_FORWARD(fqt_max_pool2d_forward_f32, float, take_larger_f32)

/* ---- Backward ---- */

/* first_maximum_*: index of the first maximum of the window that starts at `start`. A function of its own, because
 * within three loops a Cortex-M0+ has too few registers for it. */
#define DEFINE_FIRST_MAXIMUM(name, type)                                                                               \
    __attribute__((noinline)) static int32_t name(const struct fqt_geometry *g, const type *x, int32_t start) {        \
        int32_t to_next_row = (g->in_w - g->kernel_w) * g->in_c;                                                       \
        int32_t i = start;                                                                                             \
        int32_t best = start;                                                                                          \
        type most = x[start];                                                                                          \
        for (int32_t ky = g->kernel_h; ky > 0; ky--) {                                                                 \
            for (int32_t kx = g->kernel_w; kx > 0; kx--) {                                                             \
                if (x[i] > most) {                                                                                     \
                    most = x[i];                                                                                       \
                    best = i;                                                                                          \
                }                                                                                                      \
                i += g->in_c;                                                                                          \
            }                                                                                                          \
            i += to_next_row;                                                                                          \
        }                                                                                                              \
        return best;                                                                                                   \
    }

/* name: sum of the errors whose window has its first maximum at input element i = (iy, ix, c), windows in raster order.
 */
#define DEFINE_GATHER(name, type, error_type, sum_type, first_maximum)                                                 \
    static sum_type name(const struct fqt_geometry *g, int32_t iy, int32_t ix, int32_t c, const type *x,               \
                         const error_type *e) {                                                                        \
        int32_t i = (iy * g->in_w + ix) * g->in_c + c;                                                                 \
        sum_type sum = 0;                                                                                              \
        struct outputs v = readers_of_row(g, iy);                                                                      \
        struct outputs h = readers_of_column(g, ix);                                                                   \
        for (int32_t oy = v.first; oy < v.last; oy++) {                                                                \
            for (int32_t ox = h.first; ox < h.last; ox++) {                                                            \
                error_type error = e[(oy * g->out_w + ox) * g->out_c + c];                                             \
                if (error != 0 && first_maximum(g, x, window_start(g, oy, ox, c)) == i) {                              \
                    sum = sum + error;                                                                                 \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        return sum;                                                                                                    \
    }

DEFINE_FIRST_MAXIMUM(first_maximum_u8, uint8_t)
DEFINE_FIRST_MAXIMUM(first_maximum_f32, float)
DEFINE_GATHER(gather_u8, uint8_t, int8_t, int32_t, first_maximum_u8)
DEFINE_GATHER(gather_f32, float, float, float, first_maximum_f32)

/* Of four channels. */
static uint32_t maxima(const struct fqt_geometry *g, const uint8_t *x) {
    uint32_t most = 0;
    for (int32_t ky = g->kernel_h; ky > 0; ky--) {
        const uint8_t *tap = x;
        for (int32_t kx = g->kernel_w; kx > 0; kx--) {
            most = packed_max_u8(packed_load(tap), most);
            tap += g->in_c;
        }
        x += g->in_w * g->in_c;
    }
    return most;
}

/* All taps take an error: that of their channel, e, which its first maximum takes, or 0. */
static void place(const struct fqt_geometry *g, const uint8_t *x, uint32_t most, uint32_t e, int8_t *dx) {
    for (int32_t ky = g->kernel_h; ky > 0; ky--) {
        for (int32_t kx = 0; kx < g->kernel_w * g->in_c; kx += g->in_c) {
            uint32_t taken = e & packed_at_least(packed_load(x + kx), most);
            packed_store(dx + kx, taken);
            e ^= taken;
        }
        x += g->in_w * g->in_c;
        dx += g->in_w * g->in_c;
    }
}

/* How many channels of a window's errors it has placed. x in first..last passes them. */
static int32_t scatter_packed(const struct fqt_geometry *g, int32_t first, int32_t last, const uint8_t *x,
                              const int8_t *e, int8_t *dx) {
    int32_t c = 0;
    for (; WORDS && c + 4 <= g->out_c; c += 4) {
        uint32_t most = maxima(g, x + c);
        uint32_t passing = packed_within(most, packed_bytes(first), packed_bytes(last));
        place(g, x + c, most, packed_load(e + c) & passing, dx + c);
    }
    return c;
}

/* A C library's memset() may go byte by byte. */
static void clear(int8_t *dx, int32_t n) {
#ifdef FQT_BLOCKS
    fqt_clear_bytes(dx, n);
#else
    memset(dx, 0, (size_t)n);
#endif
}

/* Where windows do not overlap, an input takes the error of one output at most: each goes to its place. */
static void scatter_u8(const struct fqt_geometry *g, int32_t lowest, int32_t highest, const uint8_t *x, const int8_t *e,
                       int8_t *dx) {
    int32_t first = lowest + 1;
    int32_t last = fqt_min(highest - 1, UINT8_MAX);
    clear(dx, g->in_h * g->in_w * g->in_c);
    for (int32_t oy = 0; oy < g->out_h && first <= last; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            int32_t start = window_start(g, oy, ox, 0);
            for (int32_t c = scatter_packed(g, first, last, x + start, e, dx + start); c < g->out_c; c++) {
                if (e[c] != 0) {
                    int32_t i = first_maximum_u8(g, x, start + c);
                    dx[i] = first <= x[i] && x[i] <= last ? e[c] : 0;
                }
            }
            e += g->out_c;
        }
    }
}

void fqt_max_pool2d_backward_u8(const struct fqt_geometry *g, int32_t lowest, int32_t highest, const uint8_t *x,
                                const int8_t *e, int8_t *dx) {
    if (g->stride_h >= g->kernel_h && g->stride_w >= g->kernel_w) {
        scatter_u8(g, lowest, highest, x, e, dx);
        return;
    }
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t c = 0; c < g->in_c; c++) {
                int32_t value = x[(iy * g->in_w + ix) * g->in_c + c];
                int32_t sum = lowest < value && value < highest ? gather_u8(g, iy, ix, c, x, e) : 0;
                *dx++ = (int8_t)fqt_clamp(sum, -FQT_ERROR_MAX, FQT_ERROR_MAX);
            }
        }
    }
}

void fqt_max_pool2d_backward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                                 const float *e, float *dx) {
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            for (int32_t c = 0; c < g->in_c; c++) {
                bool passes = fqt_passes_f32(activation, x[(iy * g->in_w + ix) * g->in_c + c]);
                *dx++ = passes ? gather_f32(g, iy, ix, c, x, e) : 0.0f;
            }
        }
    }
}
