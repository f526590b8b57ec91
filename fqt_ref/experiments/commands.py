# SPDX-License-Identifier: Apache-2.0
"""The commands fqt experiment list, run, report."""

import sys
from pathlib import Path

import click

from fqt_ref.errors import FqtError
from fqt_ref.terminal import COMPILING, FILE, data_dir_option, json_option, say, show

ROOT = Path(__file__).resolve().parents[2]
store_option = click.option(
    "--store", type=FILE, default=ROOT / "docs" / "results.sqlite", show_default="docs/results.sqlite", help="SQLite file of the runs."
)


@click.group()
def experiment() -> None:
    """The paper's tables and figures: what there is, perform it, report it."""


def chosen(names: tuple[str, ...]) -> list:
    """The experiments of these names; "all", or no name: all."""
    from fqt_ref.experiments.catalogue import EXPERIMENTS, find

    return list(EXPERIMENTS) if names in ((), ("all",)) else [find(name) for name in dict.fromkeys(names)]


@experiment.command("list")
@store_option
@json_option
def list_(store, as_json) -> None:
    """The experiments, how many of their runs are done, and how long these took and the others will take."""
    from fqt_ref.experiments.status import status, table
    from fqt_ref.experiments.store import Store

    records = Store(store, create=False).all() if store.exists() else {}
    result = [status(one, records) for one in chosen(())]
    show(as_json, {"store": str(store), "experiments": result}, lambda: table(result))


@experiment.command()
@click.argument("names", nargs=-1, required=True)
@data_dir_option
@store_option
@click.option("--jobs", type=click.IntRange(1, 256), help="Runs at a time on this machine [default: 1].")
@click.option("--scheduler", help="Address of a Dask scheduler that performs the runs, for example tcp://host:8786 (extra: dask).")
@click.option("--seeds", type=click.IntRange(1), help="Only the first so many seeds.")
@click.option("--only", default="", help="Only runs with this text in their row or column, for example 'cifar10, uint8'.")
@json_option
def run(names, data_dir, store, jobs, scheduler, seeds, only, as_json) -> None:
    """Perform experiments, or all; what is done is not done again. Ctrl-C loses only the runs under way. Exit code 1 if a run failed."""
    from fqt_ref.experiments.description import DONE, FAILED, NO_DATA
    from fqt_ref.experiments.local import Local
    from fqt_ref.experiments.progress import Bars
    from fqt_ref.experiments.runner import Pool, Runner, open_runs, with_starts
    from fqt_ref.experiments.store import Store

    if jobs is not None and scheduler is not None:
        raise FqtError("--jobs is for this machine and --scheduler for a cluster, which knows its own workers: choose one")
    if data_dir is not None and not data_dir.is_dir():
        raise FqtError(f"the data folder {data_dir} does not exist (or is a file); name a folder that exists")
    cells = [cell for one in chosen(names) for cell in one.cells()]
    wanted = [
        cell.run for cell in cells if only in f"{cell.row}, {cell.column}" and (seeds is None or getattr(cell.run, "seed", 0) < seeds)
    ]
    if not wanted:
        raise FqtError(f"no run has '{only}' in its row or column: `fqt experiment report` shows these")
    kept = Store(store)
    for text in sorted({text for run in wanted if (text := run.lacks())}):
        say(f"left out: {text}")
    undone = open_runs(wanted, kept)
    say(f"{len(undone)} runs to perform, {sum(run.lacks() is None for run in with_starts(wanted).values()) - len(undone)} done before")
    pool: Pool
    if scheduler is None:
        pool = Local(jobs or 1)
        from fqt_ref.jit import is_compiled
        from fqt_ref.train_step import train

        if not is_compiled(train):  # the runs' own processes would wait in silence
            say(COMPILING)
    else:
        from fqt_ref.experiments.cluster import Cluster

        pool = Cluster(scheduler)
    records: dict = {}
    stopped = False
    with Bars(len(undone)) as bars:
        runner = Runner(wanted, kept, pool, bars, None if data_dir is None else data_dir.resolve())
        try:
            records = runner.go()
        except KeyboardInterrupt:
            records, stopped = runner.over, True
    count = {status: sum(record.status == status for record in records.values()) for status in (DONE, NO_DATA, FAILED)}
    failures = sorted({record.reason for record in records.values() if record.status == FAILED})
    result = {"store": str(store), "runs": len(undone), **{key.replace(" ", "_"): n for key, n in count.items()}, "failures": failures,
              "stopped": stopped}  # fmt: skip
    lines = [", ".join(f"{n} {key}" for key, n in count.items()) + f"; kept in {store}", *(f"failed: {reason}" for reason in failures)]
    show(as_json, result, lambda: lines)
    if stopped:
        say(f"stopped: the {len(records)} runs that ended are kept; the same command goes on")
        sys.exit(130)
    if failures:
        sys.exit(1)


@experiment.command()
@click.argument("names", nargs=-1)
@store_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "out" / "report", show_default="out/report",
    help="Folder of results.md, results.html and the PNG files.",
)  # fmt: skip
@json_option
def report(names, store, output, as_json) -> None:
    """Tables and figures of experiments [default: all], from what has been run: results.md, one HTML page, PNG files (extra: plot)."""
    from fqt_ref.experiments.report import write_report
    from fqt_ref.experiments.store import Store

    files = write_report(chosen(names), Store(store, create=False), output)
    show(as_json, {"files": [str(path) for path in files]}, lambda: [str(path) for path in files])
