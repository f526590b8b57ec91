# SPDX-License-Identifier: Apache-2.0
"""Training without back-propagation: the engine against naive.py, the C library's memory, and hazards of perturbing in place."""

import subprocess
from pathlib import Path

import naive
import numpy as np
import pytest

from fqt_ref import crosscheck, device, model_file
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.build import build_network
from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.errors import FqtError
from fqt_ref.golden.steps import zeroth_trace_case
from fqt_ref.models import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Linear, MaxPool2d
from fqt_ref.models.describe import graph_of
from fqt_ref.network import LAYER_TRAINABLE, U8, network_of

SHAPE = (5, 4, 2)
RESIDUAL = [
    Conv2d(3, (2, 2), activation="hard_swish", label="skip"),
    DepthwiseConv2d(padding=(2, 2, 2, 2), dilation=(2, 2), activation="relu6"),
    Conv2d(3, (1, 1), activation=""),
    Add("skip", activation="relu6"),
    AvgPool2d((2, 2)),
    Linear(4, activation="", batch_norm=False),
]
POOLED = [Conv2d(3, padding=(1, 1, 0, 1)), MaxPool2d(), Linear(4, activation="", batch_norm=False)]
WEIGHTS_ONLY = 1 << 31
HAZARDS = Path(__file__).parent / "c" / "zeroth.c"


def network_and_samples(description, config="uint8", per_channel=False):
    samples = np.random.RandomState(0).randint(0, 256, (3, *SHAPE)).astype(np.uint8)
    network = build_network(graph_of("zeroth", description, SHAPE), config, samples, np.float32(0.01), 9, 1, per_channel=per_channel)
    for i, layer in enumerate(network.layers):
        if network.tensors["type"][i + 1] != U8:
            layer["flagset"] &= 255 - LAYER_TRAINABLE
    return network, samples.reshape(3, -1)


def replayed_by_twin(case):
    """naive.py's trace of a zeroth_trace case's inputs."""
    return naive.trace_of(naive.zeroth_trainer_of(case.inputs), case.inputs)


def plain_case(description, options, config="uint8", per_channel=False, lambda_min=1.0, steps=4):
    network, samples = network_and_samples(description, config, per_channel)
    settings = ts.train_config(2, 0.01, lambda_min, lambda_min, bool(lambda_min < 1), seed=5)
    zeroth = zo.zeroth_config(network, 2, **options)
    return zeroth_trace_case("plain", network, settings, zeroth, samples, np.array([0, 3, 1]), steps)


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize(("first_node", "exact_last"), [(0, False), (WEIGHTS_ONLY, False), (2, True)])
@pytest.mark.parametrize("description", [RESIDUAL, POOLED])
def test_engine_equals_slow_twin(description, first_node, exact_last, antithetic):
    case = plain_case(description, {"queries": 2, "antithetic": antithetic, "first_node": first_node, "exact_last": exact_last})
    assert replayed_by_twin(case) == case.expected[0].tobytes()


@pytest.mark.parametrize("first_node", [0, WEIGHTS_ONLY])
def test_sparse_engine_equals_slow_twin(first_node):
    options = {"queries": 1, "first_node": first_node, "weight_step": 3, "bias_step": 0, "node_step": 127}
    case = plain_case(RESIDUAL, options, per_channel=True, lambda_min=0.4)
    assert replayed_by_twin(case) == case.expected[0].tobytes()


def test_frozen_float_layers_behind_equal_slow_twin():
    case = plain_case([Conv2d(3), Linear(4, activation="", batch_norm=False)], {"queries": 2, "first_node": WEIGHTS_ONLY}, config="mixed")
    assert replayed_by_twin(case) == case.expected[0].tobytes()


def test_hazard_a_sample_leaves_weights_as_they_were():
    # Weights at both ends of their grid: what clamping hid must come back.
    network, samples = network_and_samples(POOLED)
    network.weights[0].reshape(-1)[:4] = (0, 255, 1, 254)
    config, zeroth = ts.train_config(8, 0.01, seed=3), zo.zeroth_config(network, 8, 3, weight_step=5, first_node=WEIGHTS_ONLY)
    state = zo.prepared_state(network, config, zeroth)
    zo.train_sample(state, config, zeroth, samples[0], 1)
    after = network_of("zeroth", state)
    for before, now in zip((*network.weights, *network.biases), (*after.weights, *after.biases), strict=True):
        assert before is None or np.array_equal(before, now)


