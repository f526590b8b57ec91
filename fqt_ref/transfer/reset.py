# SPDX-License-Identifier: Apache-2.0
"""Forget the last layers (paper, IV-A): random weights on new grids, while feature maps keep the ranges of the trained network.

Ranges have to be those from before the reset: calibrated on random layers, training collapses.
"""

import numpy as np

from fqt_ref.build import freeze
from fqt_ref.calibrate import quantize_layer, random_weights
from fqt_ref.network import Network


def reset_last(network: Network, count: int, seed: int) -> Network:
    """A copy whose last `count` layers with weights have random ones (He initialization, biases 0), and are the only ones that train.

    Raises FqtError if there are fewer such layers.
    """
    made = Network(
        network.name, network.tensors.copy(), network.layers.copy(), list(network.weights), list(network.biases), list(network.grids)
    )
    freeze(made, count)
    made.tensors["error_scale"] = 0  # what an earlier training found is void
    weighted = [i for i, weights in enumerate(made.weights) if weights is not None]
    for i in weighted[len(weighted) - count :]:
        shape, grid = made.weights[i].shape, made.grids[i]
        weights = np.zeros((shape[0], made.weights[i].size // shape[0]), np.float32)
        random_weights(seed, i, weights)
        made.biases[i] = np.zeros_like(made.biases[i])
        if grid is None:
            made.weights[i] = weights.reshape(shape)
            continue
        scales, zeros = np.zeros_like(grid[0]), np.zeros_like(grid[1])
        quantized = np.zeros(weights.size, np.uint8)
        quantize_layer(
            weights, np.zeros(shape[0], np.float32), np.float32(1), scales, zeros, False, quantized, np.zeros(shape[0], np.int32)
        )
        made.weights[i], made.grids[i] = quantized.reshape(shape), (scales, zeros)
    return made
