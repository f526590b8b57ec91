# SPDX-License-Identifier: Apache-2.0
"""SGD with momentum in float32 layers (SPEC.md 15.1): m' = mu m + G / B, w' = w - lr m', as PyTorch's SGD without dampening.

A desktop baseline: Table IV calls it SGD-M. Source: Polyak 1964; the form of Sutskever et al., ICML 2013, with the rate outside of m.
"""

import numpy as np

from fqt_ref.jit import njit


@njit
def update_f32(rate, momentum, batch, values, gradient, moments):
    """One step of weights or biases. values, moments: float32[n], in place; gradient: float32[n], sums over `batch` samples."""
    for i in range(values.size):
        moments[i] = momentum * moments[i] + gradient[i] / np.float32(batch)
        values[i] -= rate * moments[i]
