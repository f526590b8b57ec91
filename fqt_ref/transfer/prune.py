# SPDX-License-Identifier: Apache-2.0
"""Gradual pruning of whole channels by the L1 norm of their filters (paper, IV-A), fine-tuned between. Import late: needs the extra torch.

The share of removed channels follows Zhu and Gupta's cubic schedule, 1 - (1 - t)^3 of the whole; a channel goes from all layers at once
(channel_groups.py), and the network really shrinks: nothing is masked.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph
from fqt_ref.training import Epoch
from fqt_ref.transfer import checkpoint
from fqt_ref.transfer.channel_groups import channel_groups, producers, prunable_groups
from fqt_ref.transfer.epochs import Advance, accuracy_of, new_optimizer, silent, train_epoch
from fqt_ref.transfer.pretrain import SHOWN, data_for
from fqt_ref.transfer.settings import Settings, check
from fqt_ref.transfer.torch_module import GraphModule, channels_last, folded

PRUNING = 0.6  # share of the epochs in which channels go; the rest only fine-tunes
MULTIPLE = 4  # channels are kept in fours: what the kernels' SIMD takes at a time


def scheduled_share(share: float, epoch: int, epochs: int) -> float:
    """Share of channels gone when an epoch begins: share (1 - (1 - t)^3), t rising to 1 over the pruning epochs."""
    t = min(1.0, (epoch + 1) / max(1, round(PRUNING * epochs)))
    return share * (1 - (1 - t) ** 3)


def kept_count(channels: int, share: float) -> int:
    """Channels that stay of so many: at least MULTIPLE, in multiples of it, rounded up; never more than there are."""
    return min(channels, max(1, -int(-channels * (1 - share) // MULTIPLE)) * MULTIPLE)


def importance(module: GraphModule, group: int) -> np.ndarray:
    """L1 norm of the filters (batch norm folded) that make each channel of a group, relative to its layer's mean, summed over the layers.

    Returns float64[channels].
    """
    total = np.zeros(module.graph.shape(group)[2])
    for i in producers(module.graph, group):
        weights = folded(module.graph.nodes[i], module.weighted[i]).weights
        assert weights is not None
        norms = np.abs(weights.astype(np.float64)).reshape(len(weights), -1).sum(1)
        total += norms / max(norms.mean(), 1e-30)
    return total


def with_channels(graph: Graph, channels: list[int]) -> Graph:
    """The graph, without weights, with so many channels in each node's output."""
    made = Graph(graph.name, graph.input_shape, input_grid=graph.input_grid)
    for node, count in zip(graph.nodes, channels, strict=True):
        smaller = copy(node)
        smaller.channels, smaller.weights, smaller.bias, smaller.output_grid, smaller.weight_grid = count, None, None, None, None
        made.append(smaller)
    return made


def sliced(op: str, weight: Tensor, out: Tensor, before: Tensor, channels: int) -> Tensor:
    """A layer's weights for the output channels `out` and the input channels `before` of so many."""
    if op == "depthwise_conv2d":
        return weight[out]
    if op == "linear":
        return weight[out].reshape(len(out), -1, channels)[:, :, before].reshape(len(out), -1)
    return weight[out][:, before]


def shrunk(module: GraphModule, keep: dict[int, np.ndarray]) -> GraphModule:
    """The module with only the channels `keep` (int64, rising) of some groups."""
    graph = module.graph
    groups = channel_groups(graph)
    kept = [torch.from_numpy(np.asarray(keep.get(groups[t], np.arange(graph.shape(t)[2])), np.int64)) for t in range(len(graph.nodes) + 1)]
    made = GraphModule(with_channels(graph, [len(k) for k in kept[1:]]))
    with torch.no_grad():
        for i, old in module.weighted.items():
            node, new, out = graph.nodes[i], made.weighted[i], kept[i + 1]
            source = node.inputs[0]
            new.layer.weight.copy_(sliced(node.op, old.layer.weight, out, kept[source], graph.shape(source)[2]))
            if old.layer.bias is not None and new.layer.bias is not None:
                new.layer.bias.copy_(old.layer.bias[out])
            if old.norm is not None and new.norm is not None:
                state = {k: v if v.dim() == 0 else v[out] for k, v in old.norm.state_dict().items()}
                new.norm.load_state_dict(state)
    return made


def pruned(module: GraphModule, original: Graph, share: float, last: int | None) -> GraphModule:
    """The module with its least important channels gone, so that `share` of the original's are. last: see prunable_groups."""
    keep = {}
    for group in prunable_groups(original, last):
        count = kept_count(original.shape(group)[2], share)
        if count < module.graph.shape(group)[2]:
            keep[group] = np.sort(np.argsort(-importance(module, group), kind="stable")[:count])
    return shrunk(module, keep) if keep else module


def prune(
    module: GraphModule,
    data: Dataset,
    settings: Settings,
    share: float,
    last: int | None = None,
    file: Path | None = None,
    advance: Advance = silent,
) -> Iterator[tuple[Epoch, GraphModule]]:
    """Prune and fine-tune; yields each epoch's figures and the network as it is then.

    share: of the channels of every prunable group that goes; last: prune only what the last layers with weights make; file: checkpoint as
    of pretrain, as are the errors.
    """
    check(settings)
    data = data_for(module.graph, data)
    if not 0 <= share < 1:
        raise FqtError(f"share {share} of channels to prune is not in 0..1 (less than 1)")
    original = module.graph
    prunable_groups(original, last)
    identity: dict[str, Any] = {"network": original.name, "data": data.name, "share": share, "last": last, **asdict(settings)}
    identity["channels"] = [node.channels for node in original.nodes]
    history: list[dict[str, Any]] = []
    run = None if file is None else checkpoint.load(file, identity)
    optimizer = None
    if run is not None:
        try:
            module = GraphModule(with_channels(original, run["channels"]))
            module.load_state_dict(run["module"])
            history = [Epoch(**epoch).as_dict() for epoch in run["history"]]
            channels_last(module)
            optimizer = new_optimizer(module, settings)
            optimizer.load_state_dict(run["optimizer"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FqtError(f"{file}: a checkpoint of a differently shaped {original.name}; delete it to start anew") from error
    channels_last(module)
    for epoch in history:
        advance(len(data.train_x), "resumed")
        yield Epoch(**epoch), module
    for number in range(len(history), settings.epochs):
        start = perf_counter()
        smaller = pruned(module, original, scheduled_share(share, number, settings.epochs), last)
        if optimizer is None or smaller is not module:
            module = smaller
            channels_last(module)
            optimizer = new_optimizer(module, settings)
        loss, train_accuracy = train_epoch(module, optimizer, data, settings, number, advance)
        shown = len(data.test_x) if number + 1 == settings.epochs else SHOWN
        test_accuracy = accuracy_of(module, data.test_x[:shown], data.test_y[:shown], data)
        history.append(asdict(Epoch(number, loss, train_accuracy, test_accuracy, perf_counter() - start)))
        if file is not None:
            run = {"identity": identity, "module": module.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            checkpoint.save(file, {**run, "channels": [node.channels for node in module.graph.nodes]})
        yield Epoch(**history[-1]), module
