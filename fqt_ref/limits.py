# SPDX-License-Identifier: Apache-2.0
"""The numbers that a user may choose, and their ranges: what is outside is refused, never bent in silence."""

import numpy as np

from fqt_ref.errors import FqtError

LARGEST_SEED = 2**32 - 1
LARGEST_EPOCHS = 1_000_000
LARGEST_FLOAT32 = 3.4028234663852886e38


def check_seed(seed: int) -> int:
    """The seed, if it is one. Raises FqtError."""
    if not 0 <= seed <= LARGEST_SEED:
        raise FqtError(f"seed {seed} is not in 0..{LARGEST_SEED}: choose another")
    return int(seed)


def check_share(name: str, value: float) -> float:
    """The value, if it is in 0..1. Raises FqtError."""
    if not 0 <= value <= 1:  # not a number: neither
        raise FqtError(f"{name} {value:g} is not in 0..1: choose another")
    return float(value)


def float32(value: float) -> np.float32:
    """The value as float32, without a warning: what is too large becomes infinite, and is refused as that (training.check_run)."""
    with np.errstate(over="ignore"):
        return np.float32(value)
