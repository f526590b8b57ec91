# SPDX-License-Identifier: Apache-2.0
"""Puts a model and samples into the Zephyr application, builds it with west, and runs it on an emulated board."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from fqt_ref import model_file
from fqt_ref.datasets import Dataset, load
from fqt_ref.deploy_config import fragment
from fqt_ref.errors import FqtError
from fqt_ref.training import check_fits, check_trains
from fqt_ref.zephyr import APP, ROOT, cmake_options, environment, find_zephyr

SECONDS_BETWEEN_STATUS = 0.5


@dataclass(frozen=True)
class Settings:
    """What to put where: `fqt deploy`'s options."""

    model: Path
    board: str
    data: str
    data_dir: Path | None
    samples: int
    batch_size: int
    learning_rate: float
    output: Path | None

    @property
    def learning_rate_ppm(self) -> int:
        return round(self.learning_rate * 1e6)

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
    network = model_file.read(settings.model)
    model_file.check_batch(network, settings.batch_size)
    data = load(settings.data, settings.data_dir)
    check_trains(data)
    check_fits(network, data)
    inputs = Inputs(*(settings.folder / name for name in ("model.fqt", "samples.bin", "fqt.conf")))
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        inputs.model.write_bytes(settings.model.read_bytes())
        inputs.samples.write_bytes(samples_bytes(data, settings.samples))
        inputs.config.write_text(fragment(network, settings.batch_size, settings.learning_rate_ppm))
    except OSError as error:
        raise FqtError(f"cannot write to {settings.folder}: {error.strerror}; choose another folder with -o") from error
    return inputs


def build(settings: Settings, inputs: Inputs, say: Callable[[str], None]) -> Path:
    """west build. Returns the build folder; raises FqtError with the compiler's first error."""
    env = environment(find_zephyr())
    folder = settings.folder / "build"
    options = [f"FQT_MODEL={inputs.model}", f"FQT_SAMPLES={inputs.samples}", f"EXTRA_CONF_FILE={inputs.config}", *cmake_options(env)]
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


def run(folder: Path, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Start a build on its emulator, show its lines for some seconds, stop it. Returns all lines, without the shell's prompt."""
    env = environment(find_zephyr())
    process = subprocess.Popen(
        ["cmake", "--build", str(folder), "--target", "run"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def stop() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    timer = threading.Timer(seconds, stop)
    timer.start()
    lines: list[str] = []
    shown = 0.0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            prompt, marker, text = line.partition("fqt: ")  # the shell writes its prompt before
            lines.append((marker + text or prompt).rstrip())
            # An emulated second takes a few milliseconds: nobody reads all its status lines.
            if marker and (not text.startswith("step ") or monotonic() > shown + SECONDS_BETWEEN_STATUS):
                shown = monotonic()
                say(lines[-1])
    finally:
        timer.cancel()
        stop()
        process.wait()
    return lines


def deploy(settings: Settings, with_build: bool, seconds: float | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the application's inputs; build it; run it for some seconds on an emulated board.

    Raises FqtError for a model that does not fit the data, a missing Zephyr, or a build that fails.
    """
    inputs = write_inputs(settings)
    result: dict[str, Any] = {"board": settings.board, "model": str(inputs.model), "samples": str(inputs.samples)}
    result["config"] = str(inputs.config)
    if with_build:
        folder = build(settings, inputs, say)
        result["build"] = str(folder)
        if seconds is not None:
            status = [line for line in run(folder, seconds, say) if line.startswith("fqt: step")]
            if not status:
                raise FqtError(f"the application on {settings.board} reported nothing in {seconds} s: give it more --seconds")
            result["last_status"] = status[-1]
    return result
