# SPDX-License-Identifier: Apache-2.0
"""Finished runs in one SQLite file, a row each. What was interrupted has no row, and so is begun anew."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from fqt_ref.errors import FqtError, one_line
from fqt_ref.experiments.description import DONE, Record

FORMAT = 1
# result, description and versions are JSON; artifact is what other runs start from; finished is UTC, seconds the run's own time.
TABLE = """CREATE TABLE runs (
    key TEXT PRIMARY KEY, description TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, result TEXT NOT NULL,
    "commit" TEXT NOT NULL, versions TEXT NOT NULL, machine TEXT NOT NULL, finished TEXT NOT NULL, seconds REAL NOT NULL, artifact BLOB)"""
COLUMNS = 'key, description, status, reason, result, "commit", versions, machine, finished, seconds'
Answer = TypeVar("Answer")


class Store:
    """The runs of a file. Each call opens it, and each row is written whole or not at all; several processes may use it."""

    def __init__(self, path: Path, create: bool = True):
        """create: make the file if it does not exist. Raises FqtError: it cannot be made, or is no store."""
        self.path = path
        if not path.exists() and not create:
            raise FqtError(f"{path}: no such store; `fqt experiment run` makes one, or name another with --store")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FqtError(f"cannot make folder {path.parent}: {error.strerror}; choose another store with --store") from error
        self.transaction(self.prepare)

    def transaction(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """work(connection), committed at its end. Raises FqtError."""
        try:
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                return work(connection)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:  # sqlite3 hands on what a damaged file holds
            what = f"not a store of runs that can be used ({one_line(error)})"
            raise FqtError(f"{self.path}: {what}; choose another with --store") from error

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table in a new file; look at the format of an old one."""
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if found == 0 and not tables:
            connection.execute(TABLE)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif found != FORMAT or tables != ["runs"]:
            raise FqtError(f"{self.path}: not a store of runs of format {FORMAT}; choose another with --store")

    def get(self, key: str) -> Record | None:
        """A run by its key."""
        rows = self.transaction(lambda one: one.execute(f"SELECT {COLUMNS} FROM runs WHERE key = ?", (key,)).fetchall())
        return self.record(rows[0]) if rows else None

    def all(self) -> dict[str, Record]:
        """All runs by key."""
        rows = self.transaction(lambda one: one.execute(f"SELECT {COLUMNS} FROM runs").fetchall())
        return {row[0]: self.record(row) for row in rows}

    def record(self, row: tuple) -> Record:
        """A row as a Record. Raises FqtError if its JSON is damaged."""
        try:
            key, description, status, reason, result, commit, versions, machine, finished, seconds = row
            texts = [json.loads(text) for text in (description, result, versions)]
            if not all(isinstance(one, dict) for one in texts) or not all(isinstance(one, str) for one in (key, status, reason, commit)):
                raise ValueError("a column of another type")
            return Record(key, texts[0], status, reason, texts[1], commit, texts[2], machine, finished, float(seconds))
        except (ValueError, TypeError, RecursionError) as error:
            what = f"run {one_line(row[0])} is damaged ({one_line(error)})"
            raise FqtError(f"{self.path}: {what}; delete its row, or choose another store") from error

    def artifact(self, key: str) -> bytes | None:
        """What a run has left for others to start from."""
        rows = self.transaction(lambda one: one.execute("SELECT artifact FROM runs WHERE key = ?", (key,)).fetchall())
        return rows[0][0] if rows else None

    def put(self, record: Record, artifact: bytes | None = None) -> None:
        """Keep a run, in the place of one of its key that was not DONE; one that was stays."""
        texts = (json.dumps(record.description), record.status, record.reason, json.dumps(record.result))
        row = (record.key, *texts, record.commit, json.dumps(record.versions), record.machine, record.finished, record.seconds, artifact)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM runs WHERE key = ? AND status != ?", (record.key, DONE))
            connection.execute(f"INSERT OR IGNORE INTO runs ({COLUMNS}, artifact) VALUES ({', '.join('?' * len(row))})", row)

        self.transaction(write)
