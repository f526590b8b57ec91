/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The number system (SPEC.md sections 2 and 3): every rounding of the library is here; no kernel rounds by itself.
 *
 * float steps are +, -, *, / in the written order; the library is compiled with -ffp-contract=off.
 */
#ifndef FQT_ARITHMETIC_H
#define FQT_ARITHMETIC_H

#include <fqt/config.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FQT_ERROR_MAX 127                   /**< errors are int8 without -128, so that negation never overflows */
#define FQT_BIAS_ONE 1048576.0f             /**< biases are Q20 */
#define FQT_NEAREST 0x80000000u             /**< the "random word" that makes fqt_rescale() round half up */
#define FQT_WIDE_LIMIT (1 << 30)            /**< results of fqt_rescale() are within +- this */
#define FQT_ACC_LIMIT (1 << 28)             /**< biases and weight steps are within +- this */
#define FQT_STREAM_INITIAL_WEIGHTS 0x10000u /**< random stream of a layer's initial weights, plus its index */
#define FQT_STREAM_SAMPLE_ORDER 0x20000u    /**< random stream of the order of samples */
#define FQT_STREAM_SIGNS 0x30000u           /**< random stream of a layer's perturbations, plus its index */
#define FQT_STREAM_BLOCK 0x40000u           /**< random stream of a layer's kept channels, plus its index */
#define FQT_STREAM_ERRORS 0x50000u          /**< random stream of a layer's errors, plus 2 index + operand */
#define FQT_STREAM_LOSS 0x60000u            /**< random stream of the errors at the logits */

/** An affine uint8 grid: real value scale * (byte - zero). */
struct fqt_grid {
    float scale;
    int32_t zero;
};

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
    return ((int32_t)1 << r.pre) >> 1;
}

/** fqt_requantize(a) of a + fqt_requantizer_half(), for loops that add other constants, too. */
static inline int32_t fqt_requantize_raised(int32_t raised, struct fqt_requantizer r) {
    return (fqt_saturate_16(raised >> r.pre) * r.mantissa + ((int32_t)1 << (r.post - 1))) >> r.post;
}

/** round(a * m) half up in 32-bit arithmetic: the bracket of Eq. 4 (SPEC.md 2.1). |a| <= 2^31 - 1 - 2^28. */
static inline int32_t fqt_requantize(int32_t a, struct fqt_requantizer r) {
    return fqt_requantize_raised(a + fqt_requantizer_half(r), r);
}

/** The same rounded stochastically: up with the probability of the fraction (SPEC.md 16.2). */
static inline int32_t fqt_requantize_random(int32_t a, struct fqt_requantizer r, uint32_t random) {
    int32_t product = fqt_saturate_16((a + fqt_requantizer_half(r)) >> r.pre) * r.mantissa;
    return (product + (int32_t)(random >> (32 - r.post))) >> r.post;
}

/** The requantizer of a multiplier m > 0 (SPEC.md 2.1). */
struct fqt_requantizer fqt_requantizer_of(float m);

/** A float32 multiplier of fqt_rescale(), taken apart once for many. */
struct fqt_rescaler {
    int32_t significand; /**< 24 bits; 0 if the result is */
    int32_t shift;       /**< 1..62 */
};

/** The rescaler of a multiplier m >= 0 (SPEC.md 2.2). */
struct fqt_rescaler fqt_rescaler_of(float m);

/** a * b for b >= 0. A Cortex-M0+ multiplies 32 bits by 32 into 32: here are the four products of halves, half of what
 * its run-time library takes, which multiplies any two 64-bit numbers. */
static inline int64_t fqt_product(int32_t a, int32_t b) {
#ifdef __ARM_ARCH_6M__
    uint32_t a_low = (uint32_t)a & 0xFFFFu;
    uint32_t b_low = (uint32_t)b & 0xFFFFu;
    uint32_t low = a_low * b_low;
    int32_t middle = (a >> 16) * (int32_t)b_low + (int32_t)(low >> 16);
    uint32_t rest = a_low * (uint32_t)(b >> 16) + ((uint32_t)middle & 0xFFFFu);
    int32_t high = (a >> 16) * (b >> 16) + (middle >> 16) + (int32_t)(rest >> 16);
    return (int64_t)(((uint64_t)(uint32_t)high << 32) | (rest << 16) | (low & 0xFFFFu));
#else
    return (int64_t)a * b;
#endif
}

/** round(a * m) with all 24 bits of m, clamped to +-2^30 (SPEC.md 2.2). random: FQT_NEAREST or a random word. In
 * words of 32 bits, because cores have no 64-bit shift. */
static inline int32_t fqt_rescale_by(int32_t a, struct fqt_rescaler r, uint32_t random) {
    int64_t product = fqt_product(a, r.significand);
    int32_t high = (int32_t)(product >> 32);
    uint32_t low = (uint32_t)product;
    if (r.shift >= 32) { /* in units of 2^-32 of the result, in which `random` is whole; far from the limits */
        int32_t shift = r.shift - 32;
        low = (low >> shift) | (((uint32_t)high << 1) << (31 - shift));
        return (high >> shift) + (low + random < random);
    }
    random >>= 32 - r.shift;
    low += random;
    high += low < random;
    if (high >> (r.shift - 1) != high >> 31) { /* no int32 holds the result */
        return high < 0 ? -FQT_WIDE_LIMIT : FQT_WIDE_LIMIT;
    }
    return fqt_clamp((int32_t)((low >> r.shift) | ((uint32_t)high << (32 - r.shift))), -FQT_WIDE_LIMIT, FQT_WIDE_LIMIT);
}

/** fqt_rescale_by() with a multiplier that is needed once. */
int32_t fqt_rescale(int32_t a, float m, uint32_t random);

/** fround(x) = floor(x + 0.5) clamped to low..high; defined for every float, a NaN gives low. |low|, |high| <= 2^30. */
int32_t fqt_fround(float x, int32_t low, int32_t high);

#if FQT_WITH_STOCHASTIC_ERRORS
/** floor(clamp(x, low, high) + u), u the upper 16 bits of `random` / 2^16; a NaN gives low. |low|, |high| <= 127: with
 * more bits high + u could be rounded up. */
int32_t fqt_fround_random(float x, uint32_t random, int32_t low, int32_t high);
#endif

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

/** MurmurHash3's finalizer. */
static inline uint32_t fqt_mix(uint32_t h) {
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h *= 0xC2B2AE35u;
    return h ^ (h >> 16);
}

/** The index-th word of a stream. Counter based: any order gives the same bits. */
static inline uint32_t fqt_random_word(uint32_t key, uint32_t index) {
    return fqt_mix(key + index * 0x9E3779B9u);
}

#ifdef __cplusplus
}
#endif

#endif
