# SPDX-License-Identifier: Apache-2.0
"""The sets for transfer learning: tiny files of the exact formats, every way in which they can be wrong, the real ones if there."""

import functools
import hashlib
import http.server
import io
import os
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqt_ref.datasets import Dataset, load
from fqt_ref.datasets.arsc import ARSC
from fqt_ref.datasets.cifar10 import CIFAR10
from fqt_ref.datasets.cwru import CWRU
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.flowers102 import FLOWERS102
from fqt_ref.datasets.hapt import HAPT
from fqt_ref.datasets.kkanji import KKANJI
from fqt_ref.datasets.speech_commands import SPEECH_COMMANDS
from fqt_ref.datasets.split import spread
from fqt_ref.datasets.standardize import standardized, statistics
from fqt_ref.errors import FqtError

REPOSITORY = Path(__file__).resolve().parents[1]
OUTER_DATA_DIR = os.environ.get("FQT_DATA_DIR")
ONE_255TH = np.float32(1) / np.float32(255)
Arrays = dict[str, Any]


@pytest.fixture(autouse=True)
def no_data_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests apart from the user's data folder and cache."""
    monkeypatch.delenv("FQT_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


def message(action: Callable[[], object]) -> str:
    """Return the text of the FqtError that the action must raise; it must be one line."""
    with pytest.raises(FqtError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def check_form(data: Dataset, shape: tuple[int, int, int]) -> None:
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert x.dtype == np.uint8 and x.shape[1:] == shape and x.flags.c_contiguous
        assert y.dtype == np.int64 and y.shape == (len(x),)
        assert len(y) == 0 or (y.min() >= 0 and y.max() < data.classes)
    assert len(data.test_x) > 0
    assert type(data.scale) is np.float32 and type(data.zero) is int
    assert data.label_names is None or (len(data.label_names) == data.classes and all(type(name) is str for name in data.label_names))


def counts(data: Dataset) -> tuple[list[int], list[int]]:
    train, test = (np.bincount(y, minlength=data.classes).tolist() for y in (data.train_y, data.test_y))
    return train, test


# --- the order of samples, standard deviations ----------------------------------------------------------------


@given(st.integers(1, 3000))
def test_spread_keeps_every_index_once(count: int) -> None:
    assert sorted(spread(np.arange(count)).tolist()) == list(range(count))


def test_every_beginning_is_spread_over_the_whole() -> None:
    order = spread(np.arange(1000))
    assert order[0] == 0
    for first in (40, 100, 500):
        tenths = np.bincount(order[:first] // 100, minlength=10)
        assert tenths.min() > 0 and tenths.max() <= 2 * first // 10


def test_standardized_by_hand() -> None:
    training = np.array([[1, -10], [3, 10]], np.int16)
    mean, deviation = statistics(training, "f")
    assert mean.tolist() == [2, 0] and deviation.tolist() == [1, 10]
    x = np.array([[[2, 0], [3, -10], [100, -1000], [2, 9]]], np.int16)
    # 16 steps a deviation around 128; 0.9 deviations are 14.4 steps; beyond 8 deviations is clipped.
    assert standardized(x, mean, deviation).tolist() == [[[128, 128], [144, 112], [255, 0], [128, 142]]]


def test_statistics_of_many_pieces() -> None:
    values = np.random.default_rng(1).integers(-9, 9, (200000, 2)).astype(np.int16)
    mean, deviation = statistics(values, "f")
    assert np.allclose(mean, values.mean(0)) and np.allclose(deviation, values.std(0))
    values[:, 1] = 7
    assert "f: channel 1 is constant" in message(lambda: statistics(values, "f"))


# --- cifar10 --------------------------------------------------------------------------------------------------


def batches(count: int = 4) -> list[np.ndarray]:
    """Six batches of records: label, then planes whose bytes are random."""
    generator = np.random.default_rng(7)
    made = [generator.integers(0, 256, (count, 3073), dtype=np.uint8) for _ in range(6)]
    for number, batch in enumerate(made):
        batch[:, 0] = (np.arange(count) + number) % 10
    return made


def write_batches(folder: Path, contents: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(CIFAR10.forms[0], contents, strict=True):
        (folder / name).write_bytes(content)


def archive_of(contents: list[bytes], order: tuple[int, ...] = (0, 2, 3, 5, 4, 1), folder: str = "cifar-10-batches-bin") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in [("readme.html", b"..."), *((CIFAR10.forms[0][i], contents[i]) for i in order)]:
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def assert_is(data: Dataset, made: list[np.ndarray]) -> None:
    check_form(data, (32, 32, 3))
    assert (data.name, data.classes, data.scale, data.zero) == ("cifar10", 10, ONE_255TH, 0)
    assert data.label_names is not None and data.label_names[0] == "airplane" and data.label_names[9] == "truck"
    train = np.concatenate(made[:5])
    for x, y, records in ((data.train_x, data.train_y, train), (data.test_x, data.test_y, made[5])):
        assert y.tolist() == records[:, 0].tolist()
        for channel, row, column in ((0, 0, 0), (1, 0, 31), (2, 31, 31), (2, 5, 7)):
            assert x[:, row, column, channel].tolist() == records[:, 1 + channel * 1024 + row * 32 + column].tolist()


@pytest.mark.parametrize("folder", ["", *CIFAR10.folders])
def test_cifar10_in_every_folder(folder: str, tmp_path: Path) -> None:
    made = batches()
    write_batches(tmp_path / folder, [batch.tobytes() for batch in made])
    assert_is(load("CIFAR10", tmp_path), made)


def test_cifar10_from_the_archive_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = batches()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(archive_of([batch.tobytes() for batch in made]))
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path))
    assert_is(load("cifar10", download=False), made)


BAD_BATCHES: list[tuple[int, Callable[[bytes], bytes], str]] = [
    (0, lambda b: b[:-1], "holds 12291 bytes, not 1 to 10000 images of 3073 bytes"),
    (3, lambda b: b"", "holds 0 bytes, not 1 to 10000 images"),
    (5, lambda b: b[:-3073], "holds 3 images, data_batch_1.bin 4"),
    (2, lambda b: b + b[:3073], "holds 5 images, data_batch_1.bin 4"),
    (1, lambda b: b[:3073] + b"\x0a" + b[3074:], "label 10 of sample 1 is outside 0..9"),
    (4, lambda b: bytes(10000 * 3073 + 1), "holds more than 30730000 bytes"),
]


@pytest.mark.parametrize("as_archive", [False, True])
@pytest.mark.parametrize(("which", "change", "expected"), BAD_BATCHES)
def test_cifar10_with_a_fault(which: int, change: Callable[[bytes], bytes], expected: str, as_archive: bool, tmp_path: Path) -> None:
    contents = [batch.tobytes() for batch in batches()]
    contents[which] = change(contents[which])
    if as_archive:
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive_of(contents))
    else:
        write_batches(tmp_path, contents)
    text = message(lambda: load("cifar10", tmp_path))
    assert expected in text and CIFAR10.forms[0][which] in text and text.endswith("get the file again") != ("label" in text)


def test_cifar10_archives_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    good = archive_of([batch.tobytes() for batch in batches()])
    for cut in (0, 1, 20, len(good) // 2, len(good) - 9):
        path.write_bytes(good[:cut])
        text = message(lambda: load("cifar10", tmp_path))
        assert f"{path}: damaged archive (" in text or f"{path}: has no cifar-10-batches-bin/" in text
    path.write_bytes(b"<html>not found</html>")
    assert "damaged archive" in message(lambda: load("cifar10", tmp_path))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    path.write_bytes(bytes(flipped))
    assert str(path) in message(lambda: load("cifar10", tmp_path))
    path.write_bytes(archive_of([batch.tobytes() for batch in batches()], folder="cifar-100-binary"))
    assert "has no cifar-10-batches-bin/data_batch_1.bin, " in message(lambda: load("cifar10", tmp_path))


def test_cifar10_folder_that_lacks_a_batch(tmp_path: Path) -> None:
    write_batches(tmp_path / "cifar10", [batch.tobytes() for batch in batches()])
    (tmp_path / "cifar10" / "data_batch_3.bin").unlink()
    text = message(lambda: load("cifar10", tmp_path))
    assert f"lacks data_batch_3.bin in {tmp_path / 'cifar10'}; to mend it, download https://www.cs.toronto.edu/" in text


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_cifar10_download_into_the_cache_and_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pooch", reason="the download needs pooch: pip install pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = batches()
    content = archive_of([batch.tobytes() for batch in made])
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cifar-10-binary.tar.gz").write_bytes(content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "home"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/cifar-10-binary.tar.gz"
        served = replace(CIFAR10, url=url, md5=hashlib.md5(content).hexdigest())
        (path,) = find_files(served)
        wrong = message(lambda: find_files(replace(served, md5="0" * 32), cache=tmp_path / "other"))
        server.shutdown()
        thread.join()
    assert path == tmp_path / "user-cache" / "fqt" / "cifar10" / "cifar-10-binary.tar.gz" and path.read_bytes() == content
    assert find_files(served, download=False) == (path,)
    assert f"download: {url}: wrong checksum" in wrong
    assert_is(load("cifar10", path.parent), made)


def test_checksums_and_homes() -> None:
    for files in (CIFAR10, FLOWERS102, KKANJI, CWRU, HAPT, ARSC, SPEECH_COMMANDS):
        assert (files.url is None) == (files.md5 is None)
        if files.url:
            assert (files.url.rsplit("/", 1)[1],) in files.forms and files.md5 is not None and len(files.md5) == 32


# --- sets of one .npz file ------------------------------------------------------------------------------------


def cwru_arrays() -> Arrays:
    """Eleven records: the ten classes at load 0, in a noise of their own, of 2600 or 5200 samples, and one at load 1."""
    generator = np.random.default_rng(3)
    rows = [("B", mil, 0, 0) for mil in (7, 14, 21)] + [("IR", mil, 0, 0) for mil in (7, 14, 21)]
    rows += [("OR", mil, 6, 0) for mil in (7, 14, 21)] + [("B", 7, 0, 1), ("N", 0, 0, 0)]
    length = np.array([2600] * 10 + [5200], np.int32)
    kind, mil, oclock, load_hp = zip(*rows, strict=True)
    return {
        "signal": generator.integers(-1000, 1000, length.sum()).astype(np.int16),
        "length": length,
        "scale": np.linspace(1e-4, 2e-4, 11),
        "path": np.array([f"{k}/{m}" for k, m, _, _ in rows]),
        "kind": np.array(kind),
        "diameter_mil": np.array(mil, np.uint8),
        "position_oclock": np.array(oclock, np.uint8),
        "load_hp": np.array(load_hp, np.uint8),
    }


def hapt_arrays() -> Arrays:
    """Two people: 1 for training, 2 for testing; each walks (1) 300 samples, is unlabelled 200, lies down (11) 150."""
    generator = np.random.default_rng(4)
    label = np.concatenate([np.full(300, 1), np.full(200, -1), np.full(150, 11)])
    return {
        "x": generator.integers(-4000, 4000, (1300, 6)).astype(np.int16),
        "label": np.tile(label, 2).astype(np.int8),
        "user": np.repeat([1, 2], 650).astype(np.uint8),
        "rec": np.repeat([0, 1], 650).astype(np.uint8),
    }


def arsc_arrays() -> Arrays:
    return {
        "x": np.random.default_rng(5).integers(100, 180, (80, 49, 40), dtype=np.uint8),
        "label": (np.arange(80) // 2).astype(np.uint8),
        "split": (np.arange(80) % 4 % 3).astype(np.uint8),  # 0, 1, 2, 0
        "speaker": np.zeros(80, np.uint8),
        "words": np.array([f"word {i}" for i in range(40)]),
    }


def jpegs(count: int, side: int = 64) -> list[bytes]:
    """JPEG files, the i-th of the one colour (10 i, 100, 200 - 10 i)."""
    image = pytest.importorskip("PIL.Image", reason="JPEG files need Pillow: pip install pillow")
    files = []
    for i in range(count):
        file = io.BytesIO()
        image.new("RGB", (side, side), (10 * i, 100, 200 - 10 * i)).save(file, "JPEG", quality=95)
        files.append(file.getvalue())
    return files


def flowers_arrays(files: list[bytes] | None = None) -> Arrays:
    files = files or jpegs(6)
    return {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offset": np.cumsum([0, *map(len, files)]).astype(np.uint32),
        "label": np.array([101, 0, 1, 101, 5, 5], np.uint8),
        "official_split": np.array([0, 1, 2, 2, 0, 2], np.uint8),
        "image_id": np.array([1, 2, 5, 6, 7, 8189], np.uint16),
    }


def speech_arrays() -> Arrays:
    return {
        "mfcc_i8": np.random.default_rng(6).integers(-128, 128, (5, 49, 10)).astype(np.int8),
        "lfbe_i8": np.zeros((5, 490), np.int8),
        "label": np.array([11, 0, 3, 3, 7], np.uint8),
        "names": np.array([f"word {i}" for i in range(12)]),
    }


def kkanji_arrays() -> Arrays:
    return {
        "x": np.arange(20, dtype=np.uint8)[:, np.newaxis, np.newaxis] + np.zeros((1, 28, 28), np.uint8),
        "label": (np.arange(20) // 2).astype(np.uint8),
        "codepoint": np.array([f"U+{0x4E00 + i:X}" for i in range(10)]),
    }


MAKERS: dict[str, tuple[FileSet, Callable[[], Arrays]]] = {
    "cwru": (CWRU, cwru_arrays),
    "hapt": (HAPT, hapt_arrays),
    "arsc": (ARSC, arsc_arrays),
    "flowers102": (FLOWERS102, flowers_arrays),
    "kkanji": (KKANJI, kkanji_arrays),
    "speech-commands": (SPEECH_COMMANDS, speech_arrays),
}


def write(name: str, folder: Path, **changes: Any) -> Path:
    """Write a set's file with some arrays replaced, or left out if None."""
    files, arrays = MAKERS[name]
    path = folder / files.forms[0][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{key: array for key, array in (arrays() | changes).items() if array is not None})
    return path


def test_cwru(tmp_path: Path) -> None:
    arrays = cwru_arrays()
    write("cwru", tmp_path)
    data = load("cwru", tmp_path)
    check_form(data, (1, 512, 1))
    assert (data.name, data.classes, data.scale, data.zero) == ("cwru", 10, np.float32(1 / 16), 128)
    # 2080 samples for training: windows begin at 0, 256, ... 1536; 520 for testing: one window.
    assert counts(data) == ([7] * 10, [1] * 10)
    assert data.label_names is not None and data.label_names[0] == "normal" and data.label_names[9] == "outer race 21 mil"
    # Class 0, normal, is the last record and only its first half counts.
    normal = arrays["signal"][26000:28600] * arrays["scale"][10]
    training = [normal[:2080]] + [arrays["signal"][2600 * i :][:2080] * arrays["scale"][i] for i in range(9)]
    mean, deviation = np.mean(training), np.std(training)

    def steps(values: np.ndarray) -> np.ndarray:
        return np.clip((values - mean) / deviation * 16 + 128, 0, 255)

    windows = sorted(data.train_x[data.train_y == 0, 0, :, 0].tolist())
    expected = sorted(steps(normal[start : start + 512]).tolist() for start in range(0, 1537, 256))
    assert np.abs(np.array(windows) - np.array(expected)).max() < 0.51
    assert np.abs(data.test_x[data.test_y == 0].ravel() - steps(normal[2080:2592])).max() < 0.51


def test_hapt(tmp_path: Path) -> None:
    arrays = hapt_arrays()
    write("hapt", tmp_path)
    data = load("hapt", tmp_path)
    check_form(data, (1, 128, 6))
    assert (data.name, data.classes, data.scale, data.zero) == ("hapt", 12, np.float32(1 / 16), 128)
    # 300 samples hold windows at 0, 64, 128; 150 one at 500. The unlabelled 200 hold none.
    expected = [3 if c == 0 else 1 if c == 10 else 0 for c in range(12)]
    assert counts(data) == (expected, expected)
    labelled = arrays["x"][:650][arrays["label"][:650] != -1].astype(np.float64)
    mean, deviation = labelled.mean(0), labelled.std(0)
    for x, y, first in ((data.train_x, data.train_y, 0), (data.test_x, data.test_y, 650)):
        window = (arrays["x"][first + 500 : first + 628] - mean) / deviation * 16 + 128
        assert np.abs(x[y == 10][0, 0] - window).max() < 0.51


def test_hapt_windows_cross_no_border(tmp_path: Path) -> None:
    arrays = hapt_arrays()
    arrays["label"][:] = 3
    # The same label throughout: the people's border, at 650, and the recording's, at 300, are the only ones.
    arrays["rec"][:300] = 7
    write("hapt", tmp_path, **arrays)
    train, test = counts(load("hapt", tmp_path))
    assert (train[2], test[2]) == (3 + 4, 9)


def test_arsc(tmp_path: Path) -> None:
    arrays = arsc_arrays()
    write("arsc", tmp_path)
    data = load("arsc", tmp_path)
    check_form(data, (49, 40, 1))
    assert (data.name, data.classes, data.label_names) == ("arsc", 40, tuple(f"word {i}" for i in range(40)))
    training = arrays["split"] != 2
    assert data.scale == pytest.approx(1 / arrays["x"][training].std()) and data.zero == round(arrays["x"][training].mean())
    for x, y, part in ((data.train_x, data.train_y, training), (data.test_x, data.test_y, ~training)):
        assert sorted((int(c), i.tobytes()) for c, i in zip(y, x, strict=True)) == sorted(
            (int(c), i.tobytes()) for c, i in zip(arrays["label"][part], arrays["x"][part], strict=True)
        )


def test_flowers102(tmp_path: Path) -> None:
    write("flowers102", tmp_path)
    data = load("flowers102", tmp_path)
    check_form(data, (64, 64, 3))
    assert (data.name, data.classes, data.scale, data.zero, data.label_names) == ("flowers102", 102, ONE_255TH, 0, None)
    for x, y, part, labels in (
        (data.train_x, data.train_y, (0, 1, 4), {0: 101, 1: 0, 4: 5}),
        (data.test_x, data.test_y, (2, 3, 5), {2: 1, 3: 101, 5: 5}),
    ):
        which = [round(float(image[:, :, 0].mean()) / 10) for image in x]
        assert sorted(which) == list(part) and y.tolist() == [labels[i] for i in which]
        for i, image in zip(which, x, strict=True):
            assert np.abs(image.reshape(-1, 3).astype(int) - [10 * i, 100, 200 - 10 * i]).max() <= 3


def test_flowers102_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("flowers102", tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    text = message(lambda: load("flowers102", tmp_path))
    assert text.startswith("flowers102: its images are JPEG files, which Pillow reads") and text.endswith("pip install pillow")


def test_kkanji(tmp_path: Path) -> None:
    write("kkanji", tmp_path)
    data = load("kkanji", tmp_path)
    check_form(data, (28, 28, 1))
    assert (data.name, data.classes, data.scale, data.zero) == ("kkanji", 10, ONE_255TH, 0)
    assert data.label_names is not None and data.label_names[0] == "一"
    assert sorted(data.test_x[:, 0, 0, 0].tolist()) == [4, 9, 14, 19] and len(data.train_x) == 16
    assert data.test_y.tolist() == (data.test_x[:, 5, 5, 0] // 2).tolist()
    assert data.train_y.tolist() == (data.train_x[:, 5, 5, 0] // 2).tolist()


def test_speech_commands_are_a_test_part_only(tmp_path: Path) -> None:
    arrays = speech_arrays()
    write("speech-commands", tmp_path)
    data = load("speech_commands", tmp_path)
    check_form(data, (49, 10, 1))
    assert (data.name, data.classes, data.zero) == ("speech-commands", 12, 211)
    assert data.scale == np.float32(0.5847029089927673)
    assert len(data.train_x) == 0 and data.test_y.tolist() == [11, 0, 3, 3, 7]
    assert np.array_equal(data.test_x[..., 0].astype(int), arrays["mfcc_i8"].astype(int) + 128)
    assert data.label_names == tuple(f"word {i}" for i in range(12))


def cut_record(arrays: Arrays, samples: int) -> Arrays:
    length = np.full(11, samples, np.int32)
    return {"length": length, "signal": arrays["signal"][: length.sum()]}


FAULTS: list[tuple[str, Callable[[Arrays], Arrays], str]] = [
    ("cwru", lambda a: {"signal": a["signal"][:-1]}, "'signal' holds 31199 samples, 'length' says 31200 in 11 records"),
    ("cwru", lambda a: {"signal": a["signal"].astype(np.int32)}, "'signal' is int32 of shape (31200,), not int16 of N"),
    ("cwru", lambda a: {"length": np.array([0, 5200] + [2600] * 8 + [5200], np.int32)}, "'signal' holds 31200 samples, 'length' says"),
    ("cwru", lambda a: {"scale": a["scale"] * np.nan}, "'scale' holds a value that is not positive and finite"),
    ("cwru", lambda a: {"scale": a["scale"] - 1}, "'scale' holds a value that is not positive and finite"),
    ("cwru", lambda a: {"scale": a["scale"][:-1]}, "'scale' is float64 of shape (10,), not float64 of 11"),
    ("cwru", lambda a: {"kind": None}, "has no array 'kind', only "),
    ("cwru", lambda a: {"load_hp": np.ones(11, np.uint8)}, "holds 0 records of class 'normal' at load 0, not one"),
    ("cwru", lambda a: {"load_hp": np.zeros(11, np.uint8)}, "holds 2 records of class 'ball 7 mil' at load 0, not one"),
    ("cwru", lambda a: {"position_oclock": np.full(11, 3, np.uint8)}, "holds 0 records of class 'normal'"),
    ("cwru", lambda a: cut_record(a, 2555), "a record of 2555 samples; the test part needs 512 in its last fifth"),
    ("cwru", lambda a: {"signal": a["signal"] * 0}, "'signal': channel 0 is constant in the training part"),
    ("hapt", lambda a: {"x": a["x"][:, :5]}, "'x' is int16 of shape (1300, 5), not int16 of N x 6"),
    ("hapt", lambda a: {"label": a["label"][:-1]}, "'label' is int8 of shape (1299,), not int8 of 1300"),
    ("hapt", lambda a: {"user": a["user"].astype(np.int64)}, "'user' is int64 of shape (1300,), not uint8 of 1300"),
    ("hapt", lambda a: {"label": np.where(a["label"] == 11, 13, a["label"]).astype(np.int8)}, "'label', windows: label 13 of sample 3"),
    ("hapt", lambda a: {"label": np.where(a["label"] == 1, 0, a["label"]).astype(np.int8)}, "label 0 of sample 0 is outside 1..12"),
    ("hapt", lambda a: {"label": np.full(1300, -1, np.int8)}, "no samples for the training part"),
    ("hapt", lambda a: {"user": np.full(1300, 2, np.uint8)}, "no samples for the training part"),
    ("hapt", lambda a: {"user": np.full(1300, 1, np.uint8)}, "no samples for the test part"),
    ("hapt", lambda a: {"x": a["x"] * np.array([1, 1, 1, 1, 0, 1], np.int16)}, "'x': channel 4 is constant"),
    ("arsc", lambda a: {"x": a["x"][:, :48]}, "'x' is uint8 of shape (80, 48, 40), not uint8 of N x 49 x 40"),
    ("arsc", lambda a: {"x": a["x"][:0]}, "'x' is uint8 of shape (0, 49, 40), not uint8 of N x 49 x 40"),
    ("arsc", lambda a: {"label": a["label"][1:]}, "'label': 79 labels for 80 images"),
    ("arsc", lambda a: {"label": a["label"] + np.uint8(1)}, "'label': label 40 of sample 78 is outside 0..39"),
    ("arsc", lambda a: {"split": a["split"] + np.uint8(1)}, "'split': label 3 of sample 2 is outside 0..2"),
    ("arsc", lambda a: {"split": a["split"] * np.uint8(0)}, "no samples for the test part"),
    ("arsc", lambda a: {"words": a["words"][:-1]}, "'words' is <U7 of shape (39,), not str_ of 40"),
    ("arsc", lambda a: {"words": np.array([None] * 40)}, "'words' holds Python objects (pickle)"),
    ("arsc", lambda a: {"x": np.full((80, 49, 40), 9, np.uint8)}, "'x': channel 0 is constant"),
    ("flowers102", lambda a: {"label": a["label"] + np.uint8(1)}, "'label': label 102 of sample 0 is outside 0..101"),
    ("flowers102", lambda a: {"official_split": np.full(6, 2, np.uint8)}, "no samples for the training part"),
    ("flowers102", lambda a: {"official_split": np.full(6, 3, np.uint8)}, "'official_split': label 3 of sample 0 is outside 0..2"),
    ("flowers102", lambda a: {"offset": a["offset"][1:]}, "'offset' is uint32 of shape (6,), not uint32 of 7"),
    ("flowers102", lambda a: {"offset": a["offset"] + np.uint32(1)}, "'offset' does not go up from 0 to the "),
    ("flowers102", lambda a: {"offset": a["offset"][[0, 2, 1, 3, 4, 5, 6]]}, "'offset' does not go up from 0 to the "),
    ("flowers102", lambda a: {"jpeg": a["jpeg"][:-1]}, "'offset' does not go up from 0 to the "),
    ("flowers102", lambda a: flowers_arrays([*jpegs(5), jpegs(1, 32)[0]]), "'jpeg': image 8189 (sample 5) is 32 x 32, not 64 x 64"),
    ("flowers102", lambda a: flowers_arrays([jpegs(1)[0][:-300], *jpegs(5)]), "'jpeg': image 1 (sample 0) is damaged ("),
    ("flowers102", lambda a: flowers_arrays([*jpegs(2), b"GIF89a", *jpegs(3)]), "'jpeg': image 5 (sample 2) is damaged ("),
    (
        "speech-commands",
        lambda a: {"mfcc_i8": a["mfcc_i8"].view(np.uint8)},
        "'mfcc_i8' is uint8 of shape (5, 49, 10), not int8 of N x 49 x 10",
    ),
    ("kkanji", lambda a: {"x": a["x"][:, :27]}, "'x' is uint8 of shape (20, 27, 28), not uint8 of N x 28 x 28"),
    ("kkanji", lambda a: {"label": a["label"] + np.uint8(1)}, "'label': label 10 of sample 18 is outside 0..9"),
    ("kkanji", lambda a: {"x": a["x"][:4], "label": a["label"][:4]}, "no samples for the test part"),
    ("kkanji", lambda a: {"codepoint": np.array(["U+4E00"] * 9 + ["one"])}, "'codepoint' holds something else than U+ and a number"),
    ("kkanji", lambda a: {"codepoint": np.array(["U+FFFFFFFFFFFF"] * 10)}, "'codepoint' holds something else than U+"),
    ("speech-commands", lambda a: {"label": a["label"] + np.uint8(1)}, "'label': label 12 of sample 0 is outside 0..11"),
    ("speech-commands", lambda a: {"names": a["names"][:11]}, "'names' is <U7 of shape (11,), not str_ of 12"),
]


@pytest.mark.parametrize(("name", "change", "expected"), FAULTS)
def test_file_with_a_fault(name: str, change: Callable[[Arrays], Arrays], expected: str, tmp_path: Path) -> None:
    path = write(name, tmp_path, **change(MAKERS[name][1]()))
    text = message(lambda: load(name, tmp_path))
    assert text.startswith(str(path)) and expected in text


@pytest.mark.parametrize("name", MAKERS)
def test_truncated_and_foreign_files(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / MAKERS[name][0].folders[0])
    whole = path.read_bytes()
    for content, expected in (
        (whole[: len(whole) // 2], "damaged .npz file (truncated"),
        (b"", "not an .npz"),
        (b"version https", "not an .npz"),
    ):
        path.write_bytes(content)
        text = message(lambda: load(name, tmp_path))
        assert text.startswith(str(path)) and expected in text


@pytest.mark.parametrize("name", MAKERS)
def test_not_found_says_which_file_and_where_it_comes_from(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MAKERS[name][0]
    file = files.forms[0][0]
    text = message(lambda: load(name))
    assert text.startswith(f"{name}: not found in FQT_DATA_DIR (not set); download: no download is offered; to get it, put {file} ")
    assert "https://" in text and text.endswith("and name the folder with --data-dir or FQT_DATA_DIR")
    module = name.replace("-", "_")
    assert f"(what it holds: fqt_ref/datasets/{module}.py)" in text and (REPOSITORY / f"fqt_ref/datasets/{module}.py").is_file()
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path / "none"))
    assert f"FQT_DATA_DIR={tmp_path / 'none'} (no such folder)" in message(lambda: load(name))
    (tmp_path / "none").mkdir()
    assert f"(is empty: it lacks {file})" in message(lambda: load(name))
    (tmp_path / "none" / "notes.txt").write_text("")
    assert f"none lacks {file}, also in its subfolders {files.folders[0]}" in message(lambda: load(name, tmp_path / "none"))


def test_cifar10_not_found_names_both_forms(tmp_path: Path) -> None:
    text = message(lambda: load("cifar10", tmp_path))
    assert "data_batch_5.bin, test_batch.bin (or cifar-10-binary.tar.gz)" in text
    (tmp_path / "file").write_text("")
    assert "does not exist (or is a file)" in message(lambda: load("cifar10", tmp_path / "file"))
    assert "download: turned off (and not in the cache" in message(lambda: load("cifar10", download=False))


# --- real data ------------------------------------------------------------------------------------------------


def real(files: FileSet, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Load a set from the developer's FQT_DATA_DIR, else the folder shared/data beside the repository; skip if it is not there."""
    monkeypatch.setenv("FQT_DATA_DIR", OUTER_DATA_DIR or str(REPOSITORY.parent / "shared" / "data"))
    try:
        find_files(files, download=False)
    except FqtError as error:
        pytest.skip(str(error))
    return load(files.name, download=False)


def test_real_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(CIFAR10, monkeypatch)
    check_form(data, (32, 32, 3))
    assert counts(data) == ([5000] * 10, [1000] * 10)
    records = np.concatenate([data.train_y[:10000, np.newaxis], data.train_x[:10000].transpose(0, 3, 1, 2).reshape(10000, -1)], 1)
    assert hashlib.md5(records.astype(np.uint8).tobytes()).hexdigest() == "5dd7e06a14cb22eb9f671a540d1b7c25"


def test_real_cwru(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(CWRU, monkeypatch)
    check_form(data, (1, 512, 1))
    assert counts(data) == ([377] * 10, [47] * 10)
    spread_of = [float(data.test_x[data.test_y == c].std()) for c in range(10)]
    assert np.argmin(spread_of) == 0 and np.argmax(spread_of) == 7  # the normal bearing is quietest


def test_real_hapt(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(HAPT, monkeypatch)
    check_form(data, (1, 128, 6))
    # The numbers of windows of the set's own X_train.txt and X_test.txt: 7767 and 3162.
    assert counts(data) == (
        [1226, 1073, 987, 1293, 1423, 1413, 47, 23, 75, 60, 90, 57],
        [496, 471, 420, 508, 556, 545, 23, 10, 32, 25, 49, 27],
    )


def test_real_arsc(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(ARSC, monkeypatch)
    check_form(data, (49, 40, 1))
    assert counts(data) == ([240] * 40, [60] * 40)
    assert data.label_names is not None and data.label_names[0] == "backward" and data.zero == 140
    assert len(set(data.train_y[:64].tolist())) == 40


def test_real_flowers102(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL", reason="JPEG files need Pillow: pip install pillow")
    data = real(FLOWERS102, monkeypatch)
    check_form(data, (64, 64, 3))
    train, test = counts(data)
    assert (sum(train), min(train), sum(test), min(test)) == (1641, 11, 4911, 13)


def test_real_kkanji(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(KKANJI, monkeypatch)
    check_form(data, (28, 28, 1))
    assert (len(data.train_x), len(data.test_x)) == (11145, 2786)
    assert np.sum(counts(data), 0).tolist() == [1768, 1766, 1674, 1575, 1451, 1259, 1199, 1121, 1066, 1052]
    assert data.label_names is not None and "".join(data.label_names[:4]) == "一云事人"


def test_real_speech_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(SPEECH_COMMANDS, monkeypatch)
    check_form(data, (49, 10, 1))
    assert len(data.train_x) == 0
    assert counts(data)[1] == [92, 92, 81, 89, 70, 84, 75, 78, 84, 89, 80, 86]
    assert data.label_names is not None and data.label_names[-2:] == ("Silence", "Unknown")
