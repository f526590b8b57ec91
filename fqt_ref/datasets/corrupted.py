# SPDX-License-Identifier: Apache-2.0
"""MNIST-C and CIFAR-10-C: the beginning of a test part, seen through one corruption, to adapt a classifier to that has seen none.

A file holds labels uint8[N] (0..9) and an array a corruption, by its name: of MNIST-C (Mu and Gilmer, 2019) uint8[N,28,28], with
'identity' (the images as they are), of CIFAR-10-C (Hendrycks and Dietterich, ICLR 2019; severity 5) uint8[N,32,32,3].
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.errors import FqtError

_CLASSES = 10


@dataclass(frozen=True)
class Corrupted:
    """A family of sets with the same labels. side, channels: of its images; corruptions: names of arrays, '-' for '_'."""

    files: FileSet
    side: int
    channels: int
    corruptions: tuple[str, ...]


def _family(name: str, file: str, code: str, side: int, channels: int, corruptions: tuple[str, ...]) -> Corrupted:
    get_it = f"put {file} (what it holds: fqt_ref/datasets/corrupted.py), made with the code of {code}, into a folder"
    return Corrupted(FileSet(name, ((file,),), (name,), get_it), side, channels, corruptions)


CORRUPTED = {
    family.files.name: family
    for family in (
        _family(
            *("mnist-c", "mnist_c_first2000.npz", "https://github.com/google-research/mnist-c", 28, 1),
            (
                *("identity", "shot-noise", "impulse-noise", "glass-blur", "motion-blur", "shear", "scale", "rotate"),
                *("brightness", "translate", "stripe", "fog", "spatter", "dotted-line", "zigzag", "canny-edges"),
            ),
        ),
        _family(
            *("cifar10-c", "cifar10_c_first500_s5.npz", "https://github.com/hendrycks/robustness", 32, 3),
            (
                *("gaussian-noise", "shot-noise", "impulse-noise", "defocus-blur", "glass-blur", "motion-blur", "zoom-blur", "snow"),
                *("frost", "fog", "brightness", "contrast", "elastic-transform", "pixelate", "jpeg-compression"),
            ),
        ),
    )
}


def corrupted_names() -> tuple[str, ...]:
    """Return the sets' names, a family's and a corruption's: 'mnist-c/fog'."""
    return tuple(f"{family}/{corruption}" for family, found in CORRUPTED.items() for corruption in found.corruptions)


def load_corrupted(name: str, data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return images [.,28,28,1] or [.,32,32,3] (R, G, B) of ten classes, scale 1/255, zero 0; their first half is the training part.

    name: one of corrupted_names(). Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a label above 9,
    fewer than two images.
    """
    family, _, corruption = name.partition("/")
    known = CORRUPTED[family]
    (path,) = find_files(known.files, data_dir, download)
    label = read_typed(path, "labels", np.uint8, (None,))
    y = checked_labels(label, len(label), _CLASSES, f"{path}: 'labels'")
    if len(y) < 2:
        raise FqtError(f"{path}: one image is too few to learn from and to test; get the file again")
    shape = (known.side, known.side, known.channels)
    stored = shape if known.channels > 1 else shape[:2]
    x = read_typed(path, corruption.replace("-", "_"), np.uint8, (len(y), *stored)).reshape(len(y), *shape)
    half = len(y) // 2
    return Dataset(name, x[:half], y[:half], x[half:], y[half:], _CLASSES, *PICTURES, None, stated=False)
