# SPDX-License-Identifier: Apache-2.0
"""What a run and an experiment are: plain data that says everything, from which a run's key, its work and its place in a table follow."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple

from fqt_ref.experiments.place import Place

DONE, NO_DATA, FAILED = "done", "data not found", "failed"


class Outcome(NamedTuple):
    """What a run has made. result: what JSON holds; artifact: a file's bytes that other runs start from, or None."""

    result: dict[str, Any]
    artifact: bytes | None = None


@dataclass(frozen=True)
class Run:
    """A piece of work that is done once. The fields of its subclasses are its whole description.

    edition: to be raised when the same description comes to mean other results, so that old ones are not taken for them.
    """

    edition: ClassVar[int] = 1

    @property
    def start(self) -> "Run | None":
        """The run whose artifact this one begins with."""
        return None

    @property
    def dataset(self) -> str | None:
        """The data set that it needs."""
        return None

    def lacks(self) -> str | None:
        """What the engine of this tree does not have yet, None if the run can be performed."""
        return None

    def perform(self, place: Place) -> Outcome:
        """Do it. Raises FqtError; DataNotFound if the data set cannot be had."""
        raise NotImplementedError


@dataclass(frozen=True)
class Continued(Run):
    """A run that begins with the artifact of another, its source, and needs the same data set unless it says otherwise."""

    source: Any

    @property
    def start(self) -> Run:
        return self.source

    @property
    def dataset(self) -> str:
        return self.source.dataset


def describe(value: Any) -> Any:
    """A description as JSON has it. What is None is left out, so that a field that is added later changes no key of before."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: describe(getattr(value, field.name)) for field in fields(value) if getattr(value, field.name) is not None}
        kind = {"kind": type(value).__name__} | ({"edition": value.edition} if isinstance(value, Run) else {})
        return {**kind, **content}
    return [describe(one) for one in value] if isinstance(value, tuple) else value


def key_of(run: Run) -> str:
    """16 hexadecimal digits of SHA-256 over the run's whole description."""
    return hashlib.sha256(json.dumps(describe(run), sort_keys=True).encode()).hexdigest()[:16]


class Cell(NamedTuple):
    """A run's place in its experiment's table; runs with other seeds share it."""

    row: str
    column: str
    run: Run


def row_of(data: str, samples: int | None, stands_for: str) -> str:
    """What a table calls a data set. samples: only the first so many are learnt; stands_for: the paper's set, if this is another one."""
    name = data if samples is None else f"{data}, first {samples}"
    return f"{name} (stands in for {stands_for})" if stands_for else name


class Record(NamedTuple):
    """A run that is over. status: DONE, NO_DATA or FAILED, with a reason unless done; seconds: how long it took; finished: UTC."""

    key: str
    description: dict[str, Any]
    status: str
    reason: str
    result: dict[str, Any]
    commit: str
    versions: dict[str, str]
    machine: str
    finished: str
    seconds: float


Found = Callable[[Run], Record | None]


def why_missing(cell: Cell, record: Record | None) -> str:
    """What stands where a figure should."""
    if record is not None:
        return record.status
    return "not run" if cell.run.lacks() is None else "not run: the engine lacks it"


class Table(NamedTuple):
    """A table of text. columns: of the first one, too."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Chart(NamedTuple):
    """A picture that draw puts into matplotlib's Axes. height: in inches."""

    name: str
    title: str
    draw: Callable[[Any], None]
    height: float = 5.0


@dataclass(frozen=True)
class Experiment:
    """A figure or table of the paper. about: what is not as in the paper, and why."""

    name: str
    title: str
    about: str

    def cells(self) -> list[Cell]:
        """Its runs and where they stand in the table."""
        raise NotImplementedError

    def tables(self, found: Found) -> list[Table]:
        """What has been found so far, with what is missing named."""
        raise NotImplementedError

    def charts(self, found: Found) -> list[Chart]:
        """Pictures of that; none as long as nothing has been found."""
        return []
