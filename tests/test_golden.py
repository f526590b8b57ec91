# SPDX-License-Identifier: Apache-2.0
"""The engine's golden vectors against the slow twins of naive.py, and against the files in golden/."""

import itertools
import subprocess
import sys

import naive
import numpy as np
import pytest

from fqt_ref import golden
from fqt_ref.build import build_network
from fqt_ref.errors import FqtError
from fqt_ref.golden import operators, shapes, steps, tiny
from fqt_ref.golden.format import CODES, Case
from fqt_ref.golden.replay import replayed
from fqt_ref.models import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Linear, MaxPool2d
from fqt_ref.models.describe import graph_of


def values(array: np.ndarray) -> list:
    """A flat list of Python ints or numpy.float32 scalars, as naive.py wants it."""
    flat = array.reshape(-1)
    return list(flat) if flat.dtype == np.float32 else [int(v) for v in flat]


def twin(kind: str, a: list[list]) -> list[list]:
    """naive.py's results for a golden case's inputs."""
    simple = {
        "requantize": lambda m, x: [naive.requantize(v, k) for k, v in zip(m, x, strict=True)],
        "rescale": lambda m, x, r: [naive.rescale(v, k, w) for k, v, w in zip(m, x, r, strict=True)],
        "random": lambda words: [naive.word(naive.key(*words[i : i + 3]), words[i + 3]) for i in range(0, len(words), 4)],
        "sample_order": lambda numbers: naive.sample_order(*numbers),
        "initial_weights": lambda numbers: naive.initial_weights(*numbers),
        "log2": lambda values: [naive.log2_q16(v) for v in values],
    }
    return [simple[kind](*a)] if kind in simple else naive.results_of(kind, a)


OPERATOR_FILES = operators.operator_files()


def test_every_kind_has_cases():
    assert {case.kind for cases in OPERATOR_FILES.values() for case in cases} >= set(naive.KINDS)


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


@pytest.fixture(scope="module")
def traces():
    return list(steps.traces())


def replayed_by_twin(case: Case) -> bytes:
    """naive.py's trace of a trace case's inputs."""
    return naive.trace_of(naive.trainer_of(case.inputs), case.inputs)


@pytest.mark.parametrize("index", range(18))
def test_training_steps_equal_slow_twin(traces, index):
    _, case = traces[index]
    assert replayed_by_twin(case) == case.expected[0].tobytes()


def test_every_trace_is_replayed(traces):
    assert len(traces) == 18


@pytest.fixture(scope="module")
def tiny_cases():
    return [*tiny.trace_cases(), *tiny.zeroth_cases(), *tiny.option_cases()]


@pytest.mark.parametrize("index", range(27))
def test_tiny_networks_equal_slow_twin(tiny_cases, index):
    case = tiny_cases[index]
    make = naive.zeroth_trainer_of if case.kind == "zeroth_trace" else naive.trainer_of
    assert naive.trace_of(make(case.inputs), case.inputs) == case.expected[0].tobytes(), case.name


def test_shapes_equal_slow_twin():
    *cases, network = shapes.shape_cases()
    for case in cases:
        results = twin(case.kind, [values(a) for a in case.inputs])
        for result, expected in zip(results, case.expected, strict=True):
            assert np.array(result, expected.dtype).reshape(-1).tobytes() == expected.tobytes(), f"{case.kind}, {case.name}"
    assert replayed_by_twin(network) == network.expected[0].tobytes()


@pytest.mark.parametrize("name", ["tiny", "train_step_small", "model_errors"])
def test_engine_replays_files(name):
    """From what a file holds alone, without what it was made from."""
    data = (golden.DEFAULT_DIR / f"{name}.fqg").read_bytes()
    assert replayed(data)
    assert not replayed(data[:-1] + bytes([data[-1] ^ 1]))


def plain_case(description: list, shape: tuple[int, int, int], config: str, per_channel: bool = False) -> Case:
    """One sparse update of a network small enough to run as plain Python too (NUMBA_DISABLE_JIT=1)."""
    samples = np.random.RandomState(0).randint(0, 256, (3, *shape)).astype(np.uint8)
    network = build_network(graph_of("plain", description, shape), config, samples, np.float32(0.01), 9, 1, per_channel=per_channel)
    settings = steps.ts.train_config(3, 0.01, 0.4, 0.8, seed=5)
    return steps.trace_case("plain", network, settings, samples.reshape(3, -1), np.array([0, 3, 1]), 6)


@pytest.mark.parametrize("config", steps.CONFIGS)
def test_plain_steps_equal_slow_twin(config):
    case = plain_case(
        [Conv2d(3, padding=(1, 1, 0, 1)), MaxPool2d(), Linear(5), Linear(4, activation="", batch_norm=False)], (7, 6, 2), config
    )
    assert replayed_by_twin(case) == case.expected[0].tobytes()


@pytest.mark.parametrize(("config", "per_channel"), [("uint8", False), ("uint8", True), ("mixed", True), ("float32", False)])
def test_plain_graph_equals_slow_twin(config, per_channel):
    description = [
        Conv2d(3, (2, 2), activation="hard_swish", label="skip"),
        DepthwiseConv2d(padding=(2, 2, 2, 2), dilation=(2, 2), activation="relu6"),
        Conv2d(3, (1, 1), activation=""),
        Add("skip", activation="relu6"),
        AvgPool2d((2, 2)),
        Linear(4, activation="", batch_norm=False),
    ]
    case = plain_case(description, (5, 4, 2), config, per_channel)
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
    results, checksums = naive.trainer_of(case.inputs).run([values(s) for s in case.inputs[3]], values(case.inputs[4]), 48)
    assert results == case.expected[0].reshape(-1)[:96].tolist()
    assert checksums == case.expected[1][: 48 // steps.BATCH].tolist()


@pytest.fixture(scope="module")
def option_cases():
    return list(steps.option_cases())


@pytest.mark.parametrize("index", range(12))
def test_options_equal_slow_twin(option_cases, index):
    _, case = option_cases[index]
    if case.kind == "options_trace":
        assert replayed_by_twin(case) == case.expected[0].tobytes()
        return
    count = 2 * steps.BATCH
    results, checksums = naive.trainer_of(case.inputs).run([values(s) for s in case.inputs[3]], values(case.inputs[4]), count)
    assert results == case.expected[0].reshape(-1)[: 2 * count].tolist()
    assert checksums == case.expected[1][:2].tolist()


def test_every_option_is_in_a_golden_file(option_cases):
    assert len(option_cases) == 12
    small = {tuple(map(int, case.inputs[5])) for name, case in option_cases if name == "options_small"}
    assert small == {(2, 0), (1, 0), (0, 1), (0, 2), (1, 2)}
    checksums = {tuple(case.expected[1].tolist()) for name, case in option_cases if name == "options_small"}
    assert len(checksums) == 5


def test_start_of_zeroth_trajectories_equals_slow_twin():
    cases = [case for _, case in itertools.islice(steps.zeroth_cases(), 4)]  # of the smallest network
    for case in cases:
        results, checksums = naive.zeroth_trainer_of(case.inputs).run([values(s) for s in case.inputs[3]], values(case.inputs[4]), 16)
        assert results == case.expected[0].reshape(-1)[:32].tolist(), case.name
        assert checksums == case.expected[1][: 16 // steps.BATCH].tolist(), case.name


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
