# SPDX-License-Identifier: Apache-2.0
"""The paper's transfer learning (IV-A): pretrain and prune in float32, quantize, reset the last layers, train them anew (extra: torch)."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fqt_ref.experiments.accuracy import Accuracy
from fqt_ref.experiments.description import Cell, Continued, Outcome, Run, row_of
from fqt_ref.experiments.learn import PAPER, Learning, Training, learn
from fqt_ref.experiments.place import Place
from fqt_ref.graph import Graph
from fqt_ref.input_grid import for_new_network, said
from fqt_ref.transfer.settings import Settings

NETWORK, TAIL = "mbednet", 5  # the paper's network, and how many of its last layers are trained


def graph_of_bytes(data: bytes) -> Graph:
    """The float32 network of an artifact."""
    from fqt_ref.transfer import graph_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.npz"
        path.write_bytes(data)
        return graph_file.read(path)[0]


def bytes_of_graph(graph: Graph, result: dict[str, Any]) -> bytes:
    """A float32 network as an artifact."""
    from fqt_ref.transfer import graph_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.npz"
        graph_file.write(path, graph, result)
        return path.read_bytes()


def require_one_thread() -> None:
    """PyTorch on one thread, so that its sums do not depend on the machine's cores. Raises FqtError without the extra."""
    from fqt_ref.transfer.require_torch import require_torch

    require_torch()
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Pretrain(Run):
    """A float32 network trained in PyTorch. source: take its weights wherever shapes agree, instead of random ones."""

    network: str
    data: str
    settings: Settings
    source: "Pretrain | None" = None

    @property
    def start(self) -> Run | None:
        return self.source

    @property
    def dataset(self) -> str:
        return self.data

    def perform(self, place: Place) -> Outcome:
        data = said(for_new_network(place.load(self.data)))  # without it nobody need install PyTorch
        require_one_thread()
        from fqt_ref.models import describe_network
        from fqt_ref.models.describe import graph_of
        from fqt_ref.transfer.adopt import adopted
        from fqt_ref.transfer.batch_norm import with_batch_norm
        from fqt_ref.transfer.epochs import first_samples
        from fqt_ref.transfer.pretrain import pretrain
        from fqt_ref.transfer.torch_module import to_graph, to_module

        shape = data.train_x.shape[1:]
        graph = graph_of(self.network, describe_network(self.network, shape, data.classes), shape)
        if self.source is None:
            module = to_module(graph, self.settings.seed)
        else:
            begun, _ = adopted(graph, graph_of_bytes(place.start))
            module = with_batch_norm(begun, first_samples(data), self.settings.seed)
        total = self.settings.epochs * max(len(data.train_x), 1)
        epochs = pretrain(module, data, self.settings, None, lambda n, text: place.advance(n / total, text))
        history = [epoch.as_dict() for epoch in epochs]
        result = {"data": data.name, "history": history, "test_accuracy": history[-1]["test_accuracy"]}
        return Outcome(result, bytes_of_graph(to_graph(module), result))


@dataclass(frozen=True)
class Prune(Continued):
    """The network of `source` without `share` of its channels, fine-tuned in PyTorch."""

    source: Pretrain
    share: float
    settings: Settings

    def perform(self, place: Place) -> Outcome:
        require_one_thread()
        from fqt_ref.models.figures import figures
        from fqt_ref.transfer.batch_norm import with_batch_norm
        from fqt_ref.transfer.epochs import first_samples
        from fqt_ref.transfer.prune import prune
        from fqt_ref.transfer.torch_module import to_graph

        data = place.load(self.source.data)
        before = graph_of_bytes(place.start)
        module = with_batch_norm(before, first_samples(data))
        total, history = self.settings.epochs * max(len(data.train_x), 1), []
        for epoch, pruned in prune(module, data, self.settings, self.share, advance=lambda n, text: place.advance(n / total, text)):
            history.append(epoch.as_dict())
            module = pruned
        after = to_graph(module)
        sizes = {"parameters": figures(after).parameters, "parameters_before": figures(before).parameters}
        result = {"data": data.name, "history": history, "test_accuracy": history[-1]["test_accuracy"], **sizes}
        return Outcome(result, bytes_of_graph(after, result))


@dataclass(frozen=True)
class Retrain(Learning, Continued):
    """A float32 network quantized, its last `reset` layers with weights at random again and trained by the engine.

    samples, test_samples: only the first so many of the data set's parts.
    """

    source: Prune
    config: str
    seed: int
    epochs: int
    reset: int
    training: Training = PAPER
    samples: int | None = None
    test_samples: int | None = None

    def perform(self, place: Place) -> Outcome:
        from fqt_ref.models.figures import figures
        from fqt_ref.training import evaluate, prepared_state
        from fqt_ref.transfer.reset import reset_last
        from fqt_ref.transfer.steps import quantize

        data = place.load(self.dataset, self.samples, self.test_samples)
        graph = graph_of_bytes(place.start)
        network = quantize(graph, data, self.config)
        before = evaluate(prepared_state(network), data)
        begun = reset_last(network, self.reset, self.seed)
        sizes: dict[str, Any] = {"quantized_test_accuracy": before, "parameters": figures(graph).parameters}
        return learn(begun, data, self.training, self.seed, self.epochs, place, **sizes)


@dataclass(frozen=True)
class Subject:
    """A data set and how its float32 network is made.

    source: the subject whose pretrained network it starts from; samples, test_samples: the engine retrains with the first so many only.
    """

    data: str
    pretraining: Settings
    prune_epochs: int
    share: float = 0.3
    stands_for: str = ""
    source: "Subject | None" = None
    samples: int | None = None
    test_samples: int | None = None

    @property
    def row(self) -> str:
        """What a table calls it."""
        return row_of(self.data, self.samples, self.stands_for)

    def pretrained(self) -> Pretrain:
        return Pretrain(NETWORK, self.data, self.pretraining, None if self.source is None else self.source.pretrained())

    def pruned(self) -> Prune:
        return Prune(self.pretrained(), self.share, Settings(epochs=self.prune_epochs, learning_rate=0.025))


@dataclass(frozen=True)
class TransferLearning(Accuracy):
    """Data sets x configurations x update rates x seeds; of one update rate with the float32 network as baseline."""

    subjects: tuple[Subject, ...] = ()
    configs: tuple[str, ...] = ("uint8", "mixed", "float32")
    lambdas: tuple[float, ...] = (1.0,)
    seeds: int = 5
    epochs: int = 20
    reset: int = TAIL
    batch_size: int = 48
    learning_rate: float = 0.001

    def cells(self) -> list[Cell]:
        made = []
        for subject in self.subjects:
            source = subject.pruned()
            if len(self.lambdas) == 1:
                made.append(Cell(subject.row, "baseline", source))
            for config in self.configs:
                for rate in self.lambdas:
                    training = Training(self.batch_size, self.learning_rate, rate)
                    row, column = (subject.row, config) if len(self.lambdas) == 1 else (f"{subject.row}, {config}", f"lambda_min {rate}")
                    for seed in range(self.seeds):
                        run = Retrain(source, config, seed, self.epochs, self.reset, training, subject.samples, subject.test_samples)
                        made.append(Cell(row, column, run))
        return made
