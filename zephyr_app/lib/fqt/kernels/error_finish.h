/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a layer's error to the input (SPEC.md 4.3): from sums to errors, as fqt_errors_u8(), in few steps. */
#ifndef FQT_ERROR_FINISH_H
#define FQT_ERROR_FINISH_H

#include <fqt/kernels.h>

/* What has been seen of a layer's sums. */
struct fqt_error_finish {
    const struct fqt_error_quantization *q;
    int32_t largest; /* |sum| of those that pass; accumulating, |total| */
    int32_t near;    /* at most `largest`; sums within +- this saturate nowhere */
};

static inline struct fqt_error_finish fqt_error_finish_of(const struct fqt_error_quantization *q) {
    return (struct fqt_error_finish){q, 0, 0};
}

/* The errors of n neighbouring inputs, of sums[j * step] - minus. step: 1, or 4 where panels are paired. dx may lie
 * over x. */
void fqt_finish_errors(struct fqt_error_finish *finish, int32_t n, const int32_t *sums, int32_t step, int32_t minus,
                       const uint8_t *x, int8_t *dx);

#endif
