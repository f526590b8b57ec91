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

#define PACKED_ONES 0x01010101u  /* a byte times this is that byte four times */
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

/* min(max(x, 0), 255). */
static inline uint32_t saturate_u8(int32_t x) {
#if defined(__ARM_FEATURE_SAT)
    uint32_t y;
    __asm__("usat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
#else
    return (uint32_t)(x < 0 ? 0 : x > 255 ? 255 : x);
#endif
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

static inline void packed_store(void *p, uint32_t word) {
    memcpy(p, &word, sizeof word);
}

/* min(max(x, low), high) of four unsigned bytes. */
static inline uint32_t packed_clamp(uint32_t x, uint32_t low, uint32_t high) {
#if defined(__ARM_FEATURE_SIMD32)
    (void)__usub8(x, low); /* sets the flags of SEL where x >= low */
    x = __sel(x, low);
    (void)__usub8(high, x);
    return __sel(x, high);
#else
    uint32_t result = 0;
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        uint32_t byte = x >> shift & 255;
        uint32_t least = low >> shift & 255;
        uint32_t most = high >> shift & 255;
        byte = byte < least ? least : byte;
        result |= (byte > most ? most : byte) << shift;
    }
    return result;
#endif
}

/* A byte four times. */
static inline uint32_t packed_bytes(int32_t byte) {
    return ((uint32_t)byte & 255) * PACKED_ONES;
}

/* 255 for each of four unsigned bytes that is at least low's, 0 for the others. */
static inline uint32_t packed_at_least(uint32_t x, uint32_t low) {
#if defined(__ARM_FEATURE_SIMD32)
    (void)__usub8(x, low); /* sets the flags of SEL where x >= low */
    return __sel(UINT32_MAX, 0);
#else
    uint32_t result = 0;
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        bool is = (x >> shift & 255) >= (low >> shift & 255);
        result |= (is ? (uint32_t)255 : 0) << shift;
    }
    return result;
#endif
}

/* max(a, b) of four unsigned bytes. */
static inline uint32_t packed_max_u8(uint32_t a, uint32_t b) {
#if defined(__ARM_FEATURE_SIMD32)
    (void)__usub8(a, b); /* sets the flags of SEL where a >= b */
    return __sel(a, b);
#else
    uint32_t mask = packed_at_least(a, b);
    return (a & mask) | (b & ~mask);
#endif
}

/* 255 for each of four unsigned bytes in low..high, 0 for the others. */
static inline uint32_t packed_within(uint32_t x, uint32_t low, uint32_t high) {
#if defined(__ARM_FEATURE_SIMD32)
    (void)__usub8(x, low);
    uint32_t above = __sel(UINT32_MAX, 0);
    (void)__usub8(high, x);
    return __sel(above, 0);
#else
    uint32_t result = 0;
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        uint32_t byte = x >> shift & 255;
        bool within = byte >= (low >> shift & 255) && byte <= (high >> shift & 255);
        result |= (within ? (uint32_t)255 : 0) << shift;
    }
    return result;
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
