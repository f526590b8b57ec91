# SPDX-License-Identifier: Apache-2.0
"""Experiments: what they expand to, that a finished run is kept and never repeated whatever happens to the others, and the report."""

import functools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
from test_cli import fqt, refused

from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.experiments import ablation, catalogue, transfer
from fqt_ref.experiments.ablation import CHANGES, TIES, Ablated
from fqt_ref.experiments.accuracy import Entry, entries
from fqt_ref.experiments.catalogue import EXPERIMENTS, find
from fqt_ref.experiments.chips import CHIPS, joules, seconds
from fqt_ref.experiments.cost import Cost, DeviceCost, digits_as
from fqt_ref.experiments.description import DONE, FAILED, NO_DATA, Outcome, Record, Run, describe, key_of
from fqt_ref.experiments.imported import FineTune, enlarged
from fqt_ref.experiments.learn import Training
from fqt_ref.experiments.local import Local
from fqt_ref.experiments.memory import DeviceMemory, Memory
from fqt_ref.experiments.place import DataNotFound, Place
from fqt_ref.experiments.progress import title
from fqt_ref.experiments.report import write_report
from fqt_ref.experiments.runner import Runner, Watch, with_starts
from fqt_ref.experiments.scratch import FromScratch, Scratch, Task
from fqt_ref.experiments.status import duration, status
from fqt_ref.experiments.store import Store
from fqt_ref.experiments.transfer import Pretrain, Prune, Retrain
from fqt_ref.experiments.worker import Finished, Job, perform, perform_apart
from fqt_ref.experiments.zeroth_cost import CostSubject, Method, ZerothCost, by_nodes
from fqt_ref.transfer.settings import Settings

TESTS = Path(__file__).parent
FAST = Training(16, 0.01)
TINY = FromScratch(
    "tiny", "Tiny <title>", "About.", network="digits-mlp", tasks=(Task("digits", 2, samples=48, test_samples=16), Task("nosuch", 1)),
    configs=("uint8", "float32"), seeds=2, batch_size=16, learning_rate=0.01, paper=(("nosuch", "uint8", 12.5),),
    curves=("digits, first 48",),
)  # fmt: skip
COMMAND = """
import sys
sys.path[:0] = [{tests!r}]
import test_experiments
from fqt_ref.experiments import catalogue
catalogue.EXPERIMENTS = (test_experiments.TINY,)
from fqt_ref.cli import main
main()
"""


def tiny_run(seed=0, **changes) -> Scratch:
    return replace(Scratch("digits-mlp", "digits", "uint8", seed, 1, FAST, 48, 16), **changes)


@dataclass(frozen=True)
class Toy(Run):
    """Does what `does` says; starts from another one if `after` is given."""

    name: str
    does: str = "work"
    after: "Toy | None" = None
    seed: int = 0

    @property
    def start(self):
        return self.after

    @property
    def dataset(self):
        return "toys" if self.does in ("lose", "need") else None

    def perform(self, place):
        place.advance(0.5, "half")
        if self.does == "lose":
            raise DataNotFound("no toys")
        if self.does == "refuse":
            raise FqtError("bad toy")
        if self.does == "break":
            raise ZeroDivisionError("broken toy")
        if self.does == "die":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if self.does == "sleep":
            time.sleep(600)
        return Outcome({"test_accuracy": 0.5, "begun": place.start.decode()}, self.name.encode())


class Here:
    """A pool without processes."""

    slots = 2

    def __init__(self):
        self.jobs, self.performed, self.closed = [], [], False

    def start(self, key, job):
        self.jobs.append((key, job))
        self.performed.append(job.run)

    def wait(self, seconds):
        key, job = self.jobs.pop(0)
        return [(key, (0.5, "half")), (key, perform(job, lambda share, text: None))]

    def close(self):
        self.closed = True


def go(runs, store, pool=None, data_dir=None):
    pool = pool or Here()
    return Runner(runs, store, pool, Watch(), data_dir).go(), pool


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "s.sqlite")


@pytest.fixture
def only_tiny(monkeypatch):
    monkeypatch.setattr(catalogue, "EXPERIMENTS", (TINY,))


