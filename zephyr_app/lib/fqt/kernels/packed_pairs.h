/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of signed 16-bit numbers in a word, made of bytes and multiplied: single instructions of ARMv7E-M, and their
 * twins in C. Four bytes make two pairs: the even one of the first and third, the odd one of the second and fourth. */
#ifndef FQT_PACKED_PAIRS_H
#define FQT_PACKED_PAIRS_H

#include "packed.h"

static inline uint32_t pair_of(int32_t bottom, int32_t top) {
    return ((uint32_t)bottom & 0xFFFF) | (uint32_t)top << 16;
}

static inline int32_t pair_bottom(uint32_t pair) {
    return (int16_t)(pair & 0xFFFF);
}

static inline int32_t pair_top(uint32_t pair) {
    return (int32_t)pair >> 16;
}

/* Unsigned bytes; both numbers of `offset` are added. */
static inline uint32_t even_pair_u8(uint32_t offset, uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    return packed_add_bytes(offset, bytes);
#else
    return pair_of(pair_bottom(offset) + (int32_t)(bytes & 255), pair_top(offset) + (int32_t)(bytes >> 16 & 255));
#endif
}

static inline uint32_t odd_pair_u8(uint32_t offset, uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    return packed_add_odd_bytes(offset, bytes);
#else
    return even_pair_u8(offset, bytes >> 8);
#endif
}

/* Signed bytes. */
static inline uint32_t even_pair_i8(uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    return (uint32_t)__sxtb16((int8x4_t)bytes);
#else
    return pair_of((int8_t)(bytes & 255), (int8_t)(bytes >> 16 & 255));
#endif
}

static inline uint32_t odd_pair_i8(uint32_t bytes) {
#if defined(__ARM_FEATURE_SIMD32)
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(bytes));
    return result;
#else
    return even_pair_i8(bytes >> 8);
#endif
}

/* sum + a's bottom * b's bottom. */
static inline int32_t add_bottom_product(int32_t sum, uint32_t a, uint32_t b) {
#if defined(__ARM_FEATURE_SIMD32)
    return __smlabb((int32_t)a, (int32_t)b, sum);
#else
    return sum + pair_bottom(a) * pair_bottom(b);
#endif
}

/* sum + a's top * b's top. */
static inline int32_t add_top_product(int32_t sum, uint32_t a, uint32_t b) {
#if defined(__ARM_FEATURE_SIMD32)
    return __smlatt((int32_t)a, (int32_t)b, sum);
#else
    return sum + pair_top(a) * pair_top(b);
#endif
}

/* sum + round(a * b / 2^32) half up. */
static inline int32_t add_high_product(int32_t sum, int32_t a, int32_t b) {
#if defined(__ARM_FEATURE_SIMD32)
    int32_t result; /* gcc has no intrinsic */
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
#else
    return sum + (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32);
#endif
}

#endif
