# SPDX-License-Identifier: Apache-2.0
"""A training run on disk after every epoch, so that Ctrl-C or a power cut costs one epoch at most. Import late: needs the extra torch."""

import io
from pathlib import Path
from typing import Any

import torch

from fqt_ref import files
from fqt_ref.errors import FqtError


def save(path: Path, run: dict[str, Any]) -> None:
    """Write a run (numbers, text, lists, dicts, tensors) whole or not at all. Raises FqtError if the file cannot be written."""
    made = io.BytesIO()
    torch.save(run, made)
    files.make_folder(path.parent, "--checkpoint")
    files.write(path, made.getvalue(), "--checkpoint")


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The run of a checkpoint, None if there is no such file; its "identity" has to be the given one.

    Raises FqtError: unreadable file, or a run of other settings, network or data.
    """
    if not path.exists():
        return None
    try:
        run = torch.load(path, weights_only=True)
        found = dict(run["identity"])
    except Exception as error:  # PyTorch answers damage with exceptions of many types
        raise FqtError(f"{path}: not a checkpoint that can be read; delete it to start anew") from error
    differing = [key for key in identity if found.get(key) != identity[key]]
    if differing:
        key = differing[0]
        raise FqtError(
            f"{path}: a run with {key} {found.get(key)!r}, not {identity[key]!r}; use the same settings, or delete it to start anew"
        )
    return run
