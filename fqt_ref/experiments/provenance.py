# SPDX-License-Identifier: Apache-2.0
"""What a result has to say of where it comes from: the commit, the versions of what computes, the machine."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fqt_ref import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "torch", "pillow")


def git(*arguments: str) -> str | None:
    """What git answers in this tree, None if it cannot."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def commit() -> str:
    """The tree's commit, with "+changes" if fqt_ref or zephyr_app differ from it; the version where there is no git."""
    head = git("rev-parse", "--short=12", "HEAD")
    if not head:
        return f"fqt {__version__}"
    return head + ("+changes" if git("status", "--porcelain", "--", "fqt_ref", "zephyr_app") else "")


@cache
def versions() -> dict[str, str]:
    """Python's and the packages' that are installed."""
    found = {"python": platform.python_version(), "fqt": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def machine() -> str:
    """Processor, cores, operating system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
