# SPDX-License-Identifier: Apache-2.0
"""Bytes of memory that the C library asks for: its size functions, from a network's tables. No piece holds a pointer: every core agrees."""

from typing import NamedTuple

from fqt_ref.memory_plan import aligned
from fqt_ref.network import ADD, AVG_POOL2D, HARD_SWISH, LAYER_TRAINABLE, MAX_POOL2D, TENSOR_ADAPTIVE, U8, Network, carrying, has_weights
from fqt_ref.network import last_readers as readers_of
from fqt_ref.training_plan import arenas_of, tensor_bytes
from fqt_ref.zeroth_order import BY_NODES, BY_WEIGHTS, ZerothConfig, method_of

# Of zephyr_app/include/fqt: sizeof(struct fqt_tensor_values), sizeof(struct fqt_extremes), a grid's scale and zero point.
TENSOR_VALUES, EXTREMES, GRID = 20, 8, 8
PLACE = 12  # sizeof(struct fqt_place)
RANGE = 8  # sizeof(struct fqt_grid_range)
WORD = 4


class DeviceMemory(NamedTuple):
    """Bytes for the three memories that a training application lends to the library."""

    network: int  # fqt_network_memory_size(), FQT_TRAINING
    trainer: int  # fqt_trainer_memory_size()
    inference: int  # fqt_inference_arena_size()


def carved(*sizes: int) -> int:
    """Bytes of pieces, each aligned to 4 bytes (carve.h)."""
    return sum(aligned(size, WORD) for size in sizes)


class Sizes:
    """A network's tables and the questions that the C library asks of them."""

    def __init__(self, network: Network, keeps_ranges: bool = False):
        self.keeps_ranges = keeps_ranges
        self.tensors, self.layers = network.tensors, network.layers
        self.weights, self.biases = network.weights, network.biases
        self.carries, self.last_reader = carrying(network.layers), readers_of(network.layers)
        self.arenas = arenas_of(network)

    def trains(self, layer: int) -> bool:
        return bool(self.layers["flagset"][layer] & LAYER_TRAINABLE)

    def quantized(self, tensor: int) -> bool:
        return bool(self.tensors["type"][tensor] == U8)

    def grids(self, layer: int) -> int:
        return int(self.layers["grids"][layer])

    def placed(self) -> int:
        """Layers from the first trained one on: the tables that say where their pieces are have an entry for each."""
        return len(self.layers) - next((i for i in range(len(self.layers)) if self.trains(i)), len(self.layers))

    def version(self) -> int:
        """fqt_version_size(): values of the tensors that move, grids of the trained layers."""
        adaptive = self.tensors["flagset"] & TENSOR_ADAPTIVE
        moving = sum(self.quantized(t) and bool(adaptive[t] or self.carries[t]) for t in range(len(self.tensors)))
        return TENSOR_VALUES * moving + sum(GRID * self.grids(i) for i in range(len(self.layers)) if self.trains(i))

    def forward_scratch(self) -> int:
        """fqt_forward_scratch_size(): requantizers of a layer's grids and its biases."""
        return max((4 * (self.grids(i) + len(self.biases[i])) for i in range(len(self.layers)) if self.grids(i)), default=0)

    def scratch(self) -> int:
        """That, or a norm for each channel of a trained layer."""
        return max([self.forward_scratch()] + [4 * len(self.biases[i]) for i in range(len(self.layers)) if self.trains(i)])

    def adapts(self, layer: int) -> bool:
        """Whether the range of a layer's output follows what its sums have been."""
        has_sums = has_weights(self.layers[layer]) or self.layers["op"][layer] in (AVG_POOL2D, ADD, HARD_SWISH)
        return has_sums and bool(self.tensors["flagset"][layer + 1] & TENSOR_ADAPTIVE)

    def error_scale_moves(self, tensor: int) -> bool:
        """Whether errors that layers send to a tensor set its error scale."""
        reader = self.last_reader[tensor]
        return self.carries[tensor] and self.quantized(tensor) and reader >= 0 and bool(self.layers["op"][reader] != MAX_POOL2D)

    def sums(self) -> int:
        """What a minibatch adds up: gradients, chosen channels, extremes, largest errors, and weight ranges if these are kept."""
        total = 0
        for i, layer in enumerate(self.layers):
            if self.trains(i):
                total += carved(4 * self.weights[i].size, 4 * len(self.biases[i]), 4 * len(self.biases[i]))
                total += RANGE * self.grids(i) if self.keeps_ranges and self.quantized(i + 1) else 0
            if self.adapts(i):
                total += carved(EXTREMES * (self.grids(i) if has_weights(layer) else 1))
            if self.error_scale_moves(i + 1):
                total += WORD
        return total


