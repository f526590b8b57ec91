# SPDX-License-Identifier: Apache-2.0
"""Model files: what is written is read back, and whatever else arrives gets the same error from Python and from C."""

import random
import zlib

import numpy as np
import pytest

from fqt_ref import device, model_file
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case, file_bytes
from fqt_ref.golden.steps import error_of, sealed
from fqt_ref.training import fresh_network

CONFIGS = ("uint8", "mixed", "float32")


def model(config: str) -> bytes:
    return model_file.file_bytes(fresh_network("digits-cnn", config, load("digits"), seed=4))


@pytest.mark.parametrize("config", CONFIGS)
def test_written_is_read_back(config):
    data = model(config)
    assert model_file.file_bytes(model_file.parse(data)) == data


@pytest.mark.parametrize("config", CONFIGS)
def test_hazard_every_truncation_is_an_error(config):
    data = model(config)
    assert {error_of(data[:n]) for n in range(len(data))} == {model_file.SIZE}


def mutations(config: str, count: int, seed: int) -> list[bytes]:
    """Files with one to three fields of header and tables overwritten, checksums mended."""
    rng, good = random.Random(seed), model(config)
    tables = 64 + 48 * int.from_bytes(good[20:24], "little") + 60 * int.from_bytes(good[24:28], "little")
    words = (0, 0x7FFFFFFF, 0x7F800000, 0x7FC00000, 0x80000000, 0x3F800000)
    values = [b"\0", b"\1", b"\xff", b"\x7f\xff", *(word.to_bytes(4, "little") for word in words)]
    files = []
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            value = rng.choice([*values, bytes([rng.randrange(256)])])
            at = rng.randrange(16, tables - len(value))
            data[at : at + len(value)] = value
        files.append(sealed(bytes(data)))
    return files


@pytest.mark.parametrize("config", CONFIGS)
def test_hazard_python_and_c_give_the_same_error(config, tmp_path):
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    files = mutations(config, 3000, seed=CONFIGS.index(config))
    codes = [error_of(data) for data in files]
    assert {0, model_file.FORMAT} <= set(codes)
    path = tmp_path / "errors.fqg"
    expected = [[np.array([code], np.int32)] for code in codes]
    cases = [Case("model_error", f"{i}", [np.frombuffer(d, np.uint8)], e) for i, (d, e) in enumerate(zip(files, expected, strict=True))]
    path.write_bytes(file_bytes(cases))
    result = device.run_replay("host", path, sanitize=True)
    assert result.equal, result.first
    assert result.cases == len(files)


def test_messages_are_one_line_and_say_where(tmp_path):
    data = model("uint8")
    cases = {
        "short": (data[:10], "10 bytes are too few"),
        "text": (b"hello, I am a text file, not a model at all, but long enough for a header", "not a model file"),
        "cut": (data[:-1], "cut off or overlong"),
        "long": (data + bytes(7), "cut off or overlong"),
        "flip": (data[:200] + bytes([data[200] ^ 8]) + data[201:], "checksum"),
        "zero scale": (sealed(data[:72] + bytes(4) + data[76:]), "tensor 0: scale 0.0"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.fqt"
        path.write_bytes(content)
        with pytest.raises(FqtError) as caught:
            model_file.read(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(FqtError, match=r"No such file.*fqt train"):
        model_file.read(tmp_path / "none.fqt")


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.fqt"
    network = fresh_network("digits-mlp", "uint8", load("digits"), seed=1)
    model_file.write(path, network)
    before = path.read_bytes()
    monkeypatch.setattr(model_file.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FqtError, match="No space left"):
        model_file.write(path, network)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("batch", "message"), [(0, "not in 1"), (1025, "use at most 1024")])
def test_batch_bounds(batch, message):
    with pytest.raises(FqtError, match=message):
        model_file.check_batch(model_file.parse(model("uint8")), batch)
    model_file.check_batch(model_file.parse(model("uint8")), 1024)


def test_checksum_is_the_standard_crc32():
    data = model("uint8")
    assert int.from_bytes(data[12:16], "little") == zlib.crc32(data[16:])
