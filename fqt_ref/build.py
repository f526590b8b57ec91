# SPDX-License-Identifier: Apache-2.0
"""From a graph of float32 nodes to a network's tables: calibration on real samples, quantization, one of the three configurations."""

import numpy as np

from fqt_ref.blas import one_blas_thread
from fqt_ref.calibrate import fresh_layer, output_grid, quantize_layer
from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, WINDOWED, Graph, Node
from fqt_ref.kernels.activation import RELU, RELU6
from fqt_ref.network import (
    DEQUANTIZE,
    F32,
    LAYER,
    LAYER_RELU,
    LAYER_RELU6,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    OP_NAMES,
    TENSOR,
    TENSOR_ADAPTIVE,
    U8,
    Geometry,
    Network,
    carrying,
)
from fqt_ref.training_plan import plan_network

CONFIGS = ("uint8", "mixed", "float32")
OPS = {name: op for op, name in OP_NAMES.items()}
ACTS = {"": 0, "relu": RELU, "relu6": RELU6}
ACT_FLAGS = {"": 0, "relu": LAYER_RELU, "relu6": LAYER_RELU | LAYER_RELU6}  # the same bits at layers and tensors
NO_WEIGHTS, NO_BIAS = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)


def node_geometry(graph: Graph, index: int) -> Geometry:
    """Geometry of node `index`."""
    node = graph.nodes[index]
    (h, w, c), (out_h, out_w, out_c) = graph.shape(node.inputs[0]), graph.shape(index + 1)
    top, _, left, _ = node.padding
    if node.op not in WINDOWED:
        return Geometry(h, w, c, out_h, out_w, out_c, 1, 1, 1, 1, 0, 0)
    return Geometry(h, w, c, out_h, out_w, out_c, *node.kernel, *node.stride, top, left, *node.dilation)


