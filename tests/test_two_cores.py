# SPDX-License-Identifier: Apache-2.0
"""Inference on another core than training: two threads under ThreadSanitizer. With the caller's lock no byte is touched by both at once."""

import random
import subprocess
from pathlib import Path

import handmade
import naive
import pytest

from fqt_ref import device
from fqt_ref.errors import FqtError

SOURCE = Path(__file__).parent / "c" / "two_cores.c"
RACE = 66  # ThreadSanitizer's exit code


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The command that runs the program. ThreadSanitizer may need addresses that are not random."""
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("two_cores")
    flags = [
        "-O1",
        "-g",
        "-std=c11",
        "-D_DEFAULT_SOURCE",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pthread",
        "-fsanitize=thread",
    ]
    sources = [*device.library_sources(), SOURCE]
    subprocess.run(["gcc", *flags, *device.include_flags(), *sources, "-o", folder / "two_cores"], check=True, timeout=300)
    for command in ([folder / "two_cores"], ["setarch", "-R", folder / "two_cores"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if "argc == 3" in done.stderr:
            return command
    pytest.skip(f"ThreadSanitizer does not run on this machine: {done.stderr[-200:]}")


def model_of(config, folder):
    tensors, layers = handmade.small_network(random.Random(5), config)
    path = folder / "model.fqt"
    path.write_bytes(naive.write_model("two cores", tensors, layers))
    return path


@pytest.mark.parametrize("config", ["uint8", "mixed", "float32"])
def test_a_lock_keeps_two_cores_apart(config, program, tmp_path):
    done = subprocess.run([*program, model_of(config, tmp_path), "locked"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 40


def test_without_a_lock_the_race_is_seen(program, tmp_path):
    done = subprocess.run([*program, model_of("uint8", tmp_path), "alone"], capture_output=True, text=True, timeout=300, check=False)
    assert "data race" in done.stderr
    assert done.returncode in (RACE, 1)  # 1: a torn version was seen, too
