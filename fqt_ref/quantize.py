# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization of parameters and ranges (SPEC.md 1): round half up on an affine uint8 grid that holds zero."""

import numpy as np

from fqt_ref.arithmetic import BIAS_ONE, WIDE_LIMIT, clamp, fround
from fqt_ref.jit import njit
from fqt_ref.optimizers.standardized_sgd import grid_of_range

EMPTY_RANGE_SCALE = np.float32(1) / np.float32(255)  # of a tensor that is all zeros


@njit
def grid(lo, hi):
    """(scale, zero point) of the range lo..hi, float32, widened to hold 0."""
    return grid_of_range(min(lo, np.float32(0)), max(hi, np.float32(0)), EMPTY_RANGE_SCALE, 0)


@njit
def quantize_u8(values, scale, zero, out):
    """out = clamp(round(v / s) + z, 0, 255). values: float32[n]; out: uint8[n]."""
    for i in range(values.size):
        out[i] = clamp(fround(clamp(values[i] / scale, np.float32(-512), np.float32(512))) + zero, 0, 255)


@njit
def quantize_bias(bias, out):
    """out = round(b * 2^20), clamped. bias: float32[n]; out: int32[n]."""
    for i in range(bias.size):
        out[i] = fround(clamp(bias[i] * BIAS_ONE, -np.float32(WIDE_LIMIT - 64), np.float32(WIDE_LIMIT - 64)))
