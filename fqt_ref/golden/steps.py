# SPDX-License-Identifier: Apache-2.0
"""Golden cases of whole training: traces of single steps, trajectories of hundreds of steps on real digits."""

from collections.abc import Iterator

import numpy as np

from fqt_ref import model_file
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.build import build_network
from fqt_ref.datasets import load
from fqt_ref.golden import shapes, tiny
from fqt_ref.golden.format import Case
from fqt_ref.input_grid import calibration_of
from fqt_ref.models.describe import graph_of
from fqt_ref.models.digits_graph import digits_graph
from fqt_ref.network import Network
from fqt_ref.optimizers.names import HYSTERESIS, LOSS
from fqt_ref.state import state_checksum, trace, trace_bytes, update_is_due, zeroth_trace
from fqt_ref.training import flat, fresh_network, prepared_state

CONFIGS = ("uint8", "mixed", "float32")
TRAJECTORY_STEPS = 240
ZEROTH_STEPS = 96
OPTIONS_STEPS = 48
BATCH = 8


def setup_arrays(network: Network, config: ts.TrainConfig, samples, labels, steps: int) -> list[np.ndarray]:
    """The inputs that trajectories and traces share (SPEC.md 12). Raises FqtError for an optimizer that the C library lacks."""
    ts.check_on_chip(config)
    numbers = [config.batch_size, config.seed, config.lambda_min, config.lambda_max, int(config.sparse_last), len(samples), steps]
    return [
        np.frombuffer(model_file.file_bytes(network), np.uint8),
        np.array(numbers, np.uint32),
        np.array([config.learning_rate], np.float32),
        samples,
        labels.astype(np.int32),
    ]


def option_arrays(config: ts.TrainConfig) -> list[np.ndarray]:
    """The options of SPEC.md 16 as further inputs, none where all are as usual."""
    if config.weight_range == HYSTERESIS and config.stochastic_errors == LOSS:
        return []
    return [np.array([config.weight_range, config.stochastic_errors], np.uint32), np.array([config.range_rate], np.float32)]


def training_case(kind: str, name: str, network: Network, config: ts.TrainConfig, samples, labels, steps: int, expected) -> Case:
    """A case of a kind, "trace" or "trajectory", or of its twin with options."""
    options = option_arrays(config)
    inputs = [*setup_arrays(network, config, samples, labels, steps), *options]
    return Case(f"options_{kind}" if options else kind, name, inputs, expected)


def trace_case(name: str, network: Network, config: ts.TrainConfig, samples, labels, steps: int) -> Case:
    """Every tensor of every step. samples: uint8[n, h * w * c]."""
    stream = trace_bytes(trace(prepared_state(network, config), config, samples, labels, steps))
    return training_case("trace", name, network, config, samples, labels, steps, [np.frombuffer(stream, np.uint8)])


def trajectory_case(name: str, network: Network, config: ts.TrainConfig, samples, labels, steps: int) -> Case:
    """Loss and prediction of each step, a checksum of all state after each update. samples: uint8[n, h * w * c]."""
    state = prepared_state(network, config)
    results, checksums = [], []
    for i in range(steps):
        results.append(ts.train_sample(state, config, samples[i % len(samples)], int(labels[i % len(samples)])))
        if update_is_due(state, config, i, steps):
            ts.update(state, config)
            checksums.append(state_checksum(state))
    expected = [np.array(results, np.uint32), np.array(checksums, np.uint32)]
    return training_case("trajectory", name, network, config, samples, labels, steps, expected)


def zeroth_arrays(network: Network, config: ts.TrainConfig, zeroth: zo.ZerothConfig, samples, labels, steps: int) -> list[np.ndarray]:
    """The inputs of the same without back-propagation."""
    return [*setup_arrays(network, config, samples, labels, steps), np.array(zeroth, np.uint32)]


def zeroth_trace_case(name: str, network: Network, config: ts.TrainConfig, zeroth: zo.ZerothConfig, samples, labels, steps: int) -> Case:
    """Gradients of every step and the state after each update. samples: uint8[n, h * w * c]."""
    stream = trace_bytes(zeroth_trace(zo.prepared_state(network, config, zeroth), config, zeroth, samples, labels, steps))
    inputs = zeroth_arrays(network, config, zeroth, samples, labels, steps)
    return Case("zeroth_trace", name, inputs, [np.frombuffer(stream, np.uint8)])


