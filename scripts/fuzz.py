#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the C library: model files that are opened, inferred with and trained on plain and blocked kernels, and the application's inputs.

libFuzzer with address and undefined-behaviour sanitizers. Seeds are the golden model files and random networks; the mutator
(tests/fuzz/model_target.c) knows the fields and draws networks at the limits. What crashes is kept in a file and said.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from fqt_ref import device, model_file
from fqt_ref.errors import FqtError
from fqt_ref.golden.model_errors import named_cases
from fqt_ref.random_graph import CONFIGS, random_network

FUZZ = device.ROOT / "tests" / "fuzz"
FLAGS = ["-O1", "-g", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", *device.OPTION_FLAGS]
SANITIZERS = ["-fsanitize=fuzzer,address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
RANDOM_NETWORKS = 60
MOST_CRASHES = 10  # of a target in one run
LIMITS = ["-max_len=65536", "-timeout=60", "-rss_limit_mb=3000", "-print_final_stats=1"]


@dataclass(frozen=True)
class Target:
    """A program for the fuzzer: its flags beside the common ones, and its sources."""

    flags: tuple[str, ...]
    sources: tuple[Path, ...]


def targets() -> dict[str, Target]:
    """All targets by name."""
    model = tuple(sorted(FUZZ.glob("model_*.c"))) + tuple(device.library_sources())
    src, lib = device.APP / "src", device.APP / "lib" / "fqt"
    application = [FUZZ / "application_target.c", *(src / f"{name}.c" for name in ("frame", "stream_protocol", "sample_set"))]
    wide = ("-m32", "-msse2", "-mfpmath=sse")  # float arithmetic of 32 bits, as everywhere
    return {
        "model": Target((), model),
        "model-blocked": Target(("-DFQT_BLOCKED_KERNELS",), model),
        "model-32": Target(wide, model),
        "model-32-blocked": Target((*wide, "-DFQT_BLOCKED_KERNELS"), model),
        "application": Target((f"-I{src}", f"-I{FUZZ}"), (*application, lib / "model_file.c", lib / "memory_plan.c")),
    }


DEFAULT_TARGETS = ("model", "model-blocked", "application")


@dataclass
class Found:
    """What fuzzing a target found."""

    executions: int = 0
    crashes: int = 0
    edges: int = 0
    files: list[str] = field(default_factory=list)  # inputs that crash
    reasons: list[str] = field(default_factory=list)  # one line each


def build(name: str) -> Path:
    """Build a target unless its sources are unchanged. Returns the program; raises FqtError where clang is missing or fails."""
    target = targets()[name]
    command = [device.require_tool("clang"), *FLAGS, *SANITIZERS, *target.flags, *device.include_flags(), *map(str, target.sources)]
    digest = hashlib.sha256("\0".join(command).encode())
    headers = [path for folder in (device.APP / "include", device.APP / "lib", device.APP / "src", FUZZ) for path in folder.rglob("*.h")]
    for path in [*target.sources, *sorted(headers)]:
        digest.update(path.read_bytes())
    program = device.default_build_dir().parent / "fuzz" / f"{name}+{digest.hexdigest()[:16]}"
    if not program.exists():
        with device.scratch_beside(program) as scratch:
            device.compile_program([*command, "-o", str(scratch / "fuzz")], f"compiling {name}", f"fuzz target {name} does not compile")
            for old in program.parent.glob(f"{name}+*"):
                old.unlink()
            os.replace(scratch / "fuzz", program)
    return program


def write_seeds(folder: Path) -> None:
    """Model files to start from."""
    for i, (_, _, data) in enumerate(named_cases("model_errors")):
        (folder / f"golden-{i}").write_bytes(data)
    for i in range(RANDOM_NETWORKS):
        network = random_network(np.random.RandomState(i), "seed", CONFIGS[i % len(CONFIGS)], 3)
        (folder / f"random-{i}").write_bytes(model_file.file_bytes(network))


def fuzz_once(program: Path, corpus: Path, seeds: list[Path], seconds: int, seed: int, artifacts: Path, found: Found) -> None:
    """Fuzz until the time is over or something crashes; adds to what was found."""
    command = [program, f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={artifacts}/", *LIMITS, corpus, *seeds]
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment) as child:
        try:
            output, _ = child.communicate()
        except BaseException:
            child.kill()
            raise
    done = re.search(r"stat::number_of_executed_units: (\d+)", output)
    found.executions += int(done[1]) if done else max((int(n) for n in re.findall(r"^#(\d+)\t", output, re.MULTILINE)), default=0)
    found.edges = max([found.edges, *(int(n) for n in re.findall(r" cov: (\d+) ", output))])
    written = re.search(r"Test unit written to (\S+)", output)
    if child.returncode != 0:
        found.crashes += 1
        lines = [line for line in output.splitlines() if "ERROR" in line or "runtime error" in line or "check.h" in line]
        found.reasons.append(lines[0].strip() if lines else f"ended with {child.returncode}")
        found.files.append(written[1] if written else "")


def fuzz(name: str, seconds: int, seed: int, corpus: Path, seeds: list[Path], artifacts: Path) -> Found:
    """Fuzz a target for about that long."""
    program, found = build(name), Found()
    end = time.monotonic() + seconds
    while found.crashes < MOST_CRASHES and (left := round(end - time.monotonic())) > 0:
        fuzz_once(program, corpus, seeds, left, seed + found.crashes, artifacts, found)
    return found


@click.command()
@click.option("--seconds", type=click.IntRange(min=1), default=60, show_default=True, help="How long in all, shared by the targets.")
@click.option(
    "--target",
    "names",
    multiple=True,
    type=click.Choice(list(targets())),
    help="One or more; without, all but those of 32 bits.",
)
@click.option("--seed", type=click.IntRange(min=1), default=1, show_default=True, help="Of the fuzzer's choices.")
@click.option("--corpus", type=click.Path(path_type=Path, file_okay=False), help="A folder that keeps interesting inputs from run to run.")
@click.option("--crashes", "kept", type=click.Path(path_type=Path, file_okay=False), help="Where inputs that crash are kept; without, "
              "build/fuzz/crashes of the checkout.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One line of JSON: executions, crashes, edges in all and of each target.")
def main(seconds: int, names: tuple[str, ...], seed: int, corpus: Path | None, kept: Path | None, as_json: bool) -> None:
    """Fuzz the C library with model files, and the application with samples and frames. Exit code 1 if anything crashes."""
    names = names or DEFAULT_TARGETS
    kept = (kept or device.default_build_dir().parent / "fuzz" / "crashes").resolve()
    kept.mkdir(parents=True, exist_ok=True)
    results = {}
    with tempfile.TemporaryDirectory(prefix="fqt-fuzz-") as scratch:
        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        write_seeds(seeds)
        for name in names:
            build(name)
        for name in names:
            folder = (corpus or Path(scratch)) / name
            folder.mkdir(parents=True, exist_ok=True)
            own = [seeds] if name.startswith("model") else []
            results[name] = fuzz(name, max(1, seconds // len(names)), seed, folder, own, kept)
            if not as_json:
                report(name, results[name])
    totals = {key: sum(getattr(found, key) for found in results.values()) for key in ("executions", "crashes", "edges")}
    if as_json:
        print(json.dumps({**totals, "targets": {name: vars(found) for name, found in results.items()}}))
    else:
        print(", ".join(f"{key} {value}" for key, value in totals.items()))
    sys.exit(1 if totals["crashes"] else 0)


def report(name: str, found: Found) -> None:
    """A line on a target, and one on each crash."""
    print(f"{name}: {found.executions} executions, {found.edges} edges, {found.crashes} crashes")
    for path, reason in zip(found.files, found.reasons, strict=True):
        print(f"  {path}: {reason}")


if __name__ == "__main__":
    try:
        main()
    except FqtError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        sys.exit(2)
