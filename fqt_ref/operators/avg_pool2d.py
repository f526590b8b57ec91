# SPDX-License-Identifier: Apache-2.0
"""Average pooling on a State."""

import numpy as np

from fqt_ref.jit import njit, uncounted
from fqt_ref.kernels.avg_pool2d import avg_pool2d_backward_f32, avg_pool2d_backward_u8, avg_pool2d_forward_f32, avg_pool2d_forward_u8
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
    passing,
    requantizers_of,
    track_error,
    volume,
    wide_error,
)


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    x_slot, g = state.tensor_slots[layer.input], geometry(layer, x, y)
    if is_quantized(state, layer):
        features, out = volume(state.u8, x_slot.feature, x), feature_u8(state, layer.output)
        acc, extremes, requantizers = state.sums_i32[: out.size], extremes_of(state, slot), requantizers_of(state, slot, 1)
        avg_pool2d_forward_u8(g, requantizers, x.zero, y.zero, features, out, acc, extremes)
    else:
        avg_pool2d_forward_f32(g, volume(state.f32, x_slot.feature, x), feature_f32(state, layer.output))


@njit
def backward_input(state, i):
    """The error at the input of layer i."""
    layer = state.layers[i]
    t, g = np.int64(layer.input), geometry(layer, state.tensors[layer.input], state.tensors[layer.output])
    adds, count = accumulates(state, i, t), state.tensor_slots[t].count
    if is_quantized(state, layer):
        error, sums = wide_error(state, layer).reshape((g.out_h * g.out_w, g.out_c)), state.sums_i32[:count]
        x, dx, requantizer = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, 0)
        track_error(state, i, 0, avg_pool2d_backward_u8(g, requantizer, passing(state, t), adds, error, x, dx, sums))
    else:
        error_2d, sums_f32 = error_f32(state, layer.output).reshape((g.out_h * g.out_w, g.out_c)), state.sums_f32[:count]
        x_f32, dx_f32, act = feature_f32(state, t), error_f32(state, t), act_of(state.tensors[t].flagset)
        avg_pool2d_backward_f32(g, act, adds, error_2d, x_f32, dx_f32, sums_f32, np.empty_like(error_2d))
