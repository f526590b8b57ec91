# SPDX-License-Identifier: Apache-2.0
"""`fqt import --data` runs the source in its own runtime: agreement, what the labels tell, and the layer at which both part."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is what imports are compared with")
pytest.importorskip("ai_edge_litert", reason="LiteRT is what imports are compared with")

import tflite_models  # noqa: E402
from onnx_models import Maker, quantized_qdq, run_onnx  # noqa: E402
from test_cli import fqt  # noqa: E402

from fqt_ref.build import build_network  # noqa: E402
from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.agreement import agree  # noqa: E402
from fqt_ref.datasets import load as load_data  # noqa: E402


def patterns(n=80, noise=0.05):
    """Samples float32[n, 3, 8, 8]: one of five patterns each, and a little noise."""
    kinds = np.random.RandomState(9).randn(5, 3, 8, 8)[np.arange(n) % 5]
    return (kinds + noise * np.random.RandomState(0).randn(n, 3, 8, 8)).astype(np.float32)


def head_for(features):
    """Weights [5, n] and biases [5] that tell the five patterns apart by their features [5, n], with a margin."""
    centred = features - features.mean(0)
    weights = 4 * centred / (centred**2).sum(1, keepdims=True)
    return weights.astype(np.float32), (-weights @ features.mean(0)).astype(np.float32)


def network(softmax=False):
    """An ONNX network that tells the patterns apart."""
    m = Maker()
    x = m.conv(8, 3, pads=[1, 1, 1, 1])
    x = m.node("Relu")
    m.conv(8, 8, pads=[1, 1, 1, 1])
    m.node("Add", x)
    m.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    m.node("Flatten")
    weights, bias = head_for(run_onnx(m.model(), patterns(5, 0)))
    m.node("Gemm", weights, bias, transB=1)
    if softmax:
        m.node("Softmax")
    return m.model()


def stored(folder, model, x, name="net"):
    """A model file, and data whose labels are what onnxruntime says."""
    onnx.save(model, folder / f"{name}.onnx")
    y = run_onnx(model, x).argmax(1)
    images = x.transpose(0, 2, 3, 1)
    np.savez(folder / "data.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    return folder / f"{name}.onnx", folder / "data.npz"


def imported(*arguments):
    """What `fqt import --json` says; its warnings are logged."""
    done = fqt("import", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("config", ["uint8", "mixed", "float32"])
@pytest.mark.parametrize("softmax", [False, True])
def test_float_onnx(config, softmax, tmp_path, caplog):
    model, data = stored(tmp_path, network(softmax=softmax), patterns())
    result = imported(model, "--data", data, "--config", config, "-o", tmp_path / "net.fqt")
    assert (result["agreement"], result["compared"], result["runtime"]) == (1.0, 80, "onnxruntime")
    assert result["source_accuracy"] == 1.0
    assert 0 < result["output_differences"]["mean"] < result["output_differences"]["max"] < 0.5
    assert result["parts_at"] is None
    assert "same class" not in caplog.text


@pytest.mark.parametrize("symmetric", [False, True])
def test_quantized_onnx(symmetric, tmp_path):
    x = patterns()
    path = quantized_qdq(network(), x, tmp_path, ActivationSymmetric=symmetric)
    model, data = stored(tmp_path, onnx.load(path), x)
    result = imported(model, "--data", data, "-o", tmp_path / "net.fqt")
    assert result["agreement"] == 1.0
    assert result["output_differences"]["max_steps"] < 3


def keras_like(folder, dtype, rescaled=False):
    """A TFLite classifier of [1, 8, 8, 3], its rescaling from 0..255 inside if asked for, with data whose labels are LiteRT's."""
    from fqt_ref.convert.runtimes.litert import LiteRT

    rng = np.random.RandomState(4)
    grids = {np.float32: (None, None), np.int8: ((1 / 255, -128), (0.02, -20))}[dtype]
    m = tflite_models.Maker((1, 8, 8, 3), dtype, grids[0], seed=3)
    if rescaled:
        m.op("MUL", [m.last, m.const(np.float32(1 / 127.5))], (1, 8, 8, 3), fusedActivationFunction=0)
        m.op("SUB", [m.last, m.const(np.float32(1))], (1, 8, 8, 3), fusedActivationFunction=0)
    m.layer("CONV_2D", m.weights(6, 3, 3, 3), (1, 6, 6, 6), grid=grids[1], **tflite_models.window(activation=0))
    m.op("RESHAPE", [m.last, m.const(np.int32([1, 216]))], (1, 216), grids[1])
    m.layer("FULLY_CONNECTED", m.weights(5, 216), (1, 5), grid=grids[1], per_channel=False, fusedActivationFunction=0)
    m.op("SOFTMAX", [m.last], (1, 5), None if dtype == np.float32 else (1 / 256, -128), beta=1.0)
    (folder / "net.tflite").write_bytes(m.bytes())
    kinds = rng.randint(0, 256, (5, 8, 8, 3))
    images = np.clip(kinds[np.arange(60) % 5] + rng.randint(-4, 5, (60, 8, 8, 3)), 0, 255).astype(np.uint8)
    x = images.astype(np.int16) - 128 if dtype == np.int8 else images * np.float32(1 if rescaled else 1 / 255)
    y = LiteRT(m.bytes()).outputs(x).argmax(1)
    np.savez(folder / "data.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    return folder / "net.tflite", folder / "data.npz"


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_tflite(dtype, tmp_path):
    model, data = keras_like(tmp_path, dtype)
    result = imported(model, "--data", data, "-o", tmp_path / "net.fqt")
    assert (result["agreement"], result["compared"], result["runtime"]) == (1.0, 60, "LiteRT")
    assert result["source_accuracy"] == 1.0


def test_pictures_in_another_range_are_told_by_the_labels(tmp_path, caplog):
    model, data = keras_like(tmp_path, np.float32, rescaled=True)
    result = imported(model, "--data", data, "-o", tmp_path / "net.fqt")
    assert result["source_accuracy"] < 0.8
    assert "seems to want samples in 0..255" in caplog.text
    assert "--input-scale 1" in caplog.text
    caplog.clear()
    result = imported(model, "--data", data, "--input-scale", "1", "-o", tmp_path / "net.fqt")
    assert result["source_accuracy"] == result["agreement"] == 1.0
    assert "seems to want" not in caplog.text


@pytest.mark.parametrize("spoilt", [0, 1, 4])
def test_the_layer_at_which_they_part_is_named(spoilt, tmp_path):
    model, path = stored(tmp_path, network(), patterns())
    source, data = load(model), load_data(path)
    node = source.graph.nodes[spoilt]
    node.weights = 8 * np.random.RandomState(1).permutation(node.weights.reshape(-1)).reshape(node.weights.shape)
    samples = np.clip(np.rint(data.train_x / np.float32(0.03)) + 128, 0, 255).astype(np.uint8)
    made = build_network(source.graph, "uint8", samples, np.float32(0.03), 128)
    found = agree(model, source, made, data)
    assert found.agreement < 0.98
    assert f"layer {spoilt}, {node.op} '{node.name}'" in found.parts_at
    assert len(found.warnings) == 1
    assert found.parts_at in found.warnings[0]


def test_an_input_grid_that_cuts_off_is_named(tmp_path, caplog):
    model, path = stored(tmp_path, network(), patterns())
    result = imported(model, "--data", path, "--input-scale", "9", "-o", tmp_path / "net.fqt")
    assert result["agreement"] < 0.9
    assert result["parts_at"].startswith("the input")
    assert "they part at the input" in caplog.text


def test_what_cannot_be_compared_says_why(tmp_path, monkeypatch):
    model, path = stored(tmp_path, network(), patterns())
    result = imported(model, "--data", path, "--classes", "5", "-o", tmp_path / "net.fqt")
    assert (result["agreement"], result["compared"], result["not_compared"]) == (None, 0, "the last layer was replaced")
    assert "not compared with its source: the last layer was replaced" in result["notes"]
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = imported(model, "--data", path, "-o", tmp_path / "net.fqt")
    assert (result["agreement"], result["compared"]) == (None, 0)
    assert result["not_compared"] == "onnxruntime: not installed (No module named onnxruntime)"
    (tmp_path / "onnxruntime.py").write_text("import os; os.abort()")
    result = imported(model, "--data", path, "-o", tmp_path / "net.fqt")
    assert "ended with code" in result["not_compared"]


def test_a_regression_has_differences_only(tmp_path, caplog):
    m = Maker(("N", 4))
    m.gemm(8, 4)
    m.node("Relu")
    m.gemm(1, 8)
    onnx.save(m.model(), tmp_path / "net.onnx")
    x = np.random.RandomState(0).randn(50, 4).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.zeros(50, int), x_test=x, y_test=np.zeros(50, int))
    result = imported(tmp_path / "net.onnx", "--data", tmp_path / "data.npz", "-o", tmp_path / "net.fqt")
    assert (result["kind"], result["agreement"], result["compared"]) == ("regression", None, 50)
    assert 0 < result["output_differences"]["max"] < 0.2
    assert "class" not in caplog.text


