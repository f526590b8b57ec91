# SPDX-License-Identifier: Apache-2.0
"""The model file, `.fqt`: write, check, read (SPEC.md 10). What is read is untrusted: every field is checked once, here."""

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fqt_ref import ARITHMETIC_VERSION, MAX_CLASSES, files
from fqt_ref.errors import FqtError
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    LAYER,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    OP_NAMES,
    OPS_WITH_WEIGHTS,
    OPS_WITH_WINDOW,
    TENSOR,
    TENSOR_ADAPTIVE,
    TENSOR_RELU,
    TENSOR_RELU6,
    U8,
    Network,
    carrying,
    inputs_of,
)
from fqt_ref.training_plan import arenas_of, plan_problem

MAGIC = b"FQT1"
FORMAT_VERSION = 2
HEADER_BYTES = 64
READ_AT_ONCE = 1 << 20
MAX_LAYERS = 255
LARGEST_WINDOW = 255 * 255
MAX_FAN_IN, MAX_FAN_OUT, MAX_POSITIONS = 24_576, 57_344, 65_536
MAX_PADDING, MAX_INDEX = 510, 2**31 - 1  # rows on both sides of a tensor; bytes that 32-bit kernels count
ACTIVATION = TENSOR_RELU | TENSOR_RELU6  # the same flags at layers
PRINTABLE = bytes(range(32, 127))
SIZE, MAGIC_ERROR, VERSION, CHECKSUM, FORMAT, BOUND = -2, -3, -4, -5, -6, -7  # the C library's error codes
SMALLEST_NORMAL = np.float32(2.0**-126)


