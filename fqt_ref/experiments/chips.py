# SPDX-License-Identifier: Apache-2.0
"""The paper's three microcontrollers (Tab. II), and what a training sample draws of them as a model."""

from typing import NamedTuple

SUPPLY_VOLTS = 3.3  # of the micromod boards; Tab. II prints currents only


class Chip(NamedTuple):
    """core: the emulated one; idle_amperes: of the whole idle board; flash, ram: bytes."""

    core: str
    hertz: float
    idle_amperes: float
    flash: int
    ram: int


CHIPS = {
    "RP2040": Chip("cortex-m0", 133e6, 31.24e-3, 16 << 20, 264 << 10),
    "nrf52840": Chip("cortex-m4", 64e6, 7.27e-3, 1 << 20, 256 << 10),
    "IMXRT1062": Chip("cortex-m7", 600e6, 108.26e-3, 16 << 20, 1 << 20),
}
ENERGY_MODEL = (
    f"energy is a model, not a measurement: Tab. II's idle current x {SUPPLY_VOLTS} V x the estimated time. The paper's Fig. 5b and 7b "
    "show what a core draws beyond that while it computes: this is not in Tab. II and not in the model"
)


def seconds(chip: Chip, cycles: float) -> float:
    """Time of so many cycles."""
    return cycles / chip.hertz


def joules(chip: Chip, cycles: float) -> float:
    """ENERGY_MODEL: idle current x supply voltage x time."""
    return chip.idle_amperes * SUPPLY_VOLTS * seconds(chip, cycles)
