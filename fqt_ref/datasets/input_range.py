# SPDX-License-Identifier: Apache-2.0
"""The border where float images become bytes: asymmetric u8 over the training part's range, in float32."""

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError

_CHUNK = 1024  # samples converted at a time: temporaries stay small beside the images


def check_finite(images: NDArray[np.floating], where: str) -> None:
    """Check that all values of images [N,...] are finite as float32; where names file and array.

    Raises FqtError: a NaN or an infinity, naming the first sample that has one.
    """
    for start in range(0, len(images), _CHUNK):
        finite = np.isfinite(_float32(images[start : start + _CHUNK]))
        bad = np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))
        if bad.size:
            raise FqtError(f"{where}: sample {start + bad[0]} holds a NaN or a value beyond float32; mend or drop the sample")


def input_range(images: NDArray[np.floating], where: str) -> tuple[np.float32, int]:
    """Return (scale, zero point) of u8 over the range of the finite images [N,...], 0 included.

    scale = (hi - lo) / 255; zero = floor((0 - lo) / scale + 0.5), 0..255.

    Raises FqtError: all values are 0, or the range is too small or too large for a normal float32 scale.
    """
    lo = np.float32(0)
    hi = np.float32(0)
    for start in range(0, len(images), _CHUNK):
        chunk = _float32(images[start : start + _CHUNK])
        lo = min(lo, chunk.min())
        hi = max(hi, chunk.max())
    with np.errstate(over="ignore"):
        scale = (hi - lo) / np.float32(255)
    if not np.finfo(np.float32).tiny <= scale < np.inf:
        raise FqtError(f"{where}: values from {lo} to {hi} give no usable scale for bytes; rescale the images")
    zero = np.floor((np.float32(0) - lo) / scale + np.float32(0.5))
    return scale, int(np.clip(zero, 0, 255))


def to_bytes(images: NDArray[np.floating], scale: np.float32, zero: int) -> NDArray[np.uint8]:
    """Return finite images [N,...] as uint8: clip(floor(v / scale + zero + 0.5), 0, 255) in float32."""
    quantized = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        with np.errstate(over="ignore"):  # an infinite quotient is clipped like any other large one
            v = _float32(images[start : start + _CHUNK]) / scale + np.float32(zero) + np.float32(0.5)
        quantized[start : start + _CHUNK] = np.clip(np.floor(v), 0, 255)
    return quantized


def _float32(images: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite; check_finite reports it
        return images.astype(np.float32)
