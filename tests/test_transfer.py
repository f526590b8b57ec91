# SPDX-License-Identifier: Apache-2.0
"""Quantize, reset, retrain: what is reset, what stays, and that a folder of runs goes on where it stopped."""

import json

import numpy as np
import pytest

from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph
from fqt_ref.models import describe_network
from fqt_ref.models.describe import graph_of
from fqt_ref.network import LAYER_TRAINABLE
from fqt_ref.train_step import train_config
from fqt_ref.training import fresh_network
from fqt_ref.transfer import steps
from fqt_ref.transfer.experiment import experiment, summary
from fqt_ref.transfer.reset import reset_last


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def settings(seed=0):
    return train_config(16, 0.003, seed=seed)


def digits_graph(digits) -> Graph:
    """digits-cnn without weights: quantization draws random ones, which is enough to retrain from."""
    shape = digits.train_x.shape[1:]
    return graph_of("digits-cnn", describe_network("digits-cnn", shape, digits.classes), shape)


@pytest.mark.parametrize("config", ["uint8", "mixed", "float32"])
def test_reset_changes_the_last_layers_alone(digits, config):
    network = fresh_network("digits-cnn", config, digits, 0)
    network.tensors["error_scale"][1] = 0.5
    made = reset_last(network, 2, 7)
    weighted = [i for i, weights in enumerate(network.weights) if weights is not None]
    for i in weighted[:-2]:
        assert made.weights[i] is network.weights[i] and not made.layers["flagset"][i] & LAYER_TRAINABLE
    for i in weighted[-2:]:
        assert not np.array_equal(made.weights[i], network.weights[i]) and made.layers["flagset"][i] & LAYER_TRAINABLE
        assert made.weights[i].shape == network.weights[i].shape and made.weights[i].dtype == network.weights[i].dtype
        assert not made.biases[i].any()
        fan_in = made.weights[i][0].size
        values = made.weights[i].astype(np.float64)
        if made.grids[i] is not None:
            values = (values - made.grids[i][1][0]) * made.grids[i][0][0]
        assert np.abs(values).max() == pytest.approx((6 / fan_in) ** 0.5, rel=0.1)
    for field in ("scale", "zero", "lo", "hi"):
        assert np.array_equal(made.tensors[field], network.tensors[field])
    assert not made.tensors["error_scale"].any() and network.tensors["error_scale"][1] == 0.5


def test_seeds_reset_differently(digits):
    network = fresh_network("digits-cnn", "uint8", digits, 0)
    first, again, other = (reset_last(network, 1, seed).weights[-1] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(FqtError, match="last 9 layers"):
        reset_last(network, 9, 0)


def test_retraining_learns(digits):
    network = steps.quantize(digits_graph(digits), digits, "uint8")
    result, trained = steps.retrain(network, digits, settings(), 8, 2, 0, lambda epoch, network: None)
    assert result["quantized_test_accuracy"] < 0.3 and result["test_accuracy"] > 0.85
    assert trained.weights[0].tobytes() == network.weights[0].tobytes()


def test_experiment_goes_on_where_it_stopped(digits, tmp_path, monkeypatch):
    arguments = (digits_graph(digits), digits, ["uint8"], 2, settings, 1, 2, tmp_path)
    first = experiment(*arguments, percentile=100.0, per_channel=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["uint8-0.fqt", "uint8-0.json", "uint8-1.fqt", "uint8-1.json"]
    monkeypatch.setattr(steps, "retrain", lambda *_: pytest.fail("ran again"))
    again = experiment(*arguments, percentile=100.0, per_channel=False)
    assert json.dumps(again) == json.dumps(first)
    assert "2 runs" in summary({**again, "float32_baseline": None})[1]
    with pytest.raises(FqtError, match="other settings"):
        experiment(*arguments, percentile=99.9, per_channel=False)


def test_a_folder_from_before_an_option_stays_of_the_same_settings(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "retrain", lambda network, *_: ({"stopped": False}, network))
    arguments = (digits_graph(digits), digits, ["uint8"], 1)
    result = experiment(*arguments, settings, 1, 2, tmp_path, percentile=100.0, per_channel=False)
    names = ["batch_size", "lambda_max", "lambda_min", "learning_rate", "seed", "sparse_last"]
    assert sorted(result["runs"]["uint8"][0]["options"]) == names

    def other(seed):
        return train_config(16, 0.003, seed=seed, optimizer="sgd-m")

    with pytest.raises(FqtError, match="other settings"):
        experiment(*arguments, other, 1, 2, tmp_path, percentile=100.0, per_channel=False)


def test_plot(digits, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    from fqt_ref.plot_transfer import plot_transfer

    run = {"epochs": [{"test_accuracy": 0.5}, {"test_accuracy": 0.7}], "test_accuracy": 0.7, "quantized_test_accuracy": 0.8}
    result = {"network": "n", "data": "d", "runs": {"uint8": [run, run], "mixed": [run]}, "float32_baseline": 0.9}
    plot_transfer(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    with pytest.raises(FqtError, match="cannot write"):
        plot_transfer(result, tmp_path / "none" / "plot.png")
