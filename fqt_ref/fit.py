# SPDX-License-Identifier: Apache-2.0
"""Whether a model and its training fit a board: flash and RAM as the linker will count them, stacks, instructions of a training step."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fqt_ref.boards import BOARDS, find_board
from fqt_ref.build import freeze
from fqt_ref.deploy_config import memories, operators, sample_bytes
from fqt_ref.device_cost import NO_MEMORY, measure
from fqt_ref.errors import FqtError
from fqt_ref.linked import Linked, from_json, read_measured
from fqt_ref.memory_plan import aligned
from fqt_ref.model_file import file_bytes
from fqt_ref.network import LAYER_TRAINABLE, Network
from fqt_ref.training_plan import arenas_of, lower_bounds

MEASURED = Path(__file__).with_name("board_sizes.json")  # by scripts/board_sizes.py
SAMPLES = 64  # that `fqt deploy` puts into flash
HEADER_BYTES, LABEL_BYTES = 8, 4  # of the file of samples


class Base(NamedTuple):
    """The application without its model; exact if it was measured with just the model's operators."""

    linked: Linked
    operators: frozenset[str]
    exact: bool


def base_of(board: str, wanted: frozenset[str]) -> Base:
    """The smallest measured application of a board that has all operators wanted. Raises FqtError if there is none."""
    measured = read_measured(MEASURED).get(board, {})
    fitting = [(frozenset(name.split("+")), from_json(data)) for name, data in measured.items() if wanted <= set(name.split("+"))]
    if not fitting:
        raise FqtError(f"the application was not measured on {board} with {'+'.join(sorted(wanted))}: run scripts/board_sizes.py {board}")
    found, linked = min(fitting, key=lambda one: one[1].flash.used(0))
    return Base(linked, found, found == wanted)


def padded(size: int) -> int:
    """As embed.S.in pads files."""
    return aligned(size, 8)


def flash_of(network: Network, samples: int) -> int:
    """Bytes of the embedded model and samples."""
    return padded(len(file_bytes(network))) + padded(HEADER_BYTES + samples * (LABEL_BYTES + sample_bytes(network)))


def count_instructions(network: Network, cores: set[str]) -> dict[str, tuple[int | None, str]]:
    """Executed instructions of a training sample on each core, or None; and why."""
    results: dict[str, tuple[int | None, str]] = {}
    for core in cores:
        try:
            (answer,) = measure(core, [network], count=True)
        except FqtError as error:
            results[core] = None, f"not counted: {error}"
            continue
        why = "needs more memory than the emulated core has" if answer.status == NO_MEMORY else f"status {answer.status}"
        results[core] = answer.instructions, "counted" if answer.instructions is not None else f"not counted: {why}"
    return results


def trained_layers(network: Network) -> int:
    """Number of layers that train."""
    return int(np.count_nonzero(network.layers["flagset"] & LAYER_TRAINABLE))


def frozen(network: Network, train_last: int) -> Network:
    """A copy of which only the last train_last layers train."""
    other = copy.deepcopy(network)
    freeze(other, train_last)
    return other


def ram_on(network: Network, board: str) -> int:
    """Bytes of RAM that the linker will count."""
    return base_of(board, operators(network)).linked.ram.used(sum(memories(network)))


def most_layers(network: Network, board: str, budget: int) -> tuple[int, int] | None:
    """The largest number of last layers whose training fits a budget of RAM, and its RAM; None if not even one fits."""
    for count in range(sum(weights is not None for weights in network.weights), 0, -1):
        ram = ram_on(frozen(network, count), board)
        if ram <= budget:
            return count, ram
    return None


def advice(network: Network, board: str, ram: int, flash: int) -> str | None:
    """What to change where it does not fit; None where it does."""
    place = find_board(board)
    hints = []
    if flash > place.flash:
        hints.append(f"flash lacks {flash - place.flash} bytes: embed fewer samples, or take a smaller network")
    if ram > place.ram:
        fewer = most_layers(network, board, place.ram)
        if fewer is not None:
            hints.append(f"RAM lacks {ram - place.ram} bytes: train the last {fewer[0]} layers only ({fewer[1]} bytes; --train-last)")
        else:
            floats = "FLOAT32" in operators(network)
            smaller = "the configuration uint8 takes a quarter of float32's feature maps" if floats else "take a smaller network or input"
            hints.append(f"RAM lacks {ram - place.ram} bytes even if one layer trains: {smaller}; the batch size does not matter")
    return "; ".join(hints) or None


