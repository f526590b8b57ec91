# SPDX-License-Identifier: Apache-2.0
"""The last blocks of an imported network trained for other classes by several optimizers (paper, IV-E, Tab. IV)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.experiments.accuracy import Accuracy
from fqt_ref.experiments.description import Cell, Outcome
from fqt_ref.experiments.learn import Learning, Rule, Training, learn
from fqt_ref.experiments.place import Place
from fqt_ref.experiments.scratch import Task
from fqt_ref.input_grid import calibration_of


def enlarged(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Images uint8[n, h, w, 3] as uint8[n, height, width, 3], bicubic: of doubled pixels networks see screens (extra: images)."""
    if images.shape[1:3] == (height, width):
        return images
    try:
        from PIL import Image
    except ImportError as error:
        raise FqtError("enlarging images needs Pillow: pip install 'fqt[images]'") from error
    made = np.empty((len(images), height, width, images.shape[3]), np.uint8)
    for i, image in enumerate(images):
        made[i] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    return made


def as_input(data: Dataset, shape: tuple[int, int, int]) -> Dataset:
    """The set with images as large as a network wants them. Raises FqtError for sets that are no colour images."""
    if data.train_x.shape[3] != 3 or shape[2] != 3 or data.train_x.dtype != np.uint8:
        raise FqtError(
            f"data set {data.name} has samples of shape {data.train_x.shape[1:]}: a network for {shape} wants colour images (uint8)"
        )
    height, width, _ = shape
    return replace(data, train_x=enlarged(data.train_x, height, width), test_x=enlarged(data.test_x, height, width))


@dataclass(frozen=True)
class FineTune(Learning):
    """A trained network with a new last layer for the data set's classes; its last train_last layers with weights are trained."""

    model: str  # a file in the data folder's subfolder models
    data: str
    config: str
    seed: int
    epochs: int
    train_last: int
    training: Training
    samples: int | None = None
    test_samples: int | None = None

    @property
    def dataset(self) -> str:
        return self.data

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.build import build_network
        from fqt_ref.convert import load
        from fqt_ref.convert.head import replace_head

        data = place.load(self.data, self.samples, self.test_samples)
        graph = replace_head(load(place.model(self.model)).graph, data.classes)
        data = as_input(data, graph.input_shape)
        samples, grid = calibration_of(data, graph)
        network = build_network(graph, self.config, samples, *grid, seed=self.seed, train_last=self.train_last)
        return learn(network, data, self.training, self.seed, self.epochs, place)


@dataclass(frozen=True)
class OptimizerComparison(Accuracy):
    """Data sets x rules (of optimizers) x seeds for one imported network, whose weights have a grid for each channel as they come."""

    model: str = ""
    train_last: int = 0
    tasks: tuple[Task, ...] = ()
    rules: tuple[Rule, ...] = ()
    seeds: int = 5

    def cells(self) -> list[Cell]:
        return [
            Cell(task.row, rule.name, FineTune(self.model, task.data, rule.config, seed, task.epochs, self.train_last, rule.training,
                                               task.samples, task.test_samples))
            for task in self.tasks for rule in self.rules for seed in range(self.seeds)
        ]  # fmt: skip
