/* SPDX-License-Identifier: Apache-2.0 */
/** Dynamic sparse updates: which channels a sample trains (SPEC.md section 5; Eq. 9). */
#ifndef FQT_SPARSE_UPDATE_H
#define FQT_SPARSE_UPDATE_H

#include <fqt/kernels.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FQT_RATE_ONE 4096 /**< rates are Q12 */

/** min(lambda_min + |eps| (lambda_max - lambda_min), 1) in Q12, |eps| = loss / largest loss so far (both Q16). */
int32_t fqt_update_rate(uint32_t loss, uint32_t loss_max, int32_t lambda_min, int32_t lambda_max);

/** k of Eq. 9: how many of `channels` a rate keeps, at least one. */
int32_t fqt_kept_channels(int32_t rate, int32_t channels);

/**
 * Lists the k < channels of largest l1 norm (ties to the lower index) and counts them in chosen. scratch: 4 bytes a
 * channel; afterwards its first half holds the list. e: [positions][channels]; chosen: [channels].
 */
struct fqt_channels fqt_sparse_select_u8(void *scratch, int32_t positions, int32_t channels, int32_t k, const int8_t *e,
                                         int32_t *chosen);
/** Sets the error of all channels but the kept ones to 0. */
void fqt_sparse_zero_u8(int32_t positions, int32_t channels, const struct fqt_channels *kept, int8_t *e);
/** Moves the kept errors together, in place: e becomes [positions][kept->count]. */
void fqt_sparse_compact_u8(int32_t positions, int32_t channels, const struct fqt_channels *kept, int8_t *e);

/** float32: selects as fqt_sparse_select_u8() and sets the error of the others to 0. norms: [channels], scratch, summed
 * in raster order. */
void fqt_sparse_select_f32(float *norms, int32_t positions, int32_t channels, int32_t k, float *e, int32_t *chosen);

#ifdef __cplusplus
}
#endif

#endif
