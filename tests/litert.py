# SPDX-License-Identifier: Apache-2.0
"""TFLite models in their own runtime (LiteRT), for comparison layer by layer."""

import numpy as np
from graph_interpreter import round_to, run_node

from fqt_ref.convert import Imported
from fqt_ref.convert.agreement import tensors_of
from fqt_ref.convert.runtimes.litert import LiteRT


def layer_tensors(runtime: LiteRT, imported: Imported) -> list[np.ndarray]:
    """The runtime's bytes of each tensor of the Graph, [h, w, c], after a run."""
    graph = imported.graph
    made = [runtime.tensor(int(tensors_of(imported, i)[0])).reshape(graph.shape(i + 1)) for i in range(len(graph.nodes))]
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
