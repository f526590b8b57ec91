# SPDX-License-Identifier: Apache-2.0
"""A layer takes the same time however many there are: basic blocks that the C library runs, counted on this machine."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from fqt_ref import device
from fqt_ref.build import build_network
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Node
from fqt_ref.model_file import file_bytes

SOURCE = Path(__file__).parent / "c" / "many_layers.c"
FEW, MANY = 60, 240  # layers; the format has at most 255
ONE = {"weights": np.ones((1, 1, 1, 1), np.float32), "bias": np.zeros(1, np.float32)}
CHAINS = {
    "convolutions": ("conv2d",),
    "pools": ("conv2d", "max_pool2d", "max_pool2d"),
    "all operators": ("conv2d", "depthwise_conv2d", "add", "max_pool2d", "hard_swish", "avg_pool2d"),
}


def chain(layers: int, operators: tuple[str, ...], train_last: int | None) -> bytes:
    """The model file of layers of one value each, a classifier behind them."""
    graph, t = Graph("chain", (1, 1, 1)), 0
    for i in range(layers - 1):
        op = operators[i % len(operators)]
        inputs = (t, t - 1) if op == "add" else (t,)
        t = graph.append(Node(op, inputs, 1, **(ONE if "conv" in op else {})))
    graph.append(Node("linear", (t,), 2, weights=np.array([1, -1], np.float32).reshape(2, 1, 1, 1), bias=np.zeros(2, np.float32)))
    samples = np.arange(16, dtype=np.uint8).reshape(16, 1, 1, 1)
    return file_bytes(build_network(graph, "uint8", samples, np.float32(1 / 16), 0, train_last=train_last))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("many_layers")
    flags = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{device.APP / 'include'}"]
    counted = [*flags, "-fsanitize-coverage=trace-pc", "-c", *map(str, device.library_sources())]
    subprocess.run(["gcc", *counted], cwd=folder, check=True, timeout=300)
    subprocess.run(["gcc", *flags, str(SOURCE), *map(str, folder.glob("*.o")), "-o", "program"], cwd=folder, check=True, timeout=300)
    return folder / "program"


def blocks_of(program: Path, blob: bytes, path: Path) -> dict[str, int]:
    """What the program counts of a model."""
    path.write_bytes(blob)
    lines = subprocess.run([program, path], capture_output=True, text=True, check=True, timeout=300).stdout.split("\n")[:-1]
    return {what: int(count) for what, count in map(str.split, lines)}


@pytest.mark.parametrize("train_last", [None, 3])
@pytest.mark.parametrize("name", CHAINS)
def test_time_is_linear_in_layers(name, train_last, program, tmp_path):
    """Without back-propagation all layers behind a trained one run for its gradient: there the time is quadratic by the method."""
    few, many = (blocks_of(program, chain(n, CHAINS[name], train_last), tmp_path / f"{n}.fqt") for n in (FEW, MANY))
    ratio = MANY / FEW
    for what in ("inference-from-file", "inference", "init", "sample", "update", "checksum"):
        assert few[what] < many[what] < 1.1 * ratio * few[what], what
    power = 2 if train_last is None else 1
    for what in ("zeroth-init", "zeroth-sample"):
        assert many[what] < 1.1 * ratio**power * few[what], what
