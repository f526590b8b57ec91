# SPDX-License-Identifier: Apache-2.0
"""Where a network's feature maps and errors live while it trains and while it infers (SPEC.md 14).

Buffers that may lie in place of each other are planned as one; memory_plan.py then finds offsets.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fqt_ref.memory_plan import Buffer, Plan, aligned, lower_bound, plan
from fqt_ref.network import (
    ADD,
    F32,
    HARD_SWISH,
    LAYER_TRAINABLE,
    MAX_POOL2D,
    NOWHERE,
    TENSOR_RELU,
    Network,
    carrying,
    inputs_of,
    last_readers,
)

FEATURE, ERROR = "feature", "error"


class Life(NamedTuple):
    """A buffer of tensor `tensor`: kind, bytes, first and last step, both included."""

    kind: str
    tensor: int
    size: int
    first: int
    last: int


class Schedule:
    """Steps of one training sample through a table of layers."""

    def __init__(self, layers: np.ndarray):
        self.layers, self.count = layers, len(layers)
        self.carries = carrying(layers)
        self.last_reader = last_readers(layers)
        self.readers: list[list[int]] = [[] for _ in range(len(layers) + 1)]
        for i, layer in enumerate(layers):
            for t in inputs_of(layer):
                self.readers[t].append(i)

    def weight_step(self, layer: int) -> int:
        """W(l)."""
        return self.count + 1 + 2 * (self.count - 1 - layer)

    def input_step(self, layer: int) -> int:
        """X(l)."""
        return self.weight_step(layer) + 1

    def layer_of_step(self, step: int) -> int:
        """The layer that is at work in a step; -1 in the loss step."""
        if step < self.count:
            return step
        behind = step - self.count - 1
        return self.count - 1 - behind // 2 if behind >= 0 else -1

    def trains(self, layer: int) -> bool:
        return bool(self.layers[layer]["flagset"] & LAYER_TRAINABLE)

    def feature_end(self, t: int, tensor) -> int:
        """Last step that reads tensor t's feature map while training."""
        steps = [*self.readers[t]] or [self.count]
        for i in self.readers[t]:
            if self.trains(i):
                steps.append(self.weight_step(i))
            if self.carries[t] and (tensor["flagset"] & TENSOR_RELU or self.layers[i]["op"] in (MAX_POOL2D, HARD_SWISH)):
                steps.append(self.input_step(i))
        return max(steps)

    def error_life(self, t: int) -> tuple[int, int]:
        """First and last step of the error at tensor t."""
        first = self.input_step(self.last_reader[t]) if self.readers[t] else self.count
        sends = any(self.carries[s] for s in inputs_of(self.layers[t - 1]))
        return first, self.input_step(t - 1) if sends else self.weight_step(t - 1)


def tensor_bytes(tensor) -> int:
    """Bytes of a tensor's feature map or error."""
    return int(tensor["h"]) * int(tensor["w"]) * int(tensor["c"]) * (4 if tensor["type"] == F32 else 1)


def training_lives(tensors: np.ndarray, layers: np.ndarray) -> list[Life]:
    """The buffers of the training arena; none if nothing is trained."""
    schedule = Schedule(layers)
    if not any(schedule.carries):
        return []
    lives = [Life(FEATURE, t, tensor_bytes(tensors[t]), t - 1, schedule.feature_end(t, tensors[t])) for t in range(1, len(tensors))]
    errors = (t for t in range(1, len(tensors)) if schedule.carries[t])
    return lives + [Life(ERROR, t, tensor_bytes(tensors[t]), *schedule.error_life(t)) for t in errors]


def inference_lives(tensors: np.ndarray, layers: np.ndarray) -> list[Life]:
    """The buffers of the inference arena."""
    last = last_readers(layers)
    return [Life(FEATURE, t, tensor_bytes(tensors[t]), t - 1, len(layers) if last[t] < 0 else last[t]) for t in range(1, len(tensors))]


def may_be_in_place(schedule: Schedule, older: Life, newer: Life) -> bool:
    """Whether `newer` may be written over `older`, which the same step reads last.

    What these operators read and make in one step is of one size, as are feature and error of one tensor.
    """
    layer = schedule.layer_of_step(newer.first)
    if older.last != newer.first or layer < 0:
        return False
    op = schedule.layers[layer]["op"]
    if newer.kind == FEATURE:  # then the older one is a feature, too: errors come behind all of them
        return op in (ADD, HARD_SWISH)
    if older.kind == FEATURE:
        return older.tensor == newer.tensor and op != MAX_POOL2D
    if op not in (ADD, HARD_SWISH):
        return False
    inputs = inputs_of(schedule.layers[layer])
    return newer.tensor == inputs[-1] or not schedule.carries[inputs[-1]]


def merged(lives: list[Life], schedule: Schedule) -> list[list[Life]]:
    """Groups of lives that share one place, each one in place of the one before it."""
    groups: list[list[Life]] = []
    for life in sorted(lives, key=lambda one: (one.first, one.tensor)):
        chain = next((group for group in groups if may_be_in_place(schedule, group[-1], life)), None)
        if chain is None:
            groups.append([life])
        else:
            chain.append(life)
    return groups


