# SPDX-License-Identifier: Apache-2.0
"""Where a run is performed: its data folder, what it starts from, and whom it tells how far it is."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fqt_ref.datasets import Dataset, dataset_names, load
from fqt_ref.errors import FqtError


class DataNotFound(FqtError):
    """A data set that cannot be had here."""


def silent(share: float, text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Place:
    """start: bytes of the artifact that the run begins with; advance(share, text): this share (0..1) more of the run is done."""

    data_dir: Path | None = None
    start: bytes = b""
    advance: Callable[[float, str], None] = silent

    def folder(self) -> Path | None:
        """The data folder, given or FQT_DATA_DIR."""
        variable = os.environ.get("FQT_DATA_DIR")
        return self.data_dir or (Path(variable) if variable else None)

    def load(self, name: str, samples: int | None = None, test_samples: int | None = None) -> Dataset:
        """A set by name; one that fqt has no loader for from NAME.npz of the data folder. Only the first so many samples of each part.

        Raises DataNotFound, whose text calls the data folder DIR: it is kept in a store that other people read.
        """
        folder = self.folder()
        known = name in dataset_names()
        if not known and (folder is None or not (folder / f"{name}.npz").exists()):
            raise DataNotFound(f"fqt has no loader for {name}, and {'DIR' if folder else 'FQT_DATA_DIR (not set)'} has no {name}.npz of it")
        try:
            data = load(name if known or folder is None else folder / f"{name}.npz", self.data_dir)
        except FqtError as error:
            raise DataNotFound(str(error).replace(str(folder), "DIR") if folder else str(error)) from error
        train, test = slice(samples), slice(test_samples)
        return replace(data, train_x=data.train_x[train], train_y=data.train_y[train], test_x=data.test_x[test], test_y=data.test_y[test])

    def model(self, file: str) -> Path:
        """A trained model's file, from the data folder's subfolder models. Raises FqtError."""
        folder = self.folder()
        if folder is None or not (folder / "models" / file).exists():
            raise FqtError(f"models/{file} is not in {folder or 'FQT_DATA_DIR (not set)'}: name the folder that has it with --data-dir")
        return folder / "models" / file
