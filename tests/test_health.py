# SPDX-License-Identifier: Apache-2.0
"""Figures that show a training diverge: each counted once more by hand, and warned of where it matters."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fqt_ref import train_step as ts
from fqt_ref.datasets import load
from fqt_ref.health import Health, health_of
from fqt_ref.network import ERRORS, SATURATED, U8
from fqt_ref.state import error_bytes, state_checksum
from fqt_ref.training import flat, fresh_network, prepared_state, train_epochs
from tests.test_cli import SMALL, fqt


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def epochs_of(data, config, count=2, network="digits-cnn", **settings):
    """The epochs of a training, and its last state."""
    found = list(train_epochs(fresh_network(network, config, data, 0), data, ts.train_config(16, **settings), count))
    return [epoch for epoch, _ in found], found[-1][1]


@pytest.mark.parametrize("config", ["uint8", "mixed", "float32"])
@pytest.mark.parametrize("train_last", [None, 1])
def test_errors_are_those_of_the_last_sample_of_each_minibatch(digits, config, train_last):
    settings = ts.train_config(5, 0.5)
    state = prepared_state(fresh_network("digits-graph", config, digits, 1, train_last), settings)
    samples, labels, out = flat(digits.train_x[:23]), digits.train_y[:23].astype(np.int64), np.zeros(5, np.int64)
    counted = saturated = 0
    for at in range(0, 20, 5):
        order = np.arange(at, at + 5)
        for j in order[:4]:
            ts.train(state, settings, samples, labels, np.array([j]), out[:1], out[:1])
        before = (int(state.counters[ERRORS]), int(state.counters[SATURATED]))
        assert before == (counted, saturated)
        ts.train_sample(state, settings, samples[at + 4], int(labels[at + 4]))
        for t in range(1, len(state.tensors) - 1):
            if state.tensors[t].type == U8 and state.tensor_slots[t].carries:
                errors = np.frombuffer(error_bytes(state, t), np.int8)
                counted, saturated = counted + errors.size, saturated + int(np.sum(np.abs(errors.astype(int)) == 127))
        ts.update(state, settings)
        assert (int(state.counters[ERRORS]), int(state.counters[SATURATED])) == (counted, saturated)
    assert (counted > 0) == (config != "float32" and train_last is None)
    if counted:
        assert saturated > 0


def test_weights_are_counted_at_both_ends_and_nonfinite_ones(digits):
    state = prepared_state(fresh_network("digits-cnn", "mixed", digits, 0))
    labels = np.array([3, 1, 3, 3])
    before = health_of(state, labels)
    assert before.nonfinite == 0 and before.majority == 0.75
    slots = [state.layer_slots[i] for i in range(len(state.layers)) if state.layer_slots[i].out]
    first, last = slots[0], slots[-1]
    weights = state.u8[first.weights : first.weights + first.out * first.fan_in]
    weights[:] = 100
    base = health_of(state, labels)
    weights[:5], weights[5:8] = 0, 255
    after = health_of(state, labels)
    assert (after.weights_at_low - base.weights_at_low, after.weights_at_high - base.weights_at_high) == (5, 3)
    assert after.weights == sum(int(s.out * s.fan_in) for s in slots if s.grids)
    state.f32[last.weights : last.weights + 2] = (np.nan, np.inf)
    state.grid_scales[0] = np.inf
    state.tensors["error_scale"][1] = np.nan
    assert health_of(state, labels).nonfinite == 4


def test_a_training_that_learns_is_not_warned_of(digits):
    for config in ("uint8", "mixed", "float32"):
        epochs, _ = epochs_of(digits, config, 3, learning_rate=0.003)
        assert [epoch.warnings() for epoch in epochs] == [[], [], []]
        health = epochs[-1].health
        assert health.errors == (0 if config == "float32" else 90 * (888 if config == "uint8" else 872))


@pytest.mark.parametrize(
    ("config", "settings", "text"),
    [
        ("uint8", {"learning_rate": 1.0}, "of the errors are clipped"),
        ("uint8", {"learning_rate": 10.0, "optimizer": "qas-sgd-m"}, "of the weights are at an end of their grid"),
        ("float32", {"learning_rate": 1000.0, "optimizer": "sgd-m"}, "no longer finite"),
        ("uint8", {"learning_rate": 0.01, "optimizer": "sgd-m"}, "hardly better"),
    ],
)
def test_divergence_is_said(digits, config, settings, text):
    epochs, _ = epochs_of(digits, config, 2, **settings)
    assert any(text in warning for epoch in epochs for warning in epoch.warnings())


@pytest.mark.parametrize("value", [0, 200])
def test_images_that_say_nothing_are_said(digits, value):
    blank = replace(digits, train_x=np.full_like(digits.train_x, value), test_x=np.full_like(digits.test_x, value))
    epochs, _ = epochs_of(blank, "uint8", 2, learning_rate=0.003)
    assert any("most frequent class" in warning for warning in epochs[-1].warnings())


def test_shares_at_which_a_warning_begins():
    well = Health(1000, 10, 1000, 125, 125, 0, 0.5)
    assert well.warnings(3, 0.6) == []
    assert len(replace(well, saturated_errors=11).warnings(3, 0.6)) == 1
    assert len(replace(well, weights_at_low=126).warnings(3, 0.6)) == 1
    assert len(replace(well, nonfinite=1).warnings(3, 0.6)) == 1
    assert (len(well.warnings(3, 0.52)), well.warnings(0, 0.52)) == (1, [])
    assert Health(0, 0, 0, 0, 0, 0, 0.5).warnings(3, 0.6) == []


def test_the_command_shows_them(tmp_path):
    done = fqt("train", *SMALL, "--epochs", 2, "--json", "-o", tmp_path / "m.fqt")
    first = json.loads(done.stdout)["epochs"][0]
    assert set(first["health"]) == set(Health.__dataclass_fields__)
    assert first["health"]["weights"] == 64 * 12 + 12 * 10 and "warning" not in done.stderr
    done = fqt("train", *SMALL, "--epochs", 2, "--optimizer", "qas-sgd-m", "--learning-rate", 10, "-o", tmp_path / "m.fqt")
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 2 and "of the weights are at an end of their grid" in lines[0]


def test_looking_changes_no_bit(digits):
    """The counters are not part of what the state is: SPEC.md 11's checksum does not know them."""
    _, state = epochs_of(digits, "uint8", 1)
    before = state_checksum(state)
    state.counters[[ERRORS, SATURATED]] = 77
    health_of(state, digits.train_y)
    assert state_checksum(state) == before
