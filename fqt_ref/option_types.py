# SPDX-License-Identifier: Apache-2.0
"""Types of options whose values are numbers: each says its range in `--help` and refuses what is outside."""

import math
from typing import Any

import click

from fqt_ref.limits import LARGEST_EPOCHS, LARGEST_SEED

SEED = click.IntRange(0, LARGEST_SEED)
EPOCHS = click.IntRange(0, LARGEST_EPOCHS)
SOME_EPOCHS = click.IntRange(1, LARGEST_EPOCHS)
LAYERS = click.IntRange(1, 255)
BYTE = click.IntRange(0, 255)


class Real(click.FloatRange):
    """A real number in a range. Infinity and what is no number are outside of every range, which click does not know."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
