# SPDX-License-Identifier: Apache-2.0
"""Where every buffer lives: offsets in one arena, so that buffers which live at the same time never share a byte."""

import random
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import reduce
from math import gcd, inf
from time import monotonic
from typing import NamedTuple

METHODS = ("size", "greedy", "climb", "milp")  # stages of plan(), cheapest first
# Of 48 training graphs that no greedy order solved, ten climbs of 300 moves solved 47, one climb of 3000 solved 41 in 2.6 times the time.
CLIMB_MOVES = 300
ROUNDS = 2  # climbs from each greedy order
MOST_PAIRS = 20_000  # of overlapping buffers that the solver is given: it can't keep its time limit while it builds larger models


class Buffer(NamedTuple):
    """A tensor in the arena: size in bytes (see aligned), lives from step `first` through step `last` of the schedule."""

    name: str
    size: int
    first: int
    last: int
    kind: str = ""  # what plot_memory colours by


class Plan(NamedTuple):
    """Offsets (bytes, in the order of the buffers), size of the arena and its lower bound (bytes)."""

    offsets: tuple[int, ...]
    size: int
    lower_bound: int
    method: str  # the member of METHODS that found it

    @property
    def optimal(self) -> bool:
        """The size equals the lower bound. (A plan above the bound may be the best there is; nothing proves it then.)"""
        return self.size == self.lower_bound


