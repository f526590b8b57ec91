# SPDX-License-Identifier: Apache-2.0
"""MbedNet, the paper's network for transfer learning (IV-A): inverted residuals, large first layers, a compact trained tail.

The paper prints no layers; these were derived from its constraints. A block: pointwise to the expanded channels, depthwise k x k,
pointwise to the output channels without activation, plus the block's input where stride 1 and equal channels allow it (+). All other
layers have batch norm and ReLU. Strides at sides up to 48 / up to 96 / larger; signals (1, T, c) have kernels 1 x k, strides (1, s) as
the largest images have, and a narrower tail.

    layer         expanded   out    k   stride       output at 32    at 64     at 128    1x512
    stem                      16    3   1 / 2 / 2    32x32x16        32x32     64x64     1x256
    block 0       16 (stem)    8    3   1            32x32x8         32x32     64x64     1x256
    block 1       88          16    3   2            16x16x16        16x16     32x32     1x128
    block 2 +     64          16    3   1            16x16x16        16x16     32x32     1x128
    block 3       72          24    5   1 / 1 / 2    16x16x24        16x16     16x16     1x64
    block 4 +     96          24    3   1            16x16x24        16x16     16x16     1x64
    block 5       120         40    5   2            8x8x40          8x8       8x8       1x32
    block 6, 7 +  200         40    5   1            8x8x40          8x8       8x8       1x32
    block 8       240         48    5   1 / 2 / 2    8x8x48          4x4       4x4       1x16
    block 9 +     240         48    5   1            8x8x48          4x4       4x4       1x16
    tail          pointwise 128, pointwise 192, depthwise 3x3, global average pool, linear 64, linear classes
                  signals: 48, 64, 1x3, global average pool, 48, classes

What it costs (`fqt network mbednet --input HxWxC --classes N` prints it): parameters with biases, multiply-accumulates, bytes of uint8
activations at their peak, weights of the tail and bytes to train them (5 a weight, 8 a bias); in brackets the authors' poster.

    input      classes   parameters   MACs     peak                  tail     to train
    128x128x3  102       180 k        20.0 M   450,560 (450.6 KB)    51,264   261,744 (flowers 261.9 KB)
    64x64x3    102       180 k        11.1 M   112,640               51,264   261,744
    49x40x1    40        176 k        5.9 M    55,440                47,296   241,408
    32x32x3    10        174 k        14.9 M   112,640 (108.0 KB)    45,376   231,568 (cifar10 231.7 KB)
    1x1024x1   13        114 k        7.5 M    67,584 (104.9 KB)     9,264    48,216 (daliac 48.7 KB)
    1x512x1    10        114 k        3.8 M    33,792 (6.5 KB)       9,120    47,472 (cwru 10.7 KB, pruned to about 1.9 k weights)

The paper's other constraints: 3x128x128 trains within 2 x 512 KB (450,560 + 261,744 bytes); 1x512 and 1x1024 train within 256 KB (81 and
116 KB); inference near 200 ms at 600 MHz (20.0 M MACs leave 6 cycles each); 49 % less latency than MCUNet-5FPS (23 M MACs; not measured).
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
