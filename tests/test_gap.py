# SPDX-License-Identifier: Apache-2.0
"""The table and picture of what uint8 loses to float32: of made-up accuracies, figures reckoned by hand."""

import pytest

from fqt_ref.experiments.accuracy import Entry
from fqt_ref.experiments.catalogue import find
from fqt_ref.experiments.description import DONE, NO_DATA, Record, key_of
from fqt_ref.experiments.gap import COMPARED, Gaps, gap_of
from fqt_ref.experiments.report import draw
from fqt_ref.experiments.scratch import FromScratch, Task

PART = FromScratch("", "", "", tasks=(Task("digits", 1), Task("nosuch", 1)), configs=COMPARED, lambdas=(1.0, 0.1), seeds=2)
GAPS = Gaps("gap", "Gaps", "", parts=(("scratch", PART),), goal=((1.0, 0.5), (0.1, 1.0)))
ACCURACIES = {("uint8", 1.0): (0.900, 0.910), ("float32", 1.0): (0.910, 0.912), ("uint8", 0.1): (0.8, 0.8), ("float32", 0.1): (0.8, 0.805)}


def found(run):
    status, result = (NO_DATA, {}) if run.data == "nosuch" else (DONE, {})
    if status == DONE:
        result = {"test_accuracy": ACCURACIES[run.config, run.training.lambda_min][run.seed]}
    return Record(key_of(run), {}, status, "", result, "c0ffee", {}, "a machine", "2026-01-01T00:00:00+00:00", 1.5)


def test_difference_and_its_standard_error():
    gap = gap_of(Entry([90.0, 92.0], 2, []), Entry([95.0, 95.0, 98.0], 3, []))
    assert gap.points == pytest.approx(91 - 96)
    assert gap.error == pytest.approx((2 / 2 + 3 / 3) ** 0.5)


def test_table_tells_what_meets_the_goal():
    (table,) = GAPS.tables(found)
    assert table.columns == ["", "lambda_min 1.0, at most 0.5 less", "lambda_min 0.1, at most 1 less"]
    assert table.rows[0] == ["scratch: digits", "-0.60 ± 0.51 (n=2, 2): missed", "-0.25 ± 0.25 (n=2, 2): met"]
    assert table.rows[1] == ["scratch: nosuch", "data not found", "data not found"]


def test_picture(tmp_path):
    (chart,) = GAPS.charts(found)
    draw(chart, tmp_path / "gap.png")
    assert (tmp_path / "gap.png").stat().st_size > 5000
    assert GAPS.charts(lambda run: None) == []


def test_nothing_is_run_for_it_alone():
    keys = {key_of(cell.run) for cell in find("gap").cells()}
    others = {key_of(cell.run) for name in ("fig6a", "fig6c", "scratch-lambda") for cell in find(name).cells()}
    assert keys < others
