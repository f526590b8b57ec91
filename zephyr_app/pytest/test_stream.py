# SPDX-License-Identifier: Apache-2.0
"""Streams samples to the application's second UART and compares what it has learnt with the engine. Run by twister (sample.yaml)."""

import struct
import sys
from pathlib import Path

import numpy as np
from margin import too_small
from twister_harness import DeviceAdapter, Shell

APP = Path(__file__).parents[1]
sys.path.insert(0, str(APP.parent))

from fqt_ref import stream_frames as frames  # noqa: E402
from fqt_ref.emulator import connect  # noqa: E402
from fqt_ref.model_file import read  # noqa: E402
from fqt_ref.stream import Session, course_of, first_difference, learn_on_device, learn_on_engine  # noqa: E402
from fqt_ref.train_step import train_config  # noqa: E402


def test_learns_what_is_sent(dut: DeviceAdapter):
    dut.readlines_until(regex="fqt: stream of samples", timeout=60)
    blob = (APP / "data" / "samples.bin").read_bytes()
    count, size = np.frombuffer(blob, "<u4", 2)
    labels = np.frombuffer(blob, "<u2", 2 * count, 8)[::2]
    samples = np.frombuffer(blob, np.uint8, count * size, 8 + 4 * count).reshape(count, size).copy()
    network, course = read(APP / "data" / "model.fqt"), course_of(samples[:60], labels[:60], 2, 1)
    line = connect(dut.device_config.build_dir)

    session = Session(line, 60, print)
    line.send(b"Fq" + bytes(range(250)) * 3)  # noise first
    line.send(frames.frame(frames.SAMPLE, struct.pack("<II", 0, 0) + bytes(size)))  # a sample before the beginning
    refused = [one for one in iter(lambda: session.frame(2.0), None) if one.type == frames.ERROR]
    assert refused, "what makes no sense got no error"

    learnt = learn_on_device(line, course, 120, print)
    assert learnt.progress.done == 122
    assert first_difference(learn_on_engine(network, train_config(8, 0.005, seed=1), course), learnt.records) is None


def test_every_stack_keeps_a_margin(shell: Shell):
    lines = shell.exec_command("fqt stacks")
    assert too_small(lines, "main", "inference", "training", "stream", "shell_uart", "idle", "interrupts") == {}, lines
