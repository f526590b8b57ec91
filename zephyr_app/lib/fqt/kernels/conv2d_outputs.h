/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the sums of a blocked convolution: outputs and extremes, with one grid or many. */
#ifndef FQT_CONV2D_OUTPUTS_H
#define FQT_CONV2D_OUTPUTS_H

#include "blocks.h"
#include "elements.h"

#ifdef FQT_BLOCKS

struct fqt_results {
    const struct fqt_forward_quantization *q;
    struct fqt_extremes *extremes; /* NULL if nobody asks for them */
    struct fqt_outputs outputs;    /* of one grid */
};

/* Fills it field by field: whole ones are copied by a C library's memcpy(). */
void fqt_results_init(struct fqt_results *results, const struct fqt_forward_quantization *q,
                      struct fqt_extremes *extremes);

/* Puts neighbouring outputs, the first one of channel co; with one grid of any channels. acc: their sums, bias
 * included; zero_sum: what z_w has not met yet. */
void fqt_results_put(struct fqt_results *results, int32_t zero_sum, int32_t co, int32_t count, const int32_t *acc,
                     uint8_t *y);

#endif

#endif
