# SPDX-License-Identifier: Apache-2.0
"""Puts a model and samples into the Zephyr application, builds it with west, and runs it on an emulated board or a real one."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import model_file
from fqt_ref.datasets import Dataset, load
from fqt_ref.deploy_config import Hyperparameters, fragment
from fqt_ref.emulator import ONE_UART, QEMU_FLAGS, Emulator
from fqt_ref.errors import FqtError
from fqt_ref.kind import TRAINING, check_classifier
from fqt_ref.serial_line import BAUD, SerialLine
from fqt_ref.stream import Course, Learnt, course_of, first_difference, learn_on_device, learn_on_engine
from fqt_ref.training import check_fits, check_trains, flat
from fqt_ref.zephyr import APP, ROOT, cmake_options, environment, find_zephyr
from fqt_ref.zeroth_order import zeroth_config

SEED = 1  # CONFIG_FQT_APP_SEED
SECONDS_TO_RETURN = 10  # of a board's serial port after flashing
INFERENCE_SAMPLES = 16  # in the flash of an application whose samples to learn are sent


@dataclass(frozen=True)
class Settings:
    """What to put where: `fqt deploy`'s options."""

    model: Path
    board: str
    data: str
    data_dir: Path | None
    samples: int
    training: Hyperparameters
    output: Path | None
    stream: bool = False
    epochs: int = 1
    seconds: float = 30
    port: str | None = None  # of a real board
    baud: int = BAUD

    @property
    def shares_console(self) -> bool:
        """Whether samples come by the console's UART: the one that a real board is sure to have."""
        return self.stream and (self.port is not None or self.board in ONE_UART)

    @property
    def folder(self) -> Path:
        return (self.output or ROOT / "build" / f"deploy-{self.board.replace('/', '-')}").resolve()


def samples_bytes(data: Dataset, count: int) -> bytes:
    """The application's sample file: u32 count, u32 bytes a sample, count x (u16 label, u16 0), then the samples."""
    count = min(count, len(data.train_x))
    labels = np.zeros((count, 2), "<u2")
    labels[:, 0] = data.train_y[:count]
    size = int(np.prod(data.train_x.shape[1:]))
    return np.array([count, size], "<u4").tobytes() + labels.tobytes() + data.train_x[:count].tobytes()


@dataclass(frozen=True)
class Inputs:
    """The files that a build takes: model, samples, Kconfig fragment."""

    model: Path
    samples: Path
    config: Path


def write_inputs(settings: Settings) -> Inputs:
    """Check the model against the data; write both and the model's fqt.conf for the build."""
    network, training = model_file.read(settings.model), settings.training
    check_classifier(network, TRAINING)
    if training.zeroth is None:
        model_file.check_batch(network, training.batch_size)
    else:
        zeroth_config(network, training.batch_size, *training.zeroth)  # checks it
    data = load(settings.data, settings.data_dir)
    check_trains(data)
    check_fits(network, data)
    inputs = Inputs(*(settings.folder / name for name in ("model.fqt", "samples.bin", "fqt.conf")))
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        inputs.model.write_bytes(settings.model.read_bytes())
        inputs.samples.write_bytes(samples_bytes(data, INFERENCE_SAMPLES if settings.stream else settings.samples))
        inputs.config.write_text(fragment(network, training, settings.stream, settings.shares_console))
    except OSError as error:
        raise FqtError(f"cannot write to {settings.folder}: {error.strerror}; choose another folder with -o") from error
    return inputs


def build(settings: Settings, inputs: Inputs, say: Callable[[str], None]) -> Path:
    """west build. Returns the build folder; raises FqtError with the compiler's first error."""
    env = environment(find_zephyr())
    folder = settings.folder / "build"
    options = [f"FQT_MODEL={inputs.model}", f"FQT_SAMPLES={inputs.samples}", f"EXTRA_CONF_FILE={inputs.config}", *cmake_options(env)]
    options += [f"QEMU_EXTRA_FLAGS={';'.join(QEMU_FLAGS)}"] if settings.stream and not settings.shares_console else []
    command = ["west", "build", "-p", "auto", "-b", settings.board, "-d", str(folder), str(APP), "--", *(f"-D{o}" for o in options)]
    say(f"building for {settings.board} in {folder}")
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=APP)
    except FileNotFoundError as error:
        raise FqtError("west is missing: pip install 'fqt[zephyr]'") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).splitlines()
        shown = next((line for line in lines if "error" in line.lower() or "overflowed" in line), lines[-1] if lines else "no output")
        raise FqtError(f"west build for {settings.board} failed: {shown.strip()}; the whole output: {' '.join(command)}")
    for line in done.stdout.splitlines():
        if line.strip().startswith(("FLASH:", "RAM:", "Memory region")):
            say(line)
    return folder


