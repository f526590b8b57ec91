# SPDX-License-Identifier: Apache-2.0
"""What a loaded data set is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]  # uint8 or float32


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels. Samples are bytes with what a byte means, or real values; input_grid.py puts both on a network's grid.

    Samples are images or, of sensors, windows in time [1,W,C] with W moments of C channels, or features [1,1,n]. Sets for
    measuring only have no training part: N = 0.

    name        what was loaded; not the name asked for if the content is not that (KMNIST's test part)
    train_x     [N,H,W,C], C-contiguous; H, W, C >= 1; uint8, or float32 (finite real values)
    train_y     int64[N], 0..classes-1
    test_x      [M,H,W,C], C-contiguous, M >= 1; of train_x's type
    test_y      int64[M], 0..classes-1
    classes     number of classes, 1..1023 (SPEC.md section 9)
    scale       of bytes: float32, positive and normal: real value = scale * (byte - zero); None of real values
    zero        of bytes: what the value 0 is; a whole number 0..255 unless the data's range is stated otherwise
    label_names one name a class, or None
    stated      of bytes: whether somebody has said that they mean this. Pictures mean 0..1 by custom alone, and a network that
                takes another range takes black and white as the ends of that (input_grid.py)
    cut         share of the values that a grid has cut off, 0..1; the larger of both parts'
    """

    name: str
    train_x: Samples
    train_y: NDArray[np.int64]
    test_x: Samples
    test_y: NDArray[np.int64]
    classes: int
    scale: np.float32 | None
    zero: float
    label_names: tuple[str, ...] | None
    stated: bool = True
    cut: float = 0.0
