# SPDX-License-Identifier: Apache-2.0
"""The process that runs a source: python -m fqt_ref.convert.runtimes MODEL SAMPLES.npz RESULTS.npz. See run_source()."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def opened(path: Path, tensors: list[str]) -> Any:
    """The runtime for a file: run(x [n, ...]) gives a dictionary of arrays [n, ...], "" being the output."""
    if path.suffix.lower() == ".onnx":
        from fqt_ref.convert.runtimes.onnx_runtime import OnnxRuntime

        return OnnxRuntime(path, tensors)
    if path.suffix.lower() == ".tflite":
        from fqt_ref.convert.runtimes.litert import LiteRT

        return LiteRT(path, reference=False, tensors=tensors)
    from fqt_ref.convert.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(path, tensors)


def main(model: str, samples: str, results: str) -> None:
    """Run the samples one by one and write what was asked for."""
    with np.load(samples, allow_pickle=False) as archive:
        x, tensors = archive["x"], json.loads(archive["tensors"].tobytes())
    runtime = opened(Path(model), tensors)
    rows = [runtime.results(sample) for sample in x]
    names = list(rows[0])
    arrays: dict[str, Any] = {f"t{i}": np.stack([row[name] for row in rows]) for i, name in enumerate(names)}
    np.savez(results, names=np.frombuffer(json.dumps(names).encode(), np.uint8), **arrays)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ImportError as error:
        sys.exit(f"not installed ({error})")
    except Exception as error:  # foreign code meets a foreign file
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
