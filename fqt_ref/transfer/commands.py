# SPDX-License-Identifier: Apache-2.0
"""The commands of transfer learning: fqt network, pretrain, prune, quantize, retrain, transfer."""

from dataclasses import asdict
from pathlib import Path

import click

from fqt_ref import MAX_CLASSES
from fqt_ref.errors import FqtError
from fqt_ref.files import check_output, make_folder
from fqt_ref.option_types import LAYERS, SEED, SOME_EPOCHS, Real
from fqt_ref.terminal import FILE, data_files, data_options, json_option, options, say_if_slow, show, training_options

RATE = Real(0, 1000, min_open=True)
SHARE = Real(0, 1, max_open=True)
data_option = click.option("--data", required=True, help="A data set's name, or an .npz file of your own.")
checkpoint_option = click.option("--checkpoint", type=FILE, help="Kept after each epoch [default: the output with .checkpoint].")


def settings_options(epochs: int, learning_rate: float):
    """The options of settings.Settings, with these defaults, and PyTorch's threads."""
    return options(
        click.option("--epochs", default=epochs, show_default=True, help="1 to 1000000."),
        click.option("--batch-size", default=64, show_default=True, help="2 to 65536."),
        click.option(
            "--learning-rate", default=learning_rate, show_default=True, help="At its highest; it falls along a cosine. More than 0."
        ),
        click.option("--optimizer", default="sgd", show_default=True, help="sgd or adam."),
        click.option("--weight-decay", default=5e-4, show_default=True, type=Real(0, 1000)),
        click.option("--label-smoothing", default=0.0, show_default=True, type=Real(0, 1, max_open=True)),
        click.option("--augment", default="auto", show_default=True, help="auto, none, shift or flip-shift."),
        click.option(
            "--reduced", default=0.0, show_default=True, type=Real(0, 1), help="Share of the epochs on windows of 3/4 of the image's sides."
        ),
        click.option("--seed", default=0, show_default=True, type=SEED),
        click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256)),
    )


quantize_options = options(
    click.option("--percentile", default=100.0, show_default=True, type=Real(50, 100), help="Of a feature map's values in range."),
    click.option("--per-channel", is_flag=True, help="A weight grid for each output channel."),
)
retrain_options = options(
    click.option("--reset-last", default=5, show_default=True, type=LAYERS, help="How many layers with weights start anew."),
    click.option("--epochs", default=20, show_default=True, help="0 to 1000000."),
    training_options(),
)


def shape_of(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int, int]:
    """HxWxC as numbers."""
    parts = value.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and 0 < int(part) < 65536 for part in parts):
        raise FqtError(f"{parameter.opts[0]} {value} is not HxWxC, for example 32x32x3, or 1x512x1 for a signal")
    h, w, c = map(int, parts)
    return h, w, c


def described(name: str, shape: tuple[int, int, int], classes: int):
    """The Graph of a named network."""
    from fqt_ref.models import describe_network
    from fqt_ref.models.describe import graph_of

    return graph_of(name, describe_network(name, shape, classes), shape)


@click.command()
@click.argument("name")
@click.option("--input", "shape", default="32x32x3", show_default=True, callback=shape_of, help="HxWxC; 1xTxC for a signal of C axes.")
@click.option("--classes", default=10, show_default=True, type=click.IntRange(1, MAX_CLASSES))
@json_option
def network(name, shape, classes, as_json) -> None:
    """A network's layers, parameters, multiply-accumulates and bytes of activations for an input shape."""
    from fqt_ref.models.figures import figures, table

    graph = described(name, shape, classes)
    found = figures(graph)
    show(as_json, {"network": name, "input": list(shape), "classes": classes, **asdict(found)}, lambda: table(graph, found))


