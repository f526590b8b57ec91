# SPDX-License-Identifier: Apache-2.0
"""Counts errors at the ends of int8 (health.py shows them): in a file of its own, for it is compiled into training."""

import numpy as np

from fqt_ref.jit import uncounted
from fqt_ref.network import ERRORS, SATURATED, U8

ERROR_END = 127  # the largest magnitude of an int8 error


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
