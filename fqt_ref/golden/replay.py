# SPDX-License-Identifier: Apache-2.0
"""The engine replays golden files of whole training runs and of model files from what they hold alone, as a stranger would."""

from collections.abc import Callable

import numpy as np

from fqt_ref import model_file
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.golden import steps
from fqt_ref.golden.format import KINDS, Case, arrays_of, case_spans
from fqt_ref.golden.model_errors import error_of

NAMES = {number: name for name, number in KINDS.items()}


def run_of(arrays: list[np.ndarray]) -> tuple:
    """Network, hyperparameters, samples, labels and number of steps: the first five arrays of kinds 100 to 105 (SPEC.md 12)."""
    blob, numbers, rate, samples, labels = arrays[:5]
    batch, seed, lambda_min, lambda_max, last, count, n_steps = map(int, numbers)
    config = ts.TrainConfig(batch, rate[0], lambda_min, lambda_max, bool(last), seed)
    return model_file.parse(blob.tobytes()), config, samples.reshape(count, -1).copy(), labels, n_steps


def replayed_case(name: str, arrays: list[np.ndarray]) -> Case:
    """A case of kinds 100 to 110, computed anew from the arrays of the old one."""
    if name == "model_error":
        return Case(name, "", arrays[:1], [np.array([error_of(arrays[0].tobytes())], np.int32)])
    network, config, *data = run_of(arrays)
    if name.startswith("zeroth"):
        zeroth = zo.ZerothConfig(*arrays[5].tolist())
        make: Callable = steps.zeroth_trace_case if name == "zeroth_trace" else steps.zeroth_trajectory_case
        return make("", network, config, zeroth, *data)
    if name.startswith("options"):
        config = config._replace(weight_range=int(arrays[5][0]), stochastic_errors=int(arrays[5][1]), range_rate=arrays[6][0])
    return (steps.trace_case if name.endswith("trace") else steps.trajectory_case)("", network, config, *data)


def replayed(data: bytes) -> bool:
    """Whether the engine computes what a golden file of kinds 100 to 110 expects."""
    for _, first, _ in case_spans(data):
        kind, arrays = arrays_of(data, first)
        expected = replayed_case(NAMES[kind], arrays).expected
        found = arrays[len(arrays) - len(expected) :]
        if any(a.tobytes() != b.tobytes() for a, b in zip(found, expected, strict=True)):
            return False
    return True