def zeroth_trajectory_case(
    name: str, network: Network, config: ts.TrainConfig, zeroth: zo.ZerothConfig, samples, labels, steps: int
) -> Case:
    """Loss and prediction of each step, a checksum of all state after each update. samples: uint8[n, h * w * c]."""
    state = zo.prepared_state(network, config, zeroth)
    results, checksums = [], []
    for i in range(steps):
        results.append(zo.train_sample(state, config, zeroth, samples[i % len(samples)], int(labels[i % len(samples)])))
        if update_is_due(state, config, i, steps):
            zo.update(state, config, zeroth)
            checksums.append(state_checksum(state))
    expected = [np.array(results, np.uint32), np.array(checksums, np.uint32)]
    return Case("zeroth_trajectory", name, zeroth_arrays(network, config, zeroth, samples, labels, steps), expected)


def trajectories(only: str = "") -> Iterator[tuple[str, Case]]:
    """240 steps on real digits: each configuration, dense and sparse; and the smallest network, for 16 KB machines.

    only: make just the cases whose name starts so.
    """
    data = load("digits")
    samples, labels = flat(data.train_x[:TRAJECTORY_STEPS]), data.train_y[:TRAJECTORY_STEPS]
    for config in CONFIGS:
        if not f"trajectory_{config}_".startswith(only):
            continue
        network = fresh_network("digits-cnn", config, data, seed=1)
        for mode, lambda_min, last in (("dense", 1.0, False), ("sparse", 0.25, config == "mixed")):
            settings = ts.train_config(BATCH, 0.003, lambda_min, 1.0, last, seed=11)
            case = trajectory_case(f"digits-cnn {config} {mode}", network, settings, samples, labels, TRAJECTORY_STEPS)
            yield f"trajectory_{config}_{mode}", case
    if not "trajectory_small".startswith(only):
        return
    network = fresh_network("digits-mlp", "uint8", data, seed=2)
    settings = ts.train_config(BATCH, 0.003, 0.5, 1.0, seed=12)
    yield "trajectory_small", trajectory_case("digits-mlp uint8 sparse", network, settings, samples, labels, TRAJECTORY_STEPS)


def traces() -> Iterator[tuple[str, Case]]:
    """Two updates of three samples each, every tensor shown: dense and sparse, all layers and the last two; one for small machines."""
    data = load("digits")
    samples, labels = flat(data.train_x[:3]), data.train_y[:3]

    def case(network_name, config, lambda_min, train_last):
        network = fresh_network(network_name, config, data, 3, train_last)
        settings = ts.train_config(3, 0.01, lambda_min, lambda_min, seed=5)
        return trace_case(f"{config}, lambda {lambda_min}, last {train_last}", network, settings, samples, labels, 6)

    yield "train_step_small", case("digits-mlp", "uint8", 0.5, None)
    for config in CONFIGS:
        for lambda_min, train_last in ((1.0, None), (0.3, None), (1.0, 2)):
            yield f"train_step_{config}", case("digits-cnn", config, lambda_min, train_last)
        for train_last, per_channel in ((None, False), (None, True), (3, config == "mixed")):
            if config != "float32" or not per_channel:
                yield f"train_step_graph_{config}", graph_case(data, config, train_last, per_channel)


def zeroth_cases() -> Iterator[tuple[str, Case]]:
    """Without back-propagation: by nodes, by weights, one-sided and sparse, the last layer exactly; the smallest for 16 KB machines."""
    data = load("digits")
    samples, labels = flat(data.train_x[:ZEROTH_STEPS]), data.train_y[:ZEROTH_STEPS]

    def case(make, title, network, steps, lambda_min, **options):
        settings = ts.train_config(BATCH, 0.003, lambda_min, 1.0, seed=12)
        return make(title, network, settings, zo.zeroth_config(network, BATCH, **options), samples, labels, steps)

    network = fresh_network("digits-mlp", "uint8", data, seed=2)
    for title, lambda_min, options in (
        ("by nodes", 1.0, {"first_node": 0}),
        ("by weights", 1.0, {"first_node": 2}),
        ("by both, one side, sparse", 0.5, {"first_node": 1, "antithetic": False}),
        ("by nodes, last exactly", 1.0, {"first_node": 0, "exact_last": True}),
    ):
        yield "zeroth_order_small", case(zeroth_trajectory_case, title, network, ZEROTH_STEPS, lambda_min, queries=2, **options)
    network = fresh_network("digits-cnn", "uint8", data, seed=1)
    yield "zeroth_order", case(zeroth_trajectory_case, "digits-cnn by both", network, 2 * BATCH, 0.5, queries=2, first_node=2)
    for title, first_node, per_channel in (("graph by nodes", 0, False), ("graph by weights, grid a channel", 255, True)):
        network = graph_network(data, "uint8", None, per_channel)
        yield "zeroth_order", case(zeroth_trace_case, title, network, BATCH, 0.5, queries=1, first_node=first_node)


