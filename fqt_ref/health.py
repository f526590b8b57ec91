# SPDX-License-Identifier: Apache-2.0
"""Whether a training is well: figures that show it diverge, or stand still. They are counted beside it and change none of its bits."""

from dataclasses import dataclass

import numpy as np

from fqt_ref.network import ERRORS, LAYER_TRAINABLE, SATURATED, U8, State, grids, parameters

WEIGHT_ENDS = (0, 255)
# Shares of errors and weights above which a training is warned of. Trainings that learn stay below 0.003 and 0.03.
SATURATED_SHARE, ENDS_SHARE = 0.01, 0.25
HARDLY = 0.05  # of the way from always answering the most frequent class to being always right


@dataclass(frozen=True)
class Health:
    """An epoch's figures. Back-propagation alone has errors; without it `errors` is 0.

    errors              int8 errors looked at: those of the last sample of each minibatch, of all tensors but the logits
    saturated_errors    those of them that are -127 or 127: larger ones were clipped to that, unless they are just as large
    weights             trained uint8 weights, at the epoch's end
    weights_at_low      those of them that are 0, the low end of their grid
    weights_at_high     those of them that are 255, its high end
    nonfinite           trained float32 weights and biases, and scales of weights, feature maps and errors, that are infinite or no number
    majority            share of the most frequent class among the training labels: the accuracy of always answering it
    """

    errors: int
    saturated_errors: int
    weights: int
    weights_at_low: int
    weights_at_high: int
    nonfinite: int
    majority: float

    def warnings(self, epoch: int, train_accuracy: float) -> list[str]:
        """What is not well after an epoch (from 0), a clause each; empty if all is."""
        ends = self.weights_at_low + self.weights_at_high
        found = []
        if self.nonfinite:
            found.append(f"{self.nonfinite} weights or scales are no longer finite numbers")
        if self.saturated_errors > SATURATED_SHARE * self.errors:
            share = 100 * self.saturated_errors / self.errors
            found.append(f"{share:.1f} % of the errors are clipped at the ends of int8")
        if ends > ENDS_SHARE * self.weights:
            found.append(f"{100 * ends / self.weights:.0f} % of the weights are at an end of their grid")
        if epoch > 0 and train_accuracy <= self.majority + HARDLY * (1 - self.majority):
            found.append(f"hardly better ({train_accuracy:.4f}) than always answering the most frequent class ({self.majority:.4f})")
        return found


def clear(state: State) -> None:
    """Begin an epoch's counts."""
    state.counters[[ERRORS, SATURATED]] = 0


def health_of(state: State, labels: np.ndarray) -> Health:
    """The figures since clear(). labels: int64[n], of the training samples."""
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
    majority = float(np.bincount(labels).max() / len(labels))
    return Health(int(state.counters[ERRORS]), int(state.counters[SATURATED]), weights, low, high, nonfinite, majority)


def nonfinite_of(values: np.ndarray) -> int:
    """How many are infinite or no number."""
    return int(values.size - np.count_nonzero(np.isfinite(values)))
