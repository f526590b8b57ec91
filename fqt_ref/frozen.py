# SPDX-License-Identifier: Apache-2.0
"""Frozen layers run once per sample: training enters the network at the last tensor that they make, with the bits of a whole pass."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref.blas import one_blas_thread
from fqt_ref.network import ENTRY, Network, State, carrying, inputs_of
from fqt_ref.training_plan import tensor_bytes

PIECE = 256  # samples between two calls of advance()


def entry_of(network: Network) -> int:
    """The last tensor through which all that training needs passes: no layer behind it reads one in front of it; 0 if there is none."""
    carries = carrying(network.layers)
    first = carries.index(True) - 1 if any(carries) else 0
    earliest = len(network.layers)
    entry = 0
    for i in range(len(network.layers) - 1, -1, -1):
        earliest = min(earliest, *inputs_of(network.layers[i]))
        if i <= first and earliest >= i:
            entry = i
            break
    return entry


def copy_of(state: State) -> State:
    """A State of its own for another thread."""
    return State(*(array.copy() for array in state))


def frozen_features(
    state: State, samples: np.ndarray, entry: int, threads: int = 2, advance: Callable[[int], None] = lambda n: None
) -> np.ndarray:
    """The bytes of tensor `entry` of each sample. samples: uint8[n, h * w * c]. Returns uint8[n, bytes]; samples themselves for entry 0."""
    if entry == 0:
        return samples
    features = np.zeros((len(samples), tensor_bytes(state.tensors[entry])), np.uint8)

    def work(part: int) -> None:
        own = copy_of(state)
        own.counters[ENTRY] = 0
        for at in range(part * PIECE, len(samples), threads * PIECE):
            ts.features(own, samples[at : at + PIECE], entry, features[at : at + PIECE])
            advance(len(features[at : at + PIECE]))

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return features
