# SPDX-License-Identifier: Apache-2.0
"""MobileNetV1 of width 0.25, MLPerf Tiny's visual wake words network: 96x96x3, 2 classes, 0.2 M weights."""

from fqt_ref.models.describe import AvgPool2d, Conv2d, DepthwiseConv2d, Layer, Linear
from fqt_ref.models.same_upper import same_upper

# (output channels, stride) of the depthwise-pointwise pairs at width 0.25.
PAIRS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2), (256, 1))


def mobilenet_v1_025(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 3x3 stride 2 -> 8; 13 pairs of depthwise 3x3 and pointwise -> 16 ... 256; global average pool; linear -> classes."""
    h, w = input_shape[:2]
    layers: list[Layer] = [Conv2d(8, (3, 3), (2, 2), same_upper((h, w), (3, 3), (2, 2)))]
    h, w = -(-h // 2), -(-w // 2)
    for channels, stride in PAIRS:
        layers += [DepthwiseConv2d((3, 3), (stride, stride), same_upper((h, w), (3, 3), (stride, stride))), Conv2d(channels, (1, 1))]
        h, w = -(-h // stride), -(-w // stride)
    return [*layers, AvgPool2d(), Linear(classes, activation="", batch_norm=False)]
