# SPDX-License-Identifier: Apache-2.0
"""What a network is: tables of tensors and layers, and the flat arrays that hold their values. Data, no behaviour.

`TENSOR` and `LAYER` are the records of the model file (SPEC.md 10), byte for byte. `State` is a network with the memory that training it
needs; one tuple type serves every network, so the engine compiles once.
"""

from typing import NamedTuple

import numpy as np

from fqt_ref.jit import njit

U8, F32 = 1, 2
TENSOR_RELU, TENSOR_ADAPTIVE = 1, 2
CONV2D, LINEAR, MAX_POOL2D, DEQUANTIZE, DEPTHWISE_CONV2D = 1, 2, 3, 4, 5
OP_NAMES = {CONV2D: "conv2d", LINEAR: "linear", MAX_POOL2D: "max_pool2d", DEQUANTIZE: "dequantize", DEPTHWISE_CONV2D: "depthwise_conv2d"}
OPS_WITH_WEIGHTS = (CONV2D, LINEAR, DEPTHWISE_CONV2D)
LAYER_RELU, LAYER_TRAINABLE = 1, 2

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
        ("reserved", "<u4", (5,)),
    ]
)
LAYER = np.dtype(
    [
        ("op", "u1"),
        ("flagset", "u1"),
        ("input", "<u2"),
        ("output", "<u2"),
        ("kernel_h", "<u2"),
        ("kernel_w", "<u2"),
        ("stride_h", "<u2"),
        ("stride_w", "<u2"),
        ("pad_top", "u1"),
        ("pad_bottom", "u1"),
        ("pad_left", "u1"),
        ("pad_right", "u1"),
        ("reserved16", "<u2"),
        ("weight_offset", "<u4"),
        ("weight_bytes", "<u4"),
        ("bias_offset", "<u4"),
        ("bias_bytes", "<u4"),
        ("weight_scale", "<f4"),
        ("weight_zero", "<i4"),
        ("reserved", "<u4", (4,)),
    ]
)
# Where a tensor's and a layer's values begin in the arenas of a State: uint8/int8/int32 of a quantized one, float32 of the others.
TENSOR_SLOT = np.dtype([("count", "i8"), ("feature", "i8"), ("error", "i8")])
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
        ("gradient", "i8"),  # [out, fan_in]
        ("bias_gradient", "i8"),
        ("fraction_bits", "i8"),  # of the gradient: what the weights' residuals take
        ("chosen", "i8"),  # int32[out]: samples of the minibatch that kept the channel
        ("taps", "i8"),  # convolutions: [fan_in, positions], see kernels.conv2d.fill_taps
        ("columns", "i8"),  # the centred input. conv2d: float32[fan_in, positions]; linear: [fan_in]; depthwise_conv2d: [pixels + 1, out]
        ("forward_mantissa", "i8"),
        ("forward_pre", "i8"),
        ("forward_post", "i8"),
        ("backward_mantissa", "i8"),
        ("backward_pre", "i8"),
        ("backward_post", "i8"),
        ("error_max_i32", "i8"),  # largest |sum| sent to the layer's input in this minibatch
        ("error_max_f32", "f4"),  # largest |e| sent through a dequantize layer
    ]
)


class Geometry(NamedTuple):
    """Shape of one layer's work, as the kernels want it; SPEC.md 12 calls these twelve numbers `geometry`."""

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


class Network(NamedTuple):
    """A network's tables and parameters, as they stand in a model file.

    tensors: TENSOR[T]; layers: LAYER[L]; weights: one array a layer, uint8 or float32 [out, kernel_h, kernel_w, in] or None;
    biases: int32 (Q20) or float32 [out] or None.
    """

    name: str
    tensors: np.ndarray
    layers: np.ndarray
    weights: list
    biases: list


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
    taps: np.ndarray  # uint32: where each element of a convolution's columns comes from
    acc_extremes: np.ndarray  # int32[L, 2]
    wide_error: np.ndarray  # int32, scratch: the largest quantized output
    sums_i32: np.ndarray  # int32, scratch: the largest tensor and its padding
    sums_f32: np.ndarray  # float32, scratch: the largest tensor and its padding, or the largest fan-in
    moved: np.ndarray  # int64, scratch: the largest weight tensor or number of classes


