# SPDX-License-Identifier: Apache-2.0
"""The fqt command as a user meets it: results on standard output, one clear line and exit code 2 for what cannot work."""

import functools
import io
import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

from fqt_ref import model_file
from fqt_ref.cli import main
from fqt_ref.deploy_config import on_chip
from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.stop import stoppable
from fqt_ref.train_step import train_config
from fqt_ref.zeroth_order import zeroth_config

SMALL = ["--network", "digits-mlp", "--epochs", "6", "--batch-size", "16", "--learning-rate", "0.01"]


class Done(NamedTuple):
    """What a finished command left."""

    returncode: int
    stdout: str
    stderr: str


def fqt(*arguments) -> Done:
    """Run the command in this process, as its entry point would."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", ["fqt", *map(str, arguments)]):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def refused(*arguments) -> str:
    """The one line of a command that must be refused."""
    done = fqt(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("fqt: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model file and what `fqt train --json` said of it."""
    path = tmp_path_factory.mktemp("model") / "m.fqt"
    done = fqt("train", *SMALL, "--json", "-o", path)
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)


def test_train_writes_a_model_that_evaluates_alike(trained):
    path, result = trained
    assert result["test_accuracy"] > 0.85
    assert len(result["epochs"]) == 6
    for threads in (1, 3):
        evaluated = json.loads(fqt("evaluate", path, "--threads", threads, "--json").stdout)
        assert evaluated["test_accuracy"] == result["test_accuracy"]


def test_one_seed_one_file(trained, tmp_path):
    again = tmp_path / "again.fqt"
    assert fqt("train", *SMALL, "-o", again).returncode == 0
    assert again.read_bytes() == trained[0].read_bytes()
    other = tmp_path / "other.fqt"
    assert fqt("train", *SMALL, "--seed", 1, "-o", other).returncode == 0
    assert other.read_bytes() != trained[0].read_bytes()


def test_training_goes_on_from_a_file(trained, tmp_path):
    path = tmp_path / "more.fqt"
    done = fqt("train", "--from", trained[0], "--train-last", 1, "--epochs", 1, "--batch-size", 16, "-o", path, "--json")
    assert done.returncode == 0, done.stderr
    before, after = model_file.read(trained[0]), model_file.read(path)
    assert (before.weights[0] == after.weights[0]).all()
    assert (before.weights[1] != after.weights[1]).any()


def test_info_lists_layers(trained):
    description = json.loads(fqt("info", trained[0], "--json").stdout)
    assert [layer["op"] for layer in description["layers"]] == ["linear", "linear"]
    assert description["weights"] == 64 * 12 + 12 * 10
    assert description["trained_bytes"] == 5 * description["weights"] + 8 * (12 + 10)
    assert "linear + relu" in fqt("info", trained[0]).stdout


