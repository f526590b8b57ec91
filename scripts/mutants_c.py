# SPDX-License-Identifier: Apache-2.0
"""Mutants of the C library: changes of tokens, each compiled alone and judged by a replay of all golden files on this machine."""

import queue
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mutants_common import KILLED, NO_MUTANT, SURVIVED, Golden, Mutant, changed

from fqt_ref import device
from fqt_ref.errors import FqtError

VARIANTS = {"plain": (), "blocked": device.TARGETS["host-blocked"].cpu_flags}
FLAGS = ["-O1", "-std=c11", "-ffp-contract=off", "-w", *device.OPTION_FLAGS]
INCLUDES = ["-Iinclude", "-Itests/replay"]
COMPILE_SECONDS, REPLAY_SECONDS = 120, 3  # of a file, of a golden file: a replay takes 0.1 s

SWAPS = {
    "<": ("<=",), "<=": ("<",), ">": (">=",), ">=": (">",), "==": ("!=",), "!=": ("==",),
    "+": ("-",), "-": ("+",), "*": ("+",), "/": ("*",), "%": ("/",), "<<": (">>",), ">>": ("<<",),
    "&": ("|",), "|": ("&",), "^": ("|",), "&&": ("||",), "||": ("&&",),
    "+=": ("-=", "="), "-=": ("+=", "="), "|=": ("&=", "="), "&=": ("|=",), "<<=": (">>=",), ">>=": ("<<=",), "*=": ("+=",),
    "?": ("&& 0 ?", "|| 1 ?"),
}  # fmt: skip
NOT_CODE = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*|_Static_assert\([^;]*;', re.S | re.M
)
BINARY = re.compile(r"(?<= )(" + "|".join(re.escape(op) for op in sorted(SWAPS, key=len, reverse=True)) + r")(?= |\n)")
NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)([uUlL]*)(?![\w.])")
REAL = re.compile(r"(?<![\w.])(\d+\.\d*|0x1p[+-]\d+)(f?)(?![\w.])")
NOT = re.compile(r"!(?=[\w(])")
STATEMENT = re.compile(r"^[ \t]+((?!else\b|case\b|default\b|goto\b)[A-Za-z_*(][^;{}\n]*;)[ \t]*$", re.M)
IF = re.compile(r"\b(?:if|while) \(")


def code_of(source: str) -> str:
    """The source with blanks in place of comments, strings, directives and static assertions."""
    return NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), source)


def closing(code: str, at: int) -> int:
    """Index of the parenthesis that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == "(") - (code[i] == ")")
        if depth == 0:
            return i
    return len(code)


def in_table(code: str, at: int) -> bool:
    """Whether a number stands in a row of a table: of a thousand alike a few would tell as much."""
    row = code[code.rfind("\n", 0, at) + 1 : code.find("\n", at)]
    return len(NUMBER.findall(row)) > 5


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All changes of one file: operators, constants, conditions forced, statements left out."""
    source = path.read_text()
    code, name = code_of(source), str(path.relative_to(device.ROOT))

    def mutant(start, end, after):
        return Mutant.of(name, source, start, end, after)

    for found in BINARY.finditer(code):
        yield from (mutant(*found.span(), after) for after in SWAPS[found.group()])
    for found in NUMBER.finditer(code):
        value, suffix = int(found.group(1), 0), found.group(2)
        if in_table(code, found.start()):
            continue
        yield mutant(*found.span(), f"{value + 1}{suffix}")
        if value > 0:
            yield mutant(*found.span(), f"{value - 1}{suffix}")
    for found in REAL.finditer(code):
        yield mutant(*found.span(), f"({found.group()} + 1.0f)")
    for found in NOT.finditer(code):
        yield mutant(*found.span(), "")
    for found in STATEMENT.finditer(code):
        yield mutant(*found.span(1), ";")
    for found in IF.finditer(code):
        first = found.end() - 1
        last = closing(code, first)
        inside = source[first + 1 : last]
        yield mutant(first, last + 1, f"(0 && ({inside}))")
        if found.group().startswith("if"):
            yield mutant(first, last + 1, f"(1 || ({inside}))")


