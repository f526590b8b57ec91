/* SPDX-License-Identifier: Apache-2.0 */
/* What the convolutions share: which taps of a window lie inside the input, and what becomes of their sums. */
#ifndef FQT_WINDOW_H
#define FQT_WINDOW_H

#include <fqt/kernels.h>

static inline int32_t fqt_min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static inline int32_t fqt_max(int32_t a, int32_t b) {
    return a > b ? a : b;
}

/* Along one axis: kernel taps first..last-1 of an output lie inside the input, the first one at index `in`. */
struct taps {
    int32_t first, last, in;
};

static inline struct taps taps_of(int32_t out, int32_t stride, int32_t pad, int32_t kernel, int32_t size) {
    int32_t origin = out * stride - pad;
    int32_t first = fqt_max(0, -origin);
    return (struct taps){first, fqt_min(kernel, size - origin), origin + first};
}

/* Along one axis: outputs first..last-1 have a tap on an input index. */
struct outputs {
    int32_t first, last;
};

static inline struct outputs outputs_of(int32_t in, int32_t stride, int32_t pad, int32_t kernel, int32_t size) {
    int32_t from = in + pad - kernel + 1;
    int32_t first = from <= 0 ? 0 : (from + stride - 1) / stride;
    return (struct outputs){first, fqt_min(size, (in + pad) / stride + 1)};
}

static inline void fqt_widen(struct fqt_extremes *extremes, int32_t acc) {
    extremes->least = fqt_min(extremes->least, acc);
    extremes->greatest = fqt_max(extremes->greatest, acc);
}

/* The output that belongs to an accumulator. */
static inline uint8_t fqt_output_u8(const struct fqt_forward_quantization *q, int32_t acc) {
    return (uint8_t)fqt_clamp(fqt_requantize(acc, q->requantizer) + q->zero_y, q->lower, 255);
}

/* Requantizes the error sums of n inputs; returns the largest |sum| of the unmasked. */
static inline int32_t fqt_errors_u8(const struct fqt_error_quantization *q, int32_t n, const int32_t *sum,
                                    const uint8_t *x, int8_t *dx) {
    int32_t lowest = q->masked ? q->zero_x : -1;
    int32_t largest = 0;
    for (int32_t j = 0; j < n; j++) {
        if (x[j] <= lowest) {
            dx[j] = 0;
            continue;
        }
        largest = fqt_max(largest, sum[j] < 0 ? -sum[j] : sum[j]);
        dx[j] = (int8_t)fqt_clamp(fqt_requantize(sum[j], q->requantizer), -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
    return largest;
}

#endif
