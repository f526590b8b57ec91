#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the application on README's boards for several sets of operators: fqt_ref/board_sizes.json, which `fqt fit` reads, and
README's table. Wants a Zephyr workspace; takes ten minutes on idle cores. board_sizes.py [BOARD...]"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fqt_ref import files, zephyr
from fqt_ref.deploy_config import ALL_OPERATORS, operator_lines
from fqt_ref.fit import MEASURED
from fqt_ref.linked import as_json, linked, read_measured

BOARDS = (
    "qemu_cortex_m3", "rpi_pico", "nrf52840dk/nrf52840", "qemu_cortex_m4", "qemu_cortex_m0_256k", "qemu_cortex_m7",
    "sparkfun_pro_micro_rp2040", "micromod", "teensy40", "mimxrt1060_evk", "teensymm",
)  # fmt: skip
CNN = frozenset({"OP_CONV2D", "OP_LINEAR", "OP_MAX_POOL2D"})
MOBILE = CNN | {"OP_DEPTHWISE_CONV2D", "OP_AVG_POOL2D", "OP_ADD"}
FLOATS = frozenset({"FLOAT32", "OP_DEQUANTIZE"})
SETS = (ALL_OPERATORS, frozenset({"OP_LINEAR"}), CNN, CNN | FLOATS, MOBILE)
MEMORY = 8  # bytes of each of the application's four memories while it is measured


def fail(what: str, output: str) -> None:
    sys.exit(f"board_sizes: {what} failed:\n{output[-3000:]}")


def used(output: str) -> list[int]:
    """Bytes of flash and RAM that the linker prints."""
    units = {"B": 1, "KB": 1024}
    found = [re.findall(rf"^ *{region}: +(\d+) (B|KB)", output, re.M)[-1] for region in ("FLASH", "RAM")]
    return [int(number) * units[unit] for number, unit in found]


def build(board: str, folder: Path, env: dict) -> str:
    """The application with all operators, smallest memories and an empty model."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    empty, config = folder / "empty", folder / "fqt.conf"
    empty.write_bytes(b"")
    sizes = [f"CONFIG_FQT_APP_{name}_BYTES={MEMORY}" for name in ("NETWORK", "TRAINER", "INFERENCE", "QUEUE")]
    config.write_text("\n".join([*operator_lines(ALL_OPERATORS), *sizes, ""]))
    options = [f"FQT_MODEL={empty}", f"FQT_SAMPLES={empty}", f"EXTRA_CONF_FILE={config}", *zephyr.cmake_options(env)]
    command = ["west", "build", "-b", board, "-d", str(folder / "build"), str(zephyr.APP), "--", *(f"-D{option}" for option in options)]
    done = subprocess.run(command, env=env, cwd=zephyr.APP, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"west build for {board}", done.stdout + done.stderr)
    return done.stdout


def rebuild(folder: Path, operators: frozenset, env: dict) -> str:
    """The same with other operators. Only the library looks at them, so only it is compiled anew: the header keeps its time."""
    header = next((folder / "build" / "zephyr").rglob("autoconf.h"))
    whole = header.with_name("autoconf.all")
    if not whole.exists():
        shutil.copy2(header, whole)
    left_out = {f"#define CONFIG_FQT_{name} 1" for name in ALL_OPERATORS - operators}
    header.write_text("\n".join(line for line in whole.read_text().splitlines() if line not in left_out) + "\n")
    os.utime(header, ns=(whole.stat().st_atime_ns, whole.stat().st_mtime_ns))
    for old in (folder / "build" / "modules" / "fqt").rglob("*.obj"):
        old.unlink()
    done = subprocess.run(["ninja", "-C", str(folder / "build")], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"ninja in {folder}", done.stdout + done.stderr)
    return done.stdout


def measure(board: str, env: dict) -> dict:
    """All sets of operators on a board."""
    folder = zephyr.ROOT / "build" / "sizes" / board.replace("/", "-")
    results = {}
    for operators in SETS:
        output = build(board, folder, env) if operators == ALL_OPERATORS else rebuild(folder, operators, env)
        flash, ram = used(output)
        one = linked(folder / "build" / "zephyr" / "zephyr.elf", flash, ram, 0, 4 * MEMORY)
        results["+".join(sorted(operators))] = as_json(one)
        print(f"| `{board}` | {len(operators)} operators | {flash} | {ram} |", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return results


environment = zephyr.environment(zephyr.find_zephyr())
for name in sys.argv[1:] or BOARDS:
    results = measure(name, environment)
    files.write(MEASURED, json.dumps({**read_measured(MEASURED), name: results}, indent=1, sort_keys=True) + "\n")
