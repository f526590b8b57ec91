# SPDX-License-Identifier: Apache-2.0
"""All layers of a network trained from random weights (paper, IV-D)."""

from dataclasses import dataclass, replace
from typing import ClassVar

from fqt_ref.experiments.accuracy import Accuracy
from fqt_ref.experiments.description import Cell, Outcome, row_of
from fqt_ref.experiments.learn import PAPER, Learning, Rule, Training, learn
from fqt_ref.experiments.place import Place
from fqt_ref.input_grid import calibration_of, for_new_network, said


@dataclass(frozen=True)
class Scratch(Learning):
    """One training. samples, test_samples: only the first so many of the data set's parts; per_channel: a weight grid for each channel."""

    keeps: ClassVar[bool] = False  # whether the trained model file is an artifact
    network: str
    data: str
    config: str
    seed: int
    epochs: int
    training: Training = PAPER
    samples: int | None = None
    test_samples: int | None = None
    per_channel: bool | None = None

    @property
    def dataset(self) -> str:
        return self.data

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.build import build_network
        from fqt_ref.models import describe_network
        from fqt_ref.models.describe import graph_of

        data = said(for_new_network(place.load(self.data, self.samples, self.test_samples)))
        shape = data.train_x.shape[1:]
        graph = graph_of(self.network, describe_network(self.network, shape, data.classes), shape)
        samples, grid = calibration_of(data, graph)
        network = build_network(graph, self.config, samples, *grid, self.seed, per_channel=bool(self.per_channel))
        return learn(network, data, self.training, self.seed, self.epochs, place, keep=self.keeps)


@dataclass(frozen=True)
class Task:
    """A data set and how long to train on it. stands_for: the paper's set, if this is another one."""

    data: str
    epochs: int
    stands_for: str = ""
    samples: int | None = None
    test_samples: int | None = None

    @property
    def row(self) -> str:
        """What a table calls it."""
        return row_of(self.data, self.samples, self.stands_for)


@dataclass(frozen=True)
class FromScratch(Accuracy):
    """Data sets x configurations x update rates x seeds, for one network."""

    network: str = "mnist-cnn"
    tasks: tuple[Task, ...] = ()
    configs: tuple[str, ...] = ("uint8", "mixed", "float32")
    lambdas: tuple[float, ...] = (1.0,)
    seeds: int = 5
    batch_size: int = 48
    learning_rate: float = 0.001

    def cells(self) -> list[Cell]:
        made = []
        for task in self.tasks:
            for config in self.configs:
                for rate in self.lambdas:
                    training = Training(self.batch_size, self.learning_rate, rate)
                    row, column = (task.row, config) if len(self.lambdas) == 1 else (f"{task.row}, {config}", f"lambda_min {rate}")
                    for seed in range(self.seeds):
                        run = Scratch(self.network, task.data, config, seed, task.epochs, training, task.samples, task.test_samples)
                        made.append(Cell(row, column, run))
        return made


@dataclass(frozen=True)
class RulesFromScratch(Accuracy):
    """Data sets x rules x update rates x seeds, for one network."""

    network: str = "mnist-cnn"
    tasks: tuple[Task, ...] = ()
    rules: tuple[Rule, ...] = ()
    lambdas: tuple[float, ...] = (1.0, 0.5, 0.1)
    seeds: int = 5

    def cells(self) -> list[Cell]:
        made = []
        for task in self.tasks:
            for rule in self.rules:
                for rate in self.lambdas:
                    training = replace(rule.training, lambda_min=rate)
                    for seed in range(self.seeds):
                        run = Scratch(self.network, task.data, rule.config, seed, task.epochs, training, task.samples, task.test_samples,
                                      rule.per_channel)  # fmt: skip
                        made.append(Cell(f"{task.row}, {rule.name}", f"lambda_min {rate}", run))
        return made
