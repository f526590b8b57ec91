#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""README's table of boards: flash and RAM of the application, as the linker prints them. Wants a Zephyr workspace; takes ten minutes."""

import re
import subprocess
import sys

from fqt_ref import zephyr

BOARDS = (
    "qemu_cortex_m0_256k", "qemu_cortex_m3", "qemu_cortex_m4", "qemu_cortex_m7", "rpi_pico", "sparkfun_pro_micro_rp2040",
    "nrf52840dk/nrf52840", "micromod", "teensy40", "mimxrt1060_evk", "teensymm",
)  # fmt: skip


def sizes(board: str) -> list[int]:
    """Bytes of flash and RAM that `west build` reports."""
    env = zephyr.environment(zephyr.find_zephyr())
    options = [f"-D{option}" for option in zephyr.cmake_options(env)]
    folder = zephyr.ROOT / "build" / "sizes" / board.replace("/", "-")
    command = ["west", "build", "-p", "-b", board, "-d", str(folder), str(zephyr.APP), "--", *options]
    done = subprocess.run(command, env=env, cwd=zephyr.APP, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"board_sizes: west build for {board} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return [int(re.search(rf"^ *{region}: +(\d+) B", done.stdout, re.M)[1]) for region in ("FLASH", "RAM")]


for name in sys.argv[1:] or BOARDS:
    print(f"| `{name}` |", *(f"{size} |" for size in sizes(name)), flush=True)
