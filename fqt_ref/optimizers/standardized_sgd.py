# SPDX-License-Identifier: Apache-2.0
"""SGD with gradients standardized per output channel and an adaptive weight grid (SPEC.md 6; Eq. 5-8)."""

from math import sqrt

import numpy as np

from fqt_ref.arithmetic import ACC_LIMIT, BIAS_ONE, NEAREST, WIDE_LIMIT, bit_length, clamp, fround, isqrt, random_word, rescale
from fqt_ref.jit import njit
from fqt_ref.optimizers.names import HYSTERESIS, MOVING_AVERAGE

SMALLEST_SCALE = np.float32(2.0**-40)
WEIGHT_UNIT = np.float32(65536)
LARGEST_PRODUCT = 127 * 255  # of an error and a centred input
MAX_FRACTION_BITS = 8


@njit
def fraction_bits_of(positions, batch_size):
    """How many low bits of a gradient the minibatch's sum leaves free, at most 8: they hold the weights' residuals (SPEC.md 6.1)."""
    bound = LARGEST_PRODUCT * positions * batch_size + 1
    bits = 0
    while bits < MAX_FRACTION_BITS and bound << (bits + 1) <= 2147483647:
        bits += 1
    return bits


@njit
def half_of(bits):
    """What rounds a right shift by `bits` half up."""
    return (1 << bits) >> 1


@njit
def split_gradient(gradient, bits, sums, residual):
    """Take 2^bits sum + residual apart. gradient: int32[n]; sums, residual: int64[n], residual in -half..half - 1."""
    for i in range(gradient.size):
        sums[i] = (np.int64(gradient[i]) + half_of(bits)) >> bits
        residual[i] = gradient[i] - (sums[i] << bits)


@njit
def standardize(sums):
    """Replace G by n g - S1 in place; returns r with (n g - S1) / r = (G - mean) / deviation, 0 if all are equal. All exact.

    sums: int64[n], one channel's.
    """
    n = sums.size
    largest = 0
    for i in range(n):
        largest = max(largest, abs(sums[i]))
    shift = max(0, bit_length(largest) - (29 - bit_length(n - 1)))
    s1 = 0
    s2 = 0
    for i in range(n):
        sums[i] = (sums[i] + half_of(shift)) >> shift
        s1 += sums[i]
        s2 += sums[i] * sums[i]
    for i in range(n):
        sums[i] = n * sums[i] - s1
    return isqrt(n * s2 - s1 * s1)


@njit
def move_weights(weight, zero, scale, rate, gradient, bits, moved, residual):
    """Eq. 8 for one channel, in units of scale / 65536: moved = (w - z + residual) 2^16 - rate (G - mean) / deviation.

    weight: uint8[n]; gradient: int32[n]; moved: int64[n]; residual: int64[n], scratch.
    """
    split_gradient(gradient, bits, moved, residual)
    r = standardize(moved)
    m = ((rate / scale) * WEIGHT_UNIT) / np.float32(max(r, 1))
    for i in range(weight.size):
        step = 0 if r == 0 else clamp(rescale(moved[i], m, NEAREST), -ACC_LIMIT, ACC_LIMIT)
        moved[i] = ((np.int64(weight[i]) - zero) << 16) + (residual[i] << (16 - bits)) - step


@njit
def adapt_grid(scale, zero, lowest, highest):
    """New scale and zero point (Eq. 6, 7) for weights in lowest..highest units of scale / 65536; the old ones while they still fit."""
    unit = scale / WEIGHT_UNIT
    lo = np.float32(lowest) * unit
    hi = np.float32(highest) * unit
    lo_old = np.float32(-zero) * scale
    hi_old = np.float32(255 - zero) * scale
    slack = scale * np.float32(0.5)
    if lo >= lo_old - slack and hi <= hi_old + slack and hi - lo >= np.float32(0.875) * (hi_old - lo_old):
        return scale, zero
    return grid_of_range(lo, hi, scale, zero)


@njit
def new_grid(how, range_rate, scale, zero, lowest, highest, ranges, g):
    """adapt_grid(), or what the paper and its successor do instead (SPEC.md 16.1): new scale and zero point of grid g.

    how: HYSTERESIS, MOVING_AVERAGE or LITERAL; range_rate: of the moving average; ranges: float32[n, 2], its (lo, hi), in place.
    """
    if how == HYSTERESIS:
        return adapt_grid(scale, zero, lowest, highest)
    unit = scale / WEIGHT_UNIT
    lo = np.float32(lowest) * unit
    hi = np.float32(highest) * unit
    if how == MOVING_AVERAGE:
        lo = ranges[g, 0] + range_rate * (lo - ranges[g, 0])
        hi = ranges[g, 1] + range_rate * (hi - ranges[g, 1])
        ranges[g, 0], ranges[g, 1] = lo, hi
    return grid_of_range(lo, hi, scale, zero)


