/* SPDX-License-Identifier: Apache-2.0 */
/* Max pooling (SPEC.md 4.5): the first maximum in raster order wins, forward and backward. */
#include "window.h"

#include <string.h>

/* Index of the first tap of a window: output (oy, ox), channel c. */
static int32_t window_start(const struct fqt_geometry *g, int32_t oy, int32_t ox, int32_t c) {
    return (oy * g->stride_h * g->in_w + ox * g->stride_w) * g->in_c + c;
}

/* first_maximum_*: index of the first maximum of the window that starts at `start`. One body for both types. */
#define DEFINE_FIRST_MAXIMUM(name, type)                                                                               \
    static int32_t name(const struct fqt_geometry *g, const type *x, int32_t start) {                                  \
        int32_t best = start;                                                                                          \
        for (int32_t ky = 0; ky < g->kernel_h; ky++) {                                                                 \
            for (int32_t kx = 0; kx < g->kernel_w; kx++) {                                                             \
                int32_t i = start + (ky * g->in_w + kx) * g->in_c;                                                     \
                best = x[i] > x[best] ? i : best;                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        return best;                                                                                                   \
    }

/* name: y = maximum of each window. */
#define DEFINE_FORWARD(name, type, first_maximum)                                                                      \
    void name(const struct fqt_geometry *g, const type *x, type *y) {                                                  \
        for (int32_t oy = 0; oy < g->out_h; oy++) {                                                                    \
            for (int32_t ox = 0; ox < g->out_w; ox++) {                                                                \
                for (int32_t c = 0; c < g->out_c; c++) {                                                               \
                    *y++ = x[first_maximum(g, x, window_start(g, oy, ox, c))];                                         \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
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
DEFINE_FORWARD(fqt_max_pool2d_forward_u8, uint8_t, first_maximum_u8)
DEFINE_FORWARD(fqt_max_pool2d_forward_f32, float, first_maximum_f32)
DEFINE_GATHER(gather_u8, uint8_t, int8_t, int32_t, first_maximum_u8)
DEFINE_GATHER(gather_f32, float, float, float, first_maximum_f32)

/* Where windows do not overlap, an input takes the error of one output at most: each goes to its place. */
static void scatter_u8(const struct fqt_geometry *g, int32_t lowest, int32_t highest, const uint8_t *x, const int8_t *e,
                       int8_t *dx) {
    memset(dx, 0, (size_t)(g->in_h * g->in_w * g->in_c));
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            int32_t start = window_start(g, oy, ox, 0);
            for (int32_t c = 0; c < g->out_c; c++) {
                int8_t error = *e++;
                if (error != 0) {
                    int32_t i = first_maximum_u8(g, x, start + c);
                    dx[i] = lowest < x[i] && x[i] < highest ? error : 0;
                }
            }
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
