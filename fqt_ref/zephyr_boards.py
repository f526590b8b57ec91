# SPDX-License-Identifier: Apache-2.0
"""Which boards Zephyr knows, ours among them, and which of them are emulated."""

import difflib
import subprocess
from pathlib import Path
from typing import NamedTuple

from fqt_ref.zephyr import APP


class ZephyrBoard(NamedTuple):
    """A board of Zephyr's or ours."""

    name: str
    qualifiers: tuple[str, ...]  # for example nrf52840 of nrf52840dk/nrf52840
    folder: Path


def known_boards(env: dict[str, str]) -> dict[str, ZephyrBoard]:
    """All boards by name; none if west does not tell. Takes a second or two."""
    roots = ["--board-root", str(APP), "--soc-root", str(APP)]
    command = ["west", "boards", *roots, "-f", "{name}|{qualifiers}|{dir}"]
    try:
        done = subprocess.run(command, env=env, cwd=APP, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {}
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    return {name: ZephyrBoard(name, tuple(qualifiers.split(",")), Path(folder)) for name, qualifiers, folder in rows}


def base_name(board: str) -> str:
    """A board's name without its revision and qualifiers."""
    return board.partition("/")[0].partition("@")[0]


def near_names(board: str, known: dict[str, ZephyrBoard]) -> list[str]:
    """Boards whose names are nearly that one, the nearest first."""
    return difflib.get_close_matches(base_name(board), known, n=4, cutoff=0.6)


def is_real(board: str, known: dict[str, ZephyrBoard]) -> bool:
    """Whether a board is known, and known to have no emulator that its build could start."""
    found = known.get(base_name(board))
    if found is None:
        return False
    try:
        return "SUPPORTED_EMU_PLATFORMS" not in (found.folder / "board.cmake").read_text()
    except OSError:
        return True
