# SPDX-License-Identifier: Apache-2.0
"""What a batch of samples goes through before it trains: mirrored, moved, cut to a window. Import late: needs the extra torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fqt_ref.errors import FqtError

AUGMENTATIONS = ("auto", "none", "shift", "flip-shift")


@dataclass(frozen=True)
class Augmentation:
    """flip: half the samples are mirrored left to right; shift: largest move (rows, columns), what comes in is `fill`."""

    flip: bool
    shift: tuple[int, int]


def augmentation(name: str, shape: tuple[int, int, int]) -> Augmentation:
    """One of AUGMENTATIONS for samples (h, w, c).

    auto    colour images: flip-shift; other images: shift; signals (h = 1): none
    shift   by up to an eighth along the longer side, both sides of a square: log-mel images move in time alone

    Raises FqtError for a name that does not exist.
    """
    if name not in AUGMENTATIONS:
        raise FqtError(f"augmentation '{name}' does not exist: choose one of {', '.join(AUGMENTATIONS)}")
    h, w, c = shape
    if name == "auto":
        name = "none" if 1 in (h, w) else "flip-shift" if c == 3 else "shift"
    if name == "none":
        return Augmentation(False, (0, 0))
    longer = max(h, w)
    return Augmentation(name == "flip-shift", (longer // 8 if h == longer else 0, longer // 8 if w == longer else 0))


def augmented(x: Tensor, how: Augmentation, fill: int, window: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A batch [n, h, w, c] moved, mirrored and cut: [n, *window, c]. Positions of a window smaller than the image are random."""
    n, h, w, c = x.shape
    if how.shift == (0, 0) and window == (h, w) and not how.flip:
        return x
    indices = []
    for size, shift, length in zip((h, w), how.shift, window, strict=True):
        first = torch.randint(0, size - length + 2 * shift + 1, (n, 1), generator=generator)
        indices.append(first + torch.arange(length))
    rows, columns = indices
    if how.flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = torch.full((n, h + 2 * how.shift[0], w + 2 * how.shift[1], c), fill, dtype=x.dtype)
    padded[:, how.shift[0] : how.shift[0] + h, how.shift[1] : how.shift[1] + w] = x
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
