# SPDX-License-Identifier: Apache-2.0
"""The networks that ship: their published sizes, and MbedNet's constraints (the paper's poster)."""

import pytest

from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Node
from fqt_ref.models import NETWORKS, describe_network
from fqt_ref.models.describe import graph_of
from fqt_ref.models.figures import figures


def network(name, shape, classes):
    return graph_of(name, describe_network(name, shape, classes), shape)


# MACs as published with MLPerf Tiny (v1.0); parameters here are those of the folded network.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters", "macs"),
    [
        ("ds-cnn", (49, 10, 1), 12, 22604, 2656768),
        ("resnet8", (32, 32, 3), 10, 77706, 12501632),
        ("mobilenet-v1-0.25", (96, 96, 3), 2, 210850, 7489664),
        ("mnist-cnn", (28, 28, 1), 10, 38826, 252064),
    ],
)
def test_sizes(name, shape, classes, parameters, macs):
    found = figures(network(name, shape, classes))
    assert (found.parameters, found.macs) == (parameters, macs)


@pytest.mark.parametrize(
    ("shape", "classes", "macs", "peak", "tail_weights", "tail_bytes"),
    [
        ((128, 128, 3), 102, 20012416, 450560, 51264, 261744),  # the poster: 450.6 KB, 261.7 KB (flowers)
        ((64, 64, 3), 102, 11097472, 112640, 51264, 261744),
        ((32, 32, 3), 10, 14883968, 112640, 45376, 231568),  # 231.7 KB (cifar10)
        ((1, 1024, 1), 13, 7534704, 67584, 9264, 48216),  # 48.7 KB (daliac)
        ((1, 512, 1), 10, 3769056, 33792, 9120, 47472),
    ],
)
def test_mbednet_meets_its_constraints(shape, classes, macs, peak, tail_weights, tail_bytes):
    found = figures(network("mbednet", shape, classes))
    assert (found.macs, found.peak_bytes, found.tail_weights, found.tail_bytes) == (macs, peak, tail_weights, tail_bytes)


@pytest.mark.parametrize("shape", [(49, 40, 1), (28, 28, 1), (1, 128, 6), (96, 96, 3), (8, 8, 1), (1, 40, 1)])
def test_mbednet_takes_any_shape_and_its_tail_is_five_layers(shape):
    graph = network("mbednet", shape, 7)
    weighted = [node for node in graph.nodes if node.op in ("conv2d", "depthwise_conv2d", "linear")]
    assert [node.op for node in weighted[-5:]] == ["conv2d", "conv2d", "depthwise_conv2d", "linear", "linear"]
    assert graph.shape(len(graph.nodes)) == (1, 1, 7)
    assert shape[0] > 1 or all(node.kernel[0] == 1 for node in weighted)
    assert sum(node.op == "add" for node in graph.nodes) == 5


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_ends_in_the_classes(name):
    graph = network(name, (32, 32, 3), 5)
    assert graph.shape(len(graph.nodes)) == (1, 1, 5) and graph.nodes[-1].activation == ""


def test_peak_counts_what_a_residual_keeps():
    graph = Graph("residual", (4, 4, 2))
    graph.append(Node("conv2d", (0,), 8))
    graph.append(Node("conv2d", (1,), 3))
    graph.append(Node("conv2d", (2,), 8))
    graph.append(Node("add", (3, 1), 8))
    assert figures(graph).peak_bytes == 16 * (8 + 8 + 8)


def test_unknown_network():
    with pytest.raises(FqtError, match="mbednet"):
        describe_network("mbednett", (32, 32, 3), 10)
