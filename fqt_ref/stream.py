# SPDX-License-Identifier: Apache-2.0
"""Streams samples to a device that learns them, and fetches what it has learnt; the same run on the engine, to compare with."""

import struct
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, Protocol

import numpy as np

from fqt_ref import stream_frames as frames
from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.arithmetic import sample_order
from fqt_ref.blas import one_blas_thread
from fqt_ref.errors import FqtError, one_line
from fqt_ref.network import SAMPLES, Network
from fqt_ref.sample_checks import check_labels, check_sample_bytes
from fqt_ref.state import EVENTS, Record, records_checksum, state_records
from fqt_ref.training import prepared_state
from fqt_ref.training_plan import tensor_bytes

SILENCE = 2.0  # seconds after which the device is asked how far it is
SECONDS_BETWEEN_LINES = 0.5


class Line(Protocol):
    """A connection to a device."""

    def send(self, data: bytes) -> None: ...

    def receive(self, seconds: float) -> bytes:
        """What has come, or b"" after so many seconds."""
        ...


class Course(NamedTuple):
    """What is learnt: samples uint8[n, bytes], labels int64[n], the order of each epoch."""

    samples: np.ndarray
    labels: np.ndarray
    orders: list[np.ndarray]


class Progress(NamedTuple):
    """A device's report; loss and accuracy are means of the last samples."""

    next: int
    limit: int
    done: int
    loss: float
    accuracy: float
    updates: int


class Learnt(NamedTuple):
    """What a device sends at the end."""

    records: list[Record]
    checksum: int
    progress: Progress


