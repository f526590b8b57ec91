# SPDX-License-Identifier: Apache-2.0
"""Data sets by name or from the user's own file: `load("digits")`, `load("mnist")`, `load("mine.npz")`."""

import os
from collections.abc import Callable
from pathlib import Path

from fqt_ref.datasets.arsc import load_arsc
from fqt_ref.datasets.byte_range import with_range
from fqt_ref.datasets.cifar10 import load_cifar10
from fqt_ref.datasets.corrupted import CORRUPTED, corrupted_names, load_corrupted
from fqt_ref.datasets.cwru import load_cwru
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.digits import load_digits
from fqt_ref.datasets.flowers102 import load_flowers102
from fqt_ref.datasets.foreign_file import remedy_for
from fqt_ref.datasets.hapt import load_hapt
from fqt_ref.datasets.kkanji import load_kkanji
from fqt_ref.datasets.load_named import load_named
from fqt_ref.datasets.named_set import NAMED_SETS
from fqt_ref.datasets.npz import load_npz
from fqt_ref.datasets.speech_commands import load_speech_commands
from fqt_ref.errors import FqtError

__all__ = ["Dataset", "dataset_names", "load"]

_LOADERS: dict[str, Callable[[Path | None, bool], Dataset]] = {
    "cifar10": load_cifar10,
    "flowers102": load_flowers102,
    "kkanji": load_kkanji,
    "cwru": load_cwru,
    "hapt": load_hapt,
    "arsc": load_arsc,
    "speech-commands": load_speech_commands,
}


def dataset_names() -> tuple[str, ...]:
    """Return the names that load knows, the one that needs neither files nor network first."""
    return ("digits", *NAMED_SETS, *_LOADERS, *corrupted_names())


def load(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    download: bool = True,
    data_range: str | None = None,
    labels: bool = True,
) -> Dataset:
    """Load a set by name (any case, '_' for '-'), or the user's own .npz file by path (see npz.py).

    data_dir: where a named set's files are, itself or in a subfolder of the set's name; then nothing else is
    searched. Without it: FQT_DATA_DIR, the system's folder, the download cache, then a download, unless
    download is False (of sets that can be downloaded; the message says where the others come from).
    data_range: "LO..HI", what the bytes 0 and 255 mean. labels: of the user's own file; False takes samples of any targets.

    Raises FqtError: unknown name, set not found, damaged or unfit file, an optional package missing.
    """
    data = _loaded(str(name_or_path), None if data_dir is None else Path(data_dir), download, labels)
    return data if data_range is None else with_range(data, data_range)


def _loaded(text: str, folder: Path | None, download: bool, labels: bool) -> Dataset:
    name = text.lower().replace("_", "-")
    if name == "digits":
        return load_digits()
    if name in NAMED_SETS:
        return load_named(NAMED_SETS[name], folder, download)
    if name in _LOADERS:
        return _LOADERS[name](folder, download)
    if name in corrupted_names():
        return load_corrupted(name, folder, download)
    if os.path.exists(text):
        remedy = remedy_for(Path(text))
        if remedy is not None:
            raise FqtError(f"{text}: {remedy}")
        return load_npz(Path(text), labels)
    if text.lower().endswith(".npz"):
        raise FqtError(f"{text}: no such file; name an .npz file that exists")
    family = CORRUPTED.get(name.partition("/")[0])
    if family is not None:
        raise FqtError(f"'{text}': {family.files.name} comes with a corruption, {family.files.name}/ and {', '.join(family.corruptions)}")
    names = (*(one for one in dataset_names() if "/" not in one), *(f"{one}/CORRUPTION" for one in CORRUPTED))
    raise FqtError(f"'{text}' is neither a data set ({', '.join(names)}) nor a file; name one of these, or an .npz file")