class Builder:
    """Grows the tables node by node while calibration samples run through the float32 network."""

    def __init__(self, graph: Graph, config: str, samples: np.ndarray, scale: np.float32, zero: int, seed: int):
        self.graph, self.config, self.seed = graph, config, seed
        self.percentile, self.per_channel = 100.0, False
        values = (samples.reshape(len(samples), -1).astype(np.int32) - np.int32(zero)).astype(np.float32) * np.float32(scale)
        self.values = {0: values}  # of the graph's tensors that are still to be read
        self.at = {0: 0}  # where they are in the table
        self.dequantized: dict[int, int] = {}
        lo, hi = np.float32(0 - zero) * np.float32(scale), np.float32(255 - zero) * np.float32(scale)
        self.tensors = [self.tensor(graph.input_shape, U8, 0, scale, zero, lo, hi)]
        self.layers: list[np.ndarray] = []
        self.weights: list = []
        self.biases: list = []
        self.grids: list = []

    def tensor(self, shape, kind, flags, scale=1, zero=0, lo=0, hi=0):
        record = np.zeros((), TENSOR)
        record["type"], record["flagset"] = kind, flags
        record["h"], record["w"], record["c"] = shape
        record["scale"], record["zero"], record["lo"], record["hi"] = scale, zero, lo, hi
        return record

    def append(self, op, inputs, geometry, flags, tensor, padding=(0, 0, 0, 0), weights=None, bias=None, grid=None) -> int:
        """Add a layer; returns its output tensor."""
        record = np.zeros((), LAYER)
        record["op"], record["flagset"] = op, flags
        record["input"], record["input2"] = inputs[0], inputs[1] if len(inputs) > 1 else 0
        record["output"] = len(self.layers) + 1
        for field in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"):
            record[field] = getattr(geometry, field)
        record["pad_top"], record["pad_bottom"], record["pad_left"], record["pad_right"] = padding
        record["grids"] = 0 if grid is None else len(grid[0])
        self.layers.append(record)
        self.tensors.append(tensor)
        self.weights.append(weights)
        self.biases.append(bias)
        self.grids.append(grid)
        return len(self.layers)

    def dequantize(self, t: int) -> int:
        """The float32 twin of table tensor t, made once."""
        source = self.tensors[t]
        if source["type"] == F32:
            return t
        if t not in self.dequantized:
            h, w, c = (int(source[axis]) for axis in "hwc")
            flags = int(source["flagset"]) & (LAYER_RELU | LAYER_RELU6)
            geometry = Geometry(h, w, c, h, w, c, 1, 1, 1, 1, 0, 0)
            self.dequantized[t] = self.append(DEQUANTIZE, (t,), geometry, 0, self.tensor((h, w, c), F32, flags))
        return self.dequantized[t]

    def inputs(self, node: Node) -> tuple[int, ...]:
        """Table tensors that a node reads, in the type in which it runs."""
        tensors = tuple(self.at[t] for t in node.inputs)
        floating = self.config == "float32" or (self.config == "mixed" and node.head)
        if floating or any(self.tensors[t]["type"] == F32 for t in tensors):
            return tuple(self.dequantize(t) for t in tensors)
        return tensors

    def range_of(self, values: np.ndarray) -> tuple[np.float32, np.float32]:
        """Least and greatest value, or what lies inside the percentile on both sides."""
        if self.percentile >= 100:
            return values.min(), values.max()
        lo, hi = np.percentile(values, (100 - self.percentile, self.percentile))
        return np.float32(lo), np.float32(hi)

    def output_tensor(self, node: Node, shape, values: np.ndarray, kind: int):
        """The record of a node's output."""
        flags = ACT_FLAGS[node.activation]
        if kind == F32:
            return self.tensor(shape, F32, flags)
        if node.output_grid is not None:
            scale, zero = np.float32(node.output_grid.scale[0]), int(node.output_grid.zero[0])
            return self.tensor(shape, U8, flags, scale, zero, np.float32(-zero) * scale, np.float32(255 - zero) * scale)
        lo, hi, scale, zero = output_grid(*self.range_of(values))
        return self.tensor(shape, U8, flags, scale, zero, lo, hi)

    def quantized(self, node: Node, weights: np.ndarray, bias: np.ndarray, scale_x: np.float32):
        """uint8 weights, Q20 biases and grids of a node."""
        given = node.weight_grid
        n = len(given.scale) if given is not None else len(bias) if self.per_channel else 1
        scales, zeros = np.zeros(n, np.float32), np.zeros(n, np.int32)
        if given is not None:
            scales[:], zeros[:] = given.scale, given.zero
        bytes_, bias_q20 = np.zeros(weights.size, np.uint8), np.zeros(bias.size, np.int32)
        quantize_layer(weights, bias, scale_x, scales, zeros, given is not None, bytes_, bias_q20)
        return bytes_, bias_q20, (scales, zeros)

    def add(self, index: int) -> None:
        """Node `index` of the graph."""
        node, geometry, shape = self.graph.nodes[index], node_geometry(self.graph, index), self.graph.shape(index + 1)
        inputs, op = self.inputs(node), OPS[node.op]
        kind = int(self.tensors[inputs[0]]["type"])
        fresh, weights, bias = node.weights is None, NO_WEIGHTS, NO_BIAS
        if node.op in WEIGHTED:
            h, w, c = self.graph.shape(node.inputs[0])
            depth = 1 if node.op == "depthwise_conv2d" else h * w * c if op == LINEAR else c
            size = geometry.kernel_h * geometry.kernel_w * depth
            weights, bias = np.zeros((node.channels, size), np.float32), np.zeros(node.channels, np.float32)
            if node.weights is not None and node.bias is not None:
                weights[:], bias[:] = node.weights.reshape(node.channels, size), node.bias + np.float32(0)  # never -0
        x, x2 = self.values[node.inputs[0]], self.values[node.inputs[-1]]
        y = np.zeros((len(x), shape[0] * shape[1] * shape[2]), np.float32)
        layer, act = len(self.layers), ACTS[node.activation]
        fresh_layer(op, geometry, self.seed, layer, fresh and node.op in WEIGHTED, node.batch_norm, act, x, x2, weights, bias, y)
        self.values[index + 1] = y
        flags, grid = ACT_FLAGS[node.activation], None
        tensor = self.output_tensor(node, shape, y, kind)
        if op == MAX_POOL2D:  # keeps scale, zero point and activation
            before = self.tensors[inputs[0]]
            tensor = self.tensor(shape, kind, before["flagset"], *(before[field] for field in ("scale", "zero", "lo", "hi")))
        arrays: tuple = (None, None)
        if node.op in WEIGHTED:
            flags |= LAYER_TRAINABLE
            if kind == U8:
                weights, bias, grid = self.quantized(node, weights, bias, self.tensors[inputs[0]]["scale"])
            arrays = (weights.reshape(node.channels, geometry.kernel_h, geometry.kernel_w, -1), bias)
        self.at[index + 1] = self.append(op, inputs, geometry, flags, tensor, node.padding, arrays[0], arrays[1], grid)
        for t in [t for t in self.values if t <= index and all(reader <= index for reader in self.graph.readers(t))]:
            del self.values[t]


