# SPDX-License-Identifier: Apache-2.0
"""Reading numpy's .npz archives from strangers: no pickles, sizes before contents, and one line whatever is wrong."""

import math
import zipfile
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError, one_line

Scalar = TypeVar("Scalar", bound=np.generic)

MAX_BYTES = 1 << 30  # that an archive may unpack to,
MAX_RATIO = 16  # or so many times its own size: images and signals shrink to no less


def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an .npz file.

    Raises FqtError: unreadable file, text or anything else that is not a zip archive, a truncated archive, one that unpacks to too much.
    """
    try:
        with open(path, "rb") as file:
            begin = file.read(4)
        if not zipfile.is_zipfile(path):
            if begin.startswith(b"PK"):
                raise FqtError(f"{path}: damaged .npz file (truncated zip archive); write it again")
            raise FqtError(f"{path}: not an .npz file (no zip archive); write one with numpy.savez_compressed")
        with zipfile.ZipFile(path) as archive:
            check_size(path, archive)
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except FqtError:
        raise
    except OSError as error:
        raise FqtError(f"{path}: cannot be read ({error.strerror or error}); mend the path or its permissions") from error
    except Exception as error:  # zipfile answers damage with exceptions of many types
        raise FqtError(f"{path}: damaged .npz file ({one_line(error)}); write it again") from error


def check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Whether an archive unpacks to no more than its size makes believable. Raises FqtError."""
    packed, whole = path.stat().st_size, sum(info.file_size for info in archive.infolist())
    if whole > max(MAX_BYTES, MAX_RATIO * packed):
        remedy = "if that is meant, write it uncompressed with numpy.savez"
        raise FqtError(f"{path}: {packed >> 10} KiB that unpack to {whole >> 20} MiB; {remedy}")


def check_header(path: Path, name: str) -> None:
    """Whether an array's header asks for no more than its member holds: numpy would allocate it first. Raises FqtError, or as zipfile."""
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if info.filename.removesuffix(".npy") == name)
        with archive.open(info) as member:
            if member.read(6) != b"\x93NUMPY":
                return  # no array: numpy gives the bytes as they are
            member.seek(0)
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        held = info.file_size
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > held:
        raise FqtError(f"{path}: '{name}' is damaged (shape {shape} of {dtype} in {held} bytes); write the file again")


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return all arrays of an .npz file. Raises FqtError as read_array does."""
    return {name: read_array(path, name) for name in array_names(path)}


def read_array(path: Path, name: str) -> NDArray[np.generic]:
    """Return one array of an .npz file, of any type but objects (they need pickle, which runs foreign code).

    Raises FqtError: unreadable or damaged file, no such array, an array of Python objects.
    """
    names = array_names(path)
    if name not in names:
        raise FqtError(f"{path}: has no array '{name}', only {', '.join(names) or 'nothing'}; name it so")
    try:
        check_header(path, name)
        with np.load(path, allow_pickle=False) as archive:
            array = archive[name]
    except FqtError:
        raise
    except Exception as error:  # numpy and zipfile answer damage with exceptions of many types
        if "allow_pickle" in str(error):
            raise FqtError(f"{path}: '{name}' holds Python objects (pickle); save it as an array of numbers") from error
        raise FqtError(f"{path}: '{name}' is damaged ({one_line(error)}); write the file again") from error
    if not isinstance(array, np.ndarray):  # a member that is no .npy file comes as bytes
        raise FqtError(f"{path}: '{name}' is not a numpy array; write the file with numpy.savez_compressed")
    return array


def read_typed(path: Path, name: str, kind: type[Scalar], shape: tuple[int | None, ...]) -> NDArray[Scalar]:
    """Return one array of an .npz file, of a given type (np.uint8, np.str_, ...) and shape; None is any length from 1.

    Raises FqtError: as read_array does, or another type or shape.
    """
    array = read_array(path, name)
    fits = array.ndim == len(shape) and array.size > 0 and all(a in (b, None) for a, b in zip(shape, array.shape, strict=True))
    if array.dtype.type is not kind or not fits:
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise FqtError(f"{path}: '{name}' is {array.dtype} of shape {array.shape}, not {kind.__name__} of {wanted}; get the file again")
    return cast(NDArray[Scalar], array.astype(array.dtype.newbyteorder("="), copy=False))
