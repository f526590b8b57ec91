# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions that an emulated core executes, by address: a QEMU plugin counts between two marks of the program.

Counting by address rather than by time (`-icount`, fqt_ref/device_cost.py) tells which function spends them, and how many branches were
taken; and the test program's own instructions drop out. Both ways give the same numbers (tests/test_bench_mcu.py).
"""

import dataclasses
import hashlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fqt_ref import device
from fqt_ref.errors import FqtError

MEASURE = device.APP / "tests" / "measure"
# Cortex-M0+ code runs on QEMU's Cortex-M0: the instruction sets are one.
CORES = {
    "cortex-m0": dataclasses.replace(device.TARGETS["cortex-m0"], cpu_flags=("-mcpu=cortex-m0plus", "-mthumb")),
    "cortex-m4": device.TARGETS["cortex-m4"],
    "cortex-m7": device.TARGETS["cortex-m7"],
}
COUNT = np.dtype([("address", "<u4"), ("executed", "<u8"), ("taken", "<u8")])
RUNTIME, STARTUP = "runtime", "startup"  # sources of what the compiler's libraries give
OWN = ("kernels", "steps", "count", STARTUP)  # of the test programs
SECTION = re.compile(r"^ \.(text|rodata|data|bss)(\.\S+)?\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S+)$", re.M)


class Function(NamedTuple):
    """A linked function, or other section. source: stem of the C file, or RUNTIME or STARTUP."""

    name: str
    kind: str  # text, rodata, data or bss
    source: str
    address: int
    size: int


class Program(NamedTuple):
    """A built program. functions: by address."""

    core: str
    path: Path
    functions: list[Function]


class Counts(NamedTuple):
    """What a program executed. lines: its output; intervals: COUNT records, one array a pair of marks."""

    lines: list[list[str]]
    intervals: list[np.ndarray]


def find_core(name: str) -> device.Target:
    """A core by name. Raises FqtError for one that does not exist."""
    if name not in CORES:
        raise FqtError(f"core '{name}' does not exist: choose from {', '.join(CORES)}")
    return CORES[name]


def require(core: str) -> None:
    """Raise FqtError if the core does not exist or a tool is missing."""
    find_core(core)
    device.require(core)
    device.require_tool("gcc")


def cached(prefix: str, suffix: str, command: list[str], sources: list[Path]) -> tuple[Path, bool]:
    """Where a built file belongs, and whether it is there."""
    digest = hashlib.sha256("\0".join(command).encode())
    for path in sources:
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    path = device.default_build_dir() / f"{prefix}-{digest.hexdigest()[:16]}{suffix}"
    return path, path.exists()


def checked(command: list[str], what: str) -> None:
    """Run a compiler. Raises FqtError with its first error."""
    device.compile_program(command, f"compiling {what}", f"{what} does not compile")


def build_plugin() -> Path:
    """The plugin, for this machine."""
    source = MEASURE / "count_plugin.c"
    command = [device.require_tool("gcc"), "-shared", "-fPIC", "-fvisibility=hidden", "-O2", "-std=c11", "-Wall", "-Wextra", str(source)]
    path, there = cached("count-plugin", ".so", command, [source])
    if not there:
        with device.scratch_beside(path) as scratch:
            built = scratch / path.name
            checked([*command, "-o", str(built)], "the counting plugin")
            device.install(built, path, "count-plugin")
    return path


def build_program(core: str, name: str, optimize: str = "-O2", define: str = "") -> Program:
    """The library with tests/measure/<name>.c for a core, unless its sources are unchanged. define: a macro. Raises FqtError."""
    require(core)
    target = find_core(core)
    compiler = device.compiler_of(target)
    timer = ("-DFQT_TIMER_NRF",) if core == "cortex-m0" else ()
    macro = [f"-D{define}"] if define else []
    cpu = [optimize, "-g", *device.COMMON_FLAGS, *target.cpu_flags, *device.link_flags(target), *timer, *macro]
    sources = [*device.library_sources(), MEASURE / f"{name}.c", MEASURE / "count.c"]
    headers = [*(device.APP / "include").rglob("*.h"), *(device.APP / "lib" / "fqt").rglob("*.h"), *MEASURE.glob("*.h")]
    compiling = [compiler, *cpu, "-ffunction-sections", "-fdata-sections", f"-I{device.APP / 'include'}", "-c", *map(str, sources)]
    prefix = f"count-{name}-{core}{optimize}{define}"
    path, there = cached(prefix, ".elf", compiling, sorted([*headers, *sources]))
    if not there:
        with device.scratch_beside(path) as scratch:
            checked(["env", "-C", str(scratch), *compiling], f"the C library for {core}")
            objects = [str(scratch / f"{source.stem}.o") for source in sources]
            built, written = scratch / "program.elf", scratch / "program.map"
            linking = [compiler, *cpu, "-Wl,--gc-sections", f"-Wl,-Map={written}", *objects, "-o", str(built)]
            checked(linking, f"the C library for {core}")
            device.install(written, path.with_suffix(".map"), prefix)
            device.install(built, path, prefix)
    return Program(core, path, read_map(path.with_suffix(".map").read_text()))


def source_of(linked: str) -> str:
    """Stem of the C file that an object in the linker's map comes from."""
    if linked.endswith(")"):
        return RUNTIME
    return STARTUP if "crt0" in linked else Path(linked).stem


