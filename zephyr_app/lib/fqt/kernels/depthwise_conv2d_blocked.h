/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of a few channels at a time, as the plain kernels of the same name. */
#ifndef FQT_DEPTHWISE_CONV2D_BLOCKED_H
#define FQT_DEPTHWISE_CONV2D_BLOCKED_H

#include <fqt/kernels.h>

/* Whether the functions below can do it. */
bool fqt_depthwise_is_blocked(const struct fqt_geometry *g, int32_t n, const struct fqt_requantizer *requantizers);

void fqt_depthwise_blocked_forward(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                   const uint8_t *x, const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes);

int32_t fqt_depthwise_blocked_backward_input(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                             const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                             const struct fqt_channels *kept);

void fqt_depthwise_blocked_backward_weight(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                           const int8_t *e, const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                           const struct fqt_channels *kept);

#endif
