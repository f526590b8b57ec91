# SPDX-License-Identifier: Apache-2.0
"""What compiled code takes on trust, looked at before it gets it: bytes for the samples, as many labels, each a class of the network."""

from typing import Any

import numpy as np

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.errors import FqtError

LARGEST_THREADS = 256


def check_samples(name: str, samples: Any) -> None:
    """Whether samples are an array [n, ...] of numbers. name: what messages call them. Raises FqtError."""
    if not isinstance(samples, np.ndarray) or samples.ndim < 2:
        what = f"an array of shape {samples.shape}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise FqtError(f"{name} is {what}: wants an array of samples, [n, h, w, c]")


def check_bytes(name: str, samples: Any) -> None:
    """Whether samples are bytes, uint8[n, ...]. Raises FqtError."""
    check_samples(name, samples)
    if samples.dtype != np.uint8:
        raise FqtError(f"{name} is {samples.dtype}, not bytes of the network's input grid: fqt_ref.input_grid.fitted_to() makes them")


def check_sample_bytes(name: str, samples: Any, size: int) -> None:
    """Whether samples uint8[n, ...] are of so many bytes each, those of the tensor at which they enter. Raises FqtError."""
    check_bytes(name, samples)
    found = int(np.prod(samples.shape[1:]))
    if found != size:
        raise FqtError(f"{name} has samples of {found} bytes, the network takes {size}: choose samples that fit")


def check_dataset(data: Dataset) -> None:
    """Whether a data set's arrays are what its description says: a program may have filled it with anything. Raises FqtError."""
    of = f"of data set {data.name}"
    for part, samples, labels in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        check_samples(f"{part}_x {of}", samples)
        check_values(f"{part}_x {of}", samples, data.scale)
        check_labels(f"{part}_y {of}", labels, len(samples), data.classes)
    if len(data.test_x) == 0:
        raise FqtError(f"data set {data.name} has no test samples: add some")
    if len(data.train_x) and data.train_x.shape[1:] != data.test_x.shape[1:]:
        shapes = f"training samples of shape {data.train_x.shape[1:]}, test samples of {data.test_x.shape[1:]}"
        raise FqtError(f"data set {data.name} has {shapes}: choose data that fits")


def check_values(name: str, samples: np.ndarray, scale: Any) -> None:
    """Whether samples are finite real values where a data set has no scale, and bytes of that scale where it has one. Raises FqtError."""
    if scale is None:
        if samples.dtype.kind != "f" or not np.isfinite(samples).all():
            raise FqtError(f"{name} is {samples.dtype}: without a scale, wants finite real values, float32")
    elif samples.dtype != np.uint8:
        raise FqtError(f"{name} is {samples.dtype}, but the data set says what a byte means: give uint8, or float32 and no scale")
    elif not (np.isfinite(scale) and scale > 0):
        raise FqtError(f"{name} has bytes of scale {scale}: wants a positive number")


def check_labels(name: str, labels: Any, count: int, classes: int) -> None:
    """Whether there are `count` labels, integers in 0..classes - 1. Raises FqtError."""
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise FqtError(f"{name} is {given.dtype} of shape {given.shape}: wants one integer a sample")
    if len(given) != count:
        raise FqtError(f"{name} has {len(given)} labels for {count} samples: wants one a sample")
    wrong = np.flatnonzero((given < 0) | (given >= classes))
    if len(wrong):
        raise FqtError(f"{name}[{wrong[0]}] is {given[wrong[0]]}, not a class in 0..{classes - 1}: mend the labels")


def check_threads(threads: int) -> None:
    """Raises FqtError."""
    if not 1 <= threads <= LARGEST_THREADS:
        raise FqtError(f"threads {threads} is not in 1..{LARGEST_THREADS}")
