# SPDX-License-Identifier: Apache-2.0
"""The idx file format of MNIST and its kin: bytes only, plain or gzipped (told by content, not by name)."""

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError, one_line

_CHUNK = 1 << 20
_MEND = "get the file again"


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an idx file: uint8 with 3 dimensions (images [N,H,W]) or 1 (labels [N]).

    The header is two zero bytes, 0x08 (unsigned byte), the number of dimensions, then each dimension as a
    big-endian u32; the data must be exactly as long as the header says.

    Raises FqtError: unreadable file, damaged gzip, wrong magic, a dimension of 0, too few or too many bytes.
    """
    try:
        with open(path, "rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=file) as unzipped:
                    return _parse(unzipped, path, dimensions)
            return _parse(file, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FqtError(f"{path}: damaged gzip file ({one_line(error)}); {_MEND}") from error
    except OSError as error:
        raise FqtError(f"{path}: cannot be read ({error.strerror or error}); mend the file or its permissions") from error
    except (MemoryError, OverflowError) as error:
        raise FqtError(f"{path}: more than this machine can hold; {_MEND}") from error


def _parse(file: BufferedReader | gzip.GzipFile, path: Path, dimensions: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    expected = bytes([0, 0, 8, dimensions])
    if magic != expected:
        raise FqtError(
            f"{path}: begins with 0x{magic.hex()}, an idx file of bytes in {dimensions} dimension(s) "
            f"with 0x{expected.hex()}; name the right file"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise FqtError(f"{path}: ends within the idx header; {_MEND}")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape)
    if size == 0:
        raise FqtError(f"{path}: is empty, its header says {_times(shape)}; {_MEND}")
    # In chunks: a forged header must not make us allocate what the file does not hold. One byte more than
    # announced, so that surplus shows and gzip reaches its checksum.
    data = bytearray()
    while len(data) <= size and (chunk := file.read(min(_CHUNK, size + 1 - len(data)))):
        data += chunk
    if len(data) != size:
        held = "more" if len(data) > size else f"only {len(data)}"
        raise FqtError(f"{path}: its header says {_times(shape)} = {size} bytes of data, it holds {held}; {_MEND}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
