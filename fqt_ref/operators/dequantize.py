# SPDX-License-Identifier: Apache-2.0
"""The border to float32 layers on a State."""

from fqt_ref.jit import uncounted
from fqt_ref.kernels.dequantize import dequantize_backward, dequantize_forward
from fqt_ref.operators.views import error_f32, error_i8, feature_f32, feature_u8, passing
from fqt_ref.ranges import error_scale_in_force


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer = state.layers[i]
    x = state.tensors[layer.input]
    dequantize_forward(x.zero, x.scale, feature_u8(state, layer.input), feature_f32(state, layer.output))


@uncounted
def backward_input(state, i):
    """The error at the input of layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    t, scale = layer.input, error_scale_in_force(state.tensors[layer.input].error_scale)
    error, x, dx, key = error_f32(state, layer.output), feature_u8(state, t), error_i8(state, t), state.error_requantizers[i, 0, 3]
    slot.error_max_f32 = max(slot.error_max_f32, dequantize_backward(passing(state, t), scale, key, error, x, dx))
