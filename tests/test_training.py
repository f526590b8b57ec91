# SPDX-License-Identifier: Apache-2.0
"""Training as a whole: it learns, it repeats itself, it leaves frozen layers alone; and hazards of its arithmetic."""

from dataclasses import replace

import naive
import numpy as np
import pytest

from fqt_ref import initialize as init
from fqt_ref import train_step as ts
from fqt_ref.batch_norm import channel_statistics, fold_batch_norm
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.golden.steps import CONFIGS
from fqt_ref.kernels.activation import highest_of
from fqt_ref.kernels.conv2d import conv2d_backward_weight_u8, integer_dot
from fqt_ref.kernels.softmax_cross_entropy import EXP2_TABLE
from fqt_ref.models import Conv2d, Linear
from fqt_ref.network import U8, network_of
from fqt_ref.optimizers.standardized_sgd import fraction_bits_of
from fqt_ref.state import state_checksum
from fqt_ref.training import evaluate, flat, fresh_network, predictions_of, prepared_state, train_epochs


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def trained(digits, config, epochs=8, train_last=None, **settings):
    """(state, accuracy) after some epochs of digits-cnn."""
    network = fresh_network("digits-cnn", config, digits, 0, train_last)
    options = ts.train_config(batch_size=16, learning_rate=0.003, **settings)
    *_, (epoch, state) = train_epochs(network, digits, options, epochs)
    return state, epoch.test_accuracy


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("lambda_min", [1.0, 0.5, 0.1])
def test_learns_digits(digits, config, lambda_min):
    _, accuracy = trained(digits, config, lambda_min=lambda_min)
    assert accuracy > (0.94 if lambda_min >= 0.5 else 0.85)


@pytest.mark.parametrize("config", CONFIGS)
def test_one_seed_one_result(digits, config):
    first, _ = trained(digits, config, epochs=1, seed=3)
    second, _ = trained(digits, config, epochs=1, seed=3)
    assert state_checksum(first) == state_checksum(second)
    other, _ = trained(digits, config, epochs=1, seed=4)
    assert state_checksum(first) != state_checksum(other)


def test_any_number_of_threads_predicts_the_same(digits):
    state, _ = trained(digits, "mixed", epochs=1)
    one = predictions_of(state, digits.test_x, threads=1)
    for threads in (2, 3, 7):
        assert (predictions_of(state, digits.test_x, threads) == one).all()


def test_evaluation_leaves_the_state_alone(digits):
    state, _ = trained(digits, "uint8", epochs=1)
    before = state_checksum(state)
    evaluate(state, digits.test_x, digits.test_y)
    assert state_checksum(state) == before


@pytest.mark.parametrize("config", CONFIGS)
def test_frozen_layers_stay(digits, config):
    start = fresh_network("digits-cnn", config, digits, 0, train_last=2)
    state, accuracy = trained(digits, config, epochs=4, train_last=2)
    end = network_of("x", state)
    changed = [None if a is None else not np.array_equal(a, b) for a, b in zip(start.weights, end.weights, strict=True)]
    assert [c for c in changed if c is not None] == [False, False, True, True]
    first_moving = len(changed) - 2
    assert np.array_equal(start.tensors["scale"][:first_moving], end.tensors["scale"][:first_moving])
    assert accuracy > 0.85


def test_a_set_without_training_part_is_not_learnt_from(digits):
    measured = replace(digits, name="measured", train_x=digits.train_x[:0], train_y=digits.train_y[:0])
    with pytest.raises(FqtError, match="data set measured has no training samples: it serves `fqt evaluate`"):
        fresh_network("digits-cnn", "uint8", measured, 0)
    network = fresh_network("digits-cnn", "uint8", digits, 0)
    with pytest.raises(FqtError, match="no training samples"):
        next(train_epochs(network, measured, ts.train_config(1), 1))
    assert 0 <= evaluate(prepared_state(network), measured.test_x, measured.test_y) <= 1


