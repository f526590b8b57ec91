# SPDX-License-Identifier: Apache-2.0
"""What every operator does with its sums: activation and rounding forward (SPEC.md 4.1, 4.2), masking and rounding of errors (4.3)."""

import numpy as np

from fqt_ref.arithmetic import ERROR_MAX, ROUND_HALF_UP, fround, random_word, requantize, requantize_random
from fqt_ref.jit import njit

RELU, RELU6 = 1, 2  # `act` of SPEC.md 12; 0 is none


@njit
def highest_of(scale, zero):
    """The byte from which on a ReLU6 is saturated; beyond 255 none is."""
    return zero + fround(min(np.float32(6) / scale, np.float32(1000)))


@njit
def requantize_rows(acc, requantizers, zero_y, lower, upper, y):
    """y = clamp(requantize(acc) + z_y, lower, upper). acc: int32[positions, out]; requantizers: int64[n, 3], n = 1 or out; y: uint8."""
    low, high, zero = np.int32(lower), np.int32(upper), np.int32(zero_y)
    if requantizers.shape[0] == 1:
        mantissa, pre, post = requantizers[0, 0], requantizers[0, 1], requantizers[0, 2]
        flat = acc.reshape(acc.size)
        for i in range(flat.size):
            y[i] = np.uint8(min(max(requantize(flat[i], mantissa, pre, post) + zero, low), high))
    else:
        rows = y.reshape(acc.shape)
        for position in range(acc.shape[0]):
            row, out = acc[position], rows[position]
            for co in range(row.size):
                value = requantize(row[co], requantizers[co, 0], requantizers[co, 1], requantizers[co, 2])
                out[co] = np.uint8(min(max(value + zero, low), high))


@njit
def widen_extremes(acc, extremes):
    """extremes[g] = least and greatest accumulator seen of grid g. acc: int32[positions, out]; extremes: int32[n, 2], n = 1 or out."""
    if extremes.shape[0] == 1:
        low, high = extremes[0, 0], extremes[0, 1]
        flat = acc.reshape(acc.size)
        for i in range(flat.size):
            low = min(low, flat[i])
            high = max(high, flat[i])
        extremes[0, 0], extremes[0, 1] = low, high
    else:
        for position in range(acc.shape[0]):
            row = acc[position]
            for co in range(row.size):
                extremes[co, 0] = min(extremes[co, 0], row[co])
                extremes[co, 1] = max(extremes[co, 1], row[co])


@njit
def activate_f32(act, y):
    """y = +0 where not y > 0 behind ReLU and ReLU6, 6 where not y < 6 behind ReLU6, in place. y: float32[n]."""
    if act != 0:
        for i in range(y.size):
            y[i] = y[i] if y[i] > np.float32(0) else np.float32(0)
    if act == RELU6:
        for i in range(y.size):
            y[i] = y[i] if y[i] < np.float32(6) else np.float32(6)


@njit
def send_error_random(requantizer, passing, accumulate, sums, x, dx):
    """send_error_u8() with stochastic rounding, word i of the key for element i (SPEC.md 16.2)."""
    mantissa, pre, post, key = requantizer
    largest, limit = np.int32(0), np.int32(ERROR_MAX)
    for i in range(sums.size):
        value = np.int32(0)
        if (x[i] > passing[0]) & (x[i] < passing[1]):
            value = requantize_random(sums[i], mantissa, pre, post, random_word(key, i))
            if accumulate:
                value += np.int32(dx[i])
            largest = max(largest, np.int32(abs(value if accumulate else sums[i])))
        dx[i] = np.int8(min(max(value, -limit), limit))
    return largest


@njit
def send_error_u8(requantizer, passing, accumulate, sums, x, dx):
    """dx = clamp(requantize(sum), -127, 127), added to dx if others have sent errors before; 0 where the input does not pass.

    requantizer: (mantissa, pre, post, key), key ROUND_HALF_UP or one of random words, by which errors are rounded stochastically;
    passing: (lowest, highest), errors pass where lowest < x < highest; sums: int32[n]; x: uint8[n], the input; dx: int8[n].
    Returns the largest |sum|, or |total| if accumulating, of those that pass: from it the error scale is found (SPEC.md 8).
    """
    mantissa, pre, post, key = requantizer
    if key != ROUND_HALF_UP:
        return send_error_random(requantizer, passing, accumulate, sums, x, dx)
    lowest, highest = np.int32(passing[0]), np.int32(passing[1])
    largest, limit = np.int32(0), np.int32(ERROR_MAX)
    if accumulate:
        for i in range(sums.size):
            total = requantize(sums[i], mantissa, pre, post) + np.int32(dx[i])
            total = total if (x[i] > lowest) & (x[i] < highest) else np.int32(0)
            largest = max(largest, np.int32(abs(total)))
            dx[i] = np.int8(min(max(total, -limit), limit))
        return largest
    for i in range(sums.size):
        value = sums[i] if (x[i] > lowest) & (x[i] < highest) else np.int32(0)
        largest = max(largest, np.int32(abs(value)))
        sums[i] = value
    for i in range(sums.size):
        dx[i] = np.int8(min(max(requantize(sums[i], mantissa, pre, post), -limit), limit))
    return largest


@njit
def send_error_f32(act, accumulate, sums, x, dx):
    """dx = sum, or dx + sum if accumulating; +0 where the input does not pass: not x > 0 behind ReLU and ReLU6, not x < 6 behind ReLU6."""
    if accumulate:
        for i in range(dx.size):
            dx[i] = dx[i] + sums[i]
    else:
        for i in range(dx.size):
            dx[i] = sums[i]
    if act != 0:
        for i in range(dx.size):
            dx[i] = dx[i] if x[i] > np.float32(0) else np.float32(0)
    if act == RELU6:
        for i in range(dx.size):
            dx[i] = dx[i] if x[i] < np.float32(6) else np.float32(0)
