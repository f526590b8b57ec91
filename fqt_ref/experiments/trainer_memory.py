# SPDX-License-Identifier: Apache-2.0
"""Memory and work of training a network on the device with back-propagation and without (SPEC.md 17.6): only shapes matter, no data set."""

from dataclasses import dataclass
from typing import Any

from fqt_ref.experiments.adaptation import Estimate
from fqt_ref.experiments.description import DONE, Cell, Experiment, Found, Outcome, Run, Table, why_missing
from fqt_ref.experiments.memory import Shape, random_network
from fqt_ref.experiments.place import Place
from fqt_ref.network import LAYER_TRAINABLE, Network, carrying, inputs_of


def products(network: Network, zeroth: Any) -> int:
    """Multiply-accumulates of a training sample, all channels kept: forward, then errors and gradients (Eq. 1, 2) or estimates.

    zeroth: a ZerothConfig, or None for back-propagation.
    An estimate by nodes runs what lies behind the layer again, one by weights the layer, too; once or twice a query.
    """
    from fqt_ref.zeroth_order import BY_NODES, BY_WEIGHTS, method_of

    sizes = [0 if weights is None else weights.size for weights in network.weights]
    macs = [size * int(y["h"]) * int(y["w"]) for size, y in zip(sizes, network.tensors[1:], strict=True)]
    trained = [i for i, layer in enumerate(network.layers) if layer["flagset"] & LAYER_TRAINABLE]
    total = sum(macs)
    if zeroth is None:
        carries = carrying(network.layers)
        backward = [i for i, layer in enumerate(network.layers) if any(carries[t] for t in inputs_of(layer))]
        return total + sum(macs[i] for i in trained) + sum(macs[i] for i in backward)
    passes = zeroth.queries * (2 if zeroth.antithetic else 1)
    for i in trained:
        method = method_of(len(macs), zeroth, i)
        again = {BY_WEIGHTS: macs[i:], BY_NODES: macs[i + 1 :]}.get(method, [])
        total += passes * sum(again) + (0 if method == BY_WEIGHTS else macs[i])
    return total


@dataclass(frozen=True)
class TrainerMemory(Run):
    """A uint8 network whose last train_last layers with weights train, all if None. estimate: None is back-propagation."""

    network: str
    shape: Shape
    classes: int
    train_last: int | None
    estimate: Estimate | None = None

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.device_memory import Sizes, ZerothSizes, device_memory, zeroth_memory

        network = random_network(self.network, self.shape, self.classes, "uint8", self.train_last)
        sizes = Sizes(network)
        if self.estimate is None:
            zeroth, memory, arena = None, device_memory(network), sizes.arenas[0]
        else:
            zeroth = self.estimate.config(network, 1)  # no size depends on the minibatch's
            memory, arena = zeroth_memory(network, zeroth), ZerothSizes(network, zeroth).arena()
        bytes_of = {"features_and_errors": arena, "gradients": sizes.sums()}
        return Outcome({**{f"library_{name}": size for name, size in memory._asdict().items()}, **bytes_of,
                        "products": products(network, zeroth)})  # fmt: skip


@dataclass(frozen=True)
class TrainerMemories(Experiment):
    """Networks (name, (h, w, c), classes, train_last) x ways to find gradients."""

    networks: tuple[tuple[str, Shape, int, int | None], ...] = ()
    ways: tuple[tuple[str, Estimate | None], ...] = ()

    def cells(self) -> list[Cell]:
        made = []
        for name, shape, classes, train_last in self.networks:
            layers = "all layers" if train_last is None else f"last {train_last} layers"
            row = f"{name} {'x'.join(map(str, shape))}, {layers}"
            made += [Cell(row, way, TrainerMemory(name, shape, classes, train_last, estimate)) for way, estimate in self.ways]
        return made

    def tables(self, found: Found) -> list[Table]:
        """Bytes of RAM, what they are for, and millions of multiply-accumulates a sample."""
        columns, rows = ["RAM to train", "of it features, errors", "gradients", "RAM to infer", "million MACs a sample"], []
        for cell in self.cells():
            record, name = found(cell.run), f"{cell.row}, {cell.column}"
            if record is None or record.status != DONE:
                rows.append([name, why_missing(cell, record), *[""] * (len(columns) - 1)])
                continue
            result = record.result
            ram = result["library_network"] + result["library_trainer"]
            numbers = (ram, result["features_and_errors"], result["gradients"], result["library_inference"])
            rows.append([name, *map(str, numbers), f"{result['products'] / 1e6:.3g}"])
        return [Table("bytes that the C library asks for; RAM to train holds the trained weights, too", ["", *columns], rows)]
