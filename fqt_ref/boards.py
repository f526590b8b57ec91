# SPDX-License-Identifier: Apache-2.0
"""The boards that `fqt fit` knows: their memories as Zephyr's linker script has them, and the core that stands for theirs."""

from typing import NamedTuple

from fqt_ref.errors import FqtError

KB, MB = 1 << 10, 1 << 20


class Board(NamedTuple):
    """A board. core: the emulated one on which instructions are counted; source: where the sizes stand."""

    core: str
    flash: int
    ram: int
    source: str


BOARDS = {
    "qemu_cortex_m0_256k": Board("cortex-m0", 1 * MB, 256 * KB, "zephyr_app/boards/fqt"),
    "qemu_cortex_m3": Board("cortex-m3", 256 * KB, 64 * KB, "Zephyr dts/arm/ti/lm3s6965.dtsi"),
    "qemu_cortex_m4": Board("cortex-m4", 4 * MB, 4 * MB, "zephyr_app/dts/arm/fqt/mps2.dtsi"),
    "qemu_cortex_m7": Board("cortex-m7", 4 * MB, 4 * MB, "zephyr_app/dts/arm/fqt/mps2.dtsi"),
    "rpi_pico": Board("cortex-m0", 2 * MB - 256, 264 * KB, "Zephyr boards/raspberrypi/rpi_pico; 256 bytes are the boot loader's"),
    "sparkfun_pro_micro_rp2040": Board("cortex-m0", 16 * MB - 256, 264 * KB, "Zephyr boards/sparkfun/pro_micro_rp2040"),
    "nrf52840dk/nrf52840": Board("cortex-m4", 1 * MB, 256 * KB, "Zephyr dts/arm/nordic/nrf52840_qiaa.dtsi"),
    "micromod": Board("cortex-m4", 1 * MB, 256 * KB, "Zephyr boards/sparkfun/micromod"),
    "teensy40": Board("cortex-m7", 2 * MB, 256 * KB, "Zephyr boards/pjrc/teensy4: OCRAM"),
    "mimxrt1060_evk": Board("cortex-m7", 8 * MB, 32 * MB, "Zephyr boards/nxp/mimxrt1060_evk: SDRAM"),
    "teensymm": Board("cortex-m7", 16 * MB, 512 * KB, "zephyr_app/boards/fqt/teensymm: OCRAM2"),
}


def find_board(name: str) -> Board:
    """A board by name. Raises FqtError for one that does not exist here."""
    if name not in BOARDS:
        raise FqtError(f"board '{name}' is not one that fqt fit knows: choose one of {', '.join(BOARDS)}, or build it with 'fqt deploy'")
    return BOARDS[name]
