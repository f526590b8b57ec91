/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the sums of an output or of an input's error: the same in all kernels (SPEC.md 4.1-4.3). */
#ifndef FQT_ELEMENTS_H
#define FQT_ELEMENTS_H

#include "random_errors.h"

#include <fqt/kernels.h>
#include <stddef.h>

static inline int32_t fqt_min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static inline int32_t fqt_max(int32_t a, int32_t b) {
    return a > b ? a : b;
}

/* Index of an output channel's grid. */
static inline int32_t fqt_grid_index(int32_t grids, int32_t channel) {
    return grids > 1 ? channel : 0;
}

/* Columns of e; kept may be NULL. */
static inline int32_t fqt_n_kept(const struct fqt_channels *kept, int32_t channels) {
    return kept == NULL ? channels : kept->count;
}

/* The output channel of column j of e; kept may be NULL. */
static inline int32_t fqt_kept_channel(const struct fqt_channels *kept, int32_t j) {
    return kept == NULL ? j : kept->indices[j];
}

/* extremes may be NULL. */
static inline void fqt_widen(struct fqt_extremes *extremes, int32_t acc) {
    if (extremes != NULL) {
        extremes->least = fqt_min(extremes->least, acc);
        extremes->greatest = fqt_max(extremes->greatest, acc);
    }
}

/* The output of a layer with weights that belongs to an accumulator. extremes: [grids] or NULL. */
static inline uint8_t fqt_output_u8(const struct fqt_forward_quantization *q, int32_t channel, int32_t acc,
                                    struct fqt_extremes *extremes) {
    int32_t grid = fqt_grid_index(q->grids, channel);
    fqt_widen(extremes == NULL ? NULL : extremes + grid, acc);
    return (uint8_t)fqt_clamp(fqt_requantize(acc, q->requantizers[grid]) + q->zero_y, q->lower, q->upper);
}

static inline float fqt_activate(enum fqt_activation activation, float v) {
    if (activation == FQT_ACT_NONE) {
        return v;
    }
    if (!(v > 0.0f)) {
        return 0.0f;
    }
    return activation == FQT_ACT_RELU6 && !(v < 6.0f) ? 6.0f : v;
}

/* Requantizes the error sums of n inputs, sum[j * step] - minus; returns the largest |sum| of those that pass,
 * accumulating the largest |total|. dx may lie over x: each is read before the other is written. q is read once,
 * because a write to dx might change it for all a compiler knows. */
static inline int32_t fqt_errors_from_u8(const struct fqt_error_quantization *q, int32_t n, const int32_t *sum,
                                         int32_t step, int32_t minus, const uint8_t *x, int8_t *dx) {
#if FQT_WITH_STOCHASTIC_ERRORS /* without -O a call is linked even where it is never reached */
    if (fqt_errors_are_random(q)) {
        return fqt_random_errors_u8(q, n, sum, step, minus, x, dx);
    }
#endif
    const int32_t lowest = q->lowest;
    const int32_t highest = q->highest;
    const bool accumulate = q->accumulate;
    const struct fqt_requantizer requantizer = q->requantizer;
    int32_t largest = 0;
    for (int32_t j = 0; j < n; j++) {
        if (x[j] <= lowest || x[j] >= highest) {
            dx[j] = 0;
            continue;
        }
        int32_t seen = sum[j * step] - minus;
        int32_t error = fqt_requantize(seen, requantizer);
        if (accumulate) {
            error += dx[j];
            seen = error;
        }
        largest = fqt_max(largest, seen < 0 ? -seen : seen);
        dx[j] = (int8_t)fqt_clamp(error, -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
    return largest;
}

static inline int32_t fqt_errors_u8(const struct fqt_error_quantization *q, int32_t n, const int32_t *sum,
                                    const uint8_t *x, int8_t *dx) {
    return fqt_errors_from_u8(q, n, sum, 1, 0, x, dx);
}

static inline bool fqt_passes_f32(enum fqt_activation activation, float x) {
    return activation == FQT_ACT_NONE || (x > 0.0f && (activation != FQT_ACT_RELU6 || x < 6.0f));
}

/* What an input's error becomes. x is read before dx is written, because they may be one. */
static inline void fqt_error_f32(enum fqt_activation activation, bool accumulate, float sum, const float *x,
                                 float *dx) {
    bool passes = fqt_passes_f32(activation, *x);
    float error = accumulate ? *dx + sum : sum;
    *dx = passes ? error : 0.0f;
}

#endif
