# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware scaling (SPEC.md 15.3): gradients of quantized weights times s_w^-2, of biases times (s_x s_w)^-2, then int8_sgd_m.

A desktop baseline: Table IV calls it SGD+M+QAS. Source: Lin et al., "On-Device Training Under 256KB Memory", NeurIPS 2022, Eq. 3 and 4, and
algorithm/core/optimizer/sgd_scale.py of github.com/mit-han-lab/tiny-training. With a grid for each channel, s_w is the channel's own.
"""

from fqt_ref.jit import njit
from fqt_ref.optimizers import int8_sgd_m


@njit
def weight_unit(error_scale, input_scale, batch, scale):
    """What 1 of G is worth: int8_sgd_m's unit / s_w^2, as if the step were one of float32 weights."""
    return int8_sgd_m.weight_unit(error_scale, input_scale, batch, scale) / (scale * scale)


@njit
def bias_unit(error_scale, batch, scale):
    """What 1 of G_b is worth: int8_sgd_m's unit / (s_x s_w)^2. scale: s_x s_w."""
    return int8_sgd_m.bias_unit(error_scale, batch, scale) / (scale * scale)
