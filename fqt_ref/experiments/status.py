# SPDX-License-Identifier: Apache-2.0
"""How far an experiment is."""

from typing import Any

from fqt_ref.experiments.description import DONE, FAILED, NO_DATA, Experiment, Record
from fqt_ref.experiments.runner import with_starts


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def status(experiment: Experiment, records: dict[str, Record]) -> dict[str, Any]:
    """Counts of an experiment's runs, what the engine lacks, seconds of what is done and an estimate of what is not.

    The estimate takes each open run for as long as the mean of those of its kind and data set that are done; None if there are none.
    """
    runs = with_starts(cell.run for cell in experiment.cells())
    counts = {DONE: 0, NO_DATA: 0, FAILED: 0}
    took: dict[tuple[type, str | None], list[float]] = {}
    left = []
    for key, run in runs.items():
        record = records.get(key)
        if record is not None:
            counts[record.status] += 1
        if record is not None and record.status == DONE:
            took.setdefault((type(run), run.dataset), []).append(record.seconds)
        elif run.lacks() is None and (record is None or record.status != NO_DATA):
            left.append((type(run), run.dataset))
    known = [took[kind] for kind in left if kind in took]
    return {
        "name": experiment.name,
        "title": experiment.title,
        "runs": len(runs),
        **{key.replace(" ", "_"): count for key, count in counts.items()},
        "lacks": sorted({text for run in runs.values() if (text := run.lacks())}),
        "seconds_done": sum(sum(times) for times in took.values()),
        "seconds_left": sum(sum(times) / len(times) for times in known) if len(known) == len(left) else None,
    }


def table(found: list[dict[str, Any]]) -> list[str]:
    """One line an experiment, one more for what the engine lacks."""
    lines = []
    for one in found:
        left = "?" if one["seconds_left"] is None else duration(one["seconds_left"])
        state = f"{one['done']}/{one['runs']} done" + (f", {one['data_not_found']} without data" if one["data_not_found"] else "")
        state += f", {one['failed']} failed" if one["failed"] else ""
        lines.append(f"{one['name']:<15} {one['title']}")
        lines.append(f"{'':<15} {state}; took {duration(one['seconds_done'])}, left {left}")
        lines += [f"{'':<15} waits: {text}" for text in one["lacks"]]
    return lines
