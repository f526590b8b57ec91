# SPDX-License-Identifier: Apache-2.0
"""Why `west build` failed, as one line: from all that CMake, Kconfig, devicetree, compiler and linker have printed."""

import re
from collections.abc import Callable

LONGEST = 300  # characters of what a tool says


def in_short(text: str) -> str:
    """On one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."


def overflows(output: str) -> dict[str, int]:
    """Bytes that do not fit, of each memory region: {"RAM": 957364}."""
    return {name: int(size) for name, size in re.findall(r"region `(\w+)' overflowed by (\d+) bytes", output)}


def unknown_board(output: str) -> str | None:
    """The board that Zephyr does not know, if that is the fault."""
    found = re.search(r"No board named '([^']*)' found", output)
    return found[1] if found else None


def disk_full(output: str) -> str | None:
    found = re.search(r"No space left on device|Disk quota exceeded|File size limit exceeded", output)
    return f"{found[0]}: make room, or choose another folder with -o" if found else None


def board_not_known(output: str) -> str | None:
    name = unknown_board(output)
    return None if name is None else f"Zephyr knows no board '{name}'"


def wrong_qualifiers(output: str) -> str | None:
    found = re.search(r"Board qualifiers `(\S+)` for board `(\S+)` not found\.(.*?)(?:Call Stack|\Z)", output, re.S)
    if found is None:
        return None
    targets = re.findall(rf"^ *({re.escape(found[2])}\S*) *$", found[3], re.M)
    return f"board {found[2]} has no '{found[1].strip('/')}': choose one of {', '.join(targets)}"


def what_overflows(output: str) -> str | None:
    return "; ".join(f"{name} lacks {size} bytes" for name, size in overflows(output).items()) or None


def compiler_error(output: str) -> str | None:
    """file:line: what the compiler says; never the command that it was given."""
    found = re.search(r"^(\S[^\n:]*:\d+(?::\d+)?): (?:fatal )?(?:error|Error): (.+)$", output, re.M)
    if found is None:
        return None
    # A failed assertion is where its macro is, not in the header that defines it.
    asserted = re.search(r"static assertion failed.*?^(\S+:\d+):\d+: note: in expansion of macro", output, re.S | re.M)
    return f"{asserted[1] if asserted and 'static assertion' in found[2] else found[1]}: {found[2]}"


def linker_error(output: str) -> str | None:
    names = dict.fromkeys(re.findall(r"undefined reference to [`']([^']+)'", output))
    if names:
        return f"the linker finds no {', '.join(names)}"
    found = re.search(r"^\S*/(?:\S+-)?ld(?:\.\w+)?: (.+)$", output, re.M)
    return f"the linker says: {found[1]}" if found else None


def devicetree_error(output: str) -> str | None:
    found = re.search(r"^devicetree error: (.+)$", output, re.M)
    return f"devicetree: {found[1]}" if found else None


def kconfig_error(output: str) -> str | None:
    """The warning at which Kconfig stops, or its error. What Zephyr adds about its documentation is left out."""
    if "error: Aborting due to Kconfig warnings" in output:
        missing = re.search(r"warning: \w+ \(defined at modules/(\w+)/Kconfig\S*\) has direct dependencies 0", output)
        if missing:
            return f"the workspace lacks the module {missing[1]}, which the board wants: fetch it with 'west update'"
        before = output.partition("error: Aborting due to Kconfig warnings")[0]
        warnings = re.findall(r"^(?:\S+:\d+: )?warning: (.+?)(?:\. See\s|\n\n|\Z)", before, re.S | re.M)
        return f"Kconfig: {warnings[0]}" if warnings else None
    found = re.search(r"^(?:kconfiglib\.\w+|error): (.+?)(?:\n\n|^CMake Error|\Z)", output, re.S | re.M)
    return f"Kconfig: {found[1]}" if found and "kconfig.cmake" in output else None


def missing_package(output: str) -> str | None:
    found = re.search(r"ModuleNotFoundError: No module named '(\w+)", output)
    return f"Python's package {found[1]} is missing: pip install 'fqt[zephyr]'" if found else None


def python_error(output: str) -> str | None:
    """Of one of Zephyr's scripts."""
    found = re.search(r"^Traceback \(most recent call last\):\n(?: .*\n|\n)*([A-Za-z_.]+: .+)$", output, re.M)
    return found[1] if found else None


def cmake_error(output: str) -> str | None:
    found = re.search(r"^CMake Error(?: at ([^\n]*?:\d+))?[^\n]*:\n?(.+?)(?:\nCall Stack|\n\n\n|\nFATAL ERROR|\Z)", output, re.S | re.M)
    if found is None:
        return None
    return f"CMake: {found[2].strip()}" + (f" ({found[1].rsplit('/', 1)[-1]})" if found[1] else "")


def ninja_error(output: str) -> str | None:
    found = re.search(r"^ninja: (?:error|fatal): (.+)$", output, re.M)
    return f"ninja: {found[1]}" if found else None


def west_error(output: str) -> str | None:
    found = re.search(r"^(?:west: |FATAL ERROR: |usage: |ERROR: )(?!command exited)(.+)$", output, re.M)
    return f"west: {found[1]}" if found else None


# The first that knows an answer: causes before what follows from them.
JUDGES: tuple[Callable[[str], str | None], ...] = (
    disk_full, board_not_known, wrong_qualifiers, missing_package, devicetree_error, kconfig_error, what_overflows,
    compiler_error, linker_error, python_error, cmake_error, ninja_error, west_error,
)  # fmt: skip


def explain(output: str) -> str:
    """What failed. output: all that `west build` has printed, on both streams."""
    for judge in JUDGES:
        answer = judge(output)
        if answer is not None:
            return in_short(answer)
    lines = [
        line
        for line in output.splitlines()
        if line.strip() and not line.startswith(("FATAL ERROR: command exited", "ninja: build stopped"))
    ]
    return in_short(lines[-1]) if lines else "it printed nothing"
