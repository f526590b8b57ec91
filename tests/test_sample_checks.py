# SPDX-License-Identifier: Apache-2.0
"""Arrays that compiled code would take on trust are looked at first, at every entrance of the Python API."""

from dataclasses import replace

import numpy as np
import pytest

from fqt_ref import train_step as ts
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.stream import course_of, learn_on_engine
from fqt_ref.training import evaluate, flat, fresh_network, predictions_of, prepared_state, train_epochs


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def network(digits):
    return fresh_network("digits-mlp", "uint8", digits, 0)


def changed(labels, at, value):
    """A copy with another value at one place."""
    made = labels.copy()
    made[at] = value
    return made


WRONG = {
    "labels too few": (lambda d: {"train_y": d.train_y[:-1]}, "labels for"),
    "labels too many": (lambda d: {"train_y": np.append(d.train_y, 0)}, "labels for"),
    "test labels too few": (lambda d: {"test_y": d.test_y[:5]}, "labels for"),
    "no labels": (lambda d: {"train_y": d.train_y[:0]}, "labels for"),
    "a label of 10^6": (lambda d: {"train_y": changed(d.train_y, 7, 10**6)}, r"train_y .*\[7\] is 1000000, not a class in 0\.\.9"),
    "a label of -1": (lambda d: {"train_y": changed(d.train_y, 0, -1)}, r"\[0\] is -1"),
    "a label of the number of classes": (lambda d: {"train_y": changed(d.train_y, 0, 10)}, r"\[0\] is 10"),
    "a test label of 10": (lambda d: {"test_y": changed(d.test_y, 3, 10)}, r"test_y .*\[3\] is 10"),
    "real labels": (lambda d: {"train_y": d.train_y + 0.5}, "one integer a sample"),
    "labels in a column": (lambda d: {"train_y": d.train_y[:, None]}, "one integer a sample"),
    "labels of text": (lambda d: {"train_y": d.train_y.astype(str)}, "one integer a sample"),
    "float64 images": (lambda d: {"train_x": d.train_x.astype(np.float64)}, "float64, but the data set says what a byte means"),
    "int64 images": (lambda d: {"test_x": d.test_x.astype(np.int64)}, "int64, but"),
    "a list of images": (lambda d: {"train_x": d.train_x.tolist()}, "list: wants an array"),
    "flat bytes": (lambda d: {"train_x": d.train_x.reshape(-1)}, "wants an array"),
    "no test part": (lambda d: {"test_x": d.test_x[:0], "test_y": d.test_y[:0]}, "no test samples"),
    "no training part": (lambda d: {"train_x": d.train_x[:0], "train_y": d.train_y[:0]}, "no training samples"),
    "parts of two shapes": (lambda d: {"train_x": d.train_x[:, :7]}, "choose data that fits"),
    "samples of another shape": (lambda d: {"train_x": d.train_x[:, :7], "test_x": d.test_x[:, :7]}, "choose data that fits|shape"),
    "no scale, bytes": (lambda d: {"scale": None}, "wants finite real values"),
    "real values that are no numbers": (
        lambda d: {"scale": None, "train_x": np.full(d.train_x.shape, np.nan, np.float32), "test_x": d.test_x.astype(np.float32)},
        "wants finite real values",
    ),
    "a scale of 0": (lambda d: {"scale": np.float32(0)}, "wants a positive number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_data_set_that_is_not_what_it_says(digits, network, name):
    change, message = WRONG[name]
    data = replace(digits, **change(digits))
    with pytest.raises(FqtError, match=message):
        next(train_epochs(network, data, ts.train_config(16), 1))


@pytest.mark.parametrize("change", [lambda d: {"train_x": d.train_x.astype(np.float64)}, lambda d: {"train_y": d.train_y[:3]}])
def test_a_new_network_looks_at_its_data(digits, change):
    with pytest.raises(FqtError):
        fresh_network("digits-mlp", "uint8", replace(digits, **change(digits)), 0)


@pytest.mark.parametrize("arguments", [{"epochs": 10**20}, {"epochs": -1}, {"threads": 0}, {"threads": 257}])
def test_numbers_of_a_training(digits, network, arguments):
    with pytest.raises(FqtError, match=r"not in [01]\.\."):
        next(train_epochs(network, digits, ts.train_config(16), **{"epochs": 1, **arguments}))


def test_inference(digits, network):
    state = prepared_state(network)
    for images in (digits.test_x[:, :7], digits.test_x.astype(np.int32), digits.test_x[0, 0, 0], digits.test_x.tolist()):
        with pytest.raises(FqtError):
            predictions_of(state, images)
    for labels in (digits.test_y[:-1], digits.test_y + 10, digits.test_y - 1, digits.test_y.astype(float)):
        with pytest.raises(FqtError):
            evaluate(state, digits.test_x, labels)
    with pytest.raises(FqtError, match="accuracy needs one"):
        evaluate(state, digits.test_x[:0], digits.test_y[:0])
    assert len(predictions_of(state, digits.test_x[:0])) == 0
    with pytest.raises(FqtError, match="threads 0"):
        predictions_of(state, digits.test_x, 0)


def test_a_course_of_a_stream(digits, network):
    samples = flat(digits.train_x[:8])
    for wrong in (course_of(samples, digits.train_y[:8] + 10, 1, 0), course_of(samples[:, :9], digits.train_y[:8], 1, 0),
                  course_of(samples, digits.train_y[:5], 1, 0)):  # fmt: skip
        with pytest.raises(FqtError):
            learn_on_engine(network, ts.train_config(4), wrong)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_seeds_are_not_bent(digits, seed):
    with pytest.raises(FqtError, match=f"seed {seed} is not in"):
        ts.train_config(seed=seed)
    with pytest.raises(FqtError, match=f"seed {seed} is not in"):
        fresh_network("digits-mlp", "uint8", digits, seed)
