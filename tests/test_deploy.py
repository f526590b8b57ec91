# SPDX-License-Identifier: Apache-2.0
"""`fqt deploy`: what it refuses before it builds, how a build that fails is explained, and rates that a chip gets bit for bit."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import numpy as np
import pytest

from fqt_ref import deploy, device, model_file, shrink, zephyr
from fqt_ref.cli import main
from fqt_ref.datasets import load
from fqt_ref.deploy_config import decimal, memories, on_chip
from fqt_ref.errors import FqtError
from fqt_ref.fit import frozen
from fqt_ref.train_step import train_config
from fqt_ref.training import fresh_network
from fqt_ref.zephyr_boards import ZephyrBoard, is_real, known_boards, near_names


@pytest.fixture(scope="module")
def workspace():
    try:
        return zephyr.environment(zephyr.find_zephyr())
    except FqtError as error:
        pytest.skip(f"nothing was built: {error}")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.fqt"
    model_file.write(path, fresh_network("digits-cnn", "uint8", load("digits"), 0))
    return path


def refused(*arguments) -> str:
    """The one line of `fqt deploy` that must not start; nothing is built."""
    out, err = io.StringIO(), io.StringIO()
    no_build = mock.patch.object(deploy, "build", side_effect=AssertionError("it builds"))
    command = mock.patch.object(sys, "argv", ["fqt", "deploy", *map(str, arguments)])
    with no_build, command, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main()
    assert (stop.value.code, out.getvalue()) == (2, "")
    (line,) = err.getvalue().splitlines()
    return line


# ---- Before the build ----


def test_memory_that_no_linker_can_find_is_refused_before_the_build(tmp_path):
    big = tmp_path / "big.fqt"
    data = load("digits")
    network = fresh_network("digits-cnn", "uint8", data, 0)
    model_file.write(big, network)
    small = deploy.BOARDS["qemu_cortex_m3"]._replace(ram=24 << 10)
    with mock.patch.dict(deploy.BOARDS, {"qemu_cortex_m3": small}):
        line = refused(big, "--board", "qemu_cortex_m3", "-o", tmp_path / "out")
        assert "takes at least" in line
        assert "of the 24576 bytes of RAM of qemu_cortex_m3: RAM lacks" in line
        assert "train the last" in line
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learning-rate", "0"], "learning rate 0.0 is not in 0..1"),
        (["--learning-rate", "1e39"], "learning rate "),
        (["--learning-rate", "nan"], "learning rate nan is not in 0..1"),
        (["--lambda-min", "0.125"], "lambda-min 0.125 is not a whole percent"),
    ],
)
def test_hyperparameters_that_a_chip_cannot_have_are_refused(model, tmp_path, options, message):
    assert message in refused(model, "--board", "qemu_cortex_m3", *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_real_board_without_a_port_is_refused_before_the_build(workspace, model, tmp_path):
    for board in ("nrf52840dk/nrf52840", "rpi_pico", "teensymm"):
        line = refused(model, "--board", board, "--run", "-o", tmp_path / "out")
        assert f"{board} is no emulated board: name the serial port of a real one with --port" in line
    assert not (tmp_path / "out").exists()


def test_a_program_of_this_machine_learns_what_is_built_in(model, tmp_path):
    line = refused(model, "--board", "native_sim/native/64", "--run", "-o", tmp_path / "out")
    assert "native_sim/native/64 has no UART that samples could be sent to: add --embedded" in line
    assert not (tmp_path / "out").exists()


def test_what_was_not_built_does_not_run(workspace, model, tmp_path):
    run = (model, "--board", "qemu_cortex_m3", "--no-build", "--run", "-o", tmp_path)
    assert "nothing is built in" in refused(*run)
    program = tmp_path / "build" / "zephyr" / "zephyr.elf"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    cache = tmp_path / "build" / "CMakeCache.txt"
    cache.write_text("CACHED_BOARD:STRING=qemu_cortex_m4\n")
    assert "is built for qemu_cortex_m4, not for qemu_cortex_m3" in refused(*run)
    cache.write_text("CACHED_BOARD:STRING=qemu_cortex_m3\n")
    os.utime(program, ns=(0, 0))
    assert "is older than its model, samples or options: leave --no-build away" in refused(*run)


def test_what_was_built_runs_without_building(workspace, model, tmp_path):
    """The inputs' files keep their time where nothing has changed, so that the program is not older."""
    options = train_config(8, 0.005)
    settings = deploy.Settings(model, "qemu_cortex_m3", "digits", None, 64, on_chip(options), tmp_path)
    inputs = deploy.write_inputs(settings, with_build=False)
    program = settings.build_folder / "zephyr" / "zephyr.elf"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    (settings.build_folder / "CMakeCache.txt").write_text("CACHED_BOARD:STRING=qemu_cortex_m3\n")
    os.utime(program, ns=(2 * 10**18, 2 * 10**18))
    with mock.patch.object(deploy, "build") as build, mock.patch.object(deploy, "run_embedded", return_value={"last_status": "x"}) as run:
        result = deploy.deploy(settings, False, True, print)
    assert not build.called
    assert run.call_args.args[0] == settings.build_folder
    assert (result["build"], result["last_status"]) == (str(settings.build_folder), "x")
    assert deploy.write_inputs(settings, with_build=False) == inputs


# ---- A build that fails ----


