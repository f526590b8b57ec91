/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The number system (SPEC.md sections 2 and 3): every rounding of the library is here; no kernel rounds by itself.
 *
 * float steps are +, -, *, / in the written order; the library is compiled with -ffp-contract=off.
 */
#ifndef FQT_ARITHMETIC_H
#define FQT_ARITHMETIC_H

#include <stdint.h>

#define FQT_ERROR_MAX 127                   /**< errors are int8 without -128, so that negation never overflows */
#define FQT_BIAS_ONE 1048576.0f             /**< biases are Q20 */
#define FQT_NEAREST 0x80000000u             /**< the "random word" that makes fqt_rescale() round half up */
#define FQT_WIDE_LIMIT (1 << 30)            /**< results of fqt_rescale() are within +- this */
#define FQT_ACC_LIMIT (1 << 28)             /**< biases and weight steps are within +- this */
#define FQT_STREAM_INITIAL_WEIGHTS 0x10000u /**< random stream of a layer's initial weights, plus its index */
#define FQT_STREAM_SAMPLE_ORDER 0x20000u    /**< random stream of the order of samples */

/** A float32 multiplier as a 15-bit mantissa and two right shifts (SPEC.md 2.1). */
struct fqt_requantizer {
    int16_t mantissa;
    uint8_t pre;
    uint8_t post;
};

/** min(max(x, low), high). */
static inline int32_t fqt_clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/** clamp(x, -32768, 32767); compilers do not find SSAT by themselves. */
static inline int32_t fqt_saturate_16(int32_t x) {
#ifdef __ARM_FEATURE_SAT
    int32_t y;
    __asm__("ssat %0, #16, %1" : "=r"(y) : "r"(x));
    return y;
#else
    return x == (int16_t)x ? x : x < 0 ? INT16_MIN : INT16_MAX;
#endif
}

/** What fqt_requantize() adds before its first shift. */
static inline int32_t fqt_requantizer_half(struct fqt_requantizer r) {
    return r.pre > 0 ? (int32_t)1 << (r.pre - 1) : 0;
}

/** fqt_requantize(a) of a + fqt_requantizer_half(), for loops that add other constants, too. */
static inline int32_t fqt_requantize_raised(int32_t raised, struct fqt_requantizer r) {
    return (fqt_saturate_16(raised >> r.pre) * r.mantissa + ((int32_t)1 << (r.post - 1))) >> r.post;
}

/** round(a * m) half up in 32-bit arithmetic: the bracket of Eq. 4 (SPEC.md 2.1). |a| <= 2^31 - 1 - 2^28. */
static inline int32_t fqt_requantize(int32_t a, struct fqt_requantizer r) {
    return fqt_requantize_raised(a + fqt_requantizer_half(r), r);
}

/** The requantizer of a multiplier m > 0 (SPEC.md 2.1). */
struct fqt_requantizer fqt_requantizer_of(float m);

/** round(a * m) with all 24 bits of m, clamped to +-2^30 (SPEC.md 2.2). |a| < 2^38; random: FQT_NEAREST or a random
 * word. */
int32_t fqt_rescale(int64_t a, float m, uint32_t random);

/** fround(x) = floor(x + 0.5) clamped to low..high; defined for every float, a NaN gives low. |low|, |high| <= 2^30. */
int32_t fqt_fround(float x, int32_t low, int32_t high);

/** Square root of x >= 0, correctly rounded. */
float fqt_sqrt(float x);

/** |x|. */
float fqt_abs(float x);

/** Number of bits of x; 0 for 0. */
int32_t fqt_bit_length(uint32_t x);

/** floor(sqrt(x)) for x < 2^62. */
uint32_t fqt_isqrt(uint64_t x);

/** log2(v) with 16 fraction bits, v >= 1 (SPEC.md 4.7). */
uint32_t fqt_log2_q16(uint32_t v);

/** 2^22 * 2^(-t / 2^16) by linear interpolation in a table (SPEC.md 4.7). */
uint32_t fqt_exp2_negative(uint32_t t);

/** Key of one stream of random words (SPEC.md section 3). */
uint32_t fqt_random_key(uint32_t seed, uint32_t step, uint32_t stream);

/** The index-th word of a stream. Counter based: any order gives the same bits. */
uint32_t fqt_random_word(uint32_t key, uint32_t index);

#endif
