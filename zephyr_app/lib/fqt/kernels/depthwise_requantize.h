/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the sums of a block's lanes (SPEC.md 2.1): fqt_requantize() with all taken out that does not depend
 * on the sum. Sums are raised by fqt_requantizer_half() before. */
#ifndef FQT_DEPTHWISE_REQUANTIZE_H
#define FQT_DEPTHWISE_REQUANTIZE_H

#include "depthwise_lanes.h"

#if LANES == 4

struct lane_requantizer {
    int32_t shift, multiplier, zero;
};

/* Without saturation to 16 bits: its results lie beyond all bytes. Multipliers from 1/2 on do not fit. */
static inline bool lane_requantizer_exists(struct fqt_requantizer r) {
    return r.post >= 16 || r.mantissa == 0;
}

/* zero: added to results, -255..255. */
static inline struct lane_requantizer lane_requantizer_of(struct fqt_requantizer r, int32_t zero) {
    return (struct lane_requantizer){r.pre, (int32_t)((uint32_t)r.mantissa << (32 - r.post)), zero};
}

static inline int32_t lane_requantize(struct lane_requantizer r, int32_t raised) {
    return add_high_product(r.zero, raised >> r.shift, r.multiplier);
}

#else

struct lane_requantizer {
    int32_t shift, mantissa, offset, post;
};

static inline bool lane_requantizer_exists(struct fqt_requantizer r) {
    (void)r;
    return true;
}

/* zero: added to results, -255..255. post <= 21, so that the offset leaves the product its 31 bits. */
static inline struct lane_requantizer lane_requantizer_of(struct fqt_requantizer r, int32_t zero) {
    int32_t offset = ((int32_t)1 << (r.post - 1)) + zero * ((int32_t)1 << r.post);
    return (struct lane_requantizer){r.pre, r.mantissa, offset, r.post};
}

static inline int32_t lane_requantize(struct lane_requantizer r, int32_t raised) {
    return (fqt_saturate_16(raised >> r.shift) * r.mantissa + r.offset) >> r.post;
}

/* min(max(x, 0), range). */
static inline uint32_t lane_limit(int32_t x, uint32_t range) {
    return (uint32_t)x <= range ? (uint32_t)x : ~(uint32_t)(x >> 31) & range;
}

#endif

#endif
