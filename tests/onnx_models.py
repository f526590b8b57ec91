# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models made on the spot, and what onnxruntime says of them."""

import numpy as np
import onnx
from graph_interpreter import logits
from onnx import helper, numpy_helper

from fqt_ref.convert.onnx import from_model


class Maker:
    """Collects nodes in a row: each reads the one before unless told otherwise."""

    def __init__(self, shape=("N", 3, 8, 8), seed=0, opset=17, kind=onnx.TensorProto.FLOAT):
        self.rng = np.random.RandomState(seed)
        self.nodes, self.constants, self.shape, self.opset, self.kind = [], [], shape, opset, kind
        self.last = "x"

    def const(self, array, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, *more, first=None, outputs=1, name=None, **attributes):
        """Append a node; `more` are further inputs: arrays become constants."""
        inputs = [self.last if first is None else first]
        inputs += [m if isinstance(m, str) else self.const(m) for m in more]
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name or f"{op}_{len(self.nodes)}", **attributes))
        self.last = names[0]
        return self.last

    def weights(self, *shape):
        return (self.rng.randn(*shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def conv(self, out, in_, k=3, bias=True, first=None, **attributes):
        more = [self.weights(out, in_, k, k)] + ([self.weights(out, 1)[:, 0]] if bias else [])
        return self.node("Conv", *more, first=first, **attributes)

    def gemm(self, out, in_):
        return self.node("Gemm", self.weights(out, in_), self.weights(out, 1)[:, 0], transB=1)

    def classifier(self, channels, out=5):
        """Global average pooling, flatten, linear."""
        self.node("GlobalAveragePool")
        self.node("Flatten")
        return self.gemm(out, channels)

    def model(self):
        x = helper.make_tensor_value_info("x", self.kind, self.shape)
        y = helper.make_tensor_value_info(self.last, onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def run_onnx(model, x):
    """onnxruntime's float32 outputs [n, classes], without its own optimizations, sample by sample."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i : i + 1]})[0].reshape(1, -1) for i in range(len(x))])


def nhwc(x):
    """Samples in the order of a Graph."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def differences(model, x, imported=None, channels_last=None):
    """Largest absolute difference of the outputs to onnxruntime, and the largest output."""
    imported = imported or from_model(model, "test")
    ours = logits(imported.graph, nhwc(x) if channels_last is None else channels_last)
    theirs = run_onnx(model, x)
    return np.abs(ours - theirs).max(), np.abs(theirs).max()


def same(model, x=None, **more):
    """Import, compare the float outputs with onnxruntime's, return the Imported."""
    imported = from_model(model, "test")
    if x is None:
        dims = [d.dim_value or 4 for d in model.graph.input[0].type.tensor_type.shape.dim]
        x = np.random.RandomState(1).randn(*dims).astype(np.float32)
    wrong, largest = differences(model, x, imported, **more)
    assert wrong <= 1e-5 * max(1.0, largest), wrong
    return imported


def quantized_qdq(model, x, folder, activations="int8", weights="int8", per_channel=False, keep_activations=False, **extra):
    """The path of onnxruntime's own QDQ quantization of a model, calibrated on x. extra: its extra_options."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{"x": x[i : i + 1]} for i in range(len(x))])

        def get_next(self):
            return next(self.rows, None)

    kinds = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    source, target = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, source)
    quantize_static(
        str(source), str(target), Reader(), quant_format=QuantFormat.QDQ, activation_type=kinds[activations], weight_type=kinds[weights],
        per_channel=per_channel, extra_options={"QDQKeepRemovableActivations": keep_activations, **extra},
    )  # fmt: skip
    return target
