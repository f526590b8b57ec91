# SPDX-License-Identifier: Apache-2.0
"""How a network is described before it has weights: a list of layers, each of which reads the one before it unless it names another.

A layer with a `label` can be read by name: `source` instead of the previous layer, `Add.other` as second operand.
"""

from dataclasses import dataclass

from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Node

Pair = tuple[int, int]


@dataclass(frozen=True)
class Conv2d:
    """Convolution; padding is (top, bottom, left, right). batch_norm is folded into the weights at initialization."""

    channels: int
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    activation: str = "relu"
    batch_norm: bool = True
    label: str = ""
    source: str = ""


@dataclass(frozen=True)
class DepthwiseConv2d:
    """Depthwise convolution: as many channels as its input, a kernel each."""

    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    activation: str = "relu"
    batch_norm: bool = True
    label: str = ""
    source: str = ""


@dataclass(frozen=True)
class Linear:
    """Fully connected layer on the flattened input. head: float32 in the mixed configuration."""

    features: int
    activation: str = "relu"
    batch_norm: bool = True
    head: bool = True
    label: str = ""
    source: str = ""


@dataclass(frozen=True)
class MaxPool2d:
    """Max pooling without padding; the stride is the kernel unless given."""

    kernel: Pair = (2, 2)
    stride: Pair | None = None
    label: str = ""
    source: str = ""


@dataclass(frozen=True)
class AvgPool2d:
    """Average pooling without padding; the whole input (global average pooling) unless a kernel is given."""

    kernel: Pair | None = None
    stride: Pair | None = None
    label: str = ""
    source: str = ""


@dataclass(frozen=True)
class Add:
    """Residual add of the layer labelled `other`."""

    other: str
    activation: str = ""
    label: str = ""
    source: str = ""


Layer = Conv2d | DepthwiseConv2d | Linear | MaxPool2d | AvgPool2d | Add


def same(kernel: Pair) -> tuple[int, int, int, int]:
    """Padding that keeps the size at stride 1 (and halves it, rounded up, at stride 2), for odd kernels."""
    h, w = kernel[0] // 2, kernel[1] // 2
    return (h, h, w, w)


def graph_of(name: str, description: list[Layer], input_shape: tuple[int, int, int]) -> Graph:
    """The described network as a Graph without weights. Raises FqtError for a label that no earlier layer has."""
    graph = Graph(name, input_shape)
    labels: dict[str, int] = {}

    def labelled(label: str) -> int:
        if label not in labels:
            raise FqtError(f"network {name}: no layer before layer {len(graph.nodes)} is labelled '{label}'")
        return labels[label]

    for layer in description:
        source = labelled(layer.source) if layer.source else len(graph.nodes)
        shape = graph.shape(source)
        node = Node("add", (source,), shape[2])
        if isinstance(layer, Add):
            node.inputs = (source, labelled(layer.other))
        elif isinstance(layer, Linear):
            node = Node("linear", (source,), layer.features, head=layer.head, batch_norm=layer.batch_norm)
        elif isinstance(layer, Conv2d):
            node = Node("conv2d", (source,), layer.channels, layer.kernel, layer.stride, layer.padding, layer.dilation)
            node.batch_norm = layer.batch_norm
        elif isinstance(layer, DepthwiseConv2d):
            node = Node("depthwise_conv2d", (source,), shape[2], layer.kernel, layer.stride, layer.padding, layer.dilation)
            node.batch_norm = layer.batch_norm
        else:
            kernel = layer.kernel or shape[:2]
            node = Node("max_pool2d" if isinstance(layer, MaxPool2d) else "avg_pool2d", (source,), shape[2], kernel, layer.stride or kernel)
        activation = "" if isinstance(layer, MaxPool2d | AvgPool2d) else layer.activation
        node.activation = "" if activation == "hard_swish" else activation
        graph.append(node)
        if activation == "hard_swish":
            graph.append(Node("hard_swish", (len(graph.nodes),), graph.shape(len(graph.nodes))[2]))
        if layer.label:
            labels[layer.label] = len(graph.nodes)
    return graph
