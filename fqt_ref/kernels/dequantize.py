# SPDX-License-Identifier: Apache-2.0
"""The border between quantized and float32 layers of the mixed and float32 configurations (SPEC.md 4.6)."""

import numpy as np

from fqt_ref.arithmetic import ERROR_MAX, ROUND_HALF_UP, fround, fround_random, random_word
from fqt_ref.jit import njit


@njit
def dequantize_forward(zero, scale, x, y):
    """y = f32(x - z) * s. x: uint8[n]; y: float32[n]."""
    for i in range(x.size):
        y[i] = np.float32(np.int32(x[i]) - np.int32(zero)) * scale


@njit
def dequantize_backward(passing, error_scale, key, error, x, dx):
    """dx = clamp(round(e / s_e), -127, 127), 0 where the input does not pass. error: float32[n]; x: uint8[n]; dx: int8[n].

    key: ROUND_HALF_UP, or of the random words by which errors are rounded stochastically (SPEC.md 16.2).
    Returns the largest |e| of those that pass, a float32.
    """
    inverse = np.float32(1) / error_scale
    limit = np.float32(ERROR_MAX)
    largest = np.float32(0)
    for i in range(x.size):
        if passing[0] < x[i] < passing[1]:
            e = error[i]
            largest = max(largest, abs(e))
            value = min(max(e * inverse, -limit), limit)
            dx[i] = np.int8(fround(value) if key == ROUND_HALF_UP else fround_random(value, random_word(key, i)))
        else:
            dx[i] = 0
    return largest
