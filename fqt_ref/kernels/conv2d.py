# SPDX-License-Identifier: Apache-2.0
"""2-D convolution with folded batch norm and ReLU (SPEC.md 4.1-4.4; Eq. 1-4)."""

import numpy as np

from fqt_ref.jit import njit
from fqt_ref.kernels.activation import activate_f32, requantize_rows, send_error_f32, send_error_u8, widen_extremes
from fqt_ref.sparse_update import channel_norms

LARGEST_INPUT = 255  # |x - z_x|
LARGEST_WEIGHT = 255  # |w - z_w|
EXACT_IN_FLOAT32 = 1 << 24


@njit
def taps(position, stride, pad, kernel, dilation, size):
    """The taps k of one axis that lie inside the input: (first, one past the last, input index of the first)."""
    origin = position * stride - pad
    if dilation == 1:  # two divisions less
        return max(0, -origin), min(kernel, max(0, size - origin)), max(0, origin)
    first = (max(0, -origin) + dilation - 1) // dilation
    last = (max(0, size - origin) + dilation - 1) // dilation
    return first, min(kernel, last), origin + first * dilation


@njit
def fill_taps(g, channels, table):
    """table[k, position] = index in an input of `channels` under tap k = (ky, kx, ci); its size in the padding. uint32[taps, positions]."""
    k = 0
    for ky in range(g.kernel_h):
        for kx in range(g.kernel_w):
            for ci in range(channels):
                for position in range(table.shape[1]):
                    iy = position // g.out_w * g.stride_h + ky * g.dilation_h - g.pad_top
                    ix = position % g.out_w * g.stride_w + kx * g.dilation_w - g.pad_left
                    inside = 0 <= iy < g.in_h and 0 <= ix < g.in_w
                    table[k, position] = (iy * g.in_w + ix) * channels + ci if inside else g.in_h * g.in_w * channels
                k += 1


@njit
def centre(x, zero, padded):
    """padded = x - zero as float32, and one 0 behind, which is the padding. x: uint8 or float32[n]; padded: float32[n + 1]."""
    for i in range(x.size):
        padded[i] = x[i] - zero
    padded[x.size] = 0


@njit
def im2col(table, padded, columns):
    """columns[k, position] = the input under tap k. table: see fill_taps; padded: see centre; columns: float32[fan_in, positions]."""
    taps, values = table.reshape(table.size), columns.reshape(columns.size)
    for j in range(taps.size):
        values[j] = padded[taps[j]]


@njit
def integer_dot(a, b, bound, out):
    """out = a b, exact, for matrices of integers that are kept in float32. bound >= any sum of |a| |b|; out: int32.

    Below 2^24 every partial sum is a float32, whatever their order; float64 holds all others.
    """
    flat = out.reshape(out.size)
    if bound < EXACT_IN_FLOAT32:
        product = np.dot(a, b).reshape(out.size)
        for i in range(flat.size):
            flat[i] = np.int32(product[i])
    else:
        product_f64 = np.dot(a.astype(np.float64), b.astype(np.float64)).reshape(out.size)
        for i in range(flat.size):
            flat[i] = np.int32(product_f64[i])


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
def largest_norm(rows):
    """Largest l1 norm of a row. rows: int32[n, m]."""
    largest = 0
    for row in range(rows.shape[0]):
        norm = np.int32(0)
        for value in rows[row]:
            norm += np.int32(abs(value))
        largest = max(largest, np.int64(norm))
    return largest


@njit
def conv2d_forward_u8(requantizers, zero_y, lower, upper, columns, weights_c, weights_t, bias_acc, y, acc, extremes):
    """Eq. 3, quantized: y = clamp(requantize(bias_acc + sum (x - z_x)(w - z_w)) + z_y, lower, upper).

    requantizers: int64[n, 3], one a weight grid; columns: float32[fan_in, positions], see im2col; weights_c: int32[out, fan_in];
    weights_t: float32[fan_in, out]; bias_acc: int32[out]; y: uint8[positions * out]; acc: int32[positions * out], scratch;
    extremes: int32[n, 2], least and greatest accumulator of each grid, widened.
    """
    sums = acc.reshape((columns.shape[1], bias_acc.size))
    integer_dot(columns.T, weights_t, LARGEST_INPUT * largest_norm(weights_c), sums)
    for position in range(sums.shape[0]):
        row = sums[position]
        for co in range(row.size):
            row[co] += bias_acc[co]
    widen_extremes(sums, extremes)
    requantize_rows(sums, requantizers, zero_y, lower, upper, y)


