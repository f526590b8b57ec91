# SPDX-License-Identifier: Apache-2.0
"""What all commands share: options, messages, progress bars. Results go to standard output, everything else to standard error."""

import json
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fqt_ref.errors import FqtError
from fqt_ref.optimizers.names import NAMES, STOCHASTIC_ERRORS, WEIGHT_RANGES

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set's files (or FQT_DATA_DIR).")
data_range_option = click.option(
    "--data-range", metavar="LO..HI", help="What uint8 samples mean: 0..1, 0..255, -1..1, ... [default: 0..1, or what the network takes]."
)


FILE = click.Path(path_type=Path, dir_okay=False)


def fraction(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A number in 0..1."""
    if not 0 <= value <= 1:
        raise FqtError(f"{parameter.opts[0]} {value} is not in 0..1")
    return value


def options(*all_of_them):
    """Several options as one decorator."""

    def decorate(command):
        for option in reversed(all_of_them):
            command = option(command)
        return command

    return decorate


data_options = options(data_dir_option, data_range_option)  # beside --data: where it is, and what its bytes mean


def gathered(name: str, *all_of_them: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, whose command gets their values as one dict, the parameter `name`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def gathering(**values: Any) -> Any:
            return command(**{name: {one: values.pop(one) for one in names}}, **values)

        before = {one.name for one in getattr(command, "__click_params__", [])}
        made = options(*all_of_them)(gathering)
        names = {one.name for one in made.__click_params__} - before
        return made

    return decorate


def training_options(batch_size: int = 48) -> Callable[[Any], Any]:
    """What a training is done with, but its seed. The parameter `training`: arguments of train_step.train_config()."""
    return gathered(
        "training",
        click.option("--batch-size", default=batch_size, show_default=True),
        click.option("--learning-rate", default=0.001, show_default=True),
        click.option("--lambda-min", default=1.0, show_default=True, callback=fraction, help="Least share of channels updated (Eq. 9)."),
        click.option("--lambda-max", default=1.0, show_default=True, callback=fraction, help="Greatest share of channels updated."),
        click.option("--sparse-last", is_flag=True, help="Apply sparse updates to the loss layer too."),
        click.option("--optimizer", default=NAMES[0], show_default=True, help=f"{', '.join(NAMES)}: the last two to compare with."),
        click.option("--momentum", type=float, help="Of sgd-m and qas-sgd-m [default: 0.9]."),
        click.option(
            "--real-weights", is_flag=True, help="Keep what rounding to bytes leaves over, as Lin et al. simulate (4 B a weight)."
        ),
        click.option(
            "--weight-range", default=WEIGHT_RANGES[0], show_default=True, help=f"{', '.join(WEIGHT_RANGES)}: how weight grids follow."
        ),
        click.option("--range-rate", default=0.001, show_default=True, help="Of --weight-range moving-average."),
        click.option(
            "--stochastic-errors",
            default=STOCHASTIC_ERRORS[0],
            show_default=True,
            help=f"{', '.join(STOCHASTIC_ERRORS)}: which errors are rounded stochastically instead of half up.",
        ),
    )


def zeroth_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Estimates instead of back-propagation. The parameter `zeroth`: arguments of a ZerothConfig, or None."""

    @wraps(command)
    def chosen(zeroth: dict[str, Any], **values: Any) -> Any:
        fields = {key: value for key, value in zeroth.items() if key not in ("zeroth", "one_sided")}
        fields |= {"queries": zeroth["zeroth"], "antithetic": not zeroth["one_sided"]}
        return command(zeroth=None if zeroth["zeroth"] is None else fields, **values)

    return gathered(
        "zeroth",
        click.option("--zeroth", type=int, metavar="QUERIES", help="Train without back-propagation: so many queries a layer and sample."),
        click.option(
            "--first-node", default=0, show_default=True, help="--zeroth: layers from here on are estimated by nodes, others by weights."
        ),
        click.option("--weight-step", default=1, show_default=True, help="--zeroth: perturbation of weights, in steps of their grid."),
        click.option(
            "--bias-step", default=1, show_default=True, help="--zeroth: perturbation of biases, in steps of the output's grid; 0: none."
        ),
        click.option("--node-step", default=5, show_default=True, help="--zeroth: perturbation of outputs, in steps of their grid."),
        click.option(
            "--one-sided", is_flag=True, help="--zeroth: compare with the loss as it is, not with that of the opposite perturbation."
        ),
        click.option("--exact-last", is_flag=True, help="--zeroth: the layer that makes the logits takes their error as it is."),
    )(chosen)


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
