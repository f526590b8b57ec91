# SPDX-License-Identifier: Apache-2.0
"""The engine's golden vectors against the slow twins of naive.py, and against the files in golden/."""

import subprocess
import sys

import naive
import numpy as np
import pytest

from fqt_ref import golden, model_file
from fqt_ref.errors import FqtError
from fqt_ref.golden import operators, steps
from fqt_ref.golden.format import CODES, Case
from fqt_ref.initialize import initialize
from fqt_ref.models import Conv2d, Linear, MaxPool2d


def values(array: np.ndarray) -> list:
    """A flat list of Python ints or numpy.float32 scalars, as naive.py wants it."""
    flat = array.reshape(-1)
    return list(flat) if flat.dtype == np.float32 else [int(v) for v in flat]


def weighted(kind: str, a: list[list]) -> tuple:
    """A convolution's or linear layer's golden inputs, through naive.py."""
    function, g = getattr(naive, kind), naive.geometry(*a[0])
    action = kind.removeprefix("depthwise_").split("_", 1)[1]
    if action == "forward_u8":
        y, low, high = function(g, a[3], a[4], a[5], *a[1], a[2][0])
        return y, [low, high]
    if action == "backward_input_u8":
        dx, largest = function(g, a[3], a[4], a[5], *a[1], a[2][0])
        return dx, [largest]
    if action == "backward_weight_u8":
        return function(g, a[2], a[3], *a[1], a[4], a[5])
    if action == "forward_f32":
        return (function(g, a[2], a[3], a[4], a[1][0]),)
    if action == "backward_input_f32":
        return (function(g, a[2], a[3], a[4], a[1][0]),)
    return function(g, a[1], a[2], a[3], a[4])


def pool(kind: str, a: list[list]) -> tuple:
    g = naive.geometry(*a[0])
    if kind.startswith("max_pool2d_forward"):
        return (naive.max_pool2d_forward(g, a[1]),)
    if kind == "max_pool2d_backward_u8":
        return (naive.max_pool2d_backward_u8(g, a[2], a[3], *a[1]),)
    return (naive.max_pool2d_backward_f32(g, a[2], a[3], a[1][0]),)


def softmax(kind: str, a: list[list]) -> tuple:
    result = naive.softmax_u8(a[2], a[0][0], a[1][0]) if kind == "softmax_u8" else naive.softmax_f32(a[1], a[0][0])
    return result[0], list(result[1:])


def update_weights(a: list[list]) -> tuple:
    w, s, z, residuals = naive.update_weights_u8(*a[0], *a[1], *a[2], a[3], a[4], a[5])
    return w, [s], [z], residuals


def dequantize_backward(a: list[list]) -> tuple:
    dx, largest = naive.dequantize_backward(a[2], a[3], *a[0], a[1][0])
    return dx, [largest]


def moving_range(a: list[list]) -> tuple:
    lo, hi, scale, zero = naive.update_range(a[0][0], *a[1], *a[2])
    return [lo, hi, scale], [zero]


def twin(kind: str, a: list[list]) -> tuple:
    """naive.py's results for a golden case's inputs."""
    simple = {
        "requantize": lambda: ([naive.requantize(v, m) for m, v in zip(*a, strict=True)],),
        "rescale": lambda: ([naive.rescale(v, m, r) for m, v, r in zip(*a, strict=True)],),
        "random": lambda: ([naive.word(naive.key(*a[0][i : i + 3]), a[0][i + 3]) for i in range(0, len(a[0]), 4)],),
        "log2": lambda: ([naive.log2_q16(v) for v in a[0]],),
        "dequantize_forward": lambda: (naive.dequantize_forward(a[2], a[0][0], a[1][0]),),
        "dequantize_backward": lambda: dequantize_backward(a),
        "sparse_select_u8": lambda: naive.sparse_select(*a[0], a[1], a[2]),
        "sparse_select_f32": lambda: naive.sparse_select(*a[0], a[1], a[2]),
        "update_weights_u8": lambda: update_weights(a),
        "update_bias_u8": lambda: (naive.update_bias_u8(a[0][0], *a[1], a[2], a[3]),),
        "update_f32": lambda: naive.update_f32(*a[0], a[1][0], *a[2:]),
        "update_range": lambda: moving_range(a),
    }
    if kind in simple:
        return simple[kind]()
    if kind.startswith("max_pool2d"):
        return pool(kind, a)
    if kind.startswith("softmax"):
        return softmax(kind, a)
    return weighted(kind, a)


OPERATOR_FILES = operators.operator_files()


@pytest.mark.parametrize("name", list(OPERATOR_FILES))
def test_engine_equals_slow_twin(name):
    cases = OPERATOR_FILES[name]
    assert cases
    for case in cases:
        results = twin(case.kind, [values(a) for a in case.inputs])
        assert len(results) == len(case.expected), case.name
        for result, expected in zip(results, case.expected, strict=True):
            found = np.array(result, expected.dtype).reshape(-1)
            assert found.tobytes() == expected.tobytes(), f"{case.kind}, {case.name}"


