# SPDX-License-Identifier: Apache-2.0
"""A small CNN for scikit-learn's 8x8 digits: the network of the golden trajectories and of the first steps on a board."""

from fqt_ref.models.describe import Conv2d, Layer, Linear, MaxPool2d


def digits_cnn(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 3x3 pad 1 -> 8; conv 3x3 -> 8; max pool 2; linear -> 16; linear -> classes. 2.1 k weights for 8x8 inputs."""
    return [
        Conv2d(8, padding=(1, 1, 1, 1)),
        Conv2d(8),
        MaxPool2d(),
        Linear(16),
        Linear(classes, activation="", batch_norm=False),
    ]
