# SPDX-License-Identifier: Apache-2.0
"""Frozen layers run once: training on cached feature maps gives the bits of whole passes."""

import numpy as np
import pytest

from fqt_ref import train_step as ts
from fqt_ref.build import CONFIGS, freeze
from fqt_ref.datasets import load
from fqt_ref.frozen import entry_of, frozen_features
from fqt_ref.network import ENTRY, inputs_of
from fqt_ref.state import state_checksum
from fqt_ref.training import flat, fresh_network, prepared_state, train_epochs


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.mark.parametrize("train_last", [None, 5, 4, 3, 2, 1])
def test_nothing_behind_the_entry_reads_in_front_of_it(digits, train_last):
    network = fresh_network("digits-graph", "uint8", digits, 1, train_last)
    entry, trained = entry_of(network), [i for i, layer in enumerate(network.layers) if layer["flagset"] & 2]
    assert entry <= trained[0]
    assert all(min(inputs_of(layer)) >= entry for layer in network.layers[entry:])
    later = [t for t in range(entry + 1, trained[0] + 1) if all(min(inputs_of(layer)) >= t for layer in network.layers[t:])]
    assert not later, "a later entry would do"


def test_entry_lies_in_front_of_a_residual_block_that_training_begins_in(digits):
    network = fresh_network("digits-graph", "uint8", digits, 1, 3)
    first = next(i for i, layer in enumerate(network.layers) if layer["flagset"] & 2)
    assert 0 < entry_of(network) < first


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("train_last", [3, 2])
def test_cached_features_give_the_bits_of_whole_passes(digits, config, train_last):
    network = fresh_network("digits-graph", config, digits, 3, train_last)
    settings = ts.train_config(8, 0.01, 0.5, 1.0, seed=2)
    samples, labels = flat(digits.train_x[:40]), np.array(digits.train_y[:40], np.int64)
    order, checksums = np.arange(40), []
    for entry in (0, entry_of(network)):
        state = prepared_state(network, settings)
        features = frozen_features(state, samples, entry)
        state.counters[ENTRY] = entry
        losses, predictions = np.zeros(40, np.int64), np.zeros(40, np.int64)
        ts.train(state, settings, features, labels, order, losses, predictions)
        checksums.append((state_checksum(state), losses.tolist(), predictions.tolist()))
    assert checksums[0] == checksums[1]


def test_epochs_of_a_frozen_network_learn(digits):
    network = fresh_network("digits-cnn", "uint8", digits, 3)
    freeze(network, 2)
    first, *_, last = [epoch.loss for epoch, _ in train_epochs(network, digits, ts.train_config(16, 0.003), 3)]
    assert last < first / 2
