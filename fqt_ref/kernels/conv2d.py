# SPDX-License-Identifier: Apache-2.0
"""2-D convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4)."""

import numpy as np

from fqt_ref.arithmetic import ERROR_MAX, requantize
from fqt_ref.jit import njit


@njit
def taps(position, stride, pad, kernel, size):
    """The taps k of one axis that lie inside the input: (first, one past the last, input index of the first)."""
    origin = position * stride - pad
    first = max(0, -origin)
    return first, min(kernel, size - origin), origin + first


@njit
def im2col(g, x, zero, columns):
    """columns[k, position] = x - zero under tap k = (ky, kx, ci), 0 in the padding.

    x: uint8 or float32[h, w, c]; columns: int32 or float32[fan_in, positions].
    """
    k = 0
    for ky in range(g.kernel_h):
        for kx in range(g.kernel_w):
            for ci in range(g.in_c):
                row = columns[k].reshape((g.out_h, g.out_w))
                k += 1
                for oy in range(g.out_h):
                    iy = oy * g.stride_h + ky - g.pad_top
                    if iy < 0 or iy >= g.in_h:
                        row[oy, :] = 0
                        continue
                    for ox in range(g.out_w):
                        ix = ox * g.stride_w + kx - g.pad_left
                        row[oy, ox] = x[iy, ix, ci] - zero if 0 <= ix < g.in_w else 0


@njit
def add_products(columns, weights, acc):
    """acc[p] = acc[p] + sum over k of weights[k] * columns[k, p], k ascending; four k a pass. acc: [positions]."""
    fan_in = weights.size
    k = 0
    while k + 4 <= fan_in:
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        c0, c1, c2, c3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        for p in range(acc.size):
            acc[p] = acc[p] + w0 * c0[p] + w1 * c1[p] + w2 * c2[p] + w3 * c3[p]
        k += 4
    while k < fan_in:
        w0 = weights[k]
        c0 = columns[k]
        for p in range(acc.size):
            acc[p] = acc[p] + w0 * c0[p]
        k += 1


@njit
def requantize_row(acc, requantizer, zero_y, lower, y):
    """y = clamp(requantize(acc) + z_y, lower, 255). acc: int32[n]; y: uint8[n]."""
    mantissa, pre, post = requantizer
    for i in range(acc.size):
        value = requantize(acc[i], mantissa, pre, post) + np.int32(zero_y)
        y[i] = np.uint8(min(max(value, np.int32(lower)), np.int32(255)))


@njit
def widen_extremes(acc, extremes):
    """extremes[0], extremes[1] = least and greatest accumulator seen. acc, extremes: int32."""
    low = extremes[0]
    high = extremes[1]
    for i in range(acc.size):
        low = min(low, acc[i])
        high = max(high, acc[i])
    extremes[0] = low
    extremes[1] = high


@njit
def conv2d_forward_u8(requantizer, zero_y, lower, columns, weights_c, bias_acc, y, acc, extremes):
    """Eq. 3, quantized: y = clamp(requantize(bias_acc + sum (x - z_x)(w - z_w)) + z_y, lower, 255).

    columns: int32[fan_in, positions], see im2col; weights_c: int32[out, fan_in]; bias_acc: int32[out]; y: uint8[positions, out];
    acc: int32[positions], scratch; extremes: int32[2], least and greatest accumulator, widened.
    """
    row = np.empty(acc.size, np.uint8)
    for co in range(bias_acc.size):
        acc[:] = bias_acc[co]
        add_products(columns, weights_c[co], acc)
        widen_extremes(acc, extremes)
        requantize_row(acc, requantizer, zero_y, lower, row)
        for p in range(acc.size):
            y[p, co] = row[p]


@njit
def relu_f32(y):
    """y = +0 where not y > 0, in place. y: float32[n]."""
    for i in range(y.size):
        y[i] = y[i] if y[i] > np.float32(0) else np.float32(0)


@njit
def conv2d_forward_f32(relu, columns, weights_c, bias, y, acc):
    """Eq. 3 in float32: sums start at the bias and run over ky, kx, ci (SPEC.md 4.2).

    columns: float32[fan_in, positions]; weights_c: float32[out, fan_in]; y: float32[positions, out]; acc: float32[positions], scratch.
    """
    for co in range(bias.size):
        acc[:] = bias[co]
        add_products(columns, weights_c[co], acc)
        if relu:
            relu_f32(acc)
        for p in range(acc.size):
            y[p, co] = acc[p]


