# SPDX-License-Identifier: Apache-2.0
"""A network as a graph of float32 nodes, before it is laid out in tables: what descriptions, importers and PyTorch hand to build.py.

Tensor 0 is the input and node i makes tensor i + 1, so a list of nodes is in an order in which it can run.
"""

from dataclasses import dataclass, field

import numpy as np

from fqt_ref.errors import FqtError

WEIGHTED = ("conv2d", "depthwise_conv2d", "linear")
WINDOWED = ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d")
OPERATORS = (*WEIGHTED, "max_pool2d", "avg_pool2d", "add", "hard_swish")
ACTIVATIONS = ("", "relu", "relu6")


@dataclass(frozen=True, eq=False)
class Grid:
    """Affine uint8 grids that a source prescribes: real value = scale * (byte - zero).

    scale: float32[n]; zero: int32[n], 0..255. n is 1, or for weights also the number of output channels.
    """

    scale: np.ndarray
    zero: np.ndarray


@dataclass(eq=False)
class Node:
    """One operator. `inputs` are tensors (0: the network's input; t: the output of node t - 1), two of an add, one of all others.

    op           one of OPERATORS
    channels     of the output
    padding      (top, bottom, left, right)
    activation   one of ACTIVATIONS, behind conv2d, depthwise_conv2d, linear and add only
    head         stays in float32 in the mixed configuration
    weights      float32[channels, kernel_h, kernel_w, in]; depthwise [channels, kernel_h, kernel_w, 1]; linear [channels, 1, 1, h * w * c],
                 its input flattened in memory order (h, w, c); None: random ones are drawn
    bias         float32[channels]; None with weights None
    batch_norm   of a node without weights: statistics are taken from the calibration samples and folded
    output_grid  n = 1; None: calibrated
    weight_grid  n = 1 or channels; the weights lie on it exactly; None: made from the weights' range
    name         where the node comes from, for messages
    """

    op: str
    inputs: tuple[int, ...]
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    activation: str = ""
    head: bool = False
    batch_norm: bool = False
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    output_grid: Grid | None = None
    weight_grid: Grid | None = None
    name: str = ""


@dataclass(eq=False)
class Graph:
    """Nodes in running order. input_shape: (h, w, c); input_grid: n = 1, None if the data set decides."""

    name: str
    input_shape: tuple[int, int, int]
    nodes: list[Node] = field(default_factory=list)
    input_grid: Grid | None = None
    _shapes: list[tuple[int, int, int]] = field(default_factory=list, repr=False)

    def shape(self, tensor: int) -> tuple[int, int, int]:
        """(h, w, c) of a tensor."""
        return self._shapes[tensor - 1] if tensor else self.input_shape

    def append(self, node: Node) -> int:
        """Add a node behind those it reads; returns the tensor that it makes. Raises FqtError for shapes that do not fit."""
        self._shapes.append(output_shape(node, [self.shape(t) for t in node.inputs]))
        self.nodes.append(node)
        return len(self.nodes)

    def readers(self, tensor: int) -> list[int]:
        """Indices of the nodes that read a tensor."""
        return [i for i, node in enumerate(self.nodes) if tensor in node.inputs]


def weights_shape(node: Node, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape that a node's weights have to have, with an input of shape (h, w, c). Raises KeyError for an operator without weights."""
    h, w, c = shape
    depth = {"linear": h * w * c, "conv2d": c, "depthwise_conv2d": 1}[node.op]
    return (node.channels, *((1, 1) if node.op == "linear" else node.kernel), depth)


def conv_output(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """Outputs along one axis: (size + pad - dilation (kernel - 1) - 1) / stride + 1, floor."""
    return (size + pad - dilation * (kernel - 1) - 1) // stride + 1


def output_shape(node: Node, inputs: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """(h, w, c) of a node's output. Raises FqtError if the node does not fit its inputs."""
    what = f"{node.op} {node.name}".strip()
    h, w, c = inputs[0]
    if node.op == "add" and inputs[0] != inputs[1]:
        raise FqtError(f"{what}: cannot add shapes {inputs[0]} and {inputs[1]}; both have to be the same")
    if node.op == "linear":
        return (1, 1, node.channels)
    if node.op not in WINDOWED:
        return (h, w, c)
    top, bottom, left, right = node.padding
    out_h = conv_output(h, node.kernel[0], node.stride[0], top + bottom, node.dilation[0])
    out_w = conv_output(w, node.kernel[1], node.stride[1], left + right, node.dilation[1])
    if out_h < 1 or out_w < 1:
        kernel = f"{node.kernel[0]}x{node.kernel[1]}"
        raise FqtError(f"{what}: a {kernel} kernel does not fit its {h}x{w} input: choose a network for larger inputs")
    return (out_h, out_w, node.channels)
