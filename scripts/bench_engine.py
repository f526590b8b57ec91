#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A training step of the engine beside PyTorch eager float32: same network, same machine, one thread, interleaved.

Prints microseconds of CPU time a sample (medians) and the start to the first step with a warm cache. `--json`: one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from time import perf_counter, process_time

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

BATCH = 48
FIRST_STEP = """
import numpy as np
from fqt_ref.models import describe_network
from fqt_ref.initialize import initialize
from fqt_ref.training import prepared_state
from fqt_ref import train_step
x = np.random.RandomState(0).randint(0, 256, (48, 28, 28, 1)).astype(np.uint8)
network = initialize("mnist-cnn", describe_network("mnist-cnn", (28, 28, 1), 10), "uint8", x, np.float32(1 / 255), 0, 0)
state = prepared_state(network)
out = np.zeros(1, np.int64), np.zeros(1, np.int64)
train_step.train(state, train_step.train_config(), x.reshape(48, -1), np.zeros(48, np.int64), np.zeros(1, np.int64), *out)
print("done", flush=True)
"""


def engine(config: str):
    """A function that trains one minibatch of MNIST-sized samples."""
    from fqt_ref import train_step
    from fqt_ref.initialize import initialize
    from fqt_ref.models import describe_network
    from fqt_ref.training import prepared_state

    rng = np.random.RandomState(0)
    x, y = rng.randint(0, 256, (BATCH, 28, 28, 1)).astype(np.uint8), rng.randint(0, 10, BATCH).astype(np.int64)
    state = prepared_state(initialize("mnist-cnn", describe_network("mnist-cnn", (28, 28, 1), 10), config, x, np.float32(1 / 255), 0, 0))
    settings, order = train_step.train_config(BATCH), np.arange(BATCH)
    losses, predictions, samples = np.zeros(BATCH, np.int64), np.zeros(BATCH, np.int64), x.reshape(BATCH, -1)
    return lambda: train_step.train(state, settings, samples, y, order, losses, predictions)


def pytorch(batch: int):
    """A function that makes one PyTorch step of the same network (batch norm folded, as in the engine)."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer, loss = torch.optim.SGD(network.parameters(), lr=0.001), nn.CrossEntropyLoss()
    x, y = torch.rand(batch, 1, 28, 28), torch.randint(0, 10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()

    return step


def measure(subjects: dict, rounds: int) -> dict:
    """Median CPU time of each subject's call in microseconds a sample; the subjects take turns."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (function, samples) in subjects.items():
            start = process_time()
            function()
            times[name].append((process_time() - start) / samples * 1e6)
    return {name: median(values[rounds // 10 :]) for name, values in times.items()}


def seconds_until_done(code: str) -> float:
    """Wall time from process start until Python code prints a line, caches warm: the best of five."""

    def once() -> float:
        start = perf_counter()
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            return perf_counter() - start

    once()
    return min(once() for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    subjects = {f"engine {config}": (engine(config), BATCH) for config in ("uint8", "mixed", "float32")}
    try:
        subjects |= {"PyTorch batch 1": (pytorch(1), 1), f"PyTorch batch {BATCH}": (pytorch(BATCH), BATCH)}
    except ImportError:
        sys.exit("bench_engine: PyTorch is missing, and it is what this compares with: pip install 'fqt[torch]'")
    for function, _ in subjects.values():
        function()
    times = measure(subjects, options.rounds)
    start, imports = seconds_until_done(FIRST_STEP), seconds_until_done("import numba; print('done', flush=True)")
    step, one, batch = times["engine uint8"], times["PyTorch batch 1"], times[f"PyTorch batch {BATCH}"]
    result = {
        "mnist_cnn": {"step_us": step, "torch_b1_us": one, "torch_b48_us": batch},
        "configurations": {config: times[f"engine {config}"] for config in ("uint8", "mixed", "float32")},
        "start_to_first_step_s": start,
        "import_numba_s": imports,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in times.items():
        print(f"{name:18} {value:8.1f} us a sample")
    print(f"uint8 against PyTorch batch 1: {one / step:.1f}x, against batch {BATCH}: {batch / step:.2f}x")
    print(f"process start through the first step, warm cache: {start:.2f} s ({imports:.2f} s of it: import numba)")


if __name__ == "__main__":
    main()
