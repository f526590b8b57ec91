# SPDX-License-Identifier: Apache-2.0
"""The C library against naive.py, on this machine and on the emulated cores; its hazards: warnings, hostile files, preemption, symbols."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import handmade
import naive
import pytest

from fqt_ref import device
from fqt_ref.errors import FqtError

CORES = [name for name, target in device.TARGETS.items() if target.emulated]
HOSTS = [name for name, target in device.TARGETS.items() if not target.emulated]
BUILDS = [*((host, compiler) for host in HOSTS for compiler in ("gcc", "clang")), *((core, "gcc") for core in CORES)]
HAZARDS = Path(__file__).parent / "c" / "hazards.c"
CONFIGS = ("uint8", "mixed", "float32")
UNSUPPORTED = -11  # fqt/status.h
# All that the library may ask of its surroundings: copies, and the compiler's own arithmetic (ARM EABI run-time, libgcc).
ALLOWED_SYMBOLS = re.compile(r"mem(cpy|set|cmp|move)|__aeabi_\w+|__gnu_thumb1_case_\w+|__clzsi2|_GLOBAL_OFFSET_TABLE_")


def require(target, compiler="gcc"):
    """Skip where the tools are missing."""
    try:
        device.require(target, compiler)
    except FqtError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cases():
    return list(handmade.all_cases())


@pytest.fixture(scope="module")
def golden_file(cases, tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "handmade.fqg"
    path.write_bytes(naive.golden_file(cases))
    return path


@pytest.fixture(scope="module")
def hazards(tmp_path_factory):
    """The hazards program, sanitized, with a hook in every memcpy."""
    require("host")
    program = tmp_path_factory.mktemp("hazards") / "hazards"
    flags = ["-O1", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Dmemcpy=hooked_memcpy"]
    flags += [*device.SANITIZE_FLAGS, *device.OPTION_FLAGS]
    subprocess.run(["gcc", *flags, *device.include_flags(), *device.library_sources(), HAZARDS, "-o", program], check=True, timeout=300)
    return program


@pytest.fixture(params=CONFIGS)
def model_path(request, tmp_path):
    tensors, layers = handmade.small_network(random.Random(5), request.param)
    path = tmp_path / f"{request.param}.fqt"
    path.write_bytes(naive.write_model("hazard", tensors, layers))
    return path


@pytest.mark.parametrize(("target", "compiler"), BUILDS)
def test_compiles_without_warnings(target, compiler, tmp_path):
    require(target, compiler)
    found = device.TARGETS[target]
    command = [*device.build_command(found, compiler, optimize="-Os"), "-Werror", "-o", str(tmp_path / "replay.elf")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("target", "compiler"), BUILDS)
def test_equals_naive(target, compiler, golden_file, cases):
    require(target, compiler)
    result = device.run_replay(target, golden_file, compiler=compiler)
    assert result.equal, result.first
    assert result.cases == len(cases)
    assert result.networks == sum(kind_of(case) in (100, 101) for case in cases)
    assert result.values_compared > 200_000


@pytest.mark.parametrize("target", HOSTS)
def test_equals_naive_under_sanitizers(target, golden_file, cases):
    require(target)
    result = device.run_replay(target, golden_file, sanitize=True)
    assert result.equal, result.first
    assert result.cases == len(cases)


@pytest.mark.parametrize(("target", "optimize"), [("host", "-O0"), ("host", "-O3"), ("cortex-m0", "-Os"), ("cortex-m4", "-O3")])
def test_equals_naive_at_each_optimization(target, optimize, golden_file):
    require(target)
    result = device.run_replay(target, golden_file, optimize=optimize)
    assert result.equal, result.first


# ---- The replay itself: it would notice ----


def spoiled(case, array_from_end, element, width=4):
    """A case with the lowest bit of one expected value flipped."""
    n_arrays = int.from_bytes(case[8:12], "little")
    entry = 64 + 12 * (n_arrays - array_from_end)
    offset = int.from_bytes(case[entry + 8 : entry + 12], "little") + element * width
    return case[:offset] + bytes([case[offset] ^ 1]) + case[offset + 1 :]


def replay_bytes(tmp_path, golden, target="host", **options):
    path = tmp_path / "case.fqg"
    path.write_bytes(golden)
    return device.run_replay(target, path, **options)


def kind_of(case):
    return int.from_bytes(case[4:8], "little")


def test_replay_reports_a_wrong_value(cases, tmp_path):
    require("host")
    case = next(c for c in cases if kind_of(c) == 12)
    result = replay_bytes(tmp_path, naive.golden_file([cases[0], spoiled(case, 1, 1), cases[1]]))
    assert (result.cases, result.differences) == (3, 1)
    assert (result.details["kind"], result.details["array"], result.details["element"]) == (12, 7, 1)
    assert "conv2d_backward_weight_u8" in result.first
    assert result.details["expected"] ^ result.details["got"] == 1


def test_replay_reports_a_wrong_record_of_a_trace(cases, tmp_path):
    require("host")
    case = next(c for c in cases if kind_of(c) == 101)
    # The first record is the first layer's output; its header takes 12 bytes.
    result = replay_bytes(tmp_path, naive.golden_file([spoiled(case, 1, 12 + 7, width=1)]))
    assert (result.networks, result.differences) == (1, 1)
    assert (result.details["record_kind"], result.details["record_index"], result.details["element"]) == (1, 0, 7)


def test_replay_reports_a_missing_record(cases, tmp_path):
    require("host")
    case = next(c for c in cases if kind_of(c) == 101)
    result = replay_bytes(tmp_path, naive.golden_file([spoiled(case, 1, 4, width=1)]))  # the record's index
    assert result.differences >= 1
    assert result.details["element"] == device.WHOLE_RECORD


def test_replay_refuses_what_it_cannot_run(tmp_path):
    require("host")
    unknown = naive.golden_case(99, "unknown", ("i", [1]))
    short = naive.golden_case(10, "short", ("i", [1] * 11))
    huge = naive.golden_case(41, "fits", ("i", [0, 0]), ("f", [1.0]), ("f", []), ("B", []), ("b", []), ("f", [0.0]))
    result = replay_bytes(tmp_path, naive.golden_file([unknown, short, huge]))
    assert (result.cases, result.malformed, result.equal) == (1, 2, False)
    assert "'unknown' could not be used" in result.first


def test_replay_reports_too_little_memory(tmp_path):
    require("cortex-m0")
    n = device.WORK_BYTES + 8
    case = naive.golden_case(40, "large", ("i", [0]), ("f", [1.0]), ("B", bytes(n)), ("f", []))
    result = replay_bytes(tmp_path, naive.golden_file([case]), "cortex-m0")
    assert (result.cases, result.no_memory, result.equal) == (0, 1, False)


def test_replay_refuses_damaged_files(golden_file, tmp_path):
    require("host")
    data = golden_file.read_bytes()
    for damaged in (b"", data[:31], data[:-1], data[:1000] + b"\0" + data[1001:], b"FQG2" + data[4:]):
        with pytest.raises(FqtError, match="not a golden file"):
            replay_bytes(tmp_path, damaged, sanitize=True)


def test_device_errors_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(FqtError, match="choose one of host"):
        device.require("cortex-m99")
    with pytest.raises(FqtError, match="sanitizers do not run"):
        device.build_command(device.TARGETS["cortex-m0"], sanitize=True)
    with pytest.raises(FqtError, match="fqt golden"):
        require("host")
        device.run_replay("host", tmp_path / "none.fqg")
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(FqtError, match="apt-get install gcc-arm-none-eabi"):
        device.require("cortex-m4")


def test_builds_once(tmp_path):
    require("host")
    first = device.build_replay("host", tmp_path)
    stamp = first.stat().st_mtime_ns
    assert device.build_replay("host", tmp_path) == first
    assert first.stat().st_mtime_ns == stamp


# ---- Hazards ----


def run_hazards(program, what, path):
    result = subprocess.run([program, what, path], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_hazard_hostile_model_files(hazards, model_path):
    """Every truncation and every byte flipped, with and without a right checksum: an error, or a model that runs; never a crash."""
    answers = run_hazards(hazards, "files", model_path)
    assert int(re.search(r"format (\d+)", answers)[1]) > 1000


def test_hazard_inference_preempts_commit(hazards, model_path):
    """At every byte of a commit, preempting inference sees the whole old or the whole new version, and training ends the same."""
    assert run_hazards(hazards, "commit", model_path).count("old version seen") == 2


def test_hazard_misuse(hazards, model_path):
    run_hazards(hazards, "errors", model_path)


@pytest.mark.parametrize(("left_out", "configs"), [("OP_MAX_POOL2D", CONFIGS), ("FLOAT32", ("mixed", "float32")), ("OP_ADD", ())])
def test_hazard_operator_left_out(left_out, configs, model_path, tmp_path):
    """A build without an operator, or float32, refuses the models that need it."""
    require("host")
    options = re.findall(r"^config FQT_(\w+)", (device.APP / "lib/fqt/Kconfig").read_text(), re.MULTILINE)
    assert left_out in options
    defines = [f"-DCONFIG_FQT_{option}" for option in options if option != left_out]
    flags = ["-O1", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Dmemcpy=hooked_memcpy", "-DCONFIG_FQT", *defines]
    program = tmp_path / "partial"
    subprocess.run(["gcc", *flags, *device.include_flags(), *device.library_sources(), HAZARDS, "-o", program], check=True, timeout=300)
    expected = UNSUPPORTED if model_path.stem in configs else 0
    assert int(run_hazards(program, "open", model_path)) == expected


def test_hazard_overflow():
    """SPEC.md 9's bounds keep every sum within what the kernels' 32 bits hold."""
    assert 24_576 * 255 * 255 + 2**28 <= 2**31 - 1 - 2**28
    assert 57_344 * 127 * 255 <= 2**31 - 1 - 2**28
    assert 65_536 * 127 * 255 < 2**31


@pytest.mark.parametrize(("target", "compiler"), BUILDS)
def test_needs_no_libc_and_has_no_state(target, compiler, tmp_path):
    """No malloc, printf or libm; no writable data: all memory is the caller's."""
    require(target, compiler)
    found = device.TARGETS[target]
    for source in device.library_sources():
        output = tmp_path / f"{source.stem}.o"
        command = [device.compiler_of(found, compiler), "-O2", *device.COMMON_FLAGS, *found.cpu_flags, *device.include_flags(), "-c"]
        specs = ["--specs=picolibc.specs"] if found.emulated else ["-fno-pie"]  # constant tables of pointers are read only then
        subprocess.run([*command, *specs, source, "-o", output], check=True, timeout=300)
    nm = "arm-none-eabi-nm" if found.emulated else "nm"
    listing = subprocess.run([nm, *tmp_path.glob("*.o")], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines() if line and not line.endswith(":")]
    wanted = {name for kind, name in symbols if kind == "U"}
    defined = {name for kind, name in symbols if kind in "TtRr"}
    strange = {name for name in wanted - defined if not ALLOWED_SYMBOLS.fullmatch(name)}
    assert not strange
    assert not [name for kind, name in symbols if kind in "BbDdCc"]
    assert all(name.startswith("fqt_") for kind, name in symbols if kind == "T")
