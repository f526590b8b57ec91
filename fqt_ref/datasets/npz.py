# SPDX-License-Identifier: Apache-2.0
"""The user's own data: an .npz file with images and labels for training and testing."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqt_ref import MAX_CLASSES
from fqt_ref.datasets import input_range
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import array_names, read_array
from fqt_ref.errors import FqtError

_NAMINGS = (("x_train", "y_train", "x_test", "y_test"), ("train_x", "train_y", "test_x", "test_y"))
_MAX_DIMENSION = 65535  # SPEC.md section 9


def load_npz(path: Path) -> Dataset:
    """Load what `numpy.savez_compressed(path, x_train=, y_train=, x_test=, y_test=)` wrote, or train_x=...

    Images: [N,H,W] or [N,H,W,C]. uint8 images are taken as they are with scale 1/255, zero 0. Float images
    (16, 32 or 64 bits) become bytes whose range is that of the training part, 0 included (input_range.py).
    Labels: integers [N] or [N,1], 0..classes-1; classes is the training part's largest label + 1.
    The set's name is the file's.

    Raises FqtError: unreadable, damaged or foreign file, missing arrays, wrong shapes or types, no samples,
    lengths that differ, labels out of range, values that are not finite, a range without a usable scale.
    """
    train_x_name, train_y_name, test_x_name, test_y_name = _names(path)
    train_x = _images(path, train_x_name)
    test_x = _images(path, test_x_name)
    if train_x.shape[1:] != test_x.shape[1:] or (train_x.dtype == np.uint8) != (test_x.dtype == np.uint8):
        raise FqtError(
            f"{path}: images of '{train_x_name}' are {_kind(train_x)}, of '{test_x_name}' {_kind(test_x)}; "
            "both parts must have the same shape and type"
        )
    train_y = checked_labels(_labels(path, train_y_name), len(train_x), MAX_CLASSES, f"{path}: '{train_y_name}'")
    classes = int(train_y.max()) + 1
    test_y = checked_labels(
        _labels(path, test_y_name),
        len(test_x),
        classes,
        f"{path}: '{test_y_name}' (classes are '{train_y_name}'s)",
    )
    scale, zero = np.float32(1) / np.float32(255), 0
    if train_x.dtype != np.uint8:
        input_range.check_finite(train_x, f"{path}: '{train_x_name}'")
        input_range.check_finite(test_x, f"{path}: '{test_x_name}'")
        scale, zero = input_range.input_range(train_x, f"{path}: '{train_x_name}'")
        train_x = input_range.to_bytes(train_x, scale, zero)
        test_x = input_range.to_bytes(test_x, scale, zero)
    return Dataset(
        path.stem,
        np.ascontiguousarray(train_x),
        train_y,
        np.ascontiguousarray(test_x),
        test_y,
        classes,
        scale,
        zero,
        None,
    )


def _names(path: Path) -> tuple[str, str, str, str]:
    """Return the names of (train images, train labels, test images, test labels) that the file uses."""
    present = array_names(path)
    for naming in _NAMINGS:
        if set(naming) <= set(present):
            return naming
    raise FqtError(
        f"{path}: holds {', '.join(present) or 'no arrays'}; it must hold {', '.join(_NAMINGS[0])} (or {', '.join(_NAMINGS[1])})"
    )


def _images(path: Path, name: str) -> NDArray[Any]:
    """Return images as uint8 or float [N,H,W,C]."""
    images: NDArray[Any] = read_array(path, name)
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise FqtError(f"{path}: '{name}' is {images.dtype}; images must be uint8 or float32: convert them")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4:
        raise FqtError(f"{path}: '{name}' has shape {images.shape}; images must be [N,H,W] or [N,H,W,C]: reshape them")
    if images.size == 0:
        raise FqtError(f"{path}: '{name}' is empty, shape {images.shape}; each part needs at least one image")
    if max(images.shape[1:]) > _MAX_DIMENSION:
        raise FqtError(f"{path}: '{name}' has shape {images.shape}; dimensions go up to {_MAX_DIMENSION}: shrink the images")
    return images


def _labels(path: Path, name: str) -> NDArray[np.integer]:
    """Return labels as integers [N]."""
    labels: NDArray[Any] = read_array(path, name)
    if not np.issubdtype(labels.dtype, np.integer):
        raise FqtError(f"{path}: '{name}' is {labels.dtype}; labels must be integers: convert them")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise FqtError(f"{path}: '{name}' has shape {labels.shape}; labels must be [N], one class number a sample: convert them")
    return labels


def _kind(images: NDArray[Any]) -> str:
    return f"{' x '.join(map(str, images.shape[1:]))} {images.dtype}"
