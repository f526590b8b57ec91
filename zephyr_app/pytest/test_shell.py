# SPDX-License-Identifier: Apache-2.0
"""Drives the application's shell over the emulated UART. Run by twister (sample.yaml)."""

import re

import pytest
from margin import too_small
from twister_harness import DeviceAdapter, Shell


def answer(shell: Shell, command: str, pattern: str) -> re.Match:
    """The first line of a command's output that matches."""
    lines = shell.exec_command(command)
    found = next(filter(None, (re.search(pattern, line) for line in lines)), None)
    assert found, f"{command}: no {pattern!r} in {lines}"
    return found


def steps_of(shell: Shell) -> int:
    return int(answer(shell, "fqt status", r"fqt: step (\d+) loss \d+\.\d{3} accuracy \d\.\d\d inference_us [\d/]+ step_us \d+")[1])


def test_learns_stops_and_goes_on(dut: DeviceAdapter, shell: Shell):
    dut.readlines_until(regex=r"fqt: step \d+ .* accuracy (0\.[89]\d|1\.00)", timeout=60)
    answer(shell, "fqt stop", "fqt: training stopped")
    stopped = steps_of(shell)
    checksum = answer(shell, "fqt checksum", r"fqt: checksum (0x[0-9a-f]{8}) step (\d+)")
    assert int(checksum[2]) == stopped
    assert steps_of(shell) == stopped, "training went on after stop"
    assert answer(shell, "fqt checksum", r"fqt: checksum (0x[0-9a-f]{8})")[1] == checksum[1]

    answer(shell, "fqt start 20", "fqt: training running")
    dut.readlines_until(regex=rf"fqt: checksum 0x[0-9a-f]{{8}} step {stopped + 20} ", timeout=60)


def test_predicts_what_it_has_learnt(shell: Shell):
    right = 0
    for index in range(20):
        found = answer(shell, f"fqt predict {index}", rf"fqt: predict index {index} label (\d) prediction (\d) inference_us \d+")
        right += found[1] == found[2]
    assert right >= 14


@pytest.mark.parametrize("index", ["64", "-1", "0x3", "3x", "99999999999999999999", '""', "A" * 30])
def test_index_out_of_range_is_refused(shell: Shell, index: str):
    answer(shell, f"fqt predict {index}", "fqt: error: index is a number from 0 to 63")


@pytest.mark.parametrize("steps", ["0", "-5", "1e3", "4294967297"])
def test_steps_out_of_range_are_refused(shell: Shell, steps: str):
    answer(shell, f"fqt start {steps}", "fqt: error: steps is a number from 1 to 999999999")


def test_status_counts_what_is_lost_and_statistics_start_anew(shell: Shell):
    counts = r"fqt: training \w+ updates \d+ rejected 0 dropped 0 inferences (\d+) late \d+ delay_us \d+"
    before = int(answer(shell, "fqt status", counts)[1])
    answer(shell, "fqt reset", "fqt: inference statistics start anew")
    assert int(answer(shell, "fqt status", counts)[1]) < before


def test_every_stack_keeps_a_margin(shell: Shell):
    """After all other commands."""
    lines = shell.exec_command("fqt stacks")
    assert too_small(lines, "main", "inference", "training", "source", "shell_uart", "idle", "interrupts") == {}, lines
