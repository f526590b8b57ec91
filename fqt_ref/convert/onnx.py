# SPDX-License-Identifier: Apache-2.0
"""ONNX (float32, or quantized with QuantizeLinear / DequantizeLinear pairs) to a Graph: one small function for each operator."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.assemble import NO_PAD, PLAIN, SOFTMAX, Assembler, Imported, Value, hwc
from fqt_ref.convert.folding import fold
from fqt_ref.convert.grids import make_grid, real_values, shift_of, weights_on_grid
from fqt_ref.convert.limits import DAMAGE, MAX_ELEMENTS
from fqt_ref.convert.onnx_file import OnnxFile, OnnxNode, read_onnx, records, type_name
from fqt_ref.errors import FqtError
from fqt_ref.graph import Grid

PLUS3, CLIPPED, GATE, PRODUCT = "x + 3", "relu6(x + 3)", "relu6(x + 3) / 6", "x relu6(x + 3)"  # what a hard-swish is made of
NO_BATCH = 1
REAL_CASTS = ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16")
WIDER = {  # integers that hold every value of an integer input
    "UINT8": ("UINT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64"),
    "INT8": ("INT8", "INT16", "INT32", "INT64"),
}
ORDERLESS = ("QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Add", "Sub", "Mul", "Div")  # say nothing of axes' order
RECURRENT = ("LSTM", "GRU", "RNN")
OF_ANY_TYPE = ("Cast", "DequantizeLinear", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")  # of integers, too


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant: float values that lie on a grid if they were quantized, whose channels are along an axis."""

    array: np.ndarray
    grid: Grid | None = None
    axis: int = 0


def load_onnx(path: Path) -> Imported:
    """Import a file. Raises FqtError, which names the file and the node, for what cannot be imported."""
    return _Importer(read_onnx(path), str(path)).run()


def from_model(model: Any, name: str, where: str = "") -> Imported:
    """Import an onnx.ModelProto; where: what messages call it."""
    return _Importer(records(model, name, where or name), where or name).run()


