# SPDX-License-Identifier: Apache-2.0
"""Transfer learning's start: the last layers forget what they learnt (paper, IV-A), ranges of feature maps stay as calibrated."""

import numpy as np

from fqt_ref.calibrate import quantize_layer, random_weights
from fqt_ref.errors import FqtError
from fqt_ref.network import U8, Network


def reset_last(network: Network, count: int, seed: int) -> None:
    """Give the last `count` layers with weights random values (He initialization), biases 0, in place. FqtError if there are fewer."""
    weighted = [i for i, weights in enumerate(network.weights) if weights is not None]
    if not 0 <= count <= len(weighted):
        raise FqtError(f"cannot reset the last {count} layers: the network has {len(weighted)} with weights")
    for i in weighted[len(weighted) - count :]:
        shape, out = network.weights[i].shape, len(network.biases[i])
        weights = np.zeros((out, network.weights[i].size // out), np.float32)
        random_weights(seed, i, weights)
        if network.tensors["type"][i + 1] != U8:
            network.weights[i], network.biases[i] = weights.reshape(shape), np.zeros(out, np.float32)
            continue
        scales, zeros = network.grids[i]
        octets, bias = np.zeros(weights.size, np.uint8), np.zeros(out, np.int32)
        quantize_layer(weights, np.zeros(out, np.float32), scales, zeros, False, octets, bias)
        network.weights[i], network.biases[i] = octets.reshape(shape), bias
    network.tensors["error_scale"] = 0
