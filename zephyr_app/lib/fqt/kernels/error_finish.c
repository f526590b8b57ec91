/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a layer's error to the input. Most sums are nearer to 0 than one that has been seen before: they are not
 * the largest and need no saturation, which one comparison tells. */
#include "error_finish.h"

#include "elements.h"

/* A sum that passes and may be larger than all before. */
__attribute__((noinline)) static int32_t far_error(struct fqt_error_finish *finish, struct fqt_requantizer requantizer,
                                                   int32_t sum) {
    int32_t size = sum < 0 ? -sum : sum;
    int32_t error = fqt_requantize(size, requantizer);
    finish->largest = fqt_max(finish->largest, size);
    if (error <= FQT_ERROR_MAX && (size + fqt_requantizer_half(requantizer)) >> requantizer.pre <= INT16_MAX) {
        finish->near = fqt_max(finish->near, size); /* so does -size: half is rounded up */
    }
    return fqt_clamp(fqt_requantize(sum, requantizer), -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

void fqt_finish_errors(struct fqt_error_finish *finish, const struct fqt_error_quantization *q, int32_t n,
                       const int32_t *sums, int32_t step, int32_t minus, const uint8_t *x, int8_t *dx) {
    if (q->accumulate) {
        finish->largest = fqt_max(finish->largest, fqt_errors_from_u8(q, n, sums, step, minus, x, dx));
        return;
    }
    const struct fqt_requantizer requantizer = q->requantizer;
    const int32_t half = fqt_requantizer_half(requantizer);
    const int32_t post_half = (int32_t)1 << (requantizer.post - 1);
    const uint32_t first = (uint32_t)q->lowest + 1;
    const uint32_t passing = (uint32_t)q->highest - first;
    int32_t near = finish->near;
    for (const uint8_t *end = x + n; x < end; x++) {
        int32_t error = 0;
        if (*x - first < passing) {
            int32_t sum = *sums - minus;
            if ((uint32_t)(sum + near) <= 2 * (uint32_t)near) {
                error = (((sum + half) >> requantizer.pre) * requantizer.mantissa + post_half) >> requantizer.post;
            } else {
                error = far_error(finish, requantizer, sum);
                near = finish->near;
            }
        }
        *dx++ = (int8_t)error;
        sums += step;
    }
}
