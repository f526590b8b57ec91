# SPDX-License-Identifier: Apache-2.0
"""The README's examples run, and its promises about files hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The README's one example in a language."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    return max(found, key=len)


def test_python_example_learns():
    done = subprocess.run([sys.executable, "-c", block("python")], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    accuracies = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(accuracies) == 3
    assert accuracies[-1] > 0.9


def test_c_example_is_the_tested_program():
    assert block("c").strip() == (ROOT / "zephyr_app" / "tests" / "smallest" / "main.c").read_text().strip()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_source_file_names_its_licence():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: the list of files is unknown")
    suffixes = {".py", ".c", ".h", ".sh", ".yml", ".yaml", ".toml", ".cmake", ".dts", ".conf"}
    files = [ROOT / name for name in listing.stdout.split() if Path(name).suffix in suffixes]
    assert len(files) > 100
    for path in files:
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text()[:300], path
