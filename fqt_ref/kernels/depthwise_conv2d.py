# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4): each channel has a kernel of its own.

Arrays end in the channels, so that every loop runs along them. Pixels are rows of `padded`; its last one is the padding (see fill_taps of
conv2d with one channel).
"""

import numpy as np

from fqt_ref.jit import njit
from fqt_ref.kernels.activation import activate_f32, requantize_rows, send_error_f32, send_error_u8, widen_extremes


@njit
def centre_pixels(x, zero, padded):
    """padded = x - zero, and a row of 0 behind. x: uint8 or float32[n * c]; padded: int32 or float32[n + 1, c]."""
    flat = padded.reshape(padded.size)
    for i in range(x.size):
        flat[i] = x[i] - zero
    flat[x.size :] = 0


@njit
def add_products(table, padded, weights_t, acc):
    """acc[p] = acc[p] + sum over k of padded[table[k, p]] * weights_t[k], k ascending. weights_t: [taps, c]; acc: [positions, c]."""
    for position in range(acc.shape[0]):
        row = acc[position]
        for k in range(weights_t.shape[0]):
            pixel, weight = padded[table[k, position]], weights_t[k]
            for c in range(row.size):
                row[c] = row[c] + pixel[c] * weight[c]


@njit
def depthwise_conv2d_forward_u8(requantizers, zero_y, lower, upper, table, padded, weights_t, bias_acc, y, acc, extremes):
    """Eq. 3, quantized: y = clamp(requantize(bias_acc + sum (x - z_x)(w - z_w)) + z_y, lower, upper).

    requantizers: int64[n, 3], one a weight grid; table: uint32[taps, positions]; padded: int32[pixels + 1, c]; weights_t: int32[taps, c];
    bias_acc: int32[c]; y: uint8[positions * c]; acc: int32[positions * c], scratch; extremes: int32[n, 2], widened.
    """
    sums = acc.reshape((table.shape[1], bias_acc.size))
    sums[:] = bias_acc
    add_products(table, padded, weights_t, sums)
    widen_extremes(sums, extremes)
    requantize_rows(sums, requantizers, zero_y, lower, upper, y)


@njit
def depthwise_conv2d_forward_f32(act, table, padded, weights_t, bias, y):
    """Eq. 3 in float32: sums start at the bias and run over ky, kx. padded, weights_t, bias: float32; y: float32[positions * c]."""
    sums = y.reshape((table.shape[1], bias.size))
    sums[:] = bias
    add_products(table, padded, weights_t, sums)
    activate_f32(act, y)


@njit
def spread_error(table, error, weights_t, dx):
    """dx[table[k, p]] += e[p] * weights_t[k], positions in raster order; its last row takes the padding's. dx: [pixels + 1, c]."""
    for position in range(error.shape[0]):
        e = error[position]
        for k in range(weights_t.shape[0]):
            out, weight = dx[table[k, position]], weights_t[k]
            for c in range(e.size):
                out[c] += e[c] * weight[c]


@njit
def depthwise_conv2d_backward_input_u8(requantizer, passing, accumulate, table, error, weights_t, x, dx, sums):
    """Eq. 4. error: int32[positions, c], times K; sums: int32[pixels * c + c], scratch; x, dx, result: see send_error_u8."""
    sums[:] = 0
    spread_error(table, error, weights_t, sums.reshape((sums.size // weights_t.shape[1], weights_t.shape[1])))
    return send_error_u8(requantizer, passing, accumulate, sums[: x.size], x, dx)


@njit
def depthwise_conv2d_backward_input_f32(act, accumulate, table, error, weights_t, x, dx, sums):
    """Eq. 1 in float32. error: float32[positions, c]; x, dx: float32[pixels * c]; sums: float32[pixels * c + c], scratch."""
    sums[:] = 0
    spread_error(table, error, weights_t, sums.reshape((sums.size // weights_t.shape[1], weights_t.shape[1])))
    send_error_f32(act, accumulate, sums[: x.size], x, dx)


@njit
def add_gradient(table, padded, error, gradient_t, bias_gradient):
    """gradient_t[k] += e[p] * padded[table[k, p]], bias_gradient += e[p], positions in raster order. gradient_t: [taps, c]."""
    for position in range(error.shape[0]):
        e = error[position]
        for c in range(e.size):
            bias_gradient[c] += e[c]
        for k in range(gradient_t.shape[0]):
            out, pixel = gradient_t[k], padded[table[k, position]]
            for c in range(e.size):
                out[c] += e[c] * pixel[c]


@njit
def depthwise_conv2d_backward_weight_u8(fraction_bits, table, padded, error, gradient, bias_gradient):
    """Eq. 2, summed over the minibatch: G += 2^k e (x - z_x), G_b += e; the k low bits hold the weights' residuals (SPEC.md 6.1).

    padded: int32[pixels + 1, c]; error: int32[positions, c]; gradient: int32[c, taps]; bias_gradient: int32[c].
    """
    sums = np.zeros((gradient.shape[1], gradient.shape[0]), np.int32)
    add_gradient(table, padded, error, sums, bias_gradient)
    for c in range(gradient.shape[0]):
        for k in range(gradient.shape[1]):
            gradient[c, k] += sums[k, c] << fraction_bits


@njit
def depthwise_conv2d_backward_weight_f32(table, padded, error, gradient, bias_gradient):
    """Eq. 2 in float32: positions in raster order. padded: float32[pixels + 1, c]; gradient: float32[c, taps]."""
    gradient_t = gradient.T.copy()
    add_gradient(table, padded, error, gradient_t, bias_gradient)
    gradient[:] = gradient_t.T
