# SPDX-License-Identifier: Apache-2.0
"""What mutants of both halves share: a change of a source file, its fate, and golden files in the order that kills soonest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KILLED, SURVIVED, NO_MUTANT = "killed", "survived", "no mutant"  # the last: not another program


@dataclass(frozen=True)
class Mutant:
    """One change: source[start:end] of a file, relative to the repository, becomes `after`."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str


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
