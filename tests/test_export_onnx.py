# SPDX-License-Identifier: Apache-2.0
"""Networks written as ONNX, run by onnxruntime: the same bytes as the engine's but for roundings; and imported again: the same network."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is what exports are run with")

from test_cli import fqt, refused  # noqa: E402

from fqt_ref import model_file  # noqa: E402
from fqt_ref.build import build_network  # noqa: E402
from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.export_onnx import to_onnx, write_onnx  # noqa: E402
from fqt_ref.convert.head import replace_head  # noqa: E402
from fqt_ref.errors import FqtError  # noqa: E402
from fqt_ref.graph import Graph, Node  # noqa: E402
from fqt_ref.network import F32, U8  # noqa: E402
from fqt_ref.state import feature_bytes  # noqa: E402
from fqt_ref.train_step import forward, train, train_config  # noqa: E402
from fqt_ref.training import flat, prepared_state  # noqa: E402


def every_operator() -> Graph:
    graph = Graph("every operator", (9, 8, 3))
    a = graph.append(Node("conv2d", (0,), 8, (3, 3), (1, 1), (1, 1, 1, 0), activation="relu"))
    b = graph.append(Node("depthwise_conv2d", (a,), 8, (3, 2), (1, 1), (2, 2, 1, 0), (2, 1), activation="relu6"))
    b = graph.append(Node("conv2d", (b,), 8))
    c = graph.append(Node("add", (a, b), 8, activation="relu"))
    d = graph.append(Node("max_pool2d", (c,), 8, (2, 2), (2, 1)))
    e = graph.append(Node("hard_swish", (d,), 8))
    f = graph.append(Node("avg_pool2d", (e,), 8, (2, 3), (1, 2)))
    g = graph.append(Node("linear", (f,), 6, activation="relu", head=True))
    graph.append(Node("linear", (g,), 5, head=True))
    return graph


def networks(config, per_channel):
    samples = np.random.RandomState(0).randint(0, 256, (32, 9, 8, 3)).astype(np.uint8)
    return build_network(every_operator(), config, samples, np.float32(0.02), 100, seed=3, per_channel=per_channel), samples


def engine(network, samples):
    """Real logits [n, classes]."""
    state, last = prepared_state(network), network.tensors[-1]
    rows = []
    for sample in flat(samples):
        forward(state, sample)
        data = feature_bytes(state, len(network.tensors) - 1)
        if last["type"] == F32:
            rows.append(np.frombuffer(data, np.float32))
        else:
            rows.append((np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(last["zero"])) * last["scale"])
    return np.array(rows)


def exported(network, samples, optimized):
    x = (samples.astype(np.float32) - np.float32(network.tensors[0]["zero"])) * network.tensors[0]["scale"]
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    model = to_onnx(network)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})[0]


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize(("config", "per_channel"), [("uint8", False), ("uint8", True), ("mixed", True), ("float32", False)])
def test_onnxruntime_gives_the_same(config, per_channel, optimized):
    network, samples = networks(config, per_channel)
    ours, theirs = engine(network, samples), exported(network, samples, optimized)
    assert ours.shape == theirs.shape
    if config == "float32":
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
        return
    step = float(network.tensors[-1]["scale"]) if network.tensors[-1]["type"] == U8 else float(np.abs(theirs).max()) / 128
    off = np.abs(ours - theirs) / step
    assert np.mean(off < 1.5) > 0.9, off
    assert off.max() < 6, off


def test_a_trained_network_and_back(tmp_path):
    network, samples = networks("uint8", True)
    state = prepared_state(network, train_config(8, 0.01))
    labels = np.arange(32) % 5
    order = np.arange(32)
    train(state, train_config(8, 0.01), flat(samples), labels, order, np.zeros(32, np.int64), np.zeros(32, np.int64))
    from fqt_ref.network import network_of

    network = network_of("trained", state)
    path = tmp_path / "net.onnx"
    assert write_onnx(network, path) == path.stat().st_size
    imported = load(path)
    tensors = network.tensors
    again = build_network(imported.graph, "uint8", samples, tensors[0]["scale"], int(tensors[0]["zero"]))
    assert np.array_equal(again.layers["op"], network.layers["op"])
    for field in ("scale", "zero"):
        assert np.array_equal(again.tensors[field], tensors[field])
    for i, weights in enumerate(network.weights):
        if weights is None:
            continue
        assert np.array_equal(again.weights[i], weights), i
        assert np.array_equal(again.grids[i][0], network.grids[i][0])
        assert np.array_equal(again.grids[i][1], network.grids[i][1])
        # A bias becomes a multiple of s_x s_w on the way, as ONNX wants it.
        steps = np.float64(tensors["scale"][network.layers["input"][i]]) * network.grids[i][0]
        assert np.all(np.abs(again.biases[i] - network.biases[i]) <= 0.51 * steps * 2**20 + 1)
    assert np.abs(engine(again, samples) - engine(network, samples)).max() <= 3 * float(tensors["scale"][-1])


def test_it_cannot_be_written(tmp_path):
    network, _ = networks("uint8", False)
    with pytest.raises(FqtError, match="cannot write"):
        write_onnx(network, tmp_path / "missing" / "net.onnx")


def test_commands(tmp_path):
    network, samples = networks("uint8", True)
    model, onnx_file, back = tmp_path / "m.fqt", tmp_path / "m.onnx", tmp_path / "back.fqt"
    model_file.write(model, network)
    done = fqt("export", model, "-o", onnx_file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == onnx_file.stat().st_size
    done = fqt("import", onnx_file, "-o", back, "--report")
    assert done.returncode == 0, done.stderr
    assert "depthwise_conv2d" in done.stdout
    again = model_file.read(back)
    assert np.array_equal(again.weights[0], network.weights[0])
    done = fqt("import", onnx_file, "-o", back, "--classes", 3, "--train-last", 1, "--json")
    assert "add samples" in done.stderr  # a fresh head has no range yet
    np.savez(tmp_path / "d.npz", x_train=samples, y_train=np.arange(32) % 3, x_test=samples, y_test=np.arange(32) % 3)
    for more in ([], ["--calibration", "percentile"], ["--config", "mixed", "--per-tensor"]):
        done = fqt("import", onnx_file, "-o", back, "--classes", 3, "--train-last", 1, "--data", tmp_path / "d.npz", "--json", *more)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["layers"] == 9
    assert int(model_file.read(back).tensors[-1]["c"]) == 3


def test_commands_refuse(tmp_path):
    network, _ = networks("float32", False)
    path, target = tmp_path / "m.onnx", tmp_path / "m.fqt"
    write_onnx(network, path)
    for arguments, words in [
        ([], "does not prescribe all ranges"),
        (["--data", "digits"], "(8, 8, 1)"),
        (["--classes", "1024"], "1 to 1023"),
        (["--calibration", "best"], "choose one of minmax, percentile"),
        (["--percentile", "20"], "not in 50..100"),
        (["--input-shape", "3,x"], "not a list of sizes"),
    ]:
        assert words in refused("import", path, "-o", target, *arguments)
    assert "no such file" in refused("import", tmp_path / "missing.onnx", "-o", target)
    assert "a model file of fqt already" in refused("import", target, "-o", tmp_path / "other.fqt")
    assert "cannot tell what" in refused("import", tmp_path / "m.xyz", "-o", target)


def test_head_of_a_network_that_ends_otherwise():
    graph = Graph("odd", (4, 4, 2))
    graph.append(Node("avg_pool2d", (0,), 2, (4, 4)))
    with pytest.raises(FqtError, match="cannot be replaced"):
        replace_head(graph, 3)
