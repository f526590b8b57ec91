# SPDX-License-Identifier: Apache-2.0
"""A torch.nn.Module, an exported program (.pt2) or a TorchScript file (.pt) to a Graph, by way of ONNX."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fqt_ref.convert.assemble import Imported, whole
from fqt_ref.convert.onnx import from_model
from fqt_ref.convert.onnx_file import require_onnx
from fqt_ref.convert.pt2_file import SAVE_AGAIN, check_script, safe_program
from fqt_ref.errors import FqtError, one_line

MOST = 160  # characters of PyTorch's own messages


def require_torch() -> Any:
    """The package. Raises FqtError when the extra is not installed."""
    try:
        import torch
    except ImportError as error:
        raise FqtError("PyTorch models need torch: pip install 'fqt[torch]'") from error
    require_onnx()
    return torch


def from_module(module: Any, example: Any, name: str = "") -> Imported:
    """Import a torch.nn.Module. It is exported in evaluation mode and left in the mode that it was in.

    example: a tensor as the module takes it, float32[1, c, h, w] or [1, n]; its values do not matter, its shape does.
    name: of the Graph, the module's class if empty. Raises FqtError if PyTorch cannot export it or operators cannot be imported.
    """
    torch = require_torch()
    if not isinstance(module, torch.nn.Module):
        raise FqtError(f"cannot import a {type(module).__name__}: a torch.nn.Module is needed")
    name = name or type(module).__name__
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        return whole(from_model(exported(module, (example,), name), name), name)
    finally:
        for part, training in modes:
            part.training = training


def load_torch(path: Path, input_shape: tuple[int, ...] | None = None) -> Imported:
    """Import what torch.export.save (.pt2) or torch.jit.save (.pt) wrote; input_shape: of one sample, which TorchScript does not say.

    Raises FqtError: neither of these (a pickled module or a state dict holds no network), or as from_module.
    """
    torch = require_torch()
    if path.suffix.lower() == ".pt2":
        safe = safe_program(path)
        try:
            with quiet():
                program = torch.export.load(safe)
        except Exception as error:
            raise FqtError(f"{path} is not an exported program: {one_line(error, MOST)}; {SAVE_AGAIN}") from error
        return from_model(exported(program, None, str(path)), path.stem, str(path))
    check_script(path)
    try:
        with quiet():
            script = torch.jit.load(path, map_location="cpu").eval()
    except Exception as error:
        hint = "write it with torch.jit.save(torch.jit.trace(model, example)), or better with torch.export.save as .pt2"
        raise FqtError(f"{path} is not a TorchScript file (a state dict or a pickled module cannot be imported); {hint}") from error
    if input_shape is None:
        raise FqtError(f"{path} does not say what samples look like; add their shape, for example --input-shape 1,28,28")
    return from_model(exported(script, (torch.zeros(1, *input_shape),), str(path)), path.stem, str(path))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's own warnings and messages: what goes wrong is told in one line."""
    noise, logging_was = io.StringIO(), logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)
        with warnings.catch_warnings(), contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging_was)


def exported(model: Any, arguments: Any, where: str) -> Any:
    """The onnx.ModelProto of a module, an exported program or a TorchScript module. Raises FqtError with PyTorch's reason."""
    torch, onnx = require_torch(), require_onnx()
    script = isinstance(model, torch.jit.ScriptModule)
    if not script:
        try:
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise FqtError("PyTorch's exporter needs onnxscript: pip install 'fqt[torch]'") from error
    try:
        with quiet():
            if script:
                buffer = io.BytesIO()
                torch.onnx.export(model, arguments, buffer, dynamo=False)
                return onnx.load_model_from_string(buffer.getvalue())
            return torch.onnx.export(model, arguments, dynamo=True, verbose=False).model_proto
    except Exception as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__  # type: ignore[assignment]
        raise FqtError(f"{where}: PyTorch cannot export it: {one_line(cause, MOST)}; make the module exportable by torch.export") from error
