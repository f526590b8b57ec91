# SPDX-License-Identifier: Apache-2.0
"""`fqt fit` against the linker, and `fqt deploy`: what it links, and what the emulated board learns from what it is sent."""

import json
import re
import subprocess
import sys

import pytest

from fqt_ref import device, model_file, zephyr
from fqt_ref import fit as fitting
from fqt_ref.datasets import load
from fqt_ref.deploy_config import fragment, on_chip
from fqt_ref.errors import FqtError
from fqt_ref.train_step import train_config
from fqt_ref.training import fresh_network

FQT = [sys.executable, "-m", "fqt_ref"]
# Two emulated and two real boards, each with another network.
BUILT = {
    "qemu_cortex_m3": ("digits-mlp", "uint8"),
    "qemu_cortex_m4": ("digits-cnn", "mixed"),
    "rpi_pico": ("digits-cnn", "uint8"),
    "nrf52840dk/nrf52840": ("digits-mlp", "uint8"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model files of (network, configuration)."""
    folder, data = tmp_path_factory.mktemp("models"), load("digits")
    paths = {}
    for name, config in {*BUILT.values(), ("mnist-cnn", "float32")}:
        paths[name, config] = folder / f"{name}-{config}.fqt"
        model_file.write(paths[name, config], fresh_network(name, config, data, 0))
    return paths


@pytest.fixture(scope="module")
def workspace():
    try:
        zephyr.environment(zephyr.find_zephyr())
    except FqtError as error:
        pytest.skip(f"nothing was built: {error}")


def fit_json(*arguments) -> dict:
    done = subprocess.run([*FQT, "fit", *map(str, arguments), "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("board", list(BUILT))
def test_figures_are_the_linkers(workspace, models, tmp_path, board):
    model = models[BUILT[board]]
    command = [*FQT, "deploy", str(model), "--board", board, "-o", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    linker = linkers_figures(done.stderr)
    predicted = fit_json(model, "--board", board)
    assert predicted["exact"]
    assert (predicted["flash_bytes"], predicted["ram_bytes"]) == (linker["FLASH"], linker["RAM"])
    stacks = check_symbols(tmp_path / "build" / "zephyr" / "zephyr.elf", BUILT[board])
    assert predicted["stack_bytes"] == stacks


def linkers_figures(output: str) -> dict[str, int]:
    """Bytes of FLASH and RAM that the linker has printed; whole kilobytes it prints as such."""
    return {name: int(size) * {"B": 1, "KB": 1024}[unit] for name, size, unit in re.findall(r"(FLASH|RAM): +(\d+) (K?B)", output)}


def test_a_build_without_options_is_readmes_table(workspace, tmp_path):
    """`west build` alone takes the model in zephyr_app/data with the options beside it: what `fqt fit` says of that model."""
    env = zephyr.environment(zephyr.find_zephyr())
    command = ["west", "build", "-b", "qemu_cortex_m3", "-d", str(tmp_path / "build"), str(zephyr.APP), "--"]
    command += [f"-D{option}" for option in zephyr.cmake_options(env)]
    done = subprocess.run(command, env=env, cwd=zephyr.APP, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    predicted = fit_json(zephyr.APP / "data" / "model.fqt", "--board", "qemu_cortex_m3")
    linker = linkers_figures(done.stdout)
    assert (predicted["flash_bytes"], predicted["ram_bytes"]) == (linker["FLASH"], linker["RAM"])
    config = (tmp_path / "build" / "zephyr" / ".config").read_text()
    assert "CONFIG_BOOT_BANNER=y" in config
    version = (tmp_path / "build" / "zephyr" / "include" / "generated" / "zephyr" / "version.h").read_text()
    assert re.search(r"^#define BUILD_VERSION *$", version, re.M), "the boot banner depends on where Zephyr comes from"


def test_options_beside_the_model_are_those_that_deploy_writes():
    written = fragment(model_file.read(zephyr.APP / "data" / "model.fqt"), on_chip(train_config(8, 0.005)))
    lines = [line for line in (zephyr.APP / "data" / "fqt.conf").read_text().splitlines() if not line.startswith("#")]
    assert lines == [line for line in written.splitlines() if not line.startswith("#")]


def check_symbols(elf, kind) -> int:
    """Only the model's operators are linked; returns the sum of the stacks."""
    symbols = subprocess.run(["arm-none-eabi-nm", "-S", str(elf)], capture_output=True, text=True, check=True).stdout
    present = {name for name in re.findall(r" fqt_(\w+)_layer_forward$", symbols, re.M)}
    convolution = {"conv2d", "max_pool2d"} if kind[0] == "digits-cnn" else set()
    border = {"dequantize"} if kind[1] == "mixed" else set()
    assert present == {"linear"} | convolution | border
    assert bool(re.search(r" fqt_\w+_f32$", symbols, re.M)) == bool(border)
    return sum(int(size, 16) for size in set_of_stacks(symbols))


def set_of_stacks(symbols: str) -> list[str]:
    return re.findall(r"^\w+ (\w+) [bB] \w*stack\w*$", symbols, re.M)


def test_one_board_is_an_object_and_all_are_a_list(models):
    model = models["digits-cnn", "uint8"]
    every = fit_json(model)
    assert [one["board"] for one in every] == list(fitting.BOARDS)
    keys = ["ram_bytes", "flash_bytes", "stack_bytes", "plan_bytes", "lower_bound_bytes"]
    for one in every:
        assert all(one[key] > 0 for key in keys)
        assert one["plan_bytes"] >= one["lower_bound_bytes"]
        assert one["fits"]
    try:
        device.require("cortex-m3")
    except FqtError:
        assert every[0]["instructions_per_step"] is None
        return
    assert every[0]["instructions_per_step"] > 10_000
    assert fit_json(model, "--board", "rpi_pico") == next(one for one in every if one["board"] == "rpi_pico")


def test_a_budget_chooses_the_layers(models):
    model = models["digits-cnn", "uint8"]
    network, board = model_file.read(model), "rpi_pico"
    sizes = [fitting.ram_on(fitting.frozen(network, count), board) for count in (1, 2, 3, 4)]
    assert sizes == sorted(sizes)
    for count, size in enumerate(sizes, 1):
        assert fitting.most_layers(network, board, size) == (count, size)
    assert fitting.most_layers(network, board, sizes[0] - 1) is None
    assert fit_json(model, "--board", board, "--budget", str(sizes[2] - 1))["train_last"] == 2


def test_what_does_not_fit_says_what_to_change(models, monkeypatch):
    network = model_file.read(models["digits-cnn", "uint8"])
    place = fitting.find_board("qemu_cortex_m3")
    ram = fitting.ram_on(fitting.frozen(network, 2), "qemu_cortex_m3")
    monkeypatch.setitem(fitting.BOARDS, "qemu_cortex_m3", place._replace(ram=ram, flash=1000))
    (result,) = fitting.fit(network, ["qemu_cortex_m3"])
    assert not result["fits"]
    assert "train the last 2 layers only" in result["advice"]
    assert "flash lacks" in result["advice"]


def test_operators_that_were_not_measured_give_a_bound():
    measured = fitting.base_of("rpi_pico", frozenset({"OP_LINEAR", "OP_MAX_POOL2D"}))
    assert not measured.exact
    assert measured.operators == {"OP_CONV2D", "OP_LINEAR", "OP_MAX_POOL2D"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "toaster"], "board 'toaster'"),
        (["--budget", "much"], "budget 'much'"),
        (["--budget", "0K"], "budget '0K'"),
    ],
)
def test_wrong_options_get_their_line(models, options, message):
    command = [*FQT, "fit", str(models["digits-mlp", "uint8"]), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_streamed_samples_teach_the_board_what_they_teach_the_engine(workspace, models, tmp_path):
    command = [*FQT, "deploy", str(models["digits-cnn", "mixed"]), "--board", "qemu_cortex_m3", "--run", "--samples", "50", "--epochs", "2"]
    done = subprocess.run([*command, "-o", str(tmp_path), "--json"], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["streamed"], result["updates"], result["equal"]) == (100, 14, True)
