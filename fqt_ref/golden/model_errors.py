# SPDX-License-Identifier: Apache-2.0
"""Golden cases of hostile model files: for each thing that a reader checks (SPEC.md 9, 10) one that is wrong in that alone.

So whoever leaves a check out sees its case differ. Networks are the smallest that can be wrong in this way, for small machines link the
files. Beside them stand good files at the limits, for those who check too much.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fqt_ref import MAX_CLASSES, model_file
from fqt_ref.golden.format import Case
from fqt_ref.golden.handmade_files import PLACE, apart, file_of, layer, moved, places, sealed, sharing, spoilt, tensor
from fqt_ref.model_file import BOUND, CHECKSUM, FORMAT, MAGIC_ERROR, SIZE, VERSION
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    HARD_SWISH,
    LAYER_RELU,
    LAYER_RELU6,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    NOWHERE,
    TENSOR_ADAPTIVE,
    TENSOR_RELU,
    TENSOR_RELU6,
    U8,
)

OK = 0
SMALLEST = np.float32(2.0**-126)  # that is normal
NAN, INFINITE, SUBNORMAL = np.float32(np.nan), np.float32(np.inf), np.nextafter(SMALLEST, np.float32(0))
RELU6 = LAYER_RELU | LAYER_RELU6
PADS = ("pad_top", "pad_bottom", "pad_left", "pad_right")
Named = Iterator[tuple[str, int, bytes]]  # name, expected error, file


# ---- Right networks that cases spoil ----


def linear(train: bool = True) -> bytes:
    """A linear layer."""
    return file_of([tensor(1, 1, 2), tensor(1, 1, 2)], [layer(LINEAR, flagset=LAYER_TRAINABLE if train else 0)])


def floating() -> bytes:
    """The border to float32 and a linear layer that trains."""
    tensors = [tensor(1, 1, 2), tensor(1, 1, 2, F32), tensor(1, 1, 2, F32)]
    return file_of(tensors, [layer(DEQUANTIZE), layer(LINEAR, 1, flagset=LAYER_TRAINABLE)])


def single(op: int, x: tuple[int, int, int] = (1, 1, 2), y: tuple[int, int, int] = (1, 1, 2), kind: int = U8, **fields) -> bytes:
    """One layer alone."""
    return file_of([tensor(*x), tensor(*y, kind)], [layer(op, **fields)])


def windowed(op: int, x: tuple[int, int, int] = (4, 4, 1), y: tuple[int, int, int] = (1, 1, 1), kind: int = U8, **fields) -> bytes:
    """One layer whose stride leaves one window whatever padding or dilation does."""
    return single(op, x, y, kind, **{"kernel_h": 2, "kernel_w": 2, "stride_h": 9, "stride_w": 9, **fields})


def added(act: int = 0, train: bool = False) -> bytes:
    """x + hard-swish(x), as logits."""
    tensors = [tensor(1, 1, 2), tensor(1, 1, 2), tensor(1, 1, 2, flagset=act)]
    return file_of(tensors, [layer(HARD_SWISH), layer(ADD, 0, input2=1, flagset=act | (LAYER_TRAINABLE if train else 0))])


def good_single(op: int) -> bytes:
    """A right network with one layer of an operator."""
    if op in (CONV2D, DEPTHWISE_CONV2D, MAX_POOL2D, AVG_POOL2D):
        return windowed(op)
    return added() if op == ADD else single(op, kind=F32 if op == DEQUANTIZE else U8)


NAMES = {
    CONV2D: "conv2d",
    LINEAR: "linear",
    MAX_POOL2D: "max pool",
    DEQUANTIZE: "dequantize",
    DEPTHWISE_CONV2D: "depthwise",
    AVG_POOL2D: "average pool",
    ADD: "add",
    HARD_SWISH: "hard-swish",
}


# ---- Cases ----


def envelope_cases() -> Named:
    """What is read before any table is."""
    good = linear()
    yield "empty", SIZE, b""
    yield "63 bytes of another magic", SIZE, b"FQT2" + good[4:63]
    yield "another magic", MAGIC_ERROR, b"FQT2" + good[4:]
    yield "another format", VERSION, spoilt(good, format_version=3)
    yield "another arithmetic", VERSION, spoilt(good, arithmetic_version=2)
    yield "one byte too long", SIZE, good + b"\0"
    yield "cut in the parameters", SIZE, good[:-5]
    yield "cut in the tables", SIZE, good[:150]
    at = places(good)["layer_0_weight_0"][0]
    yield "a flipped bit", CHECKSUM, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]


def header_cases() -> Named:
    """Fields of the header."""
    good = linear()
    yield "no layers", FORMAT, spoilt(good, n_layers=0, n_tensors=1, tensor_0_error_offset=NOWHERE, training_arena=0, inference_arena=0)
    yield "a million layers", FORMAT, spoilt(good, n_layers=10**6, n_tensors=10**6 + 1)
    two = file_of([tensor(1, 1, 2)] * 3, [layer(LINEAR), layer(LINEAR, 1)])
    yield "as many tensors as layers", FORMAT, spoilt(two, n_tensors=2)
    yield "two tensors more than layers", FORMAT, spoilt(two, n_layers=1)
    yield "header's reserved field", FORMAT, spoilt(good, reserved=1)
    yield "a name with a line feed", FORMAT, spoilt(good, name=b"two\nlines".ljust(16, b"\0"))
    yield "a name that begins below the space", FORMAT, spoilt(good, name=b"\x1fx".ljust(16, b"\0"))
    yield "a name whose 16th letter is none", FORMAT, spoilt(good, name=b"fifteen letters\x01")
    yield "good: the first and the last letter", OK, spoilt(good, name=b" ~".ljust(16, b"\0"))
    yield "a header alone", FORMAT, sealed(good[:64])
    yield "a name with DEL", FORMAT, spoilt(good, name=b"de\x7f".ljust(16, b"\0"))
    yield "a name beyond ASCII", FORMAT, spoilt(good, name=b"caf\xe9".ljust(16, b"\0"))
    yield "a name behind zeros", FORMAT, spoilt(good, name=b"one\0two".ljust(16, b"\0"))
    yield "good: a name of 16 letters", OK, spoilt(good, name=b"sixteen letters!")
    for name, size in (("tensors_offset", 2 * 48), ("layers_offset", 64)):
        what = name.removesuffix("_offset")
        yield f"table of {what} misaligned", FORMAT, moved(good, name, size, shift=2)
        yield f"table of {what} a byte outside", FORMAT, moved(good, name, size, cut=1)
        yield f"table of {what} far behind the end", FORMAT, spoilt(good, **{name: 0xFFFFFFFC})
        yield f"good: table of {what} at the end", OK, moved(good, name, size)
    yield "table of tensors in the header", FORMAT, spoilt(good, tensors_offset=60)


def tensor_cases() -> Named:
    """Fields of a tensor, each alone."""
    good, real = linear(), floating()
    yield "tensor of type 0", FORMAT, spoilt(good, tensor_0_type=0)
    yield "tensor of type 3", FORMAT, spoilt(good, tensor_0_type=3)
    for axis, shape in (("h", (0, 1, 1)), ("w", (1, 0, 1)), ("c", (1, 1, 0))):
        yield f"input with {axis} 0", FORMAT, spoilt(single(LINEAR, shape), layer_0_weight_offset=64)
    yield "unknown flag of a tensor", FORMAT, spoilt(good, tensor_1_flagset=8)
    yield "unknown flag of a float32 tensor", FORMAT, spoilt(real, tensor_1_flagset=8)
    yield "float32 tensor that adapts", FORMAT, spoilt(real, tensor_2_flagset=TENSOR_ADAPTIVE)
    yield "ReLU6 without ReLU", FORMAT, spoilt(good, tensor_1_flagset=TENSOR_RELU6, layer_0_flagset=LAYER_RELU6 | LAYER_TRAINABLE)
    for name, value in (("0", 0), ("negative", -1), ("subnormal", SUBNORMAL), ("infinite", INFINITE), ("NaN", NAN)):
        yield f"scale {name}", FORMAT, spoilt(good, tensor_0_scale=value)
        if value != 0:
            yield f"error scale {name}", FORMAT, spoilt(good, tensor_0_error_scale=value)
    yield "zero point -1", FORMAT, spoilt(good, tensor_0_zero=-1)
    yield "zero point 256", FORMAT, spoilt(good, tensor_0_zero=256)
    for name, values in (
        ("range from NaN", (NAN, 0)),
        ("range from minus infinity", (-INFINITE, 0)),
        ("range to infinity", (0, INFINITE)),
        ("range to NaN", (0, NAN)),
        ("range above 0", (1, 2)),
        ("range below 0", (-2, -1)),
    ):
        yield name, FORMAT, spoilt(good, tensor_0_lo=values[0], tensor_0_hi=values[1])
    for field in ("zero", "lo", "hi", "error_scale"):
        value = -1 if field == "lo" else 1
        yield f"float32 tensor with {field}", FORMAT, spoilt(real, **{f"tensor_1_{field}": value})
    yield "float32 tensor with a scale", FORMAT, spoilt(real, tensor_1_scale=2)
    for i in range(2):
        yield f"tensor's reserved field {i}", FORMAT, spoilt(good, tensor_1_reserved=[i == 0, i == 1])
    yield "logits with an error scale", FORMAT, spoilt(good, tensor_1_error_scale=1)
    yield "float32 input", FORMAT, file_of([tensor(1, 1, 1, F32), tensor(1, 1, 1, F32)], [layer(LINEAR)])
    yield "input with an activation", FORMAT, spoilt(good, tensor_0_flagset=TENSOR_RELU)
    yield "input that adapts", FORMAT, spoilt(good, tensor_0_flagset=TENSOR_ADAPTIVE)
    yield "input that adapts and has an error", FORMAT, spoilt(good, tensor_0_flagset=TENSOR_ADAPTIVE, tensor_0_error_offset=0)
    yield "frozen output that adapts", FORMAT, spoilt(linear(train=False), tensor_1_flagset=TENSOR_ADAPTIVE)
    pooled = [tensor(2, 1, 1), tensor(2, 1, 1), tensor(1, 1, 1, flagset=TENSOR_ADAPTIVE)]
    pool = layer(MAX_POOL2D, 1, kernel_h=2)
    yield "max pool's output that adapts", FORMAT, file_of(pooled, [layer(CONV2D, flagset=LAYER_TRAINABLE), pool])
    yield "good: output that adapts", OK, spoilt(good, tensor_1_flagset=TENSOR_ADAPTIVE)
    yield "good: error scale", OK, spoilt(good, tensor_0_error_scale=0.5)
    yield "good: largest zero point", OK, spoilt(good, tensor_0_zero=255)
    yield "good: subnormal range, smallest scale", OK, spoilt(good, tensor_0_hi=SUBNORMAL, tensor_0_scale=SMALLEST)
    yield "good: scale with the largest exponent", OK, spoilt(good, tensor_0_scale=2.0**127)


def layer_cases() -> Named:
    """Fields of a layer that have nothing to do with its window."""
    good, sums = linear(), added()
    yield "operator 0", FORMAT, spoilt(good, layer_0_op=0)
    yield "operator 9", FORMAT, spoilt(good, layer_0_op=9)
    yield "operator 0 without weights", FORMAT, single(0)
    yield "operator 9 without weights", FORMAT, single(9)
    yield "unknown flag of a layer", FORMAT, spoilt(good, layer_0_flagset=8 | LAYER_TRAINABLE)
    for i in range(5):
        yield f"layer's reserved field {i}", FORMAT, spoilt(good, layer_0_reserved=[i == j for j in range(5)])
    yield "writes another tensor", FORMAT, spoilt(good, layer_0_output=0)
    yield "reads its own output", FORMAT, spoilt(sums, layer_1_input=2)
    yield "reads its own output second", FORMAT, spoilt(sums, layer_1_input=1, layer_1_input2=2)
    yield "reads no tensor", FORMAT, spoilt(good, layer_0_input=0xFFFF)
    yield (
        "second input of one that has one",
        FORMAT,
        spoilt(file_of([tensor(1, 1, 1)] * 3, [layer(LINEAR), layer(LINEAR, 1)]), layer_1_input2=1),
    )
    twice = file_of([tensor(1, 1, 2)] * 4, [layer(HARD_SWISH), layer(ADD, 0, input2=1), layer(ADD, 1, input2=2)])
    yield "adds a tensor to itself", FORMAT, spoilt(twice, layer_2_input=2)
    yield "good: two sums", OK, twice
    for op in (MAX_POOL2D, AVG_POOL2D, DEQUANTIZE, ADD, HARD_SWISH):
        name, i, kind = NAMES[op], int(op == ADD), F32 if op == DEQUANTIZE else U8
        alone, flags = good_single(op), f"layer_{i}_flagset"
        yield f"{name} trains", FORMAT, added(train=True) if op == ADD else single(op, kind=kind, flagset=LAYER_TRAINABLE)
        if op != ADD:
            own = {} if op in (MAX_POOL2D, DEQUANTIZE) else {"tensor_1_flagset": TENSOR_RELU}
            yield f"{name} with ReLU", FORMAT, spoilt(alone, **{flags: LAYER_RELU}, **own)
        for field in ("weight_offset", "weight_bytes", "bias_offset", "bias_bytes", "grids", "grid_offset"):
            if op == HARD_SWISH or field == "weight_offset":
                yield f"{name} with {field}", FORMAT, spoilt(alone, **{f"layer_{i}_{field}": 64})
    yield "output without its layer's ReLU", FORMAT, spoilt(good, layer_0_flagset=LAYER_RELU | LAYER_TRAINABLE)
    yield "output with ReLU6, its layer with ReLU", FORMAT, spoilt(good, layer_0_flagset=LAYER_RELU, tensor_1_flagset=RELU6)
    yield "add's output with ReLU alone", FORMAT, spoilt(sums, tensor_2_flagset=TENSOR_RELU)
    for op, kind in ((MAX_POOL2D, U8), (DEQUANTIZE, F32)):
        shapes = [tensor(1, 1, 1), tensor(1, 1, 1, flagset=LAYER_RELU), tensor(1, 1, 1, kind, flagset=LAYER_RELU)]
        repeated = file_of(shapes, [layer(LINEAR, flagset=LAYER_RELU), layer(op, 1)])
        yield f"{NAMES[op]} loses its input's ReLU", FORMAT, spoilt(repeated, tensor_2_flagset=0)
        yield f"good: {NAMES[op]} repeats its input's ReLU", OK, repeated
    yield "good: add with ReLU6", OK, added(act=RELU6)


def along(axis: str, **fields: int) -> dict[str, Any]:
    """Fields of a layer along an axis: kernel, stride or dilation."""
    return {f"{name}_{axis}": value for name, value in fields.items()}


def window_cases() -> Named:
    """Kernels, strides, dilations, padding and the shapes that follow."""
    for op in (LINEAR, DEQUANTIZE, ADD, HARD_SWISH):
        i = int(op == ADD)
        for field in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w", *PADS):
            if op == LINEAR or field == "kernel_h":
                yield f"{NAMES[op]} with {field}", FORMAT, spoilt(good_single(op), **{f"layer_{i}_{field}": 2})
    for op in (CONV2D, DEPTHWISE_CONV2D, MAX_POOL2D, AVG_POOL2D):
        name = NAMES[op]
        yield f"{name}: output too high", FORMAT, windowed(op, stride_h=1, kernel_w=4, stride_w=1, y=(1, 1, 1))
        yield f"{name}: output too wide", FORMAT, windowed(op, stride_w=1, kernel_h=4, stride_h=1, y=(1, 1, 1))
    for axis, shape in (("h", (2, 1, 1)), ("w", (1, 2, 1))):

        def behind(op, out, shape=shape, **fields):  # a linear layer stands there, so that the window's output may have any size
            tensors = [tensor(*shape), tensor(*out, 1), tensor(1, 1, 1)]
            return file_of(tensors, [layer(op, **fields), layer(LINEAR, 1)])

        one, two, three = ((n, 1) if axis == "h" else (1, n) for n in (1, 2, 3))
        yield f"more windows than fit along {axis}", FORMAT, behind(MAX_POOL2D, three)
        yield f"fewer windows than fit along {axis}", FORMAT, behind(MAX_POOL2D, one)
        yield f"kernel beyond the input along {axis}", FORMAT, behind(MAX_POOL2D, one, **along(axis, kernel=3))
        yield f"stride 0 along {axis}", FORMAT, behind(MAX_POOL2D, one, **along(axis, stride=0))
        yield f"stride 0 of two windows along {axis}", FORMAT, behind(MAX_POOL2D, two, **along(axis, stride=0))
        yield f"kernel 0 along {axis}", FORMAT, behind(CONV2D, three, **along(axis, kernel=0))
        yield f"good: windows along {axis}", OK, behind(MAX_POOL2D, two)
        long = (256, 1, 1) if axis == "h" else (1, 256, 1)
        yield f"kernel 256 along {axis}", FORMAT, single(MAX_POOL2D, long, (1, 1, 1), **along(axis, kernel=256))
        yield f"stride 256 along {axis}", FORMAT, single(MAX_POOL2D, (1, 1, 1), (1, 1, 1), **along(axis, stride=256))
        yield (
            f"good: kernel and stride 255 along {axis}",
            OK,
            single(MAX_POOL2D, long, (1, 1, 1), **along(axis, kernel=255, stride=255)),
        )
        for name, pads in (("before", 0), ("behind", 1)):
            pad = PADS[("h", "w").index(axis) * 2 + pads]
            yield f"pad {name} as long as the kernel along {axis}", FORMAT, windowed(CONV2D, **{**along(axis), pad: 2})
            yield f"good: pad {name} below a dilated kernel along {axis}", OK, windowed(CONV2D, **{**along(axis, dilation=2), pad: 2})
            yield f"max pool with {pad}", FORMAT, spoilt(good_single(MAX_POOL2D), **{f"layer_0_{pad}": 1})
        yield f"dilation 0 along {axis}", FORMAT, single(CONV2D, **along(axis, dilation=0))
        yield f"good: dilation 255 of a kernel of 1 along {axis}", OK, single(CONV2D, **along(axis, dilation=255))
        yield f"max pool with dilation along {axis}", FORMAT, spoilt(good_single(MAX_POOL2D), **{f"layer_0_dilation_{axis}": 2})
    yield "average pool with padding", FORMAT, spoilt(good_single(AVG_POOL2D), layer_0_pad_top=1)
    yield "average pool with dilation", FORMAT, spoilt(good_single(AVG_POOL2D), layer_0_dilation_h=2)
    yield "average pool of 65,026 positions", FORMAT, single(AVG_POOL2D, (2, 32_513, 1), (1, 1, 1), kernel_h=2, kernel_w=32_513)
    yield "average pool with kernel 0", FORMAT, single(AVG_POOL2D, kernel_w=0)
    yield (
        "good: average pool of 65,025 positions",
        OK,
        single(AVG_POOL2D, (1, 65_025, 1), (1, 1, 1), kernel_w=65_025, stride_h=65_535, stride_w=65_535),
    )


def shape_cases() -> Named:
    """Shapes and types on both sides of a layer."""
    yield "logits with height", FORMAT, single(HARD_SWISH, (2, 1, 1), (2, 1, 1))
    yield "logits with width", FORMAT, single(HARD_SWISH, (1, 2, 1), (1, 2, 1))
    for axis, shape in (("height", (2, 1, 1)), ("width", (1, 2, 1))):
        yield (
            f"linear layer's output with {axis}",
            FORMAT,
            file_of([tensor(1, 1, 1), tensor(*shape), tensor(1, 1, 1)], [layer(LINEAR), layer(LINEAR, 1)]),
        )
    for op in (DEPTHWISE_CONV2D, MAX_POOL2D, AVG_POOL2D):
        yield f"{NAMES[op]} of other channels", FORMAT, windowed(op, y=(1, 1, 2))
    for axis, shape in (("height", (2, 1, 1)), ("width", (1, 2, 1)), ("channels", (1, 1, 2))):
        shapes = [tensor(*shape), tensor(1, 1, 1), tensor(1, 1, 1)]
        yield f"hard-swish of another {axis}", FORMAT, file_of(shapes, [layer(HARD_SWISH), layer(LINEAR, 1)])
    yield "dequantize of other channels", FORMAT, single(DEQUANTIZE, y=(1, 1, 3), kind=F32)
    shapes = [tensor(1, 1, 2), tensor(1, 1, 3), tensor(1, 1, 2)]
    for name, inputs in (("first", (1, 0)), ("second", (0, 1))):
        sums = file_of(shapes, [layer(LINEAR), layer(ADD, inputs[0], input2=inputs[1])])
        yield f"add whose {name} input has other channels", FORMAT, sums
    for op in (CONV2D, DEPTHWISE_CONV2D, LINEAR, MAX_POOL2D, AVG_POOL2D, HARD_SWISH):
        wrong = windowed(op, kind=F32) if op not in (LINEAR, HARD_SWISH) else single(op, kind=F32)
        yield f"{NAMES[op]} from uint8 to float32", FORMAT, wrong
    yield "dequantize to uint8", FORMAT, single(DEQUANTIZE)
    yield (
        "dequantize from float32",
        FORMAT,
        file_of([tensor(1, 1, 1), tensor(1, 1, 1, F32), tensor(1, 1, 1, F32)], [layer(DEQUANTIZE), layer(DEQUANTIZE, 1)]),
    )
    mixed = [tensor(1, 1, 1), tensor(1, 1, 1), tensor(1, 1, 1, F32), tensor(1, 1, 1, F32)]
    for name, a, b in (("first", 0, 2), ("second", 2, 0)):
        sums = file_of(mixed, [layer(HARD_SWISH), layer(DEQUANTIZE, 1), layer(ADD, a, input2=b)])
        yield f"add whose {name} input is uint8", FORMAT, sums
    yield "good: logits of hard-swish", OK, single(HARD_SWISH)


def parameter_cases() -> Named:
    """Weights, biases and grids."""
    good, real = linear(), floating()
    grids = file_of([tensor(1, 1, 2), tensor(1, 1, 3)], [layer(LINEAR)])
    for what, size in (("weight", 4), ("bias", 8), ("grid", 8)):
        field = f"layer_0_{what}_offset"
        yield f"{what} misaligned", FORMAT, moved(good, field, size, shift=2)
        yield f"{what} a byte outside", FORMAT, moved(good, field, size, cut=1)
        yield f"{what} far behind the end", FORMAT, spoilt(good, **{field: 0xFFFFFFFC})
        yield f"good: {what} at the end", OK, moved(good, field, size)
    yield "weight in the header", FORMAT, spoilt(good, layer_0_weight_offset=60)
    yield "good: weight behind the header", OK, spoilt(good, layer_0_weight_offset=64)
    yield "a weight too many", FORMAT, spoilt(good, layer_0_weight_bytes=5)
    yield "2^32 weights less one", FORMAT, spoilt(good, layer_0_weight_bytes=0xFFFFFFFF)
    yield "a weight too few", FORMAT, spoilt(good, layer_0_weight_bytes=3)
    yield "float32 weights and a byte", FORMAT, spoilt(real, layer_1_weight_bytes=17)
    yield "float32 weights as uint8", FORMAT, spoilt(real, layer_1_weight_bytes=4)
    yield "input wider than the weights", FORMAT, spoilt(good, tensor_0_c=3)
    yield "a bias too many", FORMAT, spoilt(good, layer_0_bias_bytes=12)
    yield "no biases", FORMAT, spoilt(good, layer_0_bias_bytes=0)
    for i in range(2):
        for bias in (1 << 30, -(1 << 30)):
            yield f"bias {i} is {bias}", FORMAT, spoilt(good, **{f"layer_0_bias_{i}": bias})
    for op in (CONV2D, DEPTHWISE_CONV2D):
        yield f"{NAMES[op]} with a bias of 2^30", FORMAT, spoilt(good_single(op), layer_0_bias_0=1 << 30)
    yield "good: depthwise of two channels", OK, single(DEPTHWISE_CONV2D)
    yield "good: largest and least bias", OK, spoilt(good, layer_0_bias_0=(1 << 30) - 1, layer_0_bias_1=1 - (1 << 30))
    yield "no weight grid", FORMAT, spoilt(good, layer_0_grids=0)
    yield "two weight grids of three channels", FORMAT, spoilt(grids, layer_0_grids=2, layer_0_grid_offset=64)
    per_channel = sealed(good + np.array([1, 0.5], "<f4").tobytes() + np.array([0, 255], "<i4").tobytes())
    per_channel = spoilt(per_channel, layer_0_grids=2, layer_0_grid_offset=len(good))
    yield "good: a grid a channel", OK, per_channel
    for name, value in (("0", 0), ("negative", -1), ("subnormal", SUBNORMAL), ("infinite", INFINITE), ("NaN", NAN)):
        yield f"last weight scale {name}", FORMAT, spoilt(per_channel, layer_0_scale_1=value)
    for zero in (-1, 256):
        yield f"last weight zero point {zero}", FORMAT, spoilt(per_channel, layer_0_zero_1=zero)
    yield "float32 layer with a grid", FORMAT, spoilt(real, layer_1_grids=1)
    yield "float32 layer with a grid's offset", FORMAT, spoilt(real, layer_1_grid_offset=64)
    for what in ("weight", "bias"):
        for name, value in (("infinite", -INFINITE), ("NaN", NAN)):
            yield f"last float32 {what} {name}", FORMAT, spoilt(real, **{f"layer_1_{what}_{3 if what == 'weight' else 1}": value})
    nine = file_of([tensor(1, 1, 3), tensor(1, 1, 3, F32), tensor(1, 1, 3, F32)], [layer(DEQUANTIZE), layer(LINEAR, 1)])
    at = places(nine)["layer_1_weight_0"][0] + 8 * 4
    yield "last of nine float32 weights NaN", FORMAT, sealed(nine[:at] + NAN.tobytes() + nine[at + 4 :])
    yield "last float32 bias -0", FORMAT, spoilt(real, layer_1_bias_1=np.float32(-0.0))
    yield "good: float32 weight -0", OK, spoilt(real, layer_1_weight_0=np.float32(-0.0))


def reader_cases() -> Named:
    """Which layers read a tensor."""
    yield "tensor that no layer reads", FORMAT, file_of([tensor(1, 1, 1)] * 3, [layer(LINEAR), layer(LINEAR)])
    shapes = [tensor(1, 1, 1)] * 4
    shared = file_of(shapes, [layer(MAX_POOL2D), layer(LINEAR), layer(ADD, 1, input2=2)])
    yield "max pool's input read by another", FORMAT, shared
    real = [tensor(1, 1, 1), tensor(1, 1, 1, F32), tensor(1, 1, 1), tensor(1, 1, 1, F32), tensor(1, 1, 1, F32)]
    rest = [layer(LINEAR), layer(DEQUANTIZE, 2), layer(ADD, 1, input2=3)]
    yield "dequantize's input read by another", FORMAT, file_of(real, [layer(DEQUANTIZE), *rest])
    yield "good: an input read twice", OK, file_of(shapes, [layer(HARD_SWISH), layer(LINEAR), layer(ADD, 1, input2=2)])


def plan_cases() -> Named:
    """The memory plan (SPEC.md 14): arenas, which buffers exist, alignment, sharing."""
    good, still = linear(), linear(train=False)
    for arena in ("training", "inference"):
        field = f"{arena}_arena"
        yield f"{arena} arena misaligned", FORMAT, spoilt(good, **{field: 34})
        yield f"{arena} arena of 2^31 bytes", FORMAT, spoilt(good, **{field: 1 << 31})
        yield f"good: {arena} arena of 2^31 - 4 bytes", OK, spoilt(good, **{field: (1 << 31) - 4})
        yield f"{arena} arena too small", FORMAT, spoilt(good, **{field: 0})
    yield "frozen network with a training arena", FORMAT, spoilt(still, training_arena=4)
    room = {"training_arena": 32, "inference_arena": 32}
    for name in ("feature", "error", "inference"):
        field = f"{name}_offset"
        yield f"{name} misaligned", FORMAT, spoilt(good, **room, **{f"tensor_1_{field}": 18})
        yield f"{name} missing", FORMAT, spoilt(good, **room, **{f"tensor_1_{field}": NOWHERE})
        yield f"{name} partly outside its arena", FORMAT, spoilt(good, **room, **{f"tensor_1_{field}": 32})
        yield f"{name} far outside its arena", FORMAT, spoilt(good, **room, **{f"tensor_1_{field}": 0xFFFFFFF8})
        yield f"{name} of the input", FORMAT, spoilt(good, **room, **{f"tensor_0_{field}": 16})
        if name != "inference":
            yield f"{name} of a frozen network", FORMAT, spoilt(still, **{f"tensor_1_{field}": 0})
    yield from sharing_cases()


def sharing_cases() -> Named:
    """Buffers that share bytes: wrong but in place, and in place only where a kernel may."""
    trains, relu, both = ({"flagset": flags} for flags in (LAYER_TRAINABLE, LAYER_RELU, LAYER_RELU | LAYER_TRAINABLE))
    total = layer(ADD, 1, input2=2)

    def maps(c: int, *flags: int) -> list[np.ndarray]:
        return [tensor(1, 1, 1), *(tensor(1, 1, c, flagset=one) for one in flags)]

    plain = apart(maps(2, 0, 0), [layer(LINEAR, **trains), layer(LINEAR, 1)])
    swish = apart(maps(2, 0, 0), [layer(LINEAR, **trains), layer(HARD_SWISH, 1)])
    wide = apart(maps(8, 0, 0), [layer(LINEAR, **trains), layer(HARD_SWISH, 1)])
    pool = apart(maps(1, 0, 0), [layer(CONV2D, **trains), layer(MAX_POOL2D, 1)])
    second = apart(maps(2, 0, 0, 0), [layer(LINEAR), layer(LINEAR, **trains), total])
    first = apart(maps(2, 0, 0, 0), [layer(LINEAR, **trains), layer(LINEAR), total])
    chain = apart(maps(2, 0, 0, 0), [layer(LINEAR, **trains), layer(LINEAR, 1, **trains), layer(LINEAR, 2)])
    skip = apart(maps(2, 0, 0, 0), [layer(LINEAR, **trains), layer(LINEAR, 1), total])
    masked = apart(maps(2, LAYER_RELU, LAYER_RELU, 0), [layer(LINEAR, **both), layer(LINEAR, **both), total])
    beside = apart(
        maps(2, 0, LAYER_RELU, 0, 0), [layer(LINEAR, **trains), layer(LINEAR, **relu), layer(ADD, 1, input2=2), layer(LINEAR, 3)]
    )
    yield "good: all apart", OK, plain
    yield "inference: linear output over its input", FORMAT, sharing(plain, "inference 2", "inference 1")
    yield "training: linear output over its input", FORMAT, sharing(plain, "feature 2", "feature 1")
    yield "error of a linear layer's input over its own", FORMAT, sharing(plain, "error 1", "error 2")
    yield "good: feature without activation, later error", OK, sharing(plain, "feature 1", "error 2")
    yield "good: inference, hard-swish in place", OK, sharing(swish, "inference 2", "inference 1")
    yield "training: hard-swish in place, input used later", FORMAT, sharing(swish, "feature 2", "feature 1")
    yield "good: error of hard-swish in place", OK, sharing(swish, "error 1", "error 2")
    yield "good: error of hard-swish over its input", OK, sharing(swish, "error 1", "feature 1")
    yield "error half over its feature", FORMAT, sharing(wide, "error 1", "feature 1", 4)
    yield "error of max pool over its input", FORMAT, sharing(pool, "error 1", "feature 1")
    yield "good: frozen feature, later error", OK, sharing(second, "feature 1", "error 3")
    yield "good: error of add's second input in place", OK, sharing(second, "error 2", "error 3")
    yield "error of add's first input in place of two", FORMAT, sharing(skip, "error 1", "error 3")
    yield "good: error of add's last input in place", OK, sharing(skip, "error 2", "error 3")
    yield "error of one input over the other's feature", FORMAT, sharing(masked, "error 2", "feature 1")
    yield "good: frozen ReLU in place", OK, sharing(beside, "feature 2", "feature 3")
    yield "good: error of add's only input in place", OK, sharing(first, "error 1", "error 3")
    yield "error of a tensor that carries none", FORMAT, spoilt(first, tensor_2_error_offset=6 * PLACE, training_arena=7 * PLACE)
    yield "good: error two layers before", OK, sharing(chain, "error 1", "error 3")
    yield "a trained layer's input under an error", FORMAT, sharing(chain, "feature 1", "error 3")
    two = apart(maps(2, 0, 0, 0), [layer(LINEAR, **trains), layer(LINEAR, 0, **trains), total])
    fork = [layer(LINEAR, **trains), layer(LINEAR, 1, **trains), layer(LINEAR, 1, **trains), layer(ADD, 2, input2=3)]
    forked = apart(maps(2, 0, 0, 0, 0), fork)
    yield "input of two trained layers under its error", FORMAT, sharing(forked, "feature 1", "error 1")
    yield "errors of add's inputs share bytes", FORMAT, sharing(two, "error 1", "error 2")
    yield "error over feature of the logits", FORMAT, sharing(plain, "error 2", "feature 2")


def bound_cases() -> Named:
    """Section 9, as far as files are small: without weights."""
    yield "1024 classes", BOUND, single(HARD_SWISH, (1, 1, MAX_CLASSES + 1), (1, 1, MAX_CLASSES + 1))
    yield "good: 1023 classes", OK, single(HARD_SWISH, (1, 1, MAX_CLASSES), (1, 1, MAX_CLASSES))
    for name, code, w in (("good: the longest signal", OK, 64_654), ("a signal beyond 32 bits", BOUND, 64_655)):
        yield name, code, single(AVG_POOL2D, (1, w, 65), (1, 1, 65), kernel_w=w)
    for name, code, w in (("good: the longest float32 signal", OK, 61_801), ("a float32 signal beyond 32 bits", BOUND, 61_802)):
        tensors = [tensor(1, w, 17), tensor(1, w, 17, F32), tensor(1, 1, 17, F32)]
        yield name, code, file_of(tensors, [layer(DEQUANTIZE), layer(AVG_POOL2D, 1, kernel_w=w)])
    for name, code, h in (("good: the highest image", OK, 3585), ("an image beyond 32 bits", BOUND, 3586)):
        tensors = [tensor(h, 4096, 128), tensor(14, 16, 128), tensor(1, 1, 128)]
        blocks = {"kernel_h": 255, "kernel_w": 255, "stride_h": 255, "stride_w": 255}
        yield name, code, file_of(tensors, [layer(AVG_POOL2D, **blocks), layer(AVG_POOL2D, 1, kernel_h=14, kernel_w=16)])
    wrong = file_of([tensor(1, 1, MAX_CLASSES + 1)] * 2, [layer(HARD_SWISH)])
    yield "FORMAT comes before BOUND", FORMAT, spoilt(wrong, inference_arena=MAX_CLASSES - 3)


def large_cases() -> Named:
    """Bounds that take many weights or layers."""
    for name, code, wide in (("good: largest fan-in", OK, model_file.MAX_FAN_IN), ("fan-in", BOUND, model_file.MAX_FAN_IN + 1)):
        yield name, code, single(LINEAR, (1, 1, wide), (1, 1, 1))
    yield "fan-in of a depthwise convolution", BOUND, single(DEPTHWISE_CONV2D, (157, 157, 1), (1, 1, 1), kernel_h=157, kernel_w=157)
    many = single(DEPTHWISE_CONV2D, (16, 16, 225), (1, 1, 225), kernel_h=16, kernel_w=16)
    yield "good: depthwise convolution of many channels", OK, many
    for name, code, taps, channels in (("good: largest fan-out", OK, 64, 896), ("fan-out", BOUND, 15, 3823)):
        tensors = [tensor(1, taps, 1), tensor(1, 1, channels), tensor(1, 1, 1)]
        yield name, code, file_of(tensors, [layer(CONV2D, kernel_w=taps), layer(LINEAR, 1)])
    for name, code, count in (("good: 255 layers", OK, 255), ("256 layers", FORMAT, 256)):
        yield name, code, file_of([tensor(1, 1, 1)] * (count + 1), [layer(HARD_SWISH, i) for i in range(count)])


SMALL = (
    envelope_cases,
    header_cases,
    tensor_cases,
    layer_cases,
    window_cases,
    shape_cases,
    parameter_cases,
    reader_cases,
    plan_cases,
    bound_cases,
)
GROUPS = {"model_errors": SMALL, "model_bounds": (large_cases,)}


def named_cases(name: str) -> Iterator[tuple[str, int, bytes]]:
    """Name, expected error and file of each case of a golden file."""
    for group in GROUPS[name]:
        yield from group()


def model_error_files() -> dict[str, list[Case]]:
    """Golden cases by file name."""
    return {
        file: [
            Case("model_error", name, [np.frombuffer(data, np.uint8)], [np.array([error_of(data)], np.int32)])
            for name, _, data in named_cases(file)
        ]
        for file in GROUPS
    }


def error_of(data: bytes) -> int:
    """The error code of a model file, 0 if it is good."""
    try:
        model_file.parse(data)
    except model_file.ModelFileError as error:
        return error.code
    return OK
