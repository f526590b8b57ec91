# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md: what bench_mcu.py has counted, as tables and pictures."""

from pathlib import Path

from mcu_tables import SPARSE_GOAL, Sheet, kernel_sheet, layer_sheet, markdown, step_sheet

from fqt_ref import device, files
from fqt_ref.counting.cycles import ASSUMPTIONS
from fqt_ref.counting.kernels import Counted
from fqt_ref.counting.peers import PEERS, bound
from fqt_ref.counting.steps import BATCH, DW, DX, FORWARD, LOSS, SELECT, UPDATE, Step
from fqt_ref.errors import FqtError
from fqt_ref.plot import require_matplotlib

PAGE = device.ROOT / "docs" / "performance.md"
KERNEL_PICTURE, STEP_PICTURE = PAGE.with_name("mcu-kernels.png"), PAGE.with_name("mcu-steps.png")
BARS = ("this library", "CMSIS-NN", "prototype", "bound")
PARTS = {"forward": (FORWARD, LOSS), "selection": (SELECT,), "weight gradient": (DW,), "error": (DX,), f"update / {BATCH}": (UPDATE,)}
SHADES = {"forward": "C7", "selection": "C3", "weight gradient": "C0", "error": "C1", f"update / {BATCH}": "C2"}
HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
# What it costs on a Cortex-M

Written by `python scripts/bench_mcu.py --report`. Instructions are executed ones, counted by address by a QEMU plugin
(`zephyr_app/tests/measure/count_plugin.c`) between two marks; they repeat exactly and equal what `-icount` says
(`tests/test_bench_mcu.py`). gcc-arm-none-eabi, `{optimize}`; cortex-m0 is Cortex-M0+ code. Instructions are not cycles: those are
**estimates** from the reference manuals' timings at zero wait states:
{assumptions}

MACs are output positions x kernel x input channels x output channels; taps on the padding count, as CMSIS-NN's users count.
CMSIS-NN (V.22.11, -Ofast), the hand-written prototype and the bounds: `fqt_ref/counting/peers.py`.
"""
KERNELS = """
## Kernels

One call, with requantization; one weight grid a layer, its zero point not 0; no error is 0, every input passes errors. "tracked" is
forward in training, which keeps the extremes of the accumulators. Stack: bytes below the caller's, painted and looked at.
CMSIS-NN has no weight gradients, and no error of linear layers.

![Instructions per multiply-accumulate](mcu-kernels.png)
"""
STEPS = """
## A training step

Networks that have learnt for ten minibatches (enlarged digits of scikit-learn); means of two samples; an update ends a
minibatch of {batch}. Sparse updates at a fixed rate (lambda_min = lambda_max); the last layer with weights takes no part.
"MACs allow" is the ratio of the multiply-accumulates that remain; the goal at 0.1 is {goal}. mbednet-tail: the
last five layers learn, as in the paper's transfer learning.

![Instructions of a training step](mcu-steps.png)
"""

MISSED = """
## Where gates are missed, and why

Layer f is a call of 1280 products, so that what a call costs once weighs as much as they do. Forward takes {f_forward} instructions on a
Cortex-M4, and 1.6 an MAC would be 2048. Ten rows of 128 bytes by UXTB16 and SMLAD are 1792 at least (four rows: 20 instructions for 16
products); gathering 128 inputs, ten outputs and the set-up do not fit into the rest. The prototype took 3136. Its errors to the input are
128 sums of ten products each, and to make a sum an error takes 9 instructions on a Cortex-M4, 17 on a Cortex-M0+. Its weight gradients are
added to 1280 words of memory, 12 instructions for eight of them.

Layer a has one input channel, so that an error meets its kernel's weights three neighbours at a time. No network needs the errors to the
input of its first layer.

