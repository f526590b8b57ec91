# SPDX-License-Identifier: Apache-2.0
"""The counting tool: counts repeat, agree with QEMU's clock, and come out as promised. No count is asserted."""

import json
import subprocess
import sys

import numpy as np
import pytest

from fqt_ref import device, model_file
from fqt_ref.counting import cycles as cycle_estimate
from fqt_ref.counting import instructions as instruction_count
from fqt_ref.counting import kernels as count_kernels
from fqt_ref.counting import steps as count_steps
from fqt_ref.counting.instructions import CORES
from fqt_ref.counting.kernels import LAYERS, PASSES
from fqt_ref.counting.steps import DW, DX, ESTIMATE, FORWARD, SELECT, UPDATE
from fqt_ref.device_cost import TICK
from fqt_ref.errors import FqtError
from fqt_ref.zeroth_order import zeroth_config

SCRIPT = device.ROOT / "scripts" / "bench_mcu.py"
CALL = 64  # instructions of the test program around a call, which the clock sees too


def require(core):
    try:
        instruction_count.require(core)
    except FqtError as error:
        pytest.skip(str(error))


def bench(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("core", CORES)
def test_counts_repeat_and_agree_with_the_clock(core):
    require(core)
    program, layers = count_kernels.build(core), [LAYERS["f"]]
    first, second, timed = (count_kernels.count_kernels(program, layers, icount=icount) for icount in (False, False, True))
    for a, b, by_clock in zip(first, second, timed, strict=True):
        assert a.instructions == b.instructions > 0
        assert np.array_equal(a.interval, b.interval)
        assert -TICK[core] <= round(by_clock.ticks * TICK[core]) - a.instructions <= TICK[core] + CALL
        assert 0 < a.stack < 8192


@pytest.mark.parametrize("core", CORES)
def test_all_instructions_have_a_function_and_a_cost(core):
    require(core)
    program = count_kernels.build(core)
    (row,) = count_kernels.count_kernels(program, [LAYERS["f"]], ("forward",))
    assert sum(instruction_count.by_inlined(program, row.interval).values()) == row.instructions
    assert any(one.name == "fqt_linear_forward_u8" for one in instruction_count.by_function(program, row.interval))
    assert row.instructions / 2 <= row.estimate <= 4 * row.instructions
    known = cycle_estimate.disassembled(program.path)
    assert all(int(address) in known for address in row.interval["address"])


def test_a_step_falls_into_its_parts():
    require("cortex-m4")
    network, rng = model_file.read(device.APP / "data" / "model.fqt"), np.random.RandomState(0)
    samples, labels = rng.randint(0, 256, (count_steps.SAMPLES, 64)).astype(np.uint8), np.zeros(count_steps.SAMPLES, np.int64)
    program = count_steps.build("cortex-m4")
    dense, sparse = first = count_steps.count_steps(program, network, samples, labels, (1.0, 0.25))
    again = count_steps.count_steps(program, network, samples, labels, (1.0, 0.25))
    assert [step.instructions(count_steps.PARTS) for step in first] == [step.instructions(count_steps.PARTS) for step in again]
    for layer, weights in enumerate(network.weights):
        assert dense.instructions([FORWARD], layer) == sparse.instructions([FORWARD], layer) > 0
        assert (dense.instructions([DW], layer) > 0) == (weights is not None)
        assert (dense.instructions([DX], layer) > 0) == (layer > 0)
    assert dense.instructions([SELECT]) < sparse.instructions([SELECT])
    assert sparse.backward < dense.backward
    assert dense.instructions([UPDATE]) > 0 < dense.stack


def test_a_step_without_back_propagation_falls_into_its_parts():
    require("cortex-m4")
    network, rng = model_file.read(device.APP / "data" / "model.fqt"), np.random.RandomState(0)
    samples, labels = rng.randint(0, 256, (count_steps.SAMPLES, 64)).astype(np.uint8), np.zeros(count_steps.SAMPLES, np.int64)
    program = count_steps.build("cortex-m4", zeroth=True)
    configs = (zeroth_config(network, count_steps.BATCH, queries, first_node=first) for queries, first in ((1, 0), (2, 0), (2, 255)))
    counted = [count_steps.count_steps(program, network, samples, labels, (1.0,), config) for config in configs]
    one, two, weights = (steps[0] for steps in counted)
    assert one.instructions([FORWARD]) == two.instructions([FORWARD])  # with weights feature maps are placed otherwise
    for step in (one, two, weights):
        assert step.instructions([FORWARD]) > 0 < step.stack
        assert step.backward == step.instructions([ESTIMATE]) > step.instructions([UPDATE]) > 0
        for layer, parameters in enumerate(network.weights):
            assert (step.instructions([ESTIMATE], layer) > 0) == (parameters is not None)
    assert one.backward < two.backward < 2 * one.backward
    assert weights.backward > two.instructions([FORWARD]) * 4  # twice two queries of the first layer alone


def test_json():
    require("cortex-m4")
    answer = bench("--json", "-c", "cortex-m4", "-l", "b,f")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)
    assert [(row["layer"], row["pass"]) for row in rows] == [(layer, passing) for layer in "bf" for passing in PASSES]
    for row in rows:
        assert set(row) == {"kernel", "pass", "layer", "core", "instructions", "macs"}
        assert row["core"] == "cortex-m4"
        assert row["kernel"] == {"b": "conv2d", "f": "linear"}[row["layer"]]
        assert row["macs"] == LAYERS[row["layer"]].macs
        assert type(row["instructions"]) is int and row["instructions"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "cortex-m9"], "core 'cortex-m9' does not exist: choose from cortex-m0, cortex-m4, cortex-m7"),
        (["-l", "b,q"], "layer 'q' does not exist"),
        (["-n", "vgg"], "network 'vgg' does not exist"),
        (["everything"], "subject 'everything' does not exist"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    answer = bench(*arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
