# SPDX-License-Identifier: Apache-2.0
"""Random graphs trained on both sides: the engine's trace of every tensor, replayed by the C library on a target."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import device
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.blas import one_blas_thread
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case, case_bytes, file_bytes
from fqt_ref.golden.steps import trace_case, zeroth_trace_case
from fqt_ref.network import LAYER_TRAINABLE, OPS_WITH_WEIGHTS, TENSOR_ADAPTIVE, U8, Network, carrying, tensor_size
from fqt_ref.optimizers.names import WEIGHT_RANGES
from fqt_ref.random_graph import CONFIGS, random_network
from fqt_ref.training_plan import plan_network

BATCH_BYTES = 300_000  # of golden cases for one start of the target: fits the flash of the smallest machine


def random_course(rng: np.random.RandomState, network: Network, classes: int) -> tuple[np.ndarray, np.ndarray, ts.TrainConfig]:
    """Random samples, uint8[8, h * w * c], labels and hyperparameters."""
    samples = rng.randint(0, 256, (8, int(tensor_size(network.tensors.view(np.recarray)[0])))).astype(np.uint8)
    lambda_min = rng.uniform(0, 1)
    batch, rate, lambda_max = int(rng.randint(1, 5)), 10 ** rng.uniform(-4, -1), rng.uniform(lambda_min, 1)
    settings = ts.train_config(batch, rate, lambda_min, lambda_max, bool(rng.randint(2)), int(rng.randint(2**31)))
    return samples, rng.randint(0, classes, len(samples)), settings


def random_case(seed: int, index: int, steps: int) -> Case:
    """One random network with random samples, labels and hyperparameters, every other with random options, and its trace."""
    rng = np.random.RandomState((seed * 1_000_003 + index) % 2**32)
    classes, config = int(rng.randint(1, 11)), CONFIGS[rng.randint(3)]
    network = random_network(rng, f"random {index}", config, classes)
    samples, labels, settings = random_course(rng, network, classes)
    if rng.randint(2):
        weight_range, range_rate = int(rng.randint(len(WEIGHT_RANGES))), np.float32(10 ** rng.uniform(-3, 0))
        settings = settings._replace(weight_range=weight_range, range_rate=range_rate, stochastic_errors=int(rng.randint(3)))
    return trace_case(f"seed {seed}, network {index}, {config}", network, settings, samples, labels, steps)


def train_quantized_only(network: Network) -> None:
    """Freeze float32 layers; if nothing trains then, let the last quantized layer with weights. Plans the memory anew."""
    tensors, layers = network.tensors, network.layers
    weighted = [i for i in range(len(layers)) if layers["op"][i] in OPS_WITH_WEIGHTS and tensors["type"][i + 1] == U8]
    for i in range(len(layers)):
        if tensors["type"][i + 1] != U8:
            layers["flagset"][i] &= ~np.uint8(LAYER_TRAINABLE)
    if weighted and not any(layers["flagset"] & LAYER_TRAINABLE):
        layers["flagset"][weighted[-1]] |= LAYER_TRAINABLE
    idle = ~np.array(carrying(layers))
    tensors["flagset"][idle] &= ~np.uint8(TENSOR_ADAPTIVE)
    tensors["error_scale"][idle] = 0
    plan_network(network, 0)


def random_zeroth_case(seed: int, index: int, steps: int) -> Case:
    """The same without back-propagation: a quantized network, or one with float32 layers behind."""
    rng = np.random.RandomState((seed * 1_000_003 + index) % 2**32)
    classes, config = int(rng.randint(1, 11)), CONFIGS[rng.randint(2)]
    network = random_network(rng, f"random {index}", config, classes)
    train_quantized_only(network)
    if not any(network.layers["flagset"] & LAYER_TRAINABLE):  # all its weights are float32
        network = random_network(rng, f"random {index}", "uint8", classes)
    samples, labels, settings = random_course(rng, network, classes)
    first_node = int(rng.choice([0, len(network.layers), rng.randint(len(network.layers))]))
    weight_step, bias_step, node_step = (int(rng.choice([1, rng.randint(1, 128)])) for _ in range(3))
    zeroth = zo.zeroth_config(
        network, settings.batch_size, int(rng.randint(1, 4)), weight_step, bias_step * int(rng.randint(2)), node_step,
        bool(rng.randint(2)), first_node, bool(rng.randint(2)))  # fmt: skip
    return zeroth_trace_case(f"seed {seed}, network {index}, {config}", network, settings, zeroth, samples, labels, steps)


def batches(
    make: Callable[[int, int, int], Case], seed: int, networks: int, steps: int, advance: Callable[[int], None]
) -> Iterator[list[Case]]:
    """Random cases in portions that fit a target. make(seed, index, steps)."""
    portion: list[Case] = []
    size = 0
    for index in range(networks):
        case = make(seed, index, steps)
        length = len(case_bytes(case))
        if portion and size + length > BATCH_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(case)
        size += length
        advance(1)
    yield portion


@one_blas_thread()
def crosscheck(
    target: str, networks: int, steps: int, seed: int, advance: Callable[[int], None] = lambda n: None, zeroth: bool = False
) -> dict[str, Any]:
    """Compare `networks` random networks over `steps` training steps on a target (device.TARGETS). zeroth: without back-propagation.

    Returns networks, steps, values_compared, differences and first (a description of the first difference, or None).
    Raises FqtError for an unknown target or a missing compiler or emulator.
    """
    result: dict[str, Any] = {"target": target, "networks": 0, "steps": steps, "seed": seed}
    result |= {"values_compared": 0, "differences": 0, "first": None}
    device.require(target)
    with tempfile.TemporaryDirectory(prefix="fqt-crosscheck-") as folder:
        path = Path(folder) / "cases.fqg"
        for portion in batches(random_zeroth_case if zeroth else random_case, seed, networks, steps, advance):
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
