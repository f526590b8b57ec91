# SPDX-License-Identifier: Apache-2.0
"""A compiled kernel goes stale with every file that is compiled into it, and with no other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
