#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# README's table of boards: flash and RAM of the application, as the linker prints them. Wants a Zephyr workspace; needs about ten minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

boards=("$@")
[ $# -gt 0 ] || boards=(qemu_cortex_m0_256k qemu_cortex_m3 qemu_cortex_m4 qemu_cortex_m7 rpi_pico sparkfun_pro_micro_rp2040
    nrf52840dk/nrf52840 micromod teensy40 mimxrt1060_evk teensymm)
for board in "${boards[@]}"; do
    sizes=$(.venv/bin/python - "$board" <<'PYTHON'
import re, subprocess, sys
from fqt_ref import zephyr

board = sys.argv[1]
env = zephyr.environment(zephyr.find_zephyr())
options = [f"-D{option}" for option in zephyr.cmake_options(env)]
command = ["west", "build", "-p", "-b", board, "-d", f"build/sizes/{board.replace('/', '-')}", "zephyr_app", "--", *options]
output = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
print(*(re.search(rf"^ *{region}: +(\d+) B", output, re.M)[1] for region in ("FLASH", "RAM")), sep=" | ")
PYTHON
)
    echo "| \`$board\` | $sizes |"
done
