# SPDX-License-Identifier: Apache-2.0
"""Random arrays of golden cases."""

import numpy as np

from fqt_ref.network import Geometry


def errors(rng, size, density=1.0) -> np.ndarray:
    """int8 errors in -127..127, a share of them 0."""
    return (rng.randint(-127, 128, size) * (rng.random_sample(size) < density)).astype(np.int8)


def floats(rng, size, density=1.0) -> np.ndarray:
    """float32 values around 0, a share of them 0."""
    return (rng.standard_normal(size) * (rng.random_sample(size) < density)).astype(np.float32)


def octets(rng, size) -> np.ndarray:
    """Any uint8."""
    return rng.randint(0, 256, size).astype(np.uint8)


def ints(*values) -> np.ndarray:
    """int32[n]."""
    return np.array(values, np.int32)


def reals(*values) -> np.ndarray:
    """float32[n]."""
    return np.array(values, np.float32)


def new_extremes(grids: int = 1) -> np.ndarray:
    """Extremes that have seen nothing, int32[grids, 2]."""
    return np.array([[2**31 - 1, -(2**31)]] * grids, np.int32)


def window_geometry(h, w, c, out, kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1)) -> Geometry:
    """Geometry of a window operator; padding is (top, bottom, left, right)."""
    top, bottom, left, right = padding
    out_h = (h + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    out_w = (w + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return Geometry(h, w, c, out_h, out_w, out, *kernel, *stride, top, left, *dilation)
