# SPDX-License-Identifier: Apache-2.0
"""Max pooling on a State."""

from fqt_ref.jit import uncounted
from fqt_ref.kernels.max_pool2d import max_pool2d_backward_f32, max_pool2d_backward_u8, max_pool2d_forward
from fqt_ref.network import geometry
from fqt_ref.operators.views import act_of, is_quantized, passing, volume


@uncounted
def forward(state, i):
    """Layer i from its input to its output."""
    layer = state.layers[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    x_slot, y_slot, g = state.tensor_slots[layer.input], state.tensor_slots[layer.output], geometry(layer, x, y)
    if is_quantized(state, layer):
        max_pool2d_forward(g, volume(state.u8, x_slot.feature, x), volume(state.u8, y_slot.feature, y))
    else:
        max_pool2d_forward(g, volume(state.f32, x_slot.feature, x), volume(state.f32, y_slot.feature, y))


@uncounted
def backward_input(state, i):
    """The error at the input of layer i."""
    layer = state.layers[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    x_slot, y_slot, g = state.tensor_slots[layer.input], state.tensor_slots[layer.output], geometry(layer, x, y)
    if is_quantized(state, layer):
        features, sums = volume(state.u8, x_slot.feature, x), volume(state.sums_i32, 0, x)
        error, dx = volume(state.i8, y_slot.error, y), volume(state.i8, x_slot.error, x)
        max_pool2d_backward_u8(g, passing(state, layer.input), features, error, dx, sums)
    else:
        features_f32 = volume(state.f32, x_slot.feature, x)
        error_f32, dx_f32 = volume(state.f32, y_slot.error, y), volume(state.f32, x_slot.error, x)
        max_pool2d_backward_f32(g, act_of(x.flagset), features_f32, error_f32, dx_f32)
