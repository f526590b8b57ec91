# SPDX-License-Identifier: Apache-2.0
"""Random graphs on both engines, on host and emulated cores; a wrong bit must be found and named."""

import itertools

import naive
import numpy as np
import pytest

from fqt_ref import crosscheck as cross
from fqt_ref import device, golden, model_file
from fqt_ref import train_step as ts
from fqt_ref.build import build_network
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case
from fqt_ref.golden.format import file_bytes as golden_bytes
from fqt_ref.golden.steps import trace_case
from fqt_ref.models import AvgPool2d, Conv2d, Linear
from fqt_ref.models.describe import graph_of
from fqt_ref.network import carrying, inputs_of
from fqt_ref.random_graph import CONFIGS, random_network

CORES = [name for name, target in device.TARGETS.items() if target.emulated]


def require(target):
    try:
        device.require(target)
    except FqtError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("target", "networks"), [("host", 40), *((core, 5) for core in CORES)])
def test_random_networks_agree(target, networks):
    require(target)
    result = cross.crosscheck(target, networks, 6, seed=20261121)
    assert (result["networks"], result["differences"], result["first"]) == (networks, 0, None)


@pytest.mark.parametrize(("target", "networks"), [("host", 40), *((core, 5) for core in CORES)])
def test_random_networks_agree_without_back_propagation(target, networks):
    require(target)
    result = cross.crosscheck(target, networks, 4, seed=20261123, zeroth=True)
    assert (result["networks"], result["differences"], result["first"]) == (networks, 0, None)


@pytest.mark.parametrize("index", range(40))
def test_engine_equals_slow_twin_without_back_propagation(index):
    case = cross.random_zeroth_case(20261124, index, 4)
    assert zeroth_twin_trace(case) == case.expected[0].tobytes(), case.name


@pytest.mark.parametrize("target", list(device.TARGETS))
def test_golden_vectors_agree(target):
    require(target)
    compared = 0
    for path in sorted(golden.DEFAULT_DIR.glob("*.fqg")):
        result = device.run_replay(target, path)
        assert result.equal, f"{path.name}: {result.first}"
        compared += result.values_compared
    assert compared > 200_000


@pytest.mark.parametrize("index", range(60))
def test_engine_equals_slow_twin(index):
    case = cross.random_case(20261122, index, 4)
    assert twin_trace(case) == case.expected[0].tobytes(), case.name


def twin_trace(case):
    """naive.py's trace of a random case's inputs."""
    return naive.trace_of(naive.trainer_of(case.inputs), case.inputs)


def test_a_long_signal_pooled_at_once_agrees(tmp_path):
    require("host")
    rng = np.random.RandomState(3)
    samples = rng.randint(0, 256, (3, 1, 300, 1)).astype(np.uint8)
    description = [Conv2d(2, (1, 3)), AvgPool2d((1, 298)), Linear(3, activation="", batch_norm=False)]
    graph = graph_of("signal", description, samples.shape[1:])
    network = build_network(graph, "uint8", samples, np.float32(0.01), 9, 1)
    case = trace_case("signal", network, ts.train_config(2, 0.01, 0.5, 1.0, seed=5), samples.reshape(3, -1), np.array([0, 2, 1]), 4)
    assert twin_trace(case) == case.expected[0].tobytes()
    (tmp_path / "signal.fqg").write_bytes(golden_bytes([case]))
    replay = device.run_replay("host", tmp_path / "signal.fqg", sanitize=True)
    assert (replay.cases, replay.differences) == (1, 0)


def zeroth_twin_trace(case):
    """The same without back-propagation."""
    return naive.trace_of(naive.zeroth_trainer_of(case.inputs), case.inputs)


@pytest.fixture(scope="module")
def graphs():
    """300 random networks, as parsed from their files."""
    found = []
    for i in range(300):
        rng = np.random.RandomState(i)
        network = random_network(rng, f"{i}", CONFIGS[i % 3], int(rng.randint(1, 11)))
        found.append(model_file.parse(model_file.file_bytes(network)))
    return found


def test_random_networks_are_small(graphs):
    assert max(len(model_file.file_bytes(network)) for network in graphs) < 16_000
    assert 5 < np.mean([len(network.layers) for network in graphs]) < 15


def test_random_networks_cover_the_operators_in_each_type(graphs):
    u8 = {int(layer["op"]) for n in graphs for layer in n.layers if n.tensors["type"][layer["output"]] == 1}
    f32 = {int(layer["op"]) for n in graphs for layer in n.layers if n.tensors["type"][layer["output"]] == 2}
    assert u8 == {1, 2, 3, 5, 6, 7, 8}
    assert f32 == {1, 2, 3, 4, 5, 6, 7, 8}


