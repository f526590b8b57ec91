# SPDX-License-Identifier: Apache-2.0
"""Small networks with every kind of node, and data to train them on, for the tests of PyTorch's side."""

import numpy as np

from fqt_ref.datasets import Dataset
from fqt_ref.graph import Graph
from fqt_ref.models.describe import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Linear, MaxPool2d, graph_of


def every_node(shape=(9, 8, 2), classes=3) -> Graph:
    """Convolutions with uneven padding and dilation, a residual, both pools, relu, relu6, hard-swish, linear layers on an image."""
    description = [
        Conv2d(8, (3, 3), (2, 1), (0, 1, 1, 0), label="a", activation="relu6"),
        DepthwiseConv2d((3, 3), (1, 1), (2, 2, 2, 2), (2, 2), activation="hard_swish"),
        Conv2d(8, (1, 1), activation="", label="b"),
        Add("a", "relu"),
        MaxPool2d((2, 2)),
        Conv2d(12, (1, 1)),
        AvgPool2d((1, 3), (1, 1)),
        Linear(16),
        Linear(classes, activation="", batch_norm=False),
    ]
    return graph_of("every-node", description, shape)


def blobs(shape=(9, 8, 2), classes=3, train=240, test=60) -> Dataset:
    """A bright patch in one of several places: learnt in seconds."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, train + test)
    x = rng.integers(100, 156, (len(y), *shape), dtype=np.uint8)
    for image, label in zip(x, y, strict=True):
        at = label * shape[1] // classes
        image[:, at : at + shape[1] // classes] += 60
    return Dataset("blobs", x[:train], y[:train], x[train:], y[train:], classes, np.float32(1 / 64), 128, None)