def test_near_names_of_boards(workspace):
    known = known_boards(workspace)
    assert {"qemu_cortex_m3", "qemu_cortex_m4", "teensymm", "nrf52840dk"} <= set(known)
    assert "qemu_cortex_m3" in near_names("qemu_cortex_m33", known)
    assert "nrf52840dk" in near_names("nrf52840kd/nrf52840", known)
    assert near_names("toaster", known) == []


def test_emulated_boards_are_told_from_real_ones(workspace):
    known = known_boards(workspace)
    real = {board: is_real(board, known) for board in ("qemu_cortex_m0_256k", "qemu_cortex_m7", "mps2/an385", "native_sim", "rpi_pico",
                                                       "nrf52840dk@1.0.0/nrf52840", "toaster")}  # fmt: skip
    assert [board for board, is_one in real.items() if is_one] == ["rpi_pico", "nrf52840dk@1.0.0/nrf52840"]
    assert is_real("mine", {"mine": ZephyrBoard("mine", (), device.APP)})


@pytest.mark.parametrize(
    ("board", "data", "parts"),
    [
        ("qemu_cortex_m33", None, ["Zephyr knows no board 'qemu_cortex_m33': is it qemu_cortex_m3 or"]),
        # 6000 samples in 256 KB of flash.
        ("qemu_cortex_m3", "many", ["FLASH lacks ", " bytes; FLASH: --samples 2"]),
    ],
)
def test_a_build_that_fails_is_one_line(workspace, model, tmp_path, board, data, parts):
    command = [sys.executable, "-m", "fqt_ref", "deploy", str(model), "--board", board, "-o", str(tmp_path / "out")]
    if data is not None:
        images = np.zeros((6000, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "many.npz", x_train=images, y_train=np.arange(6000) % 10, x_test=images[:10], y_test=np.arange(10))
        command += ["--data", str(tmp_path / "many.npz"), "--samples", "6000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"fqt: west build for {board} failed: ")
    assert all(part in line for part in parts), line
    log = tmp_path / "out" / "build.log"
    assert str(log) in line
    assert "west build" in log.read_text().splitlines()[0]


def test_what_lacks_ram_is_told_how_many_layers_save_it(model):
    network, training = model_file.read(model), on_chip(train_config())
    sizes = [sum(memories(frozen(network, count))) for count in (1, 2, 3, 4)]
    for count, size in enumerate(sizes[:3], 1):
        saved = sizes[3] - size
        assert f"RAM: train the last {count} layers only" in shrink.remedy(network, training, 64, {"RAM": saved})
    assert "RAM: take a smaller network" in shrink.remedy(network, training, 64, {"RAM": sizes[3] - sizes[0] + 1})
    assert shrink.remedy(network, training, 64, {"FLASH": 68 * 4}) == "FLASH: --samples 60"
    assert "a smaller network" in shrink.remedy(network, training, None, {"FLASH": 1})


# ---- Rates ----


def rates(count: int) -> np.ndarray:
    """Any float32 that may be a rate: of all magnitudes, and those that people type."""
    rng = np.random.RandomState(20261130)
    bits = rng.randint(1, 0x3F800000, count, np.uint32).view(np.float32)
    return np.concatenate(
        [np.array([0.005, 0.001, 1.5e-7, 1e-45, 1.17549435e-38, 1 / 3, 0.1, 1, 0.3, 16777216, 123456792], np.float32), bits]
    )


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_a_chip_gets_the_rate_bit_for_bit(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    wanted = rates(3000)
    constants = ",\n".join("DECIMAL({}, {})".format(*decimal("rate", rate)) for rate in wanted)
    source, result = tmp_path / "rates.c", tmp_path / "rates.o"
    source.write_text(f'#include "decimal.h"\nconst float rates[] = {{\n{constants}}};\n')
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{device.APP / 'src'}", "-c", str(source)]
    subprocess.run([*command, "-o", str(result)], check=True)
    subprocess.run([shutil.which("arm-none-eabi-objcopy") if "arm" in compiler else "objcopy", "-O", "binary", "-j", ".rodata",
                    str(result), str(tmp_path / "rates.bin")], check=True)  # fmt: skip
    assert (tmp_path / "rates.bin").read_bytes() == wanted.astype("<f4").tobytes()


def test_rates_fit_kconfigs_integers():
    for rate in rates(3000):
        digits, exponent = decimal("rate", rate)
        assert 0 <= digits <= 999999999
        assert 0 <= exponent <= 60
    assert decimal("rate", np.float32(0.005)) == (5, 3)
    assert decimal("rate", np.float32(1.5e-7)) == (15, 8)
    for wrong in (np.nan, np.inf, -0.1, 1e9):
        with pytest.raises(FqtError, match=r"rate .* is (no rate|too large)"):
            decimal("rate", np.float32(wrong))


def test_host_and_chip_train_at_the_same_rate(model, tmp_path):
    training = on_chip(train_config(8, 1.5e-7))
    assert training.config(1).learning_rate == np.float32(1.5e-7)
    settings = deploy.Settings(model, "qemu_cortex_m3", "digits", None, 64, training, tmp_path)
    lines = deploy.write_inputs(settings, with_build=False).config.read_text().splitlines()
    assert {"CONFIG_FQT_APP_LEARNING_RATE_DIGITS=15", "CONFIG_FQT_APP_LEARNING_RATE_EXPONENT=8"} <= set(lines)
