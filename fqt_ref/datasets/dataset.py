# SPDX-License-Identifier: Apache-2.0
"""What a loaded data set is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as bytes, labels, and what a byte means: real value = scale * (byte - zero).

    Samples are images or, of sensors, windows in time [1,W,C] with W moments of C channels. Sets for measuring
    only have no training part: N = 0.

    name        what was loaded; not the name asked for if the content is not that (KMNIST's test part)
    train_x     uint8[N,H,W,C], C-contiguous; H, W, C >= 1
    train_y     int64[N], 0..classes-1
    test_x      uint8[M,H,W,C], C-contiguous, M >= 1
    test_y      int64[M], 0..classes-1
    classes     number of classes, 1..1023 (SPEC.md section 9)
    scale       float32, positive and normal: the scale of the network's input tensor
    zero        0..255: the zero point of the network's input tensor
    label_names one name a class, or None
    """

    name: str
    train_x: NDArray[np.uint8]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.uint8]
    test_y: NDArray[np.int64]
    classes: int
    scale: np.float32
    zero: int
    label_names: tuple[str, ...] | None
