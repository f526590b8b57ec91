# SPDX-License-Identifier: Apache-2.0
"""The one border between data and networks: samples take the network's shape and input grid, labels its classes.

A data set holds real values, or bytes with what they mean (datasets/dataset.py). Everything that feeds a network puts them here on the
network's grid; what is there already passes untouched.
"""

import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets.dataset import Dataset, Samples
from fqt_ref.datasets.input_range import (
    InputGrid,
    as_float32,
    check_typical,
    grid_of_range,
    percentile_range,
    robust_range,
    steps_of,
    to_bytes,
)
from fqt_ref.datasets.layout import Shape, arranged, picture_shape
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph
from fqt_ref.network import Network, State
from fqt_ref.sample_checks import check_dataset

_log = logging.getLogger(__name__)
TELLING_CUT = 0.001  # share of values cut off from which on it is said
FEW_STEPS = 16  # of 256: samples that take fewer have lost most of what they say
ALIKE = 1.25  # scales that differ by less are of one range
ALIKE_ZERO = 25  # and zero points
HALF_A_STEP = 0.5 + 1e-3
CALIBRATION_SAMPLES = 256
_CHUNK = 1024  # samples looked at together


class Placed(NamedTuple):
    """A data set on a network's grid, and what a person should know about it."""

    data: Dataset
    notes: list[str]


def grid_of(network: Network | State) -> InputGrid:
    """The input grid of a network."""
    x = network.tensors[0]
    return InputGrid(np.float32(x["scale"]), int(x["zero"]))


def shape_of(network: Network | State) -> Shape:
    """The shape (h, w, c) of a network's samples."""
    x = network.tensors[0]
    return int(x["h"]), int(x["w"]), int(x["c"])


def check_trains(data: Dataset) -> None:
    """Whether a data set has a training part. Raises FqtError."""
    if len(data.train_x) == 0:
        raise FqtError(f"data set {data.name} has no training samples: it serves `fqt evaluate`, choose another to learn from")


def real_values(data: Dataset, part: str = "train", count: int | None = None) -> NDArray[np.float32]:
    """The first `count` samples (all if None) of a part, "train" or "test", as real values: float32[n,h,w,c].

    For what a network sees, put the data on its grid first: on_grid(data, grid).data.
    """
    x = (data.train_x if part == "train" else data.test_x)[:count]
    if data.scale is None:
        return as_float32(x)
    return _table(data)[x]


def input_grid_for(data: Dataset, percentile: float = 100.0) -> InputGrid:
    """The grid for the input of a network that is calibrated on this data set.

    Bytes keep theirs. Real values take their training part's range: of all but a few samples far out (robust_range), or below 100 of
    so many percent of the values on both sides (percentile_range). Logs how many samples reach beyond.

    Raises FqtError: no training part, all values 0, a range that no bytes can hold.
    """
    check_trains(data)
    where = f"data set {data.name}"
    if data.scale is not None:
        if float(data.zero).is_integer() and 0 <= data.zero <= 255:
            return InputGrid(data.scale, int(data.zero))
        ends = _table(data)[[0, 255]]
        return grid_of_range(min(ends[0], np.float32(0)), max(ends[1], np.float32(0)), where)
    x = as_float32(data.train_x)
    lo, hi, beyond = robust_range(x) if percentile >= 100 else percentile_range(x, percentile)
    grid = grid_of_range(lo, hi, f"{where}, training part")
    check_typical(x, grid, f"{where}, training part")
    if beyond:
        _log.warning("warning: %s: %d of %d training samples reach beyond the input's range %s: %.2g %% of the values, cut off",
                     where, beyond, len(x), grid, 100 * _converted(data, x, grid)[1])  # fmt: skip
    return grid


def stated_grid(graph: Graph) -> InputGrid | None:
    """The input grid that a network's source prescribes, or None."""
    return None if graph.input_grid is None else InputGrid(np.float32(graph.input_grid.scale[0]), int(graph.input_grid.zero[0]))


def calibration_of(data: Dataset, graph: Graph, percentile: float = 100.0) -> tuple[NDArray[np.uint8], InputGrid]:
    """The first CALIBRATION_SAMPLES training samples as uint8[n,h,w,c] in a graph's shape, and the grid of their bytes: what the source
    prescribes, or input_grid_for(). Raises FqtError as that does, and for samples of another shape.
    """
    check_trains(data)
    h, w, c = graph.input_shape
    data = fitted(data, (h, w, c), data.classes).data
    grid = stated_grid(graph) or input_grid_for(data, percentile)
    return on_grid(data, grid).data.train_x[:CALIBRATION_SAMPLES], grid


