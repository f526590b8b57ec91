# SPDX-License-Identifier: Apache-2.0
"""The number system (SPEC.md sections 2 and 3): every rounding of the project is in this file; no kernel rounds by itself.

All functions are scalar and run inside compiled loops. float32 steps are +, -, *, / in the written order, never fused.
"""

from math import floor

import numpy as np

from fqt_ref.jit import njit

ERROR_MAX = 127  # errors are int8 without -128, so that negation never overflows
BIAS_FRACTION_BITS = 20
BIAS_ONE = np.float32(1 << BIAS_FRACTION_BITS)
NEAREST = 0x80000000  # the "random word" that makes `rescale` round half up
WIDE_LIMIT = 1 << 30
ACC_LIMIT = 1 << 28
MASK32 = 0xFFFFFFFF
ROUND_HALF_UP = -1  # in place of a key of random words


@njit
def clamp(x, low, high):
    """min(max(x, low), high)."""
    return min(max(x, low), high)


@njit
def fround(x):
    """Round a float32 half up: floor(x + 0.5), both steps in float32. Returns int64; |x| < 2^31."""
    return np.int64(floor(np.float32(x + np.float32(0.5))))


@njit
def fround_random(x, random):
    """Round a float32 stochastically: floor(x + u), u the upper 16 bits of a uint32 / 2^16. Returns int64.

    |x| <= 127: with more bits 127 + u could be rounded to 128.
    """
    return np.int64(floor(np.float32(x + np.float32(np.int64(random) >> 16) * np.float32(2.0**-16))))


@njit
def exponent_and_significand(m):
    """Exponent field and 24-bit significand (hidden bit included) of a float32 m > 0."""
    bits = np.int64(np.float32(m).view(np.int32))
    return (bits >> 23) & 255, (bits & 0x7FFFFF) | 0x800000


@njit
def requantizer(m):
    """Turn a float32 multiplier m > 0 into (mantissa, pre, post) of `requantize` (SPEC.md 2.1)."""
    exponent, significand = exponent_and_significand(m)
    mantissa = (significand + 256) >> 9
    if mantissa == 32768:
        mantissa = 16384
        exponent += 1
    shift = 141 - exponent
    if exponent == 0 or shift > 50:
        return 0, 0, 1
    if shift < 1:
        return 32767, 0, 1
    pre = max(0, shift - 21)
    return mantissa, pre, shift - pre


@njit
def error_requantizer(m):
    """requantizer(m) and a key: errors are rounded half up, as long as none of random words is put there."""
    mantissa, pre, post = requantizer(m)
    return mantissa, pre, post, ROUND_HALF_UP


@njit
def requantize(a, mantissa, pre, post):
    """round(a * m) half up in 32-bit arithmetic: the bracket of Eq. 4. a: int32, |a| <= 2^31 - 1 - 2^28. Returns int32."""
    half = np.int32((1 << pre) >> 1)
    short = np.right_shift(np.int32(np.int32(a) + half), np.int32(pre & 31))
    short = min(max(short, np.int32(-32768)), np.int32(32767))
    product = np.int32(np.int32(short * np.int32(mantissa)) + np.int32(1 << (post - 1)))
    return np.right_shift(product, np.int32(post & 31))


@njit
def requantize_random(a, mantissa, pre, post, random):
    """The same rounded stochastically: up with the probability of the fraction (SPEC.md 16.2). random: uint32. Returns int32."""
    half = np.int32((1 << pre) >> 1)
    short = np.right_shift(np.int32(np.int32(a) + half), np.int32(pre & 31))
    short = min(max(short, np.int32(-32768)), np.int32(32767))
    product = np.int32(np.int32(short * np.int32(mantissa)) + np.int32(np.int64(random) >> (32 - post)))
    return np.right_shift(product, np.int32(post & 31))


@njit
def rescale(a, m, random):
    """round(a * m) with the full float32 significand, clamped to +-2^30 (SPEC.md 2.2).

    a: |a| < 2^38; random: uint32, NEAREST rounds half up, a random word rounds stochastically.
    """
    exponent, significand = exponent_and_significand(m)
    shift = 150 - exponent
    if exponent == 0 or shift > 62:
        return 0
    shift = max(shift, 1)
    aligned = np.int64(random) >> (32 - shift) if shift <= 32 else np.int64(random) << (shift - 32)
    return clamp((np.int64(a) * significand + aligned) >> shift, -WIDE_LIMIT, WIDE_LIMIT)


@njit
def bit_length(x):
    """Number of bits of x >= 0; bit_length(0) = 0."""
    n = 0
    while x > 0:
        x >>= 1
        n += 1
    return n


@njit
def isqrt(x):
    """floor(sqrt(x)) of 0 <= x < 2^62, digit by digit: exact on every machine."""
    root = 0
    bit = 1 << 60
    while bit > x:
        bit >>= 2
    while bit != 0:
        if x >= root + bit:
            x -= root + bit
            root = (root >> 1) + bit
        else:
            root >>= 1
        bit >>= 2
    return root


@njit
def log2_q16(v):
    """log2 of a uint32 v >= 1 with 16 fraction bits, by repeated squaring (SPEC.md 4.7)."""
    n = bit_length(v) - 1
    x = v << (31 - n)
    result = n
    for _ in range(16):
        # x * x needs 64 unsigned bits, int64 has 63: multiply by halves.
        high, low = x >> 16, x & 0xFFFF
        squared = 2 * high * high + (((high * low << 17) + low * low) >> 31)
        bit = squared >> 32
        x = squared >> bit
        result = 2 * result + bit
    return result


@njit
def mix(h):
    """MurmurHash3's finalizer on 32 bits."""
    h = (h ^ (h >> 16)) & MASK32
    h = (h * 0x85EBCA6B) & MASK32
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & MASK32
    return h ^ (h >> 16)


@njit
def random_key(seed, step, stream):
    """Key of one stream of random words (SPEC.md 3): counter based, any order and any number of threads give the same bits."""
    return mix((mix((mix((seed + 0x9E3779B9) & MASK32) + step) & MASK32) + stream) & MASK32)


@njit
def random_word(key, index):
    """The index-th uint32 of a stream."""
    return mix((key + index * 0x9E3779B9) & MASK32)


STREAM_INITIAL_WEIGHTS = 0x10000
STREAM_SAMPLE_ORDER = 0x20000
STREAM_ERRORS = 0x50000  # + 2 layer + operand
STREAM_LOSS = 0x60000


@njit
def sample_order(seed, epoch, n):
    """Fisher-Yates shuffle of 0..n-1 for one epoch (SPEC.md 3). Returns int64[n]."""
    key = random_key(seed, epoch, STREAM_SAMPLE_ORDER)
    order = np.arange(n)
    for i in range(n - 1, 0, -1):
        j = (random_word(key, i) * (i + 1)) >> 32
        order[i], order[j] = order[j], order[i]
    return order
