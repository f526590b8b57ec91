# SPDX-License-Identifier: Apache-2.0
"""Memory plans: no two living buffers share a byte, no plan is below its bound, each stage earns its place."""

import builtins
import random
import sys
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqt_ref.errors import FqtError
from fqt_ref.memory_plan import METHODS, Buffer, Plan, Search, aligned, check, greedy_orders, lower_bound, plan, solve

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
from bench_memory_plan import training_graph

LONG = 600.0  # seconds: the stages end by themselves


def buffers_of(*spans):
    """Buffers a, b, c ... from (size, first, last)."""
    return [Buffer(chr(ord("a") + i), *span) for i, span in enumerate(spans)]


# Each is solved by its stage (seed 0) and by none before it.
SOLVED_BY = {
    "greedy": buffers_of((3, 0, 1), (2, 0, 1), (3, 0, 2), (4, 2, 2)),
    "climb": buffers_of((1, 2, 4), (3, 4, 4), (3, 0, 0), (2, 0, 2)),
    "milp": buffers_of(
        (64, 6, 14), (81, 9, 13), (97, 4, 6), (52, 15, 15), (92, 4, 9), (42, 5, 12), (57, 7, 8), (30, 1, 8), (53, 0, 4),
        (59, 8, 11), (66, 11, 15), (80, 10, 15), (38, 5, 10), (34, 4, 8), (70, 5, 12), (74, 1, 1), (37, 15, 15), (78, 5, 5),
    ),
}  # fmt: skip


def some_buffers(largest):
    """Up to 12 buffers; sizes of a few bytes are as likely as large ones, for they leave more ties and empty ones."""
    size, first, steps = st.integers(0, 3) | st.integers(0, largest), st.integers(-3, 9), st.integers(0, 6)
    return st.lists(st.builds(lambda s, f, n: Buffer(f"{s} from {f}", s, f, f + n), size, first, steps), max_size=12)


@given(some_buffers(10**9), st.sampled_from(METHODS[:3]), st.integers(0, 3))
@settings(deadline=None)
def test_plans_never_overlap_and_never_pass_the_bound(buffers, until, seed):
    result = plan(buffers, LONG, seed, until)
    check(buffers, result)
    steps = range(-3, 16)
    live = [sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps]
    assert result.lower_bound == lower_bound(buffers) == max(live)
    assert result.size == max((offset + b.size for offset, b in zip(result.offsets, buffers, strict=True)), default=0)
    assert result.size >= result.lower_bound
    assert result.optimal == (result.size == max(live))
    assert METHODS.index(result.method) <= METHODS.index(until)


@given(some_buffers(1000))
@settings(deadline=None, max_examples=20)
def test_the_solver_makes_valid_plans_too(buffers):
    search = Search(buffers, lower_bound(buffers), monotonic() + LONG)
    search.keep([sum(b.size for b in buffers[:i]) for i in range(len(buffers))], sum(b.size for b in buffers), "size")
    before = search.size
    if search.size > search.bound:
        solve(search)
    result = Plan(tuple(search.offsets), int(search.size), search.bound, search.method)
    check(buffers, result)
    assert result.lower_bound <= result.size <= before
    assert result.size <= plan(buffers, LONG, until="climb").size


@pytest.mark.parametrize("method", SOLVED_BY)
def test_each_stage_solves_what_the_ones_before_do_not(method):
    buffers = SOLVED_BY[method]
    before = plan(buffers, LONG, until=METHODS[METHODS.index(method) - 1])
    after = plan(buffers, LONG, until=method)
    check(buffers, before)
    check(buffers, after)
    assert before.size > before.lower_bound and not before.optimal
    assert after.size == after.lower_bound and after.optimal
    assert after.method == method
    assert plan(buffers, LONG) == after  # no later stage touches it


def test_a_stage_never_makes_a_plan_worse():
    for seed in range(6):
        buffers = training_graph(random.Random(seed))
        sizes = [plan(buffers, LONG, until=until).size for until in METHODS[:3]]
        assert sizes == sorted(sizes, reverse=True)


def test_training_graphs_are_planned_and_aligned():
    for seed in range(6):
        buffers = training_graph(random.Random(seed))
        result = plan(buffers, LONG, until="climb")
        check(buffers, result)
        assert all(offset % 4 == 0 for offset in result.offsets)


def test_one_seed_one_plan():
    buffers = SOLVED_BY["milp"]
    for seed in (0, 1):
        assert plan(buffers, LONG, seed, "climb") == plan(buffers, LONG, seed, "climb")
    assert plan(buffers, LONG, 0, "climb").offsets != plan(buffers, LONG, 1, "climb").offsets
    assert plan(buffers, LONG, 0) == plan(buffers, LONG, 0)


