# SPDX-License-Identifier: Apache-2.0
"""Memory sizes that Python computes against those that the C library answers on emulated cores; instructions that QEMU counts."""

import copy

import numpy as np
import pytest

from fqt_ref import device, device_cost
from fqt_ref.build import freeze
from fqt_ref.datasets import load
from fqt_ref.device_memory import device_memory
from fqt_ref.errors import FqtError
from fqt_ref.models import NETWORKS
from fqt_ref.random_graph import CONFIGS, random_network
from fqt_ref.training import fresh_network

CORES = list(device_cost.TICK)


def require(target):
    try:
        device.require(target)
    except FqtError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def networks():
    """The shipped networks in all configurations, and with fewer trained layers; random graphs."""
    data = load("digits")
    made = [fresh_network(name, config, data, 0) for name in NETWORKS for config in CONFIGS]
    for network in [copy.deepcopy(network) for network in made[:6]]:
        freeze(network, 1)
        made.append(network)
    rng = np.random.RandomState(20261121)
    made += [random_network(rng, f"random {i}", CONFIGS[i % 3], 1 + i % 9) for i in range(200)]
    return made


@pytest.mark.parametrize("core", CORES)
def test_sizes_are_those_of_the_c_library(networks, core):
    require(core)
    for network, answer in zip(networks, device_cost.measure(core, networks), strict=True):
        assert (answer.status, answer.memory) == (0, device_memory(network)), network.name


def test_sizes_are_those_of_the_c_library_that_keeps_weight_ranges(networks):
    require("cortex-m4")
    for network, answer in zip(networks, device_cost.measure("cortex-m4", networks, options=device.OPTION_FLAGS), strict=True):
        assert (answer.status, answer.memory) == (0, device_memory(network, keeps_ranges=True)), network.name


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
def test_instructions_repeat_and_fall_with_frozen_layers(networks, core):
    require(core)
    whole, last = networks[0], copy.deepcopy(networks[0])
    freeze(last, 1)
    counts = [device_cost.measure(core, [whole, last], count=True) for _ in range(2)]
    assert counts[0] == counts[1]
    assert counts[0][1].instructions < counts[0][0].instructions


def test_too_many_models_at_once_are_refused(networks):
    with pytest.raises(FqtError, match="measure fewer at once"):
        device_cost.bundle(networks * 60, count=False)
