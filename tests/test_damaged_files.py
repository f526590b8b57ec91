# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a file that this package reads, one FqtError comes out, or the content; never another exception."""

import gzip
import io
import random
import sqlite3
import struct
import tarfile
import time
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fqt_ref import linked, model_file, stream_frames
from fqt_ref.datasets import load
from fqt_ref.datasets.idx import read_idx
from fqt_ref.errors import FqtError
from fqt_ref.experiments.description import DONE, Record
from fqt_ref.experiments.store import Store
from fqt_ref.stream import Session
from fqt_ref.transfer.experiment import stored
from tests.handmade import chain

SECONDS, MOST = 4, 400  # a reader


def idx_bytes() -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, 5, 4, 3) + bytes(range(60))


def model_bytes(name: str = "chain") -> bytes:
    return model_file.file_bytes(chain(np.random.RandomState(0), "mixed").network(name))


def with_checksum(data: bytes) -> bytes:
    """A damaged model file whose length and checksum are right, so that its fields are looked at."""
    whole = data[:8] + struct.pack("<I", len(data)) + data[12:]
    return whole[:12] + struct.pack("<I", zlib.crc32(whole[16:])) + whole[16:]


def archive_bytes() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
            content = bytes([3]) + bytes(3072)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def store_bytes(folder) -> bytes:
    path = folder / "new.sqlite"
    Store(path).put(Record("k", {"a": 1}, DONE, "", {"b": 2}, "c", {"numpy": "2"}, "m", "now", 1.0))
    return path.read_bytes()


def read_archive(path) -> None:
    (path.parent / "cifar-10-binary.tar.gz").write_bytes(path.read_bytes())
    load("cifar10", path.parent, download=False)


READERS = {
    "idx": (lambda folder: idx_bytes(), lambda path: read_idx(path, 3)),
    "idx, gzipped": (lambda folder: gzip.compress(idx_bytes()), lambda path: read_idx(path, 3)),
    "model": (lambda folder: model_bytes(), model_file.read),
    "model, checksum mended": (lambda folder: model_bytes(), lambda path: model_file.parse(with_checksum(path.read_bytes()), str(path))),
    "archive": (lambda folder: archive_bytes(), read_archive),
    "store": (store_bytes, lambda path: Store(path, create=False).all()),
    "result": (lambda folder: b'{"data": "digits", "epochs": [1, 2]}', lambda path: stored(path, {"data": "digits"})),
    "board sizes": (lambda folder: b'{"board": {"": {"flash": [0, 1, []]}}}', linked.read_measured),
}


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Some damage: flipped bits, bytes of other values, parts cut out, doubled, or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, kind = rng.randrange(len(out) + 1), rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            del out[at : at + rng.choice((1, 4, len(out)))]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randrange(64)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randrange(9))
        else:
            out[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31, 2**32 - 1, rng.getrandbits(32))))
    return bytes(out)


@pytest.mark.parametrize("name", READERS)
def test_damage_is_one_line(name, tmp_path):
    make, read = READERS[name]
    whole, path, rng, end, refused = make(tmp_path), tmp_path / "file", random.Random(15), time.monotonic() + SECONDS, 0
    path.write_bytes(whole)
    read(path)
    for _ in range(MOST):
        path.write_bytes(mutated(rng, whole))
        try:
            read(path)
        except FqtError as error:
            assert "\n" not in str(error)
            refused += 1
        if time.monotonic() > end:
            break
    assert refused > 5


@pytest.mark.parametrize("column", ["description", "result", "versions", "seconds"])
@pytest.mark.parametrize("value", [b"\xff\x00", "[1", "[1]", "a", "[" * 100_000])
def test_a_row_of_a_store_with_another_type_is_one_line(tmp_path, column, value):
    path = tmp_path / "s.sqlite"
    path.write_bytes(store_bytes(tmp_path))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE runs SET {column} = ?", (value,))
    with pytest.raises(FqtError, match=r"damaged|not a store"):
        Store(path).all()


def test_a_model_file_without_an_end_is_not_read_for_ever():
    with pytest.raises(FqtError, match="not a model file"):
        model_file.read(Path("/dev/zero"))


class Device:
    """A line on which a device sends what it likes."""

    def __init__(self, data: bytes):
        self.data = data

    def send(self, data: bytes) -> None:
        pass

    def receive(self, seconds: float) -> bytes:
        data, self.data = self.data, b""
        return data


@pytest.mark.parametrize("kind", [kind for kind in stream_frames.PAYLOADS if kind != stream_frames.TEXT])
@pytest.mark.parametrize("size", [0, 3, 7])
def test_a_frame_of_a_wrong_length_with_a_right_checksum_is_one_line(kind, size):
    session = Session(Device(stream_frames.frame(kind, bytes(size))), 5, lambda text: None)
    for ask in (lambda: session.ask(b""), session.state):
        session.line.data = stream_frames.frame(kind, bytes(size))
        with pytest.raises(FqtError, match="another protocol"):
            ask()


def test_text_of_a_device_steers_no_terminal():
    shown: list[str] = []
    data = stream_frames.frame(stream_frames.TEXT, b"a\nfqt: b\x1b[2J") + stream_frames.frame(stream_frames.PROGRESS, bytes(24))
    Session(Device(data), 5, lambda text: None, shown.append).ask(b"")
    assert shown == ["a fqt: b\\x1b[2J"]
