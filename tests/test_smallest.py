# SPDX-License-Identifier: Apache-2.0
"""The smallest program that uses the C library, which the README shows, on the host. Twister runs it on emulated boards."""

import re
import subprocess
from pathlib import Path

APP = Path(__file__).parents[1] / "zephyr_app"


def embedded(symbol: str, file: Path, folder: Path) -> Path:
    """An assembler file with a file's bytes, as fqt_embed() of cmake/fqt.cmake makes it."""
    text = (APP / "cmake/embed.S.in").read_text()
    source = folder / f"{symbol}.S"
    source.write_text(text.replace("@FQT_SYMBOL@", symbol).replace("@FQT_FILE@", str(file)))
    return source


def test_smallest_program_learns_a_sample(tmp_path):
    program = tmp_path / "smallest"
    sources = [APP / "tests/smallest/main.c", embedded("model_file", APP / "data/model.fqt", tmp_path), *(APP / "lib/fqt").rglob("*.c")]
    flags = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wl,-z,noexecstack", "-I", str(APP / "include")]
    subprocess.run(["cc", *flags, "-o", str(program), *map(str, sources)], check=True)
    output = subprocess.run([program], capture_output=True, text=True, check=True, timeout=10).stdout
    steps = [tuple(map(int, step)) for step in re.findall(r"class (\d), loss (\d+)/1000\n", output)]
    assert len(steps) == 10, output
    assert steps[-1][0] == 3
    assert steps[-1][1] < steps[0][1] // 4
