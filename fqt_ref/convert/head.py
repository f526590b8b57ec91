# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: a trained network whose last layer gives way to a fresh one for other classes."""

from dataclasses import replace

from fqt_ref import MAX_CLASSES
from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph


def replace_head(graph: Graph, classes: int) -> Graph:
    """The graph with random weights for `classes` outputs in its last layer; all others stay as trained. Raises FqtError."""
    if not 1 <= classes <= MAX_CLASSES:
        raise FqtError(f"{classes} classes are not possible; choose 1 to {MAX_CLASSES}")
    last = graph.nodes[-1]
    if last.op not in WEIGHTED or last.op == "depthwise_conv2d":
        raise FqtError(f"{graph.name}: the last layer is {last.op} {last.name}, not a linear or conv2d one: its head cannot be replaced")
    result = Graph(graph.name, graph.input_shape, input_grid=graph.input_grid)
    for node in graph.nodes[:-1]:
        result.append(replace(node))
    fresh = {"weights": None, "bias": None, "weight_grid": None, "output_grid": None, "activation": "", "batch_norm": False}
    result.append(replace(last, channels=classes, head=True, **fresh))  # type: ignore[arg-type]
    return result
