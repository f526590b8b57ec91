# SPDX-License-Identifier: Apache-2.0
"""Grids as other formats have them (int8 or uint8, one scale or one a channel) to the uint8 grids of a Graph."""

import numpy as np

from fqt_ref.errors import FqtError
from fqt_ref.graph import Grid

SMALLEST_NORMAL = np.float32(2.0**-126)
EMPTY_SCALE = np.float32(1) / np.float32(255)  # of a channel whose weights are all zero and whose scale says nothing
BIAS_STEPS = 2.0**27  # a bias may span 2^28 steps of s_x s_w (SPEC.md 4.1); half of it leaves the sum room while it trains


def shift_of(dtype: np.dtype) -> int:
    """What makes a byte of this type a uint8: 128 for int8, 0 for uint8. Raises FqtError for other types."""
    if dtype == np.int8:
        return 128
    if dtype == np.uint8:
        return 0
    raise FqtError(f"is quantized to {dtype}; only int8 and uint8 can be imported")


def make_grid(scale, zero, dtype: np.dtype) -> Grid:
    """Grid from a source's scale [n] and zero point [n] or [1] of int8 or uint8 values. Raises FqtError for impossible ones."""
    scales = np.atleast_1d(np.asarray(scale, np.float32)).reshape(-1)
    zeros = np.atleast_1d(np.asarray(zero, np.int64)).reshape(-1) + shift_of(dtype)
    if len(zeros) not in (1, len(scales)):
        raise FqtError(f"has {len(scales)} scales but {len(zeros)} zero points")
    zeros = np.broadcast_to(zeros, scales.shape)
    if not np.all(np.isfinite(scales)) or np.any(scales < 0):
        raise FqtError("has a scale that is negative or not finite: the file is damaged")
    if np.any(zeros < 0) or np.any(zeros > 255):
        raise FqtError("has a zero point outside its type's range: the file is damaged")
    return Grid(scales.copy(), zeros.astype(np.int32))


def usable(grid: Grid) -> bool:
    """Whether every scale is positive and normal, as SPEC.md 9 wants it."""
    return bool(np.all(grid.scale >= SMALLEST_NORMAL))


def real_values(values: np.ndarray, grid: Grid) -> np.ndarray:
    """float32 of bytes that lie on a grid; values: uint8 with the grid's channels first."""
    along = (-1,) + (1,) * (values.ndim - 1)
    return (values.astype(np.int32) - grid.zero.reshape(along)).astype(np.float32) * grid.scale.reshape(along)


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids are equal, bit for bit."""
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero, b.zero)


def weights_on_grid(values: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Float weights and their grid, from bytes [channels, ...]; a scale of 0 becomes another if the channel's weights are all 0."""
    unusable = grid.scale < SMALLEST_NORMAL
    if np.any(unusable):
        bytes_of = (values.reshape(len(grid.scale), -1) if len(grid.scale) > 1 else values.reshape(1, -1)).astype(np.int32)
        if np.any(bytes_of[unusable] != grid.zero[unusable, None]):
            raise FqtError("has weights with a scale of 0: the file is damaged")
        grid = Grid(np.where(unusable, EMPTY_SCALE, grid.scale).astype(np.float32), grid.zero)
    return real_values(values, grid), grid


def make_room_for_bias(weights: np.ndarray, bias: np.ndarray, grid: Grid, input_scale: float) -> tuple[np.ndarray, Grid, int]:
    """Raise the scales of channels whose bias spans more than BIAS_STEPS steps; their weights, nothing beside it, move to the new grid.

    weights: float32[channels, ...]; bias: float32[channels]; grid: n = 1 or channels. Returns weights, grid and how many channels.
    """
    needed = np.abs(bias.astype(np.float64)) / (BIAS_STEPS * float(input_scale))
    scales = np.broadcast_to(grid.scale, bias.shape) if len(grid.scale) == 1 else grid.scale
    short = needed > scales
    if not np.any(short):
        return weights, grid, 0
    if len(grid.scale) == 1:
        raised = Grid(np.array([needed.max() * (1 + 2.0**-20)], np.float32), grid.zero)
        short = np.ones_like(short)
    else:
        raised = Grid(np.where(short, needed * (1 + 2.0**-20), scales).astype(np.float32), grid.zero)
    along = (-1,) + (1,) * (weights.ndim - 1)
    scale, zero = raised.scale.reshape(along), raised.zero.reshape(along)
    moved = real_values(np.clip(np.floor(weights / scale + np.float32(0.5)) + zero, 0, 255).astype(np.uint8), raised)
    weights = np.where(short.reshape(along), moved, weights)
    return weights, raised, int(np.count_nonzero(short))
