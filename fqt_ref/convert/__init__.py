# SPDX-License-Identifier: Apache-2.0
"""Trained networks from elsewhere, and back: `load("model.tflite")` gives a Graph for build.py and a report of what was done."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.assemble import Imported, whole
from fqt_ref.convert.limits import DAMAGE
from fqt_ref.convert.remedies import refusal_of
from fqt_ref.errors import FqtError, one_line

__all__ = ["FORMATS", "Imported", "load"]


def _tflite(path: Path, example: Any) -> Imported:
    from fqt_ref.convert.tflite import load_tflite

    return load_tflite(path)


def _onnx(path: Path, example: Any) -> Imported:
    from fqt_ref.convert.onnx import load_onnx

    return load_onnx(path)


def _torch(path: Path, example: Any) -> Imported:
    from fqt_ref.convert.pytorch import load_torch

    return load_torch(path, example)


def _mcunet(path: Path, example: Any) -> Imported:
    from fqt_ref.convert.mcunet import load_mcunet

    return load_mcunet(path)


FORMATS: dict[str, Callable[[Path, Any], Imported]] = {
    ".tflite": _tflite,
    ".onnx": _onnx,
    ".pt2": _torch,
    ".pt": _torch,
    ".json": _mcunet,
}


def load(path: str | Path, input_shape: tuple[int, ...] | None = None) -> Imported:
    """Import a network by its file's ending (one of FORMATS).

    input_shape: (c, h, w) or (n,) of one sample; only a TorchScript file needs it, which does not say it itself.
    Raises FqtError: another ending, no such file, a damaged file, anything that this project's operators cannot do.
    """
    path = Path(path)
    importer = FORMATS.get(path.suffix.lower())
    if importer is None or path.is_dir():
        raise refusal_of(path, FORMATS)
    if not path.is_file():
        raise FqtError(f"{path}: no such file; name a model file that exists")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return whole(importer(path, input_shape), str(path))
    except FqtError:
        raise
    except DAMAGE as error:
        raise FqtError(f"{path} is damaged, or of a kind never met ({one_line(repr(error), 100)}); export it again") from error