def per_channel(layer):
    return layer["grids"] > 1


LAYER_FEATURES = {
    "dilation and stride": lambda r: r["dilation_h"] > 1 and r["stride_h"] > 1,
    "uneven padding": lambda r: r["pad_top"] != r["pad_bottom"],
    "trained grids for each channel": lambda r: per_channel(r) and r["flagset"] & 2,
    "frozen grids for each channel": lambda r: per_channel(r) and not r["flagset"] & 2,
    "add with ReLU": lambda r: r["op"] == 7 and r["flagset"] == 1,
    "add with ReLU6": lambda r: r["op"] == 7 and r["flagset"] == 5,
    "depthwise with grids": lambda r: r["op"] == 5 and per_channel(r),
}


@pytest.mark.parametrize("feature", LAYER_FEATURES)
def test_random_networks_cover_layer_options(graphs, feature):
    assert sum(any(LAYER_FEATURES[feature](layer) for layer in network.layers) for network in graphs) >= 10


def half_carried(network):
    """An addition of which one input alone carries an error."""
    carries = carrying(network.layers)
    return any(r["op"] == 7 and carries[r["input"]] != carries[r["input2"]] for r in network.layers)


def low_six(network):
    """A quantized ReLU6 tensor on which 6 lies below 255."""
    return any(t["flagset"] & 4 and t["type"] == 1 and t["zero"] + 6 / t["scale"] < 250 for t in network.tensors)


def read_thrice(network):
    reads = [t for layer in network.layers for t in inputs_of(layer)]
    return max(map(reads.count, reads)) >= 3


def pooled_border(network):
    """A dequantize layer that reads a global average pool."""
    ops = network.layers["op"].tolist()
    return any(a == 6 and b == 4 for a, b in itertools.pairwise(ops))


def frozen_branch(network):
    """A layer behind the first trained one whose output carries nothing."""
    carries = carrying(network.layers)
    return not all(carries[carries.index(True) :])


GRAPH_FEATURES = {
    "one input of add carries": half_carried,
    "six below 255": low_six,
    "three readers": read_thrice,
    "dequantize behind average pooling": pooled_border,
    "frozen branch": frozen_branch,
    "height 1": lambda n: n.tensors["h"].max() == 1,
    "last layer without weights": lambda n: n.weights[-1] is None,
    "zero point 255 of weights": lambda n: any(grid is not None and 255 in grid[1] for grid in n.grids),
    "error scales seen before": lambda n: n.tensors["error_scale"].any(),
}


@pytest.mark.parametrize("feature", GRAPH_FEATURES)
def test_random_networks_cover_graph_options(graphs, feature):
    assert sum(map(GRAPH_FEATURES[feature], graphs)) >= 10


def test_random_cases_cover_sparse_last():
    assert {int(cross.random_case(5, i, 1).inputs[1][4]) for i in range(10)} == {0, 1}


def test_random_cases_cover_the_options():
    cases = [cross.random_case(20261121, i, 1) for i in range(40)]  # those that are compared on the host
    options = [case.inputs[5] for case in cases if case.kind == "options_trace"]
    assert {tuple(map(int, numbers)) for numbers in options} == {(i, j) for i in range(3) for j in range(3)} - {(0, 0)}
    assert len(options) < 30


def test_a_wrong_bit_is_found_and_named(monkeypatch):
    require("host")
    original = cross.random_case

    def spoiled(seed, index, steps):
        case = original(seed, index, steps)
        stream = case.expected[0].copy()
        stream[12] ^= 1  # the first byte of the first layer's first output
        return Case(case.kind, case.name, case.inputs, [stream]) if index == 1 else case

    monkeypatch.setattr(cross, "random_case", spoiled)
    result = cross.crosscheck("host", 3, 2, seed=1)
    assert result["differences"] > 0
    assert "output of layer 0, element 0" in result["first"]
    assert "network 1" in result["first"]


def test_cases_depend_on_the_seed_alone():
    one, two = cross.random_case(3, 4, 2), cross.random_case(3, 4, 2)
    assert all((a == b).all() for a, b in zip(one.inputs + one.expected, two.inputs + two.expected, strict=True))
    assert not np.array_equal(one.expected[0], cross.random_case(4, 4, 2).expected[0])
