# SPDX-License-Identifier: Apache-2.0
"""Data sets by name or from the user's own file: `load("digits")`, `load("mnist")`, `load("mine.npz")`."""

import os
from pathlib import Path

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.digits import load_digits
from fqt_ref.datasets.load_named import load_named
from fqt_ref.datasets.named_set import NAMED_SETS
from fqt_ref.datasets.npz import load_npz
from fqt_ref.errors import FqtError

__all__ = ["Dataset", "dataset_names", "load"]


def dataset_names() -> tuple[str, ...]:
    """Return the names that load knows, the one that needs neither files nor network first."""
    return ("digits", *NAMED_SETS)


def load(name_or_path: str | Path, data_dir: str | Path | None = None, download: bool = True) -> Dataset:
    """Load a set by name (any case, '_' for '-'), or the user's own .npz file by path (see npz.py).

    data_dir: where a named set's files are, itself or in a subfolder of the set's name; then nothing else is
    searched. Without it: FQT_DATA_DIR, the system's folder, the download cache, then a download, unless
    download is False.

    Raises FqtError: unknown name, set not found, damaged or unfit file.
    """
    text = str(name_or_path)
    name = text.lower().replace("_", "-")
    if name == "digits":
        return load_digits()
    if name in NAMED_SETS:
        return load_named(NAMED_SETS[name], None if data_dir is None else Path(data_dir), download)
    if os.path.exists(text):
        return load_npz(Path(text))
    if text.lower().endswith(".npz"):
        raise FqtError(f"{text}: no such file; name an .npz file that exists")
    raise FqtError(f"'{text}' is neither a data set ({', '.join(dataset_names())}) nor a file; name one of these, or an .npz file")
