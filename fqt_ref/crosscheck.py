# SPDX-License-Identifier: Apache-2.0
"""Random graphs trained on both sides: the engine's trace of every tensor, replayed by the C library on a target."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import device
from fqt_ref import train_step as ts
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case, case_bytes, file_bytes
from fqt_ref.golden.steps import trace_case
from fqt_ref.network import tensor_size
from fqt_ref.random_graph import CONFIGS, random_network

BATCH_BYTES = 300_000  # of golden cases for one start of the target: fits the flash of the smallest machine


def random_case(seed: int, index: int, steps: int) -> Case:
    """One random network with random samples, labels and hyperparameters, and its trace."""
    rng = np.random.RandomState((seed * 1_000_003 + index) % 2**32)
    classes, config = int(rng.randint(1, 11)), CONFIGS[rng.randint(3)]
    network = random_network(rng, f"random {index}", config, classes)
    samples = rng.randint(0, 256, (8, int(tensor_size(network.tensors.view(np.recarray)[0])))).astype(np.uint8)
    lambda_min = rng.uniform(0, 1)
    batch, rate, lambda_max = int(rng.randint(1, 5)), 10 ** rng.uniform(-4, -1), rng.uniform(lambda_min, 1)
    settings = ts.train_config(batch, rate, lambda_min, lambda_max, bool(rng.randint(2)), int(rng.randint(2**31)))
    labels = rng.randint(0, classes, len(samples))
    return trace_case(f"seed {seed}, network {index}, {config}", network, settings, samples, labels, steps)


def batches(seed: int, networks: int, steps: int, advance: Callable[[int], None]) -> Iterator[list[Case]]:
    """Random cases in portions that fit a target."""
    portion: list[Case] = []
    size = 0
    for index in range(networks):
        case = random_case(seed, index, steps)
        length = len(case_bytes(case))
        if portion and size + length > BATCH_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(case)
        size += length
        advance(1)
    yield portion


def crosscheck(target: str, networks: int, steps: int, seed: int, advance: Callable[[int], None] = lambda n: None) -> dict[str, Any]:
    """Compare `networks` random networks over `steps` training steps on a target (device.TARGETS).

    Returns networks, steps, values_compared, differences and first (a description of the first difference, or None).
    Raises FqtError for an unknown target or a missing compiler or emulator.
    """
    result: dict[str, Any] = {"target": target, "networks": 0, "steps": steps, "seed": seed}
    result |= {"values_compared": 0, "differences": 0, "first": None}
    device.require(target)
    with tempfile.TemporaryDirectory(prefix="fqt-crosscheck-") as folder:
        path = Path(folder) / "cases.fqg"
        for portion in batches(seed, networks, steps, advance):
            path.write_bytes(file_bytes(portion))
            replay = device.run_replay(target, path)
            if replay.cases != len(portion):
                what = f"{target} replayed {replay.cases} of {len(portion)} networks: {replay.first}"
                raise FqtError(f"{what}; run it again on a larger target")
            result["networks"] += replay.cases
            result["values_compared"] += replay.values_compared
            result["differences"] += replay.differences
            if result["first"] is None and replay.differences:
                result["first"] = replay.first
                break
    return result