def read_map(text: str) -> list[Function]:
    """The linker's map, as the sections that were kept: with -ffunction-sections one a function."""
    kept = text[text.index("Linker script and memory map") :]
    found = [
        Function((name or source).lstrip("."), kind, source_of(source), int(address, 16), int(size, 16))
        for kind, name, address, size, source in SECTION.findall(kept)
    ]
    return sorted((one for one in found if one.size and one.address), key=lambda one: one.address)


def run(program: Program, bundle: bytes, icount: bool = False, timeout: float = 600) -> Counts:
    """Run a program on a bundle. icount: without the plugin, on QEMU's clock that an instruction moves by a nanosecond."""
    with tempfile.TemporaryDirectory(prefix="fqt-count-") as folder:
        file, out = Path(folder) / "bundle", Path(folder) / "counts"
        file.write_bytes(bundle)
        out.touch()
        extra = ["-icount", "shift=0"] if icount else ["-plugin", plugin_argument(program, out)]
        command = device.run_command(find_core(program.core), program.path, file) + extra
        answer = device.run(command, f"counting on {program.core}", timeout)
        lines = [line.split() for line in (answer.stdout + answer.stderr).splitlines()]  # semihosting writes to standard error
        if answer.returncode != 0:
            raise FqtError(f"counting on {program.core} failed ({answer.returncode}): {' '.join(lines[-1]) if lines else 'no output'}")
        return Counts(lines, read_intervals(out.read_bytes()))


def plugin_argument(program: Program, out: Path) -> str:
    """QEMU's option that loads the plugin."""
    marks = {one.name: one.address for one in program.functions if one.source == "count"}
    code = [one for one in program.functions if one.kind == "text"]
    escaped = str(build_plugin()).replace(",", ",,")
    return f"{escaped},start={marks['count_start']:#x},stop={marks['count_stop']:#x},bytes={code[-1].address + code[-1].size + 2},out={out}"


def read_intervals(data: bytes) -> list[np.ndarray]:
    """What the plugin wrote."""
    intervals, at = [], 0
    while at < len(data):
        n = int(np.frombuffer(data, "<u4", 1, at)[0])
        intervals.append(np.frombuffer(data, COUNT, n, at + 4))
        at += 4 + n * COUNT.itemsize
    return intervals


def within(program: Program, interval: np.ndarray, wanted: Callable[[Function], bool]) -> np.ndarray:
    """Which records of an interval lie in functions that are wanted."""
    inside = np.zeros(len(interval), bool)
    for one in program.functions:
        if one.kind == "text" and wanted(one):
            inside |= (interval["address"] >= one.address) & (interval["address"] < one.address + one.size)
    return inside


def own(program: Program, interval: np.ndarray) -> np.ndarray:
    """Which records of an interval are the test program's."""
    return within(program, interval, lambda one: one.source in OWN)


def by_function(program: Program, interval: np.ndarray) -> dict[Function, int]:
    """Instructions of an interval by function, without the test program's own."""
    code = [one for one in program.functions if one.kind == "text"]
    at = np.searchsorted([one.address for one in code], interval["address"], side="right") - 1
    sums = np.bincount(at, interval["executed"].astype(np.float64), len(code))
    return {one: int(n) for one, n in zip(code, sums, strict=True) if n and one.source not in OWN}


def instructions(program: Program, interval: np.ndarray) -> int:
    """Instructions of an interval, without the test program's own."""
    return int(interval["executed"][~own(program, interval)].sum())


def by_inlined(program: Program, interval: np.ndarray) -> dict[str, int]:
    """Instructions of an interval by innermost function, inlined ones told apart, without the test program's own."""
    mine = interval[~own(program, interval)]
    command = ["arm-none-eabi-addr2line", "-f", "-e", str(program.path), *(f"{row['address']:#x}" for row in mine)]
    names = device.run(command, "looking up functions", 120).stdout.splitlines()[::2]
    sums: dict[str, int] = {}
    for row, name in zip(mine, names, strict=True):
        sums[name] = sums.get(name, 0) + int(row["executed"])
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def linked_bytes(program: Program, sources: list[str]) -> dict[str, int]:
    """Bytes of flash (code and constants) by source, of those sources that are linked."""
    sums: dict[str, int] = {}
    for one in program.functions:
        if one.source in sources and one.kind in ("text", "rodata"):
            sums[one.source] = sums.get(one.source, 0) + one.size
    return sums
