# SPDX-License-Identifier: Apache-2.0
"""Frames of streamed samples: the application's parser under sanitizers, fed good and hostile bytes; the PC's session with a bad line."""

import os
import select
import struct
import subprocess
import threading
import tty
from pathlib import Path

import numpy as np
import pytest

from fqt_ref import device
from fqt_ref import stream_frames as frames
from fqt_ref.errors import FqtError
from fqt_ref.serial_line import SerialLine
from fqt_ref.state import Record
from fqt_ref.stream import Course, Session, first_difference, items_of

SOURCES = [Path(__file__).with_name("c") / "stream.c", *(device.APP / "src" / name for name in ("frame.c", "stream_protocol.c"))]
BEGIN = frames.frame(frames.BEGIN, struct.pack("<III", 1, 16, 4))


def sample(number: int, label: int = 0, size: int = 16) -> bytes:
    return frames.frame(frames.SAMPLE, struct.pack("<II", number, label) + bytes(range(size)))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The parser with its judgement, under AddressSanitizer."""
    built = tmp_path_factory.mktemp("stream") / "stream"
    library = [device.APP / "lib" / "fqt" / name for name in ("model_file.c", "memory_plan.c", "arithmetic.c")]
    flags = [*device.COMMON_FLAGS, "-Werror", *device.SANITIZE_FLAGS, "-ffunction-sections", "-Wl,--gc-sections"]
    includes = [f"-I{device.APP / folder}" for folder in ("include", "src", "lib/fqt")]
    subprocess.run(["gcc", *flags, *includes, *map(str, SOURCES + library), "-o", str(built)], check=True)
    return built


def judged(program, data: bytes) -> list[str]:
    done = subprocess.run([program], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[:2000]
    return done.stdout.decode().split("\n")[:-1]


def test_a_stream_is_taken_as_it_is_written(program):
    data = b"noise F" + BEGIN + b"Fq"[:1] + sample(0, 3) + sample(1) + sample(0) + frames.frame(frames.EPOCH, struct.pack("<II", 2, 0))
    assert judged(program, data) == ["frame 1 12 verdict 0", "frame 2 24 verdict 0", "frame 2 24 verdict 0", "frame 2 24 verdict 1",
                                     "frame 3 8 verdict 0"]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (sample(0), "frame 2 24 verdict 7"),  # before the beginning
        (BEGIN + sample(1), "frame 2 24 verdict 7"),
        (BEGIN + sample(0, 4), "frame 2 24 verdict 8"),
        (BEGIN + sample(0, 2**32 - 1), "frame 2 24 verdict 8"),  # the label that stands for an epoch's end
        (BEGIN + sample(0, size=15), "frame 2 23 verdict 3"),
        (BEGIN + sample(0, size=17), "event 2"),
        (BEGIN + b"".join(map(sample, range(5))), "frame 2 24 verdict 9"),
        (BEGIN + sample(0)[:-1] + b"\0", "event 3"),
        (frames.frame(77), "frame 77 0 verdict 2"),
        (frames.frame(frames.BEGIN, struct.pack("<III", 2, 16, 4)), "frame 1 12 verdict 5"),
        (frames.frame(frames.BEGIN, struct.pack("<III", 1, 17, 4)), "frame 1 12 verdict 6"),
        (frames.frame(frames.BEGIN, struct.pack("<III", 1, 16, 5)), "frame 1 12 verdict 6"),
        (b"Fq\x02\x00\xff\xff\xff\xff" + b"x" * 50, "event 2"),
        (b"Fq\x02\x01\x00\x00\x00\x00", "event 2"),
    ],
)  # fmt: skip
def test_each_wrong_frame_has_its_verdict(program, data, answer):
    assert judged(program, data)[-1] == answer


def test_hostile_bytes_do_no_harm_and_good_frames_go_on(program):
    rng = np.random.RandomState(7)
    stream = BEGIN + b"".join(map(sample, range(4))) * 20
    for _ in range(30):
        data = np.frombuffer(stream, np.uint8).copy()
        at = rng.randint(0, len(data), rng.randint(1, 60))
        data[at] = rng.randint(0, 256, len(at))
        judged(program, data.tobytes())
    noise = rng.bytes(200_000).replace(b"F", b"Fq")
    assert judged(program, noise + bytes(64) + BEGIN)[-1] == "frame 1 12 verdict 0"


def test_a_damaged_byte_is_never_taken(program):
    good = sample(0)
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert not any("frame 2 24 verdict 0" in line for line in judged(program, BEGIN + bytes(bad)))
        if at > 12:
            break  # header and first bytes of the payload; the rest is alike


def test_pc_parser_skips_noise_and_damage():
    damaged = frames.frame(frames.END, b"1234")[:-1] + b"!"
    data = b"abcFq" + frames.frame(frames.POLL) + b"Fq\0\0" + damaged + frames.frame(frames.END, b"5678")
    parser = frames.Parser()
    found = [one for i in range(len(data)) for one in parser.feed(data[i : i + 1])]
    assert found == [(frames.POLL, b""), (frames.END, b"5678")]


class BadDevice:
    """A device with two places at a line that loses and damages frames."""

    def __init__(self, seed: int):
        self.rng, self.parser = np.random.RandomState(seed), frames.Parser()
        self.next, self.taken, self.answers = 0, [], b""

    def progress(self) -> None:
        self.answers += frames.frame(frames.PROGRESS, struct.pack("<6I", self.next, self.next + 2, self.next, 0, 0, 0))

    def send(self, data: bytes) -> None:
        if self.rng.randint(5) == 0:
            return
        for one in self.parser.feed(data):
            if one.type == frames.SAMPLE or one.type == frames.EPOCH:
                number = struct.unpack_from("<I", one.payload)[0]
                if number == self.next:
                    self.taken.append(one)
                    self.next += 1
                    self.progress()
                elif number > self.next:
                    self.answers += frames.frame(frames.ERROR, struct.pack("<II", 7, self.next))
            else:
                self.progress()

    def receive(self, seconds: float) -> bytes:
        data, self.answers = self.answers, b""
        return data


def test_a_bad_line_costs_time_but_no_sample(monkeypatch):
    monkeypatch.setattr("fqt_ref.stream.SILENCE", 0.01)
    samples = np.arange(40 * 4, dtype=np.uint8).reshape(40, 4)
    course = Course(samples, np.arange(40) % 3, [np.arange(40)[::-1], np.arange(40)])
    device_, items = BadDevice(3), items_of(course)
    session = Session(device_, 60, lambda text: None)
    report = session.send_items(items, session.ask(frames.frame(frames.BEGIN)))
    assert report.done == len(items) == 82
    assert [frames.frame(*one) for one in device_.taken] == items


@pytest.fixture
def serial_board():
    """A device behind a pseudo-terminal, and the terminal's name."""
    pytest.importorskip("serial")
    master, slave = os.openpty()
    tty.setraw(slave)
    board, ended = BadDevice(5), threading.Event()

    def run() -> None:
        while not ended.is_set():
            if select.select([master], [], [], 0.01)[0]:
                board.send(os.read(master, 65536))
            os.write(master, board.receive(0))

    thread = threading.Thread(target=run)
    thread.start()
    yield board, os.ttyname(slave)
    ended.set()
    thread.join()
    os.close(slave)
    os.close(master)


