# SPDX-License-Identifier: Apache-2.0
"""A run in a process of its own: `python -m fqt_ref.experiments` reads a pickled Job and writes how far it is, then what came of it.

So a crash takes one run along, every run begins alike, and it is the same here as on a cluster's worker.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from fqt_ref.errors import FqtError
from fqt_ref.experiments import provenance
from fqt_ref.experiments.description import DONE, FAILED, NO_DATA, Outcome, Record, Run, describe, key_of
from fqt_ref.experiments.place import DataNotFound, Place

# One thread a run. And glibc gives large blocks back at once and gets them zeroed again: a fifth of PyTorch's time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}


class Job(NamedTuple):
    """A run, the bytes that it starts from, and where its data are."""

    run: Run
    start: bytes = b""
    data_dir: Path | None = None


class Finished(NamedTuple):
    """A run that is over."""

    record: Record
    artifact: bytes | None = None


Message = tuple[float, str] | Finished  # how far a run is: what share more (0..1) is done, and a text; or that it is over


def record_of(run: Run, status: str, reason: str = "", result: dict | None = None, seconds: float = 0.0) -> Record:
    """A Record of a run that has ended now, here."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(
        key_of(run), describe(run), status, reason, result or {}, provenance.commit(), provenance.versions(), provenance.machine(),
        finished, seconds,
    )  # fmt: skip


def perform(job: Job, advance: Callable[[float, str], None]) -> Finished:
    """Do a run in this process; what goes wrong is in the Record."""
    start = perf_counter()
    try:
        outcome, status, reason = job.run.perform(Place(job.data_dir, job.start, advance)), DONE, ""
    except DataNotFound as error:
        outcome, status, reason = Outcome({}), NO_DATA, str(error)
    except FqtError as error:
        outcome, status, reason = Outcome({}), FAILED, str(error)
    except Exception as error:  # a defect: the other runs go on
        outcome, status, reason = Outcome({}), FAILED, f"{type(error).__name__}: {error}"
    return Finished(record_of(job.run, status, reason, outcome.result, perf_counter() - start), outcome.artifact)


class Apart:
    """A run in a process of its own. read() yields how far it is, and at last a Finished; stop() ends it.

    tree: the folder of the fqt_ref that performs it.
    """

    def __init__(self, job: Job, tree: Path = provenance.ROOT):
        self.job = job
        paths = [str(tree), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (read() closes it)
        # In a session of its own: Ctrl-C is for the process that has started it, which then ends it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fqt_ref.experiments"],  # -P: of this tree, whatever lies in the current folder
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment, start_new_session=True,
        )  # fmt: skip

    def read(self) -> Iterator[Message]:
        """See above. A process that dies is a FAILED run."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with self.errors, self.process.stdout as told:
            try:
                with self.process.stdin as pipe:
                    pickle.dump(self.job, pipe)
                message = None
                while not isinstance(message, Finished):
                    message = pickle.load(told)
                    yield message
            except (EOFError, OSError, pickle.UnpicklingError):
                code = self.process.wait()
                self.errors.seek(0)
                last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
                yield Finished(record_of(self.job.run, FAILED, f"its process ended with code {code}: {last[0]}"))
            finally:
                self.stop()
                self.process.wait()

    def stop(self) -> None:
        """End the process, if it still runs."""
        self.process.kill()


def perform_apart(job: Job) -> Finished:
    """Do a run in a process of its own and wait for it."""
    *_, last = Apart(job).read()
    assert isinstance(last, Finished)
    return last


def main() -> None:
    """The process's side. Whatever prints goes to standard error: standard output is the pipe."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job = pickle.load(sys.stdin.buffer)

    def tell(message) -> None:
        pickle.dump(message, pipe)
        pipe.flush()

    tell(perform(job, lambda share, text: tell((share, text))))
