# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 in its canonical binary form: six batches of records, one label byte and three planes of 32 x 32 bytes each."""

import gzip
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.errors import FqtError, one_line

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_FOLDER = "cifar-10-batches-bin"
_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_SIDE, _CHANNELS = 32, 3
_RECORD = 1 + _CHANNELS * _SIDE * _SIDE
_MAX_BATCH = 10000 * _RECORD  # bytes of a canonical batch: an archive that unpacks to more is not read further
_MEND = "get the file again"

CIFAR10 = FileSet(
    name="cifar10",
    forms=(_BATCHES, ("cifar-10-binary.tar.gz",)),
    folders=(_FOLDER, f"cifar10/{_FOLDER}", "cifar10", f"cifar-10/{_FOLDER}", "cifar-10"),
    get_it=f"download {_URL} into a folder (unpacked or not)",
    url=_URL,
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)

_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_cifar10(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return the 50000 + 10000 images [.,32,32,3] (R, G, B), scale 1/255, zero 0; classes are 0..9, 'airplane' to 'truck'.

    From the six batches cifar-10-batches-bin/*.bin, or straight from cifar-10-binary.tar.gz. Batches may be
    shorter than 10000 images, but all must be equally long: that shows a truncated one.

    Raises FqtError: not found, damaged archive, a batch that is no whole number of records, batches of
    different length, a label above 9.
    """
    paths = find_files(CIFAR10, data_dir, download)
    path = paths[0]
    try:
        return _assembled(_of_files(paths) if len(paths) > 1 else _of_archive(path))
    except FqtError:
        raise
    except OSError as error:
        if isinstance(error, (gzip.BadGzipFile, tarfile.TarError)) or error.errno is None:
            raise FqtError(f"{path}: damaged archive ({one_line(error)}); {_MEND}") from error
        raise FqtError(f"{error.filename or path}: cannot be read ({error.strerror or error}); mend the file or its permissions") from error
    except Exception as error:  # gzip and tarfile answer damage with exceptions of many types
        raise FqtError(f"{path}: damaged archive ({one_line(error)}); {_MEND}") from error


def _of_files(paths: tuple[Path, ...]) -> Iterator[tuple[int, bytes, str]]:
    """Yield (number, content, file for messages) of each batch."""
    for number, path in enumerate(paths):
        with open(path, "rb") as file:
            yield number, file.read(_MAX_BATCH + 1), str(path)


def _of_archive(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """Yield (number, content, member for messages) of each batch, in the archive's order: gzip goes forward only.

    Unzips to the end, where gzip keeps its checksum.
    """
    missing = [f"{_FOLDER}/{name}" for name in _BATCHES]
    with gzip.open(path) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name in missing else None
            if content is not None:
                missing.remove(member.name)
                name = member.name.removeprefix(f"{_FOLDER}/")
                yield _BATCHES.index(name), content.read(_MAX_BATCH + 1), f"{path}: {name}"
        while unzipped.read(1 << 20):
            pass
    if missing:
        raise FqtError(f"{path}: has no {', '.join(missing)}; {_MEND}")


def _assembled(batches: Iterable[tuple[int, bytes, str]]) -> Dataset:
    """Return the set of six batches, each put into its place as it comes; the first one says how long they are."""
    count = 0
    for number, content, where in batches:
        records = _records(content, where)
        if count == 0:
            count, first = len(records), _BATCHES[number]
            train_x = np.empty((5 * count, _SIDE, _SIDE, _CHANNELS), np.uint8)
            train_y = np.empty(5 * count, np.int64)
            test_x, test_y = np.empty_like(train_x[:count]), np.empty_like(train_y[:count])
        if len(records) != count:
            raise FqtError(f"{where}: holds {len(records)} images, {first} {count}; {_MEND}")
        part = slice(number * count, (number + 1) * count)
        x, y = (train_x[part], train_y[part]) if number < 5 else (test_x, test_y)
        y[:] = checked_labels(records[:, 0], count, len(_LABELS), where)
        x[:] = records[:, 1:].reshape(count, _CHANNELS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return Dataset("cifar10", train_x, train_y, test_x, test_y, len(_LABELS), *PICTURES, _LABELS, stated=False)


def _records(content: bytes, where: str) -> NDArray[np.uint8]:
    """Return a batch's records uint8[n,3073]."""
    if not 0 < len(content) <= _MAX_BATCH or len(content) % _RECORD:
        held = f"more than {_MAX_BATCH}" if len(content) > _MAX_BATCH else str(len(content))
        raise FqtError(f"{where}: holds {held} bytes, not 1 to 10000 images of {_RECORD} bytes; {_MEND}")
    return np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
