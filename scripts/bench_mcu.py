#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that the C library executes on emulated cores (QEMU, counted exactly): kernels by layer and pass, beside CMSIS-NN.

It measures the library of the repository that it lies in. `bench_mcu.py -c cortex-m4 -l b` looks at one layer on one core; `--json`
prints a list of {kernel, pass, layer, core, instructions, macs}.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # not a copy that is installed

from rich.console import Console
from rich.table import Table

from fqt_ref.count_kernels import LAYERS, PASSES, TRACKED, Counted, build, count_kernels
from fqt_ref.errors import FqtError
from fqt_ref.instruction_count import CORES
from fqt_ref.reference_counts import NOBODY, PEERS, bound, gate
from fqt_ref.terminal import progress


def number(value: float | None) -> str:
    """A figure of instructions per MAC."""
    return "-" if value is None else f"{value:.2f}"


def verdict(value: float, limit: float | None) -> str:
    """Whether a gate is met, in colour."""
    if limit is None:
        return "-"
    return f"[green]<= {limit} met[/]" if value <= limit else f"[red]<= {limit} missed[/]"


def kernel_table(core: str, rows: list[Counted]) -> Table:
    """The kernels of one core."""
    table = Table("layer", "pass", title=f"{core}: instructions of kernels", title_justify="left", box=None)
    for name in ("instructions", "MACs", "per MAC", "gate", "CMSIS-NN", "prototype", "bound", "stack"):
        table.add_column(name, justify="right")
    for row in rows:
        peers = PEERS.get((row.layer.name, row.passing, core), NOBODY)
        table.add_row(
            f"{row.layer.name} {row.layer.description}",
            row.passing,
            f"{row.instructions}",
            f"{row.layer.macs}",
            number(row.per_mac),
            verdict(row.per_mac, gate(row.kernel, row.layer.name, row.passing, core)),
            number(peers.cmsis_nn),
            number(peers.prototype),
            number(bound(row.kernel, row.passing, core)),
            f"{row.stack}",
        )
    return table


def as_json(row: Counted) -> dict:
    """A row of --json."""
    return {
        "kernel": row.kernel,
        "pass": row.passing,
        "layer": row.layer.name,
        "core": row.core,
        "instructions": row.instructions,
        "macs": row.layer.macs,
    }


def choices(text: str, known: list[str], what: str) -> list[str]:
    """A list such as a,b. Raises FqtError for what does not exist."""
    chosen = [one for one in text.split(",") if one]
    for one in chosen:
        if one not in known:
            raise FqtError(f"{what} '{one}' does not exist: choose from {', '.join(known)}")
    return chosen or known


def measure(options: argparse.Namespace) -> None:
    """Count what is asked for and print it."""
    cores, layers = choices(options.cores, list(CORES), "core"), choices(options.layers, list(LAYERS), "layer")
    passes = PASSES if options.json else (PASSES[0], TRACKED, *PASSES[1:])
    results = {}
    with progress("counting kernels", len(cores)) as advance:
        for core in cores:
            program = build(core, options.optimize)
            results[core] = count_kernels(program, [LAYERS[name] for name in layers], passes, options.per_channel)
            advance(1, core)
    if options.json:
        print(json.dumps([as_json(row) for rows in results.values() for row in rows]))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for core, rows in results.items():
        console.print(kernel_table(core, rows))
    console.print("MACs: output positions x kernel x input channels x output channels, taps on the padding counted. Instructions: of one")
    console.print(
        f"call, with requantization, gcc {options.optimize}. 'tracked' is forward in training, which keeps the accumulators' extremes."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--cores", default="", help="some of " + ",".join(CORES))
    parser.add_argument("-l", "--layers", default="", help="some of " + ",".join(LAYERS))
    parser.add_argument("--optimize", default="-O2", metavar="=-O2", help="gcc's level")
    parser.add_argument("--per-channel", action="store_true", help="a weight grid for each output channel instead of one for the layer")
    parser.add_argument("--json", action="store_true")
    try:
        measure(parser.parse_args())
    except FqtError as error:
        print(f"bench_mcu: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
