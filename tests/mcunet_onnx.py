# SPDX-License-Identifier: Apache-2.0
"""MCUNet's files as quantized ONNX, layer by layer and without fqt_ref, so that onnxruntime can be asked what they compute."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """An ONNX graph that grows; values are int8 tensors with (scale, zero point)."""

    def __init__(self, arrays):
        self.arrays, self.nodes, self.constants = arrays, [], []

    def constant(self, values, dtype) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, op, inputs, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def real(self, x: str, scale, zero) -> str:
        return self.node("DequantizeLinear", [x, self.constant(scale, np.float32), self.constant(zero, np.int8)])

    def quantized(self, x: str, scale, zero) -> str:
        return self.node("QuantizeLinear", [x, self.constant(scale, np.float32), self.constant(zero, np.int8)])

    def conv(self, layer: dict, x: str) -> str:
        """int8 in, int8 out."""
        p = layer["params"]
        weights, bias, steps = (self.arrays[p[name]["array"]] for name in ("weight", "bias", "w_scales"))
        k, zeros = weights.shape[2:], np.zeros(len(steps), np.int8)
        constants = [self.constant(weights, np.int8), self.constant(steps, np.float32), self.constant(zeros, np.int8)]
        w = self.node("DequantizeLinear", constants, axis=0)
        units = np.float32(p["x_scale"]) * steps.astype(np.float32)
        b = self.node("DequantizeLinear", [self.constant(bias, np.int32), self.constant(units, np.float32)], axis=0)
        pads = [k[0] // 2, k[1] // 2] * 2
        y = self.node("Conv", [self.real(x, p["x_scale"], p["x_zero"]), w, b], kernel_shape=list(k), pads=pads,
                      strides=[int(layer["stride"])] * 2, group=int(layer["groups"]))  # fmt: skip
        return self.quantized(y, p["y_scale"], p["y_zero"])

    def block(self, block: dict, x: str) -> str:
        y = x
        for part in ("pointwise1", "depthwise", "pointwise2"):
            y = self.conv(block[part], y) if block[part] is not None else y
        if block["residual"] is None:
            return y
        p, last = block["residual"]["params"], block["pointwise2"]["params"]
        total = self.node("Add", [self.real(x, p["x_scale"], p["x_zero"]), self.real(y, last["y_scale"], last["y_zero"])])
        return self.quantized(total, p["y_scale"], p["y_zero"])


def mcunet_onnx(path: Path) -> bytes:
    """NAME.json and NAME.npz as an ONNX model: input "x" int8[1, 3, size, size], output int8[1, classes, 1, 1]."""
    layers = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz")) as archive:
        w = Writer({name: archive[name] for name in archive.files})
    y = w.conv(layers["first_conv"], "x")
    for block in layers["blocks"]:
        y = w.block(block, y)
    block = layers["blocks"][-1]
    last = (block["residual"] or block["pointwise2"])["params"]
    if layers["feature_mix"] is not None:
        y, last = w.conv(layers["feature_mix"], y), layers["feature_mix"]["params"]
    p = layers["classifier"]["params"]
    pooled = w.node("GlobalAveragePool", [w.real(y, last["y_scale"], last["y_zero"])])
    y = w.conv(layers["classifier"], w.quantized(pooled, p["x_scale"], p["x_zero"]))
    size, classes = int(layers["first_conv"]["in_shape"]), int(layers["classifier"]["out_channel"])
    x = helper.make_tensor_value_info("x", TensorProto.INT8, [1, 3, size, size])
    out = helper.make_tensor_value_info(y, TensorProto.INT8, [1, classes, 1, 1])
    model = helper.make_model(helper.make_graph(w.nodes, path.stem, [x], [out], w.constants), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def outputs(path: Path, samples: np.ndarray, reference: bool) -> np.ndarray:
    """onnxruntime's last tensor, int8[n, classes]. samples: int8[n, h, w, c]. reference: float32 between the quantizations, as written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if reference else level.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(mcunet_onnx(path), options, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"x": np.ascontiguousarray(sample.transpose(2, 0, 1)[None])})[0].reshape(-1) for sample in samples]
    return np.array(rows)
