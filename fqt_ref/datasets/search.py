# SPDX-License-Identifier: Apache-2.0
"""Finding a named set's files in folders on this machine."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from fqt_ref.datasets.named_set import NAMED_SETS, NamedSet
from fqt_ref.errors import FqtError

Found = TypeVar("Found")


@dataclass(frozen=True)
class FoundFiles:
    """A set's files.

    paths  train images, train labels, test images, test labels, or the last two only (KMNIST's test part)
    form   'idx' or 'npz'
    """

    paths: tuple[Path, ...]
    form: str


def find_in(named: NamedSet, folder: Path) -> FoundFiles | None:
    """Return the set's files in the folder's subfolders of the set's names, or in the folder itself, or None.

    Preferred in each: idx, npz, npz of the test part only. MNIST, Fashion-MNIST and KMNIST share their file
    names, so a folder that bears another set's name is passed over.
    """
    for candidate in _candidates(named, folder):
        idx = tuple(_plain_or_gz(candidate, name) for name in named.idx_files)
        if all(idx):
            return FoundFiles(tuple(path for path in idx if path), "idx")
        if named.npz_files:
            npz = tuple(candidate / name for name in named.npz_files)
            for paths in (npz, npz[2:]):
                if all(map(os.path.isfile, paths)):
                    return FoundFiles(paths, "npz")
    return None


def find_on_this_machine(named: NamedSet, data_dir: Path | None) -> tuple[FoundFiles | None, list[str]]:
    """Return (files, places) as search_folders does; the set's system folder comes last.

    Raises FqtError: data_dir is not a folder, or does not hold the set.
    """
    found, places = search_folders(named.name, named.get_it, partial(find_in, named), partial(_lack, named), data_dir)
    if found is None and named.system_folder:
        found = find_in(named, named.system_folder)
        places.append(str(named.system_folder))
    return found, places


def search_folders(
    name: str, get_it: str, find: Callable[[Path], Found | None], lack: Callable[[Path], str], data_dir: Path | None
) -> tuple[Found | None, list[str]]:
    """Return (files, places): what find(folder) found, and for a message, where it was sought with what result.

    data_dir, if given, is the only place: the data of another place under its name would be a surprise.
    Otherwise it is the environment's FQT_DATA_DIR. lack(folder) says why find found nothing, get_it how to
    get the files.

    Raises FqtError: data_dir is not a folder, or does not hold the set.
    """
    if data_dir is not None:
        if not os.path.isdir(data_dir):
            raise FqtError(f"{name}: the data folder {data_dir} does not exist (or is a file); name a folder that exists")
        found = find(data_dir)
        if found is None:
            raise FqtError(f"{name}: the data folder {data_dir} {lack(data_dir)}; to mend it, {get_it}, or choose another folder")
        return found, []
    variable = os.environ.get("FQT_DATA_DIR")
    if not variable:
        return None, ["FQT_DATA_DIR (not set)"]
    if not os.path.isdir(variable):
        return None, [f"FQT_DATA_DIR={variable} (no such folder)"]
    found = find(Path(variable))
    return found, [] if found else [f"FQT_DATA_DIR={variable} ({lack(Path(variable))})"]


def not_found(name: str, get_it: str, places: list[str], download: Exception) -> FqtError:
    """Return the error of a set that is in no place and could not be downloaded either."""
    return FqtError(
        f"{name}: not found in {', '.join(places)}; download: {download}; to get it, "
        f"{get_it}, and name the folder with --data-dir or FQT_DATA_DIR"
    )


def _candidates(named: NamedSet, folder: Path) -> Iterator[Path]:
    """Yield the folders that may hold the set's files."""
    for subfolder in named.folders:
        yield folder / subfolder
    if not _is_other_sets(named, folder):
        yield folder


def _is_other_sets(named: NamedSet, folder: Path) -> bool:
    """Whether the folder's name is another set's ('raw' and 'gzip' say nothing, then its parent's counts)."""
    path = Path(os.path.abspath(folder))
    name = path.parent.name if path.name in ("raw", "gzip") else path.name
    return name not in named.folders and any(name in other.folders for other in NAMED_SETS.values())


def _plain_or_gz(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if os.path.isfile(path):
            return path
    return None


def _lack(named: NamedSet, folder: Path) -> str:
    """Return why find_in found nothing in an existing folder, by the candidate that lacks least."""
    lacks = [
        (candidate, [f"{name}[.gz]" for name in named.idx_files if _plain_or_gz(candidate, name) is None])
        for candidate in _candidates(named, folder)
    ]
    candidate, missing = min(lacks, key=lambda lack: len(lack[1]))
    npz = f" (or {', '.join(named.npz_files)}; the last two will do)" if named.npz_files else ""
    if len(missing) < len(named.idx_files):
        return f"lacks {', '.join(missing)} in {candidate}{npz}"
    if is_empty(folder):
        return f"is empty: it lacks {', '.join(missing)}{npz}"
    if _is_other_sets(named, folder):
        return f"by its name is another set's, and this one is not in its subfolders {', '.join(named.folders)}"
    return f"lacks {', '.join(missing)}{npz}, also in its subfolders {', '.join(named.folders)}"


def is_empty(folder: Path) -> bool:
    """Whether a folder is readable and holds nothing."""
    try:
        return not os.listdir(folder)
    except OSError:  # unreadable is not empty
        return False
