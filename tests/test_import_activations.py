# SPDX-License-Identifier: Apache-2.0
"""ReLUs that onnxruntime's quantizer leaves out (its default) come back from the grids, and train as if they had been there."""

from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="its quantizer is what leaves ReLUs out")

from onnx_models import Maker, quantized_qdq  # noqa: E402

from fqt_ref import model_file  # noqa: E402
from fqt_ref.build import build_network  # noqa: E402
from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.activations import clip_of, restore_activations  # noqa: E402
from fqt_ref.graph import Graph, Grid, Node  # noqa: E402


def residual_network():
    """ReLU6, ReLU behind an addition and behind a convolution, whose values are large enough to reach 6."""
    m = Maker()
    x = m.conv(8, 3, pads=[1, 1, 1, 1])
    x = m.node("Clip", np.float32(0), np.float32(6))
    m.conv(8, 1, group=8, pads=[1, 1, 1, 1])
    m.node("Clip", np.float32(0), np.float32(6))
    m.conv(8, 8, k=1)
    m.node("Add", x)
    m.node("Relu")
    m.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    m.conv(8, 8)
    m.node("Relu")
    m.classifier(8)
    return m.model()


def imported_bytes(path, samples):
    """The model file that an import makes, under one name."""
    imported = load(path)
    graph = imported.graph
    network = build_network(graph, "uint8", samples, graph.input_grid.scale[0], int(graph.input_grid.zero[0]))
    return model_file.file_bytes(network._replace(name="net")), imported


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_removed_relus_give_the_same_file_as_kept_ones(activations, tmp_path):
    x = 8 * np.random.RandomState(5).randn(64, 3, 8, 8).astype(np.float32)
    files, notes = {}, {}
    for kept in (False, True):
        path = quantized_qdq(residual_network(), x, tmp_path, activations=activations, keep_activations=kept)
        ops = [node.op_type for node in onnx.load(path).graph.node]
        assert (ops.count("Clip"), ops.count("Relu")) == ((2, 2) if kept else (0, 0))
        samples = np.zeros((1, 8, 8, 3), np.uint8)
        files[kept], imported = imported_bytes(path, samples)
        notes[kept] = imported.notes
        kinds = [node.activation for node in imported.graph.nodes]
        assert kinds == ["relu6", "relu6", "", "relu", "", "relu", "", ""]
    assert files[False] == files[True]
    assert notes == {False: ["grids of 4 layers begin at 0: 2 relu and 2 relu6 taken from them"], True: []}


def test_the_grid_tells_the_activation():
    def grid(scale, zero):
        return Grid(np.float32([scale]), np.int32([zero]))

    assert clip_of(grid(0.1, 1)) == ""
    assert clip_of(grid(0.1, 128)) == ""
    assert clip_of(grid(0.1, 0)) == "relu"
    assert clip_of(grid(6 / 255, 0)) == "relu6"
    assert clip_of(grid(6 / 255 * (1 + 0.4 / 255), 0)) == "relu6"
    assert clip_of(grid(6 / 255 * (1 + 0.6 / 255), 0)) == "relu"
    assert clip_of(grid(6 / 255 * (1 - 0.6 / 255), 0)) == "relu"


def test_logits_pools_and_open_grids_get_none():
    low = Grid(np.float32([0.1]), np.int32([0]))

    def node(op, inputs, **more):
        return Node(op, inputs, 4, output_grid=low, **more)

    graph = Graph("net", (4, 4, 4))
    for one in (
        node("conv2d", (0,)), node("avg_pool2d", (1,)), node("hard_swish", (2,)), replace(node("conv2d", (3,)), output_grid=None),
        node("conv2d", (4,), activation="relu6"), node("linear", (5,)),
    ):  # fmt: skip
        graph.append(one)
    assert restore_activations(graph) == ["grids of 1 layers begin at 0: 1 relu and 0 relu6 taken from them"]
    assert [n.activation for n in graph.nodes] == ["relu", "", "", "", "relu6", ""]
