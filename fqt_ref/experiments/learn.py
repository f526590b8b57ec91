# SPDX-License-Identifier: Apache-2.0
"""Training by the engine as runs do it: its settings, and a result with the history and a digest of every bit that was learnt."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.experiments.description import Outcome, Run
from fqt_ref.experiments.place import Place
from fqt_ref.network import Network


@dataclass(frozen=True)
class Training:
    """Settings of train_step.train_config(); None: as the engine does it by default. The defaults are the paper's.

    optimizer, momentum, real_weights: of the rules that the paper compares with. weight_range, range_rate, stochastic_errors: remedies
    for what uint8 loses.
    """

    batch_size: int = 48
    learning_rate: float = 0.001
    lambda_min: float = 1.0
    lambda_max: float = 1.0
    optimizer: str | None = None
    momentum: float | None = None
    real_weights: bool | None = None
    weight_range: str | None = None
    range_rate: float | None = None
    stochastic_errors: str | None = None

    def config(self, seed: int) -> Any:
        """The engine's TrainConfig. Raises FqtError for what this engine does not know: the one place that asks it."""
        from inspect import signature

        from fqt_ref.train_step import train_config

        given = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None}
        unknown = [f"{name} '{value}'" for name, value in given.items() if name not in signature(train_config).parameters]
        if unknown:
            raise FqtError(f"this engine does not know {' and '.join(unknown)} yet")
        return train_config(**given, seed=seed)

    def lacks(self) -> str | None:
        """What the engine does not know, None if it can train so."""
        if all(getattr(self, field.name) is None for field in fields(self) if field.default is None):
            return None
        try:
            self.config(0)
        except FqtError as error:
            return str(error)
        return None


PAPER = Training()
EDITION = 2  # of all runs that the engine trains: raise it when its bits or its defaults change (description.Run)


class Learning(Run):
    """A run that the engine trains, by its settings `training`."""

    edition: ClassVar[int] = EDITION
    training: Training

    def lacks(self) -> str | None:
        return self.training.lacks()


@dataclass(frozen=True)
class Rule:
    """A way to train as a row or column of a table. per_channel: a weight grid for each output channel."""

    name: str
    config: str
    training: Training
    per_channel: bool | None = None


def learn(
    network: Network, data: Dataset, training: Training, seed: int, epochs: int, place: Place, zeroth: Any = None, keep: bool = False,
    **more: Any,
) -> Outcome:  # fmt: skip
    """Train a network. The result: history (one entry an epoch), test_accuracy (of the last), sizes, digest, and `more`.

    digest: SHA-256 of the trained model file: equal if and only if every bit is. zeroth: a ZerothConfig, to train without
    back-propagation. keep: the trained model file becomes the artifact. Raises FqtError.
    """
    from fqt_ref.model_file import file_bytes
    from fqt_ref.network import network_of
    from fqt_ref.training import check_run, train_epochs

    config = training.config(seed)
    check_run(config, epochs)
    if epochs < 1:
        raise FqtError(f"epochs {epochs} is not at least 1: a run has to learn something")
    history, trained, total = [], network, epochs * max(len(data.train_x), 1)

    def advance(n: int, loss: float) -> None:
        place.advance(n / total, f"loss {loss:.2f}")

    for epoch, state in train_epochs(network, data, config, epochs, advance, zeroth=zeroth):
        history.append(epoch.as_dict())
        trained = network_of(network.name, state)
    file = file_bytes(trained)
    result = {
        "data": data.name,
        "train_samples": len(data.train_x),
        "test_samples": len(data.test_x),
        "history": history,
        "test_accuracy": history[-1]["test_accuracy"],
        "digest": hashlib.sha256(file).hexdigest(),
        **more,
    }
    return Outcome(result, file if keep else None)
