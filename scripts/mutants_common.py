# SPDX-License-Identifier: Apache-2.0
"""What mutants of both halves share: a change of a source file, its fate, and golden files in the order that kills soonest."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FUNCTION = re.compile(r"^(?:def (\w+)\(|(?:[A-Za-z_][\w *]*?[ *])?(\w+)\([^;]*?\) \{$)", re.M)
KILLED, SURVIVED, NO_MUTANT = "killed", "survived", "no mutant"  # the last: not another program


@dataclass(frozen=True)
class Mutant:
    """One change: source[start:end] of a file, relative to the repository, becomes `after`."""

    file: str
    line: int
    column: int
    function: str  # that holds it; empty outside of functions
    text: str  # the line, stripped
    start: int
    end: int
    before: str
    after: str

    @classmethod
    def of(cls, file: str, source: str, start: int, end: int, after: str) -> "Mutant":
        """source[start:end] of a file becomes `after`."""
        line, first = source.count("\n", 0, start), source.rfind("\n", 0, start) + 1
        heads = list(FUNCTION.finditer(source, 0, start))
        function = heads[-1].group(1) or heads[-1].group(2) if heads else ""
        text = source.splitlines()[line].strip()
        return cls(file, line + 1, start - first + 1, function, text, start, end, source[start:end], after)

    @property
    def change(self) -> str:
        """The change on one line: before -> after."""
        return " -> ".join(" ".join(text.split()) or "nothing" for text in (self.before, self.after))


def changed(source: str, mutant: Mutant) -> str:
    """The source with the change."""
    return source[: mutant.start] + mutant.after + source[mutant.end :]


class Golden:
    """Golden files, small ones first; for each source the one before all others that killed its last mutant."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.fqg"), key=lambda path: path.stat().st_size)
        self.last: dict[str, Path] = {}

    def judge(self, source: str, equal: Callable[[Path], bool]) -> str:
        """SURVIVED if equal(file) for all files."""
        stem = Path(source).stem
        first = self.last.get(source) or next((f for f in self.files if f.stem == stem), self.files[0])
        for file in [first, *(f for f in self.files if f != first)]:
            if not equal(file):
                self.last[source] = file
                return KILLED
        return SURVIVED
