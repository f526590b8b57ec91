# SPDX-License-Identifier: Apache-2.0
"""Ranges of real values, the uint8 grids that cover them, and the values as bytes of a grid: all in float32."""

from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError

_CHUNK = 1024  # samples converted at a time: temporaries stay small beside the images
OUTLIERS = 0.005  # share of the samples that may lie far out without setting a range
FAR_OUT = np.float32(0.5)  # how far beyond the others, in parts of their range
FEWEST = 20  # samples among which one can be told to lie far out
STEPS = 2  # of the grid that a typical sample has to reach


class InputGrid(NamedTuple):
    """The grid of a network's input: real value = scale * (byte - zero), zero 0..255."""

    scale: np.float32
    zero: int

    @property
    def lo(self) -> float:
        """The real value of byte 0."""
        return float(np.float32(0 - self.zero) * self.scale)

    @property
    def hi(self) -> float:
        """The real value of byte 255."""
        return float(np.float32(255 - self.zero) * self.scale)

    def __str__(self) -> str:
        return f"{self.lo:.4g}..{self.hi:.4g}"


class Range(NamedTuple):
    """A range with 0 in it, and how many samples reach beyond it."""

    lo: np.float32
    hi: np.float32
    beyond: int


def check_finite(images: NDArray[Any], where: str) -> None:
    """Check that all values of images [N,...] are finite as float32; where names file and array.

    Raises FqtError: a NaN or an infinity, naming the first sample that has one.
    """
    for start in range(0, len(images), _CHUNK):
        finite = np.isfinite(as_float32(images[start : start + _CHUNK]))
        bad = np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))
        if bad.size:
            raise FqtError(f"{where}: sample {start + bad[0]} holds a NaN or a value beyond float32; mend or drop the sample")


def extremes(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each sample's least and greatest value, or 0 if that lies beyond: float32[N] <= 0, float32[N] >= 0."""
    lows, highs = np.zeros(len(images), np.float32), np.zeros(len(images), np.float32)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].reshape(len(images[start : start + _CHUNK]), -1)
        lows[start : start + _CHUNK] = np.minimum(chunk.min(axis=1), 0)
        highs[start : start + _CHUNK] = np.maximum(chunk.max(axis=1), 0)
    return lows, highs


def robust_range(images: NDArray[np.float32]) -> Range:
    """The range of finite images [N,...]; a few samples that lie far beyond all others do not set it.

    Few are OUTLIERS of the samples, at least one of FEWEST; far is FAR_OUT of the others' range. Samples are compared by their
    extremes, so sparse data, whose values are nearly all 0, keep their range.
    """
    lows, highs = extremes(images)
    lo, hi = lows.min(initial=np.float32(0)), highs.max(initial=np.float32(0))
    few = ceil(len(images) * OUTLIERS)
    if len(images) >= FEWEST:
        others_lo, others_hi = np.sort(lows)[few], np.sort(highs)[-1 - few]
        with np.errstate(over="ignore"):
            margin = FAR_OUT * (others_hi - others_lo)
            if margin > 0:
                lo = lows[lows >= others_lo - margin].min()
                hi = highs[highs <= others_hi + margin].max()
    return Range(lo, hi, int(np.count_nonzero((lows < lo) | (highs > hi))))


def percentile_range(images: NDArray[np.float32], percentile: float) -> Range:
    """The range of finite images [N,...] without the rarest values on both sides: percentile (50..100) of those that are not 0 stays.

    0 needs no place in a range, so sparse data keep theirs.
    """
    values = images[images != 0]
    lo = hi = np.float32(0)
    if values.size:
        low, high = np.percentile(values, (100 - percentile, percentile))
        lo, hi = np.float32(min(low, 0)), np.float32(max(high, 0))
    lows, highs = extremes(images)
    return Range(lo, hi, int(np.count_nonzero((lows < lo) | (highs > hi))))


def grid_of_range(lo: np.float32, hi: np.float32, where: str) -> InputGrid:
    """The grid of a range that holds 0: scale = (hi - lo) / 255; zero = floor((0 - lo) / scale + 0.5), 0..255.

    Raises FqtError: all values are 0, or the range is too small or too large for a normal float32 scale.
    """
    with np.errstate(over="ignore"):
        scale = (hi - lo) / np.float32(255)
    if not np.finfo(np.float32).tiny <= scale < np.inf:
        raise FqtError(f"{where}: values from {lo} to {hi} give no usable scale for bytes; rescale the images")
    zero = np.floor((np.float32(0) - lo) / scale + np.float32(0.5))
    return InputGrid(scale, int(np.clip(zero, 0, 255)))


def check_typical(images: NDArray[np.float32], grid: InputGrid, where: str) -> None:
    """Whether a grid has steps for a typical sample.

    Raises FqtError: half of the samples that are not all 0 stay within STEPS steps of 0, as beside a value of 3e38.
    """
    lows, highs = extremes(images)
    reach = np.maximum(highs, -lows)
    reach = reach[reach > 0]
    if reach.size and np.median(reach) < STEPS * grid.scale:
        far = int(np.argmax(np.maximum(highs, -lows)))
        raise FqtError(
            f"{where}: sample {far} reaches {reach.max():.4g}, while half of all stay within {np.median(reach):.4g} of 0, less than "
            f"{STEPS} steps of bytes that hold both; mend or drop the sample"
        )


def to_bytes(images: NDArray[Any], scale: np.float32, zero: float) -> NDArray[np.uint8]:
    """Return finite images [N,...] as uint8: clip(floor(v / scale + zero + 0.5), 0, 255) in float32."""
    quantized = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        quantized[start : start + _CHUNK] = np.clip(np.floor(steps_of(images[start : start + _CHUNK], scale, zero)), 0, 255)
    return quantized


def steps_of(values: NDArray[Any], scale: np.float32, zero: float) -> NDArray[np.float32]:
    """v / scale + zero + 0.5 in float32, before it is rounded down and clipped."""
    with np.errstate(over="ignore"):  # an infinite quotient is clipped like any other large one
        return as_float32(values) / scale + np.float32(zero) + np.float32(0.5)


def as_float32(images: NDArray[Any]) -> NDArray[np.float32]:
    """Values as float32; those beyond it become infinite, which check_finite reports."""
    with np.errstate(over="ignore"):
        return images.astype(np.float32, copy=False)
