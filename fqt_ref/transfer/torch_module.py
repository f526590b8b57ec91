# SPDX-License-Identifier: Apache-2.0
"""A Graph as a PyTorch module that trains, and the trained module as a Graph with batch norm folded. Import late: needs the extra torch.

Tensors inside are [n, c, h, w]; what a linear layer makes is [n, c, 1, 1]. A linear layer flattens its input as the engine does, (h, w, c).
"""

from copy import copy
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph, Node


class Weighted(nn.Module):
    """conv2d, depthwise_conv2d or linear; then batch norm if the node has it, then the activation."""

    def __init__(self, node: Node, input_shape: tuple[int, int, int]):
        super().__init__()
        h, w, c = input_shape
        self.op, self.activation = node.op, node.activation
        top, bottom, left, right = node.padding
        symmetric = top == bottom and left == right
        self.pad = None if symmetric else (left, right, top, bottom)
        if node.op == "linear":
            self.layer: nn.Linear | nn.Conv2d = nn.Linear(h * w * c, node.channels, bias=not node.batch_norm)
        else:
            groups = c if node.op == "depthwise_conv2d" else 1
            padding = (top, left) if symmetric else (0, 0)
            self.layer = nn.Conv2d(
                c, node.channels, node.kernel, node.stride, padding, node.dilation, groups=groups, bias=not node.batch_norm
            )
        self.norm = nn.BatchNorm2d(node.channels) if node.batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pad is not None:
            x = functional.pad(x, self.pad)
        x = self.layer(x.permute(0, 2, 3, 1).flatten(1))[:, :, None, None] if self.op == "linear" else self.layer(x)
        return activated(x if self.norm is None else self.norm(x), self.activation)


def activated(x: Tensor, activation: str) -> Tensor:
    """x behind one of graph.ACTIVATIONS, in place: what makes x does not need it to find its gradient."""
    if activation == "relu":
        return functional.relu_(x)
    return functional.relu6(x, inplace=True) if activation == "relu6" else x


def without_weights(node: Node, inputs: list[Tensor], whole: bool) -> Tensor:
    """Output of a node that has no weights. whole: the window is the whole input, whatever its size."""
    if whole and node.op == "avg_pool2d":
        return inputs[0].mean((2, 3), keepdim=True)
    if node.op == "max_pool2d":
        return functional.max_pool2d(inputs[0], node.kernel, node.stride)
    if node.op == "avg_pool2d":
        return functional.avg_pool2d(inputs[0], node.kernel, node.stride)
    if node.op == "hard_swish":
        return functional.hardswish(inputs[0])
    return activated(inputs[0] + inputs[1], node.activation)


class GraphModule(nn.Module):
    """The network of a Graph. forward: float32[n, h, w, c] of real values -> logits float32[n, classes].

    Behind global average pooling nothing depends on h and w: such a network takes smaller images, too.
    """

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph
        for node in graph.nodes:
            if "pool" in node.op and any(node.padding):
                raise FqtError(f"{node.op} {node.name}: pooling with padding cannot be trained here: pad in a convolution instead")
        self.layers = nn.ModuleDict({str(i): Weighted(n, graph.shape(n.inputs[0])) for i, n in enumerate(graph.nodes) if n.op in WEIGHTED})
        self.weighted = {int(key): cast(Weighted, layer) for key, layer in self.layers.items()}  # by the node's index
        self.last = [max(graph.readers(t), default=len(graph.nodes)) for t in range(len(graph.nodes) + 1)]

    def forward(self, x: Tensor) -> Tensor:
        tensors: list[Tensor | None] = [x.permute(0, 3, 1, 2)]
        for i, node in enumerate(self.graph.nodes):
            inputs = [t for t in (tensors[k] for k in node.inputs) if t is not None]
            if node.op in WEIGHTED:
                tensors.append(self.weighted[i](inputs[0]))
            else:
                tensors.append(without_weights(node, inputs, node.kernel == self.graph.shape(node.inputs[0])[:2]))
            for k in node.inputs:
                if self.last[k] == i:
                    tensors[k] = None
        logits = tensors[-1]
        assert logits is not None
        return logits.permute(0, 2, 3, 1).flatten(1)


def channels_last(module: GraphModule) -> None:
    """Lay the weights out as (out, h, w, in) in memory: convolutions are twice as fast on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def engine_weights(op: str, weight: Tensor) -> np.ndarray:
    """A PyTorch layer's weights as a Node has them: float64[out, kernel_h, kernel_w, in]."""
    array = weight.detach().cpu().double().numpy()
    return array[:, None, None, :] if op == "linear" else array.transpose(0, 2, 3, 1)


def torch_weights(op: str, weights: np.ndarray) -> Tensor:
    """The reverse of engine_weights, float32."""
    array = weights.reshape(len(weights), -1) if op == "linear" else weights.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def to_module(graph: Graph, seed: int = 0) -> GraphModule:
    """A module of the Graph: nodes with weights keep them, the others get He initialization from the seed. Batch norm starts neutral."""
    torch.manual_seed(seed)
    module = GraphModule(graph)
    with torch.no_grad():
        for i, layer in module.weighted.items():
            node = graph.nodes[i]
            if node.weights is None:
                nn.init.kaiming_normal_(layer.layer.weight, nonlinearity="relu")
                if layer.layer.bias is not None:
                    nn.init.zeros_(layer.layer.bias)
                continue
            layer.layer.weight.copy_(torch_weights(node.op, node.weights))
            bias = torch.from_numpy(np.zeros(node.channels, np.float32) if node.bias is None else np.array(node.bias, np.float32))
            place = layer.layer.bias if layer.norm is None else layer.norm.bias
            assert place is not None
            place.copy_(bias)
    return module


def folded(node: Node, layer: Weighted) -> Node:
    """The node with the layer's weights and batch norm folded: w gamma / sqrt(var + eps), (b - mean) gamma / sqrt(var + eps) + beta."""
    weights = engine_weights(node.op, layer.layer.weight)
    bias = np.zeros(node.channels) if layer.layer.bias is None else layer.layer.bias.detach().cpu().double().numpy()
    if layer.norm is not None:
        norm = layer.norm
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        factor = (norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)).cpu().numpy()
        bias = (bias - mean.cpu().double().numpy()) * factor + norm.bias.detach().cpu().double().numpy()
        weights = weights * factor[:, None, None, None]
    made = copy(node)
    made.weights, made.bias, made.batch_norm = np.ascontiguousarray(weights, np.float32), bias.astype(np.float32), False
    return made


def to_graph(module: GraphModule) -> Graph:
    """The module in evaluation mode as a Graph without batch norm, float32 weights. Raises FqtError for weights that are not finite."""
    source = module.graph
    graph = Graph(source.name, source.input_shape, input_grid=source.input_grid)
    for i, node in enumerate(source.nodes):
        made = folded(node, module.weighted[i]) if node.op in WEIGHTED else copy(node)
        if not all(np.isfinite(array).all() for array in (made.weights, made.bias) if array is not None):
            raise FqtError(f"network {source.name}: weights of layer {i} are not finite: train with a smaller learning rate")
        graph.append(made)
    return graph
