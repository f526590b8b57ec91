/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling (SPEC.md 4.8). */
#include "error_finish.h"
#include "window.h"

#include <string.h>

#define BLOCK 64 /* channels whose errors are summed at once */

/* Index of the first element of row ky of a window: output (oy, ox), channel c. */
static int32_t row_start(const struct fqt_geometry *g, int32_t oy, int32_t ox, int32_t ky, int32_t c) {
    return ((oy * g->stride_h + ky) * g->in_w + ox * g->stride_w) * g->in_c + c;
}

/* ---- Forward ---- */

static int32_t sum_u8(const struct fqt_geometry *g, int32_t oy, int32_t ox, int32_t c, const uint8_t *x) {
    int32_t sum = 0;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const uint8_t *element = x + row_start(g, oy, ox, ky, c);
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            sum += element[kx * g->in_c];
        }
    }
    return sum;
}

void fqt_avg_pool2d_forward_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t zero_y,
                               struct fqt_requantizer requantizer, const uint8_t *x, uint8_t *y,
                               struct fqt_extremes *extremes) {
    int32_t zero_sum = g->kernel_h * g->kernel_w * zero_x;
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            for (int32_t c = 0; c < g->out_c; c++) {
                int32_t acc = sum_u8(g, oy, ox, c, x) - zero_sum;
                fqt_widen(extremes, acc);
                *y++ = (uint8_t)fqt_clamp(fqt_requantize(acc, requantizer) + zero_y, 0, 255);
            }
        }
    }
}

static float sum_f32(const struct fqt_geometry *g, int32_t oy, int32_t ox, int32_t c, const float *x) {
    float sum = 0.0f;
    for (int32_t ky = 0; ky < g->kernel_h; ky++) {
        const float *element = x + row_start(g, oy, ox, ky, c);
        for (int32_t kx = 0; kx < g->kernel_w; kx++) {
            sum = sum + element[kx * g->in_c];
        }
    }
    return sum;
}

void fqt_avg_pool2d_forward_f32(const struct fqt_geometry *g, const float *x, float *y) {
    float n = (float)(g->kernel_h * g->kernel_w);
    for (int32_t oy = 0; oy < g->out_h; oy++) {
        for (int32_t ox = 0; ox < g->out_w; ox++) {
            for (int32_t c = 0; c < g->out_c; c++) {
                *y++ = sum_f32(g, oy, ox, c, x) / n;
            }
        }
    }
}

/* ---- Error to the input: each input element visits the windows that hold it, in raster order ---- */

/* The errors of the windows v, h at n channels; e: of the first. */
static void gather_u8(const struct fqt_geometry *g, struct outputs v, struct outputs h, int32_t n, const int8_t *e,
                      int32_t *sum) {
    bool first = true;
    for (int32_t oy = v.first; oy < v.last; oy++) {
        for (int32_t ox = h.first; ox < h.last; ox++) {
            const int8_t *error = e + (oy * g->out_w + ox) * g->out_c;
            for (int32_t j = 0; j < n; j++) {
                sum[j] = first ? error[j] : sum[j] + error[j];
            }
            first = false;
        }
    }
    if (first) { /* no window holds the element */
        memset(sum, 0, (size_t)n * sizeof *sum);
    }
}

int32_t fqt_avg_pool2d_backward_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                   const int8_t *e, const uint8_t *x, int8_t *dx) {
    struct fqt_error_finish finish = fqt_error_finish_of(q);
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        struct outputs v = readers_of_row(g, iy);
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct outputs h = readers_of_column(g, ix);
            for (int32_t c = 0; c < g->in_c; c += BLOCK) {
                int32_t sum[BLOCK];
                int32_t n = fqt_min(BLOCK, g->in_c - c);
                gather_u8(g, v, h, n, e + c, sum);
                fqt_finish_errors(&finish, n, sum, 1, 0, x, dx);
                x += n;
                dx += n;
            }
        }
    }
    return finish.largest;
}

void fqt_avg_pool2d_backward_f32(const struct fqt_geometry *g, enum fqt_activation activation, bool accumulate,
                                 const float *e, const float *x, float *dx) {
    float n = (float)(g->kernel_h * g->kernel_w);
    for (int32_t iy = 0; iy < g->in_h; iy++) {
        struct outputs v = readers_of_row(g, iy);
        for (int32_t ix = 0; ix < g->in_w; ix++) {
            struct outputs h = readers_of_column(g, ix);
            for (int32_t c = 0; c < g->in_c; c++) {
                float sum = 0.0f;
                for (int32_t oy = v.first; oy < v.last; oy++) {
                    for (int32_t ox = h.first; ox < h.last; ox++) {
                        sum = sum + e[(oy * g->out_w + ox) * g->out_c + c] / n;
                    }
                }
                fqt_error_f32(activation, accumulate, sum, x++, dx++);
            }
        }
    }
}