class ModelFileError(FqtError):
    """A model file that can't be used; `code` is what the C library answers for it."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def file_bytes(network: Network) -> bytes:
    """The network as a model file."""
    tensors, layers = network.tensors.copy(), network.layers.copy()
    tensors_at = HEADER_BYTES
    layers_at = tensors_at + tensors.nbytes
    at = layers_at + layers.nbytes
    blobs = []
    for i, (weights, bias, grid) in enumerate(zip(network.weights, network.biases, network.grids, strict=True)):
        for field, array in (("weight", weights), ("bias", bias)):
            data = b"" if array is None else array.tobytes()
            layers[f"{field}_offset"][i], layers[f"{field}_bytes"][i] = (at, len(data)) if data else (0, 0)
            blobs.append(data + bytes(-len(data) % 4))
            at += len(blobs[-1])
        layers["grids"][i], layers["grid_offset"][i] = (0, 0) if grid is None else (len(grid[0]), at)
        if grid is not None:
            blobs.append(grid[0].astype("<f4").tobytes() + grid[1].astype("<i4").tobytes())
            at += len(blobs[-1])
    name = network.name.encode("ascii", "replace")[:16].ljust(16, b"\0")
    counts = [ARITHMETIC_VERSION, len(tensors), len(layers), tensors_at, layers_at, *arenas_of(network), 0]
    body = np.array(counts, "<u4").tobytes() + name + tensors.tobytes() + layers.tobytes() + b"".join(blobs)
    return MAGIC + np.array([FORMAT_VERSION, 16 + len(body), zlib.crc32(body)], "<u4").tobytes() + body


def write(path: Path, network: Network) -> None:
    """Write a model file; an older file of that name stays whole until the new one is complete. Raises FqtError."""
    files.write(path, file_bytes(network))


def read(path: Path) -> Network:
    """Read and check a model file. Raises ModelFileError (a FqtError) with one line for anything wrong."""
    try:
        with open(path, "rb") as file:
            data = read_as_said(file)
    except OSError as error:
        raise FqtError(f"cannot read model file {path}: {error.strerror}; make one with 'fqt train ... -o {path}'") from error
    return parse(data, str(path))


def read_as_said(file: BinaryIO) -> bytes:
    """A file's bytes: as many as its header says and one, for a device or a pipe may never end."""
    parts = [file.read(HEADER_BYTES)]
    said = int.from_bytes(parts[0][8:12], "little") if parts[0][:4] == MAGIC else 0
    left = max(0, said - HEADER_BYTES) + 1
    while left > 0 and (part := file.read(min(left, READ_AT_ONCE))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse(data: bytes, name: str = "model file") -> Network:
    """Check every field of a model file in SPEC.md 10's order and return the network."""

    def fail(code: int, what: str) -> ModelFileError:
        hint = "write it again with 'fqt train ... -o FILE.fqt'"
        return ModelFileError(code, f"{name}: {what}; {hint}")

    if len(data) < HEADER_BYTES:
        raise fail(SIZE, f"{len(data)} bytes are too few for the {HEADER_BYTES}-byte header of a model file")
    if data[:4] != MAGIC:
        raise fail(MAGIC_ERROR, f"not a model file: starts with {data[:4]!r} instead of {MAGIC!r}")
    fields = [int(v) for v in np.frombuffer(data, "<u4", 11, 4)]
    version, file_size, crc, arithmetic, n_tensors, n_layers, tensors_at, layers_at, training_arena, inference_arena, reserved = fields
    if version != FORMAT_VERSION or arithmetic != ARITHMETIC_VERSION:
        raise fail(VERSION, f"format {version}, arithmetic {arithmetic}: this fqt reads format {FORMAT_VERSION}, {ARITHMETIC_VERSION}")
    if file_size != len(data):
        raise fail(SIZE, f"{len(data)} bytes long, but its header says {file_size}: cut off or overlong")
    if zlib.crc32(data[16:]) != crc:
        raise fail(CHECKSUM, "damaged: its checksum does not match")
    if reserved:
        raise fail(FORMAT, "a reserved header field is not 0")
    title, rest = data[48:64].split(b"\0")[0], data[48:64].lstrip(PRINTABLE)
    if any(rest):
        raise fail(FORMAT, f"its name {data[48:64]!r} is not printable ASCII padded with zeros")
    if not 1 <= n_layers <= MAX_LAYERS or n_tensors != n_layers + 1:
        raise fail(FORMAT, f"{n_layers} layers and {n_tensors} tensors: wants 1 to {MAX_LAYERS} layers and one tensor more")
    for what, at, size in (("tensor", tensors_at, n_tensors * TENSOR.itemsize), ("layer", layers_at, n_layers * LAYER.itemsize)):
        if not is_inside(data, at, size):
            raise fail(FORMAT, f"its {what} table at byte {at} is not inside the file")
    tensors = np.frombuffer(data, TENSOR, n_tensors, tensors_at).copy()
    layers = np.frombuffer(data, LAYER, n_layers, layers_at).copy()
    for i, tensor in enumerate(tensors):
        problem = tensor_problem(tensor)
        if problem:
            raise fail(FORMAT, f"tensor {i}: {problem}")
    if tensors[0]["type"] != U8 or tensors[0]["flagset"] & ACTIVATION:
        raise fail(FORMAT, "tensor 0: the input must be uint8, without an activation")
    for i, layer in enumerate(layers):
        problem = layer_problem(i, layer, tensors, data)
        if problem:
            raise fail(FORMAT, f"layer {i}: {problem}")
    if tensors[-1]["h"] != 1 or tensors[-1]["w"] != 1 or tensors[-1]["error_scale"] != 0:
        raise fail(FORMAT, f"tensor {n_layers}: the logits must have shape 1x1xclasses and no error scale")
    problem = (
        readers_problem(layers) or adaptive_problem(tensors, layers) or plan_problem(tensors, layers, (training_arena, inference_arena))
    )
    if problem:
        raise fail(FORMAT, problem)
    for i, tensor in enumerate(tensors):
        problem = index_problem(tensor)
        if problem:
            raise fail(BOUND, f"tensor {i}: {problem}")
    for i, layer in enumerate(layers):
        problem = bound_problem(layer, tensors[layer["input"]], tensors[i + 1])
        if problem:
            raise fail(BOUND, f"layer {i}: {problem}")
    if tensors[-1]["c"] > MAX_CLASSES:
        raise fail(BOUND, f"{tensors[-1]['c']} classes: at most {MAX_CLASSES}")
    arrays = (layer_arrays(layer, tensors[layer["input"]], tensors[i + 1], data) for i, layer in enumerate(layers))
    weights, biases, grids = zip(*arrays, strict=True)
    return Network(title.decode("ascii"), tensors, layers, list(weights), list(biases), list(grids))


def is_inside(data: bytes, at: int, size: int) -> bool:
    """Whether a table or array of `size` bytes is aligned, behind the header and inside the file."""
    return at % 4 == 0 and at >= HEADER_BYTES and at + size <= len(data)


def positive_normal(value) -> bool:
    """A finite float32 >= 2^-126."""
    return bool(np.isfinite(value) and value >= SMALLEST_NORMAL)


def tensor_problem(tensor) -> str | None:
    """What is wrong with a TENSOR record by itself."""
    if tensor["type"] not in (U8, F32):
        return f"type {tensor['type']} does not exist"
    flags = int(tensor["flagset"])
    known = ACTIVATION | (TENSOR_ADAPTIVE if tensor["type"] == U8 else 0)
    if flags & ~known or flags & ACTIVATION == TENSOR_RELU6:
        return f"flags {tensor['flagset']:#x} do not fit its type"
    if not (tensor["h"] and tensor["w"] and tensor["c"]):
        return "a dimension is 0"
    if not positive_normal(tensor["scale"]):
        return f"scale {tensor['scale']} is not a positive normal number"
    if not 0 <= tensor["zero"] <= 255:
        return f"zero point {tensor['zero']} is not in 0..255"
    if tensor["type"] == F32 and (tensor["scale"] != 1 or any(tensor[field] != 0 for field in ("zero", "lo", "hi", "error_scale"))):
        return "a float32 tensor has scale 1 and no zero point, range or error scale"
    if not (np.isfinite(tensor["lo"]) and np.isfinite(tensor["hi"]) and tensor["lo"] <= 0 <= tensor["hi"]):
        return f"range {tensor['lo']}..{tensor['hi']} does not hold 0"
    if tensor["error_scale"] != 0 and not positive_normal(tensor["error_scale"]):
        return f"error scale {tensor['error_scale']} is not 0 or a positive normal number"
    if tensor["reserved"].any():
        return "reserved fields are not 0"
    return None


def layer_problem(i: int, layer, tensors, data: bytes) -> str | None:
    """What is wrong with a LAYER record between its tensors."""
    if layer["op"] not in OP_NAMES:
        return f"operator {layer['op']} does not exist"
    flags = int(layer["flagset"])
    if flags & ~(ACTIVATION | LAYER_TRAINABLE):
        return f"flags {flags:#x} do not exist"
    if max(inputs_of(layer)) > i or layer["output"] != i + 1 or (layer["op"] != ADD and layer["input2"]):
        return f"reads tensors {layer['input']} and {layer['input2']} and writes {layer['output']} instead of one up to {i} and {i + 1}"
    if layer["reserved"].any():
        return "reserved fields are not 0"
    largest = 65_535 if layer["op"] == AVG_POOL2D else 255
    for field in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"):
        if not 1 <= layer[field] <= largest:
            return f"{field} {layer[field]} is not in 1..{largest}"
    if int(layer["kernel_h"]) * int(layer["kernel_w"]) > LARGEST_WINDOW:
        return f"a {layer['kernel_h']}x{layer['kernel_w']} window has more than {LARGEST_WINDOW} positions"
    x, y = tensors[layer["input"]], tensors[i + 1]
    problem = shape_problem(layer, x, y) or type_problem(layer, [tensors[t] for t in inputs_of(layer)], y)
    return problem or (weight_problem if layer["op"] in OPS_WITH_WEIGHTS else plain_problem)(layer, x, y, data)


def shape_problem(layer, x, y) -> str | None:
    """Whether the shapes on both sides fit together."""
    pads = [int(layer[f"pad_{side}"]) for side in ("top", "bottom", "left", "right")]
    windowed = layer["op"] in OPS_WITH_WINDOW
    window = ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w")
    if not windowed and (any(pads) or any(layer[f] != 1 for f in window)):
        return "kernel, stride and dilation must be 1 and padding 0"
    if layer["op"] in (MAX_POOL2D, AVG_POOL2D) and (any(pads) or layer["dilation_h"] != 1 or layer["dilation_w"] != 1):
        return "pooling has no padding and no dilation"
    if layer["op"] == LINEAR:
        return None if y["h"] == 1 and y["w"] == 1 else "the output of a linear layer has shape 1x1xN"
    for axis, pad in (("h", pads[:2]), ("w", pads[2:])):
        size = int(x[axis]) + sum(pad)
        extent = int(layer[f"dilation_{axis}"]) * (int(layer[f"kernel_{axis}"]) - 1) + 1
        if max(pad) >= extent:
            return f"padding {pad} along {axis} reaches the kernel's extent {extent}"
        if (size - extent) // int(layer[f"stride_{axis}"]) + 1 != int(y[axis]):
            return f"an input of {x[axis]} along {axis} does not give an output of {y[axis]}"
    if layer["op"] != CONV2D and x["c"] != y["c"]:
        return f"turns {x['c']} channels into {y['c']}"
    return None


def type_problem(layer, inputs, y) -> str | None:
    """Whether types and activations on both sides fit together."""
    x = inputs[0]
    if layer["flagset"] & ACTIVATION and layer["op"] not in (*OPS_WITH_WEIGHTS, ADD):
        return "only layers with weights and add have an activation"
    if layer["op"] == DEQUANTIZE:
        if (x["type"], y["type"]) != (U8, F32):
            return "dequantize wants a uint8 input and a float32 output"
    elif any(one["type"] != y["type"] for one in inputs):
        return "input and output are of different types"
    if layer["op"] == ADD:
        if layer["input"] == layer["input2"]:
            return "adds a tensor to itself"
        if any(inputs[1][axis] != y[axis] for axis in "hwc"):
            return "adds tensors of different shapes"
    source = x if layer["op"] in (MAX_POOL2D, DEQUANTIZE) else layer
    if source["flagset"] & ACTIVATION != y["flagset"] & ACTIVATION:
        return "the activation flags of layer and output differ"
    return None


def readers_problem(layers) -> str | None:
    """Whether every tensor but the last is read, and that of max pooling and dequantize by one layer only."""
    readers = np.zeros(len(layers) + 1, np.int64)
    for layer in layers:
        for t in inputs_of(layer):
            readers[t] += 1
    unread = np.flatnonzero(readers[:-1] == 0)
    if len(unread):
        return f"tensor {unread[0]} is read by no layer"
    for i, layer in enumerate(layers):
        if layer["op"] in (MAX_POOL2D, DEQUANTIZE) and readers[layer["input"]] > 1:
            return f"layer {i}: the input of {OP_NAMES[int(layer['op'])]} is read by another layer, too"
    return None


def adaptive_problem(tensors, layers) -> str | None:
    """Whether only ranges adapt that training observes: of quantized outputs, other than max pooling's, that carry an error."""
    carries = carrying(layers)
    for t, tensor in enumerate(tensors):
        if tensor["flagset"] & TENSOR_ADAPTIVE and (not carries[t] or layers[t - 1]["op"] == MAX_POOL2D):
            return f"tensor {t}: its range cannot adapt, because no error reaches it or max pooling made it"
    return None


def fan_in(layer, x) -> int:
    """Weights of one output channel."""
    if layer["op"] == LINEAR:
        return int(x["h"]) * int(x["w"]) * int(x["c"])
    return int(layer["kernel_h"]) * int(layer["kernel_w"]) * (1 if layer["op"] == DEPTHWISE_CONV2D else int(x["c"]))


def weight_problem(layer, x, y, data: bytes) -> str | None:
    """Offsets and values of a layer with weights."""
    item, out = (1 if y["type"] == U8 else 4), int(y["c"])
    for field, size in (("weight", item * out * fan_in(layer, x)), ("bias", 4 * out)):
        at, given = int(layer[f"{field}_offset"]), int(layer[f"{field}_bytes"])
        if given != size:
            return f"{given} bytes of {field} instead of {size}"
        if not is_inside(data, at, size):
            return f"its {field} at byte {at} is not inside the file"
    if y["type"] == U8:
        n, at = int(layer["grids"]), int(layer["grid_offset"])
        if n not in (1, out):
            return f"{n} weight grids for {out} output channels: wants 1 or as many"
        if not is_inside(data, at, 8 * n):
            return f"its weight grids at byte {at} are not inside the file"
        scales, zeros = np.frombuffer(data, "<f4", n, at), np.frombuffer(data, "<i4", n, at + 4 * n)
        if not all(positive_normal(scale) for scale in scales) or ((zeros < 0) | (zeros > 255)).any():
            return "a weight scale or zero point is out of range"
        bias = np.frombuffer(data, "<i4", out, int(layer["bias_offset"])).astype(np.int64)
        return "a bias reaches 2^30" if (abs(bias) >= 1 << 30).any() else None
    if layer["grids"] or layer["grid_offset"]:
        return "a float32 layer has no weight grid"
    weights = np.frombuffer(data, "<f4", out * fan_in(layer, x), int(layer["weight_offset"]))
    bias = np.frombuffer(data, "<f4", out, int(layer["bias_offset"]))
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        return "a weight or bias is not finite"
    return "a bias is -0" if (np.signbit(bias) & (bias == 0)).any() else None


def plain_problem(layer, x, y, data: bytes) -> str | None:
    """Unused fields of a layer without weights."""
    if layer["flagset"] & LAYER_TRAINABLE:
        return "a layer without weights does not train"
    fields = ("weight_offset", "weight_bytes", "bias_offset", "bias_bytes", "grids", "grid_offset")
    return "a layer without weights has weight fields" if any(layer[field] != 0 for field in fields) else None


def fan_out(layer, y) -> int:
    """Products that one element of the error at the input sums up (SPEC.md 9)."""
    return int(layer["kernel_h"]) * int(layer["kernel_w"]) * (1 if layer["op"] == DEPTHWISE_CONV2D else int(y["c"]))


def index_problem(tensor) -> str | None:
    """SPEC.md 9: kernels count a tensor's elements and bytes, rows on its padding too, in 32 bits."""
    h, row = int(tensor["h"]), int(tensor["w"]) * int(tensor["c"]) * (4 if tensor["type"] == F32 else 1)
    if (h + MAX_PADDING) * row > MAX_INDEX:
        return f"{h} rows of {row} bytes are more than 32 bits can count with {MAX_PADDING} rows of padding"
    return None


def bound_problem(layer, x, y) -> str | None:
    """SPEC.md 9: no sum may overflow 32 bits."""
    if layer["op"] not in OPS_WITH_WEIGHTS:
        return None
    if fan_in(layer, x) > MAX_FAN_IN or fan_out(layer, y) > MAX_FAN_OUT:
        return f"fan-in {fan_in(layer, x)} or fan-out {fan_out(layer, y)} exceeds {MAX_FAN_IN} or {MAX_FAN_OUT}: its sums could overflow"
    return None


def layer_arrays(layer, x, y, data: bytes):
    """(weights [out, kernel_h, kernel_w, in], biases [out], weight grids) of a checked layer, or Nones."""
    if layer["op"] not in OPS_WITH_WEIGHTS:
        return None, None, None
    quantized, out = y["type"] == U8, int(y["c"])
    weights = np.frombuffer(data, "u1" if quantized else "<f4", out * fan_in(layer, x), int(layer["weight_offset"]))
    biases = np.frombuffer(data, "<i4" if quantized else "<f4", out, int(layer["bias_offset"]))
    n, at = int(layer["grids"]), int(layer["grid_offset"])
    grid = (np.frombuffer(data, "<f4", n, at).copy(), np.frombuffer(data, "<i4", n, at + 4 * n).copy()) if n else None
    return weights.reshape(out, int(layer["kernel_h"]), int(layer["kernel_w"]), -1).copy(), biases.copy(), grid


def check_batch(network: Network, batch_size: int) -> None:
    """SPEC.md 9's bound on the minibatch. Raises FqtError."""
    if not 1 <= batch_size <= MAX_POSITIONS:
        raise FqtError(f"batch size {batch_size} is not in 1..{MAX_POSITIONS}")
    for i, layer in enumerate(network.layers):
        y = network.tensors[i + 1]
        positions = int(y["h"]) * int(y["w"])
        if layer["flagset"] & LAYER_TRAINABLE and y["type"] == U8 and positions * batch_size > MAX_POSITIONS:
            largest = MAX_POSITIONS // positions
            what = f"the gradient of layer {i} ({positions} positions) could overflow"
            raise FqtError(f"batch size {batch_size}: {what}; use at most {largest}")