def test_without_time_the_greedy_plan_stays():
    buffers = SOLVED_BY["milp"]
    assert plan(buffers, seconds=0) == plan(buffers, LONG, until="greedy")


def test_hazard_a_solver_without_an_answer_keeps_the_best_plan(monkeypatch):
    import scipy.optimize

    monkeypatch.setattr(scipy.optimize, "milp", lambda *_, **__: scipy.optimize.OptimizeResult(x=None, status=1))
    buffers = SOLVED_BY["milp"]
    assert plan(buffers, LONG) == plan(buffers, LONG, until="climb")


def test_a_model_too_large_for_the_solver_is_not_built(monkeypatch):
    monkeypatch.setattr("fqt_ref.memory_plan.MOST_PAIRS", 10)
    buffers = SOLVED_BY["milp"]
    assert plan(buffers, LONG) == plan(buffers, LONG, until="climb")


def test_no_buffers():
    assert plan([]) == Plan((), 0, 0, "size")
    assert plan([]).optimal
    check([], plan([]))


def test_one_buffer():
    assert plan(buffers_of((12, 3, 3))) == Plan((0,), 12, 12, "size")


@pytest.mark.parametrize("until", METHODS)
def test_empty_buffers_take_no_room(until):
    assert plan(buffers_of((0, 0, 5), (0, 2, 2)), until=until).size == 0
    buffers = [*SOLVED_BY["climb"], Buffer("empty", 0, 0, 9)]
    result = plan(buffers, LONG, until=until)
    check(buffers, result)
    assert result.size == plan(SOLVED_BY["climb"], LONG, until=until).size


def test_buffers_that_meet_in_one_step_live_together():
    assert plan(buffers_of((4, 0, 1), (8, 1, 2))).size == 12
    assert plan(buffers_of((4, 0, 1), (8, 2, 3))).size == 8


def test_check_names_the_buffers_of_a_corrupted_plan():
    buffers = [Buffer("map", 8, 0, 2), Buffer("error", 8, 2, 3), Buffer("later", 16, 4, 4)]
    good = plan(buffers)
    check(buffers, good)
    for offsets in [(0, 7, 0), (7, 0, 0), (4, 4, 0)]:
        with pytest.raises(ValueError, match=r"map.*error|error.*map"):
            check(buffers, good._replace(offsets=offsets))
    with pytest.raises(ValueError, match=r"'later'.*outside"):
        check(buffers, good._replace(offsets=(0, 8, 1)))
    with pytest.raises(ValueError, match=r"'map'.*outside"):
        check(buffers, good._replace(offsets=(-1, 8, 0)))
    with pytest.raises(ValueError, match="2 offsets for 3 buffers"):
        check(buffers, good._replace(offsets=(0, 8)))


def test_hazard_check_sees_behind_a_short_neighbour():
    # "long" overlaps "last", with another buffer between them in address order.
    buffers = [Buffer("long", 10, 0, 0), Buffer("other time", 1, 1, 1), Buffer("last", 2, 0, 0)]
    with pytest.raises(ValueError, match=r"'long'.*'last'"):
        check(buffers, Plan((0, 1, 9), 12, 12, "size"))


@pytest.mark.parametrize("bad", [Buffer("bad", -1, 0, 0), Buffer("bad", 4, 2, 1)])
def test_nonsense_is_refused(bad):
    for function in (lower_bound, plan):
        with pytest.raises(ValueError, match="'bad'"):
            function([bad])


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="magic"):
        plan([], until="magic")


def test_aligned():
    assert [aligned(n) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]
    assert aligned(9, 8) == 16
    for size, alignment in ((-1, 4), (1, 0)):
        with pytest.raises(ValueError):
            aligned(size, alignment)


def test_greedy_orders_hold_every_filled_buffer_once():
    buffers = buffers_of((3, 0, 1), (0, 0, 1), (5, 1, 2))
    assert all(sorted(order) == [0, 2] for order in greedy_orders(buffers))


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from fqt_ref.plot_memory import plot_memory

    for name, buffers in (("graph", training_graph(random.Random(0))), ("none", [])):
        path = tmp_path / f"{name}.png"
        plot_memory(buffers, plan(buffers, until="greedy"), path)
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FqtError, match="cannot write"):
        plot_memory([], plan([]), tmp_path / "no folder" / "a.png")


def test_picture_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    from fqt_ref.plot_memory import plot_memory

    imported = builtins.__import__

    def without(name, *rest):
        if name == "matplotlib":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FqtError, match=r"fqt\[plot\]"):
        plot_memory([], plan([]), tmp_path / "a.png")
