# SPDX-License-Identifier: Apache-2.0
"""Hard-swish on a State."""

import numpy as np

from fqt_ref.jit import uncounted
from fqt_ref.kernels.hard_swish import hard_swish_backward_f32, hard_swish_backward_u8, hard_swish_forward_f32, hard_swish_forward_u8
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
    track_error,
    wide_error,
)


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    if is_quantized(state, layer):
        features, out = feature_u8(state, layer.input), feature_u8(state, layer.output)
        hard_swish_forward_u8(x.zero, y.zero, x.scale, y.scale, features, out, state.sums_i32[: out.size], extremes_of(state, slot))
    else:
        hard_swish_forward_f32(feature_f32(state, layer.input), feature_f32(state, layer.output))


@uncounted
def backward_input(state, i):
    """The error at the input of layer i."""
    layer = state.layers[i]
    t, source = np.int64(layer.input), state.tensors[layer.input]
    adds = accumulates(state, i, t)
    if is_quantized(state, layer):
        x, dx, requantizer = feature_u8(state, t), error_i8(state, t), error_requantizer(state, i, 0)
        error, between = wide_error(state, layer), passing(state, t)
        track_error(state, i, 0, hard_swish_backward_u8(source.zero, source.scale, requantizer, between, adds, error, x, dx))
    else:
        x_f32, dx_f32, act = feature_f32(state, t), error_f32(state, t), act_of(source.flagset)
        hard_swish_backward_f32(act, adds, error_f32(state, layer.output), x_f32, dx_f32, state.sums_f32[: x_f32.size])
