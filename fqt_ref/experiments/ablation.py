# SPDX-License-Identifier: Apache-2.0
"""What each choice of SPEC.md is worth: training from scratch by a copy of the engine in which one of them, a line of code, is undone."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

from fqt_ref.device import scratch_beside
from fqt_ref.errors import FqtError
from fqt_ref.experiments import provenance
from fqt_ref.experiments.accuracy import Accuracy
from fqt_ref.experiments.description import DONE, NO_DATA, Cell, Outcome, Run
from fqt_ref.experiments.learn import EDITION, Training
from fqt_ref.experiments.place import DataNotFound, Place
from fqt_ref.experiments.scratch import Scratch, Task
from fqt_ref.experiments.worker import Apart, Finished, Job


@dataclass(frozen=True)
class Change:
    """A choice undone: where SPEC.md has it, a file of fqt_ref, a line that is there once, and what takes its place."""

    name: str
    section: str
    file: str
    line: str
    replacement: str

    def apply(self, folder: Path) -> None:
        """Copy fqt_ref into the folder, with this change. Raises FqtError if the line is not there once."""
        text = (provenance.ROOT / "fqt_ref" / self.file).read_text()
        if text.count(self.line) != 1:
            raise FqtError(f"ablation '{self.name}': fqt_ref/{self.file} does not hold once: {self.line}")
        shutil.copytree(provenance.ROOT / "fqt_ref", folder / "fqt_ref", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "fqt_ref" / self.file).write_text(text.replace(self.line, self.replacement))

    def engine(self) -> Path:
        """Folder of a changed copy, which runs share, so that it is compiled once; of another when fqt_ref changes. Raises FqtError."""
        digest = hashlib.sha256(repr(self).encode())
        for path in sorted((provenance.ROOT / "fqt_ref").rglob("*.py")):
            digest.update(path.read_bytes())
        folder = Path(tempfile.gettempdir()) / f"fqt-ablations-{os.getuid()}" / digest.hexdigest()[:16]
        if not folder.exists():
            with scratch_beside(folder) as scratch:
                self.apply(scratch / "engine")
                try:
                    (scratch / "engine").rename(folder)
                except OSError:
                    if not folder.exists():  # else another run was faster
                        raise
        return folder


SGD = "optimizers/standardized_sgd.py"
CHANGES = (
    Change(
        "requantize: floor instead of half up",
        "2.1",
        "arithmetic.py",
        "product = np.int32(np.int32(short * np.int32(mantissa)) + np.int32(1 << (post - 1)))",
        "product = np.int32(short * np.int32(mantissa))",
    ),
    Change("weights rounded to whole bytes (no residuals)", "6.1", SGD, "MAX_FRACTION_BITS = 8", "MAX_FRACTION_BITS = 0"),
    Change(
        "weights rounded to nearest, no residuals",
        "6.1",
        SGD,
        "MAX_FRACTION_BITS = 8",
        "MAX_FRACTION_BITS = 0\nrandom_word = njit(lambda key, i: NEAREST)",
    ),
    Change(
        "weight grid follows every update (no hysteresis)",
        "6.1",
        SGD,
        "hi - lo >= np.float32(0.875) * (hi_old - lo_old)",
        "hi - lo >= np.float32(2) * (hi_old - lo_old)",
    ),
    Change(
        "error scale 1/127 throughout", "8", "ranges.py", "if observed < SMALLEST_ERROR_SCALE:", "if observed >= np.float32(0):"
    ),
    Change(
        "feature map ranges as calibrated",
        "8",
        "ranges.py",
        "lo = lo + RATE * (lo_batch - lo)\n    hi = hi + RATE * (hi_batch - hi)",
        "pass",
    ),
)  # fmt: skip
HALF_UP = Training(stochastic_errors="none")
TIES = (
    Change(
        "all channels of an equal norm are kept",
        "5",
        "sparse_update.py",
        "if norms[other] > norms[co] or (norms[other] == norms[co] and other < co):",
        "if norms[other] > norms[co]:",
    ),
    Change(
        "of equal norms the channels that the minibatch has kept least are kept",
        "5",
        "sparse_update.py",
        """    for co in range(norms.size):
        better = 0
        for other in range(norms.size):
            if norms[other] > norms[co] or (norms[other] == norms[co] and other < co):""",
        """    before = chosen.copy()
    for co in range(norms.size):
        better = 0
        for other in range(norms.size):
            if norms[other] > norms[co] or (norms[other] == norms[co] and (before[other], other) < (before[co], co)):""",
    ),
)


@dataclass(frozen=True)
class Ablated(Run):
    """A training by the changed engine, in a process of that engine."""

    edition: ClassVar[int] = EDITION
    change: Change
    run: Scratch

    @property
    def seed(self) -> int:
        """The training's."""
        return self.run.seed

    @property
    def dataset(self) -> str:
        return self.run.data

    def perform(self, place: Place) -> Outcome:
        for message in Apart(Job(self.run, b"", place.data_dir), self.change.engine()).read():
            if not isinstance(message, Finished):
                place.advance(*message)
        assert isinstance(message, Finished)
        if message.record.status == NO_DATA:
            raise DataNotFound(message.record.reason)
        if message.record.status != DONE:
            raise FqtError(message.record.reason)
        return Outcome(message.record.result)


@dataclass(frozen=True)
class Ablations(Accuracy):
    """Data sets x changes x update rates x seeds, beside the engine as it is, which the table calls `whole`."""

    network: str = "mnist-cnn"
    tasks: tuple[Task, ...] = (Task("fashion-mnist", 2),)
    config: str = "uint8"
    changes: tuple[Change, ...] = CHANGES
    lambdas: tuple[float, ...] = (1.0,)
    seeds: int = 2
    training: Training = HALF_UP
    whole: str = "as specified, errors half up"

    def cells(self) -> list[Cell]:
        made = []
        for task, change, rate, seed in product(self.tasks, (None, *self.changes), self.lambdas, range(self.seeds)):
            name = self.whole if change is None else f"{change.name} (SPEC.md {change.section})"
            row = f"{task.row}, {name}" if len(self.tasks) > 1 else name
            run = Scratch(self.network, task.data, self.config, seed, task.epochs, replace(self.training, lambda_min=rate))
            made.append(Cell(row, f"lambda_min {rate}", run if change is None else Ablated(change, run)))
        return made
