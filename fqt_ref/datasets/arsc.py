# SPDX-License-Identifier: Apache-2.0
"""Arabic speech commands: 40 words of a second as log-mel pictures, tested on other speakers.

arsc_logmel49x40_u8.npz holds x uint8[N,49,40] (49 moments of 40 bands), label uint8[N], split uint8[N] (0 training,
1 validation, 2 test: different speakers), words str[40]. A byte's unit is not recorded.
"""

from pathlib import Path

import numpy as np

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.datasets.split import split_parts
from fqt_ref.datasets.standardize import statistics

ARSC = FileSet(
    name="arsc",
    forms=(("arsc_logmel49x40_u8.npz",),),
    folders=("arsc",),
    get_it="put arsc_logmel49x40_u8.npz (what it holds: fqt_ref/datasets/arsc.py), made from the recordings of "
    "https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset, into a folder",
)

_MOMENTS, _BANDS, _WORDS, _TEST = 49, 40, 40, 2


def load_arsc(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return pictures [.,49,40,1] of 40 words; the split's training and validation speakers are the training part.

    The bytes are the file's. Scale and zero make the training part's mean 0 (to a rounding) and its deviation 1.

    Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a label or a split out of
    range, an empty part, pictures all of one value.
    """
    (path,) = find_files(ARSC, data_dir, download)
    x = read_typed(path, "x", np.uint8, (None, _MOMENTS, _BANDS))
    y = checked_labels(read_typed(path, "label", np.uint8, (None,)), len(x), _WORDS, f"{path}: 'label'")
    split = checked_labels(read_typed(path, "split", np.uint8, (None,)), len(x), _TEST + 1, f"{path}: 'split'")
    words = tuple(map(str, read_typed(path, "words", np.str_, (_WORDS,))))
    training, test = split_parts(split == _TEST, str(path))
    train_x, test_x = (x[part, :, :, np.newaxis] for part in (training, test))
    mean, deviation = statistics(train_x.reshape(-1, 1), f"{path}: 'x'")
    zero = int(np.floor(mean[0] + 0.5))
    return Dataset("arsc", train_x, y[training], test_x, y[test], _WORDS, np.float32(1 / deviation[0]), zero, words)