def without_seconds(result):
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in result["history"]]
    return {**result, "history": history}


# What descriptions expand to


def test_figures_of_the_issue_are_described():
    names = [one.name for one in EXPERIMENTS]
    assert len(set(names)) == len(names)
    assert {"fig4a", "fig4b", "fig4cd", "fig5", "fig6a", "fig6b", "fig6c", "fig6d", "fig7a", "fig7b", "fig8", "table4"} <= set(names)
    for experiment in EXPERIMENTS:
        cells = experiment.cells()
        assert cells and len({(cell.row, key_of(cell.run)) for cell in cells}) == len(cells), experiment.name
        assert all(re.match(r"[a-z']+ .", title(describe(cell.run))) for cell in cells)
    with pytest.raises(FqtError, match="'fig9' does not exist: choose from fig4a"):
        find("fig9")


def test_figures_share_runs():
    def keys(name, rate=None):
        runs = [cell.run for cell in find(name).cells()]
        return {key_of(run) for run in runs if rate is None or (isinstance(run, Retrain) and run.training.lambda_min == rate)}

    assert keys("fig6a", 1.0) | keys("fig6b", 1.0) | keys("fig6c", 1.0) < keys("fig4a", 1.0)  # which has all of cifar10, too
    assert keys("fig8") < keys("fig6b")
    assert keys("fig7a") < keys("scratch-lambda")


def test_paper_numbers_have_a_place():
    for experiment in EXPERIMENTS:
        cells = experiment.cells()
        rows = {cell.row for cell in cells} | {f"{cell.row}, lambda_min 0.1" for cell in cells}
        if isinstance(experiment, DeviceMemory):
            rows |= {f"{cell.row}, {cell.column}" for cell in cells}
        columns = {cell.column for cell in cells}
        for row, column, _ in getattr(experiment, "paper", ()):
            assert row in rows, (experiment.name, row)
            assert isinstance(experiment, DeviceMemory | DeviceCost) or column in columns, (experiment.name, column)


def test_five_seeds_three_configurations():
    cells = [cell for cell in find("fig4a").cells() if cell.row == "cwru"]
    assert [cell.column for cell in cells].count("baseline") == 1 and isinstance(cells[0].run, Prune)
    assert {(c.run.config, c.run.seed) for c in cells[1:]} == {(a, b) for a in ("uint8", "mixed", "float32") for b in range(5)}
    assert all(c.run.epochs == 20 and c.run.reset == 5 and c.run.training == Training() for c in cells[1:])


def test_keys_stay():
    """A changed key would orphan the runs of docs/results.sqlite."""
    run = Scratch("mnist-cnn", "fashion-mnist", "uint8", 0, 3, Training())
    assert describe(run)["training"] == {"kind": "Training", "batch_size": 48, "learning_rate": 0.001, "lambda_min": 1.0, "lambda_max": 1.0}
    assert "samples" not in describe(run)
    assert key_of(run) == "b8f9f2e4aae281f9"
    others = [replace(run, seed=1), replace(run, samples=5), replace(run, training=Training(momentum=0.9)), replace(run, per_channel=True)]
    assert len({key_of(one) for one in [run, *others]}) == 5


def test_unknown_optimizer_is_named_and_not_run(store, only_tiny, monkeypatch):
    odd = tiny_run(training=replace(FAST, optimizer="nosuch"))
    assert "nosuch" in odd.lacks() and tiny_run().lacks() is None
    records, pool = go([odd], store)
    assert records == {} and pool.performed == []
    assert "nosuch" in perform(Job(odd), lambda *_: None).record.reason


# The store


def record(key="k", status=DONE, reason="", **result):
    return Record(key, {"kind": "Toy"}, status, reason, result, "c0ffee", {"numpy": "2"}, "a machine", "2026-01-01T00:00:00+00:00", 1.5)


def test_store_keeps_what_is_done(store):
    assert store.get("k") is None and store.artifact("k") is None and store.all() == {}
    store.put(record(status=FAILED, reason="why"))
    store.put(record(status=DONE, value=1), b"bytes")
    store.put(record(status=DONE, value=2))
    store.put(record(status=FAILED))
    again = Store(store.path)
    assert again.get("k") == record(value=1) and again.artifact("k") == b"bytes" and list(again.all()) == ["k"]


