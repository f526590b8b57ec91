/* SPDX-License-Identifier: Apache-2.0 */
/* Scales that move with the data (SPEC.md section 8). */
#include <fqt/ranges.h>

#define RATE 0.1f /* of the moving averages */
#define SMALLEST_ERROR_SCALE 0x1p-60f

float fqt_error_scale_in_force(float error_scale) {
    return error_scale == 0.0f ? 1.0f / 127.0f : error_scale;
}

float fqt_update_error_scale(float error_scale, float observed) {
    if (!(observed >= SMALLEST_ERROR_SCALE)) {
        return error_scale;
    }
    return error_scale == 0.0f ? observed : error_scale + RATE * (observed - error_scale);
}

struct fqt_range fqt_update_range(struct fqt_range old, enum fqt_activation activation, float lo_batch,
                                  float hi_batch) {
    lo_batch = activation != FQT_ACT_NONE || !(lo_batch < 0.0f) ? 0.0f : lo_batch;
    hi_batch = hi_batch > 0.0f ? hi_batch : 0.0f;
    hi_batch = activation == FQT_ACT_RELU6 && hi_batch > 6.0f ? 6.0f : hi_batch;
    struct fqt_range range = {.lo = old.lo + RATE * (lo_batch - old.lo), .hi = old.hi + RATE * (hi_batch - old.hi)};
    range.grid = fqt_grid_of_range(range.lo, range.hi, old.grid);
    return range;
}
