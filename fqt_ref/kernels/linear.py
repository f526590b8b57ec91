# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer with folded ReLU (SPEC.md 4.1-4.4; Eq. 1-4): the convolution whose kernel covers its whole input."""

import numpy as np

from fqt_ref.jit import njit
from fqt_ref.kernels.activation import activate_f32, requantize_rows, send_error_f32, send_error_u8, widen_extremes


@njit
def add_products(x, weights_t, acc):
    """acc[co] = acc[co] + sum over k of x[k] * weights_t[k, co], k ascending; four k a pass."""
    k = 0
    while k + 4 <= x.size:
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        w0, w1, w2, w3 = weights_t[k], weights_t[k + 1], weights_t[k + 2], weights_t[k + 3]
        for co in range(acc.size):
            acc[co] = acc[co] + x0 * w0[co] + x1 * w1[co] + x2 * w2[co] + x3 * w3[co]
        k += 4
    while k < x.size:
        x0 = x[k]
        w0 = weights_t[k]
        for co in range(acc.size):
            acc[co] = acc[co] + x0 * w0[co]
        k += 1


@njit
def linear_forward_u8(requantizers, zero_y, lower, upper, x, weights_t, bias_acc, y, acc, extremes):
    """Eq. 3, quantized. x: int32[in], x - z_x; weights_t: int32[in, out]; bias_acc, acc: int32[out]; y: uint8[out]."""
    acc[:] = bias_acc
    add_products(x, weights_t, acc)
    sums = acc.reshape((1, acc.size))
    widen_extremes(sums, extremes)
    requantize_rows(sums, requantizers, zero_y, lower, upper, y)


@njit
def linear_forward_f32(act, x, weights_t, bias, y):
    """Eq. 3 in float32: sums start at the bias, k ascending. x: float32[in]; weights_t: float32[in, out]; y: float32[out]."""
    y[:] = bias
    add_products(x, weights_t, y)
    activate_f32(act, y)


@njit
def spread_error(error, weights_c, dx):
    """dx[k] += sum over co of e[co] * weights_c[co, k], co ascending."""
    for co in range(error.size):
        e = error[co]
        if e != 0:
            row = weights_c[co]
            for k in range(dx.size):
                dx[k] += e * row[k]


@njit
def linear_backward_input_u8(requantizer, passing, accumulate, error, weights_c, x, dx, sums):
    """Eq. 4. error: int32[out], times K; weights_c: int32[out, in]; sums: int32[in], scratch; x, dx, result: see send_error_u8."""
    sums[:] = 0
    spread_error(error, weights_c, sums)
    return send_error_u8(requantizer, passing, accumulate, sums, x, dx)


@njit
def linear_backward_input_f32(act, accumulate, error, weights_c, x, dx, sums):
    """Eq. 1 in float32. error: float32[out]; x, dx: float32[in]; sums: float32[in], scratch."""
    sums[:] = np.float32(0)
    spread_error(error, weights_c, sums)
    send_error_f32(act, accumulate, sums, x, dx)


@njit
def linear_backward_weight_u8(fraction_bits, error, x, gradient, bias_gradient):
    """Eq. 2: G += 2^k e (x - z_x), G_b += e; the k low bits hold the weights' residuals (SPEC.md 6.1).

    error: int32[out]; x: int32[in], x - z_x; gradient: int32[out, in]; bias_gradient: int32[out].
    """
    for co in range(error.size):
        e = error[co]
        if e != 0:
            bias_gradient[co] += e
            factor = np.int32(e << fraction_bits)
            out = gradient[co]
            for k in range(x.size):
                out[k] += factor * x[k]


@njit
def linear_backward_weight_f32(error, x, gradient, bias_gradient):
    """Eq. 2 in float32. error: float32[out]; x: float32[in]; gradient: float32[out, in]."""
    for co in range(error.size):
        e = error[co]
        if e != 0:  # G is never -0, so skipping changes no bit
            bias_gradient[co] += e
            out = gradient[co]
            for k in range(x.size):
                out[k] += e * x[k]