@njit
def grid_of_range(lo, hi, scale, zero):
    """Scale (hi - lo) / 255 and zero point -lo / scale; (scale, zero) if the range is empty."""
    new_scale = (hi - lo) / np.float32(255)
    if new_scale >= SMALLEST_SCALE:
        return new_scale, clamp(fround((np.float32(0) - lo) / new_scale), 0, 255)
    return scale, zero


@njit
def round_weights(m, zero, key, first, bits, moved, weights, gradient):
    """Stochastic rounding to 2^-bits of a step; the byte takes the nearest whole step, the gradient starts with the rest.

    m: old scale / new scale / 65536; first: index of moved[0] in the layer; moved: int64[n]; weights: uint8[n]; gradient: int32[n].
    """
    fine = m * np.float32(1 << bits)
    for i in range(moved.size):
        value = rescale(moved[i], fine, random_word(key, first + i))
        whole = (value + half_of(bits)) >> bits
        weights[i] = clamp(whole + zero, 0, 255)
        gradient[i] = value - (whole << bits) if weights[i] == whole + zero else 0


@njit
def update_weights_u8(scales, zeros, how, range_rate, ranges, rate, batch, key, bits, weights, gradient, chosen, moved):
    """The update of one quantized layer, its grids (scales: float32[n], zeros: int32[n], n = 1 or out) in place.

    how, range_rate, ranges: see new_grid();
    weights: uint8[out, fan_in], in place; gradient: int32[out, fan_in]: in: 2^bits G + residual, out: the new residuals;
    chosen: int32[out], samples that kept the channel; moved: int64[out, fan_in], scratch; key: random key of this update and layer.
    """
    residual = np.empty(weights.shape[1], np.int64)
    rows = weights.shape[0] // scales.size  # output channels of a grid
    for g in range(scales.size):
        first, last = g * rows, (g + 1) * rows
        lowest = 0
        highest = 0
        for co in range(first, last):
            channel_rate = rate * (np.float32(chosen[co]) / np.float32(batch))
            row = moved[co]
            move_weights(weights[co], zeros[g], scales[g], channel_rate, gradient[co], bits, row, residual)
            for i in range(row.size):
                lowest = min(lowest, row[i])
                highest = max(highest, row[i])
        new_scale, new_zero = new_grid(how, range_rate, scales[g], np.int64(zeros[g]), lowest, highest, ranges, g)
        m = (scales[g] / new_scale) / WEIGHT_UNIT
        scales[g], zeros[g] = new_scale, new_zero
        for co in range(first, last):
            round_weights(m, new_zero, key, co * weights.shape[1], bits, moved[co], weights[co], gradient[co])


@njit
def update_bias_u8(error_scale, rate, batch, bias, gradient):
    """Eq. 5 for the bias (Q20): one element a channel, so nothing to standardize. bias, gradient: int32[out]."""
    m = ((rate * error_scale) / np.float32(batch)) * BIAS_ONE
    for co in range(bias.size):
        bias[co] = clamp(bias[co] - rescale(gradient[co], m, NEAREST), 1 - WIDE_LIMIT, WIDE_LIMIT - 1)


@njit
def update_f32(rate, batch, weights, bias, gradient, bias_gradient, chosen):
    """The same rule in float32 (SPEC.md 6.3). weights: float32[out, n]; gradient: float32[out, n]; bias: float32[out]."""
    n = weights.shape[1]
    for co in range(weights.shape[0]):
        total = np.float32(0)
        for i in range(n):
            total += gradient[co, i]
        mean = total / np.float32(n)
        squares = np.float32(0)
        for i in range(n):
            d = gradient[co, i] - mean
            squares += d * d
        sigma = np.float32(sqrt(squares / np.float32(n)))
        if sigma > np.float32(0):
            channel_rate = rate * (np.float32(chosen[co]) / np.float32(batch))
            for i in range(n):
                weights[co, i] -= channel_rate * ((gradient[co, i] - mean) / sigma)
        bias[co] -= rate * (bias_gradient[co] / np.float32(batch))