def course_of(samples: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> Course:
    """All samples in each epoch, in SPEC.md 3's order. samples: uint8[n, h * w * c]."""
    return Course(samples, np.array(labels, np.int64), [sample_order(seed, epoch, len(samples)) for epoch in range(epochs)])


def items_of(course: Course) -> list[bytes]:
    """One frame for each sample, and one at each epoch's end."""
    items: list[bytes] = []
    for order in course.orders:
        for i in order:
            head = struct.pack("<II", len(items), int(course.labels[i]))
            items.append(frames.frame(frames.SAMPLE, head + course.samples[i].tobytes()))
        items.append(frames.frame(frames.EPOCH, struct.pack("<II", len(items), 0)))
    return items


class Session:
    """A conversation with a device. show: for its console's lines, if they come by the same way."""

    def __init__(self, line: Line, seconds: float, say: Callable[[str], None], show: Callable[[str], None] | None = None):
        self.line, self.say, self.show, self.deadline = line, say, show or say, monotonic() + seconds
        self.parser = frames.Parser()
        self.pending: list[frames.Frame] = []
        self.errors = 0

    def frame(self, seconds: float) -> frames.Frame | None:
        """The device's next frame; None after so many seconds of silence. Raises FqtError when time is over."""
        quiet = monotonic() + seconds
        while not self.pending:
            now = monotonic()
            if now > self.deadline:
                raise FqtError("the device did not finish in time: give it more --seconds, or fewer --samples")
            if now > quiet:
                return None
            for frame in self.parser.feed(self.line.receive(min(quiet, self.deadline) - now + 0.01)):
                self.check_length(frame)
                if frame.type == frames.TEXT:
                    self.show(one_line(frame.payload.decode(errors="replace")))
                else:
                    self.pending.append(frame)
        return self.pending.pop(0)

    @staticmethod
    def check_length(frame: frames.Frame) -> None:
        """Whether a frame that arrived whole is as long as its type wants. Raises FqtError: the device speaks another protocol."""
        least, most = frames.PAYLOADS.get(frame.type, (0, frames.MOST_PAYLOAD))
        if not least <= len(frame.payload) <= most:
            what = f"a frame of type {frame.type:#x} with {len(frame.payload)} bytes, not {least}{'' if least == most else f' to {most}'}"
            raise FqtError(f"the device sent {what}: it speaks another protocol, build it with this fqt's 'fqt deploy'")

    def ask(self, request: bytes) -> Progress:
        """The device's report, asked for until it answers."""
        self.line.send(request)
        while True:
            answer = self.frame(SILENCE)
            if answer is None:
                self.line.send(request)
            elif answer.type == frames.ERROR and (struct.unpack("<II", answer.payload)[0]) in (5, 6):
                raise FqtError(f"the device refuses the stream: {self.reason(answer)}; build it with 'fqt deploy' for this model")
            elif answer.type == frames.PROGRESS:
                return self.progress(answer)

    @staticmethod
    def reason(answer: frames.Frame) -> str:
        verdict = struct.unpack("<II", answer.payload)[0]
        return frames.VERDICTS.get(verdict, f"error {verdict}")

    @staticmethod
    def progress(answer: frames.Frame) -> Progress:
        following, limit, done, loss, accuracy, updates = struct.unpack("<6I", answer.payload)
        return Progress(following, limit, done, loss / 65536, accuracy / 65536, updates)

    def send_items(self, items: list[bytes], report: Progress) -> Progress:
        """All items, never more than the device has places for; back to the one that it wants after an error."""
        sent, shown = report.next, 0.0
        while report.done < len(items):
            while sent < min(report.limit, len(items)):
                self.line.send(items[sent])
                sent += 1
            answer = self.frame(SILENCE)
            if answer is None:
                report = self.ask(frames.frame(frames.POLL))
                sent = report.next
            elif answer.type == frames.ERROR:
                self.errors += 1
                sent = struct.unpack("<II", answer.payload)[1]
                self.say(f"the device reports {self.reason(answer)}; going on with item {sent}")
            elif answer.type == frames.PROGRESS:
                report = self.progress(answer)
                if monotonic() > shown + SECONDS_BETWEEN_LINES or report.done == len(items):
                    shown = monotonic()
                    self.say(f"learnt {report.done} of {len(items)}: loss {report.loss:.3f}, accuracy {report.accuracy:.2f}")
        return report

    def state(self) -> tuple[list[Record], int]:
        """All that the device has learnt, and its own checksum of it."""
        request = frames.frame(frames.GET_STATE)
        self.line.send(request)
        records: list[Record] = []
        left = 0  # bytes of the last record that are still to come
        whole = True
        while True:
            answer = self.frame(SILENCE)
            if answer is None:
                records, left, whole = [], 0, True
                self.line.send(request)
            elif answer.type == frames.STATE:
                kind, index, at, _ = struct.unpack_from("<4I", answer.payload)
                if at == 0:
                    whole = whole and left == 0
                    left = struct.unpack_from("<I", answer.payload, 12)[0]  # bytes in all
                    records.append(Record(kind, index, b""))
                left -= len(answer.payload) - 16
                whole = whole and bool(records) and (kind, index) == (records[-1].kind, records[-1].index) and at == len(records[-1].data)
                if whole:
                    records[-1] = Record(kind, index, records[-1].data + answer.payload[16:])
            elif answer.type == frames.END:
                checksum = struct.unpack("<I", answer.payload)[0]
                if whole and left == 0 and records_checksum(records) == checksum:
                    return records, checksum
                records, left, whole = [], 0, True  # a frame was lost
                self.line.send(request)


def learn_on_device(
    line: Line, course: Course, seconds: float, say: Callable[[str], None], show: Callable[[str], None] | None = None
) -> Learnt:
    """Stream a course to a device and fetch what it has learnt. Raises FqtError if it refuses or does not finish in time."""
    session = Session(line, seconds, say, show)
    classes = int(course.labels.max()) + 1
    report = session.ask(frames.frame(frames.BEGIN, struct.pack("<III", frames.VERSION, course.samples.shape[1], classes)))
    report = session.send_items(items_of(course), report)
    return Learnt(*session.state(), report)


@one_blas_thread()
def learn_on_engine(network: Network, config: ts.TrainConfig, course: Course, zeroth: zo.ZerothConfig | None = None) -> list[Record]:
    """The same course here: the state's records. zeroth: to train without back-propagation. Raises FqtError for samples that do not fit."""
    check_sample_bytes("the course", course.samples, tensor_bytes(network.tensors[0]))
    check_labels("the course's labels", course.labels, len(course.samples), int(network.tensors[-1]["c"]))
    state = prepared_state(network, config) if zeroth is None else zo.prepared_state(network, config, zeroth)
    for order in course.orders:
        losses, predictions = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
        if zeroth is None:
            ts.train(state, config, course.samples, course.labels, order, losses, predictions)
        else:
            zo.train(state, config, zeroth, course.samples, course.labels, order, losses, predictions)
        if state.counters[SAMPLES] > 0 and zeroth is None:
            ts.update(state, config)
        elif state.counters[SAMPLES] > 0:
            zo.update(state, config, zeroth)
    return list(state_records(state))


def first_difference(expected: list[Record], got: list[Record]) -> str | None:
    """Where two states differ first; None if they are equal bit for bit."""
    for mine, other in zip(expected, got, strict=False):
        what = f"{EVENTS[mine.kind]} {mine.index}"
        if (mine.kind, mine.index) != (other.kind, other.index) or len(mine.data) != len(other.data):
            return f"{what}: the device sent {EVENTS.get(other.kind, other.kind)} {other.index} of {len(other.data)} bytes"
        if mine.data != other.data:
            at = next(i for i, (a, b) in enumerate(zip(mine.data, other.data, strict=True)) if a != b)
            return f"{what}, byte {at}: expected {mine.data[at]:#04x}, got {other.data[at]:#04x}"
    return None if len(expected) == len(got) else f"{len(expected)} records expected, the device sent {len(got)}"
