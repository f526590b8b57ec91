# SPDX-License-Identifier: Apache-2.0
"""Names and numbers of what a user chooses: the optimizers, and the options of the first, the project's own (SPEC.md 16)."""

from fqt_ref.errors import FqtError

# The others are what the paper compares it with, on the desktop alone.
STANDARDIZED_SGD, SGD_M, QAS_SGD_M = range(3)
NAMES = ("standardized-sgd", "sgd-m", "qas-sgd-m")
HYSTERESIS, MOVING_AVERAGE, LITERAL = range(3)  # how a weight grid follows its weights
WEIGHT_RANGES = ("hysteresis", "moving-average", "literal")
LOSS, NONE, ALL = range(3)  # which errors are rounded by random words instead of half up
STOCHASTIC_ERRORS = ("loss", "none", "all")


def number_of(what: str, name: str, names: tuple[str, ...]) -> int:
    """The number of a name. what: what it names. Raises FqtError for a name that does not exist."""
    if name not in names:
        raise FqtError(f"{what} '{name}' does not exist: choose one of {', '.join(names)}")
    return names.index(name)
