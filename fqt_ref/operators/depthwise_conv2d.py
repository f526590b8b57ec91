# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on a State."""

import numpy as np

from fqt_ref.jit import inlined, uncounted
from fqt_ref.kernels.depthwise_conv2d import (
    centre_pixels,
    depthwise_conv2d_backward_input_f32,
    depthwise_conv2d_backward_input_u8,
    depthwise_conv2d_backward_weight_f32,
    depthwise_conv2d_backward_weight_u8,
    depthwise_conv2d_forward_f32,
    depthwise_conv2d_forward_u8,
)
from fqt_ref.operators.conv2d import taps_of
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
def pixels_of(arena, slot, count):
    """The centred input with its padding. [pixels + 1, out]."""
    return matrix(arena, slot.columns, count // slot.out + 1, slot.out)


@uncounted
def forward_u8(state, layer, slot):
    """Eq. 3 on uint8."""
    x, y = feature_u8(state, layer.input), feature_u8(state, layer.output)
    padded = pixels_of(state.i32, slot, x.size)
    centre_pixels(x, state.tensors[layer.input].zero, padded)
    weights_t, bias_acc = matrix(state.i32, slot.weights_t, slot.fan_in, slot.out), vector(state.i32, slot.bias_acc, slot.out)
    requantizers, (lower, upper), zero_y = requantizers_of(state, slot, slot.grids), limits(state, layer), state.tensors[layer.output].zero
    acc, extremes, taps = state.sums_i32[: y.size], extremes_of(state, slot), taps_of(state, slot)
    depthwise_conv2d_forward_u8(requantizers, zero_y, lower, upper, taps, padded, weights_t, bias_acc, y, acc, extremes)


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        forward_u8(state, layer, slot)
    else:
        x = feature_f32(state, layer.input)
        padded = pixels_of(state.f32, slot, x.size)
        centre_pixels(x, np.float32(0), padded)
        weights_t, bias = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out), vector(state.f32, slot.bias, slot.out)
        y = feature_f32(state, layer.output)
        depthwise_conv2d_forward_f32(act_of(layer.flagset), taps_of(state, slot), padded, weights_t, bias, y)


@uncounted
def backward_weight(state, i):
    """Eq. 2, added to the minibatch's gradient. Uses the pixels that forward() left."""
    layer, slot = state.layers[i], state.layer_slots[i]
    count, taps = state.tensor_slots[layer.input].count, taps_of(state, slot)
    if is_quantized(state, layer):
        error = wide_error(state, layer).reshape((slot.positions, slot.out))
        gradient, bias_gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in), vector(state.i32, slot.bias_gradient, slot.out)
        padded = pixels_of(state.i32, slot, count)
        depthwise_conv2d_backward_weight_u8(slot.fraction_bits, taps, padded, error, gradient, bias_gradient)
    else:
        error_2d, padded_f32 = error_f32(state, layer.output).reshape((slot.positions, slot.out)), pixels_of(state.f32, slot, count)
        gradient_f32 = matrix(state.f32, slot.gradient, slot.out, slot.fan_in)
        depthwise_conv2d_backward_weight_f32(taps, padded_f32, error_2d, gradient_f32, vector(state.f32, slot.bias_gradient, slot.out))


@uncounted
def backward_input(state, i):
    """Eq. 1, 4: the error at the input of layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    t, taps = np.int64(layer.input), taps_of(state, slot)
    adds, scratch = accumulates(state, i, t), state.tensor_slots[t].count + slot.out
    if is_quantized(state, layer):
        error, weights_t = weighted_error(state, layer, slot), matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)
        x, dx, requantizer, sums = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, 0), state.sums_i32[:scratch]
        between = passing(state, t)
        track_error(state, i, 0, depthwise_conv2d_backward_input_u8(requantizer, between, adds, taps, error, weights_t, x, dx, sums))
    else:
        weights_f32, sums_f32 = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out), state.sums_f32[:scratch]
        error_2d, act = error_f32(state, layer.output).reshape((slot.positions, slot.out)), act_of(state.tensors[t].flagset)
        x_f32, dx_f32 = feature_f32(state, t), error_f32(state, t)
        depthwise_conv2d_backward_input_f32(act, adds, taps, error_2d, weights_f32, x_f32, dx_f32, sums_f32)