def test_every_command_has_help():
    listing = fqt("--help").stdout
    for command in ("train", "evaluate", "golden", "deploy", "crosscheck", "info", "fit"):
        assert command in listing
        done = fqt(command, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout


def test_the_installed_command_refuses_alike(tmp_path):
    command = [sys.executable, "-m", "fqt_ref", "info", str(tmp_path / "none.fqt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No such file" in done.stderr


def test_plot_is_a_picture(tmp_path):
    picture = tmp_path / "p.png"
    assert fqt("train", *SMALL, "--plot", picture, "-o", tmp_path / "m.fqt").returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def trained_until(number: signal.Signals, path, *arguments) -> Done:
    """`fqt train` into a path, which gets a signal some time after its third epoch."""
    command = [sys.executable, "-m", "fqt_ref", "train", "--network", "digits-cnn", "--epochs", "100000", "-o", str(path), *arguments]
    # A shell's background jobs, and so tests that run in one, ignore Ctrl-C.
    listens = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=listens)
    assert process.stderr is not None
    while "epoch 3:" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_keeps_what_was_learnt(tmp_path, number):
    path = tmp_path / "m.fqt"
    done = trained_until(number, path, "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["stopped"]) == (0, True) and len(result["epochs"]) >= 3
    assert model_file.read(path).name == "digits-cnn"


def test_a_kill_costs_the_running_epoch_at_most(tmp_path):
    path = tmp_path / "m.fqt"
    assert trained_until(signal.SIGKILL, path).returncode == -signal.SIGKILL
    assert json.loads(fqt("evaluate", path, "--json").stdout)["test_accuracy"] > 0.5


def test_stops_are_heard_inside_and_left_alone_outside(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, ignored)


@pytest.mark.parametrize(
    ("redirection", "message"),
    [(">/dev/full", "No space left on device"), (">&-", "standard output is closed"), ("| true", "Broken pipe")],
)
def test_a_result_that_nobody_can_read_is_one_line(trained, redirection, message):
    wait = "sleep 2; " if "|" in redirection else ""  # until the reader is gone
    command = f'({wait}"$0" -m fqt_ref info "$1"; echo "code $?" >&2) {redirection}'
    done = subprocess.run(["bash", "-c", command, sys.executable, trained[0]], capture_output=True, text=True, check=False, timeout=60)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and message in lines[0] and lines[1] == "code 2", done.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_terminal_that_is_gone_does_not_stop_a_training(tmp_path, redirection):
    path = tmp_path / "m.fqt"
    command = f'"$0" -m fqt_ref train {" ".join(SMALL)} -o "$1" {redirection}'
    done = subprocess.run(["bash", "-c", command, sys.executable, path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "after 6 epochs" in done.stdout
    assert model_file.read(path).name == "digits-mlp"


# ---- Hazards: each gets its one clear line ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "batch size 0"),
        (["--batch-size", "70000"], "batch size 70000"),
        (["--epochs", "-1"], "epochs -1"),
        (["--learning-rate", "0"], "learning rate"),
        (["--learning-rate", "nan"], "learning rate"),
        (["--lambda-min", "1.5"], "--lambda-min 1.5 is not in 0..1"),
        (["--lambda-min", "0.9", "--lambda-max", "0.5"], "exceeds lambda_max"),
        (["--network", "resnet-1000"], "network 'resnet-1000' does not exist"),
        (["--config", "uint4"], "configuration 'uint4' does not exist"),
        (["--train-last", "9"], "cannot train the last 9 layers"),
        (["--data", "imagenet"], "imagenet"),
        (["--batch-size", "many"], "many"),
        (["--epochs", "1" + "0" * 20], "is not in 0..1000000"),
        (["--seed", "4294967296"], "4294967296 is not in the range 0<=x<=4294967295"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--learning-rate", "1e39"], "learning rate inf is not in 0..1"),
        (["--train-last", "0"], "0 is not in the range 1<=x<=255"),
        (["--zeroth", "1" + "0" * 20], "is not in 1..57344"),
    ],
)
def test_hazard_options_that_make_no_sense(options, message, tmp_path):
    assert message in refused("train", *SMALL, *options, "-o", tmp_path / "m.fqt")
    assert list(tmp_path.iterdir()) == []


def test_hazard_empty_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    line = refused("train", "--data", "fashion-mnist", "--data-dir", tmp_path / "data", "-o", tmp_path / "m.fqt")
    assert str(tmp_path / "data") in line


def arrays(tmp_path, **changes):
    """A user's .npz with some arrays replaced."""
    rng = np.random.RandomState(0)
    data = {
        "x_train": rng.rand(20, 8, 8).astype(np.float32),
        "y_train": np.arange(20) % 4,
        "x_test": rng.rand(8, 8, 8).astype(np.float32),
        "y_test": np.arange(8) % 4,
        **changes,
    }
    path = tmp_path / "mine.npz"
    np.savez(path, **data)
    return path


def test_own_npz_trains(tmp_path):
    assert fqt("train", *SMALL, "--data", arrays(tmp_path), "-o", tmp_path / "m.fqt").returncode == 0


def test_hazard_nan_in_an_image(tmp_path):
    x = np.zeros((20, 8, 8), np.float32)
    x[7, 3, 3] = np.nan
    line = refused("train", *SMALL, "--data", arrays(tmp_path, x_train=x), "-o", tmp_path / "m.fqt")
    assert "x_train" in line
    assert "7" in line


def test_hazard_label_out_of_range(tmp_path):
    line = refused("train", *SMALL, "--data", arrays(tmp_path, y_test=np.full(8, -3)), "-o", tmp_path / "m.fqt")
    assert "-3" in line


def test_hazard_model_files(trained, tmp_path):
    data = trained[0].read_bytes()
    for name, content, message in (
        ("cut.fqt", data[:-9], "cut off or overlong"),
        ("long.fqt", data + b"more", "cut off or overlong"),
        ("flip.fqt", data[:99] + bytes([data[99] ^ 1]) + data[100:], "checksum"),
        ("text.fqt", b"#!/bin/sh\n" * 20, "not a model file"),
    ):
        (tmp_path / name).write_bytes(content)
        for command in ("evaluate", "info"):
            assert message in refused(command, tmp_path / name)
    assert "No such file" in refused("info", tmp_path / "none.fqt")


def test_hazard_model_and_data_that_do_not_fit(trained, tmp_path):
    rng = np.random.RandomState(0)
    path = arrays(tmp_path, x_train=rng.rand(20, 9, 8).astype(np.float32), x_test=rng.rand(8, 9, 8).astype(np.float32))
    assert "shape" in refused("evaluate", trained[0], "--data", path)
    assert "12 classes" in refused("evaluate", trained[0], "--data", arrays(tmp_path, y_train=np.arange(20) % 12))


def test_hazard_network_too_large_for_its_input(tmp_path):
    x = np.random.RandomState(0).rand(20, 2, 2).astype(np.float32)
    line = refused("train", "--network", "mnist-cnn", "--data", arrays(tmp_path, x_train=x, x_test=x[:8]), "-o", tmp_path / "m.fqt")
    assert "does not fit" in line


def test_hazard_unwritable_output(tmp_path):
    assert "cannot write" in refused("train", *SMALL, "--epochs", 0, "-o", tmp_path / "no" / "such" / "m.fqt")


def test_crosscheck_reports_counts():
    result = json.loads(fqt("crosscheck", "--networks", 2, "--steps", 2, "--seed", 77, "--json").stdout)
    assert (result["networks"], result["steps"], result["differences"]) == (2, 2, 0)
    assert result["values_compared"] > 100
    assert "target 'z80'" in refused("crosscheck", "--target", "z80")


def test_trains_without_back_propagation(tmp_path):
    done = fqt("train", *SMALL, "--zeroth", 4, "--json", "-o", tmp_path / "m.fqt")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] > 0.5
    assert model_file.read(tmp_path / "m.fqt").name == "digits-mlp"


def test_estimates_that_cannot_be_are_refused(tmp_path):
    assert "queries 0 is not in" in refused("train", *SMALL, "--zeroth", 0, "-o", tmp_path / "m.fqt")
    line = refused("train", *SMALL, "--zeroth", 2, "--config", "float32", "-o", tmp_path / "m.fqt")
    assert "only quantized layers train without back-propagation" in line
    assert not (tmp_path / "m.fqt").exists()


def test_deploy_writes_the_trainer_without_back_propagation(trained, tmp_path):
    options = ("--board", "qemu_cortex_m3", "--no-build", "--zeroth", 3, "--first-node", 1000, "--one-sided", "-o", tmp_path / "zeroth")
    done = fqt("deploy", trained[0], *options)
    assert done.returncode == 0, done.stderr
    network = model_file.read(trained[0])
    config = zeroth_config(network, 8, 3, antithetic=False, first_node=1000)
    lines = set((tmp_path / "zeroth" / "fqt.conf").read_text().splitlines())
    assert f"CONFIG_FQT_APP_TRAINER_BYTES={(zeroth_memory(network, config).trainer + 7) // 8 * 8}" in lines
    switches = {"ZEROTH_ORDER=y", "QUERIES=3", "FIRST_NODE=255", "ANTITHETIC=n", "EXACT_LAST=n", "NODE_STEP=5"}
    assert {f"CONFIG_FQT_APP_{switch}" for switch in switches} <= lines
    assert "queries 0 is not in" in refused("deploy", trained[0], "--board", "qemu_cortex_m3", "--zeroth", 0, "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_deploy_writes_how_to_train(trained, tmp_path):
    options = ("--lambda-min", 0.07, "--lambda-max", 0.5, "--sparse-last", "--weight-range", "moving-average", "--range-rate", 0.25)
    command = (trained[0], "--board", "qemu_cortex_m3", "--no-build", *options, "--stochastic-errors", "all", "-o", tmp_path / "rule")
    done = fqt("deploy", *command)
    assert done.returncode == 0, done.stderr
    lines = set((tmp_path / "rule" / "fqt.conf").read_text().splitlines())
    wanted = {
        "LAMBDA_MIN_PERCENT=7",
        "LAMBDA_MAX_PERCENT=50",
        "SPARSE_LAST=y",
        "WEIGHT_RANGE_MOVING_AVERAGE=y",
        "RANGE_RATE_DIGITS=25",
        "RANGE_RATE_EXPONENT=2",
    }
    assert {f"CONFIG_FQT_APP_{switch}" for switch in wanted | {"STOCHASTIC_ERRORS_ALL=y"}} <= lines
    network = model_file.read(trained[0])
    assert f"CONFIG_FQT_APP_TRAINER_BYTES={(device_memory(network, keeps_ranges=True).trainer + 7) // 8 * 8}" in lines
    board = ("--board", "qemu_cortex_m3", "--no-build", "-o", tmp_path / "none")
    assert "lambda-min 0.125 is not a whole percent" in refused("deploy", trained[0], *board, "--lambda-min", 0.125)
    assert "leave those options away" in refused("deploy", trained[0], *board, "--zeroth", 2, "--weight-range", "literal")
    assert not (tmp_path / "none").exists()


def test_an_application_trains_with_the_numbers_of_the_engine():
    """Kconfig's percents as settings.c makes Q12 of them."""
    for whole in range(101):
        made = on_chip(train_config(lambda_min=whole / 100))
        assert (made.lambda_min_percent, made.config(1).lambda_min) == (whole, (whole * 4096 + 50) // 100)


def test_info_tells_the_memory_of_both_trainers(trained):
    description, network = json.loads(fqt("info", trained[0], "--json").stdout), model_file.read(trained[0])
    assert description["trainer_bytes"] == device_memory(network).trainer
    for first_node, key in ((0, "zeroth_nodes_trainer_bytes"), (255, "zeroth_weights_trainer_bytes")):
        assert description[key] == zeroth_memory(network, zeroth_config(network, 1, 8, first_node=first_node)).trainer


@pytest.mark.parametrize(
    "command",
    [
        ["import", "m.onnx", "-o", "out", "--train-last", "0"],
        ["import", "m.onnx", "-o", "out", "--seed", "4294967296"],
        ["import", "m.onnx", "-o", "out", "--input-zero", "256"],
        ["crosscheck", "--networks", "0"],
        ["crosscheck", "--steps", "10000000000"],
        ["deploy", "m.fqt", "--board", "qemu_cortex_m3", "--seconds", "0"],
        ["deploy", "m.fqt", "--board", "qemu_cortex_m3", "--baud", "-9600"],
        ["deploy", "m.fqt", "--board", "qemu_cortex_m3", "--epochs", "10000000000"],
        ["evaluate", "m.fqt", "--threads", "257"],
        ["prune", "n.npz", "--data", "digits", "-o", "out", "--share", "nan"],
        ["prune", "n.npz", "--data", "digits", "-o", "out", "--share", "1"],
        ["prune", "n.npz", "--data", "digits", "-o", "out", "--last", "0"],
        ["quantize", "n.npz", "--data", "digits", "-o", "out", "--percentile", "nan"],
        ["pretrain", "--data", "digits", "-o", "out", "--weight-decay", "inf"],
        ["pretrain", "--data", "digits", "-o", "out", "--epochs", "10000000000"],
        ["pretrain", "--data", "digits", "-o", "out", "--seed", "-1"],
        ["retrain", "m.fqt", "--data", "digits", "-o", "out", "--reset-last", "0"],
        ["transfer", "--data", "digits", "-o", "out", "--pretrain-epochs", "0"],
    ],
)
def test_hazard_numbers_of_other_commands(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command[-1].lstrip("-") in refused(*command)
    assert list(tmp_path.iterdir()) == []
