# SPDX-License-Identifier: Apache-2.0
"""A trained classifier adapted on the device to a corruption of its inputs, with back-propagation and without (SPEC.md 17)."""

import copy
import hashlib
import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from fqt_ref.experiments.accuracy import Accuracy, Entry
from fqt_ref.experiments.description import DONE, Cell, Continued, Found, Outcome, Record, Run, Table, why_missing
from fqt_ref.experiments.learn import EDITION, PAPER, Learning, Training, learn
from fqt_ref.experiments.place import Place
from fqt_ref.experiments.scratch import Scratch
from fqt_ref.experiments.transfer import Prune, graph_of_bytes
from fqt_ref.network import Network


@dataclass(frozen=True)
class Taught(Scratch):
    """A training from random weights whose model file others start from."""

    keeps: ClassVar[bool] = True


@dataclass(frozen=True)
class Quantized(Continued):
    """A float32 network as a uint8 model file, ranges from the set's first training images; nothing is reset or trained.

    test_samples: only the first so many of the test part are tested.
    """

    edition: ClassVar[int] = EDITION
    source: Prune
    test_samples: int

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.model_file import file_bytes
        from fqt_ref.training import evaluate, prepared_state
        from fqt_ref.transfer.steps import quantize

        data = place.load(self.dataset, None, self.test_samples)
        network = quantize(graph_of_bytes(place.start), data, "uint8")
        accuracy = evaluate(prepared_state(network), data)
        return Outcome({"data": data.name, "test_samples": len(data.test_x), "test_accuracy": accuracy}, file_bytes(network))


@dataclass(frozen=True)
class Estimate:
    """Settings of zeroth_order.zeroth_config(), by its names."""

    queries: int
    weight_step: int = 1
    bias_step: int = 1
    node_step: int = 5
    antithetic: bool = True
    first_node: int = 0
    exact_last: bool = False

    def config(self, network: Network, batch_size: int) -> Any:
        """The engine's ZerothConfig. Raises FqtError."""
        from fqt_ref.zeroth_order import zeroth_config

        return zeroth_config(network, batch_size, **asdict(self))


BY_WEIGHTS_ONLY = 1 << 16  # as first_node: more than a network has layers


@dataclass(frozen=True)
class Way:
    """How to adapt. train_last: layers with weights that train, all if None; estimate: None is back-propagation; epochs 0: not at all."""

    name: str
    epochs: int
    training: Training = PAPER
    train_last: int | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Adapt(Learning, Continued):
    """A model file adapted to each of a family's corruptions alone, on a set's training part, and tested on its test part.

    The result: test_accuracy, the mean over the corruptions, and under `corruptions` each one's accuracies and losses, one an epoch.
    """

    source: Taught | Quantized
    family: str
    corruptions: tuple[str, ...]
    seed: int
    epochs: int
    training: Training
    train_last: int | None = None
    estimate: Estimate | None = None

    @property
    def dataset(self) -> str:
        return self.family

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.model_file import parse

        begun, found = parse(place.start), {}
        for name in self.corruptions:
            found[name] = self.adapt(begun, name, self.share_of(place))
        mean = statistics.mean(one["test_accuracy"][-1] for one in found.values())
        digest = hashlib.sha256("".join(one["digest"] for one in found.values()).encode()).hexdigest()
        return Outcome({"data": self.family, "corruptions": found, "test_accuracy": mean, "digest": digest})

    def share_of(self, place: Place) -> Place:
        """The place of one corruption's training: its share of the whole is one of many."""
        return replace(place, advance=lambda share, text: place.advance(share / len(self.corruptions), text))

    def adapt(self, begun: Network, name: str, place: Place) -> dict[str, Any]:
        """One corruption's part of the result."""
        from fqt_ref.build import freeze
        from fqt_ref.training import evaluate, prepared_state

        data, network = place.load(f"{self.family}/{name}"), copy.deepcopy(begun)
        freeze(network, self.train_last)
        network.tensors["error_scale"] = 0  # what the training before has found is void
        sizes = {"train_samples": len(data.train_x), "test_samples": len(data.test_x)}
        if self.epochs == 0:
            return {**sizes, "test_accuracy": [evaluate(prepared_state(network), data)], "digest": ""}
        zeroth = None if self.estimate is None else self.estimate.config(network, self.training.batch_size)
        learnt = learn(network, data, self.training, self.seed, self.epochs, place, zeroth).result
        columns = {name: [epoch[name] for epoch in learnt["history"]] for name in ("test_accuracy", "loss")}
        return {**sizes, **columns, "digest": learnt["digest"]}


@dataclass(frozen=True)
class Shift:
    """A family of corrupted sets, those of its corruptions that are tried, the classifier that has seen none, and how to adapt it."""

    family: str
    corruptions: tuple[str, ...]
    source: Taught | Quantized
    ways: tuple[Way, ...]

    def runs(self, way: Way, seeds: int) -> list[Run]:
        """One a seed; what learns nothing is run once."""
        settings = (way.epochs, way.training, way.train_last, way.estimate)
        return [Adapt(self.source, self.family, self.corruptions, seed, *settings) for seed in range(seeds if way.epochs else 1)]


@dataclass(frozen=True)
class Adaptation(Accuracy):
    """Families x ways x seeds. The table of a family has its corruptions as columns, the chart their mean."""

    shifts: tuple[Shift, ...] = ()
    seeds: int = 5

    def cells(self) -> list[Cell]:
        ways = [(shift, way) for shift in self.shifts for way in shift.ways]
        return [Cell(way.name, shift.family, run) for shift, way in ways for run in shift.runs(way, self.seeds)]

    def tables(self, found: Found) -> list[Table]:
        """One a family: test accuracies in %, mean and spread over the seeds."""
        return [self.table(shift, found) for shift in self.shifts]

    def table(self, shift: Shift, found: Found) -> Table:
        """A row a way, a column a corruption."""
        rows = []
        for way in shift.ways:
            cells = [Cell(way.name, shift.family, run) for run in shift.runs(way, self.seeds)]
            records = [found(cell.run) for cell in cells]
            done = [record for record in records if record is not None and record.status == DONE]
            missing = [why_missing(cell, record) for cell, record in zip(cells, records, strict=True) if record not in done]
            columns = [[100 * record.result["test_accuracy"] for record in done]]
            columns += [[100 * last_of(record, name) for record in done] for name in shift.corruptions]
            rows.append([way.name, *(Entry(column, len(cells), missing).text(None) for column in columns)])
        title = f"{shift.family}: test accuracy in %, mean ± standard deviation over the seeds"
        return Table(title, ["", "mean", *shift.corruptions], rows)


def last_of(record: Record, corruption: str) -> float:
    """Test accuracy of a corruption after the last epoch."""
    return record.result["corruptions"][corruption]["test_accuracy"][-1]
