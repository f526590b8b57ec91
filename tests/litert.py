# SPDX-License-Identifier: Apache-2.0
"""TFLite models in their own runtime (LiteRT), for comparison."""

from pathlib import Path

import numpy as np
from graph_interpreter import round_to, run_node

from fqt_ref.convert import Imported


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
    """A model in LiteRT, sample by sample, without delegates. reference: its plain reference kernels, not the optimized ones."""

    def __init__(self, model: Path | bytes, reference: bool = True):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        content = repaired(model if isinstance(model, bytes) else model.read_bytes())
        kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options = {"experimental_op_resolver_type": kind, "experimental_preserve_all_tensors": True}
        self.interpreter = Interpreter(model_content=content, **options)
        self.interpreter.allocate_tensors()
        self.details = {t["index"]: t for t in self.interpreter.get_tensor_details()}
        self.input = self.interpreter.get_input_details()[0]
        self.operators = self.interpreter._get_ops_details()
        last = self.operators[-1]
        self.logits = int(last["inputs"][0] if last["op_name"] in ("SOFTMAX", "LOG_SOFTMAX") else last["outputs"][0])

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


def layer_tensors(runtime: LiteRT, imported: Imported) -> list[np.ndarray]:
    """The runtime's bytes of each tensor of the Graph, [h, w, c], after a run."""
    graph, indices = imported.graph, {t["name"]: i for i, t in runtime.details.items()}
    names = {row.node: row.name for row in imported.rows if row.node is not None and not row.note.startswith("dropped")}
    made = [runtime.tensor(indices[names[i]]).reshape(graph.shape(i + 1)) for i in range(len(graph.nodes))]
    return [runtime.tensor(runtime.input["index"]).reshape(graph.input_shape), *made]


def layer_differences(runtime: LiteRT, imported: Imported, sample: np.ndarray) -> list[np.ndarray]:
    """For each quantized layer: the runtime's bytes minus what the layer makes of the runtime's own inputs, rounded to the nearest byte.

    sample: values of the model's input type. Layer by layer, so that a difference in one does not show in those behind it.
    """
    graph = imported.graph
    runtime.run(sample)
    tensors = layer_tensors(runtime, imported)
    grids, differences = [graph.input_grid], []
    for i, node in enumerate(graph.nodes):
        grids.append(grids[node.inputs[0]] if node.op == "max_pool2d" else node.output_grid)
        grid = grids[-1]
        inputs = [(tensors[t].astype(np.float64) - grids[t].zero[0])[None] * float(grids[t].scale[0]) for t in node.inputs]
        real = round_to(run_node(node, inputs, graph.shape(i + 1)), grid)[0]
        ours = np.rint(real / float(grid.scale[0])).astype(int) + int(grid.zero[0])
        differences.append(tensors[i + 1].astype(int) - ours)
    return differences
