# SPDX-License-Identifier: Apache-2.0
"""The ztest suites and the application under Zephyr, by twister on the emulated boards."""

import json
import re
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from fqt_ref import train_step as ts
from fqt_ref import zephyr
from fqt_ref import zeroth_order as zo
from fqt_ref.errors import FqtError
from fqt_ref.model_file import read
from fqt_ref.state import state_checksum
from fqt_ref.training import prepared_state

sys.path.append(str(zephyr.APP / "pytest"))
import margin

NATIVE = "native_sim/native/64"  # this machine: no 32-bit libraries are asked for
PLATFORMS = ("qemu_cortex_m0", "qemu_cortex_m0_256k", "qemu_cortex_m3", "qemu_cortex_m4", "qemu_cortex_m7", NATIVE)
# 16 KB of RAM hold the smallest network, but not the application.
APPLICATION_PLATFORMS = (*PLATFORMS[1:-1], "native_sim")
SHELL_PLATFORMS = PLATFORMS[1:3]
ZEROTH_PLATFORMS = ("qemu_cortex_m0_256k", "qemu_cortex_m4")
BITS, LOGIC = ("operators", "training_step", "trajectory"), ("model_file", "preemption")
KINDS = {
    "qemu_cortex_m0": ("training_step", "trajectory", "preemption"),
    "qemu_cortex_m0_256k": BITS + LOGIC,
    "qemu_cortex_m3": (*BITS, *LOGIC, "drop_newest", "drop_oldest"),
    "qemu_cortex_m4": (*BITS, "preemption"),
    "qemu_cortex_m7": BITS,
    "native_sim": ("drop_newest", "drop_oldest"),
}


@pytest.fixture(scope="module")
def workspace():
    """(Zephyr tree, environment) or a skip that says why."""
    try:
        base = zephyr.find_zephyr()
        return base, zephyr.environment(base)
    except FqtError as error:
        pytest.skip(f"twister did not run: {error}")


@pytest.fixture(scope="module")
def report(workspace):
    """Twister's report of all suites and the application on all emulated boards."""
    base, env = workspace
    out = zephyr.ROOT / "build" / "twister"  # below ccache's base folder
    out.mkdir(parents=True, exist_ok=True)
    platforms = [argument for name in PLATFORMS for argument in ("-p", name)]
    options = [argument for option in zephyr.cmake_options(env) for argument in ("-x", option)]
    command = [
        zephyr.twister_python(base),
        str(base / "scripts" / "twister"),
        "-T",
        str(zephyr.APP),
        "-A",
        str(zephyr.APP / "boards"),
    ]
    command += [*platforms, *options, "-j", "2", "--inline-logs", "-O", str(out / "run"), "--clobber-output", "--overflow-as-errors"]
    done = subprocess.run(command, env=env, cwd=out, capture_output=True, text=True, timeout=2400, check=False)
    found = out / "run" / "twister.json"
    assert found.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return done, json.loads(found.read_text())["testsuites"], out / "run"


def test_twister_passes_everywhere(report):
    done, suites, _ = report
    failed = [f"{s['platform']} {s['name']}: {s.get('reason', s['status'])}" for s in suites if s["status"] in ("failed", "error")]
    assert not failed, "\n".join(failed) + done.stdout[-4000:]
    assert done.returncode == 0, done.stdout[-4000:]


def test_every_board_ran_its_suites(report):
    _, suites, _ = report
    ran = {(s["platform"].split("/")[0], s["name"]) for s in suites if s["status"] == "passed"}
    for platform, kinds in KINDS.items():
        names = " ".join(name for board, name in ran if board == platform)
        for kind in kinds:
            assert kind in names, f"{platform} did not run {kind}: {names}"


def test_application_learns_and_obeys_its_shell(report):
    _, suites, _ = report
    ran = {(s["platform"].split("/")[0], s["name"].split("/")[-1]) for s in suites if s["status"] == "passed"}
    assert {(platform, "sample.fqt.learns") for platform in APPLICATION_PLATFORMS} <= ran
    assert {(platform, "sample.fqt.zeroth") for platform in ZEROTH_PLATFORMS} <= ran
    assert {(platform, "sample.fqt.shell") for platform in SHELL_PLATFORMS} <= ran


def test_every_case_passed(report):
    _, suites, _ = report
    cases = [c for s in suites if s["status"] == "passed" for c in s.get("testcases", [])]
    assert len(cases) >= 80
    assert {c["status"] for c in cases} <= {"passed", "skipped"}


def test_every_stack_keeps_a_margin(report):
    """Of the scenarios whose console twister reads; the others' are looked at in zephyr_app/pytest."""
    _, _, folder = report
    boards = set()
    for log in folder.rglob("handler.log"):
        lines = log.read_text(errors="replace").splitlines()
        if "sample.fqt" in str(log) and "qemu" in str(log) and any("fqt: stack interrupts" in line for line in lines):
            giver = "stream" if "sample.fqt.stream" in str(log) else "source"  # the thread that hands samples to training
            assert margin.too_small(lines, "main", "inference", "training", giver, "idle", "interrupts") == {}, log
            boards.add(log.relative_to(folder).parts[0])
    assert {board.partition("_")[2] for board in boards} >= {"cortex_m0_256k", "cortex_m3", "cortex_m4", "cortex_m7"} or len(boards) >= 4


