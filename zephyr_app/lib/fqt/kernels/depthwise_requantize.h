/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the sums of a block's lanes (SPEC.md 2.1): fqt_requantize() with all taken out that does not depend
 * on the sum. Sums are raised by fqt_requantizer_half() before. */
#ifndef FQT_DEPTHWISE_REQUANTIZE_H
#define FQT_DEPTHWISE_REQUANTIZE_H

#include "depthwise_lanes.h"

#if LANES == 4

struct lane_requantizer {
    int32_t shift, multiplier; /* of the upper half of a product */
};

/* Multipliers from 1/2 on do not fit. */
static inline bool lane_requantizer_exists(struct fqt_requantizer r) {
    return r.post >= 16 || r.mantissa == 0;
}

static inline struct lane_requantizer lane_requantizer_of(struct fqt_requantizer r, int32_t zero) {
    (void)zero;
    return (struct lane_requantizer){r.pre, (int32_t)((uint32_t)r.mantissa << (32 - r.post))};
}

static inline int32_t lane_requantize(struct lane_requantizer r, int32_t raised) {
    return add_high_product(0, fqt_saturate_16(raised >> r.shift), r.multiplier);
}

#if defined(__ARM_FEATURE_SIMD32)
/* The byte of a lane in its sum's place. A block, because gcc loads one by one. */
#define LANE_BYTE(sum, at)                                                                                             \
    "ldrd %[shift], %[multiplier], [%[r], #" at "]\n"                                                                  \
    "asr %[" sum "], %[" sum "], %[shift]\n"                                                                           \
    "smmlar %[" sum "], %[" sum "], %[multiplier], %[zero]\n"                                                          \
    "usat %[" sum "], #8, %[" sum "]\n"

/* Four sums requantized and saturated to bytes, beyond which is all that saturation to 16 bits before would change. r:
 * of each lane; zero: added to results. */
static inline uint32_t lane_bytes(const struct lane_requantizer *r, struct sums s, int32_t zero) {
    int32_t shift, multiplier;
    __asm__(LANE_BYTE("s0", "0") LANE_BYTE("s1", "8") "orr %[s0], %[s0], %[s1], lsl #8\n" LANE_BYTE("s2", "16")
                LANE_BYTE("s3", "24") "orr %[s0], %[s0], %[s2], lsl #16\n"
                                      "orr %[s0], %[s0], %[s3], lsl #24\n"
            : [s0] "+r"(s.lane[0]), [s1] "+r"(s.lane[1]), [s2] "+r"(s.lane[2]), [s3] "+r"(s.lane[3]),
              [shift] "=&r"(shift), [multiplier] "=&r"(multiplier)
            : [r] "r"(r), [zero] "r"(zero)
            : "memory");
    return (uint32_t)s.lane[0];
}
#else
/* Four sums requantized and saturated to bytes, beyond which is all that saturation to 16 bits before would change. r:
 * of each lane; zero: added to results. */
static inline uint32_t lane_bytes(const struct lane_requantizer *r, struct sums s, int32_t zero) {
    uint32_t word = 0;
    for (int32_t i = 0; i < LANES; i++) {
        word |= saturate_u8(add_high_product(zero, s.lane[i] >> r[i].shift, r[i].multiplier)) << 8 * i;
    }
    return word;
}
#endif

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

#endif

/* min(max(x, 0), range). */
static inline uint32_t lane_limit(int32_t x, uint32_t range) {
    return (uint32_t)x <= range ? (uint32_t)x : ~(uint32_t)(x >> 31) & range;
}

#endif