@click.command()
@data_option
@data_options
@click.option("--network", "name", default="mbednet", show_default=True, help="A network's name.")
@click.option("--from", "source", type=FILE, help="Start from this float32 network's weights wherever shapes agree (.npz).")
@settings_options(20, 0.1)
@checkpoint_option
@click.option("-o", "--output", type=FILE, required=True, help="float32 network to write (.npz).")
@json_option
def pretrain(data, data_dir, data_range, name, source, threads, checkpoint, output, as_json, **settings) -> None:
    """Train a float32 network in PyTorch (extra: torch). Ctrl-C stops; the same command goes on where it stopped."""
    from fqt_ref.datasets import load
    from fqt_ref.input_grid import for_new_network, said
    from fqt_ref.transfer import steps
    from fqt_ref.transfer.settings import Settings, check

    chosen = Settings(**settings)
    check(chosen)
    checkpoint = steps.check_outputs(output, checkpoint, data_files(data, data_dir))
    steps.one_thread_or(threads)
    samples = said(for_new_network(load(data, data_dir, data_range=data_range)))
    graph = described(name, samples.train_x.shape[1:], samples.classes)
    result = steps.pretrain(graph, samples, chosen, output, source, checkpoint)
    show(as_json, result, lambda: [f"{output}: test accuracy {result['test_accuracy']:.4f}"])


@click.command()
@click.argument("source", type=FILE)
@data_option
@data_options
@click.option("--share", default=0.5, show_default=True, type=SHARE, help="Share of the channels that goes, of every layer (in fours).")
@click.option("--last", type=LAYERS, help="Prune only channels that the last N layers with weights make.")
@settings_options(10, 0.02)
@checkpoint_option
@click.option("-o", "--output", type=FILE, required=True, help="Pruned float32 network to write (.npz).")
@json_option
def prune(source, data, data_dir, data_range, share, last, threads, checkpoint, output, as_json, **settings) -> None:
    """Prune a network's channels gradually by their L1 norm, fine-tuned in PyTorch (extra: torch). Stops and goes on as pretrain."""
    from fqt_ref.datasets import load
    from fqt_ref.transfer import steps
    from fqt_ref.transfer.settings import Settings, check

    chosen = Settings(**settings)
    check(chosen)
    checkpoint = steps.check_outputs(output, checkpoint, data_files(data, data_dir))
    steps.one_thread_or(threads)
    result = steps.prune(source, load(data, data_dir, data_range=data_range), chosen, output, share, last, checkpoint)
    changes = ", ".join(f"{key} {old} -> {result['after'][key]}" for key, old in result["before"].items())
    show(as_json, result, lambda: [f"{output}: test accuracy {result['test_accuracy']:.4f}; {changes}"])


@click.command()
@click.argument("source", type=FILE)
@data_option
@data_options
@click.option("--config", default="uint8", show_default=True, help="uint8, mixed (float32 head) or float32.")
@quantize_options
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@json_option
def quantize(source, data, data_dir, data_range, config, percentile, per_channel, output, as_json) -> None:
    """Post-training quantization: a float32 network (.npz) as a model file, with ranges from training samples."""
    from fqt_ref import model_file
    from fqt_ref.datasets import load
    from fqt_ref.training import evaluate, prepared_state
    from fqt_ref.transfer import graph_file, steps

    check_output(output, inputs=[source, *data_files(data, data_dir)])
    graph, notes = graph_file.read(source)
    samples = load(data, data_dir, data_range=data_range)
    say_if_slow()
    made = steps.quantize(graph, samples, config, percentile, per_channel)
    model_file.write(output, made)
    accuracy = evaluate(prepared_state(made), samples)
    result = {"model": str(output), "network": made.name, "data": samples.name, "config": config, "test_accuracy": accuracy,
              "float32_test_accuracy": notes.get("test_accuracy")}  # fmt: skip
    show(as_json, result, lambda: [f"{output}: test accuracy {accuracy:.4f} (float32 {result['float32_test_accuracy']})"])