def buffers_of(groups: list[list[Life]]) -> list[Buffer]:
    """Each group as one buffer."""
    named = (" = ".join(f"{one.kind} {one.tensor}" for one in group) for group in groups)
    return [
        Buffer(name, aligned(group[0].size), group[0].first, group[-1].last, group[0].kind)
        for name, group in zip(named, groups, strict=True)
    ]


class NetworkPlan(NamedTuple):
    """Plans of both arenas and the buffers they place."""

    training_buffers: list[Buffer]
    training: Plan
    inference_buffers: list[Buffer]
    inference: Plan


def plan_network(network: Network, seconds: float = 3.0) -> NetworkPlan:
    """Plan both arenas, at most `seconds` each, and write the offsets into the network's tensors."""
    tensors = network.tensors
    schedule = Schedule(network.layers)
    results: list = []
    places = (
        (training_lives(tensors, network.layers), {FEATURE: "feature_offset", ERROR: "error_offset"}),
        (inference_lives(tensors, network.layers), {FEATURE: "inference_offset"}),
    )
    for lives, fields in places:
        groups = merged(lives, schedule)
        buffers = buffers_of(groups)
        found = plan(buffers, seconds)
        for field in fields.values():
            tensors[field] = NOWHERE
        for group, offset in zip(groups, found.offsets, strict=True):
            for life in group:
                tensors[fields[life.kind]][life.tensor] = offset
        results += [buffers, found]
    return NetworkPlan(*results)


def stored_plan(network: Network) -> tuple[list[Buffer], Plan]:
    """The training arena's buffers and where the network's tables say that they are."""
    groups = merged(training_lives(network.tensors, network.layers), Schedule(network.layers))
    buffers = buffers_of(groups)
    offsets = [offset for group in groups for _, offset in placed(network.tensors, group[:1], training=True)]
    return buffers, Plan(tuple(offsets), arenas_of(network)[0], lower_bound(buffers), "stored")


def arenas_of(network: Network) -> tuple[int, int]:
    """(training, inference) arena in bytes, as the offsets in the tensors ask for."""

    def needed(lives: list[Life], training: bool) -> int:
        return max((aligned(offset + life.size) for life, offset in placed(network.tensors, lives, training)), default=0)

    training = needed(training_lives(network.tensors, network.layers), True)
    return training, needed(inference_lives(network.tensors, network.layers), False)


def lower_bounds(network: Network) -> tuple[int, int]:
    """Most bytes live at once, (training, inference): no plan with these lives is smaller."""
    schedule = Schedule(network.layers)
    lives = (training_lives(network.tensors, network.layers), inference_lives(network.tensors, network.layers))
    training, inference = (lower_bound(buffers_of(merged(one, schedule))) for one in lives)
    return training, inference


def placed(tensors: np.ndarray, lives: list[Life], training: bool) -> Iterator[tuple[Life, int]]:
    """Each life with its offset."""
    for life in lives:
        field = "inference_offset" if not training else "feature_offset" if life.kind == FEATURE else "error_offset"
        yield life, int(tensors[field][life.tensor])


def plan_problem(tensors: np.ndarray, layers: np.ndarray, arenas: tuple[int, int]) -> str | None:
    """What is wrong with the offsets of a file's tensors, if anything."""
    schedule = Schedule(layers)
    both = (training_lives(tensors, layers), inference_lives(tensors, layers))
    for lives, arena, training in zip(both, arenas, (True, False), strict=True):
        what = "training" if training else "inference"
        if arena % 4 or arena >= 1 << 31:
            return f"{arena} bytes of {what} arena: not a multiple of 4 below 2^31"
        if not lives and arena:
            return f"{arena} bytes of training arena, but nothing is trained"
        for life, offset in placed(tensors, lives, training):
            if offset % 4 or offset + life.size > arena:
                return f"{life.kind} of tensor {life.tensor} at byte {offset} is not inside the {what} arena of {arena} bytes"
        for (a, at_a), (b, at_b) in combinations(placed(tensors, lives, training), 2):
            apart = a.last < b.first or b.last < a.first or at_a + a.size <= at_b or at_b + b.size <= at_a
            if not apart and not (at_a == at_b and (may_be_in_place(schedule, a, b) or may_be_in_place(schedule, b, a))):
                return f"{a.kind} of tensor {a.tensor} and {b.kind} of tensor {b.tensor} share bytes of the {what} arena"
    used = {
        FEATURE: {life.tensor for life in both[0]},
        ERROR: {life.tensor for life in both[0] if life.kind == ERROR},
    }
    for t in range(len(tensors)):
        unused = (t not in used[FEATURE], t not in used[ERROR], t == 0)
        fields = ("feature_offset", "error_offset", "inference_offset")
        if any(absent and tensors[field][t] != NOWHERE for field, absent in zip(fields, unused, strict=True)):
            return f"tensor {t} has an offset for a buffer that does not exist"
    return None
