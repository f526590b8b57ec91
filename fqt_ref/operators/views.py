# SPDX-License-Identifier: Apache-2.0
"""Views of a State's arenas: what an operator reads and writes."""

import numpy as np

from fqt_ref.jit import inlined
from fqt_ref.kernels.activation import RELU, RELU6
from fqt_ref.network import ADD, CONV2D, DEPTHWISE_CONV2D, LAYER_RELU, LAYER_RELU6, LAYER_TRAINABLE, LINEAR, U8


@inlined
def is_quantized(state, layer):
    """Whether a layer's output is uint8."""
    return state.tensors[layer.output].type == U8


@inlined
def weighted(layer):
    """Whether a layer has weights."""
    return layer.op == CONV2D or layer.op == LINEAR or layer.op == DEPTHWISE_CONV2D


@inlined
def trains(layer):
    """Whether a layer's weights are updated."""
    return layer.flagset & LAYER_TRAINABLE != 0


@inlined
def act_of(flagset):
    """`act` of the kernels: 0, RELU or RELU6. Layers and tensors share these flags."""
    if flagset & LAYER_RELU6 != 0:
        return RELU6
    return RELU if flagset & LAYER_RELU != 0 else 0


@inlined
def inputs(layer):
    """How many tensors a layer reads."""
    return 2 if layer.op == ADD else 1


@inlined
def input_of(layer, operand):
    """The tensor that a layer reads as its first (0) or second (1) operand."""
    return np.int64(layer.input2) if operand == 1 else np.int64(layer.input)


@inlined
def carries(state, t):
    """Whether tensor t carries an error (SPEC.md 7)."""
    return state.tensor_slots[t].carries != 0


@inlined
def accumulates(state, i, t):
    """Whether layer i adds to an error at tensor t that later layers have sent (SPEC.md 4.3)."""
    return state.tensor_slots[t].last_reader != i


@inlined
def vector(arena, start, size):
    """size elements of an arena."""
    return arena[start : start + size]


@inlined
def matrix(arena, start, rows, columns):
    """[rows, columns] of an arena."""
    return arena[start : start + rows * columns].reshape((rows, columns))


@inlined
def volume(arena, start, tensor):
    """A tensor of an arena as [h, w, c]."""
    h, w, c = np.int64(tensor.h), np.int64(tensor.w), np.int64(tensor.c)
    return arena[start : start + h * w * c].reshape((h, w, c))


@inlined
def feature_u8(state, t):
    """Feature map of a quantized tensor, uint8[n]."""
    slot = state.tensor_slots[t]
    return vector(state.u8, slot.feature, slot.count)


@inlined
def feature_f32(state, t):
    """Feature map of a float32 tensor, float32[n]."""
    slot = state.tensor_slots[t]
    return vector(state.f32, slot.feature, slot.count)


@inlined
def error_i8(state, t):
    """Error at a quantized tensor, int8[n]."""
    slot = state.tensor_slots[t]
    return vector(state.i8, slot.error, slot.count)


@inlined
def error_f32(state, t):
    """Error at a float32 tensor, float32[n]."""
    slot = state.tensor_slots[t]
    return vector(state.f32, slot.error, slot.count)


@inlined
def passing(state, t):
    """(lowest, highest) between which errors pass at a quantized tensor (SPEC.md 4.3)."""
    slot = state.tensor_slots[t]
    return slot.lowest, slot.highest


@inlined
def limits(state, layer):
    """(lower, upper) of a quantized layer's output bytes (SPEC.md 4.1)."""
    act, y = act_of(layer.flagset), state.tensors[layer.output]
    lower = np.int64(y.zero) if act != 0 else 0
    upper = min(255, state.tensor_slots[layer.output].highest) if act == RELU6 else 255
    return lower, upper


@inlined
def scales_of(state, slot):
    """Scales of a layer's weight grids, float32[n]."""
    return vector(state.grid_scales, slot.grid, slot.grids)


@inlined
def zeros_of(state, slot):
    """Zero points of a layer's weight grids, int32[n]."""
    return vector(state.grid_zeros, slot.grid, slot.grids)


@inlined
def requantizers_of(state, slot, count):
    """int64[count, 3]: the requantizers of a layer's forward pass."""
    return state.requantizers[slot.requantizers : slot.requantizers + count]


@inlined
def extremes_of(state, slot):
    """int32[n, 2]: least and greatest accumulator of each grid in this minibatch."""
    return state.extremes[slot.extremes : slot.extremes + max(slot.grids, 1)]


@inlined
def error_requantizer(state, i, operand):
    """(mantissa, pre, post, key) for the error that layer i sends to an operand."""
    row = state.error_requantizers[i, operand]
    return row[0], row[1], row[2], row[3]


@inlined
def track_error(state, i, operand, largest):
    """Keep the largest |sum| or |total| sent to an operand in this minibatch."""
    state.error_max[i, operand] = max(state.error_max[i, operand], np.int64(largest))


@inlined
def wide_error(state, layer):
    """The error at a quantized layer's output as int32[n], in scratch."""
    error = error_i8(state, layer.output)
    wide = state.wide_error[: error.size]
    for k in range(error.size):
        wide[k] = np.int32(error[k])
    return wide


@inlined
def weighted_error(state, layer, slot):
    """The same times K (SPEC.md 4.3), so that channels with weight grids of their own can be summed. int32[positions, out]."""
    rows = wide_error(state, layer).reshape((slot.positions, slot.out))
    if slot.grids > 1:
        factors = vector(state.grid_factors, slot.grid, slot.grids)
        for position in range(rows.shape[0]):
            row = rows[position]
            for co in range(row.size):
                row[co] *= factors[co]
    return rows
