# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels on disk: what is damaged, or of another kernel, counts as not there, so that it is compiled anew.

Numba believes its files: an empty index stops every later start, and a flipped bit of machine code may run.
"""

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST_BYTES = 32  # SHA-256, at the begin of each file


def sealed(content: bytes) -> bytes:
    """Content behind its digest."""
    return hashlib.sha256(content).digest() + content


def unsealed(data: bytes) -> bytes:
    """The content of what sealed() made. Raises ValueError for anything else."""
    content = data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != data[:DIGEST_BYTES]:
        raise ValueError("not what was written")
    return content


class SealedFiles(IndexDataCacheFile):
    """Numba's index and data files, each behind a digest; data tell whose they are, for two processes may give two kernels one name."""

    def load(self, key: Any) -> Any:
        """As Numba's, None for whatever is not as it was saved."""
        try:
            stamp, found, data = super().load(key)
        except Exception:  # damage has exceptions of many types, and a kernel that is not there is None
            return None
        return data if (stamp, found) == (self._source_stamp, key) else None

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def _load_index(self) -> dict:
        try:
            with open(self._index_path, "rb") as file:
                version, stamp, overloads = self._parse(file.read())
        except Exception:
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            return self._parse(file.read())

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _parse(self, data: bytes) -> Any:
        """What _write() wrote. Unpickled only if it is that."""
        return pickle.loads(unsealed(data))

    def _write(self, path: str, value: Any) -> None:
        with self._open_for_write(path) as file:
            file.write(sealed(self._dump(value)))


class KernelCache(FunctionCache):
    """Numba's cache of one function. A kernel that cannot be loaded is compiled, one that cannot be saved is used all the same."""

    missed: Callable[[], None] = staticmethod(lambda: None)  # called when a kernel has to be compiled

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        files = self._cache_file
        self._cache_file = SealedFiles(self._cache_path, files._index_name.removesuffix(".nbi"), files._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        with suppress(Exception):  # machine code of the digest's bytes that this LLVM does not take
            found = super().load_overload(sig, target_context)
        if found is None:
            KernelCache.missed()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)