def option_cases() -> Iterator[tuple[str, Case]]:
    """The options of SPEC.md 16: each alone on the smallest network, for 16 KB machines; together on all operators that send errors."""
    data = load("digits")
    samples, labels = flat(data.train_x[:OPTIONS_STEPS]), data.train_y[:OPTIONS_STEPS]

    def settings(lambda_min, options):
        return ts.train_config(BATCH, 0.01, lambda_min, 1.0, seed=14, **options)

    network = fresh_network("digits-mlp", "uint8", data, seed=2)
    averages = {"weight_range": "moving-average", "range_rate": 0.1}
    for title, lambda_min, options in (
        ("literal", 1.0, {"weight_range": "literal"}),
        ("moving average", 1.0, averages),
        ("errors half up", 1.0, {"stochastic_errors": "none"}),
        ("all errors stochastic", 1.0, {"stochastic_errors": "all"}),
        ("moving average, all errors stochastic, sparse", 0.25, {**averages, "stochastic_errors": "all"}),
    ):
        yield "options_small", trajectory_case(title, network, settings(lambda_min, options), samples, labels, OPTIONS_STEPS)
    for config, lambda_min in (("uint8", 1.0), ("uint8", 0.1), ("mixed", 0.25)):
        network = fresh_network("digits-cnn", config, data, seed=1)
        both = settings(lambda_min, {**averages, "stochastic_errors": "all"})
        title = f"digits-cnn {config}, lambda {lambda_min}"
        yield "options", trajectory_case(title, network, both, samples, labels, OPTIONS_STEPS)
    for config, per_channel, weight_range in (
        ("uint8", False, "hysteresis"),
        ("uint8", True, "moving-average"),
        ("mixed", True, "literal"),
        ("mixed", False, "moving-average"),
    ):
        both = ts.train_config(2, 0.01, 0.5, 1.0, seed=5, weight_range=weight_range, stochastic_errors="all")
        title = f"graph {config}, {weight_range}, {'grid a channel' if per_channel else 'one grid'}"
        network = graph_network(data, config, None, per_channel)
        yield "options", trace_case(title, network, both, flat(data.train_x[:3]), data.train_y[:3], 4)


def graph_network(data, config: str, train_last: int | None, per_channel: bool) -> Network:
    """A residual network with every operator; with train_last 3 the first trained layer lies inside the residual block."""
    graph = graph_of("digits-graph", digits_graph(data.train_x.shape[1:], data.classes), data.train_x.shape[1:])
    samples, grid = calibration_of(data, graph)
    return build_network(graph, config, samples, *grid, 3, train_last, per_channel=per_channel)


def graph_case(data, config: str, train_last: int | None, per_channel: bool) -> Case:
    """A trace of that network."""
    network = graph_network(data, config, train_last, per_channel)
    settings = ts.train_config(2, 0.01, 0.5, 1.0, seed=5)
    title = f"{config}, last {train_last}, {'grid a channel' if per_channel else 'one grid'}"
    return trace_case(title, network, settings, flat(data.train_x[:3]), data.train_y[:3], 4)


def step_files() -> dict[str, list[Case]]:
    """Golden cases by file name."""
    files: dict[str, list[Case]] = {}
    for name, case in [*traces(), *trajectories(), *zeroth_cases(), *option_cases()]:
        files.setdefault(name, []).append(case)
    files["options_small"] += tiny.option_cases()
    files["shapes"] = list(shapes.shape_cases())
    files["tiny"] = [*tiny.trace_cases(), *tiny.zeroth_cases()]
    return files