@click.command()
@click.argument("model", type=FILE)
@data_option
@data_options
@retrain_options
@click.option("--seed", default=0, show_default=True, type=SEED)
@click.option("--plot", type=FILE, help="Draw loss and accuracy into this PNG (extra: plot).")
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@json_option
def retrain(model, data, data_dir, data_range, reset_last, epochs, training, seed, plot, output, as_json) -> None:
    """Reset a model file's last layers to random values and train them anew, as on the device. Ctrl-C keeps what was learnt; the file is
    written after each epoch.

    The device has standardized-sgd alone; a model file holds no momentum.
    """
    from fqt_ref import model_file
    from fqt_ref.datasets import load
    from fqt_ref.keep import Keeper
    from fqt_ref.plot import check_picture
    from fqt_ref.train_step import train_config
    from fqt_ref.training import check_run
    from fqt_ref.transfer import steps

    settings = train_config(**training, seed=seed)
    check_run(settings, epochs)
    check_output(output, inputs=data_files(data, data_dir))
    check_picture(plot, inputs=[model, output, *data_files(data, data_dir)])
    start = model_file.read(model)
    samples = load(data, data_dir, data_range=data_range)
    model_file.check_batch(start, settings.batch_size)
    say_if_slow()
    result, trained = steps.retrain(start, samples, settings, epochs, reset_last, seed, Keeper(output))
    model_file.write(output, trained)
    if plot is not None and result["epochs"]:
        from fqt_ref.plot import plot_history

        plot_history(result["epochs"], plot)
    show(as_json, {"model": str(output), **result}, lambda: [
        f"{output}: test accuracy {result['test_accuracy']:.4f}, {result['quantized_test_accuracy']:.4f} before the reset"])  # fmt: skip


@click.command()
@data_option
@data_options
@click.option("--from", "source", type=FILE, help="Start from this float32 network (.npz) instead of pretraining one.")
@click.option("--network", "name", default="mbednet", show_default=True, help="Network to pretrain.")
@click.option("--pretrain-epochs", default=20, show_default=True, type=SOME_EPOCHS)
@click.option("--pretrain-rate", default=0.05, show_default=True, type=RATE, help="Learning rate of pretraining, at its highest.")
@click.option("--share", default=0.0, show_default=True, type=SHARE, help="Share of channels to prune before quantization.")
@click.option("--prune-epochs", default=10, show_default=True, type=SOME_EPOCHS)
@click.option("--configs", default="uint8,mixed,float32", show_default=True, help="Configurations to compare, with commas.")
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1, 10000), help="Retrainings of each, with seeds 0, 1, ...")
@quantize_options
@retrain_options
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of models, results, plots.")
@json_option
def transfer(
    data, data_dir, data_range, source, name, pretrain_epochs, pretrain_rate, share, prune_epochs, configs, runs, percentile, per_channel,
    reset_last, epochs, training, output, as_json,
) -> None:  # fmt: skip
    """The paper's transfer learning, all of it: pretrain, prune, quantize, reset the last layers, retrain; in several configurations.

    What the folder holds is not done again: after Ctrl-C the same command goes on. Draws transfer.png if matplotlib is installed.
    """
    from importlib.util import find_spec

    from fqt_ref.datasets import load
    from fqt_ref.input_grid import for_new_network, said
    from fqt_ref.train_step import train_config
    from fqt_ref.training import check_run
    from fqt_ref.transfer import graph_file, steps
    from fqt_ref.transfer.experiment import experiment, summary
    from fqt_ref.transfer.settings import Settings, check

    def settings(seed: int):
        return train_config(**training, seed=seed)

    check_run(settings(0), epochs)
    make_folder(output)
    samples = said(for_new_network(load(data, data_dir, data_range=data_range)))
    if source is None:
        source, chosen = output / "pretrained.npz", Settings(epochs=pretrain_epochs, learning_rate=pretrain_rate)
        if not source.exists():
            check(chosen)
            steps.one_thread_or(1)
            graph = described(name, samples.train_x.shape[1:], samples.classes)
            steps.pretrain(graph, samples, chosen, source, None, steps.checkpoint_of(source))
    if share > 0:
        whole, source, chosen = source, output / "pruned.npz", Settings(epochs=prune_epochs, learning_rate=pretrain_rate / 2)
        if not source.exists():
            steps.one_thread_or(1)
            steps.prune(whole, samples, chosen, source, share, None, steps.checkpoint_of(source))
    graph, notes = graph_file.read(source)
    say_if_slow()
    result = experiment(
        graph, samples, configs.split(","), runs, settings, epochs, reset_last, output, percentile=percentile, per_channel=per_channel
    )
    result["float32_baseline"] = notes.get("test_accuracy")
    if find_spec("matplotlib") is not None:
        from fqt_ref.plot_transfer import plot_transfer

        plot_transfer(result, output / "transfer.png")
    show(as_json, result, lambda: summary(result))


COMMANDS = (network, pretrain, prune, quantize, retrain, transfer)
