/* SPDX-License-Identifier: Apache-2.0 */
/** Scales that move with the data: of errors and of feature maps (SPEC.md section 8). */
#ifndef FQT_RANGES_H
#define FQT_RANGES_H

#include <fqt/kernels.h>
#include <fqt/standardized_sgd.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The scale of an error tensor: 1/127, the paper's [-1, 1], until one was observed (stored as 0). */
float fqt_error_scale_in_force(float error_scale);

/** Moving average of the minibatch's largest error / 127; the first one is taken as it is. */
float fqt_update_error_scale(float error_scale, float observed);

/** A feature map's range and grid. */
struct fqt_range {
    float lo, hi;
    struct fqt_grid grid;
};

/** Moving average of a feature map's range, given the minibatch's least and greatest sum as real values. */
struct fqt_range fqt_update_range(struct fqt_range old, enum fqt_activation activation, float lo_batch, float hi_batch);

#ifdef __cplusplus
}
#endif

#endif