def on_grid(data: Dataset, grid: InputGrid, calibrated: bool = False) -> Placed:
    """The data set as bytes of a grid, and notes: what has been cut off, taken for granted, or lost.

    Bytes that are there already, to half a step, pass untouched; so do bytes whose meaning nobody has stated, unless the grid is of the
    range that they mean by custom: then they are the network's own. All arithmetic is float32: value = scale * (byte - zero),
    byte = clip(floor(value / scale + zero + 0.5), 0, 255). Dataset.cut becomes the share of values beyond half a step of the grid's ends.
    calibrated: the grid was made for these data (input_grid_for, which has told what it leaves out).
    """
    if data.stated and (data.scale, data.zero) == grid:
        return Placed(data, [])
    notes = [f"all {len(data.train_x)} training samples are the same: nothing can be learnt from them"] if _all_alike(data) else []
    if data.scale is not None:
        same = _same_steps(data, grid)
        if not same and not data.stated and not _alike(data, grid):
            notes.append(
                f"nobody states what the bytes are worth: taken as the network's own, 0..255 for real values {grid}; "
                "if they mean another range, state it with --data-range LO..HI"
            )
            same = True
        if same:
            return Placed(replace(data, scale=grid.scale, zero=grid.zero, stated=True), notes)
    (train_x, train_cut), (test_x, test_cut) = (_converted(data, x, grid) for x in (data.train_x, data.test_x))
    cut = max(train_cut, test_cut)
    placed = replace(data, train_x=train_x, test_x=test_x, scale=grid.scale, zero=grid.zero, stated=True, cut=cut)
    if calibrated:
        return Placed(placed, notes)
    if cut > TELLING_CUT:
        share = f"{cut:.2%} of the {'training' if cut == train_cut else 'test'} part's values"
        notes.append(f"{share} lie beyond the network's input range {grid} and are cut off: {_remedy(data)}")
    used = _steps_used(placed)
    if used < FEW_STEPS and used < _steps_used(data):
        notes.append(f"the values take {used} of the 256 steps of the network's input range {grid}: {_remedy(data)}")
    return Placed(placed, notes)


def fitted(data: Dataset, shape: Shape, classes: int, grid: InputGrid | None = None) -> Placed:
    """The data set as a network of this shape (h, w, c), so many classes and this input grid takes it; None leaves the values as they are.

    Raises FqtError for samples of another shape, labels that the network does not know, or arrays that are not what the set says.
    """
    check_dataset(data)
    notes: list[str] = []
    train_x, reading = arranged(data.train_x, shape, data.name)
    if train_x is not data.train_x:
        test_x, _ = arranged(data.test_x, shape, data.name)
        if reading:
            notes.append(f"samples of shape {tuple(data.test_x.shape[1:])} are read {reading}, for the network's {shape}")
        data = replace(data, train_x=train_x, test_x=test_x)
    data, said = _with_labels_for(data, classes)
    notes += said
    if grid is not None:
        data, said = on_grid(data, grid)
        notes += said
    return Placed(data, notes)


def for_new_network(data: Dataset) -> Placed:
    """The data set as a network that is yet to be made takes it, in its own shape; pictures with channels first get them last.

    Raises FqtError: no training part, or arrays that are not what the set says.
    """
    check_dataset(data)
    check_trains(data)
    h, w, c = data.train_x.shape[1:]
    data, notes = fitted(data, picture_shape((h, w, c)), data.classes)[0], []
    missing = np.setdiff1d(np.arange(data.classes), data.train_y)
    if 0 < missing.size < data.classes - 1:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if missing.size > 5 else "")
        notes.append(f"the training part has no sample of class {shown}: the network gets {data.classes} classes all the same")
    return Placed(data, notes)


def fitted_to(network: Network | State, data: Dataset) -> Dataset:
    """The data set as this network takes it, bytes on its input grid; logs what a person should know. Doing it again changes nothing.

    Raises FqtError for samples of another shape, or labels that the network does not know.
    """
    return said(fitted(data, shape_of(network), int(network.tensors[-1]["c"]), grid_of(network)))


