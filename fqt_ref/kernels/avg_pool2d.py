# SPDX-License-Identifier: Apache-2.0
"""Average pooling, global average pooling included (SPEC.md 4.8)."""

import numpy as np

from fqt_ref.jit import njit
from fqt_ref.kernels.activation import requantize_rows, send_error_f32, send_error_u8, widen_extremes


@njit
def add_windows(g, x, zero, sums):
    """sums[position] = sum of x - zero over its window, raster order. x: [in_h, in_w, c]; sums: int32 or float32[out_h * out_w, c]."""
    sums[:] = 0
    for position in range(sums.shape[0]):
        top, left = position // g.out_w * g.stride_h, position % g.out_w * g.stride_w
        row = sums[position]
        for ky in range(g.kernel_h):
            for kx in range(g.kernel_w):
                pixel = x[top + ky, left + kx]
                for c in range(row.size):
                    row[c] += pixel[c] - zero


@njit
def avg_pool2d_forward_u8(g, requantizers, zero_x, zero_y, x, y, acc, extremes):
    """y = clamp(requantize(sum of x - z_x) + z_y, 0, 255). x: uint8[in_h, in_w, c]; y: uint8[out]; acc: int32[out], scratch."""
    sums = acc.reshape((g.out_h * g.out_w, g.out_c))
    add_windows(g, x, np.int32(zero_x), sums)
    widen_extremes(sums, extremes)
    requantize_rows(sums, requantizers, zero_y, 0, 255, y)


@njit
def avg_pool2d_forward_f32(g, x, y):
    """y = mean of each window. x: float32[in_h, in_w, c]; y: float32[out]."""
    add_windows(g, x, np.float32(0), y.reshape((g.out_h * g.out_w, g.out_c)))
    n = np.float32(g.kernel_h * g.kernel_w)
    for i in range(y.size):
        y[i] = y[i] / n


@njit
def spread_windows(g, error, dx):
    """dx += the error of each window that holds an element, windows in raster order. error: [positions, c]; dx: [in_h, in_w, c]."""
    dx[:] = 0
    for position in range(error.shape[0]):
        top, left = position // g.out_w * g.stride_h, position % g.out_w * g.stride_w
        e = error[position]
        for ky in range(g.kernel_h):
            for kx in range(g.kernel_w):
                pixel = dx[top + ky, left + kx]
                for c in range(e.size):
                    pixel[c] += e[c]


@njit
def avg_pool2d_backward_u8(g, requantizer, passing, accumulate, error, x, dx, sums):
    """error: int32[positions, c]; sums: int32[in_h * in_w * c], scratch; x, dx, result: see send_error_u8."""
    spread_windows(g, error, sums.reshape((g.in_h, g.in_w, g.in_c)))
    return send_error_u8(requantizer, passing, accumulate, sums, x, dx)


@njit
def avg_pool2d_backward_f32(g, act, accumulate, error, x, dx, sums, shares):
    """error: float32[positions, c]; shares: float32[positions, c] and sums: float32[in_h * in_w * c], scratch."""
    n = np.float32(g.kernel_h * g.kernel_w)
    for position in range(error.shape[0]):
        for c in range(error.shape[1]):
            shares[position, c] = error[position, c] / n
    spread_windows(g, shares, sums.reshape((g.in_h, g.in_w, g.in_c)))
    send_error_f32(act, accumulate, sums, x, dx)