@dataclass
class Tree:
    """A copy of the library that one worker changes."""

    root: Path
    scratch: Path = field(init=False)

    def __post_init__(self):
        self.scratch = self.root / "mutated"
        for part in ("include", "lib", "tests/replay"):
            shutil.copytree(device.APP / part, self.root / part)
        self.scratch.mkdir()

    def compile(self, source: Path, variant: str, output: Path) -> bool:
        """Whether a source, relative to the tree, compiles."""
        command = ["gcc", *FLAGS, *VARIANTS[variant], *INCLUDES, "-c", str(source), "-o", str(output)]
        return subprocess.run(command, cwd=self.root, capture_output=True, timeout=COMPILE_SECONDS, check=False).returncode == 0


class Library:
    """The unchanged library's objects, and trees in which mutants are built."""

    def __init__(self, folder: Path, jobs: int, golden: Golden):
        self.golden, self.trees = golden, queue.SimpleQueue[Tree]()
        for i in range(jobs):
            tree = Tree(folder / f"tree{i}")
            self.trees.put(tree)
        self.sources = [path.relative_to(device.APP) for path in device.library_sources() + device.replay_sources()]
        self.objects: dict[str, dict[Path, Path]] = {}
        for variant in VARIANTS:
            (folder / variant).mkdir()
            self.objects[variant] = {source: folder / variant / f"{source.stem}.o" for source in self.sources}
            for source, output in self.objects[variant].items():
                if not tree.compile(source, variant, output):
                    raise FqtError(f"{source} does not compile")
        self.readers = self._readers(tree)
        for variant in VARIANTS:
            program = folder / variant / "replay"
            subprocess.run(["gcc", *map(str, self.objects[variant].values()), "-o", str(program)], check=True)
            wrong = next((file for file in golden.files if not replays(program, file)), None)
            if wrong:
                raise FqtError(f"the C library does not compute {wrong} as it is: run 'fqt golden --check' first")

    def _readers(self, tree: Tree) -> dict[Path, list[Path]]:
        """Which sources include a file of the library."""
        readers: dict[Path, list[Path]] = {}
        for source in self.sources:
            command = ["gcc", *FLAGS, *VARIANTS["blocked"], *INCLUDES, "-MM", str(source)]
            answer = subprocess.run(command, cwd=tree.root, capture_output=True, text=True, check=True).stdout
            for name in answer.replace("\\\n", " ").split(":", 1)[1].split():
                path = (tree.root / name).resolve().relative_to(tree.root.resolve())
                readers.setdefault(path, []).append(source)
        return readers

    def judge(self, mutant: Mutant) -> str:
        """What becomes of a mutant: killed, survived, or none, because it does not compile or compiles to the same code."""
        tree, path = self.trees.get(), (device.ROOT / mutant.file).relative_to(device.APP)
        original = (device.APP / path).read_text()
        try:
            (tree.root / path).write_text(changed(original, mutant))
            verdicts = []
            for variant in VARIANTS:
                verdicts.append(self._judge(tree, path, mutant, variant))
                if verdicts[-1] == KILLED:
                    break
        finally:
            (tree.root / path).write_text(original)
            self.trees.put(tree)
        return next((verdict for verdict in (KILLED, SURVIVED) if verdict in verdicts), NO_MUTANT)

    def _judge(self, tree: Tree, path: Path, mutant: Mutant, variant: str) -> str:
        objects = dict(self.objects[variant])
        for source in self.readers.get(path, []):
            output = tree.scratch / f"{source.stem}.o"
            if not tree.compile(source, variant, output):
                return NO_MUTANT
            if output.read_bytes() != objects[source].read_bytes():
                objects[source] = output
        if objects == self.objects[variant]:
            return NO_MUTANT
        program = tree.scratch / "replay"
        linked = subprocess.run(["gcc", *map(str, objects.values()), "-o", str(program)], capture_output=True, check=False)
        if linked.returncode != 0:
            return NO_MUTANT
        return self.golden.judge(mutant.file, lambda file: replays(program, file))


def replays(program: Path, file: Path) -> bool:
    """Whether a replay ends in time and finds all values equal."""
    try:
        return subprocess.run([program, file], capture_output=True, timeout=REPLAY_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
