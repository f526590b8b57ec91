# SPDX-License-Identifier: Apache-2.0
"""Builds the C library with its golden replay and runs it, on this machine or on an emulated core."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fqt_ref.errors import FqtError

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "zephyr_app"
# Warnings are errors in the tests only, so that a newer compiler's new warning does not stop a user.
OPTION_FLAGS = ["-DFQT_WITH_WEIGHT_RANGES=1", "-DFQT_WITH_STOCHASTIC_ERRORS=1"]  # golden files hold SPEC.md 16's options, too
COMMON_FLAGS = ["-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wsign-conversion"]
SANITIZE_FLAGS = ["-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
WORK_BYTES = 3 << 20
MAX_GOLDEN_BYTES = 16 << 20  # the second RAM of every emulated machine
DEBIAN_PACKAGES = {
    "gcc": "gcc",
    "g++": "g++",
    "clang": "clang",
    "clang++": "clang",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "arm-none-eabi-g++": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
PICOLIBC_SPECS = "picolibc.specs"
ELEMENT_TYPES = {1: "u8", 2: "i8", 3: "i32", 4: "u32", 5: "f32"}
WHOLE_RECORD = 0xFFFFFFFF  # the element of a difference in a record's header


@dataclass(frozen=True)
class Target:
    """A machine that runs the C library. Without a QEMU machine it is this one."""

    name: str
    description: str
    cpu_flags: tuple[str, ...] = ()
    qemu: tuple[str, ...] = ()
    flash_size: int = 4 << 20
    ram_size: int = 4 << 20
    golden_address: int = 0x2100_0000  # flash lies at 0, RAM at 0x20000000, the golden file here

    @property
    def emulated(self) -> bool:
        return bool(self.qemu)


TARGETS = {
    target.name: target
    for target in (
        Target("host", "this machine"),
        Target("host-blocked", "this machine, with the kernels that Cortex-M0, M4 and M7 run", ("-DFQT_BLOCKED_KERNELS",)),
        Target(
            "cortex-m0",
            "ARMv6-M, no FPU (QEMU microbit with more memory)",
            ("-mcpu=cortex-m0", "-mthumb"),
            ("-M", "microbit", "-global", "nrf51-soc.sram-size=33554432", "-global", "nrf51-soc.flash-size=1048576"),
            flash_size=1 << 20,
        ),
        Target("cortex-m3", "ARMv7-M, no FPU (QEMU mps2-an385)", ("-mcpu=cortex-m3", "-mthumb"), ("-M", "mps2-an385")),
        Target(
            "cortex-m4",
            "ARMv7E-M, single-precision FPU (QEMU mps2-an386)",
            ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            ("-M", "mps2-an386"),
        ),
        Target(
            "cortex-m7",
            "ARMv7E-M, double-precision FPU (QEMU mps2-an500)",
            ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
            ("-M", "mps2-an500"),
            golden_address=0x6000_0000,
        ),
    )
}


@dataclass(frozen=True)
class ReplayResult:
    """What a replay says. first: a description of the first difference, or of the first case that could not be run, or None."""

    target: str
    cases: int
    networks: int
    values_compared: int
    differences: int
    no_memory: int
    malformed: int
    first: str | None
    details: dict | None  # the first difference, field by field

    @property
    def equal(self) -> bool:
        """Whether everything was compared and nothing differed."""
        return not (self.differences or self.no_memory or self.malformed)


def library_sources() -> list[Path]:
    """Every C file of the library."""
    return sorted((APP / "lib" / "fqt").rglob("*.c"))


def replay_sources() -> list[Path]:
    """The golden replay and its program."""
    return sorted((APP / "tests" / "replay").glob("*.c"))


def include_flags() -> list[str]:
    """Where the library's headers are."""
    return [f"-I{APP / 'include'}", f"-I{APP / 'tests' / 'replay'}"]


