# SPDX-License-Identifier: Apache-2.0
"""Measures models on an emulated core: the C library's memory sizes, and the instructions of a training sample, counted by QEMU."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fqt_ref import device
from fqt_ref.device_memory import DeviceMemory
from fqt_ref.errors import FqtError
from fqt_ref.model_file import MAX_POSITIONS, file_bytes
from fqt_ref.network import LAYER_TRAINABLE, Network

SOURCE = device.APP / "tests" / "measure" / "measure.c"
# Nanoseconds of a tick of the timer that measure.c reads; with -icount shift=0 an instruction takes one.
TICK = {"cortex-m0": 62.5, "cortex-m3": 40.0, "cortex-m4": 40.0, "cortex-m7": 40.0}
ROOM = 16 << 20  # of the bundle and the memory behind it, on every machine
SAMPLES = 4
NO_MEMORY = -8  # the status of a model that the machine does not hold


class Measured(NamedTuple):
    """What a core says of a model. instructions: of one training sample forward and backward, a mean; None if not counted."""

    memory: DeviceMemory
    status: int
    instructions: int | None


def samples_for(network: Network) -> int:
    """Samples whose gradients fit without an update, at most SAMPLES."""
    tensors = network.tensors
    positions = [int(tensors["h"][i + 1]) * int(tensors["w"][i + 1]) for i in np.flatnonzero(network.layers["flagset"] & LAYER_TRAINABLE)]
    return min(SAMPLES, MAX_POSITIONS // max(positions, default=1))


def bundle(networks: Sequence[Network], count: bool, seed: int = 0) -> bytes:
    """The file that measure.c reads; with samples of random bytes and random labels to train if they are to be counted."""
    rng, parts = np.random.RandomState(seed), []
    for network in networks:
        data, x = file_bytes(network), network.tensors[0]
        n, size = samples_for(network) if count else 0, int(x["h"]) * int(x["w"]) * int(x["c"])
        labels, samples = rng.randint(0, network.tensors[-1]["c"], n).astype("<u4"), rng.bytes(n * size)
        parts += [np.array([len(data), n, size], "<u4").tobytes(), data, bytes(-len(data) % 4), labels.tobytes(), samples]
        parts.append(bytes(-len(samples) % 4))
    body = b"".join(parts)
    total = 16 + len(body)
    if total > ROOM:
        raise FqtError(f"{len(networks)} models of {total} bytes in all: an emulated core holds {ROOM}; measure fewer at once")
    return b"FQM1" + np.array([total, ROOM - (total + 7) // 8 * 8, len(networks)], "<u4").tobytes() + body


def build(target: str, optimize: str = "-Os", timeout: float = 300, options: Sequence[str] = ()) -> Path:
    """The program for a core, compiled as Zephyr compiles the application unless nothing has changed; options: of the compiler, too.

    Raises FqtError.
    """
    device.require(target)
    found = device.find_target(target)
    if not found.emulated:
        raise FqtError(f"target '{target}' is not an emulated core: choose one of {', '.join(TICK)}")
    timer = ["-DFQT_TIMER_NRF"] if target == "cortex-m0" else []
    flags = [
        optimize,
        *device.COMMON_FLAGS,
        *options,
        *found.cpu_flags,
        *device.link_flags(found),
        *timer,
        "-ffunction-sections",
        "-Wl,--gc-sections",
    ]
    sources = [*device.library_sources(), SOURCE]
    kernels = [path for path in sources if path.parent.name == "kernels"]
    common = [device.compiler_of(found), *flags, f"-I{device.APP / 'include'}"]
    command = [*common, *(str(path) for path in sources if path not in kernels)]
    compiling = [*common, "-O2", "-c", *map(str, kernels)]  # as lib/fqt/CMakeLists.txt has it
    digest = hashlib.sha256("\0".join(command + compiling).encode())
    for path in sorted([*(device.APP / "include").rglob("*.h"), *(device.APP / "lib" / "fqt").rglob("*.h"), *sources]):
        digest.update(path.read_bytes())
    digest.update(SOURCE.with_name("timer.h").read_bytes())
    folder = device.default_build_dir()
    prefix = f"measure-{target}{''.join([optimize, *options])}"
    program = folder / f"{prefix}-{digest.hexdigest()[:16]}.elf"
    if program.exists():
        return program
    with device.scratch_beside(program) as scratch:
        what, failure = f"compiling for {target}", f"the C library does not compile for {target}"
        device.compile_program(["env", "-C", str(scratch), *compiling], what, failure, timeout)
        built, objects = scratch / "measure.elf", [str(scratch / f"{path.stem}.o") for path in kernels]
        device.compile_program([*command, *objects, "-o", str(built)], what, failure, timeout)
        device.install(built, program, prefix)
    return program


def measure(
    target: str, networks: Sequence[Network], count: bool = False, timeout: float = 300, options: Sequence[str] = ()
) -> list[Measured]:
    """What an emulated core says of each network; count: train some samples and count instructions, too; options: of build().

    Raises FqtError for a missing tool, models that are too large together, a crash, or the timeout.
    """
    program, found = build(target, options=options), device.find_target(target)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bundle"
        file.write_bytes(bundle(networks, count))
        command = device.run_command(found, program, file) + ["-icount", "shift=0"] * count
        answer = device.run(command, f"measuring on {target}", timeout)
    rows = [line.split() for line in (answer.stdout + answer.stderr).splitlines()]  # semihosting writes to standard error
    if answer.returncode != 0 or len(rows) != len(networks) or any(len(row) != 5 for row in rows):
        tail = (answer.stderr or answer.stdout).strip().splitlines()
        raise FqtError(f"measuring on {target} crashed ({answer.returncode}): {tail[-1] if tail else 'no output'}")
    results = []
    for network, row in zip(networks, rows, strict=True):
        status, ticks, counted = int(row[3]), int(row[4]), None
        if count and status == 0:
            counted = round(ticks * TICK[target] / samples_for(network))
        results.append(Measured(DeviceMemory(*map(int, row[:3])), status, counted))
    return results
