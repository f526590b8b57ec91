# SPDX-License-Identifier: Apache-2.0
"""Supervised training of a float32 network in PyTorch, epoch by epoch, resumable. Import late: needs the extra torch."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph
from fqt_ref.input_grid import fitted, said
from fqt_ref.training import Epoch
from fqt_ref.transfer import checkpoint
from fqt_ref.transfer.epochs import Advance, accuracy_of, new_optimizer, silent, train_epoch
from fqt_ref.transfer.settings import Settings, check
from fqt_ref.transfer.torch_module import GraphModule, channels_last

SHOWN = 1000  # test samples on the way, the first ones; the last epoch is evaluated on all


def data_for(graph: Graph, data: Dataset) -> Dataset:
    """The data set in the network's shape, values as they are. Raises FqtError: samples or classes that the network does not take."""
    if len(data.train_x) < 2:
        raise FqtError(f"data set {data.name} has {len(data.train_x)} training samples: batch norm needs two")
    h, w, c = graph.input_shape
    return said(fitted(data, (h, w, c), graph.shape(len(graph.nodes))[2]))


def pretrain(
    module: GraphModule, data: Dataset, settings: Settings, file: Path | None = None, advance: Advance = silent
) -> Iterator[Epoch]:
    """Train the module in place; yields every epoch's figures, those of a resumed run's earlier epochs first.

    Until the last epoch test accuracies are those of the first SHOWN test samples.

    file: checkpoint, written after each epoch, read if it exists. advance(samples, text) is called after each batch.
    Raises FqtError: settings, data or checkpoint that do not fit, a loss that is not finite.
    """
    check(settings)
    data = data_for(module.graph, data)
    channels_last(module)
    optimizer = new_optimizer(module, settings)
    identity: dict[str, Any] = {"network": module.graph.name, "data": data.name, "samples": len(data.train_x), **asdict(settings)}
    history: list[dict[str, Any]] = []
    run = None if file is None else checkpoint.load(file, identity)
    if run is not None:
        try:
            module.load_state_dict(run["module"])
            optimizer.load_state_dict(run["optimizer"])
            history = [Epoch(**epoch).as_dict() for epoch in run["history"]]
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FqtError(f"{file}: a checkpoint of a differently shaped {module.graph.name}; delete it to start anew") from error
        for epoch in history:
            advance(len(data.train_x), "resumed")
            yield Epoch(**epoch)
    for number in range(len(history), settings.epochs):
        start = perf_counter()
        loss, train_accuracy = train_epoch(module, optimizer, data, settings, number, advance)
        shown = len(data.test_x) if number + 1 == settings.epochs else SHOWN
        test_accuracy = accuracy_of(module, data.test_x[:shown], data.test_y[:shown], data)
        history.append(asdict(Epoch(number, loss, train_accuracy, test_accuracy, perf_counter() - start)))
        if file is not None:
            run = {"identity": identity, "module": module.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            checkpoint.save(file, run)
        yield Epoch(**history[-1])