@njit
def conv2d_forward_f32(act, columns, weights_c, bias, y, acc):
    """Eq. 3 in float32: sums start at the bias and run over ky, kx, ci (SPEC.md 4.2).

    columns: float32[fan_in, positions]; weights_c: float32[out, fan_in]; y: float32[positions, out]; acc: float32[positions], scratch.
    """
    for co in range(bias.size):
        acc[:] = bias[co]
        add_products(columns, weights_c[co], acc)
        activate_f32(act, acc)
        for p in range(acc.size):
            y[p, co] = acc[p]


@njit
def add_window(g, rows, columns, factor, window, dx):
    """dx += factor * window where a position's window lies. rows, columns: see taps; window: [fan_in]; dx: [h * w * c]."""
    (ky0, ky1, iy), (kx0, kx1, ix) = rows, columns
    runs = 1 if g.dilation_w == 1 else kx1 - kx0  # of taps whose inputs are neighbours
    length = g.in_c * (kx1 - kx0 if g.dilation_w == 1 else 1)
    for ky in range(ky0, ky1):
        row_start = (iy + (ky - ky0) * g.dilation_h) * g.in_w + ix
        for run in range(runs):
            start, k = (row_start + run * g.dilation_w) * g.in_c, (ky * g.kernel_w + kx0 + run) * g.in_c
            out, values = dx[start : start + length], window[k : k + length]
            for j in range(length):
                out[j] += factor * values[j]


@njit
def scatter_error(g, error, weights_c, dx):
    """dx += sum e * w: raster order of the outputs, then co. error: [positions, out]; weights_c: [out, fan_in]; dx: [h * w * c]."""
    for oy in range(g.out_h):
        rows = taps(oy, g.stride_h, g.pad_top, g.kernel_h, g.dilation_h, g.in_h)
        for ox in range(g.out_w):
            columns = taps(ox, g.stride_w, g.pad_left, g.kernel_w, g.dilation_w, g.in_w)
            for co in range(g.out_c):
                e = error[oy * g.out_w + ox, co]
                if e != 0:  # most errors are 0 behind max pooling, a mask or a sparse selection
                    add_window(g, rows, columns, e, weights_c[co], dx)


@njit
def scatter_windows(g, windows, dx):
    """dx += the windows of all positions, which is col2im. windows: int32[positions, fan_in]; dx: int32[h * w * c]."""
    for oy in range(g.out_h):
        rows = taps(oy, g.stride_h, g.pad_top, g.kernel_h, g.dilation_h, g.in_h)
        for ox in range(g.out_w):
            columns = taps(ox, g.stride_w, g.pad_left, g.kernel_w, g.dilation_w, g.in_w)
            add_window(g, rows, columns, np.int32(1), windows[oy * g.out_w + ox], dx)


@njit
def conv2d_backward_input_u8(g, requantizer, passing, accumulate, error, weights_c, weights_t, x, dx, sums):
    """Eq. 4. error: int32[positions, out], times K; weights_c: int32[out, fan_in]; weights_t: float32[fan_in, out]; sums: int32[h * w * c];
    x, dx, result: see send_error_u8. One matrix product, unless less than one error a position is not 0."""
    sums[:] = 0
    if np.count_nonzero(error) < error.shape[0]:
        scatter_error(g, error, weights_c, sums)
    else:
        windows = np.empty((error.shape[0], weights_t.shape[0]), np.int32)
        integer_dot(error.astype(np.float32), weights_t.T, LARGEST_WEIGHT * largest_norm(error), windows)
        scatter_windows(g, windows, sums)
    return send_error_u8(requantizer, passing, accumulate, sums, x, dx)


@njit
def conv2d_backward_input_f32(g, act, accumulate, error, weights_c, x, dx, sums):
    """Eq. 1 in float32. error: float32[positions, out]; weights_c: float32[out, fan_in]; x, dx: float32[h * w * c]; sums: scratch."""
    sums[:] = 0
    scatter_error(g, error, weights_c, sums)
    send_error_f32(act, accumulate, sums, x, dx)


@njit
def conv2d_backward_weight_u8(fraction_bits, columns, error, gradient, bias_gradient):
    """Eq. 2, summed over the minibatch: G += 2^k e (x - z_x), G_b += e; the k low bits hold the weights' residuals (SPEC.md 6.1).

    columns: float32[fan_in, positions]; error: int32[positions, out]; gradient: int32[out, fan_in]; bias_gradient: int32[out].
    """
    norms, sums = np.zeros(bias_gradient.size, np.int32), np.zeros(gradient.shape, np.int32)
    channel_norms(error, norms)
    integer_dot(error.astype(np.float32).T, columns.T, LARGEST_INPUT * np.int64(norms.max()), sums)
    for position in range(error.shape[0]):
        row = error[position]
        for co in range(row.size):
            bias_gradient[co] += row[co]
    for co in range(gradient.shape[0]):
        out, added = gradient[co], sums[co]
        for k in range(out.size):
            out[k] += added[k] << fraction_bits


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
