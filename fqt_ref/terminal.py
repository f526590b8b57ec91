# SPDX-License-Identifier: Apache-2.0
"""What all commands share: options, messages, progress bars. Results go to standard output, everything else to standard error."""

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fqt_ref.optimizers.names import NAMES

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set's files (or FQT_DATA_DIR).")


def optimizer_options(command):
    """The options that choose an optimizer of the engine and its own: parameters of train_step.train_config() of the same name."""
    for option in (
        click.option(
            "--stochastic-errors",
            default="loss",
            show_default=True,
            help="loss, none or all: which errors are rounded stochastically instead of half up.",
        ),
        click.option("--range-rate", default=0.001, show_default=True, help="Of --weight-range moving-average."),
        click.option(
            "--weight-range",
            default="hysteresis",
            show_default=True,
            help="hysteresis, moving-average or literal: how weight grids follow.",
        ),
        click.option(
            "--real-weights", is_flag=True, help="Keep what rounding to bytes leaves over, as Lin et al. simulate (4 B a weight)."
        ),
        click.option("--momentum", type=float, help="Of sgd-m and qas-sgd-m [default: 0.9]."),
        click.option("--optimizer", default=NAMES[0], show_default=True, help=f"{', '.join(NAMES)}: the last two to compare with."),
    ):
        command = option(command)
    return command


FILE = click.Path(path_type=Path, dir_okay=False)


def zeroth_options(command):
    """The options that choose estimates instead of back-propagation: zeroth (queries, or None) and the other fields of a ZerothConfig."""
    for option in (
        click.option("--exact-last", is_flag=True, help="--zeroth: the layer that makes the logits takes their error as it is."),
        click.option(
            "--one-sided", is_flag=True, help="--zeroth: compare with the loss as it is, not with that of the opposite perturbation."
        ),
        click.option("--node-step", default=5, show_default=True, help="--zeroth: perturbation of outputs, in steps of their grid."),
        click.option(
            "--bias-step", default=1, show_default=True, help="--zeroth: perturbation of biases, in steps of the output's grid; 0: none."
        ),
        click.option("--weight-step", default=1, show_default=True, help="--zeroth: perturbation of weights, in steps of their grid."),
        click.option(
            "--first-node", default=0, show_default=True, help="--zeroth: layers from here on are estimated by nodes, others by weights."
        ),
        click.option("--zeroth", type=int, metavar="QUERIES", help="Train without back-propagation: so many queries a layer and sample."),
    ):
        command = option(command)
    return command


def say(text: str) -> None:
    """A line for the person at the terminal."""
    click.echo(text, err=True)


def show(as_json: bool, result: dict[str, Any], lines: Callable[[], list[str]]) -> None:
    """The result, as JSON or as lines."""
    click.echo(json.dumps(result) if as_json else "\n".join(lines()))


def say_if_slow() -> None:
    """The first start on a machine is silent for long: say why."""
    from fqt_ref.jit import is_compiled
    from fqt_ref.train_step import train

    if not is_compiled(train):
        say("compiling the engine for this machine: once, about two minutes")


@contextmanager
def progress(title: str, total: float):
    """A progress bar on standard error; yields advance(n, text)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}")
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda n=1, text="": bar.update(task, advance=n, text=text)