def test_bad_stores(tmp_path):
    with pytest.raises(FqtError, match="no such store"):
        Store(tmp_path / "none.sqlite", create=False)
    text = tmp_path / "text"
    text.write_text("not a database, but long enough to be looked at as if it were one" * 20)
    with pytest.raises(FqtError, match="not a store"):
        Store(text)
    assert text.read_text().startswith("not a database")
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(FqtError, match="not a store of runs of format 1"):
        Store(other)
    with pytest.raises(FqtError, match="cannot make folder"):
        Store(text / "s.sqlite")
    store = Store(tmp_path / "s.sqlite")
    store.put(record())
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE runs SET result = '{'")
    with pytest.raises(FqtError, match="run k is damaged"):
        store.all()


# The runner


def test_runs_begin_behind_what_they_start_from(store):
    first, second = Toy("a"), Toy("b", after=Toy("a"))
    third = Toy("c", after=second)
    assert list(with_starts([third, first]).values()) == [first, second, third]
    records, pool = go([third, second], store)
    assert pool.performed == [first, second, third] and pool.closed
    assert records[key_of(third)].result["begun"] == "b"
    assert go([third, Toy("d")], store)[1].performed == [Toy("d")]


def test_what_has_no_data_is_tried_once(store):
    lost, need, behind = Toy("a", "lose"), Toy("b", "need"), Toy("c", after=Toy("a", "lose"))
    pool = Here()
    pool.slots = 1
    records, _ = go([lost, need, behind], store, pool)
    assert pool.performed == [lost]
    assert {one.status for one in records.values()} == {NO_DATA}
    assert "no toys" in records[key_of(behind)].reason
    assert go([lost], store)[1].performed == [lost]  # another time the data may be there


def test_failures_do_not_stop_the_others(store):
    runs = [Toy("a", "refuse"), Toy("b", "break"), Toy("c"), Toy("d", after=Toy("a", "refuse"))]
    records, _ = go(runs, store)
    assert [records[key_of(run)].status for run in runs] == [FAILED, FAILED, DONE, FAILED]
    assert [records[key_of(run)].reason for run in runs[:2]] == ["bad toy", "ZeroDivisionError: broken toy"]
    assert store.get(key_of(runs[2])).status == DONE


