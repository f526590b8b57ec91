# SPDX-License-Identifier: Apache-2.0
"""The commands of transfer learning: fqt network, pretrain, prune."""

from dataclasses import asdict
from pathlib import Path

import click

from fqt_ref.errors import FqtError
from fqt_ref.terminal import FILE, data_dir_option, json_option, progress, say, show

data_option = click.option("--data", required=True, help="A data set's name, or an .npz file of your own.")


def settings_options(epochs: int, learning_rate: float):
    """The options of settings.Settings, with these defaults."""
    options = [
        click.option("--epochs", default=epochs, show_default=True),
        click.option("--batch-size", default=64, show_default=True),
        click.option("--learning-rate", default=learning_rate, show_default=True, help="At its highest; it falls along a cosine."),
        click.option("--optimizer", default="sgd", show_default=True, help="sgd or adam."),
        click.option("--weight-decay", default=5e-4, show_default=True),
        click.option("--label-smoothing", default=0.0, show_default=True),
        click.option("--augment", default="auto", show_default=True, help="auto, none, shift or flip-shift."),
        click.option("--reduced", default=0.0, show_default=True, help="Share of the epochs on windows of 3/4 of the image's sides."),
        click.option("--seed", default=0, show_default=True),
        click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256)),
    ]

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def shape_of(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int, int]:
    """HxWxC as numbers."""
    parts = value.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and 0 < int(part) < 65536 for part in parts):
        raise FqtError(f"{parameter.opts[0]} {value} is not HxWxC, for example 32x32x3, or 1x512x1 for a signal")
    h, w, c = map(int, parts)
    return h, w, c


@click.command()
@click.argument("name")
@click.option("--input", "shape", default="32x32x3", show_default=True, callback=shape_of, help="HxWxC; 1xTxC for a signal of C axes.")
@click.option("--classes", default=10, show_default=True, type=click.IntRange(1, 512))
@json_option
def network(name, shape, classes, as_json) -> None:
    """A network's layers, parameters, multiply-accumulates and bytes of activations for an input shape."""
    from fqt_ref.models import describe_network
    from fqt_ref.models.describe import graph_of
    from fqt_ref.models.figures import figures, table

    graph = graph_of(name, describe_network(name, shape, classes), shape)
    found = figures(graph)
    show(as_json, {"network": name, "input": list(shape), "classes": classes, **asdict(found)}, lambda: table(graph, found))


@click.command()
@data_option
@data_dir_option
@click.option("--network", "name", default="mbednet", show_default=True, help="One of the networks that fqt network knows.")
@click.option("--from", "source", type=FILE, help="Start from this float32 network's weights wherever shapes agree (.npz).")
@settings_options(20, 0.1)
@click.option("--checkpoint", type=FILE, help="Where the run is kept after each epoch [default: the output with .checkpoint].")
@click.option("-o", "--output", type=FILE, required=True, help="float32 network to write (.npz).")
@json_option
def pretrain(data, data_dir, name, source, threads, checkpoint, output, as_json, **settings) -> None:
    """Train a float32 network in PyTorch (extra: torch). Ctrl-C stops; the same command goes on where it stopped."""
    from fqt_ref.transfer.require_torch import require_torch
    from fqt_ref.transfer.settings import Settings, check

    chosen = Settings(**settings)
    check(chosen)
    require_torch()
    import torch

    from fqt_ref.datasets import load
    from fqt_ref.models import describe_network
    from fqt_ref.models.describe import graph_of
    from fqt_ref.transfer import graph_file
    from fqt_ref.transfer.adopt import adopted
    from fqt_ref.transfer.batch_norm import with_batch_norm
    from fqt_ref.transfer.epochs import first_samples
    from fqt_ref.transfer.pretrain import pretrain as run
    from fqt_ref.transfer.torch_module import to_graph, to_module

    torch.set_num_threads(threads)
    samples = load(data, data_dir)
    shape = samples.train_x.shape[1:]
    graph = graph_of(name, describe_network(name, shape, samples.classes), shape)
    module = to_module(graph, chosen.seed)
    if source is not None:
        graph, adopted_layers = adopted(graph, graph_file.read(source)[0])
        say(f"{adopted_layers} layers start from {source}")
        module = with_batch_norm(graph, first_samples(samples), chosen.seed)
    file = checkpoint or output.with_name(output.name + ".checkpoint")
    history = []
    try:
        with progress("pretraining", chosen.epochs * len(samples.train_x)) as advance:
            for epoch in run(module, samples, chosen, file, advance):
                history.append(epoch.as_dict())
                say(f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, train {epoch.train_accuracy:.4f}, test {epoch.test_accuracy:.4f}, "
                    f"{epoch.seconds:.0f} s")  # fmt: skip
    except KeyboardInterrupt as error:
        raise FqtError(f"stopped after {len(history)} epochs, kept in {file}: the same command goes on from there") from error
    result = {"network": name, "data": samples.name, "settings": asdict(chosen), "epochs": history,
              "test_accuracy": history[-1]["test_accuracy"]}  # fmt: skip
    graph_file.write(Path(output), to_graph(module), result)
    show(as_json, {"model": str(output), **result}, lambda: [f"{output}: test accuracy {history[-1]['test_accuracy']:.4f}"])