class ZerothSizes:
    """What training without back-propagation lends beside the sums (zeroth_order.c)."""

    def __init__(self, network: Network, zeroth: ZerothConfig):
        self.network, self.sizes = network, Sizes(network)
        trained = [i for i in range(len(network.layers)) if self.sizes.trains(i)]
        methods = {i: method_of(len(network.layers), zeroth, i) for i in trained}
        self.by_nodes = [i for i in trained if methods[i] == BY_NODES]
        self.by_weights = [i for i in trained if methods[i] == BY_WEIGHTS]
        self.trained, self.queries = trained, zeroth.queries

    def lives(self, offsets: dict[int, int], start: int, layer: int) -> list[int]:
        """Tensors that have a place and are needed by a layer or behind it, when layer `start` starts again; 0: a copy of its output."""
        last = {t: len(self.network.layers) if reader < 0 else reader for t, reader in enumerate(self.sizes.last_reader)}
        return [t for t in offsets if t == 0 or (t <= layer and last[t] >= (start if t <= start else layer))]

    def may_be_in_place(self, older: int, newer: int, start: int) -> bool:
        """Whether a tensor may be written over one that its layer reads last (SPEC.md 14)."""
        if older <= start or newer == 0 or self.sizes.last_reader[older] != newer - 1:
            return False
        tensors, op = self.network.tensors, self.network.layers["op"][newer - 1]
        return op in (ADD, HARD_SWISH) and tensor_bytes(tensors[older]) == tensor_bytes(tensors[newer])

    def place(self, offsets: dict[int, int], sizes: dict[int, int], start: int, t: int) -> None:
        """The lowest free place for tensor t, or for the copy."""
        obstacles = [u for u in self.lives(offsets, start, start if t == 0 else t - 1) if u != t]
        same = {offsets[u] for u in obstacles if self.may_be_in_place(u, t, start)}

        def free(at: int) -> bool:
            meet = [u for u in obstacles if at < offsets[u] + sizes[u] and offsets[u] < at + sizes[t]]
            return all(at == offsets[u] and self.may_be_in_place(u, t, start) for u in meet)

        ends = {offsets[u] + sizes[u] for u in obstacles}
        offsets[t] = min(at for at in {0} | ends | same if free(at))

    def arena(self) -> int:
        """Feature maps: in each trained layer's turn its inputs stay, and what lies behind is placed anew, first fit."""
        count, largest = len(self.network.layers), 0
        offsets: dict[int, int] = {}
        bytes_of = {t: aligned(tensor_bytes(tensor), WORD) for t, tensor in enumerate(self.network.tensors)}
        first = min(self.trained, default=count)
        stages = [(0, first, False), *((i, count, i in self.by_nodes) for i in self.trained)]
        for start, end, by_nodes in stages:
            offsets = {t: at for t, at in offsets.items() if 0 < t <= start}
            sizes = bytes_of | {0: bytes_of[min(start + 1, count)]}
            for t in [0] * by_nodes + list(range(start + 1, end + 1)):
                self.place(offsets, sizes, start, t)
                largest = max(largest, offsets[t] + sizes[t])
        return largest

    def parameters(self) -> int:
        """Perturbed weights and biases of one layer."""
        network = self.network
        return max((carved(network.weights[i].nbytes, network.biases[i].nbytes) for i in self.by_weights), default=0)

    def trainer(self) -> int:
        """fqt_zeroth_memory_size()."""
        sizes = self.sizes
        differences = WORD * self.queries if self.by_nodes else 0
        own = (WORD * len(self.network.tensors), self.parameters(), differences, tensor_bytes(self.network.tensors[-1]))
        return carved(self.arena(), WORD * sizes.placed(), sizes.sums(), sizes.version(), sizes.forward_scratch(), *own)


def zeroth_memory(network: Network, zeroth: ZerothConfig) -> DeviceMemory:
    """The same for training without back-propagation: `trainer` is fqt_zeroth_memory_size()."""
    return device_memory(network)._replace(trainer=ZerothSizes(network, zeroth).trainer())


def device_memory(network: Network, keeps_ranges: bool = False) -> DeviceMemory:
    """What the C library asks for; keeps_ranges: if it is built with FQT_WITH_WEIGHT_RANGES (SPEC.md 16.1).

    Of a network of which nothing trains, `trainer` is what it would say, too.
    """
    sizes = Sizes(network, keeps_ranges)
    training_arena, inference_arena = sizes.arenas
    trained = [i for i in range(len(network.layers)) if sizes.trains(i)]
    parameters = [carved(network.weights[i].nbytes, network.biases[i].nbytes) for i in trained]
    return DeviceMemory(
        carved(PLACE * sizes.placed(), sizes.version()) + sum(parameters),
        carved(training_arena, WORD * sizes.placed(), sizes.sums(), sizes.version(), sizes.scratch()),
        carved(inference_arena, sizes.forward_scratch()),
    )
