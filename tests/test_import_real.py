# SPDX-License-Identifier: Apache-2.0
"""Published models, each against its own runtime. The files are no part of the project: without them these tests are skipped."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite", reason="the extra fqt[onnx] is not installed")

from graph_interpreter import logits, run_graph

from fqt_ref.convert import load
from fqt_ref.convert.report import table

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"  # a folder beside the checkout
FOLDERS = [Path(folder) for folder in (os.environ.get("FQT_DATA_DIR"), BESIDE) if folder]


def data_file(name: str) -> Path:
    """A file of the data directory; skips the test if there is none."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"needs {name} in FQT_DATA_DIR")


def runtime(path, reference=True):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is what imports are compared with")
    from litert import LiteRT

    return LiteRT(path, reference)


def samples_of(name: str, graph, n: int) -> np.ndarray:
    """Bytes [n, h, w, c] as the model's input has them."""
    if name.startswith("kws"):
        features = np.load(data_file("speech_commands_1000_features.npz"))["mfcc_i8"]
        return (features[:: len(features) // n][:n].astype(np.int16) + 128).astype(np.uint8)[..., None]
    rng = np.random.RandomState(0)  # smooth noise: pictures have more in common with it than with white noise
    coarse = rng.randint(0, 256, (n, *(max(1, s // 4) for s in graph.input_shape[:2]), graph.input_shape[2]))
    if min(graph.input_shape[:2]) == 1:
        return rng.randint(0, 256, (n, *graph.input_shape)).astype(np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "scale"),
    [("pretrainedResnet.tflite", 1.0), ("vww_96_float.tflite", 1 / 255)],
)
def test_float_models(name, scale):
    path = data_file(f"models/{name}")
    graph = load(path).graph
    x = (samples_of(name, graph, 6) * scale).astype(np.float32)
    ours, theirs = logits(graph, x), runtime(path).outputs(x)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_float_model_with_int8_weights():
    """LiteRT rounds the inputs of such layers to 8 bits on the way, which a Graph does not: the logits agree to that rounding."""
    path = data_file("models/kws_ref_model_float32.tflite")
    graph = load(path).graph
    assert sum(node.weight_grid is not None for node in graph.nodes) == 5
    x = (0.5847029 * (samples_of("kws", graph, 20).astype(np.float64) - 211)).astype(np.float32)
    ours, theirs = logits(graph, x), runtime(path).outputs(x)
    assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
    assert np.array_equal(ours.argmax(1), theirs.argmax(1))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("kws_ref_model.tflite", 11),
        ("pretrainedResnet_quant.tflite", 14),
        ("vww_96_int8.tflite", 29),
        ("person_detect.tflite", 29),
        ("ad01_int8.tflite", 10),
    ],
)
def test_int8_models_layer_by_layer(name, layers):
    path = data_file(f"models/{name}")
    its_runtime = runtime(path)
    from litert import layer_differences

    imported = load(path)
    assert len(imported.graph.nodes) == layers
    assert table(imported)
    differ = total = 0
    for sample in samples_of(name, imported.graph, 3):
        for off in layer_differences(its_runtime, imported, sample.astype(np.int16) - 128):
            assert np.abs(off).max() <= 1
            differ, total = differ + np.count_nonzero(off), total + off.size
    assert differ < 0.005 * total


@pytest.mark.parametrize("name", ["mcunet-5fps", "proxyless-w0.3", "mbv2-w0.35"])
def test_mcunet_models(name):
    """No runtime runs these: what can be checked is that each layer fills its grid, which it would miss with wrong scales."""
    graph = load(data_file(f"models/{name}.json")).graph
    data_file(f"models/{name}.npz")
    x = samples_of(name, graph, 2)
    tensors = run_graph(graph, (x.astype(np.float64) - 128) / 127.5, quantized=True)
    exact = run_graph(graph, (x.astype(np.float64) - 128) / 127.5)
    for i, (node, y) in enumerate(zip(graph.nodes, tensors[1:], strict=True)):
        grid = node.output_grid
        steps = np.rint(y / float(grid.scale[0])) + int(grid.zero[0])
        saturated = np.mean(steps == 255) + (0 if node.activation else np.mean(steps == 0))
        assert saturated < 0.2, (i, node.name, saturated)
        assert len(np.unique(steps)) > 10, (i, node.name)
    assert np.corrcoef(exact[-1].ravel(), tensors[-1].ravel())[0, 1] > 0.8
