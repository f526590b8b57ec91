# SPDX-License-Identifier: Apache-2.0
"""A training's model file is written after each epoch, so that a crash or a power cut costs the running epoch at most."""

from pathlib import Path

from fqt_ref import model_file
from fqt_ref.errors import FqtError
from fqt_ref.network import Network
from fqt_ref.terminal import say
from fqt_ref.training import Epoch


class Keeper:
    """Keeps a training in its file, and tells how it goes."""

    def __init__(self, output: Path):
        self.output = output
        say(f"{output} is written after each epoch")

    def __call__(self, epoch: Epoch, network: Network) -> None:
        """An epoch is over. A file that cannot be written, for now, is no reason to lose the training."""
        say_epoch(epoch)
        try:
            model_file.write(self.output, network)
        except FqtError as error:
            say(f"{error}. The training goes on, and this is tried again after the next epoch")
        if epoch.warnings():
            say(f"warning: {', '.join(epoch.warnings())}; try a lower learning rate, and look at the data's range")


def say_epoch(epoch: Epoch, more: str = "") -> None:
    """A line about an epoch."""
    figures = f"loss {epoch.loss:.4f}, train {epoch.train_accuracy:.4f}, test {epoch.test_accuracy:.4f}"
    say(f"epoch {epoch.epoch + 1}: {figures}{more}, {epoch.seconds:.0f} s")
