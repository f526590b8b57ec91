# SPDX-License-Identifier: Apache-2.0
"""Inside the engine BLAS has one thread; outside, what the caller has set."""

from threading import Barrier, Thread

import numpy as np
import pytest
import threadpoolctl

from fqt_ref import train_step as ts
from fqt_ref import training
from fqt_ref.blas import libraries, one_blas_thread
from fqt_ref.datasets import load
from fqt_ref.training import fresh_network, predictions_of, prepared_state, train_epochs


def threads() -> list[int]:
    """How many threads each BLAS library has now."""
    return [library["num_threads"] for library in libraries().info()]


@pytest.fixture
def two():
    """The caller's setting: two threads."""
    assert libraries().info(), "compiled code has no BLAS"
    with libraries().limit(limits=2):
        assert set(threads()) == {2}
        yield


def spied(monkeypatch, *names) -> dict[str, set[int]]:
    """Functions of the engine that note how many threads they have."""
    seen: dict[str, set[int]] = {}
    for name in names:
        function = getattr(ts, name)

        def spy(*arguments, name=name, function=function):
            seen.setdefault(name, set()).update(threads())
            return function(*arguments)

        monkeypatch.setattr(training.ts, name, spy)
    return seen


def test_the_engine_knows_the_library_of_its_products():
    """scipy's, which compiled code calls; and what threadpoolctl finds later is the same."""
    assert any("scipy.libs" in one["filepath"] or "scipy" in one["filepath"] for one in libraries().info())
    found = {one["filepath"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}
    assert {one["filepath"] for one in libraries().info()} <= found


def test_training_and_inference_have_one_thread_and_give_the_callers_back(two, monkeypatch):
    data = load("digits")
    network = fresh_network("digits-cnn", "uint8", data, 0, 1)
    assert set(threads()) == {2}
    seen = spied(monkeypatch, "train", "predict", "features")
    for _ in train_epochs(network, data, ts.train_config(16), 2):
        assert set(threads()) == {2}
    assert seen == {"train": {1}, "predict": {1}, "features": {1}}
    predictions_of(prepared_state(network), data.test_x[:8], 2)
    assert (seen["predict"], set(threads())) == ({1}, {2})


def test_an_error_gives_the_callers_threads_back(two, monkeypatch):
    data = load("digits")

    def broken(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.ts, "train", broken)
    with pytest.raises(KeyboardInterrupt):
        next(train_epochs(fresh_network("digits-mlp", "uint8", data, 0), data, ts.train_config(16), 1))
    assert set(threads()) == {2}


def test_several_threads_of_a_process_may_be_inside_at_once(two):
    """The first one out must not give the others two threads, and the last one must not keep one."""
    both, first, left = Barrier(2), Barrier(2), []

    def early() -> None:
        with one_blas_thread():
            both.wait()
        first.wait()

    def late() -> None:
        with one_blas_thread():
            both.wait()
            first.wait()
            left.append(threads())

    workers = [Thread(target=early), Thread(target=late)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(left[0]) == {1} and set(threads()) == {2}
    with one_blas_thread(), one_blas_thread():
        assert set(threads()) == {1}
    assert set(threads()) == {2}


def test_threads_change_no_bit(two):
    """What the setting is for is speed alone."""
    data = load("digits")
    images = data.test_x[:64]
    state = prepared_state(fresh_network("digits-cnn", "mixed", data, 0))
    many = np.zeros(64, np.int64)
    ts.predict(state, np.array(images.reshape(64, -1)), many)
    assert (predictions_of(state, images) == many).all()
