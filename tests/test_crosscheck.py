# SPDX-License-Identifier: Apache-2.0
"""Random networks on host and emulated cores; a wrong bit must be found and named."""

import numpy as np
import pytest

from fqt_ref import crosscheck as cross
from fqt_ref import device, golden
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case

CORES = [name for name, target in device.TARGETS.items() if target.emulated]


def require(target):
    try:
        device.require(target)
    except FqtError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("target", "networks"), [("host", 40), *((core, 5) for core in CORES)])
def test_random_networks_agree(target, networks):
    require(target)
    result = cross.crosscheck(target, networks, 6, seed=20261121)
    assert (result["networks"], result["differences"], result["first"]) == (networks, 0, None)


@pytest.mark.parametrize("target", list(device.TARGETS))
def test_golden_vectors_agree(target):
    require(target)
    compared = 0
    for path in sorted(golden.DEFAULT_DIR.glob("*.fqg")):
        result = device.run_replay(target, path)
        assert result.equal, f"{path.name}: {result.first}"
        compared += result.values_compared
    assert compared > 200_000


def test_random_networks_cover_the_operators():
    from fqt_ref import model_file

    cases = [cross.random_case(5, i, 1) for i in range(60)]
    networks = [model_file.parse(case.inputs[0].tobytes()) for case in cases]
    ops = {int(op) for network in networks for op in network.layers["op"]}
    assert ops == {1, 2, 3, 4}
    assert any((n.layers["weight_zero"] == 255).any() for n in networks)
    assert any((n.layers["pad_top"] != n.layers["pad_bottom"]).any() for n in networks)
    assert {int(case.inputs[1][4]) for case in cases} == {0, 1}


def test_a_wrong_bit_is_found_and_named(monkeypatch):
    require("host")
    original = cross.random_case

    def spoiled(seed, index, steps):
        case = original(seed, index, steps)
        stream = case.expected[0].copy()
        stream[12] ^= 1  # the first byte of the first layer's first output
        return Case(case.kind, case.name, case.inputs, [stream]) if index == 1 else case

    monkeypatch.setattr(cross, "random_case", spoiled)
    result = cross.crosscheck("host", 3, 2, seed=1)
    assert result["differences"] > 0
    assert "output of layer 0, element 0" in result["first"]
    assert "network 1" in result["first"]


def test_cases_depend_on_the_seed_alone():
    one, two = cross.random_case(3, 4, 2), cross.random_case(3, 4, 2)
    assert all((a == b).all() for a, b in zip(one.inputs + one.expected, two.inputs + two.expected, strict=True))
    assert not np.array_equal(one.expected[0], cross.random_case(4, 4, 2).expected[0])
