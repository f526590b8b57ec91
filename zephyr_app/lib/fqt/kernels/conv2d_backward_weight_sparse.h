/* SPDX-License-Identifier: Apache-2.0 */
/* For conv2d_backward_weight_blocked.c: few output channels. */
#ifndef FQT_CONV2D_BACKWARD_WEIGHT_SPARSE_H
#define FQT_CONV2D_BACKWARD_WEIGHT_SPARSE_H

#include "blocks.h"

#include <fqt/kernels.h>

/* Up to so many columns of errors are few: measured; one at least. */
#ifdef FQT_PAIRED
#define FQT_FEW_COLUMNS 3
#else
#define FQT_FEW_COLUMNS 8
#endif

/* As fqt_conv2d_backward_weight_u8(), without the bias. columns: of e. */
void fqt_conv2d_backward_weight_sparse(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                       const int8_t *e, int32_t columns, const uint8_t *x, int32_t *gradient,
                                       const struct fqt_channels *kept);

#endif
