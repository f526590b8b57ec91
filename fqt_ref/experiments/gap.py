# SPDX-License-Identifier: Apache-2.0
"""What uint8 loses to float32 on each set at each update rate, beside the project's goal: other experiments' runs, compared."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from fqt_ref.experiments.accuracy import Entry, entries
from fqt_ref.experiments.description import Cell, Chart, Experiment, Found, Table
from fqt_ref.experiments.scratch import FromScratch
from fqt_ref.experiments.transfer import TransferLearning

COMPARED = ("uint8", "float32")


class Gap(NamedTuple):
    """points: mean test accuracy in % of uint8 less float32's; error: the difference's standard error."""

    points: float
    error: float


def gap_of(ours: Entry, theirs: Entry) -> Gap:
    """From the seeds of both."""
    squares = sum(entry.deviation**2 / len(entry.accuracies) for entry in (ours, theirs))
    return Gap(ours.mean - theirs.mean, math.sqrt(squares))


@dataclass(frozen=True)
class Gaps(Experiment):
    """goal: (update rate, points) that uint8 may lose there. The runs are those of `parts`, of update rates more than one."""

    parts: tuple[tuple[str, TransferLearning | FromScratch], ...] = ()
    goal: tuple[tuple[float, float], ...] = ()

    def cells(self) -> list[Cell]:
        return [cell._replace(row=f"{how}: {cell.row}") for how, part in self.parts for cell in part.cells() if cell.row.endswith(COMPARED)]

    def compared(self, found: Found) -> dict[str, dict[str, tuple[Entry, Entry]]]:
        """Set -> column -> entries of uint8 and of float32."""
        made = entries(self.cells(), found)
        names = [row.removesuffix(f", {COMPARED[0]}") for row in made if row.endswith(COMPARED[0])]
        pairs = {name: tuple(made[f"{name}, {config}"] for config in COMPARED) for name in names}
        return {name: {column: (ours[column], theirs[column]) for column in ours} for name, (ours, theirs) in pairs.items()}

    def text(self, ours: Entry, theirs: Entry, allowed: float) -> str:
        """As the table has it."""
        lacking = [entry.missing[0] for entry in (ours, theirs) if not entry.accuracies]
        if lacking:
            return lacking[0]
        gap = gap_of(ours, theirs)
        verdict = "met" if gap.points >= -allowed else "missed"
        return f"{gap.points:+.2f} ± {gap.error:.2f} (n={len(ours.accuracies)}, {len(theirs.accuracies)}): {verdict}"

    def tables(self, found: Found) -> list[Table]:
        """A row a set, a column an update rate."""
        allowed = {f"lambda_min {rate}": points for rate, points in self.goal}
        rows = [[name, *(self.text(*row[column], allowed[column]) for column in allowed)] for name, row in self.compared(found).items()]
        title = "points of test accuracy that uint8 has more than float32, ± the standard error of the difference, beside the goal"
        return [Table(title, ["", *(f"{column}, at most {points:g} less" for column, points in allowed.items())], rows)]

    def charts(self, found: Found) -> list[Chart]:
        """The same as points."""
        gaps: dict[str, dict[str, Gap]] = {}
        for name, row in self.compared(found).items():
            whole = {column: gap_of(*pair) for column, pair in row.items() if all(entry.accuracies for entry in pair)}
            if whole:
                gaps[name] = whole
        return [Chart("points", self.title, lambda axes: draw_gaps(axes, gaps, self.goal), 2 + 0.5 * len(gaps))] if gaps else []


def draw_gaps(axes: Any, gaps: dict[str, dict[str, Gap]], goal: tuple[tuple[float, float], ...]) -> None:
    """A line a set, a mark an update rate with its standard error; dashed lines are the goal."""
    for at, (rate, allowed) in enumerate(goal):
        column, colour = f"lambda_min {rate}", f"C{at}"
        marks = [(number + 0.2 * (at - 1), row[column]) for number, row in enumerate(gaps.values()) if column in row]
        places, points, errors = [place for place, _ in marks], [gap.points for _, gap in marks], [gap.error for _, gap in marks]
        axes.errorbar(points, places, xerr=errors, fmt="o", color=colour, capsize=2, label=column)
        axes.axvline(-allowed, color=colour, linestyle="--", linewidth=1)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(gaps)), list(gaps))
    axes.set_ylim(len(gaps) - 0.5, -0.5)
    axes.set_xlabel("test accuracy of uint8 less float32's (points); dashed: the goal")
    axes.legend(frameon=False, ncols=len(goal), loc="lower center", bbox_to_anchor=(0.5, 1))
