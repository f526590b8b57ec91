# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's 8x8 digits: the set that needs no file and no network."""

import numpy as np

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.errors import FqtError


def load_digits() -> Dataset:
    """Return the 1797 images [.,8,8,1]: 359 for testing (every fifth, index % 5 == 4), the rest for training.

    A pixel 0..16 becomes the byte (255 v + 8) // 16; scale 1/255, zero 0.

    Raises FqtError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets as sklearn_datasets
    except ImportError as error:
        raise FqtError(f"digits: comes with scikit-learn ({error}); pip install scikit-learn") from error
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    pixels = (images.astype(np.int64) * 255 + 8) // 16
    x = pixels.astype(np.uint8).reshape(-1, 8, 8, 1)
    y = labels.astype(np.int64)
    test = np.arange(len(y)) % 5 == 4
    return Dataset(
        "digits",
        x[~test],
        y[~test],
        x[test],
        y[test],
        10,
        *PICTURES,
        tuple("0123456789"),
        stated=False,
    )