# Entries of State.counters.
LOSS_MAX, STEP, SAMPLES = 0, 1, 2


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
    )


class Arenas:
    """Hands out places in the arenas."""

    def __init__(self) -> None:
        self.used = {np.uint8: 0, np.int8: 0, np.int32: 0, np.float32: 0, np.uint32: 0}

    def take(self, dtype, size: int) -> int:
        at = self.used[dtype]
        self.used[dtype] += size
        return at


def new_state(network: Network) -> State:
    """Lay a network out for training; copies its values, so the network stays as it was. Call train_step.begin() next."""
    tensors = network.tensors.copy().view(np.recarray)
    layers = network.layers.copy().view(np.recarray)
    tensor_slots = np.zeros(len(tensors), TENSOR_SLOT).view(np.recarray)
    layer_slots = np.zeros(len(layers), LAYER_SLOT).view(np.recarray)
    arenas = Arenas()
    weighted = [i for i in range(len(layers)) if has_weights(layers[i])]
    for i in weighted:
        slot, weights = layer_slots[i], network.weights[i]
        dtype = np.int32 if weights.dtype == np.uint8 else np.float32
        slot.out, slot.fan_in = len(network.biases[i]), weights.size // len(network.biases[i])
        slot.gradient, slot.bias_gradient = arenas.take(dtype, weights.size), arenas.take(dtype, slot.out)
        slot.chosen = arenas.take(np.int32, slot.out)
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
        if layers[i].op == CONV2D:
            slot.weights_t = arenas.take(np.float32, size if quantized else 0)
            slot.columns = arenas.take(np.float32, slot.fan_in * slot.positions)
        elif layers[i].op == LINEAR:
            slot.weights_t, slot.columns = arenas.take(dtype, size), arenas.take(dtype, slot.fan_in)
        else:
            slot.weights_t, slot.columns = arenas.take(dtype, size), arenas.take(dtype, tensor_slots[layers[i].input].count + slot.out)
        slot.taps = arenas.take(np.uint32, slot.fan_in * slot.positions if layers[i].op != LINEAR else 0)
    padding = int(tensors["c"].max())  # a depthwise convolution's sums have a row for it
    largest = int(tensor_slots["count"].max()) + padding
    scratch = max(largest, max((int(layer_slots[i].fan_in) for i in weighted), default=0))
    moved = max([network.weights[i].size for i in weighted] + [int(tensor_slots[-1].count)])
    state = State(
        tensors,
        layers,
        tensor_slots,
        layer_slots,
        np.zeros(3, np.int64),
        np.zeros(arenas.used[np.uint8], np.uint8),
        np.zeros(arenas.used[np.int8], np.int8),
        np.zeros(arenas.used[np.int32], np.int32),
        np.zeros(arenas.used[np.float32], np.float32),
        np.zeros(arenas.used[np.uint32], np.uint32),
        np.zeros((len(layers), 2), np.int32),
        np.zeros(largest, np.int32),
        np.zeros(largest, np.int32),
        np.zeros(scratch, np.float32),
        np.zeros(moved, np.int64),
    )
    for i in weighted:
        weights, bias = parameters(state, i)
        weights[:] = network.weights[i].reshape(-1)
        bias[:] = network.biases[i]
    return state


def parameters(state: State, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of layer i's weights, flat [out * fan_in], and biases [out] in the arenas."""
    slot = state.layer_slots[i]
    quantized = state.tensors[state.layers[i].output].type == U8
    weights, biases = (state.u8, state.i32) if quantized else (state.f32, state.f32)
    return weights[slot.weights : slot.weights + slot.out * slot.fan_in], biases[slot.bias : slot.bias + slot.out]


def network_of(name: str, state: State) -> Network:
    """The trained network of a state: a copy of its tables and parameters, ready for model_file.write()."""
    weights: list = []
    biases: list = []
    for i, layer in enumerate(state.layers):
        if not has_weights(layer):
            weights.append(None)
            biases.append(None)
            continue
        flat, bias = parameters(state, i)
        shape = (len(bias), int(layer.kernel_h), int(layer.kernel_w), -1)
        weights.append(flat.reshape(shape).copy())
        biases.append(bias.copy())
    return Network(name, np.asarray(state.tensors).copy(), np.asarray(state.layers).copy(), weights, biases)