Sparse updates reach half to three quarters of the goal of {goal}. What does not shrink with the channels kept: every sum is made an error,
max pooling and additions pass on all errors, the norms are those of all errors, and the windows of a depthwise layer's single channels do
not fill a word. The ratio compares with a dense way back that is fast itself; so does the selection's share.
"""


def pictured(rows: list[Counted]) -> list[Counted]:
    """The kernels that a picture shows: those of the three passes."""
    return [row for row in rows if "," not in row.passing]


def plot_kernels(results: dict[str, list[Counted]], path: Path) -> None:
    """Instructions per MAC by kernel, one panel a core."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(results), 1, figsize=(11, 3.4 * len(results)), squeeze=False)
    for axes, (core, all_rows) in zip(panels[:, 0], results.items(), strict=True):
        rows = pictured(all_rows)
        for number, name in enumerate(BARS):
            heights = [heights_of(row, core)[number] for row in rows]
            at = [i + 0.2 * (number - 1.5) for i in range(len(rows))]
            axes.bar(at, [height or 0 for height in heights], width=0.19, color=f"C{number}", label=name)
        axes.set_xticks(range(len(rows)), [f"{row.layer.name}\n{row.passing}" for row in rows])
        axes.set_ylabel("instructions / MAC")
        axes.set_title(core, loc="left")
    panels[0, 0].legend(ncols=4, frameon=False, loc="upper right")
    save(figure, path)


def heights_of(row: Counted, core: str) -> tuple[float | None, ...]:
    """The bars of a kernel, in the order of BARS."""
    peers = PEERS.get((row.layer.name, row.passing, core), (None, None))
    return (row.per_mac, *peers, bound(row.kernel, row.passing, core))


def plot_steps(results: dict[tuple[str, str], list[Step]], path: Path) -> None:
    """The parts of a step, one panel a network and core, one bar an update rate."""
    from matplotlib import pyplot

    cores, names = ([*dict.fromkeys(key[i] for key in results)] for i in (0, 1))
    figure, panels = pyplot.subplots(len(names), len(cores), figsize=(3.7 * len(cores), 3 * len(names)), squeeze=False)
    for (core, name), steps in results.items():
        axes = panels[names.index(name)][cores.index(core)]
        bottoms = [0.0] * len(steps)
        for label, parts in PARTS.items():
            heights = [step.instructions(parts) / (BATCH if parts == (UPDATE,) else 1) / 1e6 for step in steps]
            axes.bar([f"{step.rate}" for step in steps], heights, bottom=bottoms, color=SHADES[label], label=label)
            bottoms = [a + b for a, b in zip(bottoms, heights, strict=True)]
        axes.set_title(f"{name}, {core}", loc="left", fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("million instructions")
    for axes in panels[-1]:
        axes.set_xlabel("update rate")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.03))
    save(figure, path)


def save(figure, path: Path) -> None:
    """Write a picture."""
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def with_command(command: str, sheet: Sheet) -> list[str]:
    """A table under its title and the command that prints it."""
    return [f"\n### {sheet.title}\n", f"`python scripts/bench_mcu.py {command}`\n", markdown(sheet)]


def missed(kernels: dict[str, list[Counted]]) -> str:
    """Why gates are missed; nothing if the core that it speaks of is not in the report."""
    found = [row for row in kernels.get("cortex-m4", []) if (row.layer.name, row.passing) == ("f", "forward")]
    return MISSED.format(f_forward=found[0].instructions, goal=SPARSE_GOAL) if found else ""


def write_report(
    kernels: dict[str, list[Counted]], steps: dict[tuple[str, str], list[Step]], sizes: Sheet, optimize: str, page: Path = PAGE
) -> None:
    """The page and its pictures. Raises FqtError if matplotlib is not installed or the folder cannot be written."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    assumptions = "\n".join(f"- {core}: {ASSUMPTIONS[core]}." for core in kernels)
    lines = [HEAD.format(optimize=optimize, assumptions=assumptions), KERNELS]
    for core, rows in kernels.items():
        lines += with_command(f"kernels -c {core}", kernel_sheet(core, rows))
    lines.append(STEPS.format(batch=BATCH, goal=SPARSE_GOAL))
    for (core, name), those in steps.items():
        lines += with_command(f"steps -c {core} -n {name}", step_sheet(name, those))
    for (core, name), those in steps.items():
        if name == "mnist-cnn":
            for step in (those[0], those[-1]):
                lines += with_command(f"steps -c {core} -n {name} --by-layer", layer_sheet(name, step))
    lines.append(missed(kernels))
    lines += ["\n## Size", *with_command("sizes", sizes), "\nThe library is linked with all operators and float32.\n"]
    try:
        plot_kernels(kernels, page.with_name(KERNEL_PICTURE.name))
        plot_steps(steps, page.with_name(STEP_PICTURE.name))
        files.write(page, "\n".join(lines), "--report")
    except OSError as error:
        raise FqtError(f"cannot write {page}: {error.strerror}; make its folder writable") from error