def run_embedded(folder: Path, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Show the application learning from its flash for some seconds. Raises FqtError if it reports nothing."""
    with Emulator(folder, say) as emulator:
        emulator.wait(seconds)
    status = last_status(emulator.lines)
    if status is None:
        raise FqtError(f"the application reported nothing in {seconds} s: give it more --seconds")
    return {"last_status": status}


def last_status(lines: list[str]) -> str | None:
    """The application's last status line, None if it wrote none."""
    return next((line for line in reversed(lines) if line.startswith("fqt: step")), None)


def flash(settings: Settings, folder: Path, say: Callable[[str], None]) -> None:
    """west flash. Raises FqtError with its last line."""
    say(f"flashing {settings.board}")
    command = ["west", "flash", "-d", str(folder)]
    done = subprocess.run(command, env=environment(find_zephyr()), capture_output=True, text=True, check=False, cwd=APP)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise FqtError(f"west flash to {settings.board} failed: {lines[-1].strip()}; the whole output: {' '.join(command)}")


def learn_on_emulator(settings: Settings, folder: Path, course: Course, say: Callable[[str], None]) -> tuple[Learnt, str | None]:
    """What the application has learnt on an emulated board, and its last status line if it wrote one."""
    with Emulator(folder, say, settings.shares_console) as emulator:
        learnt = learn_on_device(emulator.connect(), course, settings.seconds, say, emulator.show)
    return learnt, last_status(emulator.lines)


def learn_on_board(settings: Settings, port: str, course: Course, say: Callable[[str], None]) -> tuple[Learnt, str | None]:
    """The same on a real board at a serial port."""
    lines: list[str] = []

    def show(line: str) -> None:
        say(line)
        lines.append(line)

    with SerialLine(port, settings.baud, SECONDS_TO_RETURN) as line:
        learnt = learn_on_device(line, course, settings.seconds, say, show)
    return learnt, last_status(lines)


def run_streamed(settings: Settings, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Send samples to the application and compare what it has learnt with the engine, bit for bit."""
    network, data = model_file.read(settings.model), load(settings.data, settings.data_dir)
    course = course_of(flat(data.train_x[: settings.samples]), data.train_y[: settings.samples], settings.epochs, SEED)
    if settings.port is None:
        learnt, status = learn_on_emulator(settings, folder, course, say)
    else:
        flash(settings, folder, say)
        learnt, status = learn_on_board(settings, settings.port, course, say)
    training = settings.training
    difference = first_difference(learn_on_engine(network, training.config(SEED), course, training.zeroth), learnt.records)
    return {
        "streamed": learnt.progress.done - len(course.orders),
        "updates": learnt.progress.updates,
        "loss": learnt.progress.loss,
        "accuracy": learnt.progress.accuracy,
        "compared_bytes": sum(len(record.data) for record in learnt.records),
        "checksum": f"{learnt.checksum:#010x}",
        "last_status": status,
        "equal": difference is None,
        "first_difference": difference,
    }


def deploy(settings: Settings, with_build: bool, with_run: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the application's inputs; build it; run it on an emulated board, where it learns what it is sent or what is in its flash, or on
    a real board at a serial port, where it learns what it is sent.

    Raises FqtError for a model that does not fit the data, a missing Zephyr, a build that fails, or a device that does not answer.
    A device that has learnt other bits than the engine is a result: "equal" is false.
    """
    if settings.port is not None:
        SerialLine(settings.port, settings.baud).close()  # rather now than after the build
    inputs = write_inputs(settings)
    result: dict[str, Any] = {"board": settings.board, "model": str(inputs.model), "samples": str(inputs.samples)}
    result["config"] = str(inputs.config)
    if with_build:
        folder = build(settings, inputs, say)
        result["build"] = str(folder)
        if with_run:
            result |= run_streamed(settings, folder, say) if settings.stream else run_embedded(folder, settings.seconds, say)
    return result
