# SPDX-License-Identifier: Apache-2.0
"""What a network costs, from its Graph alone: parameters, multiply-accumulates, bytes of activations, trained bytes."""

from dataclasses import dataclass

from fqt_ref.graph import WEIGHTED, Graph


@dataclass(frozen=True)
class NodeFigures:
    """One node. shape: (h, w, c) of its output; weights: numbers without biases; macs: per sample."""

    op: str
    shape: tuple[int, int, int]
    weights: int
    biases: int
    macs: int


@dataclass(frozen=True)
class Figures:
    """A network. peak_bytes: most bytes of uint8 activations alive at once during inference, without reuse in place;
    tail_weights and tail_bytes: of the last five layers with weights, 5 bytes a weight (itself, its int32 gradient), 8 a bias."""

    nodes: tuple[NodeFigures, ...]
    parameters: int
    macs: int
    peak_bytes: int
    tail_weights: int
    tail_bytes: int


def node_figures(graph: Graph, index: int) -> NodeFigures:
    """Figures of one node."""
    node, shape = graph.nodes[index], graph.shape(index + 1)
    if node.op not in WEIGHTED:
        return NodeFigures(node.op, shape, 0, 0, 0)
    h, w, c = graph.shape(node.inputs[0])
    fan_in = {"linear": h * w * c, "depthwise_conv2d": 1, "conv2d": c}[node.op] * node.kernel[0] * node.kernel[1]
    weights = fan_in * shape[2]
    return NodeFigures(node.op, shape, weights, shape[2], weights * shape[0] * shape[1])


def peak_activation_bytes(graph: Graph) -> int:
    """Most bytes alive at once: a tensor lives from the node that makes it to the last that reads it, one byte a value."""
    steps = range(len(graph.nodes))
    last = [max(graph.readers(t), default=len(graph.nodes)) for t in range(len(graph.nodes) + 1)]
    size = [h * w * c for h, w, c in map(graph.shape, range(len(graph.nodes) + 1))]
    return max(sum(size[t] for t in range(step + 2) if last[t] >= step) for step in steps)


def figures(graph: Graph, tail: int = 5) -> Figures:
    """Figures of a network whose last `tail` layers with weights train."""
    nodes = tuple(node_figures(graph, i) for i in range(len(graph.nodes)))
    trained = [n for n in nodes if n.biases][-tail:]
    weights, biases = sum(n.weights for n in trained), sum(n.biases for n in trained)
    return Figures(
        nodes,
        sum(n.weights + n.biases for n in nodes),
        sum(n.macs for n in nodes),
        peak_activation_bytes(graph),
        weights,
        5 * weights + 8 * biases,
    )


def table(graph: Graph, result: Figures) -> list[str]:
    """The figures as lines of text."""
    lines = []
    for node, found in zip(graph.nodes, result.nodes, strict=True):
        kernel = f"{node.kernel[0]}x{node.kernel[1]}/{node.stride[0]}x{node.stride[1]}" if "2d" in node.op else ""
        shape = "x".join(map(str, found.shape))
        lines.append(f"{found.op:<17}{kernel:<10}{shape:>12}{node.activation:>7}{found.weights + found.biases:>9}{found.macs:>11}")
    return [
        *lines,
        f"{result.parameters} parameters, {result.macs} multiply-accumulates, {result.peak_bytes} bytes of activations at their peak; "
        f"last five layers: {result.tail_weights} weights, {result.tail_bytes} bytes to train",
    ]
