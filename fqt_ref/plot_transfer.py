# SPDX-License-Identifier: Apache-2.0
"""Pictures of transfer learning (extra: plot): accuracy by configuration, and over the epochs of retraining."""

from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.plot import require_matplotlib, write_picture

COLOURS = {"uint8": "tab:blue", "mixed": "tab:orange", "float32": "tab:green"}  # as in the paper's Fig. 4


def plot_transfer(result: dict[str, Any], path: Path) -> None:
    """What experiment() returned, with "float32_baseline", into a PNG: left the curves of all runs, right means and deviations."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, width_ratios=(3, 2))
    for at, (config, runs) in enumerate(result["runs"].items()):
        colour = COLOURS.get(config, "tab:gray")
        for number, run in enumerate(runs):
            curve = [100 * epoch["test_accuracy"] for epoch in run["epochs"]]
            left.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.7, label="" if number else config)
        final = [100 * run["test_accuracy"] for run in runs]
        right.bar(at, np.mean(final), yerr=np.std(final), color=colour, capsize=4)
        right.plot([at - 0.4, at + 0.4], [100 * runs[0]["quantized_test_accuracy"]] * 2, "k:", label="" if at else "before the reset")
        right.annotate(f"{np.mean(final):.1f}", (at, 2), ha="center", color="white")
    if result.get("float32_baseline") is not None:
        right.axhline(100 * result["float32_baseline"], color="tab:red", linestyle="--", label="float32 network")
    left.set_xlabel("epoch of retraining")
    left.set_ylabel("test accuracy (%)")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylim(0, 100)
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    right.set_xticks(range(len(result["runs"])), list(result["runs"]))
    right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    figure.suptitle(f"{result['network']} on {result['data']}")
    figure.tight_layout()
    write_picture(figure, path, "-o")