def test_signs_are_fair_and_of_their_query():
    keys = zo.query_keys(1, 2, 3, 4, 5)
    signs = np.array([[zo.sign(k, i) for i in range(400)] for k in keys])
    assert set(signs.reshape(-1).tolist()) == {-1, 1}
    assert abs(signs.mean()) < 0.1
    assert np.abs(np.corrcoef(signs) - np.eye(5)).max() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries 0"),
        ({"queries": 40000, "batch_size": 2}, "batch size 2 with 40000 queries"),
        ({"weight_step": 0}, "weight step 0"),
        ({"node_step": 128}, "node step 128"),
        ({"bias_step": -1}, "bias step -1"),
        ({"batch_size": 60000, "queries": 1}, r"layer 0 \(.* positions\) could overflow"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    network, _ = network_and_samples(POOLED)
    with pytest.raises(FqtError, match=message):
        zo.zeroth_config(network, **{"batch_size": 2, **options})


def test_networks_that_cannot_be_are_refused():
    network, _ = network_and_samples(POOLED)
    network.layers["flagset"] &= 255 - LAYER_TRAINABLE
    with pytest.raises(FqtError, match="no layer of the network is trained"):
        zo.zeroth_config(network, 2)
    samples = np.zeros((3, *SHAPE), np.uint8)
    floats = build_network(graph_of("zeroth", POOLED, SHAPE), "float32", samples, np.float32(0.01), 9, 1)
    with pytest.raises(FqtError, match="is float32: only quantized layers"):
        zo.zeroth_config(floats, 2)


@pytest.fixture(scope="module")
def hazards(tmp_path_factory):
    """The hazards program, sanitized, with a hook in every memcpy."""
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    program = tmp_path_factory.mktemp("zeroth") / "zeroth"
    flags = ["-O1", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Dmemcpy=hooked_memcpy", *device.SANITIZE_FLAGS]
    subprocess.run(["gcc", *flags, *device.include_flags(), *device.library_sources(), HAZARDS, "-o", program], check=True, timeout=300)
    return program


def run_hazards(program, what, network, queries, first_node, exact_last, folder):
    path = folder / "model.fqt"
    model_file.write(path, network)
    command = [program, what, path, str(queries), str(first_node), str(int(exact_last))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sizes_are_those_of_the_c_library(hazards, tmp_path):
    for index in range(30):
        case = crosscheck.random_zeroth_case(20261125, index, 0)
        network, zeroth = model_file.parse(case.inputs[0].tobytes()), zo.ZerothConfig(*map(int, case.inputs[5]))
        said = run_hazards(hazards, "sizes", network, zeroth.queries, zeroth.first_node, zeroth.exact_last, tmp_path)
        assert int(said) == zeroth_memory(network, zeroth).trainer, case.name


@pytest.mark.parametrize("description", [RESIDUAL, POOLED])
@pytest.mark.parametrize(("first_node", "exact_last"), [(0, False), (WEIGHTS_ONLY, False), (2, True)])
def test_hazard_inference_never_sees_a_perturbation(hazards, tmp_path, description, first_node, exact_last):
    network, _ = network_and_samples(description)
    said = run_hazards(hazards, "preempt", network, 3, first_node, exact_last, tmp_path)
    assert int(said.split()[0]) > 4
    run_hazards(hazards, "errors", network, 3, first_node, exact_last, tmp_path)


def test_less_memory_than_back_propagation_where_many_layers_train():
    # Back-propagation keeps the feature maps of all of them.
    shape = (16, 16, 1)
    description = [*[Conv2d(4, padding=(1, 1, 1, 1)) for _ in range(5)], AvgPool2d(), Linear(4, activation="", batch_norm=False)]
    network = build_network(graph_of("deep", description, shape), "uint8", np.zeros((2, *shape), np.uint8), np.float32(0.01), 9, 1)
    with_errors = device_memory(network)
    by_weights, by_nodes = (zeroth_memory(network, zo.zeroth_config(network, 2, 8, first_node=f)) for f in (WEIGHTS_ONLY, 0))
    assert by_weights[::2] == by_nodes[::2] == with_errors[::2]
    assert by_weights.trainer < by_nodes.trainer
    assert by_weights.trainer < 0.8 * with_errors.trainer, (with_errors, by_weights, by_nodes)
    assert by_nodes.trainer < 0.9 * with_errors.trainer, (with_errors, by_weights, by_nodes)
