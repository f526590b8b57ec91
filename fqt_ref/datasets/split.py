# SPDX-License-Identifier: Apache-2.0
"""Splits of files that are sorted by class or speaker: the order of the samples is spread evenly over the file.

Calibration and the application take a set's first samples. In golden-ratio order every beginning of a part is
spread over the whole part, so over classes and speakers too, the same on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError

_GOLDEN = np.uint64(0x9E3779B1)  # 2^32 over the golden ratio, odd: index -> key is one to one
_MASK = np.uint64(0xFFFFFFFF)


def split_parts(test: NDArray[np.bool_], where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (training, test) indices of the samples whose mark test [N] is False and True, in golden-ratio order.

    Raises FqtError: one part is empty; where names the file.
    """
    parts = spread(np.flatnonzero(~test)), spread(np.flatnonzero(test))
    for part, name in zip(parts, ("training", "test"), strict=True):
        if len(part) == 0:
            raise FqtError(f"{where}: no samples for the {name} part; get the file again")
    return parts


def spread(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return indices [N] in golden-ratio order: position i goes by (i * 0x9E3779B1) mod 2^32."""
    keys = (np.arange(len(indices), dtype=np.uint64) * _GOLDEN) & _MASK
    return indices[np.argsort(keys)]
