# SPDX-License-Identifier: Apache-2.0
"""Writing files: whole or not at all, and never over what is no file.

Whether a place can be written is asked before the work that it is to keep, not after.
"""

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from fqt_ref.errors import FqtError

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def target_of(path: Path) -> Path:
    """The file that a path stands for: a symbolic link stays one, and what it points to is written."""
    return Path(os.path.realpath(path))


def mode_of(path: Path, where: str) -> int | None:
    """The permissions of a regular file; None if there is no such file. Raises FqtError for anything else, which is never replaced."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot(path, error, where) from error
    if not stat.S_ISREG(mode):
        raise FqtError(f"cannot write {path}: it is {KINDS.get(stat.S_IFMT(mode), 'no regular file')}; choose a file with {where}")
    if not os.access(path, os.W_OK):
        raise FqtError(f"cannot write {path}: it is write-protected; choose another file with {where}")
    return stat.S_IMODE(mode)


def cannot(path: Path, error: OSError, where: str) -> FqtError:
    """The one line for a file that the system does not let us write."""
    return FqtError(f"cannot write {path}: {error.strerror or error}; choose another folder with {where}")


@contextmanager
def new_file_beside(path: Path):
    """(file descriptor, path) of an empty file of a name of its own in a file's folder; it is gone afterwards, unless it was renamed."""
    temporary = path.parent / f".fqt-{secrets.token_hex(8)}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        yield descriptor, temporary
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def sync_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write(path: Path, data: bytes | str, where: str = "-o") -> None:
    """Write a file: whoever reads it, at any moment, finds the old content or the new one, whole, after a power cut, too.

    The folder has to exist. Permissions of an older file stay. where: the option that chose the path, for messages.
    Raises FqtError: it cannot be written, or is no regular file.
    """
    target = target_of(path)
    mode = mode_of(target, where)
    content = memoryview(data.encode() if isinstance(data, str) else data)
    try:
        with new_file_beside(target) as (descriptor, temporary):
            if mode is not None:
                os.fchmod(descriptor, mode)
            while content:
                content = content[os.write(descriptor, content) :]
            os.fsync(descriptor)
            os.replace(temporary, target)
    except OSError as error:
        raise cannot(path, error, where) from error
    sync_folder(target.parent)


def make_folder(folder: Path, where: str = "-o") -> None:
    """Make a folder and those above it, and try to write in it. Raises FqtError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file_beside(folder / "any"):
            pass
    except OSError as error:
        raise FqtError(f"cannot write into {folder}: {error.strerror or error}; choose another folder with {where}") from error


def check_output(path: Path | None, where: str = "-o", inputs: Iterable[Path | str | None] = ()) -> None:
    """Whether a file can be written, before the work that it is to keep. None: nothing to write.

    inputs: files of other formats that the work reads, or writes: they are not to be lost. Raises FqtError.
    """
    if path is None:
        return
    target = target_of(path)
    for one in inputs:
        if one is not None and is_same(target, Path(one)):
            raise FqtError(f"{path} is read or written as another file of this command: choose another file with {where}")
    mode_of(target, where)
    try:
        with new_file_beside(target):
            pass
    except FileNotFoundError as error:
        raise FqtError(f"cannot write {path}: there is no folder {path.parent}; make it, or choose another with {where}") from error
    except OSError as error:
        raise cannot(path, error, where) from error


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file."""
    if one == target_of(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
