/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that are rounded stochastically (SPEC.md 16.2). */
#ifndef FQT_RANDOM_ERRORS_H
#define FQT_RANDOM_ERRORS_H

#include <fqt/kernels.h>
#include <stddef.h>

/* Whether they are to be; a constant where that was left out, and its code with it. */
static inline bool fqt_errors_are_random(const struct fqt_error_quantization *q) {
#if FQT_WITH_STOCHASTIC_ERRORS
    return q->key != NULL;
#else
    (void)q;
    return false;
#endif
}

/* fqt_errors_from_u8() then. */
int32_t fqt_random_errors_u8(const struct fqt_error_quantization *q, int32_t n, const int32_t *sum, int32_t step,
                             int32_t minus, const uint8_t *x, int8_t *dx);

#endif