@click.command()
@click.argument("source", type=FILE)
@data_option
@data_dir_option
@click.option("--share", default=0.5, show_default=True, help="Share of the channels that goes, of every layer (in fours).")
@click.option("--last", type=int, help="Prune only channels that the last N layers with weights make.")
@settings_options(10, 0.02)
@click.option("--checkpoint", type=FILE, help="Where the run is kept after each epoch [default: the output with .checkpoint].")
@click.option("-o", "--output", type=FILE, required=True, help="Pruned float32 network to write (.npz).")
@json_option
def prune(source, data, data_dir, share, last, threads, checkpoint, output, as_json, **settings) -> None:
    """Prune a network's channels gradually by their L1 norm, fine-tuned in PyTorch (extra: torch). Stops and goes on as pretrain."""
    from fqt_ref.transfer.require_torch import require_torch
    from fqt_ref.transfer.settings import Settings, check

    chosen = Settings(**settings)
    check(chosen)
    require_torch()
    import torch

    from fqt_ref.datasets import load
    from fqt_ref.models.figures import figures
    from fqt_ref.transfer import graph_file
    from fqt_ref.transfer.batch_norm import with_batch_norm
    from fqt_ref.transfer.epochs import first_samples
    from fqt_ref.transfer.pretrain import check_data
    from fqt_ref.transfer.prune import prune as run
    from fqt_ref.transfer.torch_module import to_graph

    torch.set_num_threads(threads)
    before, notes = graph_file.read(source)
    samples = load(data, data_dir)
    check_data(before, samples)
    module = start = with_batch_norm(before, first_samples(samples))
    file = checkpoint or output.with_name(output.name + ".checkpoint")
    history = []
    try:
        with progress("pruning", chosen.epochs * len(samples.train_x)) as advance:
            for epoch, module in run(start, samples, chosen, share, last, file, advance):
                history.append(epoch.as_dict())
                say(f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, train {epoch.train_accuracy:.4f}, test {epoch.test_accuracy:.4f}, "
                    f"{figures(module.graph).parameters} parameters, {epoch.seconds:.0f} s")  # fmt: skip
    except KeyboardInterrupt as error:
        raise FqtError(f"stopped after {len(history)} epochs, kept in {file}: the same command goes on from there") from error
    after = to_graph(module)
    costs = [{k: v for k, v in asdict(figures(graph)).items() if k != "nodes"} for graph in (before, after)]
    result = {"network": after.name, "data": samples.name, "share": share, "last": last, "settings": asdict(chosen), "before": costs[0],
              "after": costs[1], "epochs": history, "test_accuracy": history[-1]["test_accuracy"], "source": notes}  # fmt: skip
    graph_file.write(Path(output), after, result)
    changes = ", ".join(f"{key} {old} -> {costs[1][key]}" for key, old in costs[0].items())
    show(as_json, {"model": str(output), **result}, lambda: [f"{output}: test accuracy {result['test_accuracy']:.4f}; {changes}"])


COMMANDS = (network, pretrain, prune)
