# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: what every implementation must compute, bit for bit (SPEC.md 12). Written from the engine, checked by all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from fqt_ref import ARITHMETIC_VERSION
from fqt_ref.blas import one_blas_thread
from fqt_ref.errors import FqtError
from fqt_ref.files import make_folder
from fqt_ref.files import write as write_file
from fqt_ref.golden.format import VERSION, case_spans, file_bytes

MANIFEST = "manifest.json"
DEFAULT_DIR = Path(__file__).resolve().parents[2] / "golden"
FILES = 35  # that generate() makes beside the manifest


@one_blas_thread()
def generate(advance: Callable[[str], None] = lambda name: None) -> dict[str, bytes]:
    """All golden files by name, and the manifest. advance(name) is called as each is ready."""
    from fqt_ref.golden.model_errors import model_error_files
    from fqt_ref.golden.operators import operator_files
    from fqt_ref.golden.steps import step_files

    files: dict[str, bytes] = {}
    entries = {}
    for name, cases in {**operator_files(), **model_error_files(), **step_files()}.items():
        data = file_bytes(cases)
        files[f"{name}.fqg"] = data
        described = [
            {"name": c.name, "kind": c.kind, "inputs": [list(a.shape) for a in c.inputs], "expected": [list(a.shape) for a in c.expected]}
            for c in cases
        ]
        entries[f"{name}.fqg"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "cases": described}
        advance(name)
    manifest = {"arithmetic_version": ARITHMETIC_VERSION, "format_version": VERSION, "files": entries}
    # One case a line: small enough to read, and to see in a diff.
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).replace('{"expected"', '\n{"expected"') + "\n"
    files[MANIFEST] = text.encode()
    return files


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files, the manifest last; ones that are no longer made are removed. Raises FqtError."""
    make_folder(folder, "--golden-dir")
    for name in sorted(files, key=lambda name: name == MANIFEST):
        write_file(folder / name, files[name], "--golden-dir")
    try:
        for old in folder.glob("*.fqg"):
            if old.name not in files:
                old.unlink()
    except OSError as error:
        raise FqtError(f"cannot write golden vectors to {folder}: {error.strerror}; choose another folder with --golden-dir") from error


def check(folder: Path, files: dict[str, bytes]) -> int:
    """Compare a folder with freshly made files, byte for byte. Returns the bytes compared; raises FqtError at the first difference."""
    compared = 0
    for name, wanted in files.items():
        path = folder / name
        try:
            found = path.read_bytes()
        except OSError as error:
            raise FqtError(f"golden vector {path}: {error.strerror}; write it with 'fqt golden --golden-dir {folder}'") from error
        if found != wanted:
            raise FqtError(f"{describe_difference(path, found, wanted)}; restore it with 'git checkout {folder}' or 'fqt golden'")
        compared += len(found)
    return compared


def describe_difference(path: Path, found: bytes, wanted: bytes) -> str:
    """Where two versions of a golden file part."""
    at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
    case = next((f", case '{name}'" for name, first, end in case_spans(wanted) if first <= at < end), "")
    if at == min(len(found), len(wanted)):
        return f"golden vector {path}{case} has {len(found)} bytes instead of {len(wanted)}"
    return f"golden vector {path} differs first at byte {at}{case}: {found[at]:#04x} instead of {wanted[at]:#04x}"
