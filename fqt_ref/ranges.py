# SPDX-License-Identifier: Apache-2.0
"""Scales that move with the data: of errors and of feature maps (SPEC.md 8)."""

import numpy as np

from fqt_ref.jit import njit
from fqt_ref.kernels.activation import RELU6
from fqt_ref.optimizers.standardized_sgd import grid_of_range

RATE = np.float32(0.1)  # of the moving averages
FIXED_ERROR_SCALE = np.float32(1) / np.float32(127)  # the paper's [-1, 1], for an error scale never set
SMALLEST_ERROR_SCALE = np.float32(2.0**-60)


@njit
def error_scale_in_force(error_scale):
    """The scale of an error tensor: 1/127 until one was observed (stored as 0)."""
    return FIXED_ERROR_SCALE if error_scale == np.float32(0) else error_scale


@njit
def update_error_scale(error_scale, observed):
    """Moving average of the minibatch's largest error / 127; the first one is taken as it is."""
    if observed < SMALLEST_ERROR_SCALE:
        return error_scale
    return observed if error_scale == np.float32(0) else error_scale + RATE * (observed - error_scale)


@njit
def update_range(act, lo_batch, hi_batch, lo, hi, scale, zero):
    """Moving average of a feature map's range from the minibatch's: behind ReLU and ReLU6 from 0, behind ReLU6 up to 6.

    Returns (lo, hi, scale, zero).
    """
    zero_f = np.float32(0)
    lo_batch = zero_f if act != 0 else min(lo_batch, zero_f)
    hi_batch = max(hi_batch, zero_f)
    if act == RELU6:
        hi_batch = min(hi_batch, np.float32(6))
    lo = lo + RATE * (lo_batch - lo)
    hi = hi + RATE * (hi_batch - hi)
    new_scale, new_zero = grid_of_range(lo, hi, scale, zero)
    return lo, hi, new_scale, new_zero
