# SPDX-License-Identifier: Apache-2.0
"""What bytes mean, as somebody states it: --data-range -1..1, or the ends themselves."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.errors import FqtError


class Meaning(NamedTuple):
    """Real value = scale * (byte - zero)."""

    scale: np.float32
    zero: float


PICTURES = Meaning(np.float32(1) / np.float32(255), 0)  # 0..1
SIGNED_BYTES = Meaning(np.float32(1), 128)  # -128..127


def stated(lo: float, hi: float, where: str) -> Meaning:
    """The meaning of bytes of which 0 means lo and 255 means hi. Raises FqtError if that is no range."""
    if not (np.isfinite(lo) and np.isfinite(hi) and lo < hi):
        raise FqtError(f"{where}: {lo:g}..{hi:g} is no range; the first number is what byte 0 means, the second, larger, what 255 means")
    with np.errstate(over="ignore"):
        scale = (np.float32(hi) - np.float32(lo)) / np.float32(255)
    if not np.finfo(np.float32).tiny <= scale < np.inf:
        raise FqtError(f"{where}: {lo:g}..{hi:g} gives no usable scale for bytes; rescale the data")
    zero = -lo * 255 / (hi - lo)
    return Meaning(scale, int(zero) if zero.is_integer() else zero)


def parse_range(text: str) -> tuple[float, float]:
    """LO..HI as two numbers. Raises FqtError."""
    lo, dots, hi = text.partition("..")
    try:
        if dots:
            return float(lo), float(hi)
    except ValueError:
        pass
    raise FqtError(f"data range '{text}' is not LO..HI, for example 0..1, 0..255 or -1..1")


def with_range(data: Dataset, text: str) -> Dataset:
    """The data set, its bytes' meaning stated as LO..HI.

    Raises FqtError: no such range, or samples that are real values and need none.
    """
    lo, hi = parse_range(text)
    if data.scale is None:
        raise FqtError(f"data set {data.name} holds real values ({data.test_x.dtype}): a data range is for bytes (uint8), leave it away")
    scale, zero = stated(lo, hi, "data range")
    return replace(data, scale=scale, zero=zero, stated=True)