def find_target(name: str) -> Target:
    """A target by name. Raises FqtError for one that does not exist."""
    if name not in TARGETS:
        raise FqtError(f"target '{name}' does not exist: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]


def compiler_of(target: Target, compiler: str = "gcc") -> str:
    """The compiler's command for a target."""
    if compiler not in ("gcc", "clang"):
        raise FqtError(f"compiler '{compiler}' does not exist: choose gcc or clang")
    if target.emulated and compiler != "gcc":
        raise FqtError(f"target '{target.name}' is built with gcc only")
    return "arm-none-eabi-gcc" if target.emulated else compiler


def require_tool(tool: str) -> str:
    """Path of a program. Raises FqtError naming the Debian package."""
    path = shutil.which(tool)
    if path is None:
        raise FqtError(f"{tool} is not installed: run 'apt-get install {DEBIAN_PACKAGES[tool]}'")
    return path


def require(target: str, compiler: str = "gcc") -> None:
    """Raise FqtError if a target does not exist or its compiler, C library or emulator is missing."""
    found = find_target(target)
    if not library_sources() or not replay_sources():
        raise FqtError(f"the C library is not at {APP}: run fqt from a checkout of the repository")
    command = require_tool(compiler_of(found, compiler))
    if found.emulated:
        require_tool("qemu-system-arm")
        answer = run([command, f"-print-file-name={PICOLIBC_SPECS}"], "finding picolibc", 30)
        if answer.stdout.strip() == PICOLIBC_SPECS:  # gcc echoes what it cannot find
            raise FqtError("picolibc is not installed: run 'apt-get install picolibc-arm-none-eabi'")


def run(command: list, what: str, timeout: float) -> subprocess.CompletedProcess:
    """Run a program to its end, killed at the timeout. Raises FqtError if it does not end or start."""
    try:
        # fqt's own standard input may be a terminal or a pipe with data: neither is for compilers and emulators.
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FqtError(f"{what} did not end within {timeout:.0f} s: replay less at once or raise the timeout") from error
    except OSError as error:
        raise FqtError(f"{what}: cannot run {command[0]}: {error.strerror}") from error


def link_flags(target: Target) -> list[str]:
    """picolibc's startup code and linker script, with the machine's memory map."""
    if not target.emulated:
        return []
    symbols = {"__flash": 0, "__flash_size": target.flash_size, "__ram": 0x2000_0000, "__ram_size": target.ram_size, "__stack_size": 16384}
    return [
        f"--specs={PICOLIBC_SPECS}",
        "--oslib=semihost",
        "--crt0=hosted",
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()),
        f"-DFQT_GOLDEN_ADDRESS={target.golden_address:#x}u",
        f"-DFQT_WORK_BYTES={WORK_BYTES}",
    ]


def build_command(target: Target, compiler: str = "gcc", sanitize: bool = False, optimize: str = "-O2") -> list[str]:
    """Compiler, flags and sources of the replay program, without its output."""
    if sanitize and target.emulated:
        raise FqtError(f"sanitizers do not run on target '{target.name}': use target 'host'")
    flags = [optimize, *COMMON_FLAGS, *OPTION_FLAGS, *target.cpu_flags, *link_flags(target), *(SANITIZE_FLAGS if sanitize else [])]
    return [compiler_of(target, compiler), *flags, *include_flags(), *map(str, library_sources() + replay_sources())]


def fingerprint(command: list[str]) -> str:
    """Hash of a command and of everything it compiles."""
    digest = hashlib.sha256("\0".join(command).encode())
    headers = [*(APP / "include").rglob("*.h"), *(APP / "lib" / "fqt").rglob("*.h"), *(APP / "tests" / "replay").glob("*.h")]
    for path in sorted(headers) + library_sources() + replay_sources():
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def default_build_dir() -> Path:
    """The checkout's build folder, or one under the temporary folder if the checkout is read-only."""
    folder = ROOT / "build" / "replay"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.gettempdir()) / f"fqt-replay-{os.getuid()}"


