# SPDX-License-Identifier: Apache-2.0
"""From a description to a network with random weights, calibrated on real samples."""

import numpy as np

from fqt_ref.build import build_network
from fqt_ref.models.describe import Layer, graph_of
from fqt_ref.network import Network


def initialize(
    name: str, description: list[Layer], config: str, samples: np.ndarray, scale, zero: int, seed: int, train_last: int | None = None
) -> Network:
    """A described network with random weights, batch norm and ranges from calibration samples. See build.build_network."""
    return build_network(graph_of(name, description, samples.shape[1:]), config, samples, scale, zero, seed, train_last)