def test_a_board_at_a_serial_port_gets_every_sample(monkeypatch, serial_board):
    monkeypatch.setattr("fqt_ref.stream.SILENCE", 0.05)
    board, port = serial_board
    items = items_of(Course(np.arange(160, dtype=np.uint8).reshape(40, 4), np.arange(40) % 3, [np.arange(40)]))
    said = []
    with SerialLine(port) as line:
        session = Session(line, 60, lambda text: None, said.append)
        board.answers += frames.frame(frames.TEXT, b"fqt: step 1")  # a line of the console between
        report = session.send_items(items, session.ask(frames.frame(frames.BEGIN)))
    assert report.done == len(items)
    assert [frames.frame(*one) for one in board.taken] == items
    assert said == ["fqt: step 1"]


def test_a_serial_port_that_is_not_there_is_one_line():
    pytest.importorskip("serial")
    with pytest.raises(FqtError, match=r"serial port /dev/no-such-port does not open: .*; name another with --port"):
        SerialLine("/dev/no-such-port")


def test_first_difference_is_named():
    one, other = [Record(7, 0, b"abc"), Record(8, 0, b"d")], [Record(7, 0, b"abx"), Record(8, 0, b"d")]
    assert first_difference(one, one) is None
    assert first_difference(one, other) == "weights of layer 0, byte 2: expected 0x63, got 0x78"
    assert "2 records expected" in first_difference(one, one[:1])
