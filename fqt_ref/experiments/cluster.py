# SPDX-License-Identifier: Apache-2.0
"""Runs on a Dask cluster (extra: dask). A worker performs a run as this machine would, in a process of its own: the bits are the same.

Workers need this tree at the same commit, its packages, and the data sets where --data-dir or their FQT_DATA_DIR says.
"""

from typing import Any
from uuid import uuid4

from fqt_ref.errors import FqtError
from fqt_ref.experiments import provenance
from fqt_ref.experiments.description import FAILED
from fqt_ref.experiments.worker import Finished, Job, Message, perform_apart, record_of

CONNECT_SECONDS = 20


class Cluster:
    """A Dask cluster as a pool (runner.Pool). It is not told how far a run is, only that it is over."""

    def __init__(self, address: str):
        """Raises FqtError: no Dask here, no scheduler or no worker there, or workers of another commit."""
        try:
            import distributed
        except ImportError as error:
            raise FqtError("--scheduler needs Dask: pip install 'fqt[dask]'") from error
        try:
            self.client = distributed.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:  # a timeout is an OSError
            raise FqtError(f"no Dask scheduler at {address}: {error}; start one with `dask scheduler`, or leave --scheduler out") from error
        self.jobs: dict[str, tuple[Job, Any]] = {}
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raises FqtError if there is no worker or one has another commit than this tree."""
        commits = self.client.run(provenance.commit)
        if not commits:
            raise FqtError(f"the Dask scheduler at {self.client.scheduler.address} has no workers: start some with `dask worker`")
        for worker, commit in commits.items():
            if commit != provenance.commit():
                raise FqtError(f"Dask worker {worker} has commit {commit}, this is {provenance.commit()}: the same bits need the same tree")

    @property
    def slots(self) -> int:
        return sum(self.client.nthreads().values())

    def start(self, key: str, job: Job) -> None:
        self.jobs[key] = job, self.client.submit(perform_apart, job, key=f"fqt-{key}-{uuid4().hex[:8]}", pure=False)

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        import distributed

        try:
            distributed.wait([future for _, future in self.jobs.values()], timeout=seconds, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        over = [key for key, (_, future) in self.jobs.items() if future.done()]
        return [(key, self.outcome(*self.jobs.pop(key))) for key in over]

    def outcome(self, job: Job, future: Any) -> Finished:
        """What a future holds; a worker that was lost is a FAILED run."""
        error = future.exception() if future.status == "error" else None
        if error is None and future.status == "finished":
            return future.result()
        return Finished(record_of(job.run, FAILED, f"its Dask worker failed: {error or future.status}"))

    def close(self) -> None:
        """What runs on workers goes on to its end there, unheard; what waits is cancelled."""
        self.client.cancel([future for _, future in self.jobs.values()])
        self.client.close()
