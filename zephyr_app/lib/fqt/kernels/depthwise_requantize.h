/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the sums of a block's lanes (SPEC.md 2.1): fqt_requantize() with all taken out that does not depend
 * on the sum. Sums are raised by fqt_requantizer_half() before. */
#ifndef FQT_DEPTHWISE_REQUANTIZE_H
#define FQT_DEPTHWISE_REQUANTIZE_H

#include "depthwise_lanes.h"

#if LANES == 4

struct lane_requantizer {
    int32_t shift, multiplier; /* mantissa of the upper half of a 64-bit product */
};

/* Without saturation to 16 bits: its results lie beyond all bytes. Multipliers from 1/2 on do not fit. */
static inline bool lane_requantizer_exists(struct fqt_requantizer r) {
    return r.post >= 16 || r.mantissa == 0;
}

static inline struct lane_requantizer lane_requantizer_of(struct fqt_requantizer r) {
    return (struct lane_requantizer){r.pre, (int32_t)((uint32_t)r.mantissa << (32 - r.post))};
}

static inline int32_t lane_requantize(struct lane_requantizer r, int32_t raised, int32_t zero) {
    return add_high_product(zero, raised >> r.shift, r.multiplier);
}

#else

struct lane_requantizer {
    int32_t shift, mantissa, half, post;
};

static inline bool lane_requantizer_exists(struct fqt_requantizer r) {
    (void)r;
    return true;
}

static inline struct lane_requantizer lane_requantizer_of(struct fqt_requantizer r) {
    return (struct lane_requantizer){r.pre, r.mantissa, (int32_t)1 << (r.post - 1), r.post};
}

static inline int32_t lane_requantize(struct lane_requantizer r, int32_t raised, int32_t zero) {
    return ((fqt_saturate_16(raised >> r.shift) * r.mantissa + r.half) >> r.post) + zero;
}

#endif

#endif
