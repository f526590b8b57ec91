# SPDX-License-Identifier: Apache-2.0
"""Picture of a memory plan (extra: plot)."""

from collections.abc import Sequence
from pathlib import Path

from fqt_ref.memory_plan import Buffer, Plan
from fqt_ref.plot import require_matplotlib, write_picture


def plot_memory(buffers: Sequence[Buffer], plan: Plan, path: Path, title: str = "") -> None:
    """Buffers as rectangles over time (steps) and address (bytes), coloured by kind, into a PNG; the lower bound is a line.

    Raises FqtError when the extra is not installed, or when the file can't be written.
    """
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, axes = pyplot.subplots(figsize=(9, 5))
    placed = list(zip(buffers, plan.offsets, strict=True))
    for number, kind in enumerate(dict.fromkeys(b.kind for b in buffers)):
        mine = [(b, offset) for b, offset in placed if b.kind == kind]
        axes.bar(
            [b.first for b, _ in mine],
            [b.size for b, _ in mine],
            width=[b.last + 1 - b.first for b, _ in mine],
            bottom=[offset for _, offset in mine],
            align="edge",
            color=f"C{number}",
            edgecolor="white",
            linewidth=0.4,
            label=kind or "buffer",
        )
    axes.axhline(plan.lower_bound, color="black", linestyle="--", linewidth=1, label=f"lower bound: {plan.lower_bound} bytes")
    axes.set_xlabel("step of the schedule")
    axes.set_ylabel("address (bytes)")
    axes.set_ylim(0, 1.02 * max(1, plan.size))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title or f"{plan.size} bytes ({plan.method})", pad=28)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    figure.tight_layout()
    write_picture(figure, path)
