# SPDX-License-Identifier: Apache-2.0
"""ResNet-8, MLPerf Tiny's image classification network: 32x32x3, 10 classes, 78 k weights."""

from fqt_ref.models.describe import Add, AvgPool2d, Conv2d, Layer, Linear
from fqt_ref.models.same_upper import same_upper


def resnet8(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 3x3 -> 16; three stacks (16, 32, 64; the last two start with stride 2) of two 3x3 convolutions around a residual add."""
    layers: list[Layer] = [Conv2d(16, padding=(1, 1, 1, 1), label="stack0")]
    h, w = input_shape[:2]
    for number, channels in enumerate((16, 32, 64), 1):
        stride = (1, 1) if number == 1 else (2, 2)
        before, branch = f"stack{number - 1}", f"branch{number}"
        layers += [
            Conv2d(channels, (3, 3), stride, same_upper((h, w), (3, 3), stride)),
            Conv2d(channels, padding=(1, 1, 1, 1), activation="", label=branch),
        ]
        if number == 1:
            layers.append(Add(before, "relu", label="stack1"))
        else:
            layers += [
                Conv2d(channels, (1, 1), stride, activation="", batch_norm=False, source=before),
                Add(branch, "relu", label=f"stack{number}"),
            ]
        h, w = -(-h // stride[0]), -(-w // stride[1])
    return [*layers, AvgPool2d(), Linear(classes, activation="", batch_norm=False)]
