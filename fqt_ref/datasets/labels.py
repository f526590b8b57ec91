# SPDX-License-Identifier: Apache-2.0
"""Labels as they come from a file, checked against their images and the number of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqt_ref.errors import FqtError


def whole_labels(labels: NDArray[Any], where: str) -> NDArray[np.integer]:
    """Labels [N] of any type of number as integers; where names file and array.

    Raises FqtError: no numbers, or numbers with fractions: targets of a regression.
    """
    if np.issubdtype(labels.dtype, np.integer):
        return labels
    if labels.dtype == np.bool_:
        return labels.astype(np.int64)
    if not np.issubdtype(labels.dtype, np.floating):
        raise FqtError(f"{where} is {labels.dtype}; labels must be whole numbers from 0: number the classes")
    bad = np.flatnonzero(~(np.floor(labels) == labels) | ~(np.abs(labels) < 2**31))
    if bad.size:
        raise FqtError(
            f"{where}: label {labels[bad[0]]} of sample {bad[0]} is no whole number; labels are classes from 0: "
            "a regression cannot be trained yet"
        )
    return labels.astype(np.int64)


def checked_labels(labels: NDArray[np.integer], images: int, classes: int, where: str, first: int = 0) -> NDArray[np.int64]:
    """Return labels [N] of any integer type as int64[N] in 0..classes-1.

    images is the number of images that the labels belong to, first the label of class 0 in the file (EMNIST's
    letters begin at 1), where names file and array in messages.

    Raises FqtError: not as many labels as images; a label outside first..first+classes-1 (naming the first).
    """
    if len(labels) != images:
        raise FqtError(f"{where}: {len(labels)} labels for {images} images; there must be one label an image")
    last = first + classes - 1
    bad = np.flatnonzero((labels < first) | (labels > last))
    if bad.size:
        raise FqtError(f"{where}: label {labels[bad[0]]} of sample {bad[0]} is outside {first}..{last}; mend or drop the sample")
    return labels.astype(np.int64) - first
