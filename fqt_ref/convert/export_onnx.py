# SPDX-License-Identifier: Apache-2.0
"""A trained network to ONNX: float32 at its ends, QuantizeLinear / DequantizeLinear pairs between, as ONNX runtimes expect it."""

from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import files
from fqt_ref.convert.onnx_file import require_onnx
from fqt_ref.errors import FqtError
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    HARD_SWISH,
    LAYER_RELU,
    LAYER_RELU6,
    LINEAR,
    MAX_POOL2D,
    U8,
    Network,
)

OPSET, IR_VERSION = 17, 8
BIAS_LIMIT = 2**28  # SPEC.md 4.1


def write_onnx(network: Network, path: Path) -> int:
    """Write a network as an ONNX file; returns its size in bytes. Raises FqtError: no onnx, or the file cannot be written."""
    data = to_onnx(network).SerializeToString()
    files.write(path, data)
    return len(data)


def to_onnx(network: Network) -> Any:
    """The network as an onnx.ModelProto: input float32[N, c, h, w], output "logits" float32[N, classes]."""
    return _Exporter(network).model()


class _Exporter:
    def __init__(self, network: Network):
        self.onnx = require_onnx()
        self.network = network
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: dict[int, str] = {}

    def model(self) -> Any:
        helper, float_type = self.onnx.helper, self.onnx.TensorProto.FLOAT
        tensors = self.network.tensors
        first, classes = tensors[0], int(tensors[-1]["h"]) * int(tensors[-1]["w"]) * int(tensors[-1]["c"])
        self.names[0] = self.quantized("input", 0)
        for i in range(len(self.network.layers)):
            self.layer(i)
        self.node("Flatten", [self.names[len(tensors) - 1]], "logits", axis=1)
        x = helper.make_tensor_value_info("input", float_type, ["N", int(first["c"]), int(first["h"]), int(first["w"])])
        y = helper.make_tensor_value_info("logits", float_type, ["N", classes])
        graph = helper.make_graph(self.nodes, self.network.name or "fqt", [x], [y], self.constants)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="fqt")

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def quantized(self, name: str, tensor: int) -> str:
        """A value rounded to its tensor's grid; a float32 tensor stays as it is."""
        record = self.network.tensors[tensor]
        if record["type"] != U8:
            return name
        scale = self.constant(f"{name}_scale", np.float32(record["scale"]))
        zero = self.constant(f"{name}_zero", np.uint8(record["zero"]))
        return self.paired(name, [scale, zero])

    def paired(self, name: str, grid: list[str]) -> str:
        stored = self.node("QuantizeLinear", [name, *grid], f"{name}_u8")
        return self.node("DequantizeLinear", [stored, *grid], f"{name}_real")

    def layer(self, i: int) -> None:
        layer = self.network.layers[i]
        op, name, x = int(layer["op"]), f"layer{i}", self.names[int(layer["input"])]
        out = int(layer["output"])
        window = {
            "kernel_shape": [int(layer["kernel_h"]), int(layer["kernel_w"])],
            "strides": [int(layer["stride_h"]), int(layer["stride_w"])],
        }
        if op == DEQUANTIZE:
            self.names[out] = x
            return
        if op in (CONV2D, DEPTHWISE_CONV2D):
            y = self.convolution(i, name, x, window)
        elif op == LINEAR:
            flat = self.node("Flatten", [x], f"{name}_flat", axis=1)
            y = self.node("Gemm", [flat, *self.parameters(i, name)], name, transB=1)
        elif op == MAX_POOL2D:
            y = self.node("MaxPool", [x], name, **window)
        elif op == AVG_POOL2D:
            y = self.node("AveragePool", [x], name, **window)
        elif op == ADD:
            y = self.node("Add", [x, self.names[int(layer["input2"])]], name)
        elif op == HARD_SWISH:
            y = self.node("HardSwish", [x], name)
        else:
            raise FqtError(f"layer {i} is of kind {op}, which cannot be exported")
        flags = int(layer["flagset"])
        if flags & LAYER_RELU6:
            bounds = [self.constant(f"{name}_{k}", np.float32(k)) for k in (0, 6)]
            y = self.node("Clip", [y, *bounds], f"{name}_relu6")
        elif flags & LAYER_RELU:
            y = self.node("Relu", [y], f"{name}_relu")
        if op == MAX_POOL2D and self.network.tensors[out]["type"] == U8:
            grid = [f"{self.names_of_grid(int(layer['input']))}_{part}" for part in ("scale", "zero")]
            y = self.paired(y, grid)
        elif op != MAX_POOL2D:
            y = self.quantized(y, out)
        if op == LINEAR and out + 1 < len(self.network.tensors):
            shape = self.constant(f"{name}_shape", np.array([0, -1, 1, 1], np.int64))
            y = self.node("Reshape", [y, shape], f"{name}_image")
        self.names[out] = y

    def names_of_grid(self, tensor: int) -> str:
        """The name before _scale and _zero of the constants of a quantized tensor."""
        layers = self.network.layers
        while tensor and int(layers[tensor - 1]["op"]) == MAX_POOL2D:
            tensor = int(layers[tensor - 1]["input"])
        return self.names[tensor].removesuffix("_image").removesuffix("_real")

    def convolution(self, i: int, name: str, x: str, window: dict[str, Any]) -> str:
        layer = self.network.layers[i]
        top, bottom, left, right = (int(layer[f"pad_{side}"]) for side in ("top", "bottom", "left", "right"))
        window |= {"pads": [top, left, bottom, right], "dilations": [int(layer["dilation_h"]), int(layer["dilation_w"])]}
        if int(layer["op"]) == DEPTHWISE_CONV2D:
            window["group"] = int(self.network.tensors[int(layer["output"])]["c"])
        return self.node("Conv", [x, *self.parameters(i, name)], name, **window)

    def parameters(self, i: int, name: str) -> list[str]:
        """Names of the real weights [out, in, h, w] (linear: [out, c * h * w]) and biases."""
        layer, bias = self.network.layers[i], self.network.biases[i]
        tensor = self.network.tensors[int(layer["input"])]
        weights = self.in_onnx_order(i, np.asarray(self.network.weights[i]))
        grid = self.network.grids[i]
        if grid is None:
            return [self.constant(f"{name}_weights", weights), self.constant(f"{name}_bias", np.asarray(bias))]
        scale, zero = np.asarray(grid[0], np.float32), np.asarray(grid[1])
        along = {"axis": 0} if len(scale) > 1 else {}
        steps = (np.float32(tensor["scale"]) * scale).astype(np.float32)
        counts = np.rint(np.asarray(bias).astype(np.float64) / 2.0**20 / steps).clip(-BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
        if len(scale) == 1:
            scale, zero, steps = scale.reshape(()), zero.reshape(()), steps.reshape(())
        constants = [(weights, scale, zero.astype(np.uint8)), (counts, steps, np.zeros(steps.shape, np.int32))]
        names = []
        for part, arrays in zip(("weights", "bias"), constants, strict=True):
            stored = [self.constant(f"{name}_{part}_{what}", array) for what, array in zip(("u8", "scale", "zero"), arrays, strict=True)]
            names.append(self.node("DequantizeLinear", stored, f"{name}_{part}", **along))
        return names

    def in_onnx_order(self, i: int, weights: np.ndarray) -> np.ndarray:
        layer = self.network.layers[i]
        if int(layer["op"]) != LINEAR:
            return weights.reshape(len(weights), int(layer["kernel_h"]), int(layer["kernel_w"]), -1).transpose(0, 3, 1, 2)
        tensor = self.network.tensors[int(layer["input"])]
        h, w, c = (int(tensor[axis]) for axis in "hwc")
        return weights.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(len(weights), -1)
