# SPDX-License-Identifier: Apache-2.0
"""The ten most frequent characters of Kuzushiji-Kanji, shrunk to 28 x 28: handwriting to move a digits network to.

kkanji_top10_28.npz holds x uint8[N,28,28], label uint8[N] (0..9), codepoint str[10] ("U+4E00", one a class).
"""

from pathlib import Path

import numpy as np

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.datasets.split import split_parts
from fqt_ref.errors import FqtError

KKANJI = FileSet(
    name="kkanji",
    forms=(("kkanji_top10_28.npz",),),
    folders=("kkanji",),
    get_it="put kkanji_top10_28.npz (what it holds: fqt_ref/datasets/kkanji.py), made from the images of "
    "http://codh.rois.ac.jp/kmnist/ (https://github.com/rois-codh/kmnist), into a folder",
)

_SIDE, _CLASSES = 28, 10


def load_kkanji(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return images [.,28,28,1] of ten classes, scale 1/255, zero 0; every fifth (index % 5 == 4) is for testing.

    Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a label above 9, fewer than
    five images, a code point that is none.
    """
    (path,) = find_files(KKANJI, data_dir, download)
    x = read_typed(path, "x", np.uint8, (None, _SIDE, _SIDE))
    y = checked_labels(read_typed(path, "label", np.uint8, (None,)), len(x), _CLASSES, f"{path}: 'label'")
    codepoints = read_typed(path, "codepoint", np.str_, (_CLASSES,))
    try:
        names = tuple(chr(int(codepoint.removeprefix("U+"), 16)) for codepoint in codepoints)
    except (ValueError, OverflowError) as error:
        raise FqtError(f"{path}: 'codepoint' holds something else than U+ and a number ({error}); get the file again") from error
    training, test = split_parts(np.arange(len(y)) % 5 == 4, str(path))
    train_x, test_x = (x[part, :, :, np.newaxis] for part in (training, test))
    return Dataset("kkanji", train_x, y[training], test_x, y[test], _CLASSES, *PICTURES, names, stated=False)
