# SPDX-License-Identifier: Apache-2.0
"""The paper's MNIST CNN (IV-D): two convolutions, max pooling, two linear layers, all with ReLU and batch norm.

The paper does not print the widths. These give 38.7 k weights, 194 KB of trained memory in uint8 and 310 KB in float32, so that
only uint8 fits the 256 KB of the nrf52840 and the RP2040, as in the paper's Fig. 7b. The two linear layers are the classification head.
"""

from fqt_ref.models.describe import Conv2d, Layer, Linear, MaxPool2d


def mnist_cnn(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 3x3 -> 8; conv 3x3 stride 2 -> 16; max pool 2; linear -> 64; linear -> classes."""
    return [
        Conv2d(8),
        Conv2d(16, stride=(2, 2)),
        MaxPool2d(),
        Linear(64),
        Linear(classes, activation="", batch_norm=False),
    ]