class _Importer:
    def __init__(self, file: OnnxFile, where: str):
        self.file, self.where = file, where
        self.values: dict[str, Value] = {}
        self.constants = {name: Constant(array) for name, array in file.constants.items()}
        self.uses = Counter(name for node in file.nodes for name in node.inputs)
        self.uses[file.output] += 1
        self.opset = file.opsets.get("", 17)
        self.folded = 0  # elements of constants that were computed
        self.integers = {file.input} if file.type in WIDER else set()  # tensors whose values are integers, as the input has them

    def run(self) -> Imported:
        try:
            self.check_recurrent()
            self.start()
            first = self.values[self.file.input]
            for node in self.file.nodes:
                self.convert(node)
            output = self.values.get(self.file.output)
            if output is None:
                raise FqtError(f"the output '{self.file.output}' does not depend on the input")
            kind = self.file.type.lower() if self.file.type in WIDER else "float32"
            return replace(self.assembler.finish(output), layout=first.order, sample_shape=first.shape, sample_type=kind)
        except FqtError as error:
            raise FqtError(f"{self.where}: {error}") from error

    def check_recurrent(self) -> None:
        """Say it of a recurrent network before its Transposes are refused for other reasons. Raises FqtError."""
        for node in self.file.nodes:
            if node.op in RECURRENT:
                raise FqtError(f"{node.op} '{node.name}' cannot be imported; of series, convolutions over time can (Conv1d)")

    def start(self) -> None:
        shape = self.file.shape
        if not 2 <= len(shape) <= 4:
            raise FqtError(f"input '{self.file.input}' has rank {len(shape)}; (batch, c, h, w), (batch, h, w) or (batch, n) is needed")
        if any(n is None for n in shape[1:]):
            text = ", ".join("?" if n is None else str(n) for n in shape)
            raise FqtError(f"input '{self.file.input}' has the open shape ({text}); only the batch may be open: export with fixed sizes")
        if shape[0] not in (None, NO_BATCH):
            raise FqtError(f"input '{self.file.input}' has batch size {shape[0]}; export with batch size 1 or an open one")
        sample: tuple[int, ...] = tuple(n for n in shape[1:] if n is not None)
        order = self.input_order()
        image = {1: (1, 1, *sample), 2: (*sample, 1), 3: hwc(sample, order) if len(sample) == 3 else ()}[len(sample)]
        self.assembler = Assembler(self.file.name, image)  # type: ignore[arg-type]
        self.values[self.file.input] = Value(0, sample, order, self.uses[self.file.input] == 1)

    def input_order(self) -> str:
        """Of the input's axes: h, w, c if the network begins with a transposition to c, h, w."""
        name = self.file.input
        for node in self.file.nodes:
            if name in node.inputs:
                if node.op == "Transpose" and list(node.attributes.get("perm", [])) == [0, 3, 1, 2]:
                    return "hwc"
                if node.op not in ORDERLESS:
                    return "chw"
                name = node.outputs[0]
        return "chw"

    def convert(self, node: OnnxNode) -> None:
        try:
            known = [name for name in node.inputs if name]
            missing = [name for name in known if name not in self.values and name not in self.constants]
            if missing:
                raise FqtError(f"reads '{missing[0]}', which no node before it makes")
            if node.op == "Constant":
                self.constants[node.outputs[0]] = Constant(self.constant_value(node))
            elif node.op in ("Loop", "Scan", "If"):
                raise FqtError("is control flow; export the network with it unrolled, for one fixed size of input")
            elif node.op == "Shape":
                self.shape_of(node)
            elif node.op in ("QuantizeLinear", "DequantizeLinear") or not all(name in self.constants for name in known):
                self.operator(node)
            else:
                self.fold(node)
        except FqtError as error:
            raise FqtError(f"{node.op} '{node.name}' {error}") from error
        except DAMAGE as error:
            raise FqtError(f"{node.op} '{node.name}' has attributes or inputs that do not fit together; the file is damaged") from error

    def operator(self, node: OnnxNode) -> None:
        op = node.op.removeprefix("com.microsoft.") if node.op.endswith("quantizeLinear") or node.op.endswith("QuantizeLinear") else node.op
        method = OPERATORS.get(op)
        if method is None:
            quantized = op.startswith(("QLinear", "com.")) or op.endswith("Integer")
            hint = "; export quantized networks with QuantizeLinear and DequantizeLinear pairs (QDQ)" if quantized else ""
            raise FqtError(f"cannot be imported{hint}; operators that can: {', '.join(OPERATORS)}")
        if self.integers.intersection(node.inputs):
            if op not in OF_ANY_TYPE:
                raise FqtError("computes with integers, which rounds in its own way; a Cast to float has to stand before it")
            if op not in ("Cast", "DequantizeLinear"):
                self.integers.add(node.outputs[0])
        rows = len(self.assembler.rows)
        result = method(self, node)
        self.assembler.made(rows, node.outputs[0])
        if isinstance(result, Constant):
            self.constants[node.outputs[0]] = result
        else:
            self.values[node.outputs[0]] = result

    # ---- constants ----

    @staticmethod
    def constant_value(node: OnnxNode) -> np.ndarray:
        kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
        for key, kind in kinds.items():
            if key in node.attributes:
                return np.asarray(node.attributes[key], kind)
        raise FqtError("is of a kind that cannot be imported: a number or numbers are needed")

    def shape_of(self, node: OnnxNode) -> None:
        name = node.inputs[0]
        shape = self.constants[name].array.shape if name in self.constants else (NO_BATCH, *self.values[name].shape)
        start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
        self.constants[node.outputs[0]] = Constant(np.array(shape[start:end], np.int64))

    def fold(self, node: OnnxNode) -> None:
        """Compute what depends on constants only; a transposition keeps the grid."""
        first = self.constants[node.inputs[0]] if node.inputs and node.inputs[0] else None
        results = fold(node, [self.constants[name].array if name else None for name in node.inputs], self.opset)
        self.folded += sum(array.size for array in results)
        if self.folded > MAX_ELEMENTS:
            raise FqtError(f"and the nodes before it make constants of more than {MAX_ELEMENTS} elements; a microcontroller holds less")
        for name, array in zip(node.outputs, results, strict=True):
            self.constants[name] = Constant(array)
        if first is not None and first.grid is not None:
            if node.op == "Transpose":
                permutation = list(node.attributes.get("perm", range(first.array.ndim)[::-1]))
                axis = permutation.index(first.axis) if len(first.grid.scale) > 1 else 0
                self.constants[node.outputs[0]] = replace(first, array=results[0], axis=axis)
            elif node.op == "Identity":
                self.constants[node.outputs[0]] = first

    def constant(self, node: OnnxNode, k: int, attribute: str = "") -> np.ndarray | None:
        """Input k, or the attribute that it was in older opsets; None if there is neither."""
        if attribute in node.attributes:
            return np.asarray(node.attributes[attribute])
        if k >= len(node.inputs) or not node.inputs[k]:
            return None
        if node.inputs[k] not in self.constants:
            raise FqtError(f"takes '{node.inputs[k]}', which is no constant")
        return self.constants[node.inputs[k]].array

    # ---- feature maps ----

    def sole(self, node: OnnxNode) -> bool:
        return self.uses[node.outputs[0]] == 1

    def input(self, node: OnnxNode, k: int = 0, pad: bool = False) -> Value:
        if node.inputs[k] not in self.values:
            raise FqtError(f"takes the constant '{node.inputs[k]}' where a feature map is needed")
        return self.assembler.plain(self.values[node.inputs[k]], pad)

    def source(self, node: OnnxNode) -> tuple[str, str]:
        return (node.op, node.name)

    def image(self, node: OnnxNode, pad: bool = False) -> Value:
        """The input as an image in the order c, h, w, without the zeros of a Pad before it; a series c, w is one of height 1."""
        value = self.input(node, pad=pad)
        if len(value.shape) == 2 and value.order == "chw":
            value = replace(value, shape=(value.shape[0], 1, value.shape[1]))
        if len(value.shape) == 3 and value.order != "chw":
            raise FqtError("reads axes in the order h, w, c; a Transpose to c, h, w has to stand before it")
        if value.pad != NO_PAD:
            top, bottom, left, right = value.pad
            value = replace(value, shape=(value.shape[0], value.shape[1] - top - bottom, value.shape[2] - left - right))
        return self.assembler.as_image(value)

    def as_read(self, node: OnnxNode, made: Value) -> Value:
        """What a node makes, a series again if it reads one."""
        series = len(self.values[node.inputs[0]].shape) == 2 and len(made.shape) == 3
        return replace(made, shape=(made.shape[0], made.shape[2])) if series else made

    def passed(self, node: OnnxNode, value: Value, note: str) -> Value:
        """A value that a node leaves as it is."""
        self.assembler.say(*self.source(node), value, note)
        return replace(value, sole=value.sole and self.sole(node))

    # ---- layers with weights ----

    def weights(self, node: OnnxNode, k: int, axis: int) -> tuple[np.ndarray, Grid | None]:
        """Input k as float32 with the output channels' axis first, and its grid."""
        constant = self.constants.get(node.inputs[k])
        if constant is None:
            raise FqtError(f"has weights '{node.inputs[k]}' that are no constant")
        if constant.grid is not None and len(constant.grid.scale) > 1:
            if constant.axis != axis:
                raise FqtError(f"has weights with scales along axis {constant.axis}, not along that of the output channels, {axis}")
            if len(constant.grid.scale) != constant.array.shape[axis]:
                raise FqtError("has weights with another number of scales than output channels")
        return np.moveaxis(constant.array.astype(np.float32), axis, 0), constant.grid

    def window(self, node: OnnxNode, value: Value, kernel: tuple[int, ...]) -> dict:
        """Stride, dilation and padding of a Conv or a pool; the zeros of a Pad before it are part of the padding."""
        a = node.attributes
        strides, dilations = tuple(a.get("strides", (1,) * len(kernel))), tuple(a.get("dilations", (1,) * len(kernel)))
        pads, auto = tuple(a.get("pads", (0,) * (2 * len(kernel)))), a.get("auto_pad", "NOTSET")
        if len(kernel) == 1 and len(strides) == len(dilations) == 1 and len(pads) == 2:  # of a series: an image of height 1
            kernel, strides, dilations, pads = (1, *kernel), (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])
        if len(kernel) != 2:
            raise FqtError(f"has a window of {len(kernel)} axes; only two, h and w, can be imported: add an axis of size 1")
        if len(strides) != 2 or len(dilations) != 2 or len(pads) != 4 or min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
            raise FqtError("has a stride, dilation or padding that cannot be imported")
        h, w, _ = self.assembler.shape(value)
        top, left, bottom, right = pads
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            sides = []
            for size, k, stride, dilation, extra in zip((h, w), kernel, strides, dilations, (value.pad[:2], value.pad[2:]), strict=True):
                size += sum(extra)
                total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
                small, large = total // 2, total - total // 2
                sides.append((small, large) if auto == "SAME_UPPER" else (large, small))
            (top, bottom), (left, right) = sides
        elif auto == "VALID":
            top = bottom = left = right = 0
        elif auto not in ("NOTSET", ""):
            raise FqtError(f"has the padding '{auto}', which does not exist")
        padding = tuple(int(p + q) for p, q in zip((top, bottom, left, right), value.pad, strict=True))
        return {"kernel": tuple(map(int, kernel)), "stride": strides, "dilation": dilations, "padding": padding}

    def conv(self, node: OnnxNode) -> Value:
        value = self.image(node, pad=True)
        weights, grid = self.weights(node, 1, 0)
        if weights.ndim not in (3, 4) or weights.ndim != len(self.values[node.inputs[0]].shape) + 1:
            raise FqtError(f"has weights of rank {weights.ndim}; only one- and two-dimensional convolutions can be imported")
        window = self.window(node, value, weights.shape[2:])
        weights = weights.reshape(*weights.shape[:2], *window["kernel"])
        channels, group, out = self.assembler.shape(value)[2], int(node.attributes.get("group", 1)), weights.shape[0]
        if weights.shape[1] * group != channels:
            raise FqtError(f"has weights for {weights.shape[1] * group} channels, its input has {channels}")
        op = "conv2d" if group == 1 else "depthwise_conv2d"
        if group > 1 and not group == channels == out:
            what = f"is a convolution of {channels} to {out} channels in {group} groups"
            raise FqtError(f"{what}; only one group, or depthwise ones of as many outputs as inputs, can be imported")
        bias = self.bias(node, 2, out)
        weights = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
        note = "with the zeros of the Pad before it" if value.pad != NO_PAD else ""
        fields = {"channels": out, "weights": weights, "bias": bias, "weight_grid": grid}
        return self.as_read(node, self.assembler.add(op, self.source(node), [value], self.sole(node), note, **window, **fields))

    def bias(self, node: OnnxNode, k: int, channels: int, factor: float = 1.0) -> np.ndarray:
        array = self.constant(node, k)
        if array is None:
            return np.zeros(channels, np.float32)
        if array.size not in (1, channels) or (array.size > 1 and array.shape[-1] != array.size):
            raise FqtError(f"has a bias of shape {array.shape} for {channels} channels")
        return np.broadcast_to(array.reshape(-1).astype(np.float32) * np.float32(factor), channels) + np.float32(0)

    def gemm(self, node: OnnxNode) -> Value:
        a = node.attributes
        if a.get("transA", 0):
            raise FqtError("transposes its input, which cannot be imported")
        weights, grid = self.weights(node, 1, 0 if a.get("transB", 0) else 1)
        alpha = np.float32(a.get("alpha", 1.0))
        if alpha != 1:
            weights, grid = weights * alpha, None
        return self.linear(node, weights, grid, self.bias(node, 2, len(weights), a.get("beta", 1.0)))

    def matmul(self, node: OnnxNode) -> Value:
        if node.inputs[1] not in self.constants:
            raise FqtError("multiplies two feature maps; only a linear layer, input times constant weights, can be imported")
        weights, grid = self.weights(node, 1, 1)
        return self.linear(node, weights, grid, np.zeros(len(weights), np.float32))

    def linear(self, node: OnnxNode, weights: np.ndarray, grid: Grid | None, bias: np.ndarray) -> Value:
        """A linear layer; behind a flatten of c, h, w its weights are put in the order h, w, c."""
        value = self.input(node)
        if len(value.shape) > 1 and any(n > 1 for n in value.shape[:-1]):
            raise FqtError(f"reads {('batch', *value.shape)}, not a flattened sample; a linear layer along one axis cannot be imported")
        h, w, c = self.assembler.shape(value)
        if weights.ndim != 2 or weights.shape[1] != h * w * c:
            raise FqtError(f"has weights of shape {weights.shape[::-1]} and reads {h * w * c} values")
        note = ""
        if value.order == "chw" and h * w > 1 and c > 1:
            weights = weights.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(weights), -1)
            note = "weights put in the order h, w, c"
        fields = {"weights": np.ascontiguousarray(weights.reshape(len(weights), 1, 1, -1)), "bias": bias, "weight_grid": grid}
        made = self.assembler.add("linear", self.source(node), [value], self.sole(node), note, channels=len(weights), **fields)
        return replace(made, order="chw")

    def batch_norm(self, node: OnnxNode) -> Value:
        value = self.input(node)
        if node.attributes.get("training_mode", 0):
            raise FqtError("is in training mode; export the network for inference (model.eval())")
        arrays = [self.constant(node, k) for k in range(1, 5)]
        gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
        factor = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        value = self.image(node) if len(value.shape) == 2 else value
        return self.as_read(node, self.assembler.scaled(value, factor, beta - mean * factor, self.source(node), self.sole(node)))

    # ---- pooling ----

    def pool(self, node: OnnxNode, op: str) -> Value:
        value = self.image(node)
        window = self.window(node, value, tuple(node.attributes["kernel_shape"]))
        if window["padding"] != NO_PAD:
            raise FqtError(f"pads its input by {window['padding']} (top, bottom, left, right); pooling with padding cannot be imported")
        if window["dilation"] != (1, 1):
            raise FqtError("is dilated; pooling with dilation cannot be imported")
        if node.attributes.get("ceil_mode", 0):
            for size, k, stride in zip(self.assembler.shape(value)[:2], window["kernel"], window["stride"], strict=True):
                if (size - k) % stride:
                    raise FqtError("rounds its output's size up (ceil_mode): windows beyond the input cannot be imported")
        made = self.assembler.add(op, self.source(node), [value], self.sole(node), channels=self.assembler.shape(value)[2], **window)
        return self.as_read(node, made)

    def max_pool(self, node: OnnxNode) -> Value:
        if len(node.outputs) > 1 and node.outputs[1]:
            raise FqtError("gives the places of its maxima too; only its values can be imported")
        return self.pool(node, "max_pool2d")

    def average_pool(self, node: OnnxNode) -> Value:
        return self.pool(node, "avg_pool2d")

    def global_pool(self, node: OnnxNode) -> Value:
        value = self.image(node)
        h, w, c = self.assembler.shape(value)
        op = "avg_pool2d" if node.op == "GlobalAveragePool" else "max_pool2d"
        note = "over the whole input"
        return self.as_read(node, self.assembler.add(op, self.source(node), [value], self.sole(node), note, channels=c, kernel=(h, w)))

    def reduce_mean(self, node: OnnxNode) -> Value:
        axes = self.constant(node, 1, "axes")
        series = len(self.input(node).shape) == 2
        value = self.image(node) if series else self.assembler.as_image(self.input(node))
        wanted = [2] if series else [2, 3] if value.order == "chw" else [1, 2]
        found = [] if axes is None else sorted(int(axis) % (len(wanted) + 2) for axis in axes.reshape(-1))
        if found != wanted and not (found == [3] and wanted == [2, 3] and self.assembler.shape(value)[0] == 1):
            raise FqtError("is not a mean over height and width; only that (global average pooling) can be imported")
        h, w, c = self.assembler.shape(value)
        note = "over the whole input"
        made = self.assembler.add("avg_pool2d", self.source(node), [value], self.sole(node), note, channels=c, kernel=(h, w))
        if node.attributes.get("keepdims", 1):
            return self.as_read(node, made)
        return replace(made, shape=(c,) if found == wanted else (c, 1))

    # ---- one value at a time ----

    def relu(self, node: OnnxNode) -> Value:
        return self.assembler.activate(self.input(node), "relu", self.source(node), self.sole(node))

    def clip(self, node: OnnxNode) -> Value:
        low, high = self.constant(node, 1, "min"), self.constant(node, 2, "max")
        lowest = -np.inf if low is None else float(low.reshape(-1)[0])
        highest = np.inf if high is None else float(high.reshape(-1)[0])
        value = self.values[node.inputs[0]]
        if value.form == PLUS3:
            return self.passed(node, replace(value, form=CLIPPED), "folded: hard-swish")
        self.assembler.plain(value)
        kind = {(0.0, 6.0): "relu6", (0.0, np.inf): "relu"}.get((lowest, highest), "relu" if lowest == 0 and highest > 1e30 else "")
        if not kind:
            raise FqtError(f"clips to {lowest:g}..{highest:g}; only 0..6 (ReLU6) and 0.. (ReLU) can be imported")
        return self.assembler.activate(value, kind, self.source(node), self.sole(node))

    def hard_swish(self, node: OnnxNode) -> Value:
        value = self.input(node)
        made = self.assembler.add("hard_swish", self.source(node), [value], self.sole(node), channels=self.assembler.shape(value)[2])
        return replace(made, shape=value.shape)

    def hard_sigmoid(self, node: OnnxNode) -> Value:
        value = self.input(node)
        alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
        readers = [other.op for other in self.file.nodes if node.outputs[0] in other.inputs]
        if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5 or not set(readers) <= {"Mul", "QuantizeLinear"}:
            raise FqtError("is no part of a hard-swish, x * HardSigmoid(x) with alpha 1/6 and beta 1/2; only that can be imported")
        return self.passed(node, replace(value, form=GATE), "folded: hard-swish")

    def mul(self, node: OnnxNode) -> Value:
        forms = [self.values[name] for name in node.inputs if name in self.values]
        if len(forms) == 2:
            return self.gated(node, *forms)
        number = self.single(node)
        if forms[0].form in (CLIPPED, PRODUCT) and number is not None and abs(number * 6 - 1) < 1e-6:
            return self.sixth(node, forms[0])
        factor = self.channel_constant(node)
        return self.assembler.scaled(self.feature(node), factor, np.float32(0), self.source(node), self.sole(node))

    def div(self, node: OnnxNode) -> Value:
        if node.inputs[1] not in self.constants:
            raise FqtError("divides by a feature map; only a division by constants can be imported")
        value = self.values[node.inputs[0]]
        if value.form in (CLIPPED, PRODUCT) and self.single(node) == 6:
            return self.sixth(node, value)
        divisor = self.channel_constant(node)
        if np.any(divisor == 0):
            raise FqtError("divides by 0")
        return self.assembler.scaled(self.input(node), np.float64(1) / divisor, np.float32(0), self.source(node), self.sole(node))

    def gated(self, node: OnnxNode, a: Value, b: Value) -> Value:
        """x times what a hard-swish multiplies it by."""
        x, gate = (a, b) if a.form == PLAIN else (b, a)
        if x.form != PLAIN or gate.form not in (GATE, CLIPPED) or x.tensor != gate.tensor:
            raise FqtError("multiplies two feature maps; of that only a hard-swish can be imported")
        if gate.form == CLIPPED:
            return self.passed(node, replace(x, form=PRODUCT, sole=True), "folded: hard-swish")
        return self.swish(node, x)

    def sixth(self, node: OnnxNode, value: Value) -> Value:
        if value.form == CLIPPED:
            return self.passed(node, replace(value, form=GATE), "folded: hard-swish")
        return self.swish(node, value)

    def swish(self, node: OnnxNode, value: Value) -> Value:
        plain = replace(value, form=PLAIN)
        made = self.assembler.add("hard_swish", self.source(node), [plain], self.sole(node), channels=self.assembler.shape(value)[2])
        return replace(made, shape=value.shape)

    def add(self, node: OnnxNode) -> Value:
        if any(name in self.constants for name in node.inputs):
            value = self.feature(node)
            following = [other for other in self.file.nodes if node.outputs[0] in other.inputs]
            if self.single(node) == 3 and len(following) == 1 and following[0].op == "Clip" and self.is_relu6(following[0]):
                return self.passed(node, replace(value, form=PLUS3), "folded: hard-swish")
            return self.assembler.scaled(value, np.float32(1), self.channel_constant(node), self.source(node), self.sole(node))
        x, y = self.input(node, 0), self.input(node, 1)
        if x.tensor == y.tensor:
            raise FqtError("adds a tensor to itself; its inputs have to differ")
        if x.shape != y.shape or (len(x.shape) == 3 and x.order != y.order):
            raise FqtError(f"adds shapes {x.shape} and {y.shape}; both have to be the same")
        made = self.assembler.add("add", self.source(node), [x, y], self.sole(node), channels=self.assembler.shape(x)[2])
        return replace(made, shape=x.shape)

    def is_relu6(self, node: OnnxNode) -> bool:
        """Whether a Clip has the bounds 0 and 6; its constants may come later than the node that asks."""
        bounds = []
        for k, attribute in ((1, "min"), (2, "max")):
            name = node.inputs[k] if k < len(node.inputs) else ""
            late = next((other for other in self.file.nodes if other.op == "Constant" and other.outputs[0] == name), None)
            if attribute in node.attributes:
                bounds.append(float(node.attributes[attribute]))
            elif name in self.constants:
                bounds.append(float(self.constants[name].array.reshape(-1)[0]))
            elif late is not None:
                bounds.append(float(self.constant_value(late).reshape(-1)[0]))
        return bounds == [0.0, 6.0]

    def sub(self, node: OnnxNode) -> Value:
        if node.inputs[1] not in self.constants:
            raise FqtError("subtracts a feature map; only a constant can be imported")
        return self.assembler.scaled(self.input(node), np.float32(1), -self.channel_constant(node), self.source(node), self.sole(node))

    def feature(self, node: OnnxNode) -> Value:
        return self.input(node, next(k for k, name in enumerate(node.inputs) if name in self.values))

    def single(self, node: OnnxNode) -> float | None:
        """The constant input, if it is one number."""
        arrays = [self.constants[name].array for name in node.inputs if name in self.constants]
        return float(arrays[0].reshape(-1)[0]) if arrays and arrays[0].size == 1 else None

    def channel_constant(self, node: OnnxNode) -> np.ndarray:
        """The constant input as float64, one number or one a channel."""
        value = self.values[next(name for name in node.inputs if name in self.values)]
        array = next(self.constants[name].array for name in node.inputs if name in self.constants).astype(np.float64)
        if array.size == 1:
            return array.reshape(1)
        rank = len(value.shape)
        axis = 2 if rank == 3 and value.order == "hwc" else 0
        shape = (1,) * (rank + 1 - array.ndim) + array.shape
        channels = value.shape[axis]
        flattened = rank == 1 and channels != self.assembler.shape(value)[2]
        if len(shape) != rank + 1 or shape[axis + 1] != channels or array.size != channels or flattened:
            raise FqtError(f"has a constant of shape {array.shape}; one value, or one a channel, can be imported")
        return array.reshape(-1)

    # ---- shapes ----

    def pad(self, node: OnnxNode) -> Value:
        value = self.image(node)
        pads = self.constant(node, 1, "pads")
        axes = self.constant(node, 3)
        number = self.constant(node, 2, "value")
        filled = 0.0 if number is None or not number.size else float(number.reshape(-1)[0])
        if node.attributes.get("mode", "constant") != "constant" or filled != 0:
            raise FqtError("pads with something else than zeros")
        full = np.zeros((2, 4), np.int64)
        if pads is None:
            raise FqtError("does not say how far it pads")
        full[:, [int(axis) % 4 for axis in axes.reshape(-1)] if axes is not None else [0, 1, 2, 3]] = pads.reshape(2, -1)
        if np.any(full < 0) or np.any(full[:, :2] != 0):
            raise FqtError("pads by other axes than height and width, or by less than nothing")
        (top, left), (bottom, right) = full[:, 2:].tolist()
        c, h, w = value.shape
        self.assembler.say(*self.source(node), value, "folded: the next convolution's padding")
        shape, pad = (c, h + top + bottom, w + left + right), (top, bottom, left, right)
        return replace(value, shape=shape, pad=pad, sole=value.sole and self.sole(node))

    def reshaped(self, node: OnnxNode, shape: tuple[int, ...]) -> Value:
        """The same values in the same order with another shape, batch axis included."""
        value = self.values[node.inputs[0]]
        if value.pad != NO_PAD:
            self.assembler.plain(value)
        size = int(np.prod(value.shape))
        if not shape or shape[0] != NO_BATCH or int(np.prod(shape)) != size:
            raise FqtError(f"makes shape {shape} of one sample of shape {value.shape}; the first axis has to stay the batch")
        return replace(self.passed(node, value, "dropped: values keep their order"), shape=shape[1:])

    def reshape(self, node: OnnxNode) -> Value:
        target = self.constant(node, 1, "shape")
        if target is None:
            raise FqtError("has no target shape")
        value, shape = self.values[node.inputs[0]], [int(n) for n in target.reshape(-1)]
        old = (NO_BATCH, *value.shape)
        if not node.attributes.get("allowzero", 0):
            shape = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(shape)]
        if -1 in shape:
            rest = int(np.prod([n for n in shape if n != -1]))
            shape[shape.index(-1)] = int(np.prod(old)) // max(rest, 1)
        return self.reshaped(node, tuple(shape))

    def flatten(self, node: OnnxNode) -> Value:
        axis, value = int(node.attributes.get("axis", 1)), self.values[node.inputs[0]]
        axis += (len(value.shape) + 1) if axis < 0 else 0
        if axis != 1 and int(np.prod(value.shape[: axis - 1])) != 1:
            raise FqtError(f"flattens from axis {axis}; only from axis 1 can be imported")
        return self.reshaped(node, (NO_BATCH, int(np.prod(value.shape))))

    def squeeze(self, node: OnnxNode) -> Value:
        shape = (NO_BATCH, *self.values[node.inputs[0]].shape)
        axes = self.constant(node, 1, "axes")
        gone = {int(a) % len(shape) for a in axes.reshape(-1)} if axes is not None else {i for i, n in enumerate(shape) if n == 1 and i > 0}
        if 0 in gone or any(shape[i] != 1 for i in gone):
            raise FqtError("removes the batch axis, or one whose size is not 1")
        return self.reshaped(node, tuple(n for i, n in enumerate(shape) if i not in gone))

    def unsqueeze(self, node: OnnxNode) -> Value:
        shape = [NO_BATCH, *self.values[node.inputs[0]].shape]
        axes = self.constant(node, 1, "axes")
        if axes is None:
            raise FqtError("does not say where its axes go")
        for axis in sorted(int(a) % (len(shape) + axes.size) for a in axes.reshape(-1)):
            shape.insert(axis, 1)
        return self.reshaped(node, tuple(shape))

    def transpose(self, node: OnnxNode) -> Value:
        value = self.values[node.inputs[0]]
        permutation = list(node.attributes.get("perm", range(len(value.shape) + 1)[::-1]))
        if value.pad != NO_PAD:
            self.assembler.plain(value)
        before = (NO_BATCH, *value.shape)
        shape = tuple(before[i] for i in permutation)
        orders = {("hwc", (0, 3, 1, 2)): "chw", ("chw", (0, 2, 3, 1)): "hwc"}
        order = orders.get((value.order, tuple(permutation)))
        if len(value.shape) == 3 and order is not None and hwc(value.shape, value.order) == self.assembler.shape(value):
            return replace(self.passed(node, value, "dropped: only the order of axes"), shape=shape[1:], order=order)
        moved = [i for i in permutation if before[i] > 1]
        if moved == sorted(moved):
            return self.reshaped(node, shape)
        raise FqtError(f"permutes axes by {permutation}; only between (c, h, w) and (h, w, c) can be imported")

    def identity(self, node: OnnxNode) -> Value:
        if len(node.outputs) > 1 and any(self.uses[name] for name in node.outputs[1:]):
            raise FqtError("is used for its mask; export the network for inference (model.eval())")
        return self.passed(node, self.values[node.inputs[0]], "dropped")

    def softmax(self, node: OnnxNode) -> Value:
        return self.passed(node, replace(self.input(node), form=SOFTMAX), "dropped: training has its own")

    # ---- grids ----

    def node_grid(self, node: OnnxNode, kind: np.dtype | None = None) -> Grid:
        scale, zero = self.constant(node, 1), self.constant(node, 2)
        if scale is None:
            raise FqtError("has no scale")
        if node.attributes.get("block_size", 0):
            raise FqtError("quantizes in blocks; one scale, or one a channel, can be imported")
        if zero is None:
            zero = np.zeros(scale.shape, np.uint8 if kind is None else kind)
        return make_grid(scale, zero, zero.dtype)

    def quantize(self, node: OnnxNode) -> Value | Constant:
        name = node.inputs[0]
        if name in self.constants:
            return Constant(fold(node, [self.constants[n].array if n else None for n in node.inputs], max(self.opset, 13))[0])
        value = self.values[name]
        return self.passed(node, value, self.assembler.prescribe(replace(value, pad=NO_PAD), self.node_grid(node)))

    def dequantize(self, node: OnnxNode) -> Value | Constant:
        name = node.inputs[0]
        if name in self.values:
            value = self.values[name]
            kind = np.dtype(self.file.type.lower()) if name == self.file.input and self.file.type in ("INT8", "UINT8") else None
            return self.passed(node, value, self.assembler.prescribe(replace(value, pad=NO_PAD), self.node_grid(node, kind)))
        array, axis = self.constants[name].array, int(node.attributes.get("axis", 1))
        scale = self.constant(node, 1)
        if array.dtype == np.int32 and scale is not None:
            steps = scale.astype(np.float64).reshape(-1)
            return Constant((array.astype(np.float64) * steps).astype(np.float32))
        grid = self.node_grid(node, array.dtype)
        axis = axis % array.ndim if array.ndim and len(grid.scale) > 1 else 0
        if len(grid.scale) > 1 and len(grid.scale) != array.shape[axis]:
            raise FqtError("has another number of scales than its axis has entries")
        shifted = np.moveaxis((array.astype(np.int16) + shift_of(array.dtype)).astype(np.uint8), axis, 0) if array.ndim else array
        values, grid = weights_on_grid(shifted, grid) if array.ndim else (real_values(shifted.reshape(1), grid)[0], grid)
        return Constant(np.moveaxis(values, 0, axis) if array.ndim else values, grid, axis)

    def cast(self, node: OnnxNode) -> Value:
        """A change of type, exact or refused: of real numbers to a shorter real type, or of an integer input to one that holds it."""
        value, target = self.values[node.inputs[0]], type_name(node.attributes["to"])
        whole = node.inputs[0] in self.integers
        if target not in REAL_CASTS and not (whole and target in WIDER[self.file.type]):
            what = f"rounds values to {target}" if target not in ("BOOL", "STRING") else f"makes {target} of values"
            raise FqtError(f"{what}, which no layer here does; export the network without it")
        if whole and target not in REAL_CASTS:
            self.integers.add(node.outputs[0])
            return self.passed(node, value, "dropped")
        note = "dropped"
        if whole and self.assembler.graph.input_grid is None:
            note = self.assembler.prescribe(replace(value, pad=NO_PAD), make_grid(1.0, 0, np.dtype(self.file.type.lower())))
        return self.passed(node, value, note)


