# SPDX-License-Identifier: Apache-2.0
"""What all importers share: a Graph that grows operator by operator, folds what can be folded, and notes what was done for the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fqt_ref.convert.activations import restore_activations
from fqt_ref.convert.grids import EMPTY_SCALE, make_room_for_bias, same_grid, usable
from fqt_ref.convert.limits import MAX_COLUMNS, MAX_FEATURES
from fqt_ref.errors import FqtError, one_line
from fqt_ref.graph import WEIGHTED, Graph, Grid, Node, weights_shape

NO_PAD = (0, 0, 0, 0)
MAX_LAYERS, MAX_KERNEL = 255, 255  # SPEC.md 9
PLAIN, SOFTMAX, SIZES = "", "softmax", "sizes"


@dataclass(frozen=True)
class Value:
    """A source's tensor while it is imported.

    tensor   of the Graph
    shape    as the source sees it, without the batch axis
    order    of a source's three axes: "hwc" or "chw"; a flattened value keeps the order in which it was flattened
    sole     nothing else reads this value, nor what it was on the way from its layer
    pad      zeros around it that a PAD asks of the next convolution
    form     "" or what it is a part of, for example "softmax": only some operators can follow
    """

    tensor: int
    shape: tuple[int, ...]
    order: str = "hwc"
    sole: bool = True
    pad: tuple[int, int, int, int] = NO_PAD
    form: str = PLAIN


@dataclass(frozen=True)
class Row:
    """One line of the report: a source's operator, the node that it became or went into (None: dropped), and what is worth saying.

    tensor: the name (TFLite: the index) of what the operator makes, in the source.
    """

    op: str
    name: str
    node: int | None
    note: str = ""
    tensor: str = ""


@dataclass(frozen=True)
class Imported:
    """A Graph and the report's rows, in the source's order.

    layout: the order of the source's input axes, "hwc" or "chw"; sample_shape: its input's shape without the batch axis;
    sample_type: "float32", or "int8" or "uint8" of an input that takes bytes of its grid.
    """

    graph: Graph
    rows: list[Row]
    layout: str = "hwc"
    notes: list[str] = field(default_factory=list)
    sample_shape: tuple[int, ...] = ()
    sample_type: str = "float32"


def check_sizes(graph: Graph, where: str) -> None:
    """Whether the feature maps and what convolutions make of them can be computed on a desktop. Raises FqtError."""
    for t in range(len(graph.nodes) + 1):
        h, w, c = graph.shape(t)
        what = f"{graph.nodes[t - 1].op} {one_line(graph.nodes[t - 1].name, 60)}" if t else "the input"
        if h * w * c > MAX_FEATURES:
            raise FqtError(f"{where}: {what} has a feature map of {h}x{w}x{c}; {MAX_FEATURES} values are the most: use smaller inputs")
        weights = graph.nodes[t - 1].weights if t else None
        if weights is not None and weights.shape != weights_shape(graph.nodes[t - 1], graph.shape(graph.nodes[t - 1].inputs[0])):
            raise FqtError(f"{where}: {what} has weights of shape {weights.shape}, which do not fit its input; the file is damaged")
        if weights is not None and weights[0].size * h * w > MAX_COLUMNS:
            reads = f"{what} reads {weights[0].size} values at {h * w} positions"
            raise FqtError(f"{where}: {reads}, more than can be computed: use smaller inputs")


def whole(imported: Imported, where: str) -> Imported:
    """The same, if it is a whole network: its output has no height and width. Raises FqtError; where: what it calls the source."""
    graph = imported.graph
    h, w, c = graph.shape(len(graph.nodes))
    check_sizes(graph, where)
    if h * w > 1:
        what = f"has an output with height and width, {h}x{w} of {c} channels; only one value a class can be imported"
        raise FqtError(f"{where}: {what}: put global pooling or a linear layer behind it before it is exported")
    return imported


class Assembler:
    """Grows a Graph. Messages of its FqtErrors say what is wrong; the importer puts file and operator in front."""

    def __init__(self, name: str, input_shape: tuple[int, int, int]):
        self.graph = Graph(name, input_shape)
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def shape(self, value: Value) -> tuple[int, int, int]:
        """(h, w, c) of a value's tensor."""
        return self.graph.shape(value.tensor)

    def say(self, op: str, name: str, value: Value | None, note: str = "") -> None:
        """A row of the report."""
        self.rows.append(Row(op, name, None if value is None or value.tensor == 0 else value.tensor - 1, note))

    def as_image(self, value: Value) -> Value:
        """The value as an operator with windows wants it. Raises FqtError if a reshape stands between, unless it is of the input."""
        if len(value.shape) != 3:
            raise FqtError(f"needs an input of rank 4 (batch, height, width, channels in some order), not {rank(value)}")
        wanted = hwc(value.shape, value.order)
        if wanted == self.shape(value):
            return value
        if value.tensor == 0 and not self.graph.nodes:
            self.graph.input_shape = wanted
            return value
        raise FqtError(f"reads a tensor of shape {self.shape(value)} reshaped to {wanted}; only flattening can be imported")

    def plain(self, value: Value, pad: bool = False) -> Value:
        """The value, if any operator can read it; pad: zeros around it are welcome."""
        if value.form == SOFTMAX:
            raise FqtError("stands behind a softmax; a softmax can only be the last operator")
        if value.form == SIZES:
            raise FqtError("computes with the sizes of a feature map; only a reshape can take them")
        if value.form != PLAIN:
            raise FqtError(f"reads a part of a hard-swish ({value.form}); only the whole of it can be imported")
        if value.pad != NO_PAD and not pad:
            raise FqtError("stands behind a PAD; zeros around a tensor can only go into a convolution")
        return value

    def made(self, rows: int, tensor: str) -> None:
        """Say of all rows from number `rows` on what their operator makes in the source."""
        self.rows[rows:] = [replace(row, tensor=tensor) for row in self.rows[rows:]]

    def add(self, op: str, source: tuple[str, str], inputs: Sequence[Value], sole: bool, note: str = "", **fields: Any) -> Value:
        """Append a node; source: its operator and name there. Returns its value with the shape (h, w, c), or (n,) of a linear layer."""
        node = Node(op, tuple(v.tensor for v in inputs), name=source[1], **fields)
        if node.weights is not None:
            for what, array in (("weights", node.weights), ("bias", node.bias)):
                if array is not None and not np.all(np.isfinite(array)):
                    raise FqtError(f"has {what} that are not finite")
        if max((*node.kernel, *node.stride, *node.dilation)) > MAX_KERNEL:
            largest = max((*node.kernel, *node.stride, *node.dilation))
            remedy = "put a stride or a smaller pool before it"
            raise FqtError(f"has a kernel, stride or dilation above {MAX_KERNEL}, of {largest}: {remedy}")
        spans = [d * (k - 1) + 1 for k, d in zip(node.kernel, node.dilation, strict=True)]
        if max(node.padding[:2]) >= spans[0] or max(node.padding[2:]) >= spans[1]:
            raise FqtError(f"has padding {node.padding} (top, bottom, left, right), not less than its {spans[0]}x{spans[1]} window")
        tensor = self.graph.append(node)
        h, w, c = self.graph.shape(tensor)
        order = inputs[0].order
        shape = (c,) if op == "linear" else (h, w, c) if order == "hwc" else (c, h, w)
        value = Value(tensor, shape, order, sole and (op != "max_pool2d" or inputs[0].sole))
        self.say(*source, value, note)
        return value

    def weighted(self, value: Value) -> Node | None:
        """The node whose output this is, if it has weights, nothing else reads it and no activation stands between."""
        if value.tensor == 0 or not value.sole:
            return None
        node = self.graph.nodes[value.tensor - 1]
        return node if node.op in WEIGHTED and not node.activation else None

    def activate(self, value: Value, kind: str, source: tuple[str, str], sole: bool) -> Value:
        """Put a ReLU or ReLU6 into the layer that makes a value, through max pooling if need be; else make it a layer of its own."""
        value = self.plain(value)
        node, tensor = None, value.tensor
        while tensor and value.sole:
            node = self.graph.nodes[tensor - 1]
            if node.op != "max_pool2d":
                break
            tensor = node.inputs[0]
        result = replace(value, sole=value.sole and sole)
        if tensor and value.sole and node is not None and (node.op in WEIGHTED or node.op == "add"):
            node.activation = "relu6" if "relu6" in (kind, node.activation) else kind
            self.rows.append(Row(*source, tensor - 1, f"folded: {kind}"))
            return result
        return self.scaled(value, np.float32(1), np.float32(0), source, sole, kind)

    def scaled(self, value: Value, factor, offset, source: tuple[str, str], sole: bool, activation: str = "") -> Value:
        """factor * value + offset a channel: folded into the layer before if nothing stands between, else a 1x1 depthwise convolution.

        factor, offset: float32, a scalar or one a channel.
        """
        value = self.plain(value)
        channels = self.shape(value)[2] if len(value.shape) == 3 else int(np.prod(value.shape))
        factor, offset = (np.broadcast_to(np.asarray(v, np.float32).reshape(-1), channels) for v in (factor, offset))
        node = self.weighted(value)
        if node is not None and node.weights is not None and node.bias is not None and not activation and channels == node.channels:
            if np.any(factor != 1):
                node.weights = node.weights * factor.reshape(-1, 1, 1, 1)
                node.weight_grid = None
            node.bias = node.bias * factor + offset
            node.output_grid = None
            self.rows.append(Row(*source, value.tensor - 1, "folded into the weights"))
            return replace(value, sole=sole)
        if self.shape(value)[2] != channels:
            raise FqtError(f"works on {channels} flattened channels behind a layer that it cannot be folded into")
        weights = factor.reshape(-1, 1, 1, 1)
        grid = None
        if np.all(factor == 1):
            weights = np.broadcast_to(EMPTY_SCALE * np.float32(255), weights.shape)
            grid = Grid(np.array([EMPTY_SCALE], np.float32), np.zeros(1, np.int32))
        fields = {"weights": weights.copy(), "bias": offset.copy(), "weight_grid": grid, "activation": activation}
        made = self.add("depthwise_conv2d", source, [value], sole, "a layer of its own", channels=channels, **fields)
        return replace(made, shape=value.shape)

    def prescribe(self, value: Value, grid: Grid) -> str:
        """Set the grid of a tensor; returns a note for the report. A max pool hands the grid on to its input, whose grid it shares."""
        if value.form != PLAIN:
            return "dropped with what it belongs to"
        if len(grid.scale) != 1:
            raise FqtError("has a scale for each channel of a feature map; feature maps have one scale")
        if not usable(grid):
            raise FqtError("has a scale of 0")
        tensor = value.tensor
        while tensor and self.graph.nodes[tensor - 1].op == "max_pool2d":
            tensor = self.graph.nodes[tensor - 1].inputs[0]
        old = self.graph.nodes[tensor - 1].output_grid if tensor else self.graph.input_grid
        if old is not None and not same_grid(old, grid):
            if tensor != value.tensor:
                return "dropped: max pooling keeps the grid of its input"
            if not value.sole:
                raise FqtError("gives a tensor that other layers read a second grid; each tensor has one")
        if tensor:
            self.graph.nodes[tensor - 1].output_grid = grid
        else:
            self.graph.input_grid = grid
        return ("grid" if old is None or same_grid(old, grid) else "grid, in place of the one before") + (
            "" if tensor == value.tensor else " of max pooling and its input"
        )

    def finish(self, output: Value) -> Imported:
        """Leave out what the output does not need, check the rest, mark the head. Raises FqtError."""
        if output.pad != NO_PAD:
            raise FqtError("the last operator is a PAD; nothing can take its zeros")
        if output.form not in (PLAIN, SOFTMAX):
            raise FqtError(f"the output is a part of a hard-swish ({output.form})")
        if output.tensor == 0:
            raise FqtError("holds no operator that does anything")
        graph, kept = self._needed(output.tensor)
        if len(graph.nodes) > MAX_LAYERS:
            raise FqtError(f"has {len(graph.nodes)} layers; {MAX_LAYERS} are the most that a model file can hold")
        weighted = [i for i, node in enumerate(graph.nodes) if node.op in WEIGHTED]
        if not weighted:
            raise FqtError("has no layer with weights")
        for node in graph.nodes[weighted[-1] :]:
            node.head = True
        for node in graph.nodes:
            if node.op == "max_pool2d" and len(graph.readers(node.inputs[0])) > 1:
                raise FqtError(
                    f"max_pool2d {node.name}: other layers read its input too; max pooling has to be the only reader: use a strided "
                    "convolution or an average pool there, or let the others read the pool's output"
                )
        rows = [replace(row, node=kept.get(row.node)) if row.node is not None else row for row in self.rows]
        self.notes.extend(restore_activations(graph))
        self._make_room(graph)
        return Imported(graph, rows, notes=self.notes)

    def _needed(self, output: int) -> tuple[Graph, dict[int | None, int]]:
        """The graph of what a tensor depends on, and where its nodes were."""
        wanted = {output}
        for i in range(len(self.graph.nodes) - 1, -1, -1):
            if i + 1 in wanted:
                wanted.update(self.graph.nodes[i].inputs)
        graph = Graph(self.graph.name, self.graph.input_shape, input_grid=self.graph.input_grid)
        tensors, kept = {0: 0}, {}
        for i, node in enumerate(self.graph.nodes):
            if i + 1 in wanted:
                tensors[i + 1] = graph.append(replace(node, inputs=tuple(tensors[t] for t in node.inputs)))
                kept[i] = tensors[i + 1] - 1
        return graph, kept  # type: ignore[return-value]

    def _make_room(self, graph: Graph) -> None:
        layers = channels = 0
        for node in graph.nodes:
            x = input_grid_of(graph, node)
            if node.weight_grid is None or node.weights is None or node.bias is None or x is None:
                continue
            node.weights, node.weight_grid, n = make_room_for_bias(node.weights, node.bias, node.weight_grid, float(x.scale[0]))
            layers, channels = layers + (n > 0), channels + n
        if channels:
            self.notes.append(f"scales of {channels} channels' weights, all but 0, in {layers} layers raised so that biases fit 28 bits")


def input_grid_of(graph: Graph, node: Node) -> Grid | None:
    """The grid of a node's first input, looked up through max pooling; None if none is prescribed."""
    tensor = node.inputs[0]
    while tensor and graph.nodes[tensor - 1].op == "max_pool2d":
        tensor = graph.nodes[tensor - 1].inputs[0]
    return graph.nodes[tensor - 1].output_grid if tensor else graph.input_grid


def hwc(shape: tuple[int, ...], order: str) -> tuple[int, int, int]:
    """(h, w, c) of a source's three axes."""
    a, b, c = shape
    return (a, b, c) if order == "hwc" else (b, c, a)


def rank(value: Value) -> str:
    """A value's rank in words."""
    return f"rank {len(value.shape) + 1}, shape {('batch', *value.shape)}".replace("'", "")
