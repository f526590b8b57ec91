# SPDX-License-Identifier: Apache-2.0
"""Performs runs in a pool, those before others that these start from; what is done already is not done again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from fqt_ref.experiments.description import DONE, NO_DATA, Record, Run, key_of
from fqt_ref.experiments.store import Store
from fqt_ref.experiments.worker import Finished, Job, Message, record_of

LOOK_SECONDS = 0.5  # between two looks at the pool


class Pool(Protocol):
    """Where runs are performed: local.Local, cluster.Cluster."""

    @property
    def slots(self) -> int:
        """How many runs at a time."""

    def start(self, key: str, job: Job) -> None:
        """Begin a run."""

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """What the runs say, at once if there is something, within so many seconds else."""

    def close(self) -> None:
        """End the runs under way."""


class Watch:
    """Who is told. This one does not listen."""

    def started(self, key: str, run: Run) -> None:
        """A run begins."""

    def advanced(self, key: str, share: float, text: str) -> None:
        """This share (0..1) more of a run is done."""

    def ended(self, key: str, record: Record) -> None:
        """A run is over."""


def with_starts(runs: Iterable[Run]) -> dict[str, Run]:
    """Runs by key, each behind those that it starts from."""
    ordered: dict[str, Run] = {}
    for run in runs:
        chain = [run]
        while chain[-1].start is not None:
            chain.append(chain[-1].start)
        for one in reversed(chain):
            ordered.setdefault(key_of(one), one)
    return ordered


def open_runs(runs: Iterable[Run], store: Store) -> dict[str, Run]:
    """The runs that have to be performed: not done, and within the engine's power."""
    records = store.all()
    undone = {key: run for key, run in with_starts(runs).items() if key not in records or records[key].status != DONE}
    return {key: run for key, run in undone.items() if run.lacks() is None}


class Runner:
    """Runs on their way into a store."""

    def __init__(self, runs: Iterable[Run], store: Store, pool: Pool, watch: Watch, data_dir: Path | None = None):
        self.store, self.pool, self.watch, self.data_dir = store, pool, watch, data_dir
        self.waiting = open_runs(runs, store)
        self.running: dict[str, Run] = {}
        self.over: dict[str, Record] = {}
        self.no_data: dict[str, str] = {}  # data set -> why it cannot be had

    def go(self) -> dict[str, Record]:
        """Perform them all; returns their records by key. Ctrl-C loses those under way and is passed on."""
        try:
            while self.waiting or self.running:
                self.start_ready()
                for key, message in self.pool.wait(LOOK_SECONDS) if self.running else ():
                    if isinstance(message, Finished):
                        run = self.running.pop(key)
                        if message.record.status == NO_DATA and run.dataset is not None:
                            self.no_data[run.dataset] = message.record.reason
                        self.end(key, message)
                    else:
                        self.watch.advanced(key, *message)
        finally:
            self.pool.close()
        return self.over

    def start_ready(self) -> None:
        """Begin what can begin, and end what never can."""
        for key, run in list(self.waiting.items()):
            verdict = self.hopeless(run)
            if verdict is not None:
                del self.waiting[key]
                self.end(key, Finished(verdict))
            elif len(self.running) < self.pool.slots and not self.unborn(run):
                start = b"" if run.start is None else self.store.artifact(key_of(run.start)) or b""
                self.running[key] = self.waiting.pop(key)
                self.watch.started(key, run)
                self.pool.start(key, Job(run, start, self.data_dir))

    def unborn(self, run: Run) -> bool:
        """Whether what the run starts from is not there yet."""
        key = None if run.start is None else key_of(run.start)
        return key in self.waiting or key in self.running

    def hopeless(self, run: Run) -> Record | None:
        """The record of a run whose data, or what it starts from, cannot be had."""
        if run.dataset in self.no_data:
            return record_of(run, NO_DATA, self.no_data[run.dataset])
        before = None if run.start is None else self.over.get(key_of(run.start))
        if before is None or before.status == DONE:
            return None
        return record_of(run, before.status, f"run {before.key}, from which it starts: {before.reason}")

    def end(self, key: str, finished: Finished) -> None:
        """Keep a run."""
        self.store.put(*finished)
        self.over[key] = finished.record
        self.watch.ended(key, finished.record)
