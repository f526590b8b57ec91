# SPDX-License-Identifier: Apache-2.0
"""HAPT: human activities and postural transitions, a phone's accelerometer and gyroscope at 50 Hz, tested on other people.

Windows of 128 samples (2.56 s) that begin every 64, as the set's authors cut them: transitions, 2 to 5 s long, would
leave next to no longer windows. A window lies within one recording and one label; unlabelled time is left out.

hapt_raw_i16.npz holds all recordings end to end: x int16[T,6] (three axes of acceleration, 4096 a g, three of rotation,
1024 a rad/s), label int8[T] (1..12, -1 none), user uint8[T] (1..30), rec uint8[T] (number of the recording).
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.datasets.split import split_parts
from fqt_ref.datasets.standardize import SCALE, ZERO, standardized, statistics

HAPT = FileSet(
    name="hapt",
    forms=(("hapt_raw_i16.npz",),),
    folders=("hapt",),
    get_it="put hapt_raw_i16.npz (what it holds: fqt_ref/datasets/hapt.py), made from the raw data of "
    "https://archive.ics.uci.edu/dataset/341 (smartphone-based recognition of human activities and postural transitions), into a folder",
)

WINDOW, STEP, CHANNELS = 128, 64, 6
TEST_PEOPLE = (2, 4, 9, 10, 12, 13, 18, 20, 24)  # as in the set's own split
_NONE = -1
_LABELS = (
    *("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "lying"),
    *("stand to sit", "sit to stand", "sit to lie", "lie to sit", "stand to lie", "lie to stand"),
)


def load_hapt(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return windows [.,1,128,6] of twelve classes, scale 1/16, zero 128: each channel in standard deviations of the training part.

    Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a label outside 1..12 and
    not -1, no window in one of the parts, a constant channel.
    """
    (path,) = find_files(HAPT, data_dir, download)
    x = read_typed(path, "x", np.int16, (None, CHANNELS))
    each = (len(x),)
    label = read_typed(path, "label", np.int8, each)
    user = read_typed(path, "user", np.uint8, each)
    recording = read_typed(path, "rec", np.uint8, each)
    changes = np.flatnonzero((np.diff(label) != 0) | (np.diff(user) != 0) | (np.diff(recording) != 0)) + 1
    bounds = [0, *changes.tolist(), len(x)]
    starts = np.array(
        [start for first, stop in pairwise(bounds) if label[first] != _NONE for start in range(first, stop - WINDOW + 1, STEP)],
        np.int64,
    )
    y = checked_labels(label[starts], len(starts), len(_LABELS), f"{path}: 'label', windows", first=1)
    training, test = split_parts(np.isin(user[starts], TEST_PEOPLE), str(path))
    mean, deviation = statistics(x[(label != _NONE) & ~np.isin(user, TEST_PEOPLE)], f"{path}: 'x'")
    windows = sliding_window_view(x, WINDOW, axis=0).transpose(0, 2, 1)[:, np.newaxis]
    train_x, test_x = (standardized(windows[starts[part]], mean, deviation) for part in (training, test))
    return Dataset("hapt", train_x, y[training], test_x, y[test], len(_LABELS), SCALE, ZERO, _LABELS)
