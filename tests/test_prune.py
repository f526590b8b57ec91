# SPDX-License-Identifier: Apache-2.0
"""Pruning: channels that hang together go together, what is left computes the same, and the pruned network still knows its data."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'fqt[torch]'")
torch.set_num_threads(1)

from small_graphs import blobs, every_node  # noqa: E402

from fqt_ref.errors import FqtError  # noqa: E402
from fqt_ref.models import describe_network  # noqa: E402
from fqt_ref.models.describe import graph_of  # noqa: E402
from fqt_ref.models.figures import figures  # noqa: E402
from fqt_ref.transfer.channel_groups import channel_groups, prunable_groups  # noqa: E402
from fqt_ref.transfer.epochs import accuracy_of, logits_of  # noqa: E402
from fqt_ref.transfer.pretrain import pretrain  # noqa: E402
from fqt_ref.transfer.prune import importance, kept_count, prune, pruned, scheduled_share, shrunk  # noqa: E402
from fqt_ref.transfer.settings import Settings  # noqa: E402
from fqt_ref.transfer.torch_module import to_graph, to_module  # noqa: E402

SETTINGS = Settings(epochs=5, batch_size=16, learning_rate=0.05, augment="none")


def mbednet(shape=(1, 64, 2)):
    return graph_of("mbednet", describe_network("mbednet", shape, 3), shape)


def test_groups_follow_depthwise_layers_pools_and_residuals():
    graph = every_node()
    # tensors: input, conv a, depthwise, hard-swish, conv b, add, max pool, conv, average pool, linear, linear
    assert channel_groups(graph) == [0, 1, 1, 1, 1, 1, 1, 7, 7, 9, 10]
    assert prunable_groups(graph) == [1, 7, 9]
    assert prunable_groups(graph, 2) == [9]


def test_mbednet_tail_groups():
    graph = mbednet()
    assert [graph.shape(group)[2] for group in prunable_groups(graph, 5)] == [48, 64, 48]
    with pytest.raises(FqtError, match="cannot prune the last 99"):
        prunable_groups(graph, 99)


def test_removing_dead_channels_changes_nothing():
    """Channels whose filters and offsets are zero carry nothing: without them the network computes the same."""
    data, module = blobs(), to_module(every_node(), 0)
    list(pretrain(module, data, replace(SETTINGS, epochs=1)))
    keep = {1: np.array([0, 2, 3, 6]), 7: np.arange(1, 12, 2), 9: np.array([0, 1, 5])}
    groups = channel_groups(module.graph)
    with torch.no_grad():
        for i, layer in module.weighted.items():
            group = groups[i + 1]
            if group in keep and layer.norm is not None:
                dead = np.setdiff1d(np.arange(module.graph.nodes[i].channels), keep[group])
                layer.norm.weight[dead] = 0
                layer.norm.bias[dead] = 0
    smaller = shrunk(module, keep)
    assert np.allclose(logits_of(smaller, data.test_x, data), logits_of(module, data.test_x, data), atol=1e-5)
    assert smaller.graph.nodes[0].channels == 4 and smaller.graph.nodes[-2].channels == 3


def test_the_least_filters_go():
    module = to_module(every_node(), 0)
    with torch.no_grad():
        module.weighted[6].layer.weight[[1, 4, 7, 10]] *= 0.01
    assert set(np.argsort(importance(module, 7))[:4]) == {1, 4, 7, 10}
    smaller = pruned(module, module.graph, 0.35, 3)
    assert [node.channels for node in smaller.graph.nodes] == [8, 8, 8, 8, 8, 8, 8, 8, 12, 3]
    stay = [i for i in range(12) if i not in (1, 4, 7, 10)]
    assert torch.equal(smaller.weighted[6].layer.weight, module.weighted[6].layer.weight[stay])


@pytest.mark.parametrize(
    ("channels", "share", "kept"), [(8, 0.0, 8), (8, 0.5, 4), (12, 0.35, 8), (8, 0.9, 4), (48, 0.75, 12), (48, 0.7, 16), (3, 0.5, 3)]
)
def test_kept_count(channels, share, kept):
    assert kept_count(channels, share) == kept


def test_schedule_rises_to_the_share():
    shares = [scheduled_share(0.8, epoch, 10) for epoch in range(10)]
    assert shares == sorted(shares) and shares[5:] == [0.8] * 5 and 0 < shares[0] < 0.8


def test_pruned_network_still_knows_its_data_and_is_smaller():
    data, module = blobs(), to_module(every_node(), 0)
    list(pretrain(module, data, SETTINGS))
    *_, (epoch, smaller) = prune(module, data, SETTINGS, 0.5)
    before, after = to_graph(module), to_graph(smaller)
    assert figures(after).parameters < 0.5 * figures(before).parameters
    assert epoch.test_accuracy > 0.85
    assert accuracy_of(to_module(after), data.test_x, data.test_y, data) == pytest.approx(epoch.test_accuracy, abs=0.02)


def test_only_the_tail_is_pruned():
    data = blobs((1, 64, 2), 3, train=64)
    *_, (_, smaller) = prune(to_module(mbednet(), 0), data, replace(SETTINGS, epochs=2), 0.5, last=5)
    before, after = mbednet(), smaller.graph
    assert [n.channels for n in after.nodes[:-6]] == [n.channels for n in before.nodes[:-6]]
    assert [n.channels for n in after.nodes[-6:]] == [24, 32, 32, 32, 24, 3]


def test_resumed_pruning_does_what_an_uninterrupted_one_does(tmp_path):
    data, file = blobs(), tmp_path / "run.checkpoint"
    expected = [(epoch.loss, module.graph.nodes[0].channels) for epoch, module in prune(to_module(every_node(), 0), data, SETTINGS, 0.5)]
    runner = prune(to_module(every_node(), 0), data, SETTINGS, 0.5, file=file)
    next(runner), next(runner)
    runner.close()
    found = list(prune(to_module(every_node(), 0), data, SETTINGS, 0.5, file=file))
    assert [epoch.loss for epoch, _ in found] == [loss for loss, _ in expected]
    assert found[-1][1].graph.nodes[0].channels == expected[-1][1] == 4


def test_share_out_of_bounds():
    with pytest.raises(FqtError, match="share 1"):
        next(prune(to_module(every_node()), blobs(), SETTINGS, 1.0))
