# SPDX-License-Identifier: Apache-2.0
"""Convolution on a State."""

import numpy as np

from fqt_ref.jit import inlined, uncounted
from fqt_ref.kernels.conv2d import (
    centre,
    conv2d_backward_input_f32,
    conv2d_backward_input_u8,
    conv2d_backward_weight_f32,
    conv2d_backward_weight_u8,
    conv2d_forward_f32,
    conv2d_forward_u8,
    im2col,
)
from fqt_ref.network import geometry
from fqt_ref.operators.views import (
    accumulates,
    act_of,
    error_f32,
    error_i8,
    error_requantizer,
    extremes_of,
    feature_f32,
    feature_u8,
    is_quantized,
    limits,
    matrix,
    passing,
    requantizers_of,
    track_error,
    vector,
    weighted_error,
    wide_error,
)


@inlined
def taps_of(state, slot):
    """Where the columns of a convolution come from. uint32[fan_in, positions]."""
    return matrix(state.taps, slot.taps, slot.fan_in, slot.positions)


@inlined
def columns_of(state, slot, x, zero):
    """im2col of a convolution's input. x: uint8 or float32[n]. Returns float32[fan_in, positions]."""
    padded = state.sums_f32[: x.size + 1]
    centre(x, zero, padded)
    columns = matrix(state.f32, slot.columns, slot.fan_in, slot.positions)
    im2col(taps_of(state, slot), padded, columns)
    return columns


@uncounted
def forward_u8(state, layer, slot):
    """Eq. 3 on uint8."""
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    columns = columns_of(state, slot, feature_u8(state, layer.input), x.zero)
    weights_c = matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
    weights_t = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)
    out, bias_acc = feature_u8(state, layer.output), vector(state.i32, slot.bias_acc, slot.out)
    requantizers, (lower, upper) = requantizers_of(state, slot, slot.grids), limits(state, layer)
    acc, extremes = state.sums_i32[: out.size], extremes_of(state, slot)
    conv2d_forward_u8(requantizers, y.zero, lower, upper, columns, weights_c, weights_t, bias_acc, out, acc, extremes)


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        forward_u8(state, layer, slot)
    else:
        columns = columns_of(state, slot, feature_f32(state, layer.input), np.float32(0))
        weights, bias = matrix(state.f32, slot.weights, slot.out, slot.fan_in), vector(state.f32, slot.bias, slot.out)
        y = feature_f32(state, layer.output).reshape((slot.positions, slot.out))
        conv2d_forward_f32(act_of(layer.flagset), columns, weights, bias, y, state.sums_f32[: slot.positions])


@uncounted
def backward_weight(state, i):
    """Eq. 2, added to the minibatch's gradient. Uses the columns that forward() left."""
    layer, slot = state.layers[i], state.layer_slots[i]
    columns = matrix(state.f32, slot.columns, slot.fan_in, slot.positions)
    if is_quantized(state, layer):
        error = wide_error(state, layer).reshape((slot.positions, slot.out))
        gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
        conv2d_backward_weight_u8(slot.fraction_bits, columns, error, gradient, vector(state.i32, slot.bias_gradient, slot.out))
    else:
        error_2d = error_f32(state, layer.output).reshape((slot.positions, slot.out))
        gradient_f32, sums = matrix(state.f32, slot.gradient, slot.out, slot.fan_in), state.sums_f32[: slot.fan_in]
        conv2d_backward_weight_f32(columns, error_2d, gradient_f32, vector(state.f32, slot.bias_gradient, slot.out), sums)


@uncounted
def backward_input(state, i):
    """Eq. 1, 4: the error at the input of layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    t, g = np.int64(layer.input), geometry(layer, state.tensors[layer.input], state.tensors[layer.output])
    adds, count = accumulates(state, i, t), state.tensor_slots[t].count
    if is_quantized(state, layer):
        weights_c = matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
        weights_t = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)
        error, sums, between = weighted_error(state, layer, slot), state.sums_i32[:count], passing(state, t)
        x, dx, requantizer = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, 0)
        largest = conv2d_backward_input_u8(g, requantizer, between, adds, error, weights_c, weights_t, x, dx, sums)
        track_error(state, i, 0, largest)
    else:
        weights, sums_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in), state.sums_f32[:count]
        error_2d, act = error_f32(state, layer.output).reshape((slot.positions, slot.out)), act_of(state.tensors[t].flagset)
        conv2d_backward_input_f32(g, act, adds, error_2d, weights, feature_f32(state, t), error_f32(state, t), sums_f32)
