# SPDX-License-Identifier: Apache-2.0
"""CWRU bearing faults: ten classes of vibration, accelerometer at the drive end, 12 kHz, load 0.

The training part is the first four fifths of each record, the test part the rest, so no moment is in both; all
records are cut to the shortest one's length, so the classes are equally large.

cwru_12k_de_i16.npz holds R records end to end: signal int16[T]; and for each record length int32[R], scale
float64[R] (g a step), kind str[R] (N, B, IR, OR), diameter_mil uint8[R], position_oclock uint8[R], load_hp uint8[R].
"""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.datasets.split import spread
from fqt_ref.datasets.standardize import SCALE, ZERO, standardized, statistics
from fqt_ref.errors import FqtError

CWRU = FileSet(
    name="cwru",
    forms=(("cwru_12k_de_i16.npz",),),
    folders=("cwru",),
    get_it="put cwru_12k_de_i16.npz (what it holds: fqt_ref/datasets/cwru.py), made from the 12k drive-end and normal "
    "records of https://engineering.case.edu/bearingdatacenter, into a folder",
)

WINDOW = 512  # samples, 43 ms: more than a turn of the shaft
_TRAIN_STEP = WINDOW // 2  # training windows overlap by half, test windows do not

_CLASSES = (  # (name, kind, diameter in mil, position: of the outer race's faults, the one at 6 o'clock)
    ("normal", "N", 0, 0),
    *((f"ball {mil} mil", "B", mil, 0) for mil in (7, 14, 21)),
    *((f"inner race {mil} mil", "IR", mil, 0) for mil in (7, 14, 21)),
    *((f"outer race {mil} mil", "OR", mil, 6) for mil in (7, 14, 21)),
)
_MEND = "get the file again"


def load_cwru(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return windows [.,1,512,1] of ten classes, scale 1/16, zero 128: in standard deviations of the training part.

    Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a class without exactly
    one record at load 0, records too short to split.
    """
    (path,) = find_files(CWRU, data_dir, download)
    records = _records(path)
    length = min(map(len, records))
    cut = length * 4 // 5
    if length - cut < WINDOW:
        raise FqtError(f"{path}: a record of {length} samples; the test part needs {WINDOW} in its last fifth; {_MEND}")
    mean, deviation = statistics(np.concatenate([record[:cut] for record in records])[:, np.newaxis], f"{path}: 'signal'")
    (train_x, train_y), (test_x, test_y) = (
        _windows([record[start:stop] for record in records], step, mean, deviation)
        for start, stop, step in ((0, cut, _TRAIN_STEP), (cut, length, WINDOW))
    )
    names = tuple(name for name, *_ in _CLASSES)
    return Dataset("cwru", train_x, train_y, test_x, test_y, len(names), SCALE, ZERO, names)


def _windows(
    records: list[NDArray[np.float32]], step: int, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (windows uint8[n,1,512,1], classes int64[n]) of equally long records, one a class; a window begins every step samples."""
    windows = np.stack([sliding_window_view(record, WINDOW)[::step] for record in records])
    y = np.repeat(np.arange(len(records), dtype=np.int64), windows.shape[1])
    order = spread(np.arange(len(y), dtype=np.int64))
    return standardized(windows.reshape(-1, 1, WINDOW, 1)[order], mean, deviation), y[order]


def _records(path: Path) -> list[NDArray[np.float32]]:
    """Return each class's record at load 0, in g."""
    length = read_typed(path, "length", np.int32, (None,)).astype(np.int64)
    each = length.shape
    scale = read_typed(path, "scale", np.float64, each)
    kind = read_typed(path, "kind", np.str_, each)
    diameter = read_typed(path, "diameter_mil", np.uint8, each)
    position = read_typed(path, "position_oclock", np.uint8, each)
    load = read_typed(path, "load_hp", np.uint8, each)
    signal = read_typed(path, "signal", np.int16, (None,))
    if length.min() < 1 or length.sum() != len(signal):
        raise FqtError(f"{path}: 'signal' holds {len(signal)} samples, 'length' says {length.sum()} in {len(length)} records; {_MEND}")
    if not (np.isfinite(scale).all() and scale.min() > 0):
        raise FqtError(f"{path}: 'scale' holds a value that is not positive and finite; {_MEND}")
    stop = np.cumsum(length)
    records = []
    for name, wanted, mil, oclock in _CLASSES:
        found = np.flatnonzero((load == 0) & (kind == wanted) & (diameter == mil) & (position == oclock))
        if len(found) != 1:
            raise FqtError(f"{path}: holds {len(found)} records of class '{name}' at load 0, not one; {_MEND}")
        one = found[0]
        records.append(signal[stop[one] - length[one] : stop[one]] * np.float32(scale[one]))
    return records