def naive_trainer(case: Case) -> naive.Trainer:
    """naive.py's training run from a trace's or trajectory's inputs."""
    network = model_file.parse(case.inputs[0].tobytes())
    tensors = [
        naive.Tensor(int(t["type"]), tuple(int(t[k]) for k in "hwc"), int(t["flagset"]), t["scale"], int(t["zero"]), t["lo"], t["hi"], s_e)
        for t, s_e in zip(network.tensors, network.tensors["error_scale"], strict=True)
    ]
    layers = []
    for i, r in enumerate(network.layers):
        pads = tuple(int(r[f"pad_{side}"]) for side in ("top", "bottom", "left", "right"))
        kernel, stride = (int(r["kernel_h"]), int(r["kernel_w"])), (int(r["stride_h"]), int(r["stride_w"]))
        weights = [] if network.weights[i] is None else values(network.weights[i])
        bias = [] if network.biases[i] is None else values(network.biases[i])
        grid = r["weight_scale"], int(r["weight_zero"])
        layers.append(naive.Layer(int(r["op"]), int(r["flagset"]), kernel, stride, pads, weights, bias, *grid))
    batch, seed, lmin, lmax, last = (int(v) for v in case.inputs[1][:5])
    return naive.Trainer(tensors, layers, batch, case.inputs[2][0], seed, lmin, lmax, bool(last))


@pytest.fixture(scope="module")
def traces():
    return list(steps.traces())


def replayed_by_twin(case: Case) -> bytes:
    """naive.py's trace of a trace case's inputs."""
    trainer = naive_trainer(case)
    trainer.records = []
    trainer.run([values(s) for s in case.inputs[3]], values(case.inputs[4]), int(case.inputs[1][6]))
    return naive.trace_bytes(trainer.records)


@pytest.mark.parametrize("index", range(10))
def test_training_steps_equal_slow_twin(traces, index):
    _, case = traces[index]
    assert replayed_by_twin(case) == case.expected[0].tobytes()


@pytest.mark.parametrize("config", steps.CONFIGS)
def test_plain_steps_equal_slow_twin(config):
    """One sparse update of a small CNN, small enough to run as plain Python too (NUMBA_DISABLE_JIT=1)."""
    rng = np.random.RandomState(0)
    description = [Conv2d(3, padding=(1, 1, 0, 1)), MaxPool2d(), Linear(5), Linear(4, relu=False, batch_norm=False)]
    samples = rng.randint(0, 256, (3, 7, 6, 2)).astype(np.uint8)
    network = initialize("plain", description, config, samples, np.float32(0.01), 9, 1)
    settings = steps.ts.train_config(3, 0.01, 0.4, 0.8, seed=5)
    case = steps.trace_case("plain", network, settings, samples.reshape(3, -1), np.array([0, 3, 1]), 6)
    assert replayed_by_twin(case) == case.expected[0].tobytes()


def test_trajectories_are_long_and_in_every_configuration():
    found = {name: case for name, case in steps.trajectories()}
    for config in steps.CONFIGS:
        for mode in ("dense", "sparse"):
            case = found[f"trajectory_{config}_{mode}"]
            assert len(case.expected[0]) >= 200
            assert len(case.expected[1]) == len(case.expected[0]) // steps.BATCH
            assert len(set(case.expected[1].tolist())) == len(case.expected[1])  # the state moves at every update


def test_small_trajectory_equals_slow_twin():
    ((_, case),) = steps.trajectories(only="trajectory_small")
    results, checksums = naive_trainer(case).run([values(s) for s in case.inputs[3]], values(case.inputs[4]), 48)
    assert results == case.expected[0].reshape(-1)[:96].tolist()
    assert checksums == case.expected[1][: 48 // steps.BATCH].tolist()


@pytest.fixture(scope="module")
def fresh():
    return golden.generate()


def test_files_in_golden_are_what_the_engine_makes(fresh):
    assert golden.check(golden.DEFAULT_DIR, fresh) == sum(map(len, fresh.values()))
    assert sum(map(len, fresh.values())) < 4_000_000
    assert len(fresh) == golden.FILES + 1


def test_hazard_one_flipped_bit_is_named(fresh, tmp_path):
    golden.write(tmp_path, fresh)
    path = tmp_path / "conv2d.fqg"
    data = bytearray(path.read_bytes())
    data[5000] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(FqtError, match=r"conv2d\.fqg differs first at byte 5000, case '") as caught:
        golden.check(tmp_path, fresh)
    assert "\n" not in str(caught.value)


def test_hazard_missing_and_cut_files_are_named(fresh, tmp_path):
    golden.write(tmp_path, fresh)
    (tmp_path / "ranges.fqg").unlink()
    with pytest.raises(FqtError, match=r"ranges\.fqg: No such file"):
        golden.check(tmp_path, fresh)
    (tmp_path / "ranges.fqg").write_bytes(fresh["ranges.fqg"][:100])
    with pytest.raises(FqtError, match=r"ranges\.fqg.* has 100 bytes instead of"):
        golden.check(tmp_path, fresh)


def test_golden_check_command_fails_with_2(fresh, tmp_path):
    golden.write(tmp_path, fresh)
    (tmp_path / "arithmetic.fqg").write_bytes(b"FQG1")
    done = subprocess.run([sys.executable, "-m", "fqt_ref", "golden", "--check", "--golden-dir", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "arithmetic.fqg" in done.stderr.splitlines()[-1]


def test_case_types_cover_the_arrays():
    assert set(CODES) == {np.dtype(t) for t in ("u1", "i1", "<i4", "<u4", "<f4")}
