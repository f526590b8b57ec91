/* SPDX-License-Identifier: Apache-2.0 */
/* What operators derive from scales and zero points (SPEC.md 4.1, 4.3, 8). */
#ifndef FQT_QUANTIZATION_H
#define FQT_QUANTIZATION_H

#include "operator.h"

#include <fqt/config.h>

#define FQT_128TH 0.0078125f /* sums and slopes that are not integers count in 128ths */

/* Whether a layer's output is quantized; a constant where float32 was left out, and its kernels with it. */
static inline bool fqt_layer_is_quantized(const struct fqt_network *network, uint32_t l) {
    return !FQT_WITH_FLOAT32 || fqt_layer_type(&network->model, l) == FQT_U8;
}

/* Least and greatest output of a layer (4.1). */
struct fqt_limits {
    int32_t lower, upper;
};

struct fqt_limits fqt_output_limits(enum fqt_activation activation, struct fqt_grid y);

/* Which inputs pass errors: those strictly between (4.3). */
struct fqt_limits fqt_error_limits(const struct fqt_network *network, uint32_t t);

/* Of an error sent in units of `unit`; without what only layers with weights need. */
struct fqt_error_quantization fqt_error_quantization(const struct fqt_backward_pass *pass, float unit);

/* The R of section 8, from what the kernel returned. */
float fqt_error_range(const struct fqt_backward_pass *pass, float unit, int32_t largest);

/* ---- Layers with weights. What a grid needs is made in the scratch, anew for each pass. ---- */

struct fqt_forward_quantization fqt_weights_quantization(const struct fqt_forward_pass *pass);

/* unit: where to put the unit of the error's sums. */
struct fqt_error_quantization fqt_weights_error_quantization(const struct fqt_backward_pass *pass, float *unit);

#endif