def test_processes_that_die_are_failures(store, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    runs = [Toy("a", "die"), Toy("b"), Toy("c", after=Toy("b"))]
    records, _ = go(runs, store, Local(2))
    assert [records[key_of(run)].status for run in runs] == [FAILED, DONE, DONE]
    assert "code 3: last words" in records[key_of(runs[0])].reason


def test_close_ends_what_runs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    pool = Local(1)
    pool.start("k", Job(Toy("a", "sleep")))
    (apart, thread), start = pool.runs[0], time.monotonic()
    while not pool.wait(1):
        assert time.monotonic() < start + 60
    pool.close()
    assert apart.process.poll() is not None and not thread.is_alive() and time.monotonic() < start + 120


def test_same_run_same_bits_in_a_process_of_its_own():
    here, apart = perform(Job(tiny_run()), lambda *_: None).record, perform_apart(Job(tiny_run())).record
    assert here.status == DONE, here.reason
    assert without_seconds(here.result) == without_seconds(apart.result)
    assert (here.result["train_samples"], here.result["test_samples"], len(here.result["history"])) == (48, 16, 1)
    for other in (tiny_run(seed=1), tiny_run(per_channel=True)):
        assert perform(Job(other), lambda *_: None).record.result["digest"] != here.result["digest"]
    assert here.commit == apart.commit and here.versions["numpy"] == np.__version__ and "cores" in here.machine


def test_dask_gives_the_same_bits(store, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    from fqt_ref.experiments.cluster import Cluster

    runs = [tiny_run(seed) for seed in range(2)]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local:
        theirs, _ = go(runs, store, Cluster(local.scheduler_address))
    ours, _ = go(runs, Store(tmp_path / "ours.sqlite"), Local(2))
    for key, found in ours.items():
        assert found.status == DONE == theirs[key].status, theirs[key].reason
        assert without_seconds(found.result) == without_seconds(theirs[key].result)


def test_no_dask_scheduler(only_tiny, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra dask")
    from fqt_ref.experiments import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    line = refused("experiment", "run", "tiny", "--scheduler", "tcp://127.0.0.1:9", "--store", tmp_path / "s.sqlite")
    assert "no Dask scheduler at tcp://127.0.0.1:9" in line


def test_without_dask(only_tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refused("experiment", "run", "tiny", "--scheduler", "tcp://127.0.0.1:9", "--store", tmp_path / "s.sqlite")
    assert "pip install 'fqt[dask]'" in line


@pytest.mark.parametrize(("commits", "message"), [({}, "has no workers"), ({"tcp://w": "0ther"}, "worker tcp://w has commit 0ther")])
def test_workers_have_the_same_tree(commits, message):
    from fqt_ref.experiments.cluster import Cluster

    cluster = Cluster.__new__(Cluster)
    cluster.client = SimpleNamespace(run=lambda function: commits, scheduler=SimpleNamespace(address="tcp://s"))
    with pytest.raises(FqtError, match=message):
        cluster.check()


# Kinds of runs


def tiny_set(folder: Path, name: str) -> None:
    """digits, 64 and 32 of them, as the user's own file."""
    data = load("digits")
    np.savez(folder / f"{name}.npz", x_train=data.train_x[:64], y_train=data.train_y[:64], x_test=data.test_x[:32], y_test=data.test_y[:32])


def test_transfer_from_pretraining_to_retraining(store, tmp_path):
    pytest.importorskip("torch", reason="needs the extra torch")
    from fqt_ref.experiments.transfer import Pretrain
    from fqt_ref.transfer.settings import Settings

    tiny_set(tmp_path, "few")
    first = Pretrain("digits-cnn", "few", Settings(epochs=1, batch_size=16))
    pruned = Prune(replace(first, source=first), 0.5, Settings(epochs=1, batch_size=16))
    run = Retrain(pruned, "uint8", 0, 1, 1, FAST)
    records, _ = go([run], store, data_dir=tmp_path)
    assert [one.status for one in records.values()] == [DONE] * 4, records
    result = records[key_of(run)].result
    assert result["parameters"] < records[key_of(pruned)].result["parameters_before"]
    assert 0 <= result["quantized_test_accuracy"] <= 1 and len(result["history"]) == 1


def test_sets_without_loader_are_found_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FQT_DATA_DIR", raising=False)
    tiny_set(tmp_path, "few")
    data = Place(tmp_path).load("few", 10, 5)
    assert (len(data.train_x), len(data.train_y), len(data.test_x), len(data.test_y)) == (10, 10, 5, 5)
    with pytest.raises(DataNotFound, match=r"no loader for many, and .* has no many.npz"):
        Place(tmp_path).load("many")
    with pytest.raises(FqtError, match="FQT_DATA_DIR"):
        Place().model("mcunet-5fps.json")
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path))
    assert len(Place().load("few").test_x) == 32


def test_memory_is_what_info_says():
    run = Memory("digits-mlp", (8, 8, 1), 10, "uint8", None)
    result = run.perform(Place()).result
    assert result["training_arena_bytes"] == result["training_lower_bound_bytes"] > 0
    assert result["library_network"] + result["library_trainer"] > result["trained_bytes"] > 0


def test_samples_of_cost_have_the_shape():
    for shape in ((28, 28, 1), (49, 40, 3), (1, 512, 2)):
        x, y = digits_as(shape, 7)
        assert x.shape == (7, *shape) and x.dtype == np.uint8 and len(y) == 7 and x.std() > 0
    digits = load("digits").train_x
    assert np.array_equal(digits_as((1, 64, 1), 3)[0][2].ravel(), digits[2].ravel())
    assert np.array_equal(digits_as((16, 16, 1), 3)[0][2, ::2, ::2], digits[2])


def test_cost_is_counted():
    import numba

    from fqt_ref.counting import instructions

    if numba.config.DISABLE_JIT:
        pytest.skip("480 samples take minutes in plain Python")
    try:
        instructions.require("cortex-m4")
    except FqtError as error:
        pytest.skip(str(error))
    run = Cost("cortex-m4", "digits-cnn", (8, 8, 1), 10, "uint8", None, (1.0, 0.5))
    result = run.perform(Place()).result
    assert result == run.perform(Place()).result
    dense, sparse = result["steps"]
    assert dense["instructions"]["backward"] > sparse["instructions"]["backward"] > 0
    assert dense["cycles"]["forward"] >= dense["instructions"]["forward"] > 0 and dense["cycles"]["update"] > 0


def test_cost_without_back_propagation_is_a_row_beside_the_other():
    experiment = ZerothCost("z", "Z", "", (CostSubject("digits-cnn", (8, 8, 1), 10, None),), (Method("FQT"), by_nodes(8)), ("RP2040",))
    first, second = (cell.run for cell in experiment.cells())
    assert first == Cost("cortex-m0", "digits-cnn", (8, 8, 1), 10, "uint8", None)  # whose key is that of a run of before
    assert "queries" not in describe(first) and (second.queries, second.first_node) == (8, 0)
    parts = {"forward": 1e6, "backward": 3e6, "update": 0.0}
    records = {
        first: record("a", steps=[{"instructions": parts, "cycles": parts, "stack": 64}]),
        second: record(
            "b",
            steps=[{"instructions": {**parts, "backward": 7e6}, "cycles": parts, "stack": 96}],
            trainer_bytes=900,
            back_propagation_bytes=1000,
        ),
    }
    (table,) = experiment.tables(records.get)
    assert [row[0] for row in table.rows] == [f"digits-cnn, RP2040, {name}" for name in ("FQT", "8 queries by nodes")]
    assert [row[-3:] for row in table.rows] == [["1.0", "1000", "64"], ["2.0", "900", "96"]]
    (table,) = experiment.tables({second: records[second]}.get)
    assert table.rows[0][1] == "not run" and table.rows[1][-3:] == ["-", "900", "96"]
    assert experiment.charts(lambda _: None) == [] and len(experiment.charts(records.get)) == 1


def test_energy_is_the_stated_model():
    chip = CHIPS["nrf52840"]
    assert seconds(chip, 64e6) == 1 and joules(chip, 64e6) == pytest.approx(7.27e-3 * 3.3)


def test_ablations_find_their_lines(tmp_path):
    for number, change in enumerate((*CHANGES, *TIES)):
        change.apply(tmp_path / str(number))
        made = (tmp_path / str(number) / "fqt_ref" / change.file).read_text()
        assert change.replacement in made
    with pytest.raises(FqtError, match="does not hold once: no such line"):
        replace(CHANGES[0], line="no such line").apply(tmp_path / "none")


def test_ablation_is_performed_by_the_changed_engine(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # a changed engine would have to be compiled
    changed, plain = perform(Job(Ablated(CHANGES[0], tiny_run())), lambda *_: None), perform_apart(Job(tiny_run()))
    assert changed.record.status == DONE, changed.record.reason
    assert changed.record.result["digest"] != plain.record.result["digest"]
    lost = perform(Job(Ablated(CHANGES[0], tiny_run(data="nosuch"))), lambda *_: None)
    assert lost.record.status == NO_DATA


def test_changed_engine_finds_data_where_the_engine_does(monkeypatch, tmp_path):
    """FQT_DATA_DIR is one place of several, and reaches the engine by itself; a folder that is given is the only one."""
    jobs = []

    def apart(job, tree):
        jobs.append(job)
        return SimpleNamespace(read=lambda: [Finished(record())])

    monkeypatch.setattr(ablation, "Apart", apart)
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path))
    for folder in (None, tmp_path):
        Ablated(CHANGES[0], tiny_run()).perform(Place(folder))
    assert [job.data_dir for job in jobs] == [None, tmp_path]


def test_pretraining_without_data_does_not_ask_for_pytorch(monkeypatch):
    monkeypatch.setattr(transfer, "require_one_thread", lambda: pytest.fail("asked"))
    lost = perform(Job(Pretrain("mbednet", "nosuch", Settings(epochs=1))), lambda *_: None)
    assert lost.record.status == NO_DATA and "nosuch" in lost.record.reason


def test_images_are_enlarged():
    pytest.importorskip("PIL", reason="needs the extra images")
    images = np.random.RandomState(0).randint(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    assert enlarged(images, 8, 8) is images
    assert enlarged(images, 16, 12).shape == (2, 16, 12, 3)
    run = FineTune("m.json", "digits", "uint8", 0, 1, 1, FAST)
    lost = perform(Job(run, b"", TESTS), lambda *_: None).record
    assert lost.status == FAILED and "models/m.json" in lost.reason  # it is not the data set that is missing


# Tables and the report


def test_entries_say_what_is_missing(store):
    cells = TINY.cells()
    key = key_of(cells[0].run)
    found = {key: record(key, test_accuracy=0.5), key_of(cells[4].run): record("x", NO_DATA)}
    made = entries(cells, lambda run: found.get(key_of(run)))
    assert made["digits, first 48"]["uint8"] == Entry([50.0], 2, ["not run"])
    assert made["digits, first 48"]["uint8"].text(None) == "50.00 (n=1 of 2)"
    assert made["nosuch"]["uint8"].text(12.5) == "data not found; paper 12.5"
    assert Entry([50.0, 51.0], 2, []).text(60) == "50.50 ± 0.71 (n=2); paper 60"


def test_report(store, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    memory = DeviceMemory("memory", "Memory", "", "digits-mlp", None, shapes=(("digits", (8, 8, 1), 10),))
    cost = DeviceCost("cost", "Cost", "", "digits-mlp", None, shapes=(("digits", (8, 8, 1), 10),), configs=("uint8",), rates=(1.0, 0.5))
    cells = TINY.cells()
    for seed, cell in enumerate(cells[:2]):
        epochs = [{"loss": 1 / (epoch + 1), "test_accuracy": 0.4 + 0.1 * seed + 0.1 * epoch} for epoch in range(2)]
        store.put(record(key_of(cell.run), test_accuracy=epochs[-1]["test_accuracy"], history=epochs, data="digits-test-part"))
    store.put(record(key_of(cells[4].run), NO_DATA, "not to be had"))
    sizes = ("training_arena", "training_lower_bound", "inference_arena", "trained", "file")
    store.put(record(key_of(memory.cells()[0].run), **{f"{name}_bytes": 1000 for name in sizes}))
    parts = {"forward": 6e6, "backward": 12e6, "update": 6e5}
    half = {**parts, "backward": 6e6}
    step = [{"rate": rate, "instructions": c, "cycles": c, "stack": 0} for rate, c in ((1.0, parts), (0.5, half))]
    store.put(record(key_of(cost.cells()[0].run), steps=step))
    files = write_report([TINY, memory, cost], store, tmp_path / "report")
    assert {path.name for path in files} == {path.name for path in (tmp_path / "report").iterdir()}
    assert {"results.md", "results.html", "tiny-accuracy.png", "memory-ram.png", "cost-time.png"} <= {path.name for path in files}
    text = (tmp_path / "report" / "results.md").read_text()
    assert "| digits, first 48 | 55.00 ± 7.07 (n=2) | not run |" in text
    assert "| nosuch | data not found; paper 12.5 | not run |" in text and "data not found: nosuch: not to be had" in text
    assert "data: digits was digits-test-part" in text
    assert "| digits, uint8 | 1000 | 1000 | 1000 | 1000 | RP2040, nrf52840, IMXRT1062 |" in text
    assert "| digits, uint8, IMXRT1062, lambda_min 0.5 | 10 | 10 | 1 | 7.5 | 6000000 | 2.00 |" in text
    page = (tmp_path / "report" / "results.html").read_text()
    assert "Tiny &lt;title&gt;" in page and page.count("<img") == len(re.findall(r'src="data:image/png;base64,', page)) == 5
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for path in files[2:]:
        assert path.read_bytes().startswith(b"\x89PNG") and path.name in text


def test_status_estimates(store):
    runs = [cell.run for cell in TINY.cells()]
    store.put(record(key_of(runs[0]), test_accuracy=0.5))
    store.put(record(key_of(runs[4]), NO_DATA))
    found = status(TINY, store.all())
    assert (found["runs"], found["done"], found["data_not_found"], found["seconds_done"]) == (8, 1, 1, 1.5)
    assert found["seconds_left"] is None  # nothing of the other set has been timed
    assert status(replace(TINY, tasks=TINY.tasks[:1]), store.all())["seconds_left"] == 3 * 1.5
    assert [duration(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


# The command


def test_list_run_report(only_tiny, tmp_path):
    path, options = tmp_path / "s.sqlite", ("--store", tmp_path / "s.sqlite")
    before = json.loads(fqt("experiment", "list", "--json", *options).stdout)
    assert before["experiments"][0]["done"] == 0 and not path.exists()
    done = fqt("experiment", "run", "tiny", "--seeds", 1, "--jobs", 2, "--json", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["runs"], result["done"], result["data_not_found"], result["failed"], result["stopped"]) == (4, 2, 2, 0, False)
    kept = Store(path).all()
    more = json.loads(fqt("experiment", "run", "all", "--only", "digits, first 48, uint8", "--json", *options).stdout)
    assert (more["runs"], more["done"]) == (1, 1)
    assert {key: one for key, one in Store(path).all().items() if key in kept} == kept
    assert "3/8 done, 2 without data" in fqt("experiment", "list", *options).stdout
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    report = fqt("experiment", "report", "-o", tmp_path / "report", *options)
    assert report.returncode == 0 and "results.html" in report.stdout


def test_failed_runs_have_exit_code_1(monkeypatch, tmp_path):
    cell = TINY.cells()[0]
    broken = replace(TINY, tasks=(Task("digits", 0),), configs=("uint8",), seeds=1)
    monkeypatch.setattr(catalogue, "EXPERIMENTS", (broken,))
    done = fqt("experiment", "run", "tiny", "--store", tmp_path / "s.sqlite")
    assert done.returncode == 1 and "epochs 0 is not at least 1" in done.stdout
    assert cell.run.lacks() is None


def test_bad_input(only_tiny, tmp_path):
    options = ("--store", tmp_path / "s.sqlite")
    assert "'nosuch' does not exist: choose from tiny" in refused("experiment", "run", "nosuch", *options)
    assert "choose one" in refused("experiment", "run", "tiny", "--jobs", 2, "--scheduler", "tcp://x:1", *options)
    assert "no run has 'zzz'" in refused("experiment", "run", "tiny", "--only", "zzz", *options)
    assert "does not exist" in refused("experiment", "run", "tiny", "--data-dir", tmp_path / "none", *options)
    assert "no such store" in refused("experiment", "report", "--store", tmp_path / "none.sqlite", "-o", tmp_path / "r")
    (tmp_path / "bad").write_bytes(b"x" * 4096)
    assert "not a store" in refused("experiment", "list", "--store", tmp_path / "bad")
    assert "Missing argument" in refused("experiment", "run")


def test_interrupt_while_a_run_begins_ends_its_process(monkeypatch):
    def interrupted(thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(Thread, "start", interrupted)
    pool = Local(1)
    with pytest.raises(KeyboardInterrupt):
        pool.start("k", Job(tiny_run()))
    ((apart, _),) = pool.runs
    pool.close()
    assert apart.process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_goes_on_after_a_kill(way, tmp_path):
    path = tmp_path / "s.sqlite"
    command = [sys.executable, "-c", COMMAND.format(tests=str(TESTS)), "experiment", "run", "tiny", "--json", "--store", str(path)]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    listens = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a script's background jobs do not
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=listens)
    start = time.monotonic()
    while not path.exists() or not [one for one in Store(path).all().values() if one.status == DONE]:
        assert process.poll() is None and time.monotonic() < start + 300
        time.sleep(0.05)
    process.send_signal(way)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == (-way if way == signal.SIGKILL else 130), errors
    assert way == signal.SIGKILL or (json.loads(output)["stopped"] and b"the same command goes on" in errors)
    kept = {key: one for key, one in Store(path).all().items() if one.status == DONE}
    assert 1 <= len(kept) < 4
    again = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=True)
    assert json.loads(again.stdout)["done"] == 4 - len(kept)
    after = Store(path).all()
    assert {key: after[key] for key in kept} == kept and sum(one.status == DONE for one in after.values()) == 4
