# SPDX-License-Identifier: Apache-2.0
"""A residual network for scikit-learn's 8x8 digits that uses every operator: the smallest proof of all of them, and a small MobileNet."""

from fqt_ref.models.describe import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Layer, Linear, MaxPool2d, same


def digits_graph(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """conv 3x3 -> 6, hard-swish; inverted residual (12, dilated depthwise 3x3, ReLU6); max pool; residual branch; average pool; linear."""
    return [
        Conv2d(6, padding=same((3, 3)), activation="hard_swish", label="stem"),
        Conv2d(12, (1, 1), activation="relu6"),
        DepthwiseConv2d((3, 3), padding=(2, 2, 2, 2), dilation=(2, 2), activation="relu6"),
        Conv2d(6, (1, 1), activation=""),
        Add("stem", activation="relu"),
        MaxPool2d(label="block"),
        Conv2d(6, (1, 1), activation="", label="left"),
        DepthwiseConv2d((3, 3), padding=same((3, 3)), activation="relu6", source="block"),
        Add("left", activation="relu6"),
        AvgPool2d((2, 2)),
        Conv2d(8, (2, 2), activation="relu"),
        AvgPool2d(),
        Linear(classes, activation="", batch_norm=False),
    ]
