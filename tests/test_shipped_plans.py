# SPDX-License-Identifier: Apache-2.0
"""The memory plan of every network that ships equals its lower bound: trained whole, in its last five layers, and in its last one."""

import os
from pathlib import Path

import numpy as np
import pytest

from fqt_ref.build import build_network, freeze
from fqt_ref.graph import Graph
from fqt_ref.models import NETWORKS, describe_network
from fqt_ref.models.describe import graph_of
from fqt_ref.training_plan import arenas_of, lower_bounds

SHAPES = {
    "mnist-cnn": [(28, 28, 1)],
    "digits-cnn": [(8, 8, 1)],
    "digits-mlp": [(8, 8, 1)],
    "digits-graph": [(8, 8, 1)],
    "mbednet": [(32, 32, 3), (64, 64, 3), (128, 128, 3), (49, 40, 1), (1, 128, 6), (1, 512, 1)],
    "ds-cnn": [(49, 10, 1)],
    "resnet8": [(32, 32, 3)],
    "mobilenet-v1-0.25": [(96, 96, 3)],
}
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"  # a folder beside the checkout
MODELS = Path(os.environ.get("FQT_DATA_DIR", BESIDE)) / "models"


def assert_plans_equal_bounds(graph: Graph) -> None:
    samples = np.random.RandomState(0).randint(0, 256, (1, *graph.input_shape)).astype(np.uint8)
    for config in ("uint8", "float32"):
        network = build_network(graph, config, samples, 0.01, 3)
        weighted = sum(weights is not None for weights in network.weights)
        for last in {weighted, min(5, weighted), 1}:
            freeze(network, last)
            assert arenas_of(network) == lower_bounds(network), f"{config}, last {last}"


def test_every_network_is_here():
    assert set(SHAPES) == set(NETWORKS)


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, shapes in SHAPES.items() for shape in shapes])
def test_plan_equals_lower_bound(name, shape):
    assert_plans_equal_bounds(graph_of(name, describe_network(name, shape, 10), shape))


@pytest.mark.parametrize("name", ["mcunet-5fps", "proxyless-w0.3", "mbv2-w0.35"])
def test_plan_of_imported_networks_equals_lower_bound(name):
    path = MODELS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not there (set FQT_DATA_DIR)")
    from fqt_ref.convert import load
    from fqt_ref.convert.head import replace_head

    assert_plans_equal_bounds(replace_head(load(path).graph, 10))
