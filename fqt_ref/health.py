# SPDX-License-Identifier: Apache-2.0
"""Whether a training is well: figures that show it diverge, or stand still. They are counted beside it and change none of its bits."""

from dataclasses import dataclass

import numpy as np

from fqt_ref.jit import uncounted
from fqt_ref.network import ERRORS, LAYER_TRAINABLE, SATURATED, U8, State, grids, parameters

ERROR_END = 127  # the largest magnitude of an int8 error
WEIGHT_ENDS = (0, 255)
SATURATED_SHARE = 0.02  # of the errors, above which a training is warned of
ENDS_SHARE = 0.25  # of the weights


@uncounted
def count_saturated(state):
    """Count the errors of the sample that training saw last, and those at an end of int8 among them: once a minibatch, before its update.

    All elements count of all uint8 tensors that carry an error (SPEC.md 7), but the logits: their error's scale is exact, and cannot be
    too small. Adds to the counters ERRORS and SATURATED.
    """
    for t in range(1, state.tensors.size - 1):
        if state.tensors[t].type == U8 and state.tensor_slots[t].carries != 0:
            slot = state.tensor_slots[t]
            count = np.int32(0)
            for k in range(slot.error, slot.error + slot.count):
                count = np.int32(count + np.int32(abs(np.int32(state.i8[k])) >= ERROR_END))
            state.counters[ERRORS] += slot.count
            state.counters[SATURATED] += count


@dataclass(frozen=True)
class Health:
    """An epoch's figures. Back-propagation alone has errors; without it `errors` is 0.

    errors              int8 errors looked at: those of the last sample of each minibatch, of all tensors but the logits
    saturated_errors    those of them that are -127 or 127: larger ones were clipped to that, unless they are just as large
    weights             trained uint8 weights, at the epoch's end
    weights_at_low      those of them that are 0, the low end of their grid
    weights_at_high     those of them that are 255, its high end
    nonfinite           trained float32 weights and biases, and scales of weights, feature maps and errors, that are infinite or no number
    """

    errors: int
    saturated_errors: int
    weights: int
    weights_at_low: int
    weights_at_high: int
    nonfinite: int

    def warnings(self) -> list[str]:
        """What is not well, a sentence each; empty if all is."""
        ends = self.weights_at_low + self.weights_at_high
        found = []
        if self.nonfinite:
            found.append(f"{self.nonfinite} weights or scales are no longer finite numbers")
        if self.saturated_errors > SATURATED_SHARE * self.errors:
            share = 100 * self.saturated_errors / self.errors
            found.append(f"{share:.1f} % of the errors are clipped at the ends of int8")
        if ends > ENDS_SHARE * self.weights:
            found.append(f"{100 * ends / self.weights:.0f} % of the weights are at an end of their grid")
        return found


def clear(state: State) -> None:
    """Begin an epoch's counts."""
    state.counters[[ERRORS, SATURATED]] = 0


def health_of(state: State) -> Health:
    """The figures since clear()."""
    trained = [i for i, layer in enumerate(state.layers) if layer.flagset & LAYER_TRAINABLE]
    weights = low = high = nonfinite = 0
    for i in trained:
        values, biases = parameters(state, i)
        if values.dtype == np.uint8:
            weights += values.size
            low += int(np.count_nonzero(values == WEIGHT_ENDS[0]))
            high += int(np.count_nonzero(values == WEIGHT_ENDS[1]))
            nonfinite += nonfinite_of(grids(state, i)[0])
        else:
            nonfinite += nonfinite_of(values) + nonfinite_of(biases)
    quantized = state.tensors[state.tensors["type"] == U8]
    nonfinite += nonfinite_of(quantized["scale"]) + nonfinite_of(quantized["error_scale"])
    return Health(int(state.counters[ERRORS]), int(state.counters[SATURATED]), weights, low, high, nonfinite)


def nonfinite_of(values: np.ndarray) -> int:
    """How many are infinite or no number."""
    return int(values.size - np.count_nonzero(np.isfinite(values)))
