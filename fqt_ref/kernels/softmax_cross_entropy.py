# SPDX-License-Identifier: Apache-2.0
"""Softmax cross-entropy by a table of 2^-x (SPEC.md 4.7): loss, prediction and the error at the logits, without exp or log."""

import numpy as np

from fqt_ref.arithmetic import ERROR_MAX, NEAREST, fround, log2_q16, random_word
from fqt_ref.jit import njit

# T[j] = round(2^30 * 2^(-j/256)). A double has 22 bits to spare; a test compares with exact decimals.
EXP2_TABLE = np.array([round(2.0 ** (30 - j / 256)) for j in range(257)], np.int64)
LOG2_E_Q16 = np.float32(94548.46)  # log2(e) * 2^16
LN_2_Q16 = 45426  # ln(2) * 2^16


@njit
def exp2_negative(t):
    """2^22 * 2^(-t / 2^16) for t >= 0, by linear interpolation between table entries."""
    n = t >> 16
    if n + 8 >= 32:
        return 0
    j = (t >> 8) & 255
    value = EXP2_TABLE[j] - (((EXP2_TABLE[j] - EXP2_TABLE[j + 1]) * (t & 255)) >> 8)
    return value >> (n + 8)


@njit
def exponents_u8(scale, logits, t):
    """t = (q_max - q_i) * scale * log2(e), 16 fraction bits. Returns the prediction."""
    k = fround(min(scale * LOG2_E_Q16, np.float32(8388607)))
    best = 0
    for i in range(logits.size):
        if logits[i] > logits[best]:
            best = i
    for i in range(logits.size):
        t[i] = (np.int64(logits[best]) - np.int64(logits[i])) * k
    return best


@njit
def exponents_f32(logits, t):
    """The same for float32 logits."""
    best = 0
    for i in range(logits.size):
        if logits[i] > logits[best]:
            best = i
    for i in range(logits.size):
        distance = np.float32(logits[best] - logits[i]) * LOG2_E_Q16
        t[i] = fround(min(distance, np.float32(1073741824)))
    return best


@njit
def loss_q16(t, label):
    """Turn t into numerators of the softmax in place; returns (loss in Q16, sum of the numerators)."""
    total = 0
    for i in range(t.size):
        t[i] = exp2_negative(t[i])
        total += t[i]
    return ((log2_q16(total) - log2_q16(max(t[label], 1))) * LN_2_Q16) >> 16, total


@njit
def softmax_cross_entropy_u8(scale, logits, label, stochastic, key, error, t):
    """Loss (Q16), prediction; error = round(127 p) - 127 [label].

    logits: uint8[n]; stochastic: round by the random words of key, otherwise half up; error: int8[n]; t: int64[n], scratch.
    """
    prediction = exponents_u8(scale, logits, t)
    loss, total = loss_q16(t, label)
    for i in range(t.size):
        word = random_word(key, i) if stochastic else NEAREST
        share = (t[i] * ERROR_MAX + (((word >> 1) * total) >> 31)) // total
        error[i] = share - ERROR_MAX if i == label else share
    return loss, prediction


@njit
def softmax_cross_entropy_f32(logits, label, error, t):
    """Loss (Q16), prediction; error = p - [label]. logits, error: float32[n]; t: int64[n], scratch."""
    prediction = exponents_f32(logits, t)
    loss, total = loss_q16(t, label)
    for i in range(t.size):
        p = np.float32(t[i]) / np.float32(total)
        error[i] = p - np.float32(1) if i == label else p
    return loss, prediction
