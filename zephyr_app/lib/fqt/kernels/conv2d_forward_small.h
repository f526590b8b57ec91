/* SPDX-License-Identifier: Apache-2.0 */
/* For conv2d_forward_blocked.c: small windows. */
#ifndef FQT_CONV2D_FORWARD_SMALL_H
#define FQT_CONV2D_FORWARD_SMALL_H

#include "conv2d_outputs.h"

#ifdef FQT_BLOCKS

/* Whether a window is few reads, and there are some windows. */
bool fqt_conv2d_is_small(const struct fqt_geometry *g);

/* As fqt_conv2d_forward_u8(). */
void fqt_conv2d_forward_small(const struct fqt_geometry *g, struct fqt_results *results, const uint8_t *x,
                              const uint8_t *w, uint8_t *y);

#endif

#endif
