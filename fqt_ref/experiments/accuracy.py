# SPDX-License-Identifier: Apache-2.0
"""Experiments whose figure is a test accuracy: mean and spread over seeds in a table, as bars, and over the epochs."""

import statistics
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any, NamedTuple

from fqt_ref.experiments.description import DONE, Cell, Chart, Experiment, Found, Table, why_missing

COLOURS = {"uint8": "tab:blue", "mixed": "tab:orange", "float32": "tab:green", "baseline": "tab:red"}  # as in the paper's Fig. 4
LABEL_WIDTH = 45  # characters of a row's name beside its bars


class Entry(NamedTuple):
    """What a cell of a table holds. accuracies: in %, one a seed; wanted: how many there should be; missing: why others are not there."""

    accuracies: list[float]
    wanted: int
    missing: list[str]

    @property
    def mean(self) -> float:
        """In %."""
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds, 0 of a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def text(self, paper: float | None) -> str:
        """As the table has it, with what the paper has measured."""
        printed = "" if paper is None else f"; paper {paper:g}"
        if not self.accuracies:
            return self.missing[0] + printed
        count = f"n={len(self.accuracies)}" + (f" of {self.wanted}" if len(self.accuracies) < self.wanted else "")
        spread = f" ± {self.deviation:.2f}" if len(self.accuracies) > 1 else ""
        return f"{self.mean:.2f}{spread} ({count}){printed}"


def entries(cells: list[Cell], found: Found) -> dict[str, dict[str, Entry]]:
    """Row -> column -> entry, in the order of the cells."""
    made: dict[str, dict[str, Entry]] = {}
    for cell in cells:
        row = made.setdefault(cell.row, {})
        entry = row.get(cell.column, Entry([], 0, []))
        record = found(cell.run)
        if record is not None and record.status == DONE:
            entry.accuracies.append(100 * record.result["test_accuracy"])
        else:
            entry.missing.append(why_missing(cell, record))
        row[cell.column] = entry._replace(wanted=entry.wanted + 1)
    return made


@dataclass(frozen=True)
class Accuracy(Experiment):
    """paper: (row, column, %) that the paper or its authors' poster prints; curves: the rows whose epochs are drawn, too."""

    paper: tuple[tuple[str, str, float], ...] = ()
    curves: tuple[str, ...] = ()

    def tables(self, found: Found) -> list[Table]:
        """One table of test accuracies in %."""
        made, printed = entries(self.cells(), found), {(row, column): value for row, column, value in self.paper}
        columns = list(dict.fromkeys(column for row in made.values() for column in row))
        rows = [
            [name, *(row[column].text(printed.get((name, column))) if column in row else "" for column in columns)]
            for name, row in made.items()
        ]
        return [Table("test accuracy in %, mean ± standard deviation over the seeds", ["", *columns], rows)]

    def charts(self, found: Found) -> list[Chart]:
        made = {name: {c: e for c, e in row.items() if e.accuracies} for name, row in entries(self.cells(), found).items()}
        made = {name: row for name, row in made.items() if row}
        if not made:
            return []
        printed = {(row, column): value for row, column, value in self.paper}
        height = 2 + 0.2 * sum(len(row) for row in made.values())
        bars = Chart("accuracy", self.title, lambda axes: draw_bars(axes, made, printed), height)
        return [bars, *(chart for name in self.curves if name in made for chart in self.curve_charts(name, found))]

    def curve_charts(self, name: str, found: Found) -> list[Chart]:
        """Loss and accuracy over the epochs of a row."""
        histories: dict[str, list[list[dict[str, Any]]]] = {}
        for cell in self.cells():
            record = found(cell.run)
            if cell.row == name and record is not None and record.status == DONE and "history" in record.result:
                histories.setdefault(cell.column, []).append(record.result["history"])
        title = {"loss": "training loss (nats)", "test_accuracy": "test accuracy (%)"}
        return [
            Chart(
                f"{figure}-{name.split(',')[0].split(' ')[0]}", f"{name}: {text}", partial(draw_curves, histories=histories, figure=figure)
            )
            for figure, text in title.items()
        ]


def draw_bars(axes: Any, made: dict[str, dict[str, Entry]], printed: dict[tuple[str, str], float]) -> None:
    """A group of bars a row, a bar a column; black lines are standard deviations, diamonds what the paper has measured."""
    columns = list(dict.fromkeys(column for row in made.values() for column in row))
    width = 0.8 / len(columns)
    for at, column in enumerate(columns):
        rows = [(number + (at - (len(columns) - 1) / 2) * width, row[column]) for number, row in enumerate(made.values()) if column in row]
        lengths, errors = [entry.mean for _, entry in rows], [entry.deviation or float("nan") for _, entry in rows]
        places = [place for place, _ in rows]
        axes.barh(places, lengths, width, xerr=errors, capsize=2, label=column, color=COLOURS.get(column))
        for name, (place, _) in zip((name for name, row in made.items() if column in row), rows, strict=True):
            if (name, column) in printed:
                axes.plot(printed[name, column], place, "D", color="black", markersize=4)
    axes.set_yticks(range(len(made)), [fill(row, LABEL_WIDTH) for row in made])
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy (%)" + ("; diamonds: the paper" if any((name, c) in printed for name in made for c in columns) else ""))
    axes.set_xlim(0, 100)
    axes.legend(frameon=False, ncols=len(columns), loc="lower center", bbox_to_anchor=(0.5, 1))


def draw_curves(axes: Any, histories: dict[str, list[list[dict[str, Any]]]], figure: str) -> None:
    """The mean over the seeds by epoch, a line a column, between the least and the greatest."""
    scale = 1 if figure == "loss" else 100
    from matplotlib.ticker import MaxNLocator

    for column, runs in histories.items():
        by_epoch = [[scale * epoch[figure] for epoch in epochs] for epochs in zip(*runs, strict=True)]
        numbers = range(1, len(by_epoch) + 1)
        axes.plot(numbers, [statistics.mean(values) for values in by_epoch], "o-", markersize=3, label=column)
        axes.fill_between(numbers, [min(values) for values in by_epoch], [max(values) for values in by_epoch], alpha=0.2)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("training loss (nats)" if figure == "loss" else "test accuracy (%)")
    axes.legend(frameon=False)
