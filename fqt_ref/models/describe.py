# SPDX-License-Identifier: Apache-2.0
"""How a network is described before it has weights: a list of layers, nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv2d:
    """Convolution; padding is (top, bottom, left, right). batch_norm is folded into the weights at initialization."""

    channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    relu: bool = True
    batch_norm: bool = True


@dataclass(frozen=True)
class DepthwiseConv2d:
    """Depthwise convolution: as many channels as its input, a kernel each."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    relu: bool = True
    batch_norm: bool = True


@dataclass(frozen=True)
class Linear:
    """Fully connected layer on the flattened input. head: float32 in the mixed configuration."""

    features: int
    relu: bool = True
    batch_norm: bool = True
    head: bool = True


@dataclass(frozen=True)
class MaxPool2d:
    """Max pooling without padding; the stride is the kernel unless given."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] | None = None


Layer = Conv2d | DepthwiseConv2d | Linear | MaxPool2d
