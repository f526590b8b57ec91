# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run (extra: plot)."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fqt_ref import files
from fqt_ref.errors import FqtError


def require_matplotlib() -> None:
    """Raises FqtError when the extra is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise FqtError("plots need matplotlib: pip install 'fqt[plot]'") from error


def check_picture(path: Path | None, where: str = "--plot", inputs: Iterable[Path | str | None] = ()) -> None:
    """Whether a picture can be drawn into a file, before the work that it shows. None: no picture.

    inputs: as of files.check_output(). Raises FqtError: no matplotlib, a format that it cannot write, or a file that cannot be written.
    """
    if path is None:
        return
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if picture_format(path) not in formats:
        raise FqtError(f"{where} {path}: pictures are files of {', '.join(sorted(formats))}: choose .png")
    files.check_output(path, where, inputs)


def picture_format(path: Path) -> str:
    """What kind of picture a file name asks for; a name without an ending: PNG."""
    return path.suffix[1:].lower() or "png"


def write_picture(figure: Any, path: Path, where: str = "--plot", dpi: int = 120) -> None:
    """Write a matplotlib figure and close it. Raises FqtError if it cannot be written."""
    from matplotlib import pyplot

    made = io.BytesIO()
    try:
        figure.savefig(made, dpi=dpi, format=picture_format(path))
    finally:
        pyplot.close(figure)
    files.write(path, made.getvalue(), where)


def plot_history(history: list[dict], path: Path, title: str = "") -> None:
    """Loss (left axis) and accuracies (right axis) over epochs, into a PNG."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    epochs = [e["epoch"] + 1 for e in history]
    figure, left = pyplot.subplots(figsize=(7, 4))
    left.plot(epochs, [e["loss"] for e in history], "o-", color="tab:red", label="training loss")
    left.set_xlabel("epoch")
    left.set_ylabel("cross-entropy (nats)")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = left.twinx()
    right.plot(epochs, [100 * e["train_accuracy"] for e in history], "s--", color="tab:blue", label="training accuracy")
    right.plot(epochs, [100 * e["test_accuracy"] for e in history], "o-", color="tab:green", label="test accuracy")
    right.set_ylabel("accuracy (%)")
    figure.legend(loc="upper center", ncols=3, frameon=False)
    left.set_title(title, pad=20)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    write_picture(figure, path)
