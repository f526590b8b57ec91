# SPDX-License-Identifier: Apache-2.0
"""The frames between a PC and the application that learns from its samples: zephyr_app/src/frame.h and stream_protocol.h."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"Fq"
VERSION = 1
BEGIN, SAMPLE, EPOCH, POLL, GET_STATE = range(1, 6)
PROGRESS, ERROR, STATE, END, TEXT = range(0x81, 0x86)
MOST_PAYLOAD = 1 << 16  # of what a device sends
# Least and most bytes of what it sends, by type.
PAYLOADS = {PROGRESS: (24, 24), ERROR: (8, 8), STATE: (16, MOST_PAYLOAD), END: (4, 4), TEXT: (0, MOST_PAYLOAD)}
VERDICTS = {
    2: "a frame of an unknown type",
    3: "a frame of a wrong length",
    4: "a damaged frame",
    5: "another version of the protocol",
    6: "samples or classes that its model does not take",
    7: "an item whose predecessors are missing",
    8: "a label beyond the model's classes",
    9: "more items than it has places",
}


class Frame(NamedTuple):
    """A frame that arrived whole."""

    type: int
    payload: bytes


def frame(kind: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    checked = struct.pack("<BBI", kind, 0, len(payload)) + payload
    return MAGIC + checked + struct.pack("<I", zlib.crc32(checked))


class Parser:
    """Finds frames in a stream of bytes; what is damaged or between frames is skipped."""

    def __init__(self) -> None:
        self.waiting = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete."""
        self.waiting += data
        while True:
            at = self.waiting.find(MAGIC)
            if at < 0:
                self.waiting = self.waiting[-1:]
                return
            self.waiting = self.waiting[at:]
            if len(self.waiting) < 8:
                return
            kind, reserved, length = struct.unpack_from("<BBI", self.waiting, 2)
            if reserved or length > MOST_PAYLOAD:
                self.waiting = self.waiting[2:]
                continue
            if len(self.waiting) < 12 + length:
                return
            (crc,) = struct.unpack_from("<I", self.waiting, 8 + length)
            if zlib.crc32(self.waiting[2 : 8 + length]) != crc:
                self.waiting = self.waiting[2:]
                continue
            yield Frame(kind, self.waiting[8 : 8 + length])
            self.waiting = self.waiting[12 + length :]
