# SPDX-License-Identifier: Apache-2.0
"""A named set from its files: found or downloaded, read, checked, split."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.download import DownloadError, cached_or_downloaded
from fqt_ref.datasets.idx import read_idx
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.named_set import NamedSet
from fqt_ref.datasets.npz_archive import read_array
from fqt_ref.datasets.search import FoundFiles, find_on_this_machine, not_found
from fqt_ref.errors import FqtError

_log = logging.getLogger(__name__)
_SIDE = 28


def load_named(
    named: NamedSet,
    data_dir: Path | None = None,
    download: bool = True,
    base_url: str | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Load a set of [.,28,28,1] images, scale 1/255, zero 0.

    Order: data_dir (if given, nothing else); FQT_DATA_DIR; the system's folder; the cache; a download into
    the cache (unless download is False). base_url and cache: see cached_or_downloaded. Of KMNIST, the test
    part alone does: its first four fifths (8000) become the training part, the set's name then is
    'kmnist-test-part', and a logged warning (on stderr by default) says so.

    Raises FqtError: not found and not downloaded; a file that is damaged or does not fit the others.
    """
    found, places = find_on_this_machine(named, data_dir)
    if found is None:
        try:
            found = cached_or_downloaded(named, download, base_url, cache)
        except DownloadError as error:
            raise not_found(named.name, named.get_it, places, error) from error
    return _read(named, found)


def _read(named: NamedSet, found: FoundFiles) -> Dataset:
    parts = [_read_part(named, found.form, images, labels) for images, labels in zip(found.paths[::2], found.paths[1::2], strict=True)]
    name = named.name
    if len(parts) == 1:
        x, y = parts[0]
        split = len(x) * 4 // 5
        if split == 0:
            raise FqtError(f"{found.paths[0]}: one image cannot be split into training and test; get the file again")
        name = f"{named.name}-test-part"
        _log.warning(
            "fqt: %s: only the test part is in %s: first %d images for training, last %d for testing",
            named.name,
            found.paths[0].parent,
            split,
            len(x) - split,
        )
        parts = [(x[:split], y[:split]), (x[split:], y[split:])]
    (train_x, train_y), (test_x, test_y) = parts
    classes = len(named.label_names)
    return Dataset(name, train_x, train_y, test_x, test_y, classes, *PICTURES, named.label_names, stated=False)


def _read_part(named: NamedSet, form: str, image_path: Path, label_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (images uint8[N,28,28,1], labels int64[N])."""
    if form == "idx":
        images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    else:
        images, labels = _bytes(image_path, 3), _bytes(label_path, 1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise FqtError(
            f"{image_path}: images of {images.shape[1]} x {images.shape[2]}, {named.name}'s are {_SIDE} x {_SIDE}; get the right file"
        )
    if named.transposed:
        images = images.transpose(0, 2, 1)
    checked = checked_labels(labels, len(images), len(named.label_names), str(label_path), named.first_label)
    return np.ascontiguousarray(images)[..., np.newaxis], checked


def _bytes(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array 'arr_0' of an .npz file: uint8 with the given number of dimensions."""
    array = read_array(path, "arr_0")
    if array.dtype != np.uint8 or array.ndim != dimensions or array.size == 0:
        raise FqtError(
            f"{path}: 'arr_0' is {array.dtype} of shape {array.shape}, not uint8 in {dimensions} "
            "dimension(s) with at least one sample; get the file again"
        )
    return array.astype(np.uint8, copy=False)
