# SPDX-License-Identifier: Apache-2.0
"""Regressions and autoencoders are told from classifiers, say so, and aren't trained or measured as if they were some."""

import json

import numpy as np
import pytest
from test_cli import fqt, refused

from fqt_ref import model_file
from fqt_ref.build import build_network
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Node
from fqt_ref.kind import AUTOENCODER, CLASSIFIER, REGRESSION, kind_of, kind_of_sizes
from fqt_ref.train_step import train_config
from fqt_ref.training import train_epochs
from fqt_ref.transfer import steps


def linear_network(name, *sizes):
    """Linear layers with random weights: a network with so many values between them."""
    graph = Graph(name, (1, 1, sizes[0]))
    for i, channels in enumerate(sizes[1:]):
        graph.append(Node("linear", (i,), channels, activation="relu" if i + 2 < len(sizes) else ""))
    samples = np.random.RandomState(0).randint(0, 256, (8, 1, 1, sizes[0])).astype(np.uint8)
    return build_network(graph, "uint8", samples, np.float32(1 / 255), 0)


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ([1, 16, 16, 1], REGRESSION),
        ([64, 16, 1], REGRESSION),
        ([640, 128, 8, 128, 640], AUTOENCODER),
        ([24, 24], AUTOENCODER),
        ([8, 3, 8], AUTOENCODER),
        ([4, 16, 4], CLASSIFIER),
        ([2, 8, 2], CLASSIFIER),
        ([64, 32, 10], CLASSIFIER),
        ([10, 32, 64], CLASSIFIER),
    ],
)
def test_kinds(sizes, kind):
    assert kind_of_sizes(sizes) == kind


def test_kind_counts_elements_of_images():
    graph = Graph("net", (4, 4, 2))
    graph.append(Node("conv2d", (0,), 2, kernel=(3, 3)))
    graph.append(Node("linear", (1,), 32))
    assert kind_of(build_network(graph, "mixed", np.zeros((1, 4, 4, 2), np.uint8), np.float32(1), 0)) == AUTOENCODER


@pytest.mark.parametrize(("sizes", "words"), [((64, 8, 1), "is a regression (one output"), ((64, 8, 64), "is an autoencoder (as many")])
def test_only_classifiers_are_trained_and_measured(sizes, words, tmp_path):
    network, path, data = linear_network("net", *sizes), tmp_path / "net.fqt", load("digits")
    model_file.write(path, network)
    info = fqt("info", path)
    assert words.split()[2] in info.stdout.splitlines()[0]
    assert json.loads(fqt("info", path, "--json").stdout)["kind"] == words.split()[2]
    for arguments, why in [
        (("train", "--from", path, "-o", tmp_path / "out.fqt"), "cross-entropy"),
        (("retrain", path, "--data", "digits", "-o", tmp_path / "out.fqt"), "cross-entropy"),
        (("deploy", path, "--board", "qemu_cortex_m3", "-o", tmp_path / "build"), "cross-entropy"),
        (("evaluate", path), "class accuracy"),
    ]:
        line = refused(*arguments)
        assert words in line
        assert why in line
        assert "--classes N" in line
    assert sorted(tmp_path.iterdir()) == [path]
    with pytest.raises(FqtError, match="cross-entropy"):
        next(train_epochs(network, data, train_config(8), 1))
    with pytest.raises(FqtError, match="cross-entropy"):
        steps.retrain(network, data, train_config(8), 1, 1, 0)