def test_native_sim_goes_on_and_ends_when_it_is_told(report):
    """Time stands still there while code runs: training has to let it pass, or nothing is printed and no signal seen."""
    _, _, folder = report
    (program,) = (path for path in folder.rglob("zephyr.exe") if "sample.fqt.learns" in str(path))
    with subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        assert any("fqt: step " in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def kconfig_default(name: str) -> int:
    """A number in the application's Kconfig."""
    kconfig = (zephyr.APP / "Kconfig").read_text()
    return int(re.search(rf"config FQT_APP_{name}\n.*?default (\d+)", kconfig, re.S).group(1))


def kconfig_rate() -> float:
    """The application's learning rate unless told otherwise."""
    return float(f"{kconfig_default('LEARNING_RATE_DIGITS')}e-{kconfig_default('LEARNING_RATE_EXPONENT')}")


def kconfig_estimates(network, batch_size: int) -> zo.ZerothConfig:
    """How the application estimates gradients unless told otherwise."""
    numbers = {name: kconfig_default(name.upper()) for name in ("queries", "weight_step", "bias_step", "node_step", "first_node")}
    return zo.zeroth_config(network, batch_size, antithetic=True, exact_last=False, **numbers)


OPTIONS = {"options": {"weight_range": "moving-average", "stochastic_errors": "all"}}  # what scenarios of sample.yaml turn on


@pytest.mark.parametrize("scenario", ["learns", "no_shell", "zeroth", "options"])
def test_applications_checksum_is_the_engines(scenario):
    """sample.yaml expects the state after 640 steps; the engine gets there from the same files, and a failure shows the new checksum."""
    text = (zephyr.APP / "sample.yaml").read_text()
    block = re.search(rf"  sample\.fqt\.{scenario}:\n(.*?)(\n  \S|\Z)", text, re.S).group(1)
    (expected,) = re.findall(r"checksum 0x([0-9a-f]{8}) step 640", block)
    blob = (zephyr.APP / "data" / "samples.bin").read_bytes()
    count, size = np.frombuffer(blob, "<u4", 2)
    labels = np.frombuffer(blob, "<u2", 2 * count, 8)[::2].astype(np.int64)
    samples = np.frombuffer(blob, np.uint8, count * size, 8 + 4 * count).reshape(count, size).copy()
    network, batch_size = read(zephyr.APP / "data" / "model.fqt"), kconfig_default("BATCH_SIZE")
    config = ts.train_config(batch_size, kconfig_rate(), seed=kconfig_default("SEED"), **OPTIONS.get(scenario, {}))
    order = np.arange(640) % int(count)
    losses, predictions = np.zeros(640, np.int64), np.zeros(640, np.int64)
    if scenario == "zeroth":
        estimates = kconfig_estimates(network, batch_size)
        state = zo.prepared_state(network, config, estimates)
        zo.train(state, config, estimates, samples, labels, order, losses, predictions)
    else:
        state = prepared_state(network, config)
        ts.train(state, config, samples, labels, order, losses, predictions)
    assert f"{state_checksum(state):08x}" == expected
    assert np.mean(losses[-64:]) < np.mean(losses[:64]) / 2
    assert np.mean(predictions[-64:] == labels[order[-64:]]) > 0.8


def test_deployed_network_learns_on_the_emulated_core(workspace, tmp_path):
    model = tmp_path / "untrained.fqt"
    fqt = [sys.executable, "-m", "fqt_ref"]
    subprocess.run([*fqt, "train", "--network", "digits-cnn", "--epochs", "0", "-o", str(model)], check=True, capture_output=True)
    command = [*fqt, "deploy", str(model), "--board", "qemu_cortex_m3", "--learning-rate", "0.003", "--run", "--embedded"]
    command += ["--seconds", "20", "--json"]
    done = subprocess.run([*command, "-o", str(tmp_path / "build")], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stderr.splitlines() if line.startswith("fqt: step"))
    before, after = (float(re.search(r"loss (\d+\.\d+)", line)[1]) for line in (first, json.loads(done.stdout)["last_status"]))
    assert after < before / 2


def test_a_board_with_one_uart_learns_what_is_sent(workspace, tmp_path):
    model = zephyr.APP / "data" / "model.fqt"
    command = [sys.executable, "-m", "fqt_ref", "deploy", str(model), "--board", "qemu_cortex_m0_256k"]
    command += ["--run", "--samples", "50", "--json"]
    done = subprocess.run([*command, "-o", str(tmp_path / "build")], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["streamed"], result["updates"], result["equal"]) == (50, 7, True)


def test_deployed_network_learns_without_back_propagation(workspace, tmp_path):
    model = zephyr.APP / "data" / "model.fqt"
    command = [sys.executable, "-m", "fqt_ref", "deploy", str(model), "--board", "qemu_cortex_m3", "--zeroth", "2", "--first-node", "1"]
    command += ["--learning-rate", "0.005", "--run", "--samples", "50", "--json"]
    done = subprocess.run([*command, "-o", str(tmp_path / "build")], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["streamed"], result["updates"], result["equal"]) == (50, 7, True)


def test_python_can_run_twister(workspace):
    base, _ = workspace
    done = subprocess.run([zephyr.twister_python(base), "-c", "import yaml, pykwalify, elftools"], check=False, timeout=60)
    assert done.returncode == 0


def test_setuptools_that_twister_cannot_use_is_one_line(workspace, tmp_path):
    """PyTorch's installation may raise it. scripts/setup.sh puts an older one back."""
    base, _ = workspace
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any package
    python.chmod(0o755)
    with mock.patch.object(zephyr, "python_for", return_value=str(python)), pytest.raises(FqtError, match="pip install 'setuptools<81'"):
        zephyr.twister_python(base)


def test_set_up_looks_for_what_twister_imports_each_time():
    script = (zephyr.ROOT / "scripts" / "setup.sh").read_text()
    behind_the_stamp = script.rpartition(".fqt-stamp\nfi\n")[2]
    assert "import pkg_resources" in behind_the_stamp
    assert "setuptools<81" in behind_the_stamp
