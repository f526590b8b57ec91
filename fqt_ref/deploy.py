# SPDX-License-Identifier: Apache-2.0
"""Puts a model and samples into the Zephyr application, builds it with west, and runs it on an emulated board or a real one."""

import re
import shlex
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fqt_ref import files, model_file
from fqt_ref.boards import BOARDS
from fqt_ref.build_errors import explain, overflows, unknown_board
from fqt_ref.datasets import Dataset, load
from fqt_ref.deploy_config import Hyperparameters, fragment
from fqt_ref.emulator import ONE_UART, QEMU_FLAGS, Emulator
from fqt_ref.errors import FqtError
from fqt_ref.fit import fit_board
from fqt_ref.input_grid import check_trains, fitted_to
from fqt_ref.kind import TRAINING, check_classifier
from fqt_ref.network import Network
from fqt_ref.serial_line import BAUD, SerialLine
from fqt_ref.shrink import remedy
from fqt_ref.stream import Course, Learnt, course_of, first_difference, learn_on_device, learn_on_engine
from fqt_ref.training import flat
from fqt_ref.zephyr import APP, ROOT, cmake_options, environment, find_zephyr
from fqt_ref.zephyr_boards import is_real, known_boards, near_names
from fqt_ref.zeroth_order import zeroth_config

SEED = 1  # CONFIG_FQT_APP_SEED
SECONDS_TO_RETURN = 10  # of a board's serial port after flashing
SHELL_BYTES = 8192  # of RAM at most, that an application without it does not take
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
    data_range: str | None = None  # what the data's bytes mean, LO..HI

    @property
    def shares_console(self) -> bool:
        """Whether samples come by the console's UART: the one that a real board is sure to have."""
        return self.stream and (self.port is not None or self.board in ONE_UART)

    @property
    def folder(self) -> Path:
        return (self.output or ROOT / "build" / f"deploy-{self.board.replace('/', '-')}").resolve()

    @cached_property
    def dataset(self) -> Dataset:
        """The samples as the model takes them; loaded once, for what is built in and for what is sent."""
        return fitted_to(model_file.read(self.model), load(self.data, self.data_dir, data_range=self.data_range))

    @property
    def build_folder(self) -> Path:
        return self.folder / "build"


def samples_bytes(data: Dataset, count: int) -> bytes:
    """The application's sample file: u32 count, u32 bytes a sample, count x (u16 label, u16 0), then the samples.

    data: bytes of the network's input grid.
    """
    count = min(count, len(data.train_x))
    labels = np.zeros((count, 2), "<u2")
    labels[:, 0] = data.train_y[:count]
    size = int(np.prod(data.train_x.shape[1:]))
    return np.array([count, size], "<u4").tobytes() + labels.tobytes() + data.train_x[:count].tobytes()


class Inputs(NamedTuple):
    """The files that a build takes: model, samples, Kconfig fragment."""

    model: Path
    samples: Path
    config: Path


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file, but leave one that is the same alone: its time says whether the build is older."""
    if not path.exists() or path.read_bytes() != content:
        files.write(path, content)


def check_memory(settings: Settings, network: Network) -> None:
    """Refuse what no linker can place in a known board's RAM. What is nearly too large, and boards not measured, are left to the linker."""
    if settings.board not in BOARDS:
        return
    shell = SHELL_BYTES if settings.shares_console else 0  # it does not share the console
    figures = fit_board(network, settings.board, settings.samples, {BOARDS[settings.board].core: (None, "")})
    least = figures["ram_bytes"] - shell
    if least > figures["board_ram_bytes"]:
        raise FqtError(f"{network.name} takes at least {least} of the {figures['board_ram_bytes']} bytes of RAM of {settings.board}: "
                       f"{figures['advice']}; nothing was built")  # fmt: skip


def write_inputs(settings: Settings, with_build: bool) -> Inputs:
    """Check the model against the data and, with_build, the board; write both and the model's fqt.conf for the build."""
    network, training = model_file.read(settings.model), settings.training
    check_classifier(network, TRAINING)
    if training.zeroth is None:
        model_file.check_batch(network, training.batch_size)
    else:
        zeroth_config(network, training.batch_size, *training.zeroth)  # checks it
    data = settings.dataset
    check_trains(data)
    if with_build:
        check_memory(settings, network)
    inputs = Inputs(*(settings.folder / name for name in ("model.fqt", "samples.bin", "fqt.conf")))
    files.make_folder(settings.folder)
    write_if_new(inputs.model, settings.model.read_bytes())
    write_if_new(inputs.samples, samples_bytes(data, INFERENCE_SAMPLES if settings.stream else settings.samples))
    write_if_new(inputs.config, fragment(network, training, settings.stream, settings.shares_console).encode())
    return inputs


