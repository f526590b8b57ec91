# SPDX-License-Identifier: Apache-2.0
"""Oxford's 102 flowers as pictures of 64 x 64, with the official split; those of its images that the file holds.

flowers102_64_jpeg.npz holds JPEG files end to end: jpeg uint8[B], offset uint32[N+1] (image i is bytes offset[i] to
offset[i+1]), label uint8[N] (0..101), official_split uint8[N] (0 training, 1 validation, 2 test), image_id uint16[N].
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fqt_ref.datasets.byte_range import PICTURES
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed
from fqt_ref.datasets.split import split_parts
from fqt_ref.errors import FqtError, one_line

FLOWERS102 = FileSet(
    name="flowers102",
    forms=(("flowers102_64_jpeg.npz",),),
    folders=("flowers102", "flowers-102"),
    get_it="put flowers102_64_jpeg.npz (what it holds: fqt_ref/datasets/flowers102.py), made from the images of "
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/, into a folder",
)

_SIDE, _CLASSES, _TEST = 64, 102, 2
_MEND = "get the file again"


def load_flowers102(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return images [.,64,64,3] of 102 classes, scale 1/255, zero 0; official training and validation images are the training part.

    Raises FqtError: not found, Pillow not installed, damaged file, arrays of wrong types, shapes or lengths, a
    label or a split out of range, an empty part, an image that is no JPEG of 64 x 64 pixels.
    """
    (path,) = find_files(FLOWERS102, data_dir, download)
    label = read_typed(path, "label", np.uint8, (None,))
    y = checked_labels(label, len(label), _CLASSES, f"{path}: 'label'")
    split = checked_labels(read_typed(path, "official_split", np.uint8, (None,)), len(y), _TEST + 1, f"{path}: 'official_split'")
    numbers = read_typed(path, "image_id", np.uint16, (len(y),))
    offset = read_typed(path, "offset", np.uint32, (len(y) + 1,)).astype(np.int64)
    jpeg = read_typed(path, "jpeg", np.uint8, (None,))
    if offset[0] != 0 or offset[-1] != len(jpeg) or np.diff(offset).min() < 0:
        raise FqtError(f"{path}: 'offset' does not go up from 0 to the {len(jpeg)} bytes of 'jpeg'; {_MEND}")
    parts = split_parts(split == _TEST, str(path))
    train_x, test_x = (_decoded(path, jpeg, offset, numbers, part) for part in parts)
    return Dataset("flowers102", train_x, y[parts[0]], test_x, y[parts[1]], _CLASSES, *PICTURES, None, stated=False)


def _decoded(
    path: Path, jpeg: NDArray[np.uint8], offset: NDArray[np.int64], numbers: NDArray[np.uint16], part: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return images uint8[len(part),64,64,3]."""
    try:
        from PIL import Image
    except ImportError as error:
        raise FqtError(f"flowers102: its images are JPEG files, which Pillow reads ({error}); pip install pillow") from error
    images = np.empty((len(part), _SIDE, _SIDE, 3), np.uint8)
    for place, index in enumerate(part):
        content = jpeg[offset[index] : offset[index + 1]].tobytes()
        where = f"{path}: 'jpeg': image {numbers[index]} (sample {index})"
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                if image.size != (_SIDE, _SIDE):
                    raise FqtError(f"{where} is {image.width} x {image.height}, not {_SIDE} x {_SIDE}; {_MEND}")
                images[place] = np.asarray(image.convert("RGB"))
        except FqtError:
            raise
        except Exception as error:  # Pillow answers damage with exceptions of many types
            raise FqtError(f"{where} is damaged ({one_line(error)}); {_MEND}") from error
    return images