@njit
def scatter_error(g, error, weights_c, dx):
    """dx += sum e * w: raster order of the outputs, then co. error: [positions, out]; weights_c: [out, fan_in]; dx: [h * w * c]."""
    for position in range(g.out_h * g.out_w):
        ky0, ky1, iy = taps(position // g.out_w, g.stride_h, g.pad_top, g.kernel_h, g.in_h)
        kx0, kx1, ix = taps(position % g.out_w, g.stride_w, g.pad_left, g.kernel_w, g.in_w)
        length = (kx1 - kx0) * g.in_c
        for co in range(g.out_c):
            e = error[position, co]
            if e != 0:  # most errors are 0 behind max pooling, a mask or a sparse selection
                for ky in range(ky0, ky1):
                    start = ((iy + ky - ky0) * g.in_w + ix) * g.in_c
                    out = dx[start : start + length]
                    k = (ky * g.kernel_w + kx0) * g.in_c
                    row = weights_c[co, k : k + length]
                    for j in range(length):
                        out[j] += e * row[j]


@njit
def requantize_error(sums, requantizer, x, zero_x, masked, dx):
    """dx = clamp(requantize(sum), -127, 127), 0 where x <= z_x behind a ReLU. Returns the largest |sum| of the unmasked.

    sums: int32[n]; x: uint8[n], the input; dx: int8[n].
    """
    mantissa, pre, post = requantizer
    lowest = np.int32(zero_x) if masked else np.int32(-1)
    largest = np.int32(0)
    for i in range(sums.size):
        value = sums[i] if x[i] > lowest else np.int32(0)
        largest = max(largest, np.int32(abs(value)))
        sums[i] = value
    for i in range(sums.size):
        value = requantize(sums[i], mantissa, pre, post)
        dx[i] = np.int8(min(max(value, np.int32(-ERROR_MAX)), np.int32(ERROR_MAX)))
    return largest


@njit
def conv2d_backward_input_u8(g, requantizer, zero_x, masked, error, weights_c, x, dx, sums):
    """Eq. 4. error: int32[positions, out]; weights_c: int32[out, fan_in]; x: uint8[h * w * c]; dx: int8[h * w * c]; sums: int32, scratch.

    Returns the largest |sum|, from which the error scale is found (SPEC.md 8).
    """
    sums[:] = 0
    scatter_error(g, error, weights_c, sums)
    return requantize_error(sums, requantizer, x, zero_x, masked, dx)


@njit
def mask_error_f32(x, masked, dx):
    """dx = +0 where not x > 0 behind a ReLU, in place."""
    if masked:
        for i in range(x.size):
            dx[i] = dx[i] if x[i] > np.float32(0) else np.float32(0)


@njit
def conv2d_backward_input_f32(g, masked, error, weights_c, x, dx):
    """Eq. 1 in float32. error: float32[positions, out]; weights_c: float32[out, fan_in]; x, dx: float32[h * w * c]."""
    dx[:] = 0
    scatter_error(g, error, weights_c, dx)
    mask_error_f32(x, masked, dx)


@njit
def conv2d_backward_weight_u8(fraction_bits, columns, error, gradient, bias_gradient, row):
    """Eq. 2, summed over the minibatch: G += 2^k e (x - z_x), G_b += e; the k low bits hold the weights' residuals (SPEC.md 6.1).

    columns: int32[fan_in, positions]; error: int32[positions, out]; gradient: int32[out, fan_in]; bias_gradient: int32[out];
    row: int32[positions], scratch.
    """
    for co in range(bias_gradient.size):
        total = np.int32(0)
        for p in range(row.size):
            total += error[p, co]
            row[p] = error[p, co] << fraction_bits
        bias_gradient[co] += total
        out = gradient[co]
        for k in range(out.size):
            values = columns[k]
            dot = np.int32(0)
            for p in range(row.size):
                dot += np.int32(row[p] * values[p])
            out[k] += dot


@njit
def conv2d_backward_weight_f32(columns, error, gradient, bias_gradient, patch):
    """Eq. 2 in float32: positions in raster order. gradient: float32[out, fan_in]; patch: float32[fan_in], scratch."""
    for p in range(error.shape[0]):
        for k in range(patch.size):
            patch[k] = columns[k, p]
        for co in range(bias_gradient.size):
            e = error[p, co]
            if e != 0:  # most errors are 0 behind max pooling, a mask or a sparse selection; G is never -0
                bias_gradient[co] += e
                out = gradient[co]
                for k in range(out.size):
                    out[k] += e * patch[k]