def failure(settings: Settings, env: dict[str, str], output: str) -> str:
    """What west build's output says, and how to mend it."""
    what = explain(output)
    name, lacking = unknown_board(output), overflows(output)
    if name is not None:
        near = near_names(name, known_boards(env))
        return f"{what}: " + (f"is it {' or '.join(near)}?" if near else "'west boards' lists those that it knows")
    if lacking:
        samples = None if settings.stream else settings.samples
        return f"{what}; {remedy(model_file.read(settings.model), settings.training, samples, lacking)}"
    return what


def build(settings: Settings, inputs: Inputs, say: Callable[[str], None]) -> Path:
    """west build. Returns the build folder; raises FqtError that says what failed, and leaves the whole output in build.log."""
    env = environment(find_zephyr())
    folder, log = settings.build_folder, settings.folder / "build.log"
    options = [f"FQT_MODEL={inputs.model}", f"FQT_SAMPLES={inputs.samples}", f"EXTRA_CONF_FILE={inputs.config}", *cmake_options(env)]
    options += [f"QEMU_EXTRA_FLAGS={';'.join(QEMU_FLAGS)}"] if settings.stream and not settings.shares_console else []
    command = ["west", "build", "-p", "auto", "-b", settings.board, "-d", str(folder), str(APP), "--", *(f"-D{o}" for o in options)]
    say(f"building for {settings.board} in {folder}")
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              check=False, cwd=APP)  # fmt: skip
    except FileNotFoundError as error:
        raise FqtError("west is missing: pip install 'fqt[zephyr]'") from error
    with suppress(OSError):  # the disk may be full
        log.write_text(f"{shlex.join(command)}\n{done.stdout}")
    if done.returncode != 0:
        raise FqtError(f"west build for {settings.board} failed: {failure(settings, env, done.stdout)}; the whole output: {log}")
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
    network, data = model_file.read(settings.model), settings.dataset
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


def check_runs(settings: Settings) -> None:
    """Refuse to run on a board that is neither emulated nor at a port."""
    if settings.port is not None:
        SerialLine(settings.port, settings.baud).close()  # rather now than after the build
    elif settings.stream and settings.board.startswith("native_"):
        raise FqtError(f"{settings.board} has no UART that samples could be sent to: add --embedded, and it learns those that are built in")
    elif is_real(settings.board, known_boards(environment(find_zephyr()))):
        raise FqtError(f"{settings.board} is no emulated board: name the serial port of a real one with --port, or leave --run away")


def built(settings: Settings, inputs: Inputs) -> Path:
    """The build folder of an earlier build of these inputs for this board. Raises FqtError if there is none."""
    folder, remedy = settings.build_folder, "leave --no-build away"
    program, cache = folder / "zephyr" / "zephyr.elf", folder / "CMakeCache.txt"
    programs = [path for path in (program, program.with_suffix(".exe")) if path.exists()]
    if not programs or not cache.exists():
        raise FqtError(f"nothing is built in {folder}: {remedy}")
    found = re.search(r"^CACHED_BOARD:\w+=(.*)$", cache.read_text(), re.M)
    if found is None or found[1] != settings.board:
        raise FqtError(f"{folder} is built for {found[1] if found else 'another board'}, not for {settings.board}: {remedy}")
    if any(path.stat().st_mtime > programs[0].stat().st_mtime for path in inputs):
        raise FqtError(f"what is built in {folder} is older than its model, samples or options: {remedy}")
    return folder


def deploy(settings: Settings, with_build: bool, with_run: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the application's inputs; build it; run it on an emulated board, where it learns what it is sent or what is in its flash, or on
    a real board at a serial port, where it learns what it is sent. Without building, what an earlier call has built runs.

    Raises FqtError for a model that does not fit the data or the board, a missing Zephyr, a build that fails, or a device that does not
    answer. A device that has learnt other bits than the engine is a result: "equal" is false.
    """
    if with_run:
        check_runs(settings)
    inputs = write_inputs(settings, with_build)
    result: dict[str, Any] = {"board": settings.board, "model": str(inputs.model), "samples": str(inputs.samples)}
    result["config"] = str(inputs.config)
    if not (with_build or with_run):
        return result
    folder = build(settings, inputs, say) if with_build else built(settings, inputs)
    result["build"] = str(folder)
    if with_run:
        result |= run_streamed(settings, folder, say) if settings.stream else run_embedded(folder, settings.seconds, say)
    return result
