# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run (extra: plot)."""

from pathlib import Path

from fqt_ref.errors import FqtError


def require_matplotlib() -> None:
    """Raises FqtError when the extra is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise FqtError("plots need matplotlib: pip install 'fqt[plot]'") from error


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
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise FqtError(f"cannot write {path}: {error.strerror}; choose another folder with --plot") from error
    finally:
        pyplot.close(figure)
