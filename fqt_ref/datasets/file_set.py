# SPDX-License-Identifier: Apache-2.0
"""The files of a set that is no kin of MNIST: what they are called, where they may be, where they come from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fqt_ref.datasets.download import DownloadError, cached_file
from fqt_ref.datasets.search import is_empty, not_found, search_folders


@dataclass(frozen=True)
class FileSet:
    """A set's files.

    name     the set's
    forms    names of the files that together hold the set, each form on its own enough, in order of preference
    folders  subfolders of a data folder that may hold the files, in order of preference; then the folder itself
    get_it   how to get the files by hand, after "to get it, "
    url      of the one file of one of the forms, or None: no download
    md5      of the file at url
    """

    name: str
    forms: tuple[tuple[str, ...], ...]
    folders: tuple[str, ...]
    get_it: str
    url: str | None = None
    md5: str | None = None


def find_files(files: FileSet, data_dir: Path | None = None, download: bool = True, cache: Path | None = None) -> tuple[Path, ...]:
    """Return the paths of the files of the first form that is there.

    Order: data_dir (if given, nothing else); FQT_DATA_DIR; the cache; a download into the cache (unless
    download is False). cache: see cached_file.

    Raises FqtError: not found and not downloaded.
    """
    found, places = search_folders(files.name, files.get_it, partial(_find_in, files), partial(_lack, files), data_dir)
    if found is not None:
        return found
    try:
        if files.url is None or files.md5 is None:
            raise DownloadError("no download is offered")
        return (cached_file(files.name, files.url, files.md5, download, cache),)
    except DownloadError as error:
        raise not_found(files.name, files.get_it, places, error) from error


def _candidates(files: FileSet, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield (folder, names) of every place and form."""
    for place in (*(folder / subfolder for subfolder in files.folders), folder):
        for form in files.forms:
            yield place, form


def _find_in(files: FileSet, folder: Path) -> tuple[Path, ...] | None:
    for place, form in _candidates(files, folder):
        if all(os.path.isfile(place / name) for name in form):
            return tuple(place / name for name in form)
    return None


def _lack(files: FileSet, folder: Path) -> str:
    """Return why _find_in found nothing in an existing folder."""
    for place, form in _candidates(files, folder):
        missing = [name for name in form if not os.path.isfile(place / name)]
        if len(missing) < len(form):
            return f"lacks {', '.join(missing)} in {place}"
    needed = " (or ".join(", ".join(form) for form in files.forms) + ")" * (len(files.forms) - 1)
    if is_empty(folder):
        return f"is empty: it lacks {needed}"
    return f"lacks {needed}, also in its subfolders {', '.join(files.folders)}"
