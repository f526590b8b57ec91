/* SPDX-License-Identifier: Apache-2.0 */
/** Dynamic sparse updates: which channels a sample trains (SPEC.md section 5; Eq. 9). */
#ifndef FQT_SPARSE_UPDATE_H
#define FQT_SPARSE_UPDATE_H

#include <stdint.h>

#define FQT_RATE_ONE 4096 /**< rates are Q12 */

/** min(lambda_min + |eps| (lambda_max - lambda_min), 1) in Q12, |eps| = loss / largest loss so far (both Q16). */
int32_t fqt_update_rate(uint32_t loss, uint32_t loss_max, int32_t lambda_min, int32_t lambda_max);

/** k of Eq. 9: how many of `channels` a rate keeps, at least one. */
int32_t fqt_kept_channels(int32_t rate, int32_t channels);

/**
 * Sets the error of all but the k channels of largest l1 norm to 0 (ties to the lower index) and counts the kept ones.
 * norms: [channels], scratch; e: [positions][channels]; chosen: [channels].
 */
void fqt_sparse_select_u8(int32_t *norms, int32_t positions, int32_t channels, int32_t k, int8_t *e, int32_t *chosen);
/** The same in float32; norms are summed in raster order. */
void fqt_sparse_select_f32(float *norms, int32_t positions, int32_t channels, int32_t k, float *e, int32_t *chosen);

#endif
