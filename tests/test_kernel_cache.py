# SPDX-License-Identifier: Apache-2.0
"""A compiled kernel goes stale with every file that is compiled into it, and with no other; a damaged one is compiled anew."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from fqt_ref.cache_files import DIGEST_BYTES, sealed
from fqt_ref.jit import njit, when_compiling
from fqt_ref.kernel_cache import ROOT, imported_files

CALLER = """
from fqt_ref.jit import is_compiled, njit
from fqt_ref.sparse_update import (
    update_rate,
)

@njit
def doubled_rate(loss, loss_max, least, greatest):
    return 2 * update_rate(loss, loss_max, least, greatest)

if __name__ == "__main__":
    from fqt_ref import caller

    print(is_compiled(caller.doubled_rate), caller.doubled_rate(1, 2, 1024, 4096))
"""


def call(folder: Path) -> str:
    """What the caller prints in a copy of the package: whether it is compiled already, and its result."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")} | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "fqt_ref.caller"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_callee_in_another_file_that_changes_is_compiled_anew(tmp_path):
    package = tmp_path / "fqt_ref"
    shutil.copytree(ROOT / "fqt_ref", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "caller.py").write_text(CALLER)
    assert call(tmp_path) == "False 5120"
    assert call(tmp_path) == "True 5120"
    (package / "network.py").write_text((package / "network.py").read_text() + "\n# nothing that the caller imports\n")
    assert call(tmp_path) == "True 5120"
    callee = package / "sparse_update.py"
    callee.write_text(callee.read_text().replace("return min(lambda_min +", "return min(1 + lambda_min +"))
    assert call(tmp_path) == "False 5122"


def test_imports_are_found_in_lines_and_brackets():
    files = imported_files(ROOT / "fqt_ref" / "train_step.py")
    names = {str(path.relative_to(ROOT / "fqt_ref")) for path in files}
    assert {"arithmetic.py", "operators/conv2d.py", "optimizers/names.py", "ranges.py"} <= names
    assert "train_step.py" not in names and "cli.py" not in names


KERNEL = """
def tripled(x):
    return 3 * x
"""
# Damage to a file of the cache: what was written -> what is found.
DAMAGE = {
    "empty, as after a power cut": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "cut off in the digest": lambda data: data[:20],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"#!/bin/sh\n" * 9,
    "a flipped bit in front": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a flipped bit in the middle": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :],
    "a flipped bit at the end": lambda data: data[:-1] + bytes([data[-1] ^ 128]),
    "longer": lambda data: data + b"\0",
    "as Numba writes it, without a digest": lambda data: data[DIGEST_BYTES:],
    "a pickle that must not be read": lambda data: b"cbuiltins\nexit\n(tR." * 9,
    "right, of something else": lambda data: sealed(pickle.dumps(["of", "something", "else"])),
    "right, of nothing": lambda data: sealed(b""),
}


@pytest.fixture
def tripled(tmp_path, monkeypatch):
    """A function that makes the kernel anew, as a new process would; its cache is in the folder."""
    source = tmp_path / "source" / "kernel.py"
    source.parent.mkdir()
    source.write_text(KERNEL)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    names: dict = {"__name__": "kernel"}
    exec(compile(KERNEL, str(source), "exec"), names)
    return lambda: njit(names["tripled"])


def hits(kernel) -> int:
    """Call a kernel; whether it came from the cache."""
    assert kernel(14) == 42
    return sum(kernel.stats.cache_hits.values())


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_compiled_anew_and_whole_again(tripled, tmp_path, suffix, damage):
    assert [hits(tripled()), hits(tripled())] == [0, 1]
    (path,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert [hits(tripled()), hits(tripled())] == [0, 1]


def test_a_kernel_under_the_name_of_another_is_not_run(tripled, tmp_path):
    """Two processes that compile two signatures at once give both the same name."""
    kernel = tripled()
    assert kernel(14) == 42 and kernel(0.5) == 1.5
    first, second = sorted((tmp_path / "cache").rglob("*.nbc"))
    first.write_bytes(second.read_bytes())
    assert hits(tripled()) == 0


def test_a_cache_that_cannot_be_written_is_done_without(tripled, tmp_path):
    (tmp_path / "cache").mkdir()
    folder = tripled()._cache.cache_path
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).write_bytes(b"a file where the folder should be")
    assert hits(tripled()) == 0


def test_what_is_compiled_is_said_once_and_only_then(tripled):
    said: list[str] = []
    when_compiling(lambda: said.append("compiling"))
    assert (hits(tripled()), hits(tripled()), said) == (0, 1, ["compiling"])
    when_compiling(lambda: said.append("again"))
    assert (hits(tripled()), said) == (1, ["compiling"])
    when_compiling(lambda: None)