@one_blas_thread()
def build_network(
    graph: Graph,
    config: str,
    samples: np.ndarray,
    scale,
    zero: int,
    seed: int = 0,
    train_last: int | None = None,
    percentile: float = 100.0,
    per_channel: bool = False,
) -> Network:
    """A network with ranges from calibration samples; nodes without weights get random ones (He initialization, batch norm folded).

    config: one of CONFIGS ("mixed": quantized, but head nodes in float32); samples: uint8[n, h, w, c], real value scale * (byte - zero);
    train_last: number of layers with weights that train, all if None; percentile: of a feature map's values that its range holds on both
    sides; per_channel: a weight grid for each output channel (where the graph does not prescribe grids).
    Raises FqtError for an unknown configuration, or samples of another shape.
    """
    if config not in CONFIGS:
        raise FqtError(f"configuration '{config}' does not exist: choose one of {', '.join(CONFIGS)}")
    if samples.shape[1:] != tuple(graph.input_shape):
        raise FqtError(
            f"network {graph.name} takes inputs of {graph.input_shape}, the samples have {samples.shape[1:]}: choose data that fits"
        )
    if not graph.nodes:
        raise FqtError(f"network {graph.name} has no layers")
    builder = Builder(graph, config, samples, np.float32(scale), zero, seed)
    builder.percentile, builder.per_channel = percentile, per_channel
    for index in range(len(graph.nodes)):
        builder.add(index)
    tables = np.array(builder.tensors, TENSOR), np.array(builder.layers, LAYER)
    network = Network(graph.name, *tables, builder.weights, builder.biases, builder.grids)
    freeze(network, train_last)
    return network


def freeze(network: Network, train_last: int | None) -> None:
    """Let only the last train_last layers with weights train, at least one (all if None); adapt the ranges of what carries errors; plan
    the memory. Raises FqtError."""
    weighted = [i for i, weights in enumerate(network.weights) if weights is not None]
    count = len(weighted) if train_last is None else train_last
    if train_last is not None and not 1 <= count <= len(weighted):
        raise FqtError(f"cannot train the last {count} layers: the network has {len(weighted)} with weights, and 1 is the least")
    network.layers["flagset"] &= ~np.uint8(LAYER_TRAINABLE)
    for i in weighted[len(weighted) - count :]:
        network.layers["flagset"][i] |= LAYER_TRAINABLE
    network.tensors["flagset"] &= ~np.uint8(TENSOR_ADAPTIVE)
    for i, carries in enumerate(carrying(network.layers)[1:]):
        if carries and network.tensors["type"][i + 1] == U8 and network.layers["op"][i] != MAX_POOL2D:
            network.tensors["flagset"][i + 1] |= TENSOR_ADAPTIVE
    plan_network(network)
