# SPDX-License-Identifier: Apache-2.0
"""TFLite (float32, int8, uint8, and float32 with int8 weights) to a Graph: one small function for each operator."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.assemble import NO_PAD, SIZES, SOFTMAX, Assembler, Imported, Value
from fqt_ref.convert.grids import make_grid, real_values, weights_on_grid
from fqt_ref.convert.limits import DAMAGE
from fqt_ref.convert.tflite_file import Operator, Tensor, TFLiteFile, read_tflite
from fqt_ref.errors import FqtError
from fqt_ref.graph import Grid

ACTIVATIONS = {0: "", 1: "relu", 3: "relu6"}
SAME, VALID = 0, 1


def load_tflite(path: Path) -> Imported:
    """Import a file. Raises FqtError, which names the file and the operator, for what cannot be imported."""
    return _Importer(path, read_tflite(path)).run()


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's padding "SAME" along one axis: zeros (before, after)."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


class _Importer:
    def __init__(self, path: Path, file: TFLiteFile):
        self.path, self.file = path, file
        self.values: dict[int, Value] = {}
        self.constants: dict[int, np.ndarray] = {}
        self.uses = Counter(t for operator in file.operators if operator.op != "SHAPE" for t in operator.inputs)
        self.uses.update(file.outputs)

    def run(self) -> Imported:
        try:
            self.start()
        except FqtError as error:
            raise FqtError(f"{self.path}: {error}") from error
        for operator in self.file.operators:
            name = self.file.tensors[operator.outputs[0]].name
            method = getattr(self, operator.op.lower(), None) if operator.op in SUPPORTED else None
            try:
                if method is None:
                    raise FqtError(f"cannot be imported; operators that can: {', '.join(SUPPORTED)}")
                rows = len(self.assembler.rows)
                self.values[operator.outputs[0]] = method(operator, (operator.op, name))
                self.assembler.made(rows, str(operator.outputs[0]))
            except FqtError as error:
                raise FqtError(f"{self.path}: {operator.op} '{name}' {error}") from error
            except KeyError as error:
                if isinstance(error.args[0], int):
                    text = f"{self.path}: {operator.op} '{name}' reads a tensor that no operator before it makes"
                else:
                    text = f"{self.path}: {operator.op} '{name}' has no options; the file is damaged"
                raise FqtError(text) from error
            except DAMAGE as error:
                what = "has options or inputs that do not fit together; the file is damaged"
                raise FqtError(f"{self.path}: {operator.op} '{name}' {what}") from error
        output = self.values.get(self.file.outputs[0])
        if output is None:
            raise FqtError(f"{self.path}: no operator makes the output; the file is damaged")
        try:
            tensor = self.file.tensors[self.file.inputs[0]]
            return replace(self.assembler.finish(output), sample_shape=tensor.shape[1:], sample_type=tensor.type.lower())
        except FqtError as error:
            raise FqtError(f"{self.path}: {error}") from error

    # ---- tensors ----

    def start(self) -> None:
        if len(self.file.inputs) != 1 or len(self.file.outputs) != 1:
            raise FqtError(f"has {len(self.file.inputs)} inputs and {len(self.file.outputs)} outputs; only one of each can be imported")
        tensor = self.file.tensors[self.file.inputs[0]]
        shape = self.feature_shape(tensor)
        if not 1 <= len(shape) <= 3:
            raise FqtError(f"input '{tensor.name}' has rank {len(tensor.shape)}; (batch, h, w, c), (batch, h, w) or (batch, n) is needed")
        image = {1: (1, 1, *shape), 2: (*shape, 1), 3: shape}[len(shape)]
        self.assembler = Assembler(self.path.stem, image)  # type: ignore[arg-type]
        value = Value(0, shape, sole=self.uses[self.file.inputs[0]] == 1)
        self.values[self.file.inputs[0]] = value
        self.prescribe(value, tensor)

    def feature_shape(self, tensor: Tensor) -> tuple[int, ...]:
        """A feature map's shape without the batch."""
        if any(n < 0 for n in tensor.signature[1:]):
            raise FqtError(
                f"tensor '{tensor.name}' has the open shape {tensor.signature}; only the batch may be open: convert with fixed sizes"
            )
        if not tensor.shape or tensor.shape[0] != 1:
            raise FqtError(f"tensor '{tensor.name}' of shape {tensor.shape} is not one sample: convert again with batch size 1")
        return tensor.shape[1:]

    def grid(self, tensor: Tensor) -> Grid | None:
        """A feature map's grid, None of a float32 one."""
        if tensor.type == "FLOAT32":
            return None
        try:
            if tensor.type not in ("INT8", "UINT8"):
                raise FqtError(f"is of type {tensor.type}; FLOAT32, INT8 and UINT8 can be imported")
            if len(tensor.scale) == 0:
                raise FqtError("has no scale")
            return make_grid(tensor.scale, tensor.zero, np.dtype(tensor.type.lower()))
        except FqtError as error:
            raise FqtError(f"tensor '{tensor.name}' {error}") from error

    def prescribe(self, value: Value, tensor: Tensor) -> str:
        grid = self.grid(tensor)
        return "" if grid is None else self.assembler.prescribe(value, grid)

    def sole(self, operator: Operator) -> bool:
        return self.uses[operator.outputs[0]] == 1

    def input(self, operator: Operator, pad: bool = False) -> Value:
        """The first input, which has to be a feature map."""
        return self.assembler.plain(self.values[operator.inputs[0]], pad)

    def constant(self, operator: Operator, k: int) -> np.ndarray | None:
        """Input k as a float32 or integer array; None if there is none, or if it is a feature map."""
        if k >= len(operator.inputs) or operator.inputs[k] < 0:
            return None
        index = operator.inputs[k]
        if index in self.constants:
            return self.constants[index]
        tensor = self.file.tensors[index]
        if tensor.data is None or index in self.values:
            return None
        if tensor.type in ("INT8", "UINT8") and len(tensor.scale):
            grid = make_grid(tensor.scale, tensor.zero, tensor.data.dtype)
            if len(grid.scale) != 1:
                raise FqtError(f"reads '{tensor.name}', which has a grid for each channel, as something else than weights")
            return real_values(self.as_bytes(tensor), grid)
        if tensor.type == "INT32" and len(tensor.scale):
            return (tensor.data.astype(np.float64) * tensor.scale.astype(np.float64)).astype(np.float32)
        return tensor.data.astype(np.float32) if tensor.type == "FLOAT16" else tensor.data

    @staticmethod
    def as_bytes(tensor: Tensor) -> np.ndarray:
        if tensor.data is None:
            raise FqtError(f"reads '{tensor.name}', which is no constant")
        return (tensor.data.astype(np.int16) + (128 if tensor.type == "INT8" else 0)).astype(np.uint8)

    def weights(self, operator: Operator, rank: int, axis: int) -> tuple[np.ndarray, Grid | None]:
        """Input 1 as float32 weights with the axis of the output channels first, and their grid."""
        index = operator.inputs[1] if len(operator.inputs) > 1 else -1
        data = self.constants.get(index) if index >= 0 else None
        tensor = self.file.tensors[index] if index >= 0 else None
        if tensor is None or (tensor.data is None and data is None):
            raise FqtError("has weights that are no constant")
        if len(tensor.shape) != rank:
            raise FqtError(f"has weights of rank {len(tensor.shape)}, not {rank}")
        if data is not None or tensor.type in ("FLOAT32", "FLOAT16"):
            array = tensor.data if data is None else data
            return np.moveaxis(np.asarray(array, np.float32), axis, 0), None
        grid = self.grid(tensor)
        if grid is None or (len(grid.scale) != 1 and (tensor.axis != axis or len(grid.scale) != tensor.shape[axis])):
            raise FqtError("has weights whose scales are not those of its output channels")
        return weights_on_grid(np.moveaxis(self.as_bytes(tensor), axis, 0), grid)

    def bias(self, operator: Operator, weights: np.ndarray, grid: Grid | None, value: Value) -> np.ndarray:
        """Input 2, float32; an int32 one counts in steps of input scale times weight scale."""
        channels = len(weights)
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return np.zeros(channels, np.float32)
        tensor = self.file.tensors[operator.inputs[2]]
        data = self.constants.get(operator.inputs[2], tensor.data)
        if data is None or data.size != channels:
            raise FqtError(f"has a bias that is no constant with {channels} values")
        data = data.reshape(-1)
        if data.dtype.kind == "f":
            return data.astype(np.float32)
        x = self.file.tensors[operator.inputs[0]]
        steps = tensor.scale
        if len(steps) == 0 and grid is not None and len(x.scale):
            steps = x.scale.astype(np.float64) * self.file.tensors[operator.inputs[1]].scale
        if data.dtype != np.int32 or len(steps) not in (1, channels):
            raise FqtError(f"has a bias of type {tensor.type} with {len(steps)} scales; INT32 with one scale or one a channel is needed")
        return (data.astype(np.float64) * steps.astype(np.float64)).astype(np.float32)

    # ---- operators: each takes (operator, source) and returns the output's Value ----

    def activation(self, operator: Operator) -> str:
        code = operator.options["FusedActivationFunction"]
        if code not in ACTIVATIONS:
            raise FqtError(f"has the fused activation {code} (tanh, ReLU -1..1 or sign); only ReLU and ReLU6 can be imported")
        return ACTIVATIONS[code]

    def finished(self, operator: Operator, value: Value) -> Value:
        tensor = self.file.tensors[operator.outputs[0]]
        self.prescribe(value, tensor)
        return replace(value, shape=self.feature_shape(tensor))

    def window(self, operator: Operator, value: Value, kernel: tuple[int, int]) -> dict:
        """Stride, dilation and padding, those of a PAD before it included."""
        o = operator.options
        stride = (o["StrideH"], o["StrideW"])
        dilation = (o.get("DilationHFactor", 1), o.get("DilationWFactor", 1))
        if min(*stride, *dilation, *kernel) < 1 or o["Padding"] not in (SAME, VALID):
            raise FqtError("has a stride, dilation or padding that does not exist: the file is damaged")
        h, w, _ = self.assembler.shape(value)
        top, bottom, left, right = value.pad
        if o["Padding"] == SAME:
            before_h, after_h = same_padding(h + top + bottom, kernel[0], stride[0], dilation[0])
            before_w, after_w = same_padding(w + left + right, kernel[1], stride[1], dilation[1])
            top, bottom, left, right = top + before_h, bottom + after_h, left + before_w, right + after_w
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": (top, bottom, left, right)}

    def convolution(self, operator: Operator, source: tuple[str, str], depthwise: bool) -> Value:
        padded = self.input(operator, pad=True)
        value = self.assembler.as_image(replace(padded, shape=self.unpadded(padded)))
        weights, grid = self.weights(operator, 4, 3 if depthwise else 0)
        channels = self.assembler.shape(value)[2]
        if depthwise:
            weights = np.moveaxis(weights, 1, 3)  # [c, 1, h, w] to [c, h, w, 1]
        window = self.window(operator, value, (weights.shape[1], weights.shape[2]))
        op = "depthwise_conv2d" if depthwise and channels > 1 else "conv2d"
        if depthwise and weights.shape[0] != channels and channels > 1:
            raise FqtError(f"makes {weights.shape[0]} channels of {channels}; a depth multiplier above 1 needs an input of one channel")
        if not depthwise and weights.shape[3] != channels:
            raise FqtError(f"has weights for {weights.shape[3]} of its input's {channels} channels; groups cannot be imported")
        note = "of one channel: a conv2d" if depthwise and channels == 1 else ""
        if value.pad != NO_PAD:
            note = "; ".join(filter(None, [note, "with the zeros of the PAD before it"]))
        bias = self.bias(operator, weights, grid, value)
        fields = {"weights": np.ascontiguousarray(weights), "bias": bias, "weight_grid": grid, "activation": self.activation(operator)}
        made = self.assembler.add(op, source, [value], self.sole(operator), note, channels=weights.shape[0], **window, **fields)
        return self.finished(operator, made)

    def unpadded(self, value: Value) -> tuple[int, ...]:
        """The shape before the PAD."""
        if value.pad == NO_PAD or len(value.shape) != 3:
            return value.shape
        top, bottom, left, right = value.pad
        return (value.shape[0] - top - bottom, value.shape[1] - left - right, value.shape[2])

    def conv_2d(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.convolution(operator, source, depthwise=False)

    def depthwise_conv_2d(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.convolution(operator, source, depthwise=True)

    def fully_connected(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.input(operator)
        weights, grid = self.weights(operator, 2, 0)
        size = int(np.prod(self.assembler.shape(value)))
        if operator.options.get("WeightsFormat"):
            raise FqtError("has shuffled weights; convert again for the default format")
        if weights.shape[1] != size:
            raise FqtError(f"has weights for {weights.shape[1]} inputs and reads {size}; it can only read a whole sample")
        bias = self.bias(operator, weights, grid, value)
        fields: dict[str, Any] = {"weights": weights.reshape(len(weights), 1, 1, size), "bias": bias, "weight_grid": grid}
        fields["activation"] = self.activation(operator)
        return self.finished(operator, self.assembler.add("linear", source, [value], self.sole(operator), channels=len(weights), **fields))

    def pooling(self, operator: Operator, source: tuple[str, str], op: str) -> Value:
        value = self.assembler.as_image(self.input(operator))
        kernel = (operator.options["FilterHeight"], operator.options["FilterWidth"])
        window = self.window(operator, value, kernel)
        if window["padding"] != NO_PAD:
            raise FqtError(f"pads its input by {window['padding']} (top, bottom, left, right); pooling with padding cannot be imported")
        activation = self.activation(operator)
        made = self.assembler.add(op, source, [value], self.sole(operator), channels=self.assembler.shape(value)[2], **window)
        if activation:
            made = self.assembler.activate(made, activation, source, self.sole(operator))
        return self.finished(operator, made)

    def max_pool_2d(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.pooling(operator, source, "max_pool2d")

    def average_pool_2d(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.pooling(operator, source, "avg_pool2d")

    def mean(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.assembler.as_image(self.input(operator))
        axes = self.constant(operator, 1)
        if axes is None or sorted(int(a) % 4 for a in axes.reshape(-1)) != [1, 2]:
            raise FqtError("is not a mean over height and width; only that (global average pooling) can be imported")
        h, w, c = self.assembler.shape(value)
        made = self.assembler.add("avg_pool2d", source, [value], self.sole(operator), "global average pooling", channels=c, kernel=(h, w))
        return self.finished(operator, made)

    def add(self, operator: Operator, source: tuple[str, str]) -> Value:
        a, b = (self.constant(operator, k) for k in (0, 1))
        if a is not None or b is not None:
            return self.with_constant(operator, source, np.float32(1), b if a is None else a)
        x, y = (self.assembler.plain(self.values[operator.inputs[k]]) for k in (0, 1))
        if x.tensor == y.tensor:
            raise FqtError("adds a tensor to itself; its inputs have to differ")
        if x.shape != y.shape:
            raise FqtError(f"adds shapes {x.shape} and {y.shape}; both have to be the same")
        fields: dict[str, Any] = {"channels": self.assembler.shape(x)[2], "activation": self.activation(operator)}
        return self.finished(operator, self.assembler.add("add", source, [x, y], self.sole(operator), **fields))

    def sub(self, operator: Operator, source: tuple[str, str]) -> Value:
        b = self.constant(operator, 1)
        if b is None:
            raise FqtError("does not subtract a constant; only that can be imported")
        return self.with_constant(operator, source, np.float32(1), -b)

    def mul(self, operator: Operator, source: tuple[str, str]) -> Value:
        a, b = (self.constant(operator, k) for k in (0, 1))
        if a is None and b is None:
            raise FqtError("multiplies two feature maps; only a constant factor a channel can be imported")
        return self.with_constant(operator, source, b if a is None else a, np.float32(0))

    def with_constant(self, operator: Operator, source: tuple[str, str], factor, offset) -> Value:
        """factor * x + offset: scalars, or one a channel."""
        value = self.assembler.plain(self.values[next(t for t in operator.inputs if t in self.values)])
        for array in (np.asarray(factor), np.asarray(offset)):
            if array.size not in (1, self.assembler.shape(value)[2]) or (array.size > 1 and array.shape[-1] != array.size):
                raise FqtError(f"has a constant of shape {array.shape}; one value, or one a channel, can be imported")
        activation = self.activation(operator)
        made = self.assembler.scaled(value, factor, offset, source, self.sole(operator))
        if activation:
            made = self.assembler.activate(made, activation, source, self.sole(operator))
        return self.finished(operator, made)

    def relu(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.finished(operator, self.assembler.activate(self.input(operator), "relu", source, self.sole(operator)))

    def relu6(self, operator: Operator, source: tuple[str, str]) -> Value:
        return self.finished(operator, self.assembler.activate(self.input(operator), "relu6", source, self.sole(operator)))

    def hard_swish(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.input(operator)
        made = self.assembler.add("hard_swish", source, [value], self.sole(operator), channels=self.assembler.shape(value)[2])
        return self.finished(operator, made)

    def pad(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.assembler.as_image(self.input(operator))
        pads = self.constant(operator, 1)
        if pads is None or pads.shape != (4, 2) or np.any(pads < 0) or np.any(pads[[0, 3]] != 0):
            raise FqtError("does not pad height and width by constants")
        if len(operator.inputs) > 2:
            number = self.constant(operator, 2)
            if number is None or number.size != 1 or float(number.reshape(-1)[0]) != 0:
                raise FqtError("pads with something else than zeros")
        self.assembler.say(*source, value, "folded: the next convolution's padding")
        shape = self.feature_shape(self.file.tensors[operator.outputs[0]])
        pad = tuple(int(n) for n in pads[1:3].reshape(-1))
        return replace(value, shape=shape, pad=pad, sole=value.sole and self.sole(operator))  # type: ignore[arg-type]

    def reshape(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.values[operator.inputs[0]]
        if value.pad != NO_PAD or value.form == SIZES:
            self.assembler.plain(value)
        tensor, sizes = self.file.tensors[operator.outputs[0]], operator.inputs[1] if len(operator.inputs) > 1 else -1
        computed = sizes in self.values and self.values[sizes].form == SIZES  # from an open batch, which is one sample here
        shape = self.feature_shape(replace(tensor, signature=tensor.shape) if computed else tensor)
        if np.prod(shape, dtype=int) != np.prod(value.shape, dtype=int):
            raise FqtError(f"makes shape {shape} of {value.shape}")
        self.assembler.say(*source, value, "dropped: values keep their order")
        return replace(value, shape=shape, sole=value.sole and self.sole(operator))

    squeeze = expand_dims = reshape

    def shape(self, operator: Operator, source: tuple[str, str]) -> Value:
        """Sizes, of which only the batch is open, on their way into a RESHAPE: what it makes is known from the file."""
        value = self.input(operator)
        self.assembler.say(*source, value, "dropped: sizes are fixed")
        return replace(value, form=SIZES)

    def strided_slice(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.values[operator.inputs[0]]
        if value.form != SIZES:
            raise FqtError("takes a part of a feature map, which cannot be imported")
        self.assembler.say(*source, value, "dropped: sizes are fixed")
        return value

    def pack(self, operator: Operator, source: tuple[str, str]) -> Value:
        values = [self.values[t] for t in operator.inputs if t in self.values]
        if not values or any(value.form != SIZES for value in values):
            raise FqtError("stacks feature maps, which cannot be imported")
        self.assembler.say(*source, values[0], "dropped: sizes are fixed")
        return values[0]

    def softmax(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.input(operator)
        self.assembler.say(*source, value, "dropped: training has its own")
        return replace(value, form=SOFTMAX)

    log_softmax = softmax

    def quantize(self, operator: Operator, source: tuple[str, str]) -> Value:
        value = self.values[operator.inputs[0]]
        note = self.prescribe(value, self.file.tensors[operator.outputs[0]])
        self.assembler.say(*source, value, note)
        return replace(value, sole=value.sole and self.sole(operator))

    def dequantize(self, operator: Operator, source: tuple[str, str]) -> Value:
        data = self.constant(operator, 0)
        if data is not None:
            self.constants[operator.outputs[0]] = data.astype(np.float32)
            self.assembler.say(*source, None, "a constant")
            return Value(0, data.shape)
        value = self.values[operator.inputs[0]]
        self.assembler.say(*source, value, "dropped")
        return replace(value, sole=value.sole and self.sole(operator))


SUPPORTED = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "ADD", "SUB", "MUL", "RELU", "RELU6",
    "HARD_SWISH", "PAD", "RESHAPE", "SHAPE", "STRIDED_SLICE", "PACK", "SQUEEZE", "EXPAND_DIMS",
    "SOFTMAX", "LOG_SOFTMAX", "QUANTIZE", "DEQUANTIZE",
)  # fmt: skip
