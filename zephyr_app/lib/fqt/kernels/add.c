/* SPDX-License-Identifier: Apache-2.0 */
/* Addition (SPEC.md 4.9). Each element is read before its place is written, because y may lie over a or b and dx over e
 * or x. */
#include "elements.h"
#include "error_finish.h"

#define BLOCK 64 /* errors at once */

void fqt_add_forward_u8(int32_t n, const struct fqt_add_quantization *q, const uint8_t *a, const uint8_t *b, uint8_t *y,
                        struct fqt_extremes *extremes) {
    const struct fqt_add_quantization own = *q; /* writes to y cannot change these */
    struct fqt_extremes seen = {INT32_MAX, INT32_MIN};
    for (int32_t i = 0; i < n; i++) {
        int32_t acc = fqt_requantize((a[i] - own.zero_a) * 128, own.requantizer_a) +
                      fqt_requantize((b[i] - own.zero_b) * 128, own.requantizer_b);
        fqt_widen(&seen, acc);
        y[i] = (uint8_t)fqt_clamp(((acc + 64) >> 7) + own.zero_y, own.lower, own.upper);
    }
    fqt_widen(extremes, seen.least);
    fqt_widen(extremes, seen.greatest);
}

void fqt_add_forward_f32(int32_t n, enum fqt_activation activation, const float *a, const float *b, float *y) {
    for (int32_t i = 0; i < n; i++) {
        y[i] = fqt_activate(activation, a[i] + b[i]);
    }
}

int32_t fqt_add_backward_u8(int32_t n, const struct fqt_error_quantization *q, const int8_t *e, const uint8_t *x,
                            int8_t *dx) {
    struct fqt_error_finish finish = fqt_error_finish_of(q);
    for (int32_t i = 0; i < n; i += BLOCK) {
        int32_t errors[BLOCK];
        int32_t size = fqt_min(BLOCK, n - i);
        for (int32_t j = 0; j < size; j++) {
            errors[j] = e[i + j];
        }
        fqt_finish_errors(&finish, size, errors, 1, 0, x + i, dx + i);
    }
    return finish.largest;
}

void fqt_add_backward_f32(int32_t n, enum fqt_activation activation, bool accumulate, const float *e, const float *x,
                          float *dx) {
    for (int32_t i = 0; i < n; i++) {
        fqt_error_f32(activation, accumulate, e[i], x + i, dx + i);
    }
}