def test_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="the extra fqt[torch] is not installed")
    pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    head = torch.nn.Linear(288, 5)
    with torch.no_grad():
        weights, bias = head_for(body(torch.from_numpy(patterns(5, 0))).numpy())
        head.weight[:], head.bias[:] = torch.from_numpy(weights), torch.from_numpy(bias)
    module = torch.nn.Sequential(body, head, torch.nn.LogSoftmax(1)).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 8, 8),)), tmp_path / "net.pt2")
    x = patterns()
    y = module(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x_train=x.transpose(0, 2, 3, 1), y_train=y, x_test=x.transpose(0, 2, 3, 1), y_test=y)
    result = imported(tmp_path / "net.pt2", "--data", tmp_path / "data.npz", "-o", tmp_path / "net.fqt")
    assert (result["agreement"], result["compared"], result["runtime"]) == (1.0, 80, "PyTorch")
    assert result["output_differences"]["max"] < 0.2
    source = load(tmp_path / "net.pt2")
    assert result["source_accuracy"] == 1.0
    source.graph.nodes[0].weights = source.graph.nodes[0].weights[::-1].copy()
    samples = np.clip(np.rint(x.transpose(0, 2, 3, 1) / np.float32(0.03)) + 128, 0, 255).astype(np.uint8)
    made = build_network(source.graph, "uint8", samples, np.float32(0.03), 128)
    found = agree(tmp_path / "net.pt2", source, made, load_data(tmp_path / "data.npz"))
    assert found.agreement < 0.98
    assert "layer 0, conv2d" in found.parts_at