def test_a_rest_smaller_than_a_minibatch_is_applied(digits):
    state, _ = trained(digits, "uint8", epochs=1)
    assert state.counters[ts.STEP] == -(-len(digits.train_x) // 16)


def test_sparse_updates_choose_fewer_channels_as_the_loss_falls(digits):
    network = fresh_network("digits-cnn", "uint8", digits, 0)
    config = ts.train_config(10**4, 0.003, 0.25, 1.0)
    state = prepared_state(network, config)
    samples = flat(digits.train_x)
    for i in range(50):
        ts.train_sample(state, config, samples[i], digits.train_y[i])
    slot = state.layer_slots[0]
    chosen = state.i32[slot.chosen : slot.chosen + slot.out]
    assert 2 * 50 <= chosen.sum() < 8 * 50
    last = state.layer_slots[-1]
    assert (state.i32[last.chosen : last.chosen + last.out] == 50).all()  # the loss layer is exempt


def test_residual_bits_never_let_a_gradient_overflow():
    for positions in (1, 9, 36, 144, 676, 4096, 65536):
        for batch in (1, 8, 48, 1000, 65536):
            if positions * batch <= 65536:
                bits = fraction_bits_of(positions, batch)
                largest = (127 * 255 * positions * batch << bits) + (1 << bits)
                assert 0 <= bits <= 8
                assert bits == 0 or largest <= 2**31 - 1


def test_hazard_largest_gradient_is_exact():
    # Every error 127, every centred input 255, the most positions that the bound allows: the sum must not wrap.
    n = 65536
    bits = fraction_bits_of(1, n)
    gradient, bias = np.zeros((1, 1), np.int32), np.zeros(1, np.int32)
    for _ in range(16):
        rows = n // 16
        conv2d_backward_weight_u8(bits, np.full((1, rows), 255, np.float32), np.full((rows, 1), 127, np.int32), gradient, bias)
    assert int(gradient[0, 0]) == 127 * 255 * n << bits


@pytest.mark.parametrize("terms", [258, 259, 4000])
def test_integer_dot_is_exact_on_both_sides_of_its_bound(terms):
    # 258 products of 255 * 255 are the most that float32 adds up exactly.
    rng = np.random.RandomState(0)
    a, b = np.full((5, terms), 255, np.int64), np.full((terms, 3), 255, np.int64)
    a[1:], b[:, 1:] = rng.randint(-255, 256, (4, terms)), rng.randint(-255, 256, (terms, 2))
    out = np.zeros((5, 3), np.int32)
    integer_dot(np.asfortranarray(a, np.float32), b.astype(np.float32), 255 * 255 * terms, out)
    assert np.array_equal(out, a @ b)


def test_table_of_powers_is_the_exact_one():
    assert EXP2_TABLE.tolist() == naive.EXP2


@pytest.mark.parametrize("exponent", range(-126, 128))
def test_the_byte_at_six_of_any_scale(exponent):
    scale = np.float32(1.3) * np.float32(2.0**exponent)
    assert highest_of(scale, 7) == naive.highest_of(scale, 7)


def test_batch_norm_folds_to_unit_statistics():
    rng = np.random.RandomState(0)
    x = rng.standard_normal((500, 6)).astype(np.float32)
    weights, bias = rng.standard_normal((3, 6)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    outputs = x @ weights.T + bias
    mean, variance = np.zeros(3, np.float32), np.zeros(3, np.float32)
    channel_statistics(outputs, mean, variance)
    gamma, beta = np.array([1, 2, 0.5], np.float32), np.array([0, -1, 3], np.float32)
    wanted = (outputs - outputs.mean(0)) / np.sqrt(outputs.var(0) + 1e-5) * gamma + beta
    fold_batch_norm(weights, bias, gamma, beta, mean, variance)
    # The only float comparison with a margin: the folded weights are compared with real-number algebra, not with another implementation.
    assert np.abs(x @ weights.T + bias - wanted).max() < 1e-4


@pytest.mark.parametrize(("config", "types"), [("uint8", [1, 1, 1]), ("mixed", [1, 1, 2, 2]), ("float32", [1, 2, 2, 2])])
def test_configurations_place_the_border(digits, config, types):
    description = [Conv2d(3), Linear(10, activation="", batch_norm=False)]
    network = init.initialize("t", description, config, digits.train_x[:8], digits.scale, digits.zero, 0)
    assert network.tensors["type"].tolist() == types
    assert network.tensors["type"][0] == U8
