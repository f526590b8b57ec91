/* SPDX-License-Identifier: Apache-2.0 */
/* Four bytes in a word, two 16-bit numbers in a word: single instructions of ARMv7E-M, and their twins in C. */
#ifndef FQT_PACKED_H
#define FQT_PACKED_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

#define PACKED_BYTES 0x00FF00FFu /* of a word's four, the first and third */

/* Whether rows of `channels` bytes from p on are read as words: a Cortex-M0+ loads no unaligned ones. */
static inline bool packed_loadable(const void *p, int32_t channels) {
#if defined(__ARM_FEATURE_UNALIGNED) || !defined(__arm__)
    (void)p;
    (void)channels;
    return true;
#else
    return (((uintptr_t)p | (uint32_t)channels) & 3) == 0;
#endif
}

/* Four bytes, the first one lowest. */
static inline uint32_t packed_load(const void *p) {
    uint32_t word;
#if defined(__ARM_FEATURE_UNALIGNED) || !defined(__arm__)
    memcpy(&word, p, sizeof word);
#else
    memcpy(&word, __builtin_assume_aligned(p, 4), sizeof word);
#endif
    return word;
}

/* |e| of four errors in -127..127. */
static inline uint32_t packed_abs(uint32_t e) {
#if defined(__ARM_FEATURE_SIMD32)
    uint32_t negated = (uint32_t)__ssub8(0, (int8x4_t)e); /* sets the flags of SEL where e <= 0 */
    return __sel(negated, e);
#else
    uint32_t negative = (e >> 7) & 0x01010101u;
    return (e ^ (negative * 255)) + negative; /* no byte carries: none is -128 */
#endif
}

/* Adds the first and third byte to two unsigned 16-bit sums. */
static inline uint32_t packed_add_bytes(uint32_t sums, uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    return __uxtab16(sums, bytes);
#else
    return sums + (bytes & PACKED_BYTES);
#endif
}

/* Adds the second and fourth byte. */
static inline uint32_t packed_add_odd_bytes(uint32_t sums, uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    uint32_t result; /* gcc has no intrinsic that rotates */
    __asm__("uxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(bytes));
    return result;
#else
    return packed_add_bytes(sums, bytes >> 8);
#endif
}

#endif
