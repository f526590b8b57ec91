# SPDX-License-Identifier: Apache-2.0
"""What a network is: tables of tensors and layers, and the flat arrays that hold their values. Data, no behaviour.

`TENSOR` and `LAYER` are the records of the model file (SPEC.md 10), byte for byte. `State` is a network with the memory that training it
needs; one tuple type serves every network, so the engine compiles once.
"""

from typing import NamedTuple

import numpy as np

from fqt_ref.jit import njit

U8, F32 = 1, 2
TENSOR_RELU, TENSOR_ADAPTIVE, TENSOR_RELU6 = 1, 2, 4
CONV2D, LINEAR, MAX_POOL2D, DEQUANTIZE, DEPTHWISE_CONV2D, AVG_POOL2D, ADD, HARD_SWISH = range(1, 9)
OP_NAMES = {
    CONV2D: "conv2d",
    LINEAR: "linear",
    MAX_POOL2D: "max_pool2d",
    DEQUANTIZE: "dequantize",
    DEPTHWISE_CONV2D: "depthwise_conv2d",
    AVG_POOL2D: "avg_pool2d",
    ADD: "add",
    HARD_SWISH: "hard_swish",
}
OPS_WITH_WEIGHTS = (CONV2D, LINEAR, DEPTHWISE_CONV2D)
OPS_WITH_WINDOW = (CONV2D, DEPTHWISE_CONV2D, MAX_POOL2D, AVG_POOL2D)
LAYER_RELU, LAYER_TRAINABLE, LAYER_RELU6 = 1, 2, 4
NOWHERE = 0xFFFFFFFF  # the offset of a buffer that does not exist

# Fields are read as attributes: names that NumPy's records have themselves (flags, size) would be hidden.
TENSOR = np.dtype(
    [
        ("type", "u1"),
        ("flagset", "u1"),
        ("h", "<u2"),
        ("w", "<u2"),
        ("c", "<u2"),
        ("scale", "<f4"),
        ("zero", "<i4"),
        ("lo", "<f4"),
        ("hi", "<f4"),
        ("error_scale", "<f4"),
        ("feature_offset", "<u4"),  # in the training arena
        ("error_offset", "<u4"),  # in the training arena
        ("inference_offset", "<u4"),  # in the inference arena
        ("reserved", "<u4", (2,)),
    ]
)
LAYER = np.dtype(
    [
        ("op", "u1"),
        ("flagset", "u1"),
        ("input", "<u2"),
        ("input2", "<u2"),
        ("output", "<u2"),
        ("kernel_h", "<u2"),
        ("kernel_w", "<u2"),
        ("stride_h", "<u2"),
        ("stride_w", "<u2"),
        ("dilation_h", "u1"),
        ("dilation_w", "u1"),
        ("pad_top", "u1"),
        ("pad_bottom", "u1"),
        ("pad_left", "u1"),
        ("pad_right", "u1"),
        ("grids", "<u2"),  # of a quantized layer's weights: 1, or one for each output channel
        ("grid_offset", "<u4"),
        ("weight_offset", "<u4"),
        ("weight_bytes", "<u4"),
        ("bias_offset", "<u4"),
        ("bias_bytes", "<u4"),
        ("reserved", "<u4", (5,)),
    ]
)
# Where a tensor's and a layer's values begin in the arenas of a State: uint8/int8/int32 of a quantized one, float32 of the others.
TENSOR_SLOT = np.dtype(
    [
        ("count", "i8"),
        ("feature", "i8"),
        ("error", "i8"),
        ("carries", "i8"),  # whether it carries an error (SPEC.md 7)
        ("last_reader", "i8"),  # the layer that sends the first error; -1: the loss does
        ("lowest", "i8"),  # quantized: errors pass where lowest < x < highest (SPEC.md 4.3)
        ("highest", "i8"),
    ]
)
LAYER_SLOT = np.dtype(
    [
        ("fan_in", "i8"),
        ("out", "i8"),
        ("positions", "i8"),
        ("weights", "i8"),  # [out, fan_in]
        ("weights_c", "i8"),  # quantized: int32, centred; float32: the weights themselves
        ("weights_t", "i8"),  # the same as [fan_in, out], but of a float32 conv2d; of a quantized conv2d float32
        ("bias", "i8"),  # int32 Q20 or float32
        ("bias_acc", "i8"),  # int32
        ("grids", "i8"),  # number of weight grids
        ("grid", "i8"),  # the first of them in grid_scales and grid_zeros, and of its factors K (SPEC.md 4.3)
        ("gradient", "i8"),  # [out, fan_in]
        ("bias_gradient", "i8"),
        ("momentum", "i8"),  # [out, fan_in], of optimizers that have one
        ("bias_momentum", "i8"),  # [out]
        ("rest", "i8"),  # [out, fan_in]: what real weights have beyond their bytes (SPEC.md 15.2)
        ("kept", "i8"),  # how many float32 these three are, one behind the other
        ("fraction_bits", "i8"),  # of the gradient: what the weights' residuals take
        ("error_bits", "i8"),  # f of SPEC.md 4.3
        ("chosen", "i8"),  # int32[out]: samples of the minibatch that kept the channel
        ("taps", "i8"),  # convolutions: [fan_in, positions], see kernels.conv2d.fill_taps
        ("columns", "i8"),  # the centred input. conv2d: float32[fan_in, positions]; linear: [fan_in]; depthwise_conv2d: [pixels + 1, out]
        ("requantizers", "i8"),  # of the forward pass: one a grid; add: one an input
        ("extremes", "i8"),  # of the accumulators: one pair a grid
        ("error_max_f32", "f4"),  # largest |e| sent through a dequantize layer
    ]
)


