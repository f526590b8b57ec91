# SPDX-License-Identifier: Apache-2.0
"""Downloads of named sets into the user's cache, each file checked by its MD5."""

import logging
import os
from pathlib import Path

from fqt_ref.datasets.named_set import NamedSet
from fqt_ref.datasets.search import FoundFiles
from fqt_ref.errors import one_line

_log = logging.getLogger(__name__)


class DownloadError(Exception):
    """Why the files cannot be had, in half a line."""


def cached_or_downloaded(named: NamedSet, download: bool, base_url: str | None = None, cache: Path | None = None) -> FoundFiles:
    """Return the set's idx files in the cache, after downloading those missing or with a wrong checksum.

    base_url (ends in '/') stands in for the set's home; download and cache: see cached_file.

    Raises DownloadError: no download offered, or as cached_file does.
    """
    url = base_url or named.base_url
    if url is None or named.md5 is None:
        raise DownloadError("no download is offered")
    files = zip(named.idx_files, named.md5, strict=True)
    return FoundFiles(tuple(cached_file(named.name, f"{url}{name}.gz", md5, download, cache) for name, md5 in files), "idx")


def cached_file(set_name: str, url: str, md5: str, download: bool, cache: Path | None = None) -> Path:
    """Return the file of a URL in the cache, after downloading it if it is missing or has a wrong checksum.

    cache stands in for the user's cache folder (~/.cache/fqt, which XDG_CACHE_HOME moves); the file is in a
    subfolder of the set's name, under the last part of the URL.

    Raises DownloadError: no download wanted, pooch not installed, network, checksum, full disk.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DownloadError(f"downloads need pooch ({error}): pip install pooch") from error
    pooch.get_logger().setLevel(logging.WARNING)
    folder = (cache or Path(pooch.os_cache("fqt"))) / set_name
    not_cached = f"and not in the cache {folder}"
    path = folder / url.rsplit("/", 1)[1]
    try:
        if not (os.path.isfile(path) and pooch.file_hash(str(path), alg="md5") == md5):
            if not download:
                raise DownloadError(f"turned off ({not_cached})")
            _log.info("fqt: downloading %s", url)
            pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=folder)
    except requests.Timeout as error:
        raise DownloadError(f"{url}: no answer in time ({not_cached})") from error
    except requests.ConnectionError as error:
        raise DownloadError(f"{url}: no connection to the server ({not_cached})") from error
    except requests.RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves it open
        raise DownloadError(f"{url}: {one_line(error)} ({not_cached})") from error
    except OSError as error:
        raise DownloadError(f"cannot write into the cache {folder}: {one_line(error)}") from error
    except ValueError as error:  # pooch: a wrong checksum
        raise DownloadError(f"{url}: wrong checksum: {one_line(error)}") from error
    return path
