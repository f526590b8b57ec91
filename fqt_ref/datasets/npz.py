# SPDX-License-Identifier: Apache-2.0
"""The user's own data: an .npz file with samples and labels for training and testing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqt_ref import MAX_CLASSES
from fqt_ref.datasets.byte_range import PICTURES, SIGNED_BYTES, stated
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.input_range import as_float32, check_finite
from fqt_ref.datasets.labels import checked_labels, whole_labels
from fqt_ref.datasets.npz_archive import array_names, read_array
from fqt_ref.errors import FqtError

_NAMINGS = (("x_train", "y_train", "x_test", "y_test"), ("train_x", "train_y", "test_x", "test_y"))
_RANGE = "x_range"
_MAX_DIMENSION = 65535  # SPEC.md section 9


def load_npz(path: Path, labels: bool = True) -> Dataset:
    """Load what `numpy.savez_compressed(path, x_train=, y_train=, x_test=, y_test=)` wrote, or train_x=...

    Samples: images [N,H,W] or [N,H,W,C], windows in time [N,1,W,C], features [N,n] (they become [N,1,1,n]). A network that takes
    another order of the same axes gets that where it can mean one thing only: [N,C,H,W], series [N,n,c] and [N,c,n] (layout.py).

    - uint8: bytes. They mean 0..1 by custom; `x_range=(lo, hi)` in the file says what 0 and 255 mean otherwise, --data-range too.
    - int8: the same, +128: bytes of a quantized network's input; by custom -128..127.
    - all other numbers, floats as well as int16 or bool: real values, float32. They meet a network's grid in input_grid.py.

    Labels: whole numbers [N] or [N,1] of any type, from 0; classes is the largest label of both parts + 1; without `labels` they are not
    read: the samples alone serve, whatever they belong to. The set's name is the file's.

    Raises FqtError: unreadable, damaged or foreign file, missing arrays, wrong shapes or types, no samples,
    lengths that differ, labels out of range, values that are not finite, a range that is none.
    """
    train_x_name, train_y_name, test_x_name, test_y_name = _names(path)
    train_x = _samples(path, train_x_name)
    test_x = _samples(path, test_x_name)
    same_type = train_x.dtype == test_x.dtype or not (_is_bytes(train_x) or _is_bytes(test_x))
    if train_x.shape[1:] != test_x.shape[1:] or not same_type:
        raise FqtError(
            f"{path}: images of '{train_x_name}' are {_kind(train_x)}, of '{test_x_name}' {_kind(test_x)}; "
            "both parts must have the same shape and type"
        )
    train_y = _labels(path, train_y_name, len(train_x)) if labels else np.zeros(len(train_x), np.int64)
    test_y = _labels(path, test_y_name, len(test_x)) if labels else np.zeros(len(test_x), np.int64)
    parts = []
    meaning = SIGNED_BYTES if train_x.dtype == np.int8 else PICTURES
    for samples, name in ((train_x, train_x_name), (test_x, test_x_name)):
        if samples.dtype == np.int8:
            samples = samples.view(np.uint8) ^ np.uint8(0x80)
        elif samples.dtype != np.uint8:
            check_finite(samples, f"{path}: '{name}'")
            samples = as_float32(samples)
        parts.append(np.ascontiguousarray(samples))
    scale, zero = meaning if _is_bytes(train_x) else (None, 0)
    classes = int(max(train_y.max(), test_y.max())) + 1
    data = Dataset(path.stem, parts[0], train_y, parts[1], test_y, classes, scale, zero, None, stated=scale is None)
    return _with_stated_range(path, data)


def _is_bytes(samples: NDArray[Any]) -> bool:
    return samples.dtype in (np.uint8, np.int8)


def _with_stated_range(path: Path, data: Dataset) -> Dataset:
    """The set with the meaning of its bytes that the file states, if it does."""
    if _RANGE not in array_names(path):
        return data
    ends: NDArray[Any] = read_array(path, _RANGE)
    if ends.shape != (2,) or not np.issubdtype(ends.dtype, np.number) or np.iscomplexobj(ends):
        raise FqtError(f"{path}: '{_RANGE}' is {ends.dtype} of shape {ends.shape}; it must be two numbers, what bytes 0 and 255 mean")
    if data.scale is None:
        return data  # real values need no range
    scale, zero = stated(float(ends[0]), float(ends[1]), f"{path}: '{_RANGE}'")
    return replace(data, scale=scale, zero=zero, stated=True)


def _names(path: Path) -> tuple[str, str, str, str]:
    """Return the names of (train images, train labels, test images, test labels) that the file uses."""
    present = array_names(path)
    for naming in _NAMINGS:
        if set(naming) <= set(present):
            return naming
    raise FqtError(
        f"{path}: holds {', '.join(present) or 'no arrays'}; it must hold {', '.join(_NAMINGS[0])} (or {', '.join(_NAMINGS[1])})"
    )


def _samples(path: Path, name: str) -> NDArray[Any]:
    """Return samples of any real type as [N,H,W,C]."""
    samples: NDArray[Any] = read_array(path, name)
    if not (np.issubdtype(samples.dtype, np.integer) or np.issubdtype(samples.dtype, np.floating) or samples.dtype == np.bool_):
        raise FqtError(f"{path}: '{name}' is {samples.dtype}; images must be uint8 or float32: convert them")
    if samples.ndim == 2:
        samples = samples[:, np.newaxis, np.newaxis, :]
    if samples.ndim == 3:
        samples = samples[..., np.newaxis]
    if samples.ndim != 4:
        raise FqtError(f"{path}: '{name}' has shape {samples.shape}; samples must be [N,n], [N,H,W] or [N,H,W,C]: reshape them")
    if samples.size == 0:
        raise FqtError(f"{path}: '{name}' is empty, shape {samples.shape}; each part needs at least one image")
    if max(samples.shape[1:]) > _MAX_DIMENSION:
        raise FqtError(f"{path}: '{name}' has shape {samples.shape}; dimensions go up to {_MAX_DIMENSION}: shrink the images")
    return samples


def _labels(path: Path, name: str, count: int) -> NDArray[np.int64]:
    """Return labels int64[N] of so many samples."""
    labels: NDArray[Any] = read_array(path, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    where = f"{path}: '{name}'"
    if labels.ndim != 1:
        one_hot = labels.ndim == 2 and labels.size > 0 and np.issubdtype(labels.dtype, np.number)
        remedy = f"if they are one-hot, save {name}.argmax(1)" if one_hot else "convert them"
        raise FqtError(f"{where} has shape {labels.shape}; labels must be [N], one class number a sample: {remedy}")
    return checked_labels(whole_labels(labels, where), count, MAX_CLASSES, where)


def _kind(images: NDArray[Any]) -> str:
    return f"{' x '.join(map(str, images.shape[1:]))} {images.dtype}"
