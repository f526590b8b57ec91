/* SPDX-License-Identifier: Apache-2.0 */
/* For conv2d_backward_input_blocked.c: few errors that are not 0. */
#ifndef FQT_CONV2D_BACKWARD_INPUT_SPARSE_H
#define FQT_CONV2D_BACKWARD_INPUT_SPARSE_H

#include <fqt/kernels.h>

/* Whether fqt_conv2d_backward_input_sparse() takes fewer steps than the panels, by a sample of the errors. */
bool fqt_conv2d_backward_input_is_sparse(const struct fqt_geometry *g, const int8_t *e, int32_t columns);

/* As fqt_conv2d_backward_input_u8(). */
int32_t fqt_conv2d_backward_input_sparse(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                         const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                         const struct fqt_channels *kept);

#endif
