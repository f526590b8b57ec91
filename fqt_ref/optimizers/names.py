# SPDX-License-Identifier: Apache-2.0
"""The optimizers by name. The first is the project's own; the others are what the paper compares it with, on the desktop alone."""

from fqt_ref.errors import FqtError

STANDARDIZED_SGD, SGD_M, QAS_SGD_M = range(3)
NAMES = ("standardized-sgd", "sgd-m", "qas-sgd-m")


def optimizer_of(name: str) -> int:
    """The number of a name. Raises FqtError for a name that does not exist."""
    if name not in NAMES:
        raise FqtError(f"optimizer '{name}' does not exist: choose one of {', '.join(NAMES)}")
    return NAMES.index(name)
