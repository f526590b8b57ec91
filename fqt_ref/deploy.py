# SPDX-License-Identifier: Apache-2.0
"""Puts a model and samples into the Zephyr application, builds it with west, and runs it on an emulated board."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from fqt_ref import model_file
from fqt_ref.datasets import Dataset, load
from fqt_ref.errors import FqtError
from fqt_ref.network import U8, Network
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
    def folder(self) -> Path:
        return (self.output or ROOT / "build" / f"deploy-{self.board.replace('/', '-')}").resolve()


def samples_bytes(data: Dataset, count: int) -> bytes:
    """The application's sample file: u32 count, u32 bytes a sample, count x (u16 label, u16 0), then the samples."""
    count = min(count, len(data.train_x))
    labels = np.zeros((count, 2), "<u2")
    labels[:, 0] = data.train_y[:count]
    size = int(np.prod(data.train_x.shape[1:]))
    return np.array([count, size], "<u4").tobytes() + labels.tobytes() + data.train_x[:count].tobytes()


def write_inputs(settings: Settings) -> tuple[Path, Path]:
    """Check the model against the data and write both for the build. Returns (model, samples)."""
    network = model_file.read(settings.model)
    model_file.check_batch(network, settings.batch_size)
    data = load(settings.data, settings.data_dir)
    check_trains(data)
    check_fits(network, data)
    model, samples = settings.folder / "model.fqt", settings.folder / "samples.bin"
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        model.write_bytes(settings.model.read_bytes())
        samples.write_bytes(samples_bytes(data, settings.samples))
    except OSError as error:
        raise FqtError(f"cannot write to {settings.folder}: {error.strerror}; choose another folder with -o") from error
    return model, samples


def memory_options(network: Network) -> dict[str, int]:
    """Kconfig sizes of the application's memory that are enough for a network, rounded up to 256 bytes (the C library asks for less)."""
    sizes = [int(t["h"]) * int(t["w"]) * int(t["c"]) * (1 if t["type"] == U8 else 4) + 4 for t in network.tensors]
    parameters = [(w, len(b)) for w, b in zip(network.weights, network.biases, strict=True) if w is not None]
    channels = sum(out for _, out in parameters)
    tables = 64 * len(network.layers) + 24 * len(network.tensors) + 8 * channels + 256
    values = sum(w.nbytes + 4 * out + 8 for w, out in parameters)
    sums = sum(4 * w.size + 8 * out + 16 for w, out in parameters)
    needs = {
        "NETWORK": tables + values,
        "TRAINER": 2 * tables + sums + sum(sizes) + 2 * max(sizes) + 4 * channels,
        "INFERENCE": max(a + b for a, b in pairwise(sizes)) + 64,
    }
    return {f"CONFIG_FQT_APP_{name}_BYTES": -(-need // 256) * 256 for name, need in needs.items()}


def build(settings: Settings, model: Path, samples: Path, say: Callable[[str], None]) -> Path:
    """west build. Returns the build folder; raises FqtError with the compiler's first error."""
    env = environment(find_zephyr())
    folder = settings.folder / "build"
    rate = round(settings.learning_rate * 1e6)
    options = [f"FQT_MODEL={model}", f"FQT_SAMPLES={samples}", *cmake_options(env)]
    options += [f"CONFIG_FQT_APP_BATCH_SIZE={settings.batch_size}", f"CONFIG_FQT_APP_LEARNING_RATE_PPM={rate}"]
    options += [f"{name}={size}" for name, size in memory_options(model_file.read(model)).items()]
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
    model, samples = write_inputs(settings)
    result: dict[str, Any] = {"board": settings.board, "model": str(model), "samples": str(samples)}
    if with_build:
        folder = build(settings, model, samples, say)
        result["build"] = str(folder)
        if seconds is not None:
            status = [line for line in run(folder, seconds, say) if line.startswith("fqt: step")]
            if not status:
                raise FqtError(f"the application on {settings.board} reported nothing in {seconds} s: give it more --seconds")
            result["last_status"] = status[-1]
    return result