OPERATORS: dict[str, Callable[[_Importer, OnnxNode], Value | Constant]] = {
    "Conv": _Importer.conv,
    "Gemm": _Importer.gemm,
    "MatMul": _Importer.matmul,
    "BatchNormalization": _Importer.batch_norm,
    "MaxPool": _Importer.max_pool,
    "AveragePool": _Importer.average_pool,
    "GlobalAveragePool": _Importer.global_pool,
    "GlobalMaxPool": _Importer.global_pool,
    "ReduceMean": _Importer.reduce_mean,
    "Relu": _Importer.relu,
    "Clip": _Importer.clip,
    "HardSwish": _Importer.hard_swish,
    "HardSigmoid": _Importer.hard_sigmoid,
    "Add": _Importer.add,
    "Sub": _Importer.sub,
    "Mul": _Importer.mul,
    "Div": _Importer.div,
    "Pad": _Importer.pad,
    "Reshape": _Importer.reshape,
    "Flatten": _Importer.flatten,
    "Squeeze": _Importer.squeeze,
    "Unsqueeze": _Importer.unsqueeze,
    "Transpose": _Importer.transpose,
    "Identity": _Importer.identity,
    "Dropout": _Importer.identity,
    "Cast": _Importer.cast,
    "Softmax": _Importer.softmax,
    "LogSoftmax": _Importer.softmax,
    "QuantizeLinear": _Importer.quantize,
    "DequantizeLinear": _Importer.dequantize,
}
