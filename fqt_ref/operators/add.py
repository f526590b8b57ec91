# SPDX-License-Identifier: Apache-2.0
"""Residual add on a State."""

from fqt_ref.jit import uncounted
from fqt_ref.kernels.add import add_backward_f32, add_backward_u8, add_forward_f32, add_forward_u8
from fqt_ref.operators.views import (
    accumulates,
    act_of,
    error_f32,
    error_i8,
    error_requantizer,
    extremes_of,
    feature_f32,
    feature_u8,
    input_of,
    is_quantized,
    limits,
    passing,
    requantizers_of,
    track_error,
    wide_error,
)


@uncounted
def forward(state, i):
    """Layer i from its two inputs to its output."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        a, b, y = feature_u8(state, layer.input), feature_u8(state, layer.input2), feature_u8(state, layer.output)
        zero_a, zero_b, zero_y = state.tensors[layer.input].zero, state.tensors[layer.input2].zero, state.tensors[layer.output].zero
        (lower, upper), requantizers = limits(state, layer), requantizers_of(state, slot, 2)
        acc, extremes = state.sums_i32[: y.size], extremes_of(state, slot)
        add_forward_u8(requantizers, zero_a, zero_b, zero_y, lower, upper, a, b, y, acc, extremes)
    else:
        a_f32, b_f32 = feature_f32(state, layer.input), feature_f32(state, layer.input2)
        add_forward_f32(act_of(layer.flagset), a_f32, b_f32, feature_f32(state, layer.output))


@uncounted
def backward_input(state, i, operand):
    """The error at an input of layer i."""
    layer = state.layers[i]
    t = input_of(layer, operand)
    adds = accumulates(state, i, t)
    if is_quantized(state, layer):
        x, dx, requantizer = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, operand)
        track_error(state, i, operand, add_backward_u8(requantizer, passing(state, t), adds, wide_error(state, layer), x, dx))
    else:
        act = act_of(state.tensors[t].flagset)
        add_backward_f32(act, adds, error_f32(state, layer.output), feature_f32(state, t), error_f32(state, t))
