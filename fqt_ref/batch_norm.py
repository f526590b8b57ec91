# SPDX-License-Identifier: Apache-2.0
"""Batch norm is folded: into a trained layer's weights (paper, Fig. 2b), or at initialization from calibration samples."""

from math import sqrt

import numpy as np

from fqt_ref.jit import njit

EPSILON = np.float32(1e-5)


@njit
def fold_batch_norm(weights, bias, gamma, beta, mean, variance):
    """w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta, in place.

    weights: float32[out, fan_in]; all others float32[out].
    """
    for co in range(bias.size):
        factor = gamma[co] / np.float32(sqrt(variance[co] + EPSILON))
        for k in range(weights.shape[1]):
            weights[co, k] *= factor
        bias[co] = (bias[co] - mean[co]) * factor + beta[co]


@njit
def channel_statistics(outputs, mean, variance):
    """Mean and variance of each channel over samples and positions, summed in memory order. outputs: float32[m, channels]."""
    m = np.float32(outputs.shape[0])
    mean[:] = np.float32(0)
    variance[:] = np.float32(0)
    for row in range(outputs.shape[0]):
        for c in range(mean.size):
            mean[c] += outputs[row, c]
    for c in range(mean.size):
        mean[c] /= m
    for row in range(outputs.shape[0]):
        for c in range(mean.size):
            d = outputs[row, c] - mean[c]
            variance[c] += d * d
    for c in range(mean.size):
        variance[c] /= m
