# SPDX-License-Identifier: Apache-2.0
"""Which feature maps share their channels: what a depthwise layer, a pool or an add reads and makes can only shrink together."""

from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph

PRODUCERS = ("conv2d", "linear")


def channel_groups(graph: Graph) -> list[int]:
    """Group of each tensor; tensors of one group have the same channels. A group's number is its first tensor."""
    group = list(range(len(graph.nodes) + 1))

    def root(tensor: int) -> int:
        while group[tensor] != tensor:
            tensor = group[tensor]
        return tensor

    for i, node in enumerate(graph.nodes):
        if node.op in PRODUCERS:
            continue
        for source in node.inputs:
            first, second = sorted((root(source), root(i + 1)))
            group[second] = first
    return [root(tensor) for tensor in range(len(group))]


def producers(graph: Graph, group: int) -> list[int]:
    """Indices of the nodes whose filters make a group's channels."""
    groups = channel_groups(graph)
    return [i for i, node in enumerate(graph.nodes) if groups[i + 1] == group and node.op in PRODUCERS]


def prunable_groups(graph: Graph, last: int | None = None) -> list[int]:
    """Groups that may lose channels: neither the input's nor the logits'. last: only those that the last layers with weights make.

    Raises FqtError if the network has fewer than `last` layers with weights.
    """
    groups = channel_groups(graph)
    weighted = [i for i, node in enumerate(graph.nodes) if node.op in WEIGHTED]
    if last is not None and not 0 < last <= len(weighted):
        raise FqtError(f"cannot prune the last {last} layers: network {graph.name} has {len(weighted)} with weights")
    first = 0 if last is None else weighted[-last]
    inner = sorted(set(groups) - {groups[0], groups[-1]})
    return [group for group in inner if min(producers(graph, group)) >= first]
