# SPDX-License-Identifier: Apache-2.0
"""Hard-swish, v relu6(v + 3) / 6 (SPEC.md 4.10): of a byte, so a table of 256 entries."""

import numpy as np

from fqt_ref.arithmetic import fround
from fqt_ref.jit import njit
from fqt_ref.kernels.activation import send_error_f32, send_error_u8, widen_extremes
from fqt_ref.kernels.add import round_fractions

THREE, SIX = np.float32(3), np.float32(6)


@njit
def hard_swish(v):
    """v relu6(v + 3) / 6 of a float32."""
    gate = min(max(v + THREE, np.float32(0)), SIX)
    return (v * gate) / SIX


@njit
def slope(v):
    """Derivative of hard-swish: 0 up to -3, 1 from 3 on."""
    if v <= -THREE:
        return np.float32(0)
    return np.float32(1) if v >= THREE else (v + v + THREE) / SIX


@njit
def fractions(zero_x, scale_x, scale_y, table):
    """table[q] = hard-swish of byte q in 128ths of the output's step. table: int32[256]."""
    for q in range(256):
        value = (hard_swish(np.float32(q - zero_x) * scale_x) / scale_y) * np.float32(128)
        table[q] = fround(min(max(value, np.float32(-32768)), np.float32(32767)))


@njit
def hard_swish_forward_u8(zero_x, zero_y, scale_x, scale_y, x, y, acc, extremes):
    """y = hard-swish(x). x, y: uint8[n]; acc: int32[n], scratch; extremes: int32[1, 2]."""
    table = np.empty(256, np.int32)
    fractions(zero_x, scale_x, scale_y, table)
    for i in range(x.size):
        acc[i] = table[x[i]]
    widen_extremes(acc.reshape((1, acc.size)), extremes)
    round_fractions(acc, zero_y, 0, 255, y)


@njit
def hard_swish_forward_f32(x, y):
    """y = hard-swish(x). x, y: float32[n]."""
    for i in range(x.size):
        y[i] = hard_swish(x[i])


@njit
def hard_swish_backward_u8(zero_x, scale_x, requantizer, passing, accumulate, error, x, dx):
    """sum = e D, D the slope in 128ths. error: int32[n], becomes the sums; x, dx, result: see send_error_u8."""
    table = np.empty(256, np.int32)
    for q in range(256):
        table[q] = fround(slope(np.float32(q - zero_x) * scale_x) * np.float32(128))
    for i in range(x.size):
        error[i] *= table[x[i]]
    return send_error_u8(requantizer, passing, accumulate, error, x, dx)


@njit
def hard_swish_backward_f32(act, accumulate, error, x, dx, sums):
    """sum = e d. error, x, dx: float32[n]; sums: float32[n], scratch."""
    for i in range(x.size):
        sums[i] = error[i] * slope(x[i])
    send_error_f32(act, accumulate, sums, x, dx)
