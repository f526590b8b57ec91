# SPDX-License-Identifier: Apache-2.0
"""What all commands share: options, messages, progress bars. Results go to standard output, everything else to standard error."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TextIO, cast

import click

from fqt_ref.errors import FqtError, one_line
from fqt_ref.optimizers.names import NAMES, STOCHASTIC_ERRORS, WEIGHT_RANGES

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set's files (or FQT_DATA_DIR).")
data_range_option = click.option(
    "--data-range", metavar="LO..HI", help="What uint8 samples mean: 0..1, 0..255, -1..1, ... [default: 0..1, or what the network takes]."
)


COMPILING = "compiling the engine for this machine: once, about two minutes"
FILE = click.Path(path_type=Path, dir_okay=False)


def data_files(data: str | None, data_dir: Path | None) -> list[Path]:
    """Files of the user's that --data may name, which no output may replace."""
    if data is None:
        return []
    return [Path(data), *([] if data_dir is None else [data_dir / data, data_dir / f"{data}.npz"])]


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
        click.option("--batch-size", default=batch_size, show_default=True, help="1 to 65536, less where sums could overflow."),
        click.option("--learning-rate", default=0.001, show_default=True, help="More than 0, at most 1; at most 1000000 with momentum."),
        click.option("--lambda-min", default=1.0, show_default=True, callback=fraction, help="Least share of channels updated (Eq. 9)."),
        click.option("--lambda-max", default=1.0, show_default=True, callback=fraction, help="Greatest share of channels updated."),
        click.option("--sparse-last", is_flag=True, help="Apply sparse updates to the loss layer too."),
        click.option("--optimizer", default=NAMES[0], show_default=True, help=f"{', '.join(NAMES)}: the last two to compare with."),
        click.option("--momentum", type=float, help="Of sgd-m and qas-sgd-m, at least 0, less than 1 [default: 0.9]."),
        click.option(
            "--real-weights", is_flag=True, help="Keep what rounding to bytes leaves over, as Lin et al. simulate (4 B a weight)."
        ),
        click.option(
            "--weight-range", default=WEIGHT_RANGES[0], show_default=True, help=f"{', '.join(WEIGHT_RANGES)}: how weight grids follow."
        ),
        click.option("--range-rate", default=0.001, show_default=True, help="Of --weight-range moving-average: more than 0, at most 1."),
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
    """A line for the person at the terminal. One who has gone away is no reason to stop the work."""
    with suppress(OSError):
        click.echo(printable(text, sys.stderr), err=True)


class LogLines(logging.Handler):
    """What the package logs, as lines for the person at the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        say(one_line(record.getMessage()))


def show_log() -> None:
    """Let the package's warnings reach the terminal, once each whatever else handles them."""
    log = logging.getLogger("fqt_ref")
    if not any(isinstance(handler, LogLines) for handler in log.handlers):
        log.addHandler(LogLines(logging.WARNING))


def show(as_json: bool, result: Any, lines: Callable[[], list[str]]) -> None:
    """The result, as JSON or as lines. Raises FqtError if standard output is closed or full."""
    text = json.dumps(result) if as_json else "\n".join(lines())
    if sys.stdout is None:
        raise FqtError("standard output is closed: the result is lost, what was to be written into files is not; leave it open")
    try:
        click.echo(printable(text, sys.stdout))
    except OSError as error:
        raise FqtError(f"cannot write the result to standard output: {error.strerror or error}; files are written, show it anew") from error


def printable(text: str, stream: Any) -> str:
    """Text that a stream's encoding has; other characters, such as bytes of a file name that are no text, are escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class Patient:
    """A text stream whose reader may go away: what is written then is lost, without an error."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def say_if_slow() -> None:
    """The first start on a machine is silent for long: say why, as soon as a kernel is not found compiled."""
    from fqt_ref.jit import when_compiling

    when_compiling(lambda: say(COMPILING))


@contextmanager
def progress(title: str, total: float):
    """A progress bar on standard error; yields advance(n, text)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True) if sys.stderr is None else Console(file=cast(TextIO, Patient(sys.stderr)))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}")
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda n=1, text="": bar.update(task, advance=n, text=text)
