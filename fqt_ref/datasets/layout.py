# SPDX-License-Identifier: Apache-2.0
"""Samples whose axes stand otherwise than a network wants them: channels first, flattened, series without a height."""

from math import prod

import numpy as np

from fqt_ref.datasets.dataset import Samples
from fqt_ref.errors import FqtError

Shape = tuple[int, int, int]
PICTURE_SIDE = 8  # from here on [3,n,n] and [1,n,n] are taken as pictures with channels first


def arrangement(shape: Shape, wanted: Shape) -> tuple[tuple[int, ...] | None, str]:
    """How samples (h, w, c) become `wanted`: the order of their axes before the reshape, None if they cannot; and what they are read as.

    Only what can mean one thing: channels first where that gives the wanted shape, one row of values for one channel, everything in a
    row, and axes of length 1 that come or go.
    """
    kept, asked = ([side for side in sides if side > 1] for sides in (shape, wanted))
    if kept == asked:
        return (0, 1, 2), ""
    h, w, c = shape
    if (w, c, h) == wanted:
        return (1, 2, 0), "with channels first"
    if len(kept) == 2 and kept == asked[::-1] and wanted[2] > 1:
        return (2, 1, 0), "with channels first"
    if prod(shape) == prod(wanted) and len(asked) <= 1:
        return (0, 1, 2), "" if c == 1 else "in the order of the file"
    if prod(shape) == prod(wanted) and len(kept) <= 1 and wanted[2] == 1:
        return (0, 1, 2), ""
    return None, ""


def arranged(samples: Samples, wanted: Shape, name: str) -> tuple[Samples, str]:
    """Samples [N,h,w,c] as [N,*wanted], and what they were read as ("" if that needs no word). Raises FqtError."""
    shape = (int(samples.shape[1]), int(samples.shape[2]), int(samples.shape[3]))
    if shape == wanted:
        return samples, ""
    order, reading = arrangement(shape, wanted)
    if order is None:
        remedy = "choose data that fits"
        if prod(shape) == prod(wanted):
            remedy = f"reshape or transpose x_train and x_test to [N,{','.join(map(str, wanted))}], or choose data that fits"
        raise FqtError(f"data set {name} has samples of shape {shape}, the network takes {wanted}: {remedy}")
    turned = samples.transpose(0, *(axis + 1 for axis in order))
    return np.ascontiguousarray(turned.reshape(len(samples), *wanted)), reading


def picture_shape(shape: Shape) -> Shape:
    """The shape that samples should have for a network that is yet to be made: pictures [3,n,n] and [1,n,n] have their channels last."""
    h, w, c = shape
    return (w, c, h) if h in (1, 3) and w == c >= PICTURE_SIDE else shape
