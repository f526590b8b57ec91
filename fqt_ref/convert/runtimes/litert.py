# SPDX-License-Identifier: Apache-2.0
"""TFLite models in LiteRT, every tensor kept so that it can be looked at."""

from pathlib import Path
from typing import Any

import numpy as np


def repaired(data: bytes) -> bytes:
    """The file as today's LiteRT takes it: older converters wrote the weights' channel axis into biases too, which are of rank 1."""
    import tflite

    buffer = bytearray(data)
    graph = tflite.Model.GetRootAs(data, 0).Subgraphs(0)
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        quantization = tensor.Quantization()
        if quantization is not None and quantization.QuantizedDimension() >= max(1, tensor.ShapeLength()):
            table = quantization._tab
            at = table.Pos + table.Offset(16)  # the field quantized_dimension
            buffer[at : at + 4] = bytes(4)
    return bytes(buffer)


class LiteRT:
    """A model in LiteRT, sample by sample, without delegates. reference: its plain reference kernels, not the optimized ones.

    tensors: indices, as text, of what results() gives beside the output.
    """

    def __init__(self, model: Path | bytes, reference: bool = True, tensors: list[str] | None = None):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        content = repaired(model if isinstance(model, bytes) else model.read_bytes())
        kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options: dict[str, Any] = {"experimental_op_resolver_type": kind, "experimental_preserve_all_tensors": True}
        self.interpreter = Interpreter(model_content=content, num_threads=1, **options)
        self.interpreter.allocate_tensors()
        self.details = {t["index"]: t for t in self.interpreter.get_tensor_details()}
        self.input = self.interpreter.get_input_details()[0]
        self.operators = self.interpreter._get_ops_details()
        last = self.operators[-1]
        self.logits = int(last["inputs"][0] if last["op_name"] in ("SOFTMAX", "LOG_SOFTMAX") else last["outputs"][0])
        self.asked = [int(index) for index in tensors or []]

    def run(self, sample: np.ndarray) -> None:
        """sample: values of the model's input type."""
        self.interpreter.set_tensor(self.input["index"], sample.reshape(self.input["shape"]).astype(self.input["dtype"]))
        self.interpreter.invoke()

    def tensor(self, index: int) -> np.ndarray:
        """A tensor of the last run: uint8 for a quantized one (int8 plus 128), else float32."""
        values = self.interpreter.get_tensor(index)
        return (values.astype(np.int16) + 128).astype(np.uint8) if values.dtype == np.int8 else values

    def outputs(self, samples: np.ndarray) -> np.ndarray:
        """The logits (the softmax's input), or what stands in their place, of each sample [n, classes]."""
        rows = []
        for sample in samples:
            self.run(sample)
            rows.append(self.tensor(self.logits).reshape(-1))
        return np.array(rows)

    def results(self, sample: np.ndarray) -> dict[str, np.ndarray]:
        """The output, "", and the tensors asked for, of one sample without its batch axis; bytes as in tensor()."""
        self.run(sample)
        output = self.interpreter.get_output_details()[0]["index"]
        values = {"": output} | {str(index): index for index in self.asked if index in self.details}
        return {name: np.array(self.tensor(index))[0] for name, index in values.items()}
