# SPDX-License-Identifier: Apache-2.0
"""scripts/fuzz.py finds nothing in half a minute, and would find a fault that the library once had; networks at the limits give the
same bits on all kernels."""

import json
import shutil
import subprocess
import sys

import pytest

from fqt_ref import device
from fqt_ref.errors import FqtError
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


needs_fuzzer = pytest.mark.skipif(not fuzzer_is_installed(), reason="libFuzzer is missing: apt-get install clang libclang-rt-14-dev")


@needs_fuzzer
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


@needs_fuzzer
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


FIRST, LAST = 0, 300  # networks
SOURCES = ("draft_trace", "model_draft", "model_session")


def traced(target: str, folder) -> list[str]:
    """A line on each network that is drawn at the limits and small enough for all targets: its number, and a checksum of its training."""
    device.require(target)
    found, program = device.TARGETS[target], folder / target
    sources = [*device.library_sources(), *(device.ROOT / "tests" / "fuzz" / f"{name}.c" for name in SOURCES)]
    sizes = ["-DMOST_MEMORY=(1u<<19)", "-DMOST_WORK=(1u<<16)", f"-DFIRST={FIRST}u", f"-DLAST={LAST}u"]
    flags = ["-O2", *device.COMMON_FLAGS, "-Wno-conversion", "-Wno-sign-conversion", *device.OPTION_FLAGS, *found.cpu_flags]
    command = [device.compiler_of(found), *flags, *device.link_flags(found), *sizes, *device.include_flags(), *sources, "-o", program]
    subprocess.run(command, check=True, timeout=300)
    run = [program] if not found.emulated else [*device.run_command(found, program, program)[:-2]]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)
    return (done.stdout + done.stderr).splitlines()  # QEMU prints on its standard error


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return traced("host", tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("target", ["host-blocked", "cortex-m0", "cortex-m4"])
def test_networks_at_the_limits_train_the_same_on_all_kernels(target, plain, tmp_path):
    try:
        assert traced(target, tmp_path) == plain
    except FqtError as error:
        pytest.skip(str(error))
    assert len(set(plain)) == len(plain) > (LAST - FIRST) / 2
