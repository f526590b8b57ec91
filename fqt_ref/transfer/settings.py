# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters of training in PyTorch."""

from dataclasses import dataclass

from fqt_ref.errors import FqtError
from fqt_ref.limits import LARGEST_EPOCHS, LARGEST_FLOAT32, check_seed

LARGEST_BATCH = 65536
LARGEST_DECAY = 1000
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Settings:
    """How a network is pretrained or fine-tuned.

    learning_rate   at its highest: a linear rise over the first 5 % of the steps, then a cosine down to 0
    optimizer       sgd (Nesterov momentum 0.9) or adam (decoupled weight decay)
    augment         one of augment.AUGMENTATIONS
    reduced         share of the epochs, the first ones, that train on random windows of three quarters of the image's sides:
                    nearly half the work, for networks with global average pooling
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: str = "auto"
    reduced: float = 0.0
    seed: int = 0


def check(settings: Settings) -> None:
    """Raises FqtError for hyperparameters that make no sense."""
    check_seed(settings.seed)
    if not 1 <= settings.epochs <= LARGEST_EPOCHS:
        raise FqtError(f"epochs {settings.epochs} is not at least 1 and at most {LARGEST_EPOCHS}")
    if not 2 <= settings.batch_size <= LARGEST_BATCH:
        raise FqtError(f"batch size {settings.batch_size} is not at least 2 (batch norm needs two samples) and at most {LARGEST_BATCH}")
    if settings.optimizer not in OPTIMIZERS:
        raise FqtError(f"optimizer '{settings.optimizer}' does not exist: choose one of {', '.join(OPTIMIZERS)}")
    if not 0 < settings.learning_rate <= LARGEST_FLOAT32:
        raise FqtError(f"learning rate {settings.learning_rate} is not more than 0 and a number that float32 holds")
    if not (0 <= settings.reduced <= 1 and 0 <= settings.label_smoothing < 1 and 0 <= settings.weight_decay <= LARGEST_DECAY):
        raise FqtError(f"reduced has to be in 0..1, label smoothing in 0..1 (less than 1), weight decay in 0..{LARGEST_DECAY}")
