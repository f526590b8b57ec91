# SPDX-License-Identifier: Apache-2.0
"""The optimizers that the paper compares with: they equal their slow twins, leave the default alone, and are refused for a board."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from test_cli import SMALL, fqt, refused

from fqt_ref import device
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.arithmetic import fround_random, random_key, random_word, requantize_random, requantizer
from fqt_ref.build import build_network
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case
from fqt_ref.golden.format import file_bytes as golden_bytes
from fqt_ref.golden.steps import setup_arrays, trace_case
from fqt_ref.model_file import file_bytes
from fqt_ref.models import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Linear, MaxPool2d
from fqt_ref.models.describe import graph_of
from fqt_ref.network import LAYER_TRAINABLE, Network
from fqt_ref.optimizers import int8_sgd_m, qas_sgd_m, sgd_m
from fqt_ref.optimizers.names import NAMES
from fqt_ref.state import MOMENTUM, WEIGHT_RANGES, state_records, trace, trace_bytes
from fqt_ref.training import check_run, fresh_network, prepared_state, train_epochs

BASELINES = NAMES[1:]


def f32s(rng, count, size):
    """float32 of both signs whose magnitudes spread over size * 2^-12..size."""
    return (rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(-12, 0, count) * size).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_float32_step_equals_slow_twin(seed):
    rng = np.random.RandomState(seed)
    values, gradient, moments = f32s(rng, 50, 1), f32s(rng, 50, 100), f32s(rng, 50, 1)
    lr, mu, batch = np.float32(rng.uniform(0, 1)), np.float32(rng.uniform(0, 1)), 1 + seed * 7
    expected = naive.sgd_m(lr, mu, batch, list(values), list(gradient), list(moments))
    sgd_m.update_f32(lr, mu, batch, values, gradient, moments)
    assert values.tobytes() == np.array(expected[0]).tobytes()
    assert moments.tobytes() == np.array(expected[1]).tobytes()


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("size", [0.01, 100.0, 1e6])
def test_int8_step_equals_slow_twin(real, size):
    rng = np.random.RandomState(3)
    n = 300
    weights, gradient = rng.randint(0, 256, n).astype(np.uint8), (rng.randint(-(2**31), 2**31, n) >> rng.randint(0, 31, n)).astype(np.int32)
    moments, rest = f32s(rng, n, size), f32s(rng, n, 0.5) if real else np.zeros(0, np.float32)
    unit, lr, mu = np.float32(size / 2**31), np.float32(0.3), np.float32(0.9)
    before = weights.copy()
    rests = list(rest) if real else None
    expected = naive.int8_sgd_m(1, [unit], lr, mu, weights.tolist(), gradient.tolist(), list(moments), rests)
    int8_sgd_m.move_weights(unit, lr, mu, weights, gradient, moments, rest)
    assert weights.tolist() == expected[0]
    assert moments.tobytes() == np.array(expected[1]).tobytes()
    assert not real or rest.tobytes() == np.array(expected[2]).tobytes()
    assert not gradient.any()
    assert (weights != before).any() or size < 1
    assert {0, 255} <= set(weights.tolist()) or size < 1e6


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e6])
def test_int8_bias_step_equals_slow_twin(unit):
    rng = np.random.RandomState(4)
    lr, mu, scale, unit = np.float32(0.5), np.float32(0.9), np.float32(3e-4), np.float32(unit)
    bias, gradient, moments = rng.randint(1 - 2**30, 2**30, 99), rng.randint(-(2**31), 2**31, 99), f32s(rng, 99, 1)
    expected = naive.int8_sgd_m_bias([unit] * 99, [scale] * 99, lr, mu, bias.tolist(), gradient.tolist(), list(moments))
    for i in range(99):
        found = int8_sgd_m.move_bias(unit, scale, lr, mu, np.int32(bias[i]), np.int32(gradient[i]), moments[i])
        assert (int(found[0]), found[1]) == (expected[0][i], expected[1][i])
        assert abs(found[0]) < 2**30


def test_quantization_aware_scaling_is_that_of_lin_et_al():
    # q = w / s_w: a step of the weight in real numbers must not depend on its grid, as it does without the scaling.
    error_scale, input_scale, batch = np.float32(1 / 127), np.float32(0.02), 8
    steps = {}
    for name, rule in (("sgd-m", int8_sgd_m), ("qas-sgd-m", qas_sgd_m)):
        for scale in (np.float32(0.001), np.float32(0.004)):
            unit = rule.weight_unit(error_scale, input_scale, batch, scale)
            bias = rule.bias_unit(error_scale, batch, scale * input_scale)
            steps[name, float(scale)] = float(unit * scale), float(bias * scale * input_scale)
    real = float(error_scale) * float(input_scale) / batch, float(error_scale) / batch
    for scale in (0.001, 0.004):
        scale = float(np.float32(scale))
        assert steps["qas-sgd-m", scale] == pytest.approx(real, rel=1e-5)
        small = real[0] * scale**2, real[1] * (scale * float(input_scale)) ** 2
        assert steps["sgd-m", scale] == pytest.approx(small, rel=1e-5)


def small_network(config: str, per_channel: bool = False, graph: bool = False) -> tuple[Network, np.ndarray, np.ndarray]:
    """A network small enough to run as plain Python too (NUMBA_DISABLE_JIT=1), with samples and labels."""
    description = [Conv2d(3, padding=(1, 1, 0, 1)), MaxPool2d(), Linear(5), Linear(4, activation="", batch_norm=False)]
    if graph:
        description = [
            Conv2d(3, (2, 2), label="skip"),
            DepthwiseConv2d(padding=(1, 1, 1, 1), activation="relu6"),
            Conv2d(3, (1, 1), activation=""),
            Add("skip"),
            AvgPool2d((2, 2)),
            Linear(4, activation="", batch_norm=False),
        ]
    shape = (5, 4, 2)
    samples = np.random.RandomState(0).randint(0, 256, (3, *shape)).astype(np.uint8)
    network = build_network(graph_of("plain", description, shape), config, samples, np.float32(0.01), 9, 1, per_channel=per_channel)
    return network, samples.reshape(3, -1), np.array([0, 3, 1])


@pytest.mark.parametrize("optimizer", BASELINES)
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    ("config", "per_channel", "graph"),
    [("uint8", False, False), ("uint8", True, True), ("mixed", True, False), ("mixed", False, True), ("float32", False, True)],
)
def test_plain_steps_equal_slow_twin(optimizer, real, config, per_channel, graph):
    network, samples, labels = small_network(config, per_channel, graph)
    rate = 0.1 if optimizer == "qas-sgd-m" else 1000 if config == "uint8" else 1  # steps of int8 SGD-M are too small by s_w^2
    settings = ts.train_config(2, rate, 0.4, 0.8, seed=5, optimizer=optimizer, momentum=0.8, real_weights=real)
    found = trace_bytes(trace(prepared_state(network, settings), settings, samples, labels, 7))
    tables = naive.read_model(file_bytes(network))
    options = settings.seed, settings.lambda_min, settings.lambda_max, False, optimizer, settings.momentum, real
    trainer = naive.Trainer(*tables, 2, settings.learning_rate, *options)
    trainer.records = []
    trainer.run(samples.tolist(), labels.tolist(), 7)
    assert naive.trace_bytes(trainer.records) == found
    moved = [old.weights != new.weights for old, new in zip(tables[1], trainer.layers, strict=True) if old.weights]
    assert any(moved) if optimizer == "sgd-m" else all(moved)


OPTIONS = [
    {"weight_range": "literal"},
    {"weight_range": "moving-average"},
    {"weight_range": "moving-average", "range_rate": 0.5},
    {"stochastic_errors": "none"},
    {"stochastic_errors": "all"},
    {"weight_range": "moving-average", "range_rate": 0.1, "stochastic_errors": "all"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("config", "per_channel", "graph"), [("uint8", True, False), ("uint8", False, True), ("mixed", True, True)])
def test_plain_options_equal_slow_twin(options, config, per_channel, graph):
    network, samples, labels = small_network(config, per_channel, graph)
    settings = ts.train_config(2, 0.02, 0.4, 0.8, seed=5, **options)
    found = trace_bytes(trace(prepared_state(network, settings), settings, samples, labels, 7))
    how = options.get("weight_range", "hysteresis")
    trainer = naive.Trainer(
        *naive.read_model(file_bytes(network)), 2, settings.learning_rate, settings.seed, settings.lambda_min, settings.lambda_max,
        how=options.get("range_rate", 0.001) if how == "moving-average" else how,
        stochastic_errors=options.get("stochastic_errors", "loss"),
    )  # fmt: skip
    trainer.records = []
    trainer.run(samples.tolist(), labels.tolist(), 7)
    assert naive.trace_bytes(trainer.records) == found
    settings = ts.train_config(2, 0.02, 0.4, 0.8, seed=5)
    if config == "mixed" and options == {"stochastic_errors": "none"}:
        return  # its logits are real numbers
    assert found != trace_bytes(trace(prepared_state(network, settings), settings, samples, labels, 7))


@pytest.mark.parametrize("m", [0.3, 0.004, 1e-6, 3e-9])
def test_errors_rounded_stochastically_are_right_on_average(m):
    mantissa, pre, post = requantizer(np.float32(m))
    key = random_key(1, 2, 3)
    for value in (-100.25, -0.5, 0.0, 0.125, 3.9):
        a = np.int32(min(max(round(value / m), -(2**31) + 2**28), 2**31 - 2**28))
        found = [int(requantize_random(a, mantissa, pre, post, random_word(key, i))) for i in range(2000)]
        exact = float(a) * m
        assert set(found) <= {int(np.floor(exact - 0.01)), int(np.floor(exact + 0.01)), int(np.floor(exact + 0.01)) + 1}
        assert np.mean(found) == pytest.approx(exact, abs=0.05)


def test_stochastic_rounding_of_float32_stays_in_int8():
    for word in (0, 2**31, 2**32 - 1):
        for value in (-127.0, -126.5, 0.0, 126.99999, 127.0):
            assert abs(int(fround_random(np.float32(value), word))) <= 127
    words = [random_word(random_key(0, 0, 0), i) for i in range(2000)]
    assert np.mean([int(fround_random(np.float32(-3.3), word)) for word in words]) == pytest.approx(-3.3, abs=0.05)


def test_default_keeps_no_momentum():
    network, *_ = small_network("mixed")
    plain, baseline = prepared_state(network), prepared_state(network, ts.train_config(8, optimizer="sgd-m"))
    assert plain.momentum.size == 0
    trained = sum(w.size + b.size for w, b in zip(network.weights, network.biases, strict=True) if w is not None)
    assert baseline.momentum.size == trained
    assert all(a.nbytes == b.nbytes for name, a, b in zip(plain._fields, plain, baseline, strict=True) if name != "momentum")
    quantized = sum(w.size for w in network.weights if w is not None and w.dtype == np.uint8)
    assert prepared_state(network, ts.train_config(8, optimizer="sgd-m", real_weights=True)).momentum.size == trained + quantized
    moving = prepared_state(network, ts.train_config(8, weight_range="moving-average"))
    assert (plain.weight_ranges.size, moving.weight_ranges.shape) == (0, (plain.grid_scales.size, 2))
    assert not {MOMENTUM, WEIGHT_RANGES} & {record.kind for record in state_records(plain)}
    assert WEIGHT_RANGES in {record.kind for record in state_records(moving)}
    assert MOMENTUM in {record.kind for record in state_records(baseline)}


def test_frozen_layers_keep_no_momentum():
    network, *_ = small_network("uint8")
    for layer in network.layers[:-1]:
        layer["flagset"] &= 255 - LAYER_TRAINABLE
    state = prepared_state(network, ts.train_config(8, optimizer="qas-sgd-m", real_weights=True))
    assert state.momentum.size == 2 * network.weights[-1].size + network.biases[-1].size


def test_names_and_numbers():
    assert ts.train_config() == ts.train_config(optimizer=NAMES[0])
    assert ts.train_config(optimizer="sgd-m").momentum == np.float32(0.9)
    assert ts.train_config(optimizer="qas-sgd-m", momentum=0).momentum == 0
    with pytest.raises(FqtError, match="optimizer 'adam' does not exist: choose one of standardized-sgd, sgd-m, qas-sgd-m"):
        ts.train_config(optimizer="adam")
    for option in ({"momentum": 0.9}, {"real_weights": True}):
        with pytest.raises(FqtError, match="has neither momentum nor real weights: choose one of sgd-m, qas-sgd-m"):
            ts.train_config(**option)
    with pytest.raises(FqtError, match="weight range 'median' does not exist: choose one of hysteresis, moving-average, literal"):
        ts.train_config(weight_range="median")
    with pytest.raises(FqtError, match="choice of stochastic errors 'some' does not exist: choose one of loss, none, all"):
        ts.train_config(stochastic_errors="some")
    with pytest.raises(FqtError, match="optimizer sgd-m leaves weight grids alone: weight range literal is for standardized-sgd"):
        ts.train_config(optimizer="sgd-m", weight_range="literal")
    for rate in (0, 1.5, float("nan")):
        with pytest.raises(FqtError, match=r"range rate .* is not in 0\.\.1"):
            check_run(ts.train_config(weight_range="moving-average", range_rate=rate), 1)


@pytest.mark.parametrize("optimizer", BASELINES)
def test_golden_files_hold_the_default_alone(optimizer):
    network, samples, labels = small_network("uint8")
    with pytest.raises(FqtError, match=f"the C library has standardized-sgd alone: {optimizer} is for the desktop"):
        setup_arrays(network, ts.train_config(8, optimizer=optimizer), samples, labels, 1)


@pytest.fixture(scope="module")
def golden_path(tmp_path_factory):
    """The options on a small graph as a golden file, and the same asked for without one of them, which must not be equal."""
    folder = tmp_path_factory.mktemp("options")
    network, samples, labels = small_network("uint8", graph=True)
    cases = {}
    for i, options in enumerate(OPTIONS):
        settings = ts.train_config(2, 0.02, 0.4, 0.8, seed=5, **options)
        cases[f"{i}"] = case = trace_case(f"{i}", network, settings, samples, labels, 7)
        assert case.kind == "options_trace"
        for j, option in enumerate(case.inputs[5]):
            if option != 0:
                without = np.where(np.arange(2) == j, 0, case.inputs[5]).astype(np.uint32)
                cases[f"{i} without {j}"] = Case(case.kind, case.name, [*case.inputs[:5], without, case.inputs[6]], case.expected)
    for name, case in cases.items():
        (folder / name).write_bytes(golden_bytes([case]))
    return folder


def on_host(path):
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    return device.run_replay("host", path)


def test_the_c_library_knows_each_option(golden_path):
    for path in golden_path.iterdir():
        result = on_host(path)
        assert (result.cases, result.equal) == (1, "without" not in path.name), (path.name, result.first)


def test_hazard_option_left_out_of_the_build(golden_path, tmp_path):
    on_host(golden_path / "0")
    for left_out, refused_ones in zip(device.OPTION_FLAGS, ([0, 1, 2, 5], [4, 5]), strict=True):
        program = tmp_path / "partial"
        command = [part for part in device.build_command(device.TARGETS["host"], optimize="-O1") if part != left_out]
        device.compile_program([*command, "-Werror", "-o", str(program)], "compiling", "the C library does not compile")
        for i in range(len(OPTIONS)):
            answer = device.run([program, golden_path / f"{i}"], "replaying", 60)
            report = device.parse_report("host", answer.stdout)
            assert (report.malformed, report.differences) == (int(i in refused_ones), 0)


def test_options_are_refused_without_back_propagation():
    network, *_ = small_network("uint8")
    zeroth = zo.zeroth_config(network, 2, 1)
    for options in OPTIONS:
        if options == {"stochastic_errors": "none"}:
            zo.prepared_state(network, ts.train_config(2, **options), zeroth)
            continue
        with pytest.raises(FqtError, match="without back-propagation there are neither"):
            zo.prepared_state(network, ts.train_config(2, **options), zeroth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "adam"], "optimizer 'adam' does not exist: choose one of standardized-sgd, sgd-m, qas-sgd-m"),
        (["--momentum", "0.9"], "has neither momentum nor real weights"),
        (["--real-weights"], "has neither momentum nor real weights"),
        (["--learning-rate", "1.5"], "learning rate 1.5 is not in 0..1"),
        (["--optimizer", "sgd-m", "--learning-rate", "inf"], "learning rate inf is not in 0..1000000"),
        (["--optimizer", "sgd-m", "--momentum", "1"], "momentum 1.0 is not in 0..1 (less than 1)"),
        (["--optimizer", "sgd-m", "--momentum", "nan"], "momentum nan is not in 0..1 (less than 1)"),
        (["--weight-range", "median"], "weight range 'median' does not exist: choose one of hysteresis, moving-average, literal"),
        (["--optimizer", "sgd-m", "--weight-range", "literal"], "weight range literal is for standardized-sgd"),
        (["--weight-range", "moving-average", "--range-rate", "1.5"], "range rate 1.5 is not in 0..1 (more than 0)"),
    ],
)
def test_hazard_options_that_make_no_sense(options, message, tmp_path):
    assert message in refused("train", *SMALL, *options, "-o", tmp_path / "m.fqt")
    assert message in refused("retrain", tmp_path / "m.fqt", "--data", "digits", *options, "-o", tmp_path / "n.fqt")
    assert message in refused("transfer", "--data", "digits", *options, "-o", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_hazard_a_board_is_asked_for_a_baseline(tmp_path):
    line = refused("deploy", tmp_path / "m.fqt", "--board", "qemu_cortex_m3", "--optimizer", "qas-sgd-m", "-o", tmp_path / "build")
    assert "the C library has standardized-sgd alone: qas-sgd-m is for the desktop" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("real", [False, True])
def test_quantization_aware_scaling_learns(real):
    whole = load("digits")
    data = replace(whole, train_x=whole.train_x[:200], train_y=whole.train_y[:200], test_x=whole.test_x[:100], test_y=whole.test_y[:100])
    settings = ts.train_config(16, 0.05, optimizer="qas-sgd-m", real_weights=real)
    losses = [epoch.loss for epoch, _ in train_epochs(fresh_network("digits-mlp", "uint8", data, 0), data, settings, 3)]
    assert losses[0] > 2 and losses[-1] < 1.2


def test_command_trains_with_a_baseline(tmp_path):
    arguments = ["train", *SMALL, "--optimizer", "qas-sgd-m", "--momentum", "0.8", "--json", "-o"]
    done = fqt(*arguments, tmp_path / "a.fqt")
    assert done.returncode == 0, done.stderr
    assert '"optimizer": "qas-sgd-m"' in done.stdout
    assert fqt(*arguments, tmp_path / "b.fqt").returncode == 0
    assert (tmp_path / "a.fqt").read_bytes() == (tmp_path / "b.fqt").read_bytes()
    assert fqt("evaluate", tmp_path / "a.fqt").returncode == 0
