# SPDX-License-Identifier: Apache-2.0
"""ONNX models in onnxruntime, without its own optimizations, so that every tensor can be looked at."""

from pathlib import Path

import numpy as np


class OnnxRuntime:
    """A model, sample by sample; tensors: names of what to give beside the output."""

    def __init__(self, path: Path, tensors: list[str] | None = None):
        import onnx
        import onnxruntime

        model = onnx.load(path)
        made = {name for node in model.graph.node for name in node.output}
        known = {value.name for value in model.graph.output}
        self.names = [name for name in tensors or [] if name in made]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names if name not in known)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.output = model.graph.output[0].name

    def results(self, sample: np.ndarray) -> dict[str, np.ndarray]:
        """The output, "", and the tensors asked for, of one sample without its batch axis."""
        kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        x = sample.astype(kinds.get(self.input.type, np.float32))[None]
        values = self.session.run([self.output, *self.names], {self.input.name: x})
        return dict(zip(["", *self.names], (np.asarray(value)[0] for value in values), strict=True))