def fit_board(network: Network, board: str, samples: int, counted: dict[str, tuple[int | None, str]]) -> dict[str, Any]:
    """One board's figures, in bytes. Raises FqtError for a board that is unknown or was not measured."""
    place, base = find_board(board), base_of(board, operators(network))
    flash, ram = base.linked.flash.used(flash_of(network, samples)), base.linked.ram.used(sum(memories(network)))
    instructions, why = counted[place.core]
    fits = flash <= place.flash and ram <= place.ram
    return {
        "board": board,
        "core": place.core,
        "ram_bytes": ram,
        "flash_bytes": flash,
        "stack_bytes": base.linked.stack,
        "plan_bytes": arenas_of(network)[0],
        "lower_bound_bytes": lower_bounds(network)[0],
        "instructions_per_step": instructions,
        "instructions": why,
        "fits": fits,
        "exact": base.exact,
        "board_ram_bytes": place.ram,
        "board_flash_bytes": place.flash,
        "trained_layers": trained_layers(network),
        "advice": None if fits else advice(network, board, ram, flash),
    }


def fit(network: Network, boards: list[str], samples: int = SAMPLES, budget: int | None = None) -> list[dict[str, Any]]:
    """All boards' figures; with a budget of RAM also the largest number of last layers that it lets train.

    Raises FqtError for a board that is unknown or was not measured.
    """
    if trained_layers(network) == 0:
        raise FqtError(f"no layer of {network.name} trains: write it with 'fqt train ... --train-last N'")
    counted = count_instructions(network, {find_board(board).core for board in boards})
    results = [fit_board(network, board, samples, counted) for board in boards]
    for result in results if budget is not None else []:
        found = most_layers(network, result["board"], budget or 0)
        result["budget_bytes"] = budget
        result["train_last"], result["train_last_ram_bytes"] = found or (0, None)
    return results


def parse_bytes(text: str) -> int:
    """A number of bytes, with K or M for 1024 or 1024^2. Raises FqtError."""
    units = {"K": 1 << 10, "M": 1 << 20}
    number = text[:-1] if text[-1:].upper() in units else text
    if not number.isdecimal() or len(number) > 12 or int(number) == 0:
        raise FqtError(f"budget '{text}' is not a number of bytes: write it as 262144, 256K or 1M")
    return int(number) * units.get(text[-1:].upper(), 1)


def table(results: list[dict[str, Any]]) -> list[str]:
    """The figures as lines of text."""
    lines = [f"{'board':<26}{'RAM':>10}{'of':>10}{'flash':>10}{'of':>10}{'stacks':>8}{'instructions':>14}  fits"]
    for r in results:
        most = "" if r["exact"] else " at most (its operators were measured with others)"
        count = "-" if r["instructions_per_step"] is None else str(r["instructions_per_step"])
        sizes = f"{r['ram_bytes']:>10}{r['board_ram_bytes']:>10}{r['flash_bytes']:>10}{r['board_flash_bytes']:>10}{r['stack_bytes']:>8}"
        lines.append(f"{r['board']:<26}{sizes}{count:>14}  {'yes' if r['fits'] else 'no'}{most}")
        if r["advice"]:
            lines.append(f"  {r['advice']}")
        if r["instructions_per_step"] is None:
            lines.append(f"  instructions: {r['instructions']}")
        if "train_last" in r:
            ram = f", RAM {r['train_last_ram_bytes']}" if r["train_last"] else ": not even the last layer's training fits"
            lines.append(f"  within {r['budget_bytes']} bytes: train the last {r['train_last']} layers{ram}")
    first = results[0]
    lines.append(f"{first['trained_layers']} layers train; feature maps and errors: {first['plan_bytes']} bytes planned, "
                 f"at least {first['lower_bound_bytes']}")  # fmt: skip
    return lines


__all__ = ["BOARDS", "fit", "parse_bytes", "table"]