def compile_program(command: list[str], what: str, failure: str, timeout: float = 300) -> None:
    """Run a compiler. Raises FqtError, `failure` and the compiler's first error."""
    answer = run(command, what, timeout)
    if answer.returncode != 0:
        line = next((text for text in answer.stderr.splitlines() if "error" in text), answer.stderr.strip()[-200:])
        raise FqtError(f"{failure}: {line}")


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """A folder to build in on the disk of what is built. Raises FqtError where nothing can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise FqtError(f"cannot build in {path.parent}: {error.strerror}; choose another folder") from error


def install(built: Path, path: Path, prefix: str) -> None:
    """Put a built file in the place of those of the same prefix; two builds at once both succeed."""
    for old in path.parent.glob(f"{prefix}-*{path.suffix}"):
        old.unlink(missing_ok=True)
    os.replace(built, path)


def build_replay(
    target: str, build_dir: Path | None = None, sanitize: bool = False, compiler: str = "gcc", optimize: str = "-O2", timeout: float = 300
) -> Path:
    """Build the replay program for a target unless its sources are unchanged. Returns the program.

    Raises FqtError for an unknown target, a missing tool, or sources that do not compile.
    """
    require(target, compiler)
    found = find_target(target)
    command = build_command(found, compiler, sanitize, optimize)
    folder = build_dir or default_build_dir()
    prefix = f"replay-{target}-{compiler}{optimize}{'-sanitize' if sanitize else ''}"
    program = folder / f"{prefix}-{fingerprint(command)}.elf"
    if program.exists():
        return program
    with scratch_beside(program) as scratch:
        built, failure = scratch / "replay.elf", f"the C library does not compile for {target}"
        compile_program([*command, "-o", str(built)], f"compiling for {target}", failure, timeout)
        install(built, program, prefix)
    return program


def run_command(target: Target, program: Path, golden_file: Path) -> list[str]:
    """What runs a replay program on a golden file."""
    if not target.emulated:
        return [str(program), str(golden_file)]
    escaped = str(golden_file).replace(",", ",,")  # QEMU's own way
    loader = f"loader,file={escaped},addr={target.golden_address:#x},force-raw=on"
    quiet = ["-display", "none", "-serial", "none", "-monitor", "none"]
    return [
        require_tool("qemu-system-arm"),
        *target.qemu,
        *quiet,
        *("-semihosting-config", "enable=on,target=native"),
        *("-kernel", str(program)),
        *("-device", loader),
    ]


def describe(details: dict) -> str:
    """One line on a difference."""
    from fqt_ref.golden.format import KINDS
    from fqt_ref.state import EVENTS

    kind = next((name for name, code in KINDS.items() if code == details["kind"]), f"kind {details['kind']}")
    if details["record_kind"]:
        event = EVENTS.get(details["record_kind"], f"record kind {details['record_kind']}")
        where = f"{event} {details['record_index']}"
    else:
        where = f"array {details['array']}"
    type_name = ELEMENT_TYPES.get(details["type"], "?")
    expected, got = (as_text(type_name, details[name]) for name in ("expected", "got"))
    place = "whole record" if details["element"] == WHOLE_RECORD else f"element {details['element']}"
    return f"case '{details['case']}' ({kind}), {where}, {place}: expected {expected}, got {got}"


def as_text(type_name: str, bits: int) -> str:
    """A value from its 32 bits."""
    raw = bits.to_bytes(4, "little")
    if type_name == "f32":
        import struct

        return f"{struct.unpack('<f', raw)[0]!r} ({bits:#010x})"
    return str(int.from_bytes(raw, "little", signed=type_name in ("i8", "i32")))


def parse_report(target: str, output: str) -> ReplayResult | None:
    """The replay program's line of JSON; None if there is none."""
    line = next((text for text in output.splitlines() if text.startswith("{")), None)
    if line is None:
        return None
    try:
        report = json.loads(line)
    except ValueError:
        return None
    details, unusable = report.pop("first"), report.pop("unusable")
    first = describe(details) if details else None
    if first is None and unusable:
        what = "needs more memory than the target has" if report["no_memory"] else "could not be used"
        first = f"case '{unusable}' {what}"
    return ReplayResult(target=target, first=first, details=details, **report)


def run_replay(
    target: str, golden_file: Path, build_dir: Path | None = None, sanitize: bool = False, compiler: str = "gcc", optimize: str = "-O2",
    timeout: float = 600,
) -> ReplayResult:  # fmt: skip
    """Replay a golden file on a target; builds the program first if needed.

    Differences are a result, not an error. Raises FqtError for a missing tool, a file that is not golden, a crash, or the timeout.
    """
    program = build_replay(target, build_dir, sanitize, compiler, optimize)
    found = find_target(target)
    try:
        size = Path(golden_file).stat().st_size
    except OSError as error:
        raise FqtError(f"golden file {golden_file}: {error.strerror}; write it with 'fqt golden'") from error
    if found.emulated and size > MAX_GOLDEN_BYTES:
        raise FqtError(f"golden file {golden_file} has {size} bytes: {target} holds {MAX_GOLDEN_BYTES}; replay it on the host or split it")
    answer = run(run_command(found, program, Path(golden_file)), f"replaying {golden_file} on {target}", timeout)
    result = parse_report(target, answer.stdout + "\n" + answer.stderr)
    if result is None or answer.returncode not in (0, 1, 2):
        tail = (answer.stderr or answer.stdout).strip().splitlines()
        raise FqtError(f"replaying {golden_file} on {target} crashed ({answer.returncode}): {tail[0] if tail else 'no output'}")
    if result.cases == 0 and result.first is not None and not (result.no_memory or result.malformed):
        raise FqtError(f"{golden_file} is not a golden file, or damaged: write it with 'fqt golden'")
    return result
