/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that are rounded stochastically (SPEC.md 16.2): one function for all operators, because the random word takes
 * most of the time. */
#include "random_errors.h"

#include "elements.h"

#if FQT_WITH_STOCHASTIC_ERRORS

int32_t fqt_random_errors_u8(const struct fqt_error_quantization *q, int32_t n, const int32_t *sum, int32_t step,
                             int32_t minus, const uint8_t *x, int8_t *dx) {
    const struct fqt_error_quantization own = *q; /* writes to dx cannot change these */
    const uint32_t key = *own.key;
    int32_t largest = 0;
    for (int32_t j = 0; j < n; j++) {
        if (x[j] <= own.lowest || x[j] >= own.highest) {
            dx[j] = 0;
            continue;
        }
        int32_t seen = sum[j * step] - minus;
        uint32_t word = fqt_random_word(key, (uint32_t)(dx + j - own.first));
        int32_t error = fqt_requantize_random(seen, own.requantizer, word);
        if (own.accumulate) {
            error += dx[j];
            seen = error;
        }
        largest = fqt_max(largest, seen < 0 ? -seen : seen);
        dx[j] = (int8_t)fqt_clamp(error, -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
    return largest;
}

#endif
