# SPDX-License-Identifier: Apache-2.0
"""Progress bars of runs on standard error: one of all, and one of each under way."""

from typing import Any

from fqt_ref.experiments.description import DONE, Record, Run, describe
from fqt_ref.experiments.runner import Watch

SHOWN = ("network", "model", "data", "family", "config", "core", "seed")  # of a description, in a bar's title


def title(description: dict[str, Any]) -> str:
    """A run in a few words."""
    if "change" in description:
        return f"without '{description['change']['name']}': {title(description['run'])}"
    words = [str(description[name]) for name in SHOWN if name in description]
    inner = description
    while "data" not in inner and "source" in inner:
        inner = inner["source"]
    if inner is not description:
        words.insert(0, inner["data"])
    rate = description.get("training", {}).get("lambda_min", 1.0)
    return " ".join([description["kind"].lower(), *words, *([f"lambda {rate}"] if rate != 1.0 else [])])


class Bars(Watch):
    """A context manager that shows them."""

    def __init__(self, runs: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[text]}"))  # fmt: skip
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.all = self.progress.add_task(f"{runs} runs", total=max(runs, 1), text="")
        self.tasks: dict[str, Any] = {}
        self.said: set[str] = set()  # reasons

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def started(self, key: str, run: Run) -> None:
        self.tasks[key] = self.progress.add_task(title(describe(run)), total=1.0, text="")

    def advanced(self, key: str, share: float, text: str) -> None:
        self.progress.update(self.tasks[key], advance=share, text=text)

    def ended(self, key: str, record: Record) -> None:
        self.progress.advance(self.all)
        if key in self.tasks:
            self.progress.remove_task(self.tasks.pop(key))
        text = None
        if record.status == DONE and "test_accuracy" in record.result:
            text = f"{record.result['test_accuracy']:.4f}, {record.seconds:.0f} s"
        elif record.status != DONE and record.reason not in self.said:
            self.said.add(record.reason)
            text = f"{record.status}: {record.reason}"
        if text is not None:
            self.progress.console.print(f"{title(record.description)}: {text}", markup=False, highlight=False, soft_wrap=True)
