# SPDX-License-Identifier: Apache-2.0
"""Finds a Zephyr tree and its tools: by ZEPHYR_BASE, by the west workspace around the repository, or by its CMake package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from fqt_ref.errors import FqtError

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "zephyr_app"
SERIES = "3.7"


def version_of(base: Path) -> str | None:
    """The version of a Zephyr tree, for example 3.7.1; None if there is no tree."""
    try:
        lines = (base / "VERSION").read_text().splitlines()
    except OSError:
        return None
    fields = dict(part.split("=", 1) for part in lines if "=" in part)
    numbers = {key.strip(): value.strip() for key, value in fields.items()}
    if "VERSION_MAJOR" not in numbers or not (base / "scripts" / "twister").exists():
        return None
    return ".".join(numbers.get(key, "0") for key in ("VERSION_MAJOR", "VERSION_MINOR", "PATCHLEVEL"))


def candidates() -> list[tuple[str, Path]]:
    """Where a Zephyr tree may be, in order of preference."""
    found = []
    if os.environ.get("ZEPHYR_BASE"):
        found.append(("ZEPHYR_BASE", Path(os.environ["ZEPHYR_BASE"])))
    found += [(f"the west workspace {parent}", parent / "zephyr") for parent in (ROOT, *ROOT.parents) if (parent / ".west").is_dir()]
    registry = Path.home() / ".cmake" / "packages" / "Zephyr"
    for entry in sorted(registry.glob("*")) if registry.is_dir() else []:
        # The entry names <base>/share/zephyr-package/cmake.
        found.append(("the CMake package registry", Path(entry.read_text().strip()).parents[2]))
    return found


def find_zephyr() -> Path:
    """The Zephyr tree to use. Raises FqtError saying where one was sought."""
    for _, base in candidates():
        version = version_of(base)
        if version is not None and version.startswith(SERIES):
            return base
    sought = ", ".join(f"{how} ({base})" for how, base in candidates()) or "ZEPHYR_BASE, a west workspace and CMake's package registry"
    raise FqtError(f"no Zephyr {SERIES} found in {sought}: west init -l zephyr_app && west update && west zephyr-export")


def python_for(base: Path) -> str:
    """A Python that can run Zephyr's scripts: this one, or that of the workspace's .venv."""
    try:
        import elftools  # noqa: F401
        import pykwalify  # noqa: F401
        import yaml  # noqa: F401

        return sys.executable
    except ImportError:
        workspace = base.parent / ".venv" / "bin" / "python3"
        if workspace.exists():
            return str(workspace)
    raise FqtError("Zephyr's Python packages are missing: pip install 'fqt[zephyr]'")


def twister_python(base: Path) -> str:
    """A Python that can run twister, too. Raises FqtError with the remedy: newer setuptools lack what it imports."""
    python = python_for(base)
    done = subprocess.run([python, "-W", "ignore", "-c", "import pkg_resources"], capture_output=True, check=False)
    if done.returncode != 0:
        raise FqtError(f"twister of Zephyr {SERIES} imports pkg_resources, which setuptools 81 and later lack: "
                       f"{python} -m pip install 'setuptools<81'")  # fmt: skip
    return python


def environment(base: Path) -> dict[str, str]:
    """Environment for west, cmake and twister; a toolchain that the user chose is kept, Debian's is the default."""
    env = dict(os.environ, ZEPHYR_BASE=str(base))
    env["PATH"] = os.pathsep.join([str(Path(python_for(base)).parent), env.get("PATH", "")])
    if "ZEPHYR_TOOLCHAIN_VARIANT" not in env:
        if shutil.which("arm-none-eabi-gcc") is None:
            raise FqtError("no ARM compiler: apt-get install gcc-arm-none-eabi picolibc-arm-none-eabi")
        env["ZEPHYR_TOOLCHAIN_VARIANT"] = "gnuarmemb"
        env["GNUARMEMB_TOOLCHAIN_PATH"] = str(Path(shutil.which("arm-none-eabi-gcc") or "/usr/bin/x").resolve().parents[1])
        env["ZEPHYR_TOOLCHAIN_SUPPORTS_THREAD_LOCAL_STORAGE"] = "y"
    # What was compiled once is found again in any clone and build folder: twister builds Zephyr forty times.
    env.setdefault("CCACHE_BASEDIR", str(ROOT))
    env.setdefault("CCACHE_NOHASHDIR", "1")
    return env


def cmake_options(env: dict[str, str]) -> list[str]:
    """CMake cache entries that Debian's toolchain wants."""
    return ["TOOLCHAIN_HAS_PICOLIBC=y"] if env.get("ZEPHYR_TOOLCHAIN_VARIANT") == "gnuarmemb" else []
