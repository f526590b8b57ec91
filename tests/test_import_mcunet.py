# SPDX-License-Identifier: Apache-2.0
"""MCUNet's files: a small network of that form, made here, and one clear line for files that are not."""

import json

import numpy as np
import pytest
from graph_interpreter import run_graph

from fqt_ref.convert import load
from fqt_ref.errors import FqtError


def write(folder, change=lambda layers, arrays: None):
    """first_conv, a block with a residual, a classifier."""
    rng, arrays = np.random.RandomState(0), {}

    def array(name, values):
        arrays[name] = values
        return {"array": name, "shape": list(values.shape), "dtype": str(values.dtype)}

    def layer(name, out, in_, size_in, size_out, k, x, y, depthwise=False):
        weights = rng.randint(-127, 128, (out, 1 if depthwise else in_, k, k)).astype(np.int8)
        params = {
            "weight": array(f"{name}.weight", weights),
            "bias": array(f"{name}.bias", rng.randint(-500, 500, out).astype(np.int32)),
            "w_scales": array(f"{name}.w_scales", rng.uniform(0.001, 0.01, out).astype(np.float32)),
            "x_scale": x[0], "x_zero": x[1], "y_scale": y[0], "y_zero": y[1],
        }  # fmt: skip
        return {
            "in_channel": in_, "in_shape": size_in, "out_channel": out, "out_shape": size_out, "kernel_size": [k, k],
            "stride": size_in // size_out, "groups": in_ if depthwise else 1, "depthwise": depthwise, "act": None, "params": params,
        }  # fmt: skip

    relu6, a, b, c = (6 / 255, -128), (0.02, 3), (0.03, -5), (0.04, 1)
    residual = {"in_channel": 4, "in_shape": 4, "params": {"x_scale": a[0], "x_zero": a[1], "y_scale": c[0], "y_zero": c[1]}}
    layers = {
        "first_conv": layer("first", 4, 3, 8, 4, 3, (1 / 127.5, 0), a),
        "blocks": [
            {
                "pointwise1": layer("p1", 8, 4, 4, 4, 1, a, relu6),
                "depthwise": layer("d", 8, 8, 4, 4, 5, relu6, (0.015, -128), True),
                "pointwise2": layer("p2", 4, 8, 4, 4, 1, (0.015, -128), b),
                "residual": residual,
                "se": None,
            }
        ],
        "feature_mix": None,
        "classifier": layer("head", 5, 4, 1, 1, 1, (0.03, 0), (0.05, -9)),
    }
    change(layers, arrays)
    (folder / "net.json").write_text(json.dumps(layers))
    np.savez(folder / "net.npz", **arrays)
    return folder / "net.json"


def test_small_network(tmp_path):
    imported = load(write(tmp_path))
    graph = imported.graph
    assert [node.op for node in graph.nodes] == ["conv2d", "conv2d", "depthwise_conv2d", "conv2d", "add", "avg_pool2d", "linear"]
    assert [node.activation for node in graph.nodes] == ["", "relu6", "relu6", "", "", "", ""]
    assert graph.nodes[4].inputs == (1, 4)
    assert [int(node.output_grid.zero[0]) for node in graph.nodes] == [131, 0, 0, 123, 129, 128, 119]
    assert all(node.weight_grid is None or len(node.weight_grid.scale) == node.channels for node in graph.nodes)
    assert [node.head for node in graph.nodes] == [False] * 6 + [True]
    with np.load(tmp_path / "net.npz") as arrays:
        scale = arrays["d.w_scales"][3]
        assert np.array_equal(graph.nodes[2].weights[3, :, :, 0], arrays["d.weight"][3, 0].astype(np.float32) * scale)
        bias = arrays["d.bias"][3] * np.float64(scale) * np.float64(np.float32(6 / 255))
        assert graph.nodes[2].bias[3] == np.float32(bias)
    assert run_graph(graph, np.zeros((1, 8, 8, 3)), quantized=True)[-1].shape == (1, 1, 1, 5)


def test_onnxruntime_computes_the_same(tmp_path):
    outputs = pytest.importorskip("mcunet_onnx", reason="onnx is not installed").outputs
    pytest.importorskip("onnxruntime")
    path = write(tmp_path)
    samples = np.random.RandomState(1).randint(-128, 128, (20, 8, 8, 3)).astype(np.int8)
    theirs = outputs(path, samples, reference=True)
    graph = load(path).graph
    grid = graph.nodes[-1].output_grid
    ours = run_graph(graph, (samples.astype(np.float64) + 128 - int(graph.input_grid.zero[0])) * graph.input_grid.scale[0], quantized=True)[
        -1
    ]
    ours = np.rint(ours.reshape(20, 5) / grid.scale[0]) + int(grid.zero[0]) - 128
    assert np.ptp(theirs, axis=0).max() > 10  # the samples tell something
    assert np.abs(ours - theirs).max() <= 1  # float32 sums in the runtime, float64 here


def refused(path):
    with pytest.raises(FqtError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_such_a_network(tmp_path):
    (tmp_path / "empty.json").write_text("")
    assert "empty" in refused(tmp_path / "empty.json")
    (tmp_path / "alone.json").write_text("{}")
    assert "alone.npz" in refused(tmp_path / "alone.json")

    def other_grid(layers, arrays):
        layers["blocks"][0]["residual"]["params"]["x_scale"] = 0.5

    assert "another grid" in refused(write(tmp_path, other_grid))

    def excitation(layers, arrays):
        layers["blocks"][0]["se"] = {}

    assert "squeeze-and-excitation" in refused(write(tmp_path, excitation))

    def no_array(layers, arrays):
        del arrays["p1.bias"]

    assert "p1.bias" in refused(write(tmp_path, no_array))

    def no_blocks(layers, arrays):
        del layers["blocks"]

    assert "not the list of layers" in refused(write(tmp_path, no_blocks))
    path = write(tmp_path)
    path.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes()[:200])
    assert "damaged" in refused(path)
