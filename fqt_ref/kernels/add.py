# SPDX-License-Identifier: Apache-2.0
"""Residual add (SPEC.md 4.9): each operand in 128ths of the output's step, then one rounding."""

import numpy as np

from fqt_ref.arithmetic import requantize
from fqt_ref.jit import njit
from fqt_ref.kernels.activation import activate_f32, send_error_f32, send_error_u8, widen_extremes


@njit
def round_fractions(acc, zero_y, lower, upper, y):
    """y = clamp(acc / 128 + z_y, lower, upper), rounded half up. acc: int32[n]; y: uint8[n]."""
    for i in range(acc.size):
        value = ((acc[i] + np.int32(64)) >> np.int32(7)) + np.int32(zero_y)
        y[i] = np.uint8(min(max(value, np.int32(lower)), np.int32(upper)))


@njit
def add_forward_u8(requantizers, zero_a, zero_b, zero_y, lower, upper, a, b, y, acc, extremes):
    """y = a + b. requantizers: int64[2, 3], of s_a / s_y and s_b / s_y; a, b, y: uint8[n]; acc: int32[n]; extremes: int32[1, 2]."""
    for i in range(a.size):
        left = np.int32((np.int32(a[i]) - np.int32(zero_a)) << np.int32(7))
        right = np.int32((np.int32(b[i]) - np.int32(zero_b)) << np.int32(7))
        acc[i] = requantize(left, requantizers[0, 0], requantizers[0, 1], requantizers[0, 2]) + requantize(
            right, requantizers[1, 0], requantizers[1, 1], requantizers[1, 2]
        )
    widen_extremes(acc.reshape((1, acc.size)), extremes)
    round_fractions(acc, zero_y, lower, upper, y)


@njit
def add_forward_f32(act, a, b, y):
    """y = a + b and activation. a, b, y: float32[n]."""
    for i in range(a.size):
        y[i] = a[i] + b[i]
    activate_f32(act, y)


@njit
def add_backward_u8(requantizer, passing, accumulate, error, x, dx):
    """The error goes to an operand x unchanged. error: int32[n], changed; x, dx, result: see send_error_u8."""
    return send_error_u8(requantizer, passing, accumulate, error, x, dx)


@njit
def add_backward_f32(act, accumulate, error, x, dx):
    """The error goes to an operand x unchanged. error, x, dx: float32[n]."""
    send_error_f32(act, accumulate, error, x, dx)
