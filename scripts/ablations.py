#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each choice of SPEC.md is worth: the engine with one of them undone, trained on Fashion-MNIST (dense and sparse).

Each ablation is a copy of fqt_ref with one line replaced. A finished run is a line of docs/ablations.jsonl; a stopped script goes on.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SGD = "optimizers/standardized_sgd.py"
ROOT = Path(__file__).resolve().parent.parent
# Name: (what SPEC.md section, file, line, its replacement).
ABLATIONS = {
    "as specified": ("", "", "", ""),
    "requantize: floor instead of half up": (
        "2.1",
        "arithmetic.py",
        "product = np.int32(np.int32(short * np.int32(mantissa)) + np.int32(1 << (post - 1)))",
        "product = np.int32(short * np.int32(mantissa))",
    ),
    "weights rounded to whole bytes (no residuals)": ("6.1", SGD, "MAX_FRACTION_BITS = 8", "MAX_FRACTION_BITS = 0"),
    "weights rounded to nearest, no residuals": (
        "6.1",
        SGD,
        "MAX_FRACTION_BITS = 8",
        "MAX_FRACTION_BITS = 0\nrandom_word = njit(lambda key, i: NEAREST)",
    ),
    "weight grid follows every update (no hysteresis)": (
        "6.1",
        SGD,
        "hi - lo >= np.float32(0.875) * (hi_old - lo_old)",
        "hi - lo >= np.float32(2) * (hi_old - lo_old)",
    ),
    "error scale 1/127 throughout": (
        "8",
        "ranges.py",
        "if observed < SMALLEST_ERROR_SCALE:",
        "if observed >= np.float32(0):",
    ),
    "feature map ranges as calibrated": (
        "8",
        "ranges.py",
        "lo = lo + RATE * (lo_batch - lo)\n    hi = hi + RATE * (hi_batch - hi)",
        "pass",
    ),
}  # fmt: skip
RUN = """
import json, sys
from fqt_ref.datasets import load
from fqt_ref.train_step import train_config
from fqt_ref.training import fresh_network, train_epochs
lambda_min, seed, epochs = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
data = load("fashion-mnist")
network = fresh_network("mnist-cnn", "uint8", data, seed)
print(json.dumps([e.test_accuracy for e, _ in train_epochs(network, data, train_config(48, 0.001, lambda_min, 1.0, seed=seed), epochs)]))
"""


def engine_without(name: str, folder: Path) -> None:
    """A copy of fqt_ref in folder with one choice undone."""
    _, file, line, replacement = ABLATIONS[name]
    shutil.copytree(ROOT / "fqt_ref", folder / "fqt_ref", ignore=shutil.ignore_patterns("__pycache__"))
    if file:
        text = (folder / "fqt_ref" / file).read_text()
        if text.count(line) != 1:
            sys.exit(f"ablations: {file} does not hold once: {line}")
        (folder / "fqt_ref" / file).write_text(text.replace(line, replacement))


def table(rows: list[dict]) -> str:
    """Mean test accuracy after the last epoch, in %, with the number of seeds."""
    lines = ["| | section | lambda_min 1.0 | lambda_min 0.1 |", "|---|---|---|---|"]
    for name, (section, *_) in ABLATIONS.items():
        cells = []
        for rate in (1.0, 0.1):
            found = [100 * r["test_accuracy"][-1] for r in rows if (r["ablation"], r["lambda_min"]) == (name, rate)]
            cells.append(f"{statistics.mean(found):.2f} (n={len(found)})" if found else "-")
        lines.append(f"| {name} | {section} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(name: str, wanted: list[tuple[float, int]], epochs: int) -> Iterator[dict]:
    """Train without one choice; yields a row for each (lambda_min, seed)."""
    if not wanted:
        return
    with tempfile.TemporaryDirectory() as folder:
        engine_without(name, Path(folder))
        environment = os.environ | {"PYTHONPATH": folder}
        for rate, seed in wanted:
            command = [sys.executable, "-c", RUN, str(rate), str(seed), str(epochs)]
            output = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout
            yield {"ablation": name, "lambda_min": rate, "seed": seed, "epochs": epochs, "test_accuracy": json.loads(output)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "docs/ablations.jsonl")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    done = {(r["ablation"], r["lambda_min"], r["seed"], r["epochs"]) for r in rows}

    def work(name: str) -> None:
        wanted = [(rate, seed) for seed in range(options.seeds) for rate in (1.0, 0.1) if (name, rate, seed, options.epochs) not in done]
        for row in run(name, wanted, options.epochs):
            rows.append(row)
            with options.results.open("a") as log:
                log.write(json.dumps(row) + "\n")
            print(row, file=sys.stderr, flush=True)

    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(work, ABLATIONS))
    print(table([r for r in rows if r["epochs"] == options.epochs]))


if __name__ == "__main__":
    main()
