# SPDX-License-Identifier: Apache-2.0
"""One epoch of training in PyTorch, and evaluation. Import late: needs the extra torch.

What is random in an epoch depends on the seed and the epoch's number alone, so that a resumed run does what an uninterrupted one does.
"""

from collections.abc import Callable
from math import cos, pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.transfer.augment import augmentation, augmented
from fqt_ref.transfer.settings import Settings
from fqt_ref.transfer.torch_module import GraphModule

WARM_UP = 0.05  # share of the steps during which the learning rate rises
EVALUATION_BATCH = 256
Advance = Callable[[int, str], None]


def silent(samples: int, text: str) -> None:
    """Show nothing."""


def learning_rate(settings: Settings, progress: float) -> float:
    """The rate at a share 0..1 of the training."""
    if progress < WARM_UP:
        return settings.learning_rate * (progress / WARM_UP)
    return settings.learning_rate * 0.5 * (1 + cos(pi * (progress - WARM_UP) / (1 - WARM_UP)))


def new_optimizer(module: GraphModule, settings: Settings) -> torch.optim.Optimizer:
    """The optimizer; weight decay takes weights of layers, not biases and batch norm."""
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimizer == "adam":
        return torch.optim.AdamW(groups, settings.learning_rate)
    return torch.optim.SGD(groups, settings.learning_rate, momentum=0.9, nesterov=True)


def real_values(x: Tensor, data: Dataset) -> Tensor:
    """Samples of a data set as float32 real values: bytes are scale * (byte - zero)."""
    return x if data.scale is None else (x.float() - float(data.zero)) * float(data.scale)


def fill_of(data: Dataset) -> int:
    """What stands for 0 in a data set's samples: a byte, or the value itself."""
    return 0 if data.scale is None else min(max(round(data.zero), 0), 255)


def first_samples(data: Dataset, count: int = 512) -> Tensor:
    """The first training samples as real values: statistics for batch norm that comes back (batch_norm.py)."""
    return real_values(torch.from_numpy(data.train_x[:count]), data)


def train_epoch(
    module: GraphModule, optimizer: torch.optim.Optimizer, data: Dataset, settings: Settings, epoch: int, advance: Advance = silent
) -> tuple[float, float]:
    """Train one epoch; returns (mean loss in nats, share of right predictions), both of augmented samples in training mode.

    advance(samples, text) is called after each batch. Raises FqtError when the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
    shape = data.train_x.shape[1:]
    how = augmentation(settings.augment, shape)
    small = epoch < round(settings.reduced * settings.epochs)
    window = tuple(max(side * 3 // 4, 1) if small else side for side in shape[:2])
    count = len(data.train_x)
    batch_size = min(settings.batch_size, count)
    batches = count // batch_size  # a last, small batch would give batch norm poor statistics
    order = torch.randperm(count, generator=generator).numpy()
    module.train()
    total = right = 0.0
    for batch in range(batches):
        rate = learning_rate(settings, (epoch + (batch + 1) / batches) / settings.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = order[batch * batch_size : (batch + 1) * batch_size]
        x = augmented(torch.from_numpy(data.train_x[chosen]), how, fill_of(data), (window[0], window[1]), generator)
        y = torch.from_numpy(np.array(data.train_y[chosen], np.int64))
        logits = module(real_values(x, data))
        loss = cross_entropy(logits, y, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if not torch.isfinite(loss):
            raise FqtError(f"the loss is not finite in epoch {epoch + 1}: choose a learning rate below {settings.learning_rate}")
        total += float(loss.detach())
        right += float((logits.argmax(1) == y).float().mean())
        advance(batch_size if batch + 1 < batches else count - batch * batch_size, f"loss {total / (batch + 1):.3f}")
    return total / batches, right / batches


def logits_of(module: GraphModule, images: np.ndarray, data: Dataset) -> np.ndarray:
    """Logits float32[n, classes] in evaluation mode of samples [n, h, w, c] of a data set, which says what a byte means."""
    module.eval()
    with torch.no_grad():
        pieces = [
            module(real_values(torch.from_numpy(images[at : at + EVALUATION_BATCH]), data)).numpy()
            for at in range(0, len(images), EVALUATION_BATCH)
        ]
    return np.concatenate(pieces)


def accuracy_of(module: GraphModule, images: np.ndarray, labels: np.ndarray, data: Dataset) -> float:
    """Share of images whose prediction is the label."""
    return float(np.mean(logits_of(module, images, data).argmax(1) == labels))
