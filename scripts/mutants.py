#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mutation run: does a golden file notice each small change of the engine and of the C library? Survivors are listed with their place;
those that are explained in mutants_explained.toml are marked. The working tree is never changed."""

import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import click
import mutants_c
import mutants_python
from mutants_common import KILLED, SURVIVED, Golden, Mutant

from fqt_ref import device
from fqt_ref.errors import FqtError
from fqt_ref.golden import DEFAULT_DIR
from fqt_ref.terminal import progress

ENGINE = (
    "arithmetic.py", "ranges.py", "sparse_update.py", "train_step.py", "zeroth_order.py", "model_file.py",
    "kernels/*.py", "operators/*.py", "optimizers/standardized_sgd.py",
)  # fmt: skip
EXPLAINED = Path(__file__).with_name("mutants_explained.toml")


def sources() -> list[Path]:
    """All files that define bits: the engine's and the library's."""
    engine = [path for pattern in ENGINE for path in sorted((device.ROOT / "fqt_ref").glob(pattern)) if path.stem != "__init__"]
    library = sorted(path for path in (device.APP / "lib" / "fqt").rglob("*.[ch]") if path.stem not in NOT_HERE)
    return [*engine, *library, *sorted((device.APP / "include" / "fqt").glob("*.h"))]


NOT_HERE = {"blocks_armv6m", "blocks_dsp"}  # assembly of other machines


def chosen(only: tuple[str, ...]) -> list[Path]:
    """The files whose names end so; all without a choice. Raises click.UsageError."""
    found = sources()
    for name in only:
        if not any(str(path).endswith(name) for path in found):
            raise click.UsageError(f"--only {name}: no file that defines bits ends so; try --only arithmetic.c")
    return [path for path in found if not only or any(str(path).endswith(name) for name in only)]


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of one file."""
    return list((mutants_python if path.suffix == ".py" else mutants_c).mutants_of(path))


class Explanations:
    """Why survivors survive: entries of a file, one of its functions or lines or both, changes there (all, if none are named), a reason."""

    def __init__(self, path: Path):
        self.entries = tomllib.loads(path.read_text())["explained"]

    def of(self, mutant: Mutant) -> str | None:
        """The first reason that fits, if one does."""
        for entry in self.entries:
            here = entry.get("function", mutant.function) == mutant.function and entry.get("line", mutant.text) == mutant.text
            if mutant.file.endswith(entry["file"]) and here and mutant.change in entry.get("changes", [mutant.change]):
                return entry["reason"]
        return None


def judged(mutants: list[Mutant], judge: Callable[[Mutant], str], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant's fate as it is known; ends early, with what is known, at Ctrl-C."""
    pool, waiting, running = ThreadPoolExecutor(jobs), iter(mutants), dict[Future, Mutant]()
    try:
        while True:
            while len(running) < jobs and (mutant := next(waiting, None)):
                running[pool.submit(judge, mutant)] = mutant
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def run(mutants: list[Mutant], jobs: int, advance: Callable[[int, str], None]) -> dict:
    """The report on these mutants: counts, survivors, and whether it was interrupted."""
    golden, explanations = Golden(DEFAULT_DIR), Explanations(EXPLAINED)
    report: dict = {"mutants": 0, "killed": 0, "no_mutants": 0, "survivors": [], "interrupted": False}
    folder = Path(tempfile.mkdtemp(prefix="fqt-mutants-"))
    engine = library = None
    try:
        of_engine = [m for m in mutants if m.file.endswith(".py")]
        of_library = [m for m in mutants if not m.file.endswith(".py")]
        if of_engine:
            engine = mutants_python.Engine(jobs, golden)
        if of_library:
            library = mutants_c.Library(folder, jobs, golden)

        def judge(mutant: Mutant) -> str:
            return (engine if mutant.file.endswith(".py") else library).judge(mutant)  # type: ignore[union-attr]

        for mutant, fate in judged(of_engine + of_library, judge, jobs):
            add(report, mutant, fate, explanations)
            advance(1, f"{len(report['survivors'])} survive")
    except KeyboardInterrupt:
        report["interrupted"] = True
    finally:
        if engine:
            engine.close()
        shutil.rmtree(folder, ignore_errors=True)
    report["survivors"].sort(key=lambda s: (s["file"], s["line"]))
    return report


def add(report: dict, mutant: Mutant, fate: str, explanations: Explanations) -> None:
    """Count one mutant."""
    if fate not in (KILLED, SURVIVED):
        report["no_mutants"] += 1
        return
    report["mutants"] += 1
    report["killed"] += fate == KILLED
    if fate == SURVIVED:
        place = {"file": mutant.file, "line": mutant.line, "column": mutant.column, "function": mutant.function}
        report["survivors"].append({**place, "change": mutant.change, "explained": explanations.of(mutant)})


def print_report(report: dict) -> None:
    """For people: survivors that nothing explains, then the counts."""
    open_ones = [s for s in report["survivors"] if not s["explained"]]
    for s in open_ones:
        print(f"{s['file']}:{s['line']}:{s['column']}: {s['change']}")
    explained = len(report["survivors"]) - len(open_ones)
    print(f"{report['mutants']} mutants: {report['killed']} killed, {explained} explained, {len(open_ones)} survive", end="")
    print(f"; {report['no_mutants']} changes made no other program{'; interrupted' if report['interrupted'] else ''}")


@click.command(help=__doc__)
@click.option("--only", multiple=True, metavar="FILE", help="Files whose path ends so, such as arithmetic.c or kernels/add.py; repeatable.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Mutants at a time.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N mutants, drawn from all.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON: mutants, killed, survivors with file, line and change.")
def main(only, jobs, sample, seed, as_json):
    mutants = [mutant for path in chosen(only) for mutant in mutants_of(path)]
    if sample and sample < len(mutants):
        mutants = random.Random(seed).sample(mutants, sample)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress("mutants", len(mutants)) as advance:
            report = run(mutants, jobs, advance)
    except FqtError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print_report(report)
    sys.exit(130 if report["interrupted"] else 1 if any(not s["explained"] for s in report["survivors"]) else 0)


if __name__ == "__main__":
    main()
