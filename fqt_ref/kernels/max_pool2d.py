# SPDX-License-Identifier: Apache-2.0
"""Max pooling (SPEC.md 4.5): the first maximum in raster order wins, forward and backward. Works on uint8 and float32 alike."""

import numpy as np

from fqt_ref.arithmetic import ERROR_MAX
from fqt_ref.jit import njit
from fqt_ref.kernels.activation import send_error_f32


@njit
def max_pool2d_forward(g, x, y):
    """y = maximum of each window. x: [in_h, in_w, c]; y: [out_h, out_w, c]."""
    for oy in range(g.out_h):
        for ox in range(g.out_w):
            out = y[oy, ox]
            out[:] = x[oy * g.stride_h, ox * g.stride_w]
            for ky in range(g.kernel_h):
                for kx in range(g.kernel_w):
                    row = x[oy * g.stride_h + ky, ox * g.stride_w + kx]
                    for c in range(out.size):
                        out[c] = max(out[c], row[c])


@njit
def route_error(g, x, error, dx):
    """dx[first maximum of the window] += e, windows in raster order. error: [out_h, out_w, c]; dx: [in_h, in_w, c], int32 or float32."""
    for oy in range(g.out_h):
        for ox in range(g.out_w):
            for c in range(g.in_c):
                e = error[oy, ox, c]
                if e == 0:
                    continue
                best_y, best_x = oy * g.stride_h, ox * g.stride_w
                best = x[best_y, best_x, c]
                for ky in range(g.kernel_h):
                    for kx in range(g.kernel_w):
                        iy, ix = oy * g.stride_h + ky, ox * g.stride_w + kx
                        if x[iy, ix, c] > best:
                            best, best_y, best_x = x[iy, ix, c], iy, ix
                dx[best_y, best_x, c] += e


@njit
def max_pool2d_backward_u8(g, passing, x, error, dx, sums):
    """The error goes to the maximum, same scale; 0 where the input does not pass. sums: int32[in_h, in_w, c], scratch; dx: int8."""
    sums[:] = 0
    route_error(g, x, error, sums)
    lowest, highest = np.int32(passing[0]), np.int32(passing[1])
    flat, values, out = sums.reshape(sums.size), x.reshape(x.size), dx.reshape(dx.size)
    for i in range(flat.size):
        value = flat[i] if (values[i] > lowest) & (values[i] < highest) else np.int32(0)
        out[i] = np.int8(min(max(value, np.int32(-ERROR_MAX)), np.int32(ERROR_MAX)))


@njit
def max_pool2d_backward_f32(g, act, x, error, dx):
    """The error goes to the maximum; +0 where the input does not pass. dx: float32[in_h, in_w, c]."""
    dx[:] = np.float32(0)
    route_error(g, x, error, dx)
    out = dx.reshape(dx.size)
    send_error_f32(act, False, out, x.reshape(x.size), out)