class Geometry(NamedTuple):
    """Shape of one layer's work, as the kernels want it; SPEC.md 12 calls these fourteen numbers `geometry`."""

    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    dilation_h: int = 1
    dilation_w: int = 1


class Network(NamedTuple):
    """A network's tables and parameters, as they stand in a model file.

    tensors: TENSOR[T]; layers: LAYER[L]; weights: one array a layer, uint8 or float32 [out, kernel_h, kernel_w, in] or None;
    biases: int32 (Q20) or float32 [out] or None; grids: (scale float32[n], zero int32[n]) of a quantized layer's weights,
    n = 1 or out, or None.
    """

    name: str
    tensors: np.ndarray
    layers: np.ndarray
    weights: list
    biases: list
    grids: list


class State(NamedTuple):
    """A network in training: tables, and one arena for each type of number. Slots say what lies where."""

    tensors: np.ndarray  # TENSOR[T]
    layers: np.ndarray  # LAYER[L]
    tensor_slots: np.ndarray  # TENSOR_SLOT[T]
    layer_slots: np.ndarray  # LAYER_SLOT[L]
    counters: np.ndarray  # int64: see below
    u8: np.ndarray  # feature maps, weights
    i8: np.ndarray  # errors
    i32: np.ndarray  # sums of the minibatch, biases, derived values
    f32: np.ndarray  # the same of float32 layers, and their feature maps and errors
    momentum: np.ndarray  # float32: what optimizers with momentum keep of trained layers; empty for all others (SPEC.md 15)
    taps: np.ndarray  # uint32: where each element of a convolution's columns comes from
    grid_scales: np.ndarray  # float32[G]
    grid_zeros: np.ndarray  # int32[G]
    grid_factors: np.ndarray  # int32[G]: K of SPEC.md 4.3
    weight_ranges: np.ndarray  # float32[G, 2]: (lo, hi) of weight grids that follow a moving average; else empty (SPEC.md 16.1)
    requantizers: np.ndarray  # int64[R, 3]: (mantissa, pre, post) of forward passes
    error_requantizers: np.ndarray  # int64[L, 2, 4]: of the errors to a layer's inputs, with the key of send_error_u8()
    error_max: np.ndarray  # int64[L, 2]: largest |sum| or |total| sent to them in this minibatch (SPEC.md 4.3)
    extremes: np.ndarray  # int32[E, 2]
    wide_error: np.ndarray  # int32, scratch: the largest quantized output
    sums_i32: np.ndarray  # int32, scratch: the largest tensor and its padding
    sums_f32: np.ndarray  # float32, scratch: the largest tensor and its padding, or the largest fan-in
    moved: np.ndarray  # int64, scratch: the largest weight tensor or number of classes


# Entries of State.counters. ENTRY: the tensor at which samples enter; 0 unless frozen layers were run beforehand. ERRORS, SATURATED: of
# health.py, for the eye alone.
LOSS_MAX, STEP, SAMPLES, ENTRY, ERRORS, SATURATED = 0, 1, 2, 3, 4, 5


def has_weights(layer) -> bool:
    """Whether a LAYER record is one with weights."""
    return layer["op"] in OPS_WITH_WEIGHTS


@njit
def tensor_size(tensor):
    """Number of elements of a TENSOR record."""
    return np.int64(tensor.h) * np.int64(tensor.w) * np.int64(tensor.c)


