#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that the C library executes on emulated cores (QEMU, counted exactly): kernels, whole training steps, and code size.

It measures the library of the repository that it lies in. `bench_mcu.py kernels -c cortex-m4 -l b` looks at one layer on one core;
`--json` prints the kernels as a list of {kernel, pass, layer, core, instructions, macs}; `--report` writes docs/performance.md.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # not a copy that is installed

from mcu_tables import Sheet, kernel_sheet, layer_sheet, profile_sheet, rich_table, size_sheet, step_sheet

from fqt_ref.counting import kernels as count_kernels
from fqt_ref.counting import steps as count_steps
from fqt_ref.counting.cycles import ASSUMPTIONS
from fqt_ref.counting.instructions import CORES
from fqt_ref.counting.kernels import LAYERS, PASSES, TRACKED
from fqt_ref.counting.steps import NETWORKS
from fqt_ref.errors import FqtError
from fqt_ref.terminal import progress, say_if_slow

SUBJECTS = ("kernels", "steps", "sizes")
NOTES = {
    "kernels": "Instructions: of one call, with requantization. MACs: output positions x kernel x input channels x output channels, taps "
    "on the padding counted. One weight grid a layer with a zero point that is not 0; no error is 0. 'tracked': forward in training, which "
    "keeps the accumulators' extremes. Stack: bytes below the caller's. CMSIS-NN, prototype, bound, gate: fqt_ref/counting/peers.py.",
    "steps": "Networks that have trained for ten minibatches on enlarged digits. An update ends a minibatch of 48. The last layer with "
    "weights takes no part in the selection. 'MACs allow': the same ratio of multiply-accumulates.",
    "sizes": "CMSIS-NN and the prototype: fqt_ref/counting/peers.py. The library is linked with all operators and float32.",
}


def choices(text: str, known: list[str], what: str) -> list[str]:
    """A list such as a,b; empty: all. Raises FqtError for what does not exist."""
    chosen = [one for one in text.split(",") if one]
    for one in chosen:
        if one not in known:
            raise FqtError(f"{what} '{one}' does not exist: choose from {', '.join(known)}")
    return chosen or known


def measure_kernels(cores: list[str], options: argparse.Namespace) -> dict[str, list]:
    """All kernels asked for, by core."""
    layers = [LAYERS[name] for name in choices(options.layers, list(LAYERS), "layer")]
    passes = PASSES if options.json else (PASSES[0], TRACKED, *PASSES[1:])
    results = {}
    with progress("kernels", len(cores)) as advance:
        for core in cores:
            program = count_kernels.build(core, options.optimize)
            results[core] = count_kernels.count_kernels(program, layers, passes, options.per_channel)
            advance(1, core)
    return results


def measure_steps(cores: list[str], options: argparse.Namespace) -> dict[tuple[str, str], list]:
    """The steps of all networks asked for, by core and network."""
    names = choices(options.networks, list(NETWORKS), "network")
    say_if_slow()
    results = {}
    with progress("steps", len(names) * (1 + len(cores))) as advance:
        for name in names:
            network, samples, labels = count_steps.learnt_network(*NETWORKS[name])
            advance(1, name)
            for core in cores:
                results[core, name] = count_steps.count_steps(count_steps.build(core, options.optimize), network, samples, labels)
                advance(1, f"{name} on {core}")
    return results


def kernel_sheets(results: dict[str, list], options: argparse.Namespace) -> list[Sheet]:
    """What is shown of kernels."""
    sheets = [kernel_sheet(core, rows) for core, rows in results.items()]
    if options.profile:
        for rows in results.values():
            sheets += [profile_sheet(f"{row.layer.name} {row.passing}, where", row.program, [row.interval]) for row in rows]
    return sheets


def step_sheets(results: dict[tuple[str, str], list], options: argparse.Namespace) -> list[Sheet]:
    """What is shown of steps."""
    sheets = []
    for (_, name), steps in results.items():
        sheets.append(step_sheet(name, steps))
        if options.by_layer:
            sheets += [layer_sheet(name, step) for step in (steps[0], steps[-1])]
        if options.profile:
            for step in (steps[0], steps[-1]):
                for title, wanted in (("sample", False), ("update", True)):
                    intervals = [one.interval for one in step.parts if (one.part == count_steps.UPDATE) == wanted]
                    sheets.append(profile_sheet(f"{name}, update rate {step.rate}, {title}, where", step.program, intervals))
    return sheets


def size_sheets(cores: list[str], options: argparse.Namespace) -> list[Sheet]:
    """What is shown of sizes."""
    programs = ({core: part.build(core, options.optimize) for core in cores} for part in (count_kernels, count_steps))
    return [size_sheet(*programs)]


def kernels_as_json(results: dict[str, list]) -> list[dict]:
    """Rows of --json."""
    return [
        {
            "kernel": row.kernel,
            "pass": row.passing,
            "layer": row.layer.name,
            "core": core,
            "instructions": row.instructions,
            "macs": row.layer.macs,
        }
        for core, rows in results.items()
        for row in rows
    ]


def show(sheets: list[Sheet], notes: list[str]) -> None:
    """Print tables and what they mean."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for sheet in sheets:
        console.print(rich_table(sheet))
        console.print()
    for note in notes:
        console.print(note)


def measure(options: argparse.Namespace) -> None:
    """Count what is asked for; print or write it."""
    cores = choices(options.cores, list(CORES), "core")
    choices(options.layers, list(LAYERS), "layer"), choices(options.networks, list(NETWORKS), "network")  # fail early
    if options.report:
        from mcu_report import write_report

        options.json = options.profile = False
        write_report(measure_kernels(cores, options), measure_steps(cores, options), size_sheets(cores, options)[0], options.optimize)
        return
    if options.json:
        print(json.dumps(kernels_as_json(measure_kernels(cores, options))))
        return
    subjects = [one for one in SUBJECTS if one in (options.subjects or SUBJECTS)]
    for subject in subjects:
        if subject == "kernels":
            sheets = kernel_sheets(measure_kernels(cores, options), options)
        elif subject == "steps":
            sheets = step_sheets(measure_steps(cores, options), options)
        else:
            sheets = size_sheets(cores, options)
        show(sheets, [NOTES[subject]])
    estimates = [f"Estimated cycles of {core}: {ASSUMPTIONS[core]}." for core in cores]
    show([], [f"gcc {options.optimize}.", *estimates] if subjects != ["sizes"] else [f"gcc {options.optimize}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"some of {', '.join(SUBJECTS)}; all if none is given")
    parser.add_argument("-c", "--cores", default="", help="some of " + ",".join(CORES))
    parser.add_argument("-l", "--layers", default="", help="some of " + ",".join(LAYERS))
    parser.add_argument("-n", "--networks", default="", help="some of " + ",".join(NETWORKS))
    parser.add_argument("--optimize", default="-O2", metavar="=-O2", help="gcc's level")
    parser.add_argument("--per-channel", action="store_true", help="a weight grid for each output channel instead of one for the layer")
    parser.add_argument("--by-layer", action="store_true", help="steps layer by layer, too")
    parser.add_argument("--profile", action="store_true", help="by function, too; inlined ones told apart")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the kernels as JSON")
    output.add_argument("--report", action="store_true", help="write docs/performance.md and its pictures (extra: plot)")
    options = parser.parse_args()
    try:
        choices(",".join(options.subjects), list(SUBJECTS), "subject")
        measure(options)
    except FqtError as error:
        print(f"bench_mcu: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
