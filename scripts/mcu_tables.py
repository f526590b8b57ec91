# SPDX-License-Identifier: Apache-2.0
"""The tables of bench_mcu.py: built once, shown at the terminal in colour or written as Markdown."""

import re
from typing import NamedTuple

from fqt_ref import device
from fqt_ref.counting.cycles import cycles
from fqt_ref.counting.instructions import RUNTIME, Program, by_inlined, linked_bytes
from fqt_ref.counting.kernels import Counted
from fqt_ref.counting.peers import CODE_SIZES, NOBODY, PEERS, bound, gate
from fqt_ref.counting.steps import BATCH, DW, DX, FORWARD, LOSS, SELECT, UPDATE, Step, backward_macs, layer_name

SELECTION_LIMIT = 0.02  # of a dense way back
SPARSE_GOAL = 8.7  # dense way back / that at an update rate of 0.1
LIBRARY = [path.stem for path in device.library_sources()]
KERNELS = [path.stem for path in device.library_sources() if path.parent.name == "kernels"]


class Sheet(NamedTuple):
    """A table. Cells are rich markup; the first `left` columns are text."""

    title: str
    header: list[str]
    rows: list[list[str]]
    left: int = 2


def rich_table(sheet: Sheet):
    """For the terminal."""
    from rich.table import Table

    table = Table(title=f"[bold]{sheet.title}", title_justify="left", box=None)
    for i, name in enumerate(sheet.header):
        table.add_column(name, justify="left" if i < sheet.left else "right")
    for row in sheet.rows:
        table.add_row(*row)
    return table


def markdown(sheet: Sheet) -> str:
    """For a page."""
    dashes = ["---" if i < sheet.left else "---:" for i in range(len(sheet.header))]
    rows = [[re.sub(r"\[/?\w*\]", "", cell) for cell in row] for row in sheet.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [sheet.header, dashes, *rows])


def judged(text: str, met: bool) -> str:
    """A figure that has a limit."""
    return f"[green]{text} met[/]" if met else f"[red]{text} missed[/]"


def number(value: float | None) -> str:
    """A figure of instructions per MAC."""
    return "-" if value is None else f"{value:.2f}"


def kernel_sheet(core: str, rows: list[Counted]) -> Sheet:
    """The kernels of one core."""
    header = ["layer", "pass", "instructions", "MACs", "per MAC", "gate", "CMSIS-NN", "prototype", "bound", "est. cycles per MAC", "stack"]
    lines = []
    for row in rows:
        peers, limit = PEERS.get((row.layer.name, row.passing, core), NOBODY), gate(row.kernel, row.layer.name, row.passing, core)
        lines.append(
            [
                f"{row.layer.name} {row.layer.description}",
                row.passing,
                f"{row.instructions}",
                f"{row.layer.macs}",
                number(row.per_mac),
                "-" if limit is None else judged(f"<= {limit}", row.per_mac <= limit),
                number(peers.cmsis_nn),
                number(peers.prototype),
                number(bound(row.kernel, row.passing, core)),
                number(row.estimate / row.layer.macs),
                f"{row.stack}",
            ]
        )
    return Sheet(f"{core}: kernels", header, lines)


def step_sheet(name: str, steps: list[Step]) -> Sheet:
    """A network's steps on one core, the dense one first."""
    header = ["update rate", "forward", "loss", "selection", "weight gradient", "error", "backward", "of dense backward: selection"]
    header += ["dense / this", "MACs allow", f"update / {BATCH}", "sum", "est. cycles", "stack"]
    dense, lines = steps[0], []
    for step in steps:
        update, parts = step.instructions([UPDATE]) / BATCH, (FORWARD, LOSS, SELECT, DW, DX)
        share, ratio = step.instructions([SELECT]) / dense.backward, dense.backward / step.backward
        estimate = step.mean(cycles, parts) + step.mean(cycles, [UPDATE]) / BATCH
        lines.append(
            [
                f"{step.rate}",
                *(f"{step.instructions([part]):.0f}" for part in parts),
                f"{step.backward:.0f}",
                "-" if step is dense else judged(f"{share:.1%}", share < SELECTION_LIMIT),
                "-" if step is dense else judged(f"{ratio:.2f}", ratio >= SPARSE_GOAL) if step.rate == 0.1 else f"{ratio:.2f}",
                f"{backward_macs(step.network, 1.0) / backward_macs(step.network, step.rate):.2f}",
                f"{update:.0f}",
                f"{step.instructions(parts) + update:.0f}",
                f"{estimate:.0f}",
                f"{step.stack}",
            ]
        )
    return Sheet(f"{dense.program.core}: {name}, a training step (instructions a sample)", header, lines, 1)


def layer_sheet(name: str, step: Step) -> Sheet:
    """One step layer by layer."""
    parts = (FORWARD, SELECT, DW, DX)
    rows = []
    for layer in range(len(step.network.layers)):
        y = step.network.tensors[layer + 1]
        counts = [step.instructions([part], layer) for part in parts]
        rows.append([layer_name(step.network, layer), f"{y['h']}x{y['w']}x{y['c']}", *(f"{count:.0f}" for count in counts)])
    title = f"{step.program.core}: {name}, update rate {step.rate}, by layer (instructions a sample)"
    return Sheet(title, ["layer", "output", *parts], rows)


def profile_sheet(title: str, program: Program, intervals: list, top: int = 16) -> Sheet:
    """Where the instructions of some intervals are, functions told apart that are inlined."""
    sums: dict[str, int] = {}
    for interval in intervals:
        for name, count in by_inlined(program, interval).items():
            sums[name] = sums.get(name, 0) + count
    total = sum(sums.values()) or 1
    ordered = sorted(sums.items(), key=lambda item: -item[1])[:top]
    rows = [[name, f"{count}", f"{count / total:.1%}"] for name, count in ordered]
    return Sheet(f"{program.core}: {title}", ["function", "instructions", "share"], rows, 1)


def size_sheet(kernels: dict[str, Program], steps: dict[str, Program]) -> Sheet:
    """Flash of the kernels and of the whole library, by core."""
    cores = list(kernels)
    linked = [linked_bytes(kernels[core], KERNELS) for core in cores]
    rows = [[f"{name}, u8"] + [f"{sizes.get(name, 0)}" for sizes in linked] for name in KERNELS if any(name in sizes for sizes in linked)]
    rows.append(["these kernels"] + [f"{sum(sizes.values())}" for sizes in linked])
    for who, peer in (("CMSIS-NN, as such a benchmark links it", 0), ("prototype, seven kernels", 1)):
        rows.append([who] + [f"{CODE_SIZES[core][peer]:.0f}" if core in CODE_SIZES else "-" for core in cores])
    rows.append(["all kernels, u8 and float32"] + [f"{sum(linked_bytes(steps[core], KERNELS).values())}" for core in cores])
    rows.append(["whole library, training"] + [f"{sum(linked_bytes(steps[core], LIBRARY).values())}" for core in cores])
    rows.append(["compiler's run-time and libc beside it"] + [f"{sum(linked_bytes(steps[core], [RUNTIME]).values())}" for core in cores])
    return Sheet("bytes of flash (code and constants)", ["", *cores], rows, 1)
