# SPDX-License-Identifier: Apache-2.0
"""Sensor signals as bytes: in standard deviations of the training part, from -8 in steps of 1/16.

Eight deviations hold all but a few of ten thousand samples of signals with spikes (vibration, gyroscopes), whose
full range would leave the quiet classes a handful of bytes.
"""

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets.input_range import to_bytes
from fqt_ref.errors import FqtError

SCALE = np.float32(1) / np.float32(16)
ZERO = 128
_CHUNK, _MOMENTS = 1024, 1 << 16  # samples and moments converted at a time: temporaries stay small beside the data


def statistics(training: NDArray[np.number], where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (mean, standard deviation), each float64[C], of the training part's samples in time [T,C].

    Raises FqtError: a channel is constant; where names file and array.
    """
    mean = training.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(training), _MOMENTS):
        squares += ((training[start : start + _MOMENTS] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / len(training))
    constant = np.flatnonzero(deviation == 0)
    if constant.size:
        raise FqtError(f"{where}: channel {constant[0]} is constant in the training part; get the file again")
    return mean, deviation


def standardized(values: NDArray[np.number], mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return finite values [N,...,C] as uint8 of SCALE and ZERO: (value - mean) / deviation, clipped to -8..7.9375."""
    quantized = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _CHUNK):
        chunk = (values[start : start + _CHUNK].astype(np.float64) - mean) / deviation
        quantized[start : start + _CHUNK] = to_bytes(chunk, SCALE, ZERO)
    return quantized
