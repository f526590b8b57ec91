# SPDX-License-Identifier: Apache-2.0
"""The `fqt` command: parses, calls, shows. Results go to standard output, everything else to standard error."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from fqt_ref import __version__
from fqt_ref.errors import FqtError, one_line
from fqt_ref.experiments.commands import experiment
from fqt_ref.files import check_output, make_folder
from fqt_ref.optimizers.names import NAMES
from fqt_ref.option_types import BYTE, LAYERS, SEED, SOME_EPOCHS
from fqt_ref.serial_line import BAUD
from fqt_ref.stop import stoppable
from fqt_ref.terminal import (
    FILE,
    data_files,
    data_options,
    json_option,
    progress,
    say,
    say_if_slow,
    show,
    show_log,
    training_options,
    zeroth_options,
)
from fqt_ref.transfer.commands import COMMANDS


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fqt")
def fqt() -> None:
    """Fully quantized training: 8-bit networks that learn on a desktop and, with the same bits, on a Cortex-M."""


@fqt.command()
@click.option("--data", default="digits", show_default=True, help="A data set's name, or an .npz file of your own.")
@data_options
@click.option("--network", default="mnist-cnn", show_default=True, help="mnist-cnn, digits-cnn or digits-mlp.")
@click.option("--config", default="uint8", show_default=True, help="uint8, mixed (float32 head) or float32.")
@click.option("--from", "source", type=FILE, help="Go on training this model file instead of random weights.")
@click.option("--train-last", type=LAYERS, help="Train only the last N layers with weights.")
@click.option("--epochs", default=5, show_default=True, help="0 to 1000000; 0 writes the network calibrated but untrained.")
@training_options()
@zeroth_options
@click.option("--seed", default=0, show_default=True, type=SEED)
@click.option("--plot", type=FILE, help="Draw loss and accuracy into this PNG (extra: plot).")
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@json_option
def train(data, data_dir, data_range, network, config, source, train_last, epochs, training, zeroth, seed, plot, output, as_json) -> None:
    """Train a network and write it to a model file, after each epoch. Ctrl-C (or SIGTERM) stops early and keeps what was learnt.

    A model file holds no momentum, and a board goes on with standardized-sgd whatever trained it.
    """
    from fqt_ref import model_file
    from fqt_ref.build import freeze
    from fqt_ref.datasets import load
    from fqt_ref.input_grid import fitted_to
    from fqt_ref.keep import Keeper
    from fqt_ref.kind import TRAINING, check_classifier
    from fqt_ref.network import network_of
    from fqt_ref.plot import check_picture, plot_history
    from fqt_ref.train_step import train_config
    from fqt_ref.training import check_run, fresh_network, train_epochs
    from fqt_ref.zeroth_order import check_options, zeroth_config

    settings, optimizer = train_config(**training, seed=seed), training["optimizer"]
    check_run(settings, epochs)
    check_output(output, inputs=data_files(data, data_dir))
    check_picture(plot, inputs=[source, output, *data_files(data, data_dir)])
    images = load(data, data_dir, data_range=data_range)
    if source is None:
        start = fresh_network(network, config, images, seed, train_last)
    else:
        start = model_file.read(source)
        check_classifier(start, TRAINING)
        if train_last is not None:
            freeze(start, train_last)
    images = fitted_to(start, images)
    estimates = None
    if zeroth is None:
        model_file.check_batch(start, settings.batch_size)
    else:
        if optimizer != NAMES[0]:
            raise FqtError(f"--zeroth trains with {NAMES[0]}: leave --optimizer {optimizer} away")
        check_options(settings)
        estimates = zeroth_config(start, settings.batch_size, **zeroth)
    say_if_slow()
    keep = Keeper(output)
    history, state, stopped = [], None, False
    with progress("training", epochs * len(images.train_x)) as advance:
        try:
            epochs_of = train_epochs(start, images, settings, epochs, lambda n, loss: advance(n, f"loss {loss:.3f}"), zeroth=estimates)
            for epoch, trained in epochs_of:
                history.append(epoch)
                state = trained
                keep(epoch, network_of(start.name, state))
        except KeyboardInterrupt:
            stopped = True
    if state is None and stopped:
        raise FqtError("stopped before the first epoch was complete: nothing to write; choose fewer samples or wait for an epoch")
    model_file.write(output, start if state is None else network_of(start.name, state))
    if plot is not None and history:
        plot_history([e.as_dict() for e in history], plot)
    result = {
        "model": str(output),
        "network": start.name,
        "data": images.name,
        "config": config if source is None else None,
        "optimizer": optimizer,
        "epochs": [e.as_dict() for e in history],
        "test_accuracy": history[-1].test_accuracy if history else None,
        "stopped": stopped,
    }
    learnt = f"test accuracy {history[-1].test_accuracy:.4f} after {len(history)} epochs" if history else "calibrated, not trained"
    show(as_json, result, lambda: [f"{output}: {learnt}"])


@fqt.command()
@click.argument("model", type=FILE)
@click.option("--data", default="digits", show_default=True, help="A data set's name, or an .npz file of your own.")
@data_options
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256))
@json_option
def evaluate(model, data, data_dir, data_range, threads, as_json) -> None:
    """Test accuracy of a model file."""
    import numpy as np

    from fqt_ref import model_file
    from fqt_ref.datasets import load
    from fqt_ref.input_grid import fitted_to
    from fqt_ref.kind import ACCURACY, check_classifier
    from fqt_ref.training import predictions_of, prepared_state

    network = model_file.read(model)
    check_classifier(network, ACCURACY)
    images = fitted_to(network, load(data, data_dir, data_range=data_range))
    say_if_slow()
    predictions = predictions_of(prepared_state(network), images.test_x, threads)
    correct = int(np.sum(predictions == images.test_y))
    accuracy = correct / len(predictions)
    result = {"model": str(model), "data": images.name, "samples": len(predictions), "correct": correct, "test_accuracy": accuracy,
              "cut_share": images.cut}  # fmt: skip
    show(as_json, result, lambda: [f"{model} on {images.name}: {correct} of {len(predictions)} right, {accuracy:.4f}"])


@fqt.command()
@click.argument("model", type=FILE)
@click.option("--plot", type=FILE, help="PNG of the memory plan: what lives where, and when, in a training step.")
@json_option
def info(model, plot, as_json) -> None:
    """What is in a model file: layers, shapes, scales, what trains, and its memory."""
    from fqt_ref import model_file
    from fqt_ref.info import describe, table
    from fqt_ref.plot import check_picture

    check_picture(plot, inputs=[model])
    network = model_file.read(model)
    description = describe(network, model.stat().st_size)
    if plot is not None:
        from fqt_ref.plot_memory import plot_memory
        from fqt_ref.training_plan import stored_plan

        plot_memory(*stored_plan(network), plot, f"{network.name}: {description['training_arena_bytes']} bytes of feature maps and errors")
    show(as_json, description, lambda: table(description))


@fqt.command()
@click.option("--check", "only_check", is_flag=True, help="Compare with freshly made vectors instead of writing.")
@click.option("--golden-dir", type=click.Path(path_type=Path, file_okay=False), help="Folder of the vectors [default: golden/].")
@json_option
def golden(only_check, golden_dir, as_json) -> None:
    """Write the golden vectors, or check them byte for byte."""
    from fqt_ref import golden as vectors

    folder = golden_dir or vectors.DEFAULT_DIR
    if not only_check:
        make_folder(folder, "--golden-dir")
    say_if_slow()
    with progress("golden vectors", vectors.FILES) as advance:
        files = vectors.generate(lambda name: advance(1, name))
    if only_check:
        compared = vectors.check(folder, files)
    else:
        vectors.write(folder, files)
        compared = sum(map(len, files.values()))
    verb = "equal" if only_check else "written"
    result = {"folder": str(folder), "files": len(files), "bytes": compared}
    show(as_json, result, lambda: [f"{folder}: {len(files)} files, {compared} bytes {verb}"])


@fqt.command()
@click.option("--target", default="host", show_default=True, help="host, cortex-m0, cortex-m3, cortex-m4 or cortex-m7.")
@click.option("--networks", default=20, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--steps", default=6, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--seed", default=0, show_default=True, type=SEED)
@click.option("--zeroth", is_flag=True, help="Train without back-propagation (SPEC.md 17).")
@json_option
def crosscheck(target, networks, steps, seed, zeroth, as_json) -> None:
    """Train random networks here and in the C library on a target, and compare every tensor of every step. Exit code 1 at a difference."""
    from fqt_ref.crosscheck import crosscheck as run

    say_if_slow()
    with progress(f"crosscheck on {target}", networks) as advance:
        result = run(target, networks, steps, seed, advance, zeroth)
    lines = [f"{target}: {result['networks']} networks, {result['steps']} steps each, {result['values_compared']} values compared, "
             f"{result['differences']} differences"]  # fmt: skip
    if result["first"]:
        lines.append(f"first: {result['first']}")
    show(as_json, result, lambda: lines)
    if result["differences"]:
        sys.exit(1)


@fqt.command()
@click.argument("model", type=FILE)
@click.option("--board", required=True, help="A Zephyr board, for example qemu_cortex_m3 or nrf52840dk/nrf52840.")
@click.option("--data", default="digits", show_default=True, help="Data set whose samples the application learns from.")
@data_options
@click.option(
    "--samples", default=64, show_default=True, type=click.IntRange(1, 65535), help="How many samples go into flash, or are sent."
)
@click.option("--epochs", default=1, show_default=True, type=SOME_EPOCHS, help="How often the samples are sent.")
@training_options(batch_size=8)
@zeroth_options
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Build folder [default: build/deploy-BOARD].")
@click.option("--build/--no-build", default=True, show_default=True, help="Run west build. Without: --run takes what is built.")
@click.option("--run", is_flag=True, help="Start the application on an emulated board, send it samples, compare what it has learnt.")
@click.option("--embedded", is_flag=True, help="Let it learn the samples in its flash instead.")
@click.option("--port", help="Serial port of a real board, for example /dev/ttyACM0: flash it with west, and --run there.")
@click.option("--baud", default=BAUD, show_default=True, type=click.IntRange(1, 100_000_000), help="Of that port.")
@click.option(
    "--seconds", default=120, show_default=True, type=click.IntRange(1, 1_000_000), help="How long it may take, or how long to show it."
)
@json_option
def deploy(
    model, board, data, data_dir, data_range, samples, epochs, training, zeroth, output, build, run, embedded, port, baud, seconds, as_json
) -> None:
    """Put a model into the Zephyr application, with just the operators and memory that it needs; build it, and run it on a board.

    With --run an emulated board learns samples that are sent to its UART, with --port a real one; then its weights come back and are
    compared with the engine's after the same samples, bit for bit. Exit code 1 at a difference. A board has standardized-sgd alone.
    """
    from fqt_ref import deploy as deployment
    from fqt_ref.deploy_config import on_chip
    from fqt_ref.train_step import train_config
    from fqt_ref.training import check_run
    from fqt_ref.zeroth_order import ZerothConfig

    config = train_config(**training)
    check_run(config, epochs)
    hyperparameters = on_chip(config, None if zeroth is None else ZerothConfig(**zeroth))
    if embedded and port is not None:
        raise FqtError("--port streams samples, and --embedded learns those in flash: choose one")
    run = run or port is not None
    settings = deployment.Settings(
        model, board, data, data_dir, samples, hyperparameters, output, data_range=data_range,
        stream=run and not embedded, epochs=epochs, seconds=seconds, port=port, baud=baud,
    )  # fmt: skip
    result = deployment.deploy(settings, build, run, say)
    lines = [f"{key}: {value}" for key, value in result.items()]
    if "equal" in result:
        verdict = "equal, bit for bit" if result["equal"] else f"different: {result['first_difference']}"
        lines.append(f"{result['compared_bytes']} bytes of the device's state and the engine's after the same samples: {verdict}")
    show(as_json, result, lambda: lines)
    if not result.get("equal", True):
        sys.exit(1)


@fqt.command()
@click.argument("model", type=FILE)
@click.option("--board", help="One board [default: all of README's list].")
@click.option("--budget", help="Bytes of RAM, for example 256K: propose how many of the last layers to train.")
@click.option("--samples", default=64, show_default=True, type=click.IntRange(1, 65535), help="How many samples go into flash.")
@json_option
def fit(model, board, budget, samples, as_json) -> None:
    """RAM, flash, stacks and instructions of a training step on boards, and whether a model and its training fit. Builds nothing."""
    from fqt_ref import fit as fitting
    from fqt_ref import model_file

    limit = None if budget is None else fitting.parse_bytes(budget)
    results = fitting.fit(model_file.read(model), list(fitting.BOARDS) if board is None else [board], samples, limit)
    show(as_json, results if board is None else results[0], lambda: fitting.table(results))


@fqt.command("import")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", help="Data set to measure ranges on (a fully quantized model needs none) and to compare with the source.")
@data_options
@click.option("--config", default="uint8", show_default=True, help="uint8, mixed (float32 head) or float32.")
@click.option("--per-channel/--per-tensor", default=True, show_default=True, help="Grids of weights that the model does not prescribe.")
@click.option("--calibration", default="minmax", show_default=True, help="minmax, or percentile: without rare values (input, too).")
@click.option("--percentile", default=99.9, show_default=True, help="50 to 100: how much of each range percentile calibration keeps, in %.")
@click.option("--train-last", type=LAYERS, help="Train only the last N layers with weights.")
@click.option("--classes", type=int, help="Replace the last layer by an untrained one for N classes.")
@click.option("--input-shape", help="c,h,w of a sample, for TorchScript files, which do not say it.")
@click.option("--input-scale", type=float, help="What one step of the network's input is worth, where the model does not prescribe it.")
@click.option("--input-zero", type=BYTE, default=0, show_default=True, help="The input byte that is 0, with --input-scale.")
@click.option("--seed", default=0, show_default=True, type=SEED)
@click.option("--report", is_flag=True, help="Show what became of each operator.")
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@json_option
def import_(model, input_shape, report, as_json, **options) -> None:
    """Import a trained network: TFLite, ONNX, PyTorch (.pt2, .pt) or MCUNet's JSON, float32 or quantized.

    With --data both run on up to 500 test samples, where the source's own runtime is installed (LiteRT, onnxruntime, PyTorch); below 98 %
    of the same classes the layer at which they part is named.
    """
    from fqt_ref.convert.command import ImportSettings, import_model

    shape = None
    if input_shape is not None:
        if not all(part.strip().isdecimal() for part in input_shape.split(",")):
            raise FqtError(f"--input-shape '{input_shape}' is not a list of sizes like 3,32,32")
        shape = tuple(int(part) for part in input_shape.split(","))
    sources = [] if model.suffix == ".fqt" else [model]  # no source at all, which load() says
    check_output(options["output"], inputs=[*sources, *data_files(options["data"], options["data_dir"])])
    result, lines = import_model(ImportSettings(model, input_shape=shape, **options))
    head = f"{options['output']}: {result['kind']}, {result['layers']} layers, {result['weights']} weights from {model}"
    show(as_json, result, lambda: [*(lines if report else result["notes"]), head])


@fqt.command()
@click.argument("model", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="ONNX file to write.")
@json_option
def export(model, output, as_json) -> None:
    """Write a model file as ONNX: quantized with QuantizeLinear and DequantizeLinear pairs (QDQ)."""
    from fqt_ref.convert.command import export_model

    check_output(output, inputs=[model])
    result = export_model(model, output)
    show(as_json, result, lambda: [f"{output}: {result['layers']} layers, {result['bytes']} bytes"])


for command in (*COMMANDS, experiment):
    fqt.add_command(command)


def main() -> None:
    """Entry point: whatever is wrong with the input, the files or the machine is one line and exit code 2; a stop is 130."""
    show_log()
    with stoppable():
        try:
            fqt(standalone_mode=False)
        except FqtError as error:
            end(str(error))
        except click.ClickException as error:
            end(error.format_message())
        except click.Abort as error:
            if isinstance(error.__cause__, EOFError):
                end("a file ends before it should: get it again")
            end("stopped", 130)
        except KeyboardInterrupt:
            end("stopped", 130)
        except OSError as error:
            end(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except MemoryError as error:
            end(f"not enough memory{f' ({error})' if str(error) else ''}: use less data or a smaller network")


def end(text: str, code: int = 2) -> NoReturn:
    """Say a line and leave."""
    say(f"fqt: {one_line(text)}")
    drop_unwritten()
    sys.exit(code)


def drop_unwritten() -> None:
    """What could not be written to standard output must not be tried again when Python ends, which would say more than our line."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
