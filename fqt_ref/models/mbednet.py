# SPDX-License-Identifier: Apache-2.0
"""MbedNet, the paper's network for transfer learning (IV-A): inverted residuals, large first layers, a compact trained tail.

The paper prints no layers; these were derived from its constraints. TABLE
"""

from fqt_ref.models.describe import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Layer, Linear, Pair, same

# (expanded channels, output channels, kernel, index into STRIDES or None); 8 channels come out of the first block.
BLOCKS = (
    (88, 16, 3, 1),
    (64, 16, 3, None),
    (72, 24, 5, 2),
    (96, 24, 3, None),
    (120, 40, 5, 3),
    (200, 40, 5, None),
    (200, 40, 5, None),
    (240, 48, 5, 4),
    (240, 48, 5, None),
)
# Strides of the stem and of the four blocks that have one, by the input's longer side; signals take the last row.
STRIDES = ((48, (1, 2, 1, 2, 1)), (96, (2, 2, 1, 2, 2)), (65535, (2, 2, 2, 2, 2)))
TAIL = (128, 192, 64)  # features of pointwise, pointwise (and depthwise), linear
SIGNAL_TAIL = (48, 64, 48)


def mbednet(input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """The layers for images (h, w, c), or for signals of c axes (1, T, c). Five layers with weights behind the features are the tail."""
    h, w, _ = input_shape
    strides = next(row for side, row in STRIDES if max(h, w) <= side or (h == 1 and side == 65535))
    first, second, hidden = SIGNAL_TAIL if h == 1 else TAIL

    def pair(size: int) -> Pair:
        return (1 if h == 1 else size, size)

    def depthwise(kernel: int, stride: int = 1) -> DepthwiseConv2d:
        return DepthwiseConv2d(pair(kernel), pair(stride), same(pair(kernel)))

    layers: list[Layer] = [
        Conv2d(16, pair(3), pair(strides[0]), same(pair(3))),
        depthwise(3),
        Conv2d(8, (1, 1), activation="", label="block0"),
    ]
    channels = 8
    for number, (expanded, out, kernel, stride) in enumerate(BLOCKS, 1):
        residual = stride is None and out == channels
        layers += [
            Conv2d(expanded, (1, 1)),
            depthwise(kernel, 1 if stride is None else strides[stride]),
            Conv2d(out, (1, 1), activation="", label="" if residual else f"block{number}"),
        ]
        if residual:
            layers.append(Add(f"block{number - 1}", label=f"block{number}"))
        channels = out
    return [
        *layers,
        Conv2d(first, (1, 1)),
        Conv2d(second, (1, 1)),
        depthwise(3),
        AvgPool2d(),
        Linear(hidden),
        Linear(classes, activation="", batch_norm=False),
    ]