@njit
def geometry(layer, tensor_in, tensor_out):
    """Geometry of a layer from its records."""
    return Geometry(
        np.int64(tensor_in.h),
        np.int64(tensor_in.w),
        np.int64(tensor_in.c),
        np.int64(tensor_out.h),
        np.int64(tensor_out.w),
        np.int64(tensor_out.c),
        np.int64(layer.kernel_h),
        np.int64(layer.kernel_w),
        np.int64(layer.stride_h),
        np.int64(layer.stride_w),
        np.int64(layer.pad_top),
        np.int64(layer.pad_left),
        np.int64(layer.dilation_h),
        np.int64(layer.dilation_w),
    )


def inputs_of(layer) -> tuple[int, ...]:
    """The tensors that a LAYER record reads."""
    return (int(layer["input"]), int(layer["input2"])) if layer["op"] == ADD else (int(layer["input"]),)


def carrying(layers: np.ndarray) -> list[bool]:
    """For each tensor whether it carries an error (SPEC.md 7)."""
    carries = [False]
    for layer in layers:
        carries.append(bool(layer["flagset"] & LAYER_TRAINABLE) or any(carries[t] for t in inputs_of(layer)))
    return carries


def last_readers(layers: np.ndarray) -> list[int]:
    """For each tensor the last layer that reads it; -1 for the logits."""
    last = [-1] * (len(layers) + 1)
    for i, layer in enumerate(layers):
        for t in inputs_of(layer):
            last[t] = i
    return last


class Arenas:
    """Hands out places in the arenas."""

    def __init__(self) -> None:
        self.used: dict = {}

    def take(self, arena, size: int) -> int:
        at = self.used.get(arena, 0)
        self.used[arena] = at + size
        return at

    def size(self, arena) -> int:
        return self.used.get(arena, 0)


