# SPDX-License-Identifier: Apache-2.0
"""Memory of training a network on the device (paper, Fig. 4c, 4d): no data set needed, only its shape and classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fqt_ref.experiments.chips import CHIPS
from fqt_ref.experiments.description import DONE, Cell, Chart, Experiment, Found, Outcome, Run, Table, why_missing
from fqt_ref.experiments.place import Place
from fqt_ref.network import Network

Shape = tuple[int, int, int]


def random_network(name: str, shape: Shape, classes: int, config: str, train_last: int | None) -> Network:
    """A named network of which only sizes matter. train_last: layers with weights that train, all if None."""
    from fqt_ref.build import build_network
    from fqt_ref.models import describe_network
    from fqt_ref.models.describe import graph_of

    graph = graph_of(name, describe_network(name, shape, classes), shape)
    samples = np.random.RandomState(0).randint(0, 256, (2, *shape)).astype(np.uint8)
    return build_network(graph, config, samples, 1 / 255, 0, train_last=train_last)


@dataclass(frozen=True)
class Memory(Run):
    """One network and configuration; the last train_last layers with weights train, all if None."""

    network: str
    shape: Shape
    classes: int
    config: str
    train_last: int | None

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.device_memory import device_memory
        from fqt_ref.info import describe
        from fqt_ref.model_file import file_bytes

        network = random_network(self.network, self.shape, self.classes, self.config, self.train_last)
        size = len(file_bytes(network))
        told = describe(network, size)
        names = ("training_arena", "training_lower_bound", "inference_arena", "trained")
        result = {f"{name}_bytes": told[f"{name}_bytes"] for name in names}
        return Outcome({**result, "file_bytes": size, **{f"library_{k}": v for k, v in device_memory(network)._asdict().items()}})


@dataclass(frozen=True)
class DeviceMemory(Experiment):
    """Shapes (name, (h, w, c), classes) x configurations. paper: (name, column, bytes) of the authors' poster."""

    network: str = "mbednet"
    train_last: int | None = 5
    shapes: tuple[tuple[str, Shape, int], ...] = ()
    configs: tuple[str, ...] = ("uint8", "mixed", "float32")
    paper: tuple[tuple[str, str, float], ...] = ()

    def cells(self) -> list[Cell]:
        return [
            Cell(name, config, Memory(self.network, shape, classes, config, self.train_last))
            for name, shape, classes in self.shapes
            for config in self.configs
        ]

    def tables(self, found: Found) -> list[Table]:
        """Bytes in RAM and flash, and which chips they fit."""
        printed, rows = {(row, column): value for row, column, value in self.paper}, []
        fields = {"features and errors": "training_arena_bytes", "lower bound": "training_lower_bound_bytes",
                  "trained weights, gradients": "trained_bytes", "flash": "file_bytes"}  # fmt: skip
        for cell in self.cells():
            record, name = found(cell.run), f"{cell.row}, {cell.column}"
            if record is None or record.status != DONE:
                rows.append([name, why_missing(cell, record), *[""] * len(fields)])
                continue
            texts = []
            for title, field in fields.items():
                paper = printed.get((name, title))
                texts.append(f"{record.result[field]}" + ("" if paper is None else f"; paper {paper:g}"))
            rows.append([name, *texts, fitting(record.result)])
        return [Table("bytes", ["", *fields, "fits"], rows)]

    def charts(self, found: Found) -> list[Chart]:
        made = [(f"{cell.row}, {cell.column}", found(cell.run)) for cell in self.cells()]
        results = {name: record.result for name, record in made if record is not None and record.status == DONE}
        return [] if not results else [Chart("ram", self.title, lambda axes: draw(axes, results), 2 + 0.2 * len(results))]


def fitting(result: dict[str, Any]) -> str:
    """The chips whose RAM holds features, errors, trained weights and gradients, and whose flash holds the file."""
    ram = result["training_arena_bytes"] + result["trained_bytes"]
    return ", ".join(name for name, chip in CHIPS.items() if ram <= chip.ram and result["file_bytes"] <= chip.flash) or "-"


def draw(axes: Any, results: dict[str, dict[str, Any]]) -> None:
    """Features and errors left, trained weights and gradients right, dashed lines where a chip's RAM ends."""
    features = [result["training_arena_bytes"] / 1024 for result in results.values()]
    trained = [result["trained_bytes"] / 1024 for result in results.values()]
    axes.barh(range(len(results)), features, color="tab:blue", label="features and errors")
    axes.barh(range(len(results)), trained, left=features, color="tab:orange", label="trained weights, gradients")
    for name, chip in CHIPS.items():
        axes.axvline(chip.ram / 1024, color="tab:red", linestyle="--", linewidth=0.8)
        axes.annotate(name, (chip.ram / 1024, -0.6), fontsize=7, ha="left" if name == "RP2040" else "right")
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xlabel("RAM (KiB)")
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
