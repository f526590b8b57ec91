# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's padding "same": output = input / stride, rounded up, and the odd pixel goes to the bottom and the right."""

from fqt_ref.models.describe import Pair


def same_upper(shape: tuple[int, ...], kernel: Pair, stride: Pair) -> tuple[int, int, int, int]:
    """Padding (top, bottom, left, right) of a window on an input (h, w, ...)."""
    total = [max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(shape[:2], kernel, stride, strict=True)]
    return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
