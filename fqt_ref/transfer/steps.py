# SPDX-License-Identifier: Apache-2.0
"""The steps of transfer learning, from a network to a file, with their progress shown. Each returns its result as JSON has it."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.files import check_output, make_folder
from fqt_ref.graph import Graph
from fqt_ref.input_grid import calibration_of, fitted_to
from fqt_ref.keep import say_epoch
from fqt_ref.kind import TRAINING, check_classifier
from fqt_ref.models.figures import figures
from fqt_ref.network import Network, network_of
from fqt_ref.terminal import progress, say
from fqt_ref.training import Epoch, evaluate, prepared_state, train_epochs
from fqt_ref.transfer import graph_file
from fqt_ref.transfer.settings import Settings

Result = dict[str, Any]


def checkpoint_of(output: Path) -> Path:
    """Where a run that will write `output` is kept."""
    return output.with_name(output.name + ".checkpoint")


def check_outputs(output: Path, checkpoint: Path | None, inputs: list[Path]) -> Path:
    """Whether a run's file and its checkpoint can be written; makes their folders. Returns the checkpoint's path. Raises FqtError."""
    kept = checkpoint or checkpoint_of(output)
    make_folder(output.parent)
    make_folder(kept.parent, "--checkpoint")
    check_output(output, inputs=inputs)
    check_output(kept, "--checkpoint", [output, *inputs])
    return kept


@contextmanager
def resumable(checkpoint: Path, history: list[Result]):
    """Ctrl-C becomes a message that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise FqtError(f"stopped after {len(history)} epochs, kept in {checkpoint}: the same command goes on from there") from error


def one_thread_or(threads: int) -> None:
    """PyTorch, if it is there, on so many threads."""
    from fqt_ref.transfer.require_torch import require_torch

    require_torch()
    import torch

    torch.set_num_threads(threads)


def pretrain(graph: Graph, data: Dataset, settings: Settings, output: Path, source: Path | None, checkpoint: Path) -> Result:
    """Train a network in PyTorch, from random weights or those of the source's file, and write it."""
    from fqt_ref.transfer.adopt import adopted
    from fqt_ref.transfer.batch_norm import with_batch_norm
    from fqt_ref.transfer.epochs import first_samples
    from fqt_ref.transfer.pretrain import data_for
    from fqt_ref.transfer.pretrain import pretrain as run
    from fqt_ref.transfer.torch_module import to_graph, to_module

    data = data_for(graph, data)
    module = to_module(graph, settings.seed)
    if source is not None:
        start, layers = adopted(graph, graph_file.read(source)[0])
        say(f"{layers} layers start from {source}")
        module = with_batch_norm(start, first_samples(data), settings.seed)
    history: list[Result] = []
    with resumable(checkpoint, history), progress("pretraining", settings.epochs * len(data.train_x)) as advance:
        for epoch in run(module, data, settings, checkpoint, advance):
            history.append(epoch.as_dict())
            say_epoch(epoch)
    result = {"network": graph.name, "data": data.name, "settings": asdict(settings), "epochs": history}
    result["test_accuracy"] = history[-1]["test_accuracy"]
    graph_file.write(output, to_graph(module), result)
    return {"model": str(output), **result}


def prune(source: Path, data: Dataset, settings: Settings, output: Path, share: float, last: int | None, checkpoint: Path) -> Result:
    """Prune the network of a file gradually, fine-tuning in PyTorch, and write it."""
    from fqt_ref.transfer.batch_norm import with_batch_norm
    from fqt_ref.transfer.epochs import first_samples
    from fqt_ref.transfer.pretrain import data_for
    from fqt_ref.transfer.prune import prune as run
    from fqt_ref.transfer.torch_module import to_graph

    before, notes = graph_file.read(source)
    data = data_for(before, data)
    module = start = with_batch_norm(before, first_samples(data))
    history: list[Result] = []
    with resumable(checkpoint, history), progress("pruning", settings.epochs * len(data.train_x)) as advance:
        for epoch, module in run(start, data, settings, share, last, checkpoint, advance):
            history.append(epoch.as_dict())
            say_epoch(epoch, f", {figures(module.graph).parameters} parameters")
    after = to_graph(module)
    costs = [{k: v for k, v in asdict(figures(graph)).items() if k != "nodes"} for graph in (before, after)]
    result = {"network": after.name, "data": data.name, "share": share, "last": last, "settings": asdict(settings), "epochs": history}
    result.update(before=costs[0], after=costs[1], test_accuracy=history[-1]["test_accuracy"], unpruned=notes.get("test_accuracy"))
    graph_file.write(output, after, result)
    return {"model": str(output), **result}


def quantize(graph: Graph, data: Dataset, config: str, percentile: float = 100.0, per_channel: bool = False) -> Network:
    """Post-training quantization: the graph's network in a configuration, ranges from the first training samples."""
    from fqt_ref.build import build_network

    samples, grid = calibration_of(data, graph, percentile)
    return build_network(graph, config, samples, *grid, percentile=percentile, per_channel=per_channel)


def tell(epoch: Epoch, network: Network) -> None:
    """Say how an epoch went, and keep nothing."""
    say_epoch(epoch)


def retrain(
    network: Network, data: Dataset, config, epochs: int, reset: int, seed: int, each: Callable[[Epoch, Network], None] = tell
) -> tuple[Result, Network]:
    """Reset the last `reset` layers with weights and train them by the engine; Ctrl-C keeps what was learnt.

    config: train_step.TrainConfig; each(epoch, network): called after each epoch, with the network as it is then. Returns the result and
    the trained network.
    """
    from fqt_ref.transfer.reset import reset_last

    check_classifier(network, TRAINING)
    data = fitted_to(network, data)
    before = evaluate(prepared_state(network), data)
    start = reset_last(network, reset, seed)
    say(f"test accuracy {before:.4f}; reset the last {reset} layers")
    trained, history, stopped = start, [], False
    with progress("retraining", epochs * len(data.train_x)) as advance:
        try:
            for epoch, state in train_epochs(start, data, config, epochs, lambda n, loss: advance(n, f"loss {loss:.3f}")):
                trained = network_of(start.name, state)
                history.append(epoch.as_dict())
                each(epoch, trained)
        except KeyboardInterrupt:
            stopped = True
    if stopped and not history:
        raise FqtError("stopped before the first epoch was complete: nothing to write; wait for an epoch")
    result = {"network": network.name, "data": data.name, "reset": reset, "seed": seed, "quantized_test_accuracy": before,
              "epochs": history, "test_accuracy": history[-1]["test_accuracy"] if history else before, "stopped": stopped}  # fmt: skip
    return result, trained
