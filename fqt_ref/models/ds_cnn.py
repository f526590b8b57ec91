# SPDX-License-Identifier: Apache-2.0
"""DS-CNN, MLPerf Tiny's keyword spotting network (Zhang et al. 2017, "Hello Edge"): 49x10 MFCCs, 12 classes, 22 k weights."""

from fqt_ref.models.describe import AvgPool2d, Conv2d, DepthwiseConv2d, Layer, Linear
from fqt_ref.models.same_upper import same_upper


def ds_cnn(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 10x4 stride 2 -> 64; four times depthwise 3x3, pointwise -> 64; global average pool; linear -> classes."""
    layers: list[Layer] = [Conv2d(64, (10, 4), (2, 2), same_upper(input_shape, (10, 4), (2, 2)))]
    for _ in range(4):
        layers += [DepthwiseConv2d(padding=(1, 1, 1, 1)), Conv2d(64, (1, 1))]
    return [*layers, AvgPool2d(), Linear(classes, activation="", batch_norm=False)]
