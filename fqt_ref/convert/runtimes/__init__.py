# SPDX-License-Identifier: Apache-2.0
"""A source network in its own runtime (onnxruntime, LiteRT, PyTorch), in a process of its own: what crashes there ends nothing here."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fqt_ref.errors import one_line

RUNTIMES = {".onnx": "onnxruntime", ".tflite": "LiteRT", ".pt2": "PyTorch", ".pt": "PyTorch"}
SECONDS = 900


class NotRun(Exception):
    """Why the source was not run, in half a line."""


def run_source(path: Path, x: np.ndarray, tensors: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """What a source makes of samples x [n, ...], in the source's own axes: arrays [n, ...] by name, as the source stores them.

    "" is its output; tensors: further ones by the names that convert.assemble.Row has, left out where the runtime doesn't show them.
    Raises NotRun: no runtime for such files, not installed, or it failed.
    """
    runtime = RUNTIMES.get(path.suffix.lower())
    if runtime is None:
        raise NotRun(f"no runtime runs {path.suffix} files")
    with tempfile.TemporaryDirectory(prefix="fqt-") as folder:
        samples, results = Path(folder) / "samples.npz", Path(folder) / "results.npz"
        np.savez(samples, x=x, tensors=np.frombuffer(json.dumps(list(tensors)).encode(), np.uint8))
        command = [sys.executable, "-m", "fqt_ref.convert.runtimes", str(path), str(samples), str(results)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotRun(f"{runtime} did not finish ({one_line(error, 80)})") from error
        if done.returncode != 0 or not results.is_file():
            lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
            raise NotRun(f"{runtime}: {one_line(lines[-1], 160)}")
        with np.load(results, allow_pickle=False) as archive:
            names = json.loads(archive["names"].tobytes())
            return {name: archive[f"t{i}"] for i, name in enumerate(names)}