def new_state(network: Network, momentum: bool = False, real_weights: bool = False, weight_ranges: bool = False) -> State:
    """Lay a network out for training; copies its values, so the network stays as it was. Call train_step.begin() next.

    momentum: with 4 bytes for each trained weight and bias; real_weights: and 4 more for each trained quantized weight.
    weight_ranges: with 8 for each weight grid.
    """
    tensors = network.tensors.copy().view(np.recarray)
    layers = network.layers.copy().view(np.recarray)
    tensor_slots = np.zeros(len(tensors), TENSOR_SLOT).view(np.recarray)
    layer_slots = np.zeros(len(layers), LAYER_SLOT).view(np.recarray)
    arenas = Arenas()
    weighted = [i for i in range(len(layers)) if has_weights(layers[i])]
    tensor_slots.carries, tensor_slots.last_reader = carrying(network.layers), last_readers(network.layers)
    for i in weighted:
        slot, weights = layer_slots[i], network.weights[i]
        dtype = np.int32 if weights.dtype == np.uint8 else np.float32
        slot.out, slot.fan_in = len(network.biases[i]), weights.size // len(network.biases[i])
        size = weights.size if layers[i].flagset & LAYER_TRAINABLE else 0
        slot.gradient, slot.bias_gradient = arenas.take(dtype, size), arenas.take(dtype, slot.out)
        slot.chosen = arenas.take(np.int32, slot.out)
        kept = size if momentum else 0
        slot.momentum, slot.bias_momentum = arenas.take("momentum", kept), arenas.take("momentum", slot.out if kept else 0)
        slot.rest = arenas.take("momentum", kept if real_weights and dtype == np.int32 else 0)
        slot.kept = arenas.size("momentum") - slot.momentum
    for tensor, slot in zip(tensors, tensor_slots, strict=True):
        slot.count = tensor_size(tensor)
        slot.feature = arenas.take(np.uint8 if tensor.type == U8 else np.float32, slot.count)
        slot.error = arenas.take(np.int8 if tensor.type == U8 else np.float32, slot.count)
    for i in weighted:
        slot, size, quantized = layer_slots[i], network.weights[i].size, network.weights[i].dtype == np.uint8
        dtype = np.int32 if quantized else np.float32
        slot.positions = tensor_slots[layers[i].output].count // slot.out
        slot.weights = arenas.take(np.uint8 if quantized else np.float32, size)
        slot.weights_c = arenas.take(np.int32, size) if quantized else slot.weights
        slot.bias, slot.bias_acc = arenas.take(dtype, slot.out), arenas.take(np.int32, slot.out)
        slot.grids = layers[i].grids
        slot.grid = arenas.take("grid", slot.grids)
        if layers[i].op == CONV2D:
            slot.weights_t = arenas.take(np.float32, size if quantized else 0)
            slot.columns = arenas.take(np.float32, slot.fan_in * slot.positions)
        elif layers[i].op == LINEAR:
            slot.weights_t, slot.columns = arenas.take(dtype, size), arenas.take(dtype, slot.fan_in)
        else:
            slot.weights_t, slot.columns = arenas.take(dtype, size), arenas.take(dtype, tensor_slots[layers[i].input].count + slot.out)
        slot.taps = arenas.take(np.uint32, slot.fan_in * slot.positions if layers[i].op != LINEAR else 0)
    for slot in layer_slots:
        slot.requantizers, slot.extremes = arenas.take("requantizer", max(slot.grids, 2)), arenas.take("extremes", max(slot.grids, 1))
    padding = int(tensors["c"].max())  # a depthwise convolution's sums have a row for it
    largest = int(tensor_slots["count"].max()) + padding
    scratch = max(largest, max((int(layer_slots[i].fan_in) for i in weighted), default=0))
    moved = max([network.weights[i].size for i in weighted] + [int(tensor_slots[-1].count)])
    state = State(
        tensors,
        layers,
        tensor_slots,
        layer_slots,
        np.zeros(SATURATED + 1, np.int64),
        np.zeros(arenas.size(np.uint8), np.uint8),
        np.zeros(arenas.size(np.int8), np.int8),
        np.zeros(arenas.size(np.int32), np.int32),
        np.zeros(arenas.size(np.float32), np.float32),
        np.zeros(arenas.size("momentum"), np.float32),
        np.zeros(arenas.size(np.uint32), np.uint32),
        np.zeros(arenas.size("grid"), np.float32),
        np.zeros(arenas.size("grid"), np.int32),
        np.zeros(arenas.size("grid"), np.int32),
        np.zeros((arenas.size("grid") if weight_ranges else 0, 2), np.float32),
        np.zeros((arenas.size("requantizer"), 3), np.int64),
        np.zeros((len(layers), 2, 4), np.int64),
        np.zeros((len(layers), 2), np.int64),
        np.zeros((arenas.size("extremes"), 2), np.int32),
        np.zeros(largest, np.int32),
        np.zeros(largest, np.int32),
        np.zeros(scratch, np.float32),
        np.zeros(moved, np.int64),
    )
    for i in weighted:
        weights, bias = parameters(state, i)
        weights[:] = network.weights[i].reshape(-1)
        bias[:] = network.biases[i]
        if network.grids[i] is not None:
            scales, zeros = grids(state, i)
            scales[:], zeros[:] = network.grids[i]
    return state


def grids(state: State, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of the scales, float32[n], and zero points, int32[n], of layer i's weights."""
    slot = state.layer_slots[i]
    return state.grid_scales[slot.grid : slot.grid + slot.grids], state.grid_zeros[slot.grid : slot.grid + slot.grids]


def parameters(state: State, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of layer i's weights, flat [out * fan_in], and biases [out] in the arenas."""
    slot = state.layer_slots[i]
    quantized = state.tensors[state.layers[i].output].type == U8
    weights, biases = (state.u8, state.i32) if quantized else (state.f32, state.f32)
    return weights[slot.weights : slot.weights + slot.out * slot.fan_in], biases[slot.bias : slot.bias + slot.out]


def momentum_of(state: State, i: int) -> np.ndarray:
    """View of what an optimizer with momentum keeps of layer i: momentum of weights, of biases, real weights' rests if any; or empty."""
    slot = state.layer_slots[i]
    return state.momentum[slot.momentum : slot.momentum + slot.kept]


def network_of(name: str, state: State) -> Network:
    """The trained network of a state: a copy of its tables and parameters, ready for model_file.write()."""
    network = Network(name, np.asarray(state.tensors).copy(), np.asarray(state.layers).copy(), [], [], [])
    for i, layer in enumerate(state.layers):
        if not has_weights(layer):
            for column in (network.weights, network.biases, network.grids):
                column.append(None)
            continue
        flat, bias = parameters(state, i)
        shape = (len(bias), int(layer.kernel_h), int(layer.kernel_w), -1)
        network.weights.append(flat.reshape(shape).copy())
        network.biases.append(bias.copy())
        scales, zeros = grids(state, i)
        network.grids.append((scales.copy(), zeros.copy()) if len(scales) else None)
    return network
