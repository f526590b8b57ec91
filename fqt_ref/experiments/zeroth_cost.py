# SPDX-License-Identifier: Apache-2.0
"""What a training sample costs on an emulated core without back-propagation (SPEC.md 17), beside fully quantized training."""

from dataclasses import dataclass
from typing import NamedTuple

from fqt_ref.experiments.chips import CHIPS, seconds
from fqt_ref.experiments.cost import PASSES, Cost, Shape, draw
from fqt_ref.experiments.description import DONE, Cell, Chart, Experiment, Found, Record, Table, why_missing
from fqt_ref.model_file import MAX_LAYERS


class CostSubject(NamedTuple):
    """A network, the shape (h, w, c) of its samples, its classes, and how many of its last layers with weights train; None: all."""

    network: str
    shape: Shape
    classes: int
    train_last: int | None


class Method(NamedTuple):
    """How gradients are found. queries: None by back-propagation; first_node: see ZerothConfig."""

    name: str
    queries: int | None = None
    first_node: int | None = None


def by_nodes(queries: int) -> Method:
    """So many queries of each layer's outputs."""
    return Method(f"{queries} queries by nodes", queries, 0)


def by_weights(queries: int) -> Method:
    """So many queries of each layer's weights and biases."""
    return Method(f"{queries} queries by weights", queries, MAX_LAYERS)


@dataclass(frozen=True)
class ZerothCost(Experiment):
    """Subjects x chips x methods, the first of which the others are compared with; uint8."""

    subjects: tuple[CostSubject, ...]
    methods: tuple[Method, ...]
    chips: tuple[str, ...]

    def cells(self) -> list[Cell]:
        return [
            Cell(f"{self.subject_name(subject)}, {chip}, {method.name}", chip,
                 Cost(CHIPS[chip].core, subject.network, subject.shape, subject.classes, "uint8", subject.train_last,
                      queries=method.queries, first_node=method.first_node))
            for subject in self.subjects for chip in self.chips for method in self.methods
        ]  # fmt: skip

    @staticmethod
    def subject_name(subject: CostSubject) -> str:
        """What tables call it."""
        return subject.network + ("" if subject.train_last is None else f", last {subject.train_last} layers")

    def tables(self, found: Found) -> list[Table]:
        """Instructions and time of a sample, the memory that a trainer is lent, and the stack that a sample takes."""
        passes = ("forward", "backward or estimates", "update / 48")
        columns = [f"{name} {unit}" for unit in ("instructions", "ms") for name in passes]
        columns += [f"instructions, of those of {self.methods[0].name}", "bytes lent to the trainer", "stack bytes"]
        cells, rows = self.cells(), []
        for i, cell in enumerate(cells):
            record, first = found(cell.run), found(cells[i - i % len(self.methods)].run)
            if record is None or record.status != DONE:
                rows.append([cell.row, why_missing(cell, record), *[""] * (len(columns) - 1)])
                continue
            step = record.result["steps"][0]
            texts = [f"{step['instructions'][part]:.0f}" for part in PASSES]
            texts += [f"{1e3 * seconds(CHIPS[cell.column], step['cycles'][part]):.3g}" for part in PASSES]
            texts.append(f"{total(record) / total(first):.1f}" if first is not None and first.status == DONE else "-")
            texts.append(f"{record.result['trainer_bytes']}" if "trainer_bytes" in record.result else self.bytes_of_first(found, i))
            texts.append(f"{step['stack']}")
            rows.append([cell.row, *texts])
        title = "a training sample; times are estimates: instructions counted under QEMU, cycles without wait states"
        return [Table(title, ["", *columns], rows)]

    def bytes_of_first(self, found: Found, i: int) -> str:
        """What back-propagation is lent, which the other methods' runs have told beside their own."""
        others = self.cells()[i : i + len(self.methods)]
        records = [record for cell in others if (record := found(cell.run)) is not None and record.status == DONE]
        told = [record.result["back_propagation_bytes"] for record in records if "back_propagation_bytes" in record.result]
        return f"{told[0]}" if told else "-"

    def charts(self, found: Found) -> list[Chart]:
        done = [(cell, record) for cell in self.cells() if (record := found(cell.run)) is not None and record.status == DONE]
        return [Chart("time", self.title, lambda axes: draw(axes, done), 2 + 0.2 * len(done))] if done else []


def total(record: Record) -> float:
    """Instructions of a sample, with its share of the update."""
    return sum(record.result["steps"][0]["instructions"].values())