def aligned(size: int, alignment: int = 4) -> int:
    """Size (bytes) rounded up to a multiple of the alignment (bytes); raises ValueError if one of them makes no sense."""
    if size < 0 or alignment < 1:
        raise ValueError(f"size {size}, alignment {alignment}: a size is at least 0, an alignment at least 1")
    return -(-size // alignment) * alignment


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Most bytes live at once. Raises ValueError for a negative size or a life that ends before it begins."""
    changes: dict[int, int] = {}
    for b in buffers:
        if b.size < 0 or b.last < b.first:
            raise ValueError(f"buffer {b.name!r}: size {b.size}, lives from {b.first} through {b.last}")
        changes[b.first] = changes.get(b.first, 0) + int(b.size)
        changes[b.last + 1] = changes.get(b.last + 1, 0) - int(b.size)
    live = most = 0
    for time in sorted(changes):
        live += changes[time]
        most = max(most, live)
    return most


def live_together(a: Buffer, b: Buffer) -> bool:
    """Is there a step at which both live?"""
    return a.first <= b.last and b.first <= a.last


def check(buffers: Sequence[Buffer], plan: Plan) -> None:
    """Raises ValueError naming the buffers if two share a byte at the same time, or if one lies outside [0, plan.size)."""
    if len(plan.offsets) != len(buffers):
        raise ValueError(f"{len(plan.offsets)} offsets for {len(buffers)} buffers")
    spans = [(offset, offset + b.size, b) for offset, b in zip(plan.offsets, buffers, strict=True)]
    for low, high, b in spans:
        if low < 0 or high > plan.size:
            raise ValueError(f"buffer {b.name!r} at [{low}, {high}) is outside the plan's {plan.size} bytes")
    spans = sorted((span for span in spans if span[2].size), key=lambda span: span[0])
    for i, (low, high, b) in enumerate(spans):
        for other_low, other_high, other in spans[i + 1 :]:
            if other_low >= high:
                break
            if live_together(b, other):
                raise ValueError(f"buffers {b.name!r} at [{low}, {high}) and {other.name!r} at [{other_low}, {other_high}) overlap")


class FirstFit:
    """Places buffers one after the other, each at the lowest offset that is free during its whole life.

    Some order leads to a best plan: any plan's buffers, placed by their offsets, only move down. So an order is all there is to search.
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.sizes = [int(b.size) for b in buffers]
        self.rivals = [bytes(live_together(a, b) for b in buffers) for a in buffers]

    def place(self, order: list[int], offsets: list[int], start: int, limit: float) -> float:
        """Place order[start:]; offsets of order[:start] are given, the others are written. Returns the size.

        Returns inf as soon as the size is known to exceed the limit; offsets are then incomplete.
        """
        sizes, rivals = self.sizes, self.rivals
        placed = sorted(order[:start], key=offsets.__getitem__)
        lows = [offsets[i] for i in placed]
        most = max((offsets[i] + sizes[i] for i in placed), default=0)
        for i in order[start:]:
            size, rival, end = sizes[i], rivals[i], 0
            for other in placed:
                if rival[other]:
                    low = offsets[other]
                    if low - end >= size:
                        break
                    low += sizes[other]
                    if low > end:
                        end = low
            if end + size > most:
                most = end + size
                if most > limit:
                    return inf
            offsets[i] = end
            position = bisect(lows, end)
            lows.insert(position, end)
            placed.insert(position, i)
        return most


class Search:
    """The best plan so far, and what says when to stop."""

    def __init__(self, buffers: Sequence[Buffer], bound: int, deadline: float) -> None:
        self.fit, self.bound, self.deadline = FirstFit(buffers), bound, deadline
        self.offsets: list[int] = []
        self.size: float = inf
        self.method = METHODS[0]

    def done(self) -> bool:
        """Nothing is left to find, or no time to find it."""
        return self.size == self.bound or monotonic() >= self.deadline

    def keep(self, offsets: list[int], size: float, method: str) -> None:
        """Keep a plan that is better than the best so far."""
        if size < self.size:
            self.offsets, self.size, self.method = offsets, size, method

    def try_order(self, order: list[int], method: str) -> float:
        """Place an order and keep the plan if it is better. Returns its size."""
        offsets = [0] * len(self.fit.sizes)
        size = self.fit.place(order, offsets, 0, inf)
        self.keep(offsets, size, method)
        return size


def greedy_orders(buffers: Sequence[Buffer]) -> list[list[int]]:
    """Orders of the buffers that are not empty; the first is by size, as TFLM's greedy planner has it."""

    def life(b: Buffer) -> int:
        return b.last - b.first + 1

    keys: list[Callable[[Buffer], tuple[int, ...]]] = [
        lambda b: (-b.size, b.first),
        lambda b: (-b.size * life(b),),
        lambda b: (-life(b), -b.size),
        lambda b: (b.first, -b.last, -b.size),
        lambda b: (-b.last, b.first, -b.size),
    ]
    filled = [i for i, b in enumerate(buffers) if b.size]
    return [sorted(filled, key=lambda i: key(buffers[i])) for key in keys]


def climb(search: Search, order: list[int], rng: random.Random) -> None:
    """Local search from an order: moves and swaps that let no more bytes stick out above the lower bound."""
    fit, bound, n = search.fit, search.bound, len(order)
    offsets = [0] * len(fit.sizes)
    size = fit.place(order, offsets, 0, inf)

    def above_bound(order: list[int], offsets: list[int]) -> list[int]:
        return [max(0, offsets[i] + fit.sizes[i] - bound) for i in order]

    above = above_bound(order, offsets)
    for _ in range(CLIMB_MOVES):
        if search.done():
            return
        if rng.random() < 0.5:  # one that sticks out goes earlier
            late = rng.choice([position for position in range(n) if above[position]])
            early = rng.randrange(late + 1)
        else:
            early, late = sorted((rng.randrange(n), rng.randrange(n)))
        trial, trial_offsets = list(order), list(offsets)
        if rng.random() < 0.5:
            trial.insert(early, trial.pop(late))
        else:
            trial[early], trial[late] = trial[late], trial[early]
        trial_size = fit.place(trial, trial_offsets, early, limit=size)
        if trial_size == inf:
            continue
        trial_above = above_bound(trial, trial_offsets)
        if trial_size < size or sum(trial_above) <= sum(above):
            order, offsets, size, above = trial, trial_offsets, trial_size, trial_above
            search.keep(offsets, size, "climb")


def solve(search: Search) -> None:
    """Mixed-integer program: which of two buffers that live together is the lower one? HiGHS, to the deadline."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    fit = search.fit
    filled = [i for i, size in enumerate(fit.sizes) if size]
    unit = reduce(gcd, (fit.sizes[i] for i in filled))  # first fit puts everything at sums of sizes
    sizes = np.array([fit.sizes[i] // unit for i in filled], float)
    pairs = np.array([(i, j) for i in range(len(filled)) for j in range(i) if fit.rivals[filled[i]][filled[j]]], int).reshape(-1, 2)
    if len(pairs) > MOST_PAIRS:
        return
    n, m = len(filled), len(pairs)
    bound, most = search.bound // unit, int(search.size) // unit - 1
    one, two, rows, ones = pairs[:, 0], pairs[:, 1], np.arange(m), np.ones(m)
    # Variables: n offsets, m choices (1: `one` is below `two`), the plan's size. A choice of 0 or 1 makes one of its two rows void.
    above = np.concatenate([rows, rows, rows]), np.concatenate([one, two, n + rows]), np.concatenate([ones, -ones, most * ones])
    below = m + above[0], above[1], -above[2]
    top = np.tile(2 * m + np.arange(n), 2), np.concatenate([np.arange(n), np.full(n, n + m)]), np.repeat([1.0, -1.0], n)
    row, column, value = (np.concatenate(parts) for parts in zip(above, below, top, strict=True))
    matrix = coo_array((value, (row, column)), shape=(2 * m + n, n + m + 1)).tocsr()
    right = np.concatenate([most - sizes[one], -sizes[two], -sizes])
    lowest, highest = np.concatenate([np.zeros(n + m), [bound]]), np.concatenate([most - sizes, ones, [most]])
    if m:
        highest[n] = 0  # a plan upside down is a plan
    answer = milp(
        np.concatenate([np.zeros(n + m), [1]]),
        integrality=np.concatenate([np.zeros(n), ones, [0]]),
        bounds=Bounds(lowest, highest),
        constraints=LinearConstraint(matrix, -np.inf, right),
        options={"time_limit": max(0.0, search.deadline - monotonic()), "mip_rel_gap": 0.0},
    )
    if answer.x is not None:  # its offsets are rounded floats: first fit in their order makes them exact, and no higher
        search.try_order([filled[k] for k in np.argsort(answer.x[:n], kind="stable")], "milp")


def plan(buffers: Sequence[Buffer], seconds: float = 3.0, seed: int = 0, until: str = "milp") -> Plan:
    """The smallest arena found: greedy orders, then local search, then a solver; stops as soon as the lower bound is reached.

    seconds: when the later stages give up; the greedy orders are always tried. Up to there one seed makes one plan.
    until: the last stage allowed, a member of METHODS. Offsets are sums of sizes, so aligned sizes make aligned offsets.
    Raises ValueError for a negative size, a life that ends before it begins, or an unknown stage.
    """
    if until not in METHODS:
        raise ValueError(f"until {until!r}: one of {', '.join(METHODS)}")
    stages = METHODS[: METHODS.index(until) + 1]
    search = Search(buffers, lower_bound(buffers), monotonic() + seconds)
    orders = greedy_orders(buffers)
    tried = [(search.try_order(orders[0], "size"), orders[0])]
    if "greedy" in stages and search.size > search.bound:
        tried += [(search.try_order(order, "greedy"), order) for order in orders[1:]]
    if "climb" in stages:
        tried.sort(key=lambda size_order: size_order[0])
        rng = random.Random(seed)
        for _, order in tried * ROUNDS:
            if not search.done():
                climb(search, order, rng)
    if "milp" in stages and not search.done():
        solve(search)
    return Plan(tuple(search.offsets), int(search.size), search.bound, search.method)
