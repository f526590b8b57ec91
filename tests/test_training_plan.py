# SPDX-License-Identifier: Apache-2.0
"""SPEC.md 14 against what a training sample does: naive.py trains inside one arena of bytes, and every value read is what was written."""

import random
import struct
from itertools import combinations, count

import handmade
import naive
import numpy as np
import pytest
from naive import ADD, ERROR, FEATURE, HARD_SWISH, MAX_POOL2D, NOWHERE

from fqt_ref import model_file, training_plan
from fqt_ref.golden.model_errors import error_of
from fqt_ref.random_graph import CONFIGS, random_network

OFFSETS = {"training": {FEATURE: "feature_offset", ERROR: "error_offset"}, "inference": {FEATURE: "inference_offset"}}


class InArena(naive.Trainer):
    """naive.py with its features and errors in one arena.

    `log` has (step, is a write, buffer) for every access; a buffer is (kind, tensor).
    """

    def __init__(self, tensors, layers, arena="training"):
        self.arena, self.bytes, self.written, self.log = arena, bytearray(b"\xa5" * 1_000_000), {}, []
        super().__init__(tensors, layers, 2, 0.02, 7, 1000, 3000)

    def place(self, buffer):
        """(offset, bytes, struct format) of a buffer."""
        kind, t = buffer
        quantized, tensor = self.tensors[t].type == naive.U8, self.tensors[t]
        letter = "f" if not quantized else "B" if kind == FEATURE else "b"
        return getattr(tensor, OFFSETS[self.arena][kind]), tensor.bytes, f"<{tensor.size}{letter}"

    def store(self, kind, t, values):
        buffer = (kind, t)
        if t != 0 or kind == ERROR:
            at, size, form = self.place(buffer)
            assert at % 4 == 0, buffer
            for other in {b for step, _, b in self.log if step == self.now} - {buffer, (FEATURE, 0)}:
                other_at, other_size, _ = self.place(other)
                if at < other_at + other_size and other_at < at + size:
                    assert (at, size) == (other_at, other_size), (buffer, other)
                    assert self.element_by_element(buffer, other), (buffer, other)
            self.bytes[at : at + size] = struct.pack(form, *values)
        self.written[buffer] = values
        self.log.append((self.now, True, buffer))

    def load(self, kind, t):
        buffer = (kind, t)
        self.log.append((self.now, False, buffer))
        if buffer == (FEATURE, 0):
            return self.written[buffer]
        at, size, form = self.place(buffer)
        raw = bytes(self.bytes[at : at + size])
        assert raw == struct.pack(form, *self.written[buffer]), f"step {self.now}: {buffer} was overwritten"
        return self.written[buffer]

    def layer_now(self):
        """The layer that runs forward or sends errors now, if one does."""
        n = len(self.layers)
        behind = self.now - n - 1
        if self.now < n:
            return self.layers[self.now]
        return self.layers[n - 1 - behind // 2] if behind > 0 and behind % 2 == 1 else None

    def element_by_element(self, new, old):
        """Whether in this step each element of `new` needs nothing of `old` but the element at its place."""
        layer = self.layer_now()
        if layer is None:
            return False
        if new[0] == FEATURE or old == (ERROR, self.layers.index(layer) + 1):
            return layer.op in (ADD, HARD_SWISH)
        return old == (FEATURE, new[1]) and layer.op != MAX_POOL2D  # the mask, or hard-swish's slope

    def lives(self):
        """First and last step of each buffer of the arena, as they were used."""
        found = {}
        for step, _, buffer in self.log:
            if buffer != (FEATURE, 0):
                first, _ = found.get(buffer, (step, step))
                found[buffer] = (first, step)
        return found


def tables(network):
    return naive.read_model(model_file.file_bytes(network))


def sample_of(tensors, seed=0):
    return handmade.u8(random.Random(seed), tensors[0].size)


def trained(tensors, layers):
    """An InArena that has trained one sample."""
    trainer = InArena(tensors, layers)
    trainer.train_sample(sample_of(tensors), 0)
    return trainer


def inferred(tensors, layers):
    trainer = InArena(tensors, layers, "inference")
    trainer.forward(sample_of(tensors))
    return trainer


def apart(tensors):
    """The same tensors with every buffer at bytes of its own."""
    place = count(0, max(t.bytes + 4 for t in tensors) // 4 * 4)
    for i, t in enumerate(tensors):
        t.feature_offset = t.inference_offset = next(place) if i else NOWHERE
        t.error_offset = next(place)
    return tensors


def random_networks(n, seed):
    for i in range(n):
        rng = np.random.RandomState(seed + i)
        yield random_network(rng, f"random {i}", CONFIGS[i % 3], int(rng.randint(1, 11)))


NETWORKS = [*handmade.networks(), *random_networks(30, 1000)]
by_name = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
some_by_name = pytest.mark.parametrize("network", NETWORKS[::3], ids=lambda network: network.name)


@by_name
def test_lives_are_what_a_run_uses(network):
    tensors, layers = tables(network)
    training = {(life.kind, life.tensor): (life.first, life.last) for life in training_plan.training_lives(network.tensors, network.layers)}
    inference = {
        (life.kind, life.tensor): (life.first, life.last) for life in training_plan.inference_lives(network.tensors, network.layers)
    }
    assert training == trained(apart(tensors), layers).lives()
    assert inference == inferred(apart(tensors), layers).lives()


@by_name
def test_a_run_in_the_planned_arenas_reads_what_it_wrote(network):
    tensors, layers = tables(network)
    in_arena = trained(tensors, layers)
    free = naive.Trainer(tensors, layers, 2, 0.02, 7, 1000, 3000)
    free.train_sample(sample_of(tensors), 0)
    assert in_arena.state_crc() == free.state_crc()
    assert (in_arena.G, in_arena.G_b) == (free.G, free.G_b)
    inferred(tensors, layers)


@pytest.mark.parametrize("network", list(handmade.networks())[::4], ids=lambda network: network.name)
def test_a_searched_plan_holds_too(network):
    training_plan.plan_network(network, 0.5)
    tensors, layers = tables(network)
    trained(tensors, layers)
    inferred(tensors, layers)
    model_file.parse(model_file.file_bytes(network))


# ---- Which buffers may be in place of each other ----


def in_place_allowed(trainer, lives, one, two):
    """SPEC.md 14's three cases, from the lives that a run showed."""
    old, new = sorted((one, two), key=lambda buffer: lives[buffer])
    if lives[old][1] != lives[new][0] or trainer.place(old)[1] != trainer.place(new)[1]:
        return False
    trainer.now = lives[new][0]
    layer = trainer.layer_now()
    if layer is None:
        return False
    if old[0] == new[0] == FEATURE:
        return layer.op in (ADD, HARD_SWISH)
    if {old[0], new[0]} == {FEATURE, ERROR}:
        return old[1] == new[1] and layer.op != MAX_POOL2D
    if layer.op == HARD_SWISH:
        return True
    return layer.op == ADD and (new[1] == layer.input2 or (new[1] == layer.input and not trainer.carries[layer.input2]))


def meeting_pairs(trainer):
    """(one, two, allowed) of buffers whose lives meet, from a run with every buffer apart."""
    lives = trainer.lives()
    for one, two in combinations(lives, 2):
        if lives[one][0] <= lives[two][1] and lives[two][0] <= lives[one][1]:
            yield one, two, in_place_allowed(trainer, lives, one, two)


def share_place(tensors, arena, one, two):
    """Put two buffers at one offset."""
    offset = getattr(tensors[one[1]], OFFSETS[arena][one[0]])
    setattr(tensors[two[1]], OFFSETS[arena][two[0]], offset)


def kind_of_pair(one, two):
    return tuple(sorted((one[0], two[0])))


@pytest.mark.parametrize(("arena", "run"), [("training", trained), ("inference", inferred)])
def test_each_allowed_pair_alone_survives_a_run(arena, run):
    seen = {}
    for network in NETWORKS:
        tensors, layers = tables(network)
        for one, two, allowed in meeting_pairs(run(apart(tensors), layers)):
            kind = kind_of_pair(one, two)
            if allowed and seen.get(kind, 0) < 60:
                seen[kind] = seen.get(kind, 0) + 1
                share_place(apart(tensors), arena, one, two)
                run(tensors, layers)
    wanted = {(FEATURE, FEATURE)} if arena == "inference" else {(FEATURE, FEATURE), (ERROR, FEATURE), (ERROR, ERROR)}
    assert {kind for kind, n in seen.items() if n >= 10} == wanted


def test_plans_use_the_allowed_pairs_and_no_other():
    used = {}
    for network in NETWORKS:
        tensors, layers = tables(network)
        pairs = list(meeting_pairs(trained(apart(tensors), layers)))
        planned = InArena(tables(network)[0], layers)
        for one, two, allowed in pairs:
            (at, size, _), (other_at, other_size, _) = planned.place(one), planned.place(two)
            if at < other_at + other_size and other_at < at + size:
                assert allowed, (network.name, one, two)
                assert at == other_at
                used[kind_of_pair(one, two)] = used.get(kind_of_pair(one, two), 0) + 1
    assert set(used) == {(FEATURE, FEATURE), (ERROR, FEATURE), (ERROR, ERROR)}


def test_the_arena_would_show_a_pair_that_is_not_allowed():
    """Sharing bytes with a buffer that is read later, or that a whole kernel reads, fails a run."""
    tensors, layers = tables(handmade.residual(np.random.RandomState(0), "uint8").network("residual"))
    for i, t in enumerate(tensors[:-1]):
        t.error_scale = naive.f32(0.001 * (i + 1))  # otherwise an error may equal the one it overwrites
    refused = [pair[:2] for pair in meeting_pairs(trained(apart(tensors), layers)) if not pair[2]]
    failed = 0
    for one, two in refused:
        share_place(apart(tensors), "training", one, two)
        try:
            trained(tensors, layers)
        except AssertionError:
            failed += 1
    assert failed == len(refused) > 20


# ---- What the reader of a model file says ----


def file_of(tensors, layers, arenas=None):
    """A model file; arenas: (training, inference) bytes, None for those that the offsets ask for."""
    return naive.write_model("plan", tensors, layers, arenas)


def problem(data):
    """The message of a file with error FORMAT; fails for any other answer."""
    with pytest.raises(model_file.ModelFileError) as caught:
        model_file.parse(data)
    assert caught.value.code == model_file.FORMAT, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


@some_by_name
def test_hazard_every_corrupted_offset_is_an_error(network):
    tensors, layers = tables(network)
    assert error_of(file_of(tensors, layers)) == 0
    arenas = naive.arenas_of(tensors)
    for t, tensor in enumerate(tensors):
        for field in ("feature_offset", "error_offset", "inference_offset"):
            good = getattr(tensor, field)
            wrong = (0, 4, NOWHERE - 3) if good == NOWHERE else (good + 1, good + 2, NOWHERE, NOWHERE - 3, 1 << 31, max(arenas))
            for value in wrong:
                setattr(tensor, field, value)
                message = problem(file_of(tensors, layers, arenas))
                assert f"tensor {t} " in message, message
            setattr(tensor, field, good)


@some_by_name
def test_hazard_pairs_that_share_bytes(network):
    """For each two buffers that live at once: one offset for both is an error unless it is allowed, and so is a part of each."""
    tensors, layers = tables(network)
    for arena, run in (("training", trained), ("inference", inferred)):
        for one, two, allowed in meeting_pairs(run(apart(tensors), layers)):
            share_place(apart(tensors), arena, one, two)
            for i, t in enumerate(tensors):
                if not one_carries(layers, i):
                    t.error_offset = NOWHERE
            assert error_of(file_of(tensors, layers)) == (0 if allowed else model_file.FORMAT), (arena, one, two)
            if not allowed:
                message = problem(file_of(tensors, layers))
                assert all(f"{kind} of tensor {t}" in message for kind, t in (one, two)), message
            elif tensors[one[1]].bytes > 4:
                field = OFFSETS[arena][two[0]]
                setattr(tensors[two[1]], field, getattr(tensors[two[1]], field) + 4)
                problem(file_of(tensors, layers))


def one_carries(layers, t):
    """Whether tensor t carries an error."""
    return t > 0 and (layers[t - 1].trains or any(one_carries(layers, s) for s in layers[t - 1].inputs))


def plan_is_valid(tensors, layers, lives):
    """By brute force: which buffer owns each byte at each step."""
    for arena, (trainer, spans) in lives.items():
        places = {b: (getattr(tensors[b[1]], OFFSETS[arena][b[0]]), tensors[b[1]].bytes) for b in spans}
        for one, two in combinations(spans, 2):
            bytes_of = [set(range(at, at + size)) for at, size in (places[one], places[two])]
            steps = [set(range(first, last + 1)) for first, last in (spans[one], spans[two])]
            if bytes_of[0] & bytes_of[1] and steps[0] & steps[1]:
                in_place = bytes_of[0] == bytes_of[1] and len(steps[0] & steps[1]) == 1
                if not (in_place and in_place_allowed(trainer, spans, one, two)):
                    return False
    return True


def test_random_offsets_are_judged_as_by_brute_force():
    rng, verdicts = random.Random(3), []
    for network in NETWORKS[1::3]:
        tensors, layers = tables(network)
        arenas, good = naive.arenas_of(tensors), [(t.feature_offset, t.error_offset, t.inference_offset) for t in tensors]
        both = {"training": trained(apart(tensors), layers), "inference": inferred(apart(tensors), layers)}
        lives = {arena: (trainer, trainer.lives()) for arena, trainer in both.items()}
        for _ in range(20):
            for t, offsets in zip(tensors, good, strict=True):
                t.feature_offset, t.error_offset, t.inference_offset = offsets
            moved = rng.choice(tensors[1:])
            for field, arena in (("feature_offset", arenas[0]), ("error_offset", arenas[0]), ("inference_offset", arenas[1])):
                if rng.random() < 0.5 and getattr(moved, field) != NOWHERE:
                    setattr(moved, field, rng.randrange(0, (arena - moved.bytes) // 4 * 4 + 1, 4))
            verdicts.append(plan_is_valid(tensors, layers, lives))
            assert error_of(file_of(tensors, layers, arenas)) == (0 if verdicts[-1] else model_file.FORMAT)
    assert 0.1 < np.mean(verdicts) < 0.9


def test_arenas_in_the_header():
    tensors, layers = handmade.small_network(random.Random(3), "mixed")
    training, inference = naive.arenas_of(tensors)
    assert error_of(file_of(tensors, layers, (training + 400, inference + 4))) == 0
    for arenas, name in (
        ((training - 4, inference), "training"),
        ((training, inference - 4), "inference"),
        ((training + 2, inference), "training"),
        ((training, inference + 1), "inference"),
        ((1 << 31, inference), "training"),
        ((training, (1 << 32) - 4), "inference"),
        ((0, inference), "training"),
    ):
        assert f"{name} arena" in problem(file_of(tensors, layers, arenas))


def test_without_trained_layers_there_is_no_training_arena():
    builder = handmade.chain(np.random.RandomState(1), "uint8")
    for layer in builder.layers:
        layer["flagset"] &= naive.RELU
    tensors, layers = tables(builder.network("frozen"))
    assert {t.feature_offset for t in tensors} == {t.error_offset for t in tensors} == {NOWHERE}
    assert error_of(file_of(tensors, layers)) == 0
    inference = naive.arenas_of(tensors)[1]
    assert "nothing is trained" in problem(file_of(tensors, layers, (4, inference)))
    tensors[2].feature_offset = 0
    assert "tensor 2 " in problem(file_of(tensors, layers, (0, inference)))
