# SPDX-License-Identifier: Apache-2.0
"""A network that starts from another one's weights: the same layers for other images or classes."""

from copy import copy

from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph
from fqt_ref.models.figures import node_figures


def adopted(graph: Graph, source: Graph) -> tuple[Graph, int]:
    """The graph with the source's weights in every layer whose shape agrees; returns it and the number of those layers.

    Raises FqtError if the networks differ in more than sizes.
    """
    if [node.op for node in graph.nodes] != [node.op for node in source.nodes]:
        raise FqtError(f"network {source.name} has other layers than {graph.name}: start from one of the same kind")
    made, count = Graph(graph.name, graph.input_shape, input_grid=graph.input_grid), 0
    for i, (node, old) in enumerate(zip(graph.nodes, source.nodes, strict=True)):
        new = copy(node)
        same_shape = old.kernel == node.kernel and node_figures(graph, i).weights == node_figures(source, i).weights
        if node.op in WEIGHTED and same_shape and old.channels == node.channels and old.weights is not None:
            new.weights, new.bias = old.weights, old.bias
            count += 1
        made.append(new)
    return made, count