def said(placed: Placed) -> Dataset:
    """The data set, after its notes were logged (on stderr by default)."""
    for note in placed.notes:
        _log.warning("warning: data set %s: %s", placed.data.name, note)
    return placed.data


def bytes_on(grid: InputGrid, samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples [N,...] as bytes of a grid: uint8 are such bytes, floats real values. Raises FqtError for any other type."""
    if samples.dtype == np.uint8:
        return samples
    if not np.issubdtype(samples.dtype, np.floating):
        raise FqtError(f"samples are {samples.dtype}: uint8 are bytes of the network's input grid, float32 real values; convert them")
    return to_bytes(samples, grid.scale, grid.zero)


def _remedy(data: Dataset) -> str:
    """What to do about data that a network's input range does not suit."""
    own = "scale the data as those that the network has learnt from" if data.scale is None else "state what bytes mean, --data-range LO..HI"
    return f"{own}, or import the network anew, with these data or with --input-scale and --input-zero"


def _table(data: Dataset) -> NDArray[np.float32]:
    """What each byte means, float32[256]."""
    return (np.arange(256, dtype=np.float32) - np.float32(data.zero)) * np.float32(data.scale)


def _same_steps(data: Dataset, grid: InputGrid) -> bool:
    """Whether each byte means on the grid what it means in the data, to half a step."""
    steps = _table(data)[[0, 255]].astype(np.float64) / float(grid.scale) + grid.zero
    return bool(np.all(np.abs(steps - [0, 255]) <= HALF_A_STEP))


def _alike(data: Dataset, grid: InputGrid) -> bool:
    """Whether a grid is of the range that the data's bytes mean, roughly."""
    ratio = float(grid.scale) / float(data.scale or 1)
    return 1 / ALIKE < ratio < ALIKE and abs(grid.zero - data.zero) <= ALIKE_ZERO


def _converted(data: Dataset, x: Samples, grid: InputGrid) -> tuple[NDArray[np.uint8], float]:
    """Samples as bytes of a grid, and the share of values that it cuts off."""
    if data.scale is None:
        cut = sum(np.count_nonzero(_beyond(x[at : at + _CHUNK], grid)) for at in range(0, len(x), _CHUNK))
        return to_bytes(x, grid.scale, grid.zero), int(cut) / max(x.size, 1)
    values = _table(data)
    beyond = _beyond(values, grid)
    cut = sum(np.count_nonzero(beyond[x[at : at + _CHUNK]]) for at in range(0, len(x), _CHUNK))
    return to_bytes(values, grid.scale, grid.zero)[x], int(cut) / max(x.size, 1)


def _beyond(values: NDArray[Any], grid: InputGrid) -> NDArray[np.bool_]:
    """Which values lie more than half a step beyond the grid's ends."""
    steps = steps_of(values, grid.scale, grid.zero)
    return (steps < 0) | (steps > 256)


def _steps_used(data: Dataset) -> int:
    """How many steps the values span; of real values as many as there can be, if they differ at all."""
    parts = [x for x in (data.train_x, data.test_x) if x.size]
    lowest, highest = min(x.min() for x in parts), max(x.max() for x in parts)
    return int(highest) - int(lowest) + 1 if data.scale is not None else 256 if highest > lowest else 1


def _with_labels_for(data: Dataset, classes: int) -> tuple[Dataset, list[str]]:
    """Labels 0..classes-1: those from 1 to classes are shifted, and that is said. Raises FqtError for labels that the network lacks."""
    if data.classes <= classes:
        return data, []
    present = np.unique(np.concatenate([data.train_y, data.test_y]))
    if data.label_names is None and data.classes == classes + 1 and present[0] >= 1:
        shifted = replace(data, train_y=data.train_y - 1, test_y=data.test_y - 1, classes=classes)
        return shifted, [f"labels are 1..{classes} and the network's classes 0..{classes - 1}: label 1 is class 0, and so on"]
    raise FqtError(f"data set {data.name} has {data.classes} classes, the network tells {classes} apart: train a new one")


def _all_alike(data: Dataset) -> bool:
    """Whether several training samples are all the same."""
    x = data.train_x
    return len(x) > 1 and all(bool((x[at : at + _CHUNK] == x[0]).all()) for at in range(0, len(x), _CHUNK))
