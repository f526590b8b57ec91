# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer on a State."""

import numpy as np

from fqt_ref.jit import uncounted
from fqt_ref.kernels.linear import (
    linear_backward_input_f32,
    linear_backward_input_u8,
    linear_backward_weight_f32,
    linear_backward_weight_u8,
    linear_forward_f32,
    linear_forward_u8,
)
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


@uncounted
def forward(state, i):
    """Layer i from its input to its output (Eq. 3)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        x, y, zero_x = feature_u8(state, layer.input), feature_u8(state, layer.output), state.tensors[layer.input].zero
        centred = vector(state.i32, slot.columns, slot.fan_in)
        for k in range(centred.size):
            centred[k] = np.int32(x[k]) - zero_x
        weights_t, bias_acc = matrix(state.i32, slot.weights_t, slot.fan_in, slot.out), vector(state.i32, slot.bias_acc, slot.out)
        requantizers, (lower, upper), zero_y = (
            requantizers_of(state, slot, slot.grids),
            limits(state, layer),
            state.tensors[layer.output].zero,
        )
        acc, extremes = state.sums_i32[: y.size], extremes_of(state, slot)
        linear_forward_u8(requantizers, zero_y, lower, upper, centred, weights_t, bias_acc, y, acc, extremes)
    else:
        weights_f32, bias = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out), vector(state.f32, slot.bias, slot.out)
        linear_forward_f32(act_of(layer.flagset), feature_f32(state, layer.input), weights_f32, bias, feature_f32(state, layer.output))


@uncounted
def backward_weight(state, i):
    """Eq. 2, added to the minibatch's gradient. Uses the centred input that forward() left."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        error, centred = wide_error(state, layer), vector(state.i32, slot.columns, slot.fan_in)
        gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
        linear_backward_weight_u8(slot.fraction_bits, error, centred, gradient, vector(state.i32, slot.bias_gradient, slot.out))
    else:
        x, error_1d, gradient_f32 = (
            feature_f32(state, layer.input),
            error_f32(state, layer.output),
            matrix(state.f32, slot.gradient, slot.out, slot.fan_in),
        )
        linear_backward_weight_f32(error_1d, x, gradient_f32, vector(state.f32, slot.bias_gradient, slot.out))


@uncounted
def backward_input(state, i):
    """Eq. 1, 4: the error at the input of layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    t = np.int64(layer.input)
    adds, count = accumulates(state, i, t), state.tensor_slots[t].count
    if is_quantized(state, layer):
        error, weights_c = weighted_error(state, layer, slot).reshape(slot.out), matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
        x, dx, requantizer, sums = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, 0), state.sums_i32[:count]
        track_error(state, i, 0, linear_backward_input_u8(requantizer, passing(state, t), adds, error, weights_c, x, dx, sums))
    else:
        weights_f32, sums_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in), state.sums_f32[:count]
        act, error_1d, x_f32, dx_f32 = (
            act_of(state.tensors[t].flagset),
            error_f32(state, layer.output),
            feature_f32(state, t),
            error_f32(state, t),
        )
        linear_backward_input_f32(act, adds, error_1d, weights_f32, x_f32, dx_f32, sums_f32)
