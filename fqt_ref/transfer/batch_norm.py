# SPDX-License-Identifier: Apache-2.0
"""Batch norm for a network whose batch norm was folded, so that it can be trained further. Import late: needs the extra torch.

Statistics come from samples; gain and offset undo them, so that in evaluation mode the network computes what it did.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fqt_ref.graph import WEIGHTED, Graph, Node
from fqt_ref.transfer.torch_module import GraphModule, Weighted, to_module


def repeated(graph: Graph, change: Callable[[Node], Node]) -> Graph:
    """The graph with each node changed."""
    made = Graph(graph.name, graph.input_shape, input_grid=graph.input_grid)
    for node in graph.nodes:
        made.append(change(node))
    return made


def with_batch_norm(graph: Graph, x: Tensor, seed: int = 0) -> GraphModule:
    """A module of the graph with batch norm behind all layers with weights but the last. x: float32[n, h, w, c], real values.

    seed: for layers without weights.
    """
    plain = to_module(repeated(graph, lambda node: replace(node, batch_norm=False)), seed)
    statistics: dict[int, tuple[Tensor, Tensor]] = {}
    handles = []
    for i, layer in plain.weighted.items():

        def watch(_: object, __: object, output: Tensor, i: int = i) -> None:
            values = output.detach().transpose(0, 1).flatten(1).double()
            statistics[i] = (values.mean(1).float(), values.var(1, unbiased=False).float())

        handles.append(layer.layer.register_forward_hook(watch))
    plain.eval()
    with torch.no_grad():
        plain(x)
    for handle in handles:
        handle.remove()
    last = graph.nodes[max(plain.weighted)]
    module = GraphModule(
        repeated(graph, lambda node: replace(node, weights=None, bias=None, batch_norm=node.op in WEIGHTED and node is not last))
    )
    with torch.no_grad():
        for i, layer in module.weighted.items():
            unfold(layer, plain.weighted[i], *statistics[i])
    return module


def unfold(layer: Weighted, source: Weighted, mean: Tensor, variance: Tensor) -> None:
    """Give a layer with batch norm what one without computes. mean, variance: of the source's outputs, before the activation."""
    layer.layer.weight.copy_(source.layer.weight)
    bias = source.layer.bias
    assert bias is not None
    if layer.norm is None:
        assert layer.layer.bias is not None
        layer.layer.bias.copy_(bias)
        return
    norm = layer.norm
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean - bias)
    norm.running_var.copy_(variance)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(mean)
