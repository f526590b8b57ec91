# SPDX-License-Identifier: Apache-2.0
"""The float32 network on calibration samples, layer by layer: random weights, batch norm, ranges. float32 steps in a written order.

Few functions that do much: each one that Python calls costs a start of the program 30 ms.
"""

from math import sqrt

import numpy as np

from fqt_ref.arithmetic import ACC_LIMIT, STREAM_INITIAL_WEIGHTS, clamp, fround, random_key, random_word
from fqt_ref.batch_norm import channel_statistics, fold_batch_norm
from fqt_ref.jit import njit
from fqt_ref.kernels.activation import activate_f32
from fqt_ref.kernels.add import add_forward_f32
from fqt_ref.kernels.avg_pool2d import avg_pool2d_forward_f32
from fqt_ref.kernels.conv2d import centre, conv2d_forward_f32, fill_taps, im2col
from fqt_ref.kernels.depthwise_conv2d import centre_pixels, depthwise_conv2d_forward_f32
from fqt_ref.kernels.hard_swish import hard_swish_forward_f32
from fqt_ref.kernels.linear import linear_forward_f32
from fqt_ref.kernels.max_pool2d import max_pool2d_forward
from fqt_ref.network import ADD, AVG_POOL2D, CONV2D, DEPTHWISE_CONV2D, HARD_SWISH, LINEAR, MAX_POOL2D
from fqt_ref.quantize import grid, quantize_bias, quantize_u8

LARGEST_BIAS_STEPS = np.float32(ACC_LIMIT >> 1)  # half of what SPEC.md 4.1 holds: scales move


@njit
def random_weights(seed, layer, weights):
    """He initialization: uniform in +-sqrt(6 / fan_in) from 24-bit random numbers (SPEC.md 3). weights: float32[out, fan_in]."""
    key = random_key(seed, 0, STREAM_INITIAL_WEIGHTS + layer)
    bound = np.float32(sqrt(np.float32(6) / np.float32(weights.shape[1])))
    flat = weights.reshape(weights.size)
    for i in range(flat.size):
        unit = np.float32(random_word(key, i) >> 8) * np.float32(2.0**-23) - np.float32(1)
        flat[i] = unit * bound


@njit
def run_conv2d(g, x, weights, bias, y):
    """A convolution over many samples. x: float32[n, h * w * c]; weights: float32[out, fan_in]; y: float32[n, positions * out]."""
    table = np.zeros((weights.shape[1], g.out_h * g.out_w), np.uint32)
    fill_taps(g, g.in_c, table)
    columns, padded = np.zeros(table.shape, np.float32), np.zeros(x.shape[1] + 1, np.float32)
    acc = np.zeros(table.shape[1], np.float32)
    for j in range(x.shape[0]):
        centre(x[j], np.float32(0), padded)
        im2col(table, padded, columns)
        conv2d_forward_f32(0, columns, weights, bias, y[j].reshape((table.shape[1], bias.size)), acc)


@njit
def run_depthwise_conv2d(g, x, weights, bias, y):
    """The same for a depthwise convolution. weights: float32[c, taps]."""
    table = np.zeros((weights.shape[1], g.out_h * g.out_w), np.uint32)
    fill_taps(g, 1, table)
    padded, weights_t = np.zeros((g.in_h * g.in_w + 1, g.in_c), np.float32), weights.T.copy()
    for j in range(x.shape[0]):
        centre_pixels(x[j], np.float32(0), padded)
        depthwise_conv2d_forward_f32(False, table, padded, weights_t, bias, y[j])


@njit
def run_layer(op, g, x, x2, weights, bias, y):
    """A layer's outputs before its activation, of many samples. x: float32[n, in]; x2: the second input of an add; y: float32[n, outputs].

    weights: float32[out, fan_in] and bias: float32[out], empty without weights.
    """
    if op == CONV2D:
        run_conv2d(g, x, weights, bias, y)
    elif op == DEPTHWISE_CONV2D:
        run_depthwise_conv2d(g, x, weights, bias, y)
    elif op == LINEAR:
        weights_t = weights.T.copy()
        for j in range(x.shape[0]):
            linear_forward_f32(0, x[j], weights_t, bias, y[j])
    else:
        for j in range(x.shape[0]):
            if op == MAX_POOL2D:
                max_pool2d_forward(g, x[j].reshape((g.in_h, g.in_w, g.in_c)), y[j].reshape((g.out_h, g.out_w, g.out_c)))
            elif op == AVG_POOL2D:
                avg_pool2d_forward_f32(g, x[j].reshape((g.in_h, g.in_w, g.in_c)), y[j])
            elif op == ADD:
                add_forward_f32(0, x[j], x2[j], y[j])
            elif op == HARD_SWISH:
                hard_swish_forward_f32(x[j], y[j])


@njit
def fresh_layer(op, g, seed, layer, fresh, batch_norm, act, x, x2, weights, bias, y):
    """A layer's outputs y; with `fresh` after drawing its weights, and folding batch norm with the samples' statistics. See run_layer."""
    if fresh:
        random_weights(seed, layer, weights)
    run_layer(op, g, x, x2, weights, bias, y)
    if fresh and batch_norm:
        mean, variance = np.zeros(bias.size, np.float32), np.zeros(bias.size, np.float32)
        channel_statistics(y.reshape((y.size // bias.size, bias.size)), mean, variance)
        fold_batch_norm(weights, bias, np.ones(bias.size, np.float32), np.zeros(bias.size, np.float32), mean, variance)
        run_layer(op, g, x, x2, weights, bias, y)
    activate_f32(act, y.reshape(y.size))


@njit
def quantize_layer(weights, bias, scale_x, scales, zeros, given, weights_u8, bias_q20):
    """Quantized parameters. weights: float32[out, fan_in]; scales: float32[n], zeros: int32[n], n = 1 or out: grids, found unless given.

    scale_x: of the input. A grid is found wide enough for its biases, too, which count in steps of s_x s_w (SPEC.md 4.1).
    """
    rows = weights.shape[0] // scales.size
    for g in range(scales.size):
        part = weights[g * rows : (g + 1) * rows]
        if not given:
            scales[g], zeros[g] = grid(part.min(), part.max())
            floor = np.abs(bias[g * rows : (g + 1) * rows]).max() / (scale_x * LARGEST_BIAS_STEPS)
            if scales[g] < floor:
                scales[g], zeros[g] = floor, clamp(fround((np.float32(0) - min(part.min(), np.float32(0))) / floor), 0, 255)
        size = part.size
        quantize_u8(part.reshape(size), scales[g], zeros[g], weights_u8[g * size : (g + 1) * size])
    quantize_bias(bias, bias_q20)


@njit
def output_grid(lo, hi):
    """(lo, hi, scale, zero point) of a feature map's range, float32, widened to hold 0."""
    lo, hi = min(lo, np.float32(0)), max(hi, np.float32(0))
    scale, zero = grid(lo, hi)
    return lo, hi, scale, zero
