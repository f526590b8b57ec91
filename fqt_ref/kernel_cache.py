# SPDX-License-Identifier: Apache-2.0
"""When a compiled kernel is stale: when its file has changed, or one that it imports, whose functions are compiled into its own.

Numba looks at a function's own file only.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
IMPORT = re.compile(r"^\s*(?:from|import) (fqt_ref[\w.]*)(?: import (?:\(([^)]*)|(.*)))?", re.MULTILINE)


@cache
def imported_files(path: Path) -> frozenset[Path]:
    """The package's files that one of them names in its imports, itself not included."""
    names: set[str] = set()
    for module, in_brackets, in_line in IMPORT.findall(path.read_text()):
        members = re.findall(r"\w+", in_brackets + in_line)
        names |= {module, *(f"{module}.{member}" for member in members)}
    candidates = {ROOT / Path(*name.split(".")) for name in names}
    files = {file for one in candidates for file in (one.with_suffix(".py"), one / "__init__.py") if file.is_file()}
    return frozenset(files - {path})


@cache
def source_digest(path: Path) -> bytes:
    """SHA-256 over a file of the package and all that it imports from it, directly or not."""
    files, unread = {path}, [path]
    while unread:
        new = imported_files(unread.pop()) - files
        files |= new
        unread += new
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.digest()


class Stamped:
    """Numba's cache locators with our stamp, for the package's files. A function whose stamp has changed is compiled anew, in its place."""

    _py_file: str

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """As Numba's; None for functions of others, which are Numba's own affair."""
        return super().from_function(py_func, py_file) if PACKAGE in Path(py_file).resolve().parents else None  # type: ignore[misc]

    def get_source_stamp(self) -> bytes:
        """What Numba keeps beside a compiled function, and compares."""
        return source_digest(Path(self._py_file).resolve())


class UserProvided(Stamped, UserProvidedCacheLocator):
    """In NUMBA_CACHE_DIR."""


class InTree(Stamped, InTreeCacheLocator):
    """In __pycache__, where Numba keeps it by default."""


class UserWide(Stamped, UserWideCacheLocator):
    """In the user's cache folder, where __pycache__ cannot be written."""


OURS = (UserProvided, InTree, UserWide)
LOCATORS = ",".join([f"{__name__}.{one.__name__}" for one in OURS] + [one.__name__ for one in CacheImpl._locator_classes])
