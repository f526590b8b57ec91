# SPDX-License-Identifier: Apache-2.0
"""scripts/fuzz.py finds nothing in half a minute, and finds the fault that the library once had."""

import json
import shutil
import subprocess
import sys

import pytest

from fqt_ref import device
from fqt_ref.golden.model_errors import named_cases

SECONDS = 30  # of all targets; longer by hand
SCRIPT = device.ROOT / "scripts" / "fuzz.py"
CLANG = shutil.which("clang")


def fuzzer_is_installed() -> bool:
    """Whether clang has libFuzzer."""
    if CLANG is None:
        return False
    command = [CLANG, "-w", "-fsanitize=fuzzer", "-x", "c", "-", "-o", "/dev/null"]
    source = "int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return 0; }"
    return subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not fuzzer_is_installed(), reason="libFuzzer is missing: apt-get install clang libclang-rt-14-dev")


def test_hazard_hostile_inputs(tmp_path):
    """Model files on plain and blocked kernels, files of samples, the stream: nothing crashes, and much was tried."""
    command = [sys.executable, SCRIPT, "--seconds", str(SECONDS), "--crashes", tmp_path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode, report["crashes"]) == (0, 0), report
    for name, least in (("model", 300), ("model-blocked", 300), ("application", 3000)):
        assert report["targets"][name]["executions"] > least
    # Both kinds of kernels are reached, far beyond the reader.
    assert min(report["targets"][name]["edges"] for name in ("model", "model-blocked")) > 1200
    assert report["edges"] == sum(target["edges"] for target in report["targets"].values())


def test_the_fuzzer_would_notice(tmp_path):
    """A reader without its check of tensor 0 is caught on the first file that says so."""
    copy = tmp_path / "copy"
    for folder in ("zephyr_app/include", "zephyr_app/lib", "tests/fuzz", "tests/c"):
        shutil.copytree(device.ROOT / folder, copy / folder)
    reader = copy / "zephyr_app" / "lib" / "fqt" / "model_file.c"
    text = reader.read_text()
    assert text.count("t > 0 && fqt_tensor_carries_error") == 1
    reader.write_text(text.replace("t > 0 && fqt_tensor_carries_error", "fqt_tensor_carries_error"))
    program = tmp_path / "fuzz"
    library = sorted((copy / "zephyr_app" / "lib" / "fqt").rglob("*.c"))
    flags = ["-O0", "-w", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", f"-I{copy / 'zephyr_app' / 'include'}"]
    subprocess.run([CLANG, *flags, *(copy / "tests" / "fuzz").glob("model_*.c"), *library, "-o", program], check=True, timeout=300)
    cases = {name: data for name, _, data in named_cases("model_errors")}
    for name, crashes in (("good: output that adapts", False), ("input that adapts and has an error", True)):
        file = tmp_path / "case"
        file.write_bytes(cases[name])
        done = subprocess.run([program, file], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"}, timeout=100)
        assert (done.returncode != 0) == crashes, done.stderr[-2000:]
