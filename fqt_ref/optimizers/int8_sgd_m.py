# SPDX-License-Identifier: Apache-2.0
"""SGD with momentum on quantized weights (SPEC.md 15.2): a real-valued step in units of a grid that stays, rounded and clamped on it.

A desktop baseline: Table IV calls it SGD-M, int8. Source: Lin et al., NeurIPS 2022, section 2.1: the weight is w = s_w q, so the gradient
with respect to q is s_w times that of w, while q is 1 / s_w times w: steps are too small by s_w^2. qas_sgd_m.py mends that.
"""

import numpy as np

from fqt_ref.arithmetic import BIAS_ONE, WIDE_LIMIT, clamp, fround
from fqt_ref.jit import njit

BYTE_MAX = np.float32(255)
LARGEST_STEP = np.float32(WIDE_LIMIT)


@njit
def weight_unit(error_scale, input_scale, batch, scale):
    """What 1 of G is worth as gradient of the mean loss with respect to q of a grid of this scale: ((s_e s_x) / B) s_w."""
    return ((error_scale * input_scale) / np.float32(batch)) * scale


@njit
def bias_unit(error_scale, batch, scale):
    """What 1 of G_b is worth with respect to a bias in units of scale = s_x s_w, an accumulator's: (s_e / B) s_x s_w."""
    return (error_scale / np.float32(batch)) * scale


@njit
def move_weights(unit, rate, momentum, weights, gradient, moments, rest):
    """m' = mu m + unit G; q' = round(clamp(q - lr m', 0, 255)); G starts anew from 0.

    weights: uint8[n], gradient: int32[n], moments: float32[n], all in place; rest: float32[n], what q had beyond its byte, in place, or
    float32[0]: rounding loses it.
    """
    for i in range(weights.size):
        moments[i] = momentum * moments[i] + unit * np.float32(gradient[i])
        real = np.float32(weights[i])
        if rest.size > 0:
            real += rest[i]
        real = clamp(real - rate * moments[i], np.float32(0), BYTE_MAX)
        weights[i] = fround(real)
        if rest.size > 0:
            rest[i] = real - np.float32(weights[i])
        gradient[i] = 0


@njit
def move_bias(unit, scale, rate, momentum, bias, gradient, moment):
    """m' = mu m + unit G_b; b' = b - round(lr m' scale 2^20): a step in units of scale = s_x s_w, of a bias in Q20. Returns (b', m')."""
    moment = momentum * moment + unit * np.float32(gradient)
    step = clamp((rate * moment) * (scale * BIAS_ONE), -LARGEST_STEP, LARGEST_STEP)
    return clamp(bias - fround(step), 1 - WIDE_LIMIT, WIDE_LIMIT - 1), moment
