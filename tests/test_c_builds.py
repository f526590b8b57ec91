# SPDX-License-Identifier: Apache-2.0
"""The C library as others build it, on this machine and for emulated cores: at any -O, with -flto, from C++, by README's line.

zephyr_app/tests/smallest is the program; nothing is asked of the compiler but what README says, so what is off in fqt/config.h is off.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fqt_ref import device
from fqt_ref.errors import FqtError

ROOT = Path(__file__).resolve().parents[1]
MAIN, MAIN_CPP = device.APP / "tests/smallest/main.c", ROOT / "tests/cpp/smallest.cpp"
FLAGS = ["-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{device.APP / 'include'}"]
HEADERS = sorted(path.name for path in (device.APP / "include/fqt").glob("*.h"))
STANDARDS = ["c++11", "c++14", "c++17", "c++20", "c++2b"]
BUILDS = [
    ("host", "gcc", "-O0"),
    ("host", "gcc", "-Os"),
    ("host", "gcc", "-O3"),
    ("host", "gcc", "-O2 -flto=auto"),
    ("host", "clang", "-O0"),
    ("host", "clang", "-O2 -flto"),
    ("cortex-m0", "gcc", "-O0"),
    ("cortex-m0", "gcc", "-Os -flto=auto"),
    ("cortex-m4", "gcc", "-O0"),
    ("cortex-m4", "gcc", "-O3 -flto=auto"),
]


def require(target, compiler="gcc"):
    """Skip where the tools are missing."""
    try:
        device.require(target, compiler)
    except FqtError as error:
        pytest.skip(str(error))


def require_tool(tool):
    """The same for a compiler."""
    try:
        return device.require_tool(tool)
    except FqtError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """An assembler file with the model's bytes, as fqt_embed() of cmake/fqt.cmake makes it."""
    source = tmp_path_factory.mktemp("embedded") / "model_file.S"
    text = (device.APP / "cmake/embed.S.in").read_text()
    source.write_text(text.replace("@FQT_SYMBOL@", "model_file").replace("@FQT_FILE@", str(device.APP / "data/model.fqt")))
    return source


def compile_with(command, folder):
    """Run a compiler."""
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def output_of(target, program):
    """What a program prints, on its target."""
    command = [program] if not target.emulated else device.run_command(target, program, program)
    done = device.run([*map(str, command)], "running the smallest program", 60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr  # semihosting writes to standard error


@pytest.fixture(scope="module")
def expected(embedded):
    """The output of the smallest program, whatever built it."""
    require("host")
    program = embedded.with_name("expected")
    sources = [MAIN, embedded, *device.library_sources()]
    compile_with(["gcc", "-std=c11", "-O1", *FLAGS, *sources, "-Wl,-z,noexecstack", "-o", program], embedded.parent)
    output = output_of(device.TARGETS["host"], program)
    steps = [tuple(map(int, step)) for step in re.findall(r"class (\d), loss (\d+)/1000\n", output)]
    assert len(steps) == 10, output
    assert steps[-1][0] == 3
    assert steps[-1][1] < steps[0][1] // 4
    return output


@pytest.mark.parametrize(("name", "compiler", "optimize"), BUILDS)
def test_smallest_program_at_each_optimization(name, compiler, optimize, embedded, expected, tmp_path):
    require(name, compiler)
    target = device.TARGETS[name]
    machine = [*target.cpu_flags, *device.link_flags(target)] if target.emulated else ["-Wl,-z,noexecstack"]
    sources = [MAIN, embedded, *device.library_sources()]
    command = [device.compiler_of(target, compiler), "-std=c11", *optimize.split(), *FLAGS, *machine, *sources]
    compile_with([*command, "-o", tmp_path / "smallest"], tmp_path)
    assert output_of(target, tmp_path / "smallest") == expected


@pytest.mark.parametrize("cxx", ["g++", "clang++", "arm-none-eabi-g++"])
def test_every_header_is_cpp(cxx, tmp_path):
    require_tool(cxx)
    for header in HEADERS:
        (tmp_path / f"{header}.cpp").write_text(f"#include <fqt/{header}>\n")
    for standard in STANDARDS:
        strict = ["-Wpedantic", "-Wconversion", "-Wshadow"]
        compile_with([cxx, f"-std={standard}", *FLAGS, *strict, "-fsyntax-only", *tmp_path.glob("*.cpp"), MAIN_CPP], tmp_path)


def test_readmes_line_makes_a_library_for_c_and_cpp(embedded, expected, tmp_path):
    require("host")
    (line,) = re.findall(r"^gcc .*libfqt.a.*$", (ROOT / "README.md").read_text(), re.M)
    (tmp_path / "zephyr_app").symlink_to(device.APP)
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=300)
    for compiler, standard, source in (("gcc", "c11", MAIN), *((require_tool("g++"), name, MAIN_CPP) for name in STANDARDS)):
        linked = [embedded, "libfqt.a", "-Wl,-z,noexecstack"]
        compile_with([compiler, f"-std={standard}", *FLAGS, source, *linked, "-o", "smallest"], tmp_path)
        assert output_of(device.TARGETS["host"], tmp_path / "smallest") == expected, standard


def test_cpp_program_on_an_emulated_core(embedded, expected, tmp_path):
    """Linked by arm-none-eabi-gcc: a program without exceptions needs no C++ library, and Debian's cross compiler has none."""
    require("cortex-m4")
    require_tool("arm-none-eabi-g++")
    target = device.TARGETS["cortex-m4"]
    compile_with(["arm-none-eabi-g++", "-std=c++17", "-fno-exceptions", "-fno-rtti", *FLAGS, *target.cpu_flags, "-c", MAIN_CPP,
                  "--specs=picolibc.specs", "-o", "main.o"], tmp_path)  # fmt: skip
    machine = [*FLAGS, *target.cpu_flags, *device.link_flags(target)]
    compile_with(["arm-none-eabi-gcc", "-std=c11", "-O1", *machine, "main.o", embedded, *device.library_sources(), "-o", "main"], tmp_path)
    assert output_of(target, tmp_path / "main") == expected


def test_nothing_is_skipped_for_want_of_a_compiler_that_setup_installs():
    setup = (ROOT / "scripts/setup.sh").read_text()
    for tool in ("gcc", "g++", "clang", "clang++", "arm-none-eabi-g++"):
        assert device.DEBIAN_PACKAGES[tool] in re.findall(r"[\w+.-]+", setup), tool
    assert shutil.which("bash")
