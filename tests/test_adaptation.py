# SPDX-License-Identifier: Apache-2.0
"""Adapting a classifier to a corruption: the sets, what a run does, the table, and what the trainers cost in memory and work."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fqt_ref.datasets import load
from fqt_ref.datasets.corrupted import corrupted_names
from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.errors import FqtError
from fqt_ref.experiments.adaptation import BY_WEIGHTS_ONLY, Adapt, Adaptation, Estimate, Shift, Taught, Way
from fqt_ref.experiments.catalogue import find
from fqt_ref.experiments.description import DONE, FAILED, NO_DATA, key_of
from fqt_ref.experiments.learn import Training
from fqt_ref.experiments.memory import random_network
from fqt_ref.experiments.place import Place
from fqt_ref.experiments.trainer_memory import TrainerMemory, products
from fqt_ref.experiments.worker import Job, perform
from fqt_ref.model_file import parse

REAL = Path(os.environ.get("FQT_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))
FAST = Training(16, 0.01)
START = Taught("digits-mlp", "few", "uint8", 0, 4, FAST)
WAYS = (
    Way("before", 0),
    Way("back-propagation", 1, FAST),
    Way("nodes", 1, FAST, None, Estimate(2, exact_last=True)),
    Way("weights", 1, FAST, 1, Estimate(2, first_node=BY_WEIGHTS_ONLY)),
)
TINY = Adaptation("tiny", "Tiny", "About.", shifts=(Shift("mnist-c", ("fog", "glass-blur"), START, WAYS),), seeds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """digits in the middle of 28 x 28 pixels, as a set to learn and as the file of corruptions: one darker, one shifted."""
    made = tmp_path_factory.mktemp("data")
    data = load("digits")
    x = np.zeros((200, 28, 28), np.uint8)
    x[:, 6:22, 6:22] = data.train_x[:200, :, :, 0].repeat(2, axis=1).repeat(2, axis=2)
    y = data.train_y[:200]
    np.savez(made / "few.npz", x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    np.savez(made / "mnist_c_first2000.npz", labels=y[:96].astype(np.uint8), fog=x[:96] // 4, glass_blur=np.roll(x[:96], 3, axis=2))
    return made


@pytest.fixture(scope="module")
def records(folder) -> dict:
    """All of TINY, performed. Key -> Record."""
    first = perform(Job(START, data_dir=folder), lambda *_: None)
    made = {key_of(START): first.record}
    for cell in TINY.cells():
        made[key_of(cell.run)] = perform(Job(cell.run, first.artifact, folder), lambda *_: None).record
    return made


# The sets


def test_corrupted_set_is_halved(folder):
    data = load("MNIST-C/glass_blur", folder)
    assert (data.name, data.train_x.shape, data.test_x.shape, data.classes) == ("mnist-c/glass-blur", (48, 28, 28, 1), (48, 28, 28, 1), 10)
    original = load(folder / "few.npz")
    assert np.array_equal(data.test_x, np.roll(original.train_x[48:96], 3, axis=2)) and np.array_equal(data.test_y, original.train_y[48:96])


def test_corruption_that_is_not_there(folder, tmp_path):
    with pytest.raises(FqtError, match="mnist-c comes with a corruption, mnist-c/ and identity, "):
        load("mnist-c", folder)
    with pytest.raises(FqtError, match="cifar10-c comes with a corruption"):
        load("cifar10-c/rain", folder)
    with pytest.raises(FqtError, match="has no array 'zigzag'"):
        load("mnist-c/zigzag", folder)
    with pytest.raises(FqtError, match="put mnist_c_first2000"):
        load("mnist-c/fog", tmp_path, download=False)
    np.savez(tmp_path / "mnist_c_first2000.npz", labels=np.zeros(1, np.uint8), fog=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(FqtError, match="one image is too few"):
        load("mnist-c/fog", tmp_path)


@pytest.mark.parametrize(("family", "shape", "half"), [("mnist-c", (28, 28, 1), 1000), ("cifar10-c", (32, 32, 3), 250)])
def test_real_corrupted_sets(family, shape, half):
    names = [name for name in corrupted_names() if name.startswith(family)]
    try:
        sets = [load(name, REAL, download=False) for name in names]
    except FqtError as error:
        pytest.skip(str(error))
    assert all(one.train_x.shape == (half, *shape) == one.test_x.shape for one in sets)
    assert len({one.test_x.tobytes() for one in sets}) == len(names) == 16 - (family == "cifar10-c")


# Runs and tables


def test_ways_to_adapt(records):
    assert {record.status for record in records.values()} == {DONE}, [record.reason for record in records.values()]
    results = {(cell.row, cell.run.seed): records[key_of(cell.run)].result for cell in TINY.cells()}
    assert len(results) == 7 and all(result["data"] == "mnist-c" for result in results.values())
    for (way, _), result in results.items():
        corruptions = result["corruptions"]
        assert list(corruptions) == ["fog", "glass-blur"]
        assert result["test_accuracy"] == pytest.approx(np.mean([one["test_accuracy"][-1] for one in corruptions.values()]))
        assert all(len(one["test_accuracy"]) == 1 and one["train_samples"] == 48 for one in corruptions.values())
        assert ("loss" in corruptions["fog"]) == (way != "before")
    assert len({result["digest"] for result in results.values()}) == 7  # every way and seed learns something else
    assert results["back-propagation", 0]["test_accuracy"] > results["before", 0]["test_accuracy"]


def test_same_run_same_bits(folder, records):
    start = perform(Job(START, data_dir=folder), lambda *_: None).artifact
    assert parse(start).name == "digits-mlp"
    run = next(cell.run for cell in TINY.cells() if cell.row == "nodes")
    shares = []
    again = perform(Job(run, start, folder), lambda share, text: shares.append(share)).record
    assert again.result["digest"] == records[key_of(run)].result["digest"]
    assert sum(shares) == pytest.approx(1)
    one = Adapt(START, "mnist-c", ("glass-blur",), 0, 1, FAST, None, run.estimate)
    alone = perform(Job(one, start, folder), lambda *_: None).record.result["corruptions"]
    assert alone["glass-blur"]["digest"] == records[key_of(run)].result["corruptions"]["glass-blur"]["digest"]


def test_what_cannot_be_adapted(folder, tmp_path):
    run = TINY.cells()[1].run
    start = perform(Job(START, data_dir=folder), lambda *_: None).artifact
    assert perform(Job(run, start, tmp_path), lambda *_: None).record.status == NO_DATA
    bad = perform(Job(replace(run, estimate=Estimate(0)), start, folder), lambda *_: None).record
    assert bad.status == FAILED and "queries 0" in bad.reason


def test_table_has_a_column_a_corruption(records):
    (table,) = TINY.tables(lambda run: records.get(key_of(run)))
    assert table.columns == ["", "mean", "fog", "glass-blur"] and [row[0] for row in table.rows] == [way.name for way in WAYS]
    assert table.rows[0][1].endswith("(n=1)") and "± " in table.rows[1][2] and table.rows[1][2].endswith("(n=2)")
    (empty,) = TINY.tables(lambda run: None)
    assert empty.rows[1][1:] == ["not run"] * 3


def test_taught_is_not_a_run_without_artifact():
    scratch = find("fig7a").cells()[0].run
    assert not scratch.keeps and START.keeps and key_of(START) != key_of(scratch)


# Memory and work


def test_products_are_counted_by_hand():
    network = random_network("digits-mlp", (8, 8, 1), 10, "uint8", None)
    first, last = (weights.size for weights in network.weights)
    forward = first + last
    assert products(network, None) == forward + first + 2 * last  # no error to the input
    assert products(network, Estimate(3).config(network, 1)) == forward + (first + 6 * last) + last
    one_sided = Estimate(3, antithetic=False, first_node=BY_WEIGHTS_ONLY)
    assert products(network, one_sided.config(network, 1)) == forward + 3 * forward + 3 * last
    assert products(network, Estimate(3, exact_last=True).config(network, 1)) == forward + (first + 6 * last) + last
    tail = random_network("digits-mlp", (8, 8, 1), 10, "uint8", 1)
    assert products(tail, None) == forward + last


def test_memory_is_what_the_library_asks_for():
    network, estimate = random_network("digits-mlp", (8, 8, 1), 10, "uint8", None), Estimate(4)
    run = TrainerMemory("digits-mlp", (8, 8, 1), 10, None, estimate)
    result = run.perform(Place()).result
    assert result["library_trainer"] == zeroth_memory(network, estimate.config(network, 1)).trainer
    assert result["library_trainer"] > result["gradients"] + result["features_and_errors"]
    dense = replace(run, estimate=None).perform(Place()).result
    assert dense["library_trainer"] == device_memory(network).trainer and dense["gradients"] == result["gradients"]
