# SPDX-License-Identifier: Apache-2.0
"""Random networks trained on both sides: the engine's trace of every tensor, replayed by the C library on a target."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import device
from fqt_ref import train_step as ts
from fqt_ref.build import CONFIGS, freeze
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case, case_bytes, file_bytes
from fqt_ref.golden.steps import trace_case
from fqt_ref.initialize import initialize
from fqt_ref.models import Conv2d, DepthwiseConv2d, Layer, Linear, MaxPool2d
from fqt_ref.network import Network

BATCH_BYTES = 300_000  # of golden cases for one start of the target: fits the flash of the smallest machine


def random_description(rng: np.random.RandomState, classes: int) -> list[Layer]:
    """Up to three convolutions of both kinds, perhaps a pool, up to two linear layers, of any legal kernel, stride and padding."""
    description: list[Layer] = []
    for _ in range(rng.randint(0, 4)):
        kernel = (int(rng.randint(1, 4)), int(rng.randint(1, 4)))
        stride = (int(rng.randint(1, 3)), int(rng.randint(1, 3)))
        top, bottom, left, right = (int(rng.randint(0, k)) for k in (kernel[0], kernel[0], kernel[1], kernel[1]))
        padding, relu, batch_norm = (top, bottom, left, right), bool(rng.randint(2)), bool(rng.randint(2))
        if rng.randint(3) == 0:
            description.append(DepthwiseConv2d(kernel, stride, padding, relu, batch_norm))
        else:
            description.append(Conv2d(int(rng.randint(1, 9)), kernel, stride, padding, relu, batch_norm))
    if rng.randint(2):
        kernel = (int(rng.randint(1, 3)), int(rng.randint(1, 3)))
        description.append(MaxPool2d(kernel, (int(rng.randint(1, 3)), int(rng.randint(1, 3)))))
    if rng.randint(2):
        description.append(Linear(int(rng.randint(1, 12)), bool(rng.randint(2)), bool(rng.randint(2)), bool(rng.randint(2))))
    return [*description, Linear(classes, False, bool(rng.randint(2)))]


def random_case(seed: int, index: int, steps: int) -> Case:
    """One random network with random samples, labels and hyperparameters, and its trace."""
    rng = np.random.RandomState((seed * 1_000_003 + index) % 2**32)
    while True:
        shape = (int(rng.randint(1, 10)), int(rng.randint(1, 10)), int(rng.randint(1, 4)))
        classes = int(rng.randint(1, 11))
        samples = rng.randint(0, 256, (8, *shape)).astype(np.uint8)
        config, scale, zero = CONFIGS[rng.randint(3)], np.float32(rng.uniform(0.001, 0.1)), int(rng.randint(0, 256))
        description, weight_seed = random_description(rng, classes), int(rng.randint(2**31))
        try:
            network = initialize(f"random {index}", description, config, samples, scale, zero, weight_seed)
        except FqtError:
            continue  # a kernel larger than its input: draw again
        break
    spread_zero_points(rng, network)
    weighted = sum(w is not None for w in network.weights)
    freeze(network, int(rng.randint(1, weighted + 1)))
    lambda_min = rng.uniform(0, 1)
    batch, rate, lambda_max = int(rng.randint(1, 5)), 10 ** rng.uniform(-4, -1), rng.uniform(lambda_min, 1)
    settings = ts.train_config(batch, rate, lambda_min, lambda_max, bool(rng.randint(2)), int(rng.randint(2**31)))
    labels = rng.randint(0, classes, len(samples))
    title = f"seed {seed}, network {index}, {config}"
    return trace_case(title, network, settings, samples.reshape(len(samples), -1), labels, steps)


def spread_zero_points(rng: np.random.RandomState, network: Network) -> None:
    """Some weight tensors get extreme zero points and scales, which initialization never makes."""
    for i, weights in enumerate(network.weights):
        if weights is not None and weights.dtype == np.uint8 and rng.randint(4) == 0:
            network.layers["weight_zero"][i] = rng.choice([0, 255, 17])
            network.layers["weight_scale"][i] *= np.float32(10 ** rng.uniform(-2, 1))


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
