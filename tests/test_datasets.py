# SPDX-License-Identifier: Apache-2.0
"""fqt_ref.datasets: every set that can be had here, every way in which files can be wrong."""

import functools
import gzip
import hashlib
import http.server
import logging
import os
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fqt_ref.datasets import Dataset, dataset_names, load
from fqt_ref.datasets.idx import read_idx
from fqt_ref.datasets.load_named import load_named
from fqt_ref.datasets.named_set import NAMED_SETS, NamedSet
from fqt_ref.datasets.npz import load_npz
from fqt_ref.datasets.search import find_on_this_machine
from fqt_ref.errors import FqtError
from fqt_ref.input_grid import input_grid_for, on_grid, real_values

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[1]
ONE_255TH = np.float32(1) / np.float32(255)


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


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def check_form(data: Dataset) -> None:
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert x.dtype == (np.float32 if data.scale is None else np.uint8) and x.ndim == 4 and x.flags.c_contiguous and len(x) > 0
        assert y.dtype == np.int64 and y.shape == (len(x),)
        assert y.min() >= 0 and y.max() < data.classes
    assert data.train_x.shape[1:] == data.test_x.shape[1:]
    assert data.scale is None or (type(data.scale) is np.float32 and type(data.zero) is int)
    assert data.label_names is None or len(data.label_names) == data.classes


# --- real data ----------------------------------------------------------------------------------------------


def test_digits() -> None:
    data = load("digits")
    check_form(data)
    assert data.train_x.shape == (1438, 8, 8, 1) and data.test_x.shape == (359, 8, 8, 1)
    assert (data.name, data.classes, data.scale, data.zero) == ("digits", 10, ONE_255TH, 0)
    # The set's first image, as printed in scikit-learn's manual, rows 0 and 1; 16 is white.
    assert data.train_x[0, :2, :, 0].tolist() == [
        [(v * 255 + 8) // 16 for v in (0, 0, 5, 13, 9, 1, 0, 0)],
        [(v * 255 + 8) // 16 for v in (0, 0, 13, 15, 10, 15, 5, 0)],
    ]
    assert set(np.unique(data.train_x).tolist()) == {(v * 255 + 8) // 16 for v in range(17)}
    assert data.train_x.max() == 255 and data.train_x.min() == 0
    # The set's labels begin 0 1 2 3 4 5 6 7 8 9 0 1 ...: 4 and 9 are the first for testing.
    assert data.train_y[:10].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 0, 1]
    assert data.test_y[:3].tolist() == [4, 9, 4]


def real(name: str, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Load a set through the loader's own search, or skip if the search does not find it.

    FQT_DATA_DIR is the developer's, else the folder shared/data beside the repository if there is one.
    """
    monkeypatch.setenv("FQT_DATA_DIR", OUTER_DATA_DIR or str(REPOSITORY.parent / "shared" / "data"))
    found, places = find_on_this_machine(NAMED_SETS[name], None)
    if found is None:
        pytest.skip(f"{name} not in {', '.join(places)}: {NAMED_SETS[name].get_it}")
    return load(name, download=False)


OUTER_DATA_DIR = os.environ.get("FQT_DATA_DIR")


# SHA-256 of the canonical files' contents behind the idx header.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "mnist",
            [
                "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
                "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
                "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
                "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            ],
        ),
        (
            "fashion-mnist",
            [
                "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
                "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
                "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
                "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
            ],
        ),
    ],
)
def test_canonical_content(name: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = real(name, monkeypatch)
    check_form(data)
    assert data.train_x.shape == (60000, 28, 28, 1) and data.test_x.shape == (10000, 28, 28, 1)
    assert (data.name, data.classes, data.scale, data.zero) == (name, 10, ONE_255TH, 0)
    labels = [data.train_y.astype(np.uint8), data.test_y.astype(np.uint8)]
    assert [digest(a) for a in (data.train_x, labels[0], data.test_x, labels[1])] == expected


def test_real_kmnist(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real("kmnist", monkeypatch)
    check_form(data)
    x, y = data.test_x, data.test_y
    if data.name == "kmnist-test-part":
        assert (len(data.train_x), len(data.test_x)) == (8000, 2000)
        x, y = np.concatenate((data.train_x, x)), np.concatenate((data.train_y, y))
    assert digest(x) == "dc10e73c6e83fb3fb3586eafece217ab6602e7825fa7d49399359bde3fc66f07"
    assert digest(y.astype(np.uint8)) == "77d83a49ca5434c5da77399edc7143065cb3a7b0834e2898ea3094e8c2b21a3c"


# --- idx sets made here -------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def labels(count: int, classes: int = 10, first: int = 0) -> np.ndarray:
    return (np.arange(count) % classes + first).astype(np.uint8)


def arrays(first: int = 0) -> list[np.ndarray]:
    return [images(12, 1), labels(12, first=first), images(5, 2), labels(5, first=first)]


def write_idx(named: NamedSet, folder: Path, contents: list[np.ndarray], gz: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(named.idx_files, contents, strict=True):
        data = idx_bytes(array)
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / name).write_bytes(data)


MNIST, FASHION, KMNIST = NAMED_SETS["mnist"], NAMED_SETS["fashion-mnist"], NAMED_SETS["kmnist"]


def assert_holds(data: Dataset, contents: list[np.ndarray]) -> None:
    check_form(data)
    train_x, train_y, test_x, test_y = contents
    assert np.array_equal(data.train_x[..., 0], train_x) and np.array_equal(data.test_x[..., 0], test_x)
    assert data.train_y.tolist() == train_y.tolist() and data.test_y.tolist() == test_y.tolist()


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_idx_set_in_every_folder_variant(name: str, gz: bool, tmp_path: Path) -> None:
    named = NAMED_SETS[name]
    for number, variant in enumerate(("", *named.folders)):
        root = tmp_path / str(number)
        contents = [images(12, number), labels(12), images(5, 100 + number), labels(5)]
        write_idx(named, root / variant, contents, gz)
        data = load(name, root)
        assert_holds(data, contents)
        assert (data.name, data.classes, data.scale, data.zero) == (name, 10, ONE_255TH, 0)


def test_names_in_any_spelling(tmp_path: Path) -> None:
    write_idx(FASHION, tmp_path, arrays())
    assert load("Fashion_MNIST", str(tmp_path)).name == "fashion-mnist"


@pytest.mark.parametrize(("name", "first", "names"), [("emnist-letters", 1, "ABCZ"), ("emnist-digits", 0, "0129")])
def test_emnist_is_transposed_back(name: str, first: int, names: str, tmp_path: Path) -> None:
    stored = [images(12, 1), labels(12, first=first), images(5, 2), labels(5, first=first)]
    write_idx(NAMED_SETS[name], tmp_path / "gzip", stored, gz=True)
    data = load(name, tmp_path)
    turned = [stored[0].swapaxes(1, 2), labels(12), stored[2].swapaxes(1, 2), labels(5)]
    assert_holds(data, turned)
    assert data.label_names is not None
    assert data.label_names[:3] + data.label_names[-1:] == tuple(names)
    assert data.classes == (26 if first else 10)


def test_emnist_letters_have_labels_1_to_26(tmp_path: Path) -> None:
    named = NAMED_SETS["emnist-letters"]
    contents = [images(3, 1), np.array([1, 26, 2]), images(2, 2), np.array([26, 1])]
    write_idx(named, tmp_path, contents)
    assert load(named.name, tmp_path).train_y.tolist() == [0, 25, 1]
    for bad in (0, 27):
        write_idx(named, tmp_path, [*contents[:3], np.array([1, bad])])
        text = message(lambda: load(named.name, tmp_path))
        assert "emnist-letters-test-labels-idx1-ubyte" in text
        assert f"label {bad} of sample 1 is outside 1..26" in text


def write_kmnist_npz(folder: Path, contents: list[np.ndarray], parts: slice = slice(None)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    assert KMNIST.npz_files is not None
    for name, array in list(zip(KMNIST.npz_files, contents, strict=True))[parts]:
        np.savez_compressed(folder / name, arr_0=array)


def test_kmnist_npz(tmp_path: Path) -> None:
    write_kmnist_npz(tmp_path, arrays())
    data = load("kmnist", tmp_path)
    assert_holds(data, arrays())
    assert data.name == "kmnist"


def test_kmnist_test_part_alone_is_split_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, y = images(10, 3), labels(10)
    write_kmnist_npz(tmp_path / "kmnist", [x, y, x, y], slice(2, 4))
    with caplog.at_level(logging.WARNING):
        data = load("kmnist", tmp_path)
    assert_holds(data, [x[:8], y[:8], x[8:], y[8:]])
    assert data.name == "kmnist-test-part"
    assert [r.getMessage() for r in caplog.records] == [
        f"fqt: kmnist: only the test part is in {tmp_path / 'kmnist'}: first 8 images for training, last 2 for testing"
    ]


def test_kmnist_test_part_warning_reaches_stderr(tmp_path: Path) -> None:
    x, y = images(10, 3), labels(10)
    write_kmnist_npz(tmp_path, [x, y, x, y], slice(2, 4))
    code = "import sys; from fqt_ref.datasets import load; load('kmnist', sys.argv[1])"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == ""
    assert ran.stderr.startswith("fqt: kmnist: only the test part is in ") and ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("which", "array", "expected"),
    [
        (
            2,
            images(5, 1).astype(np.float32),
            "'arr_0' is float32 of shape (5, 28, 28), not uint8 in 3 dimension(s)",
        ),
        (2, images(5, 1)[..., np.newaxis], "'arr_0' is uint8 of shape (5, 28, 28, 1), not uint8 in 3"),
        (2, images(0, 1), "'arr_0' is uint8 of shape (0, 28, 28)"),
        (3, labels(5).reshape(5, 1), "'arr_0' is uint8 of shape (5, 1), not uint8 in 1 dimension(s)"),
        (3, labels(4), "4 labels for 5 images"),
    ],
)
def test_kmnist_npz_errors(which: int, array: np.ndarray, expected: str, tmp_path: Path) -> None:
    contents = arrays()
    contents[which] = array
    write_kmnist_npz(tmp_path, contents)
    text = message(lambda: load("kmnist", tmp_path))
    assert KMNIST.npz_files is not None
    assert expected in text and KMNIST.npz_files[which] in text


def test_kmnist_npz_with_another_array_name(tmp_path: Path) -> None:
    write_kmnist_npz(tmp_path, arrays())
    np.savez(tmp_path / "kmnist-train-imgs.npz", other=images(12, 1))
    text = message(lambda: load("kmnist", tmp_path))
    assert "kmnist-train-imgs.npz: has no array 'arr_0', only other" in text


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    x, y = images(1, 3), labels(1)
    write_kmnist_npz(tmp_path, [x, y, x, y], slice(2, 4))
    assert "one image cannot be split" in message(lambda: load("kmnist", tmp_path))


@pytest.mark.parametrize(
    ("which", "array", "expected"),
    [
        (1, labels(11), "train-labels-idx1-ubyte: 11 labels for 12 images"),
        (3, labels(6), "t10k-labels-idx1-ubyte: 6 labels for 5 images"),
        (1, labels(12, 11), "train-labels-idx1-ubyte: label 10 of sample 10 is outside 0..9"),
        (3, np.array([1, 2, 255, 10, 3]), "t10k-labels-idx1-ubyte: label 255 of sample 2 is outside 0..9"),
        (0, np.zeros((12, 28, 27)), "train-images-idx3-ubyte: images of 28 x 27, mnist's are 28 x 28"),
        (2, np.zeros((5, 8, 8)), "t10k-images-idx3-ubyte: images of 8 x 8, mnist's are 28 x 28"),
        (0, labels(12), "train-images-idx3-ubyte: begins with 0x00000801"),
        (1, images(12, 1), "train-labels-idx1-ubyte: begins with 0x00000803"),
        (0, np.zeros((0, 28, 28)), "train-images-idx3-ubyte: is empty, its header says 0 x 28 x 28"),
        (3, np.zeros(0), "t10k-labels-idx1-ubyte: is empty, its header says 0"),
    ],
)
def test_idx_files_that_do_not_fit(which: int, array: np.ndarray, expected: str, tmp_path: Path) -> None:
    contents = arrays()
    contents[which] = array
    write_idx(MNIST, tmp_path, contents)
    assert expected in message(lambda: load("mnist", tmp_path))


# --- the idx parser -----------------------------------------------------------------------------------------

SMALL = np.arange(1, 25, dtype=np.uint8).reshape(2, 3, 4)
SMALL_IDX = idx_bytes(SMALL)


def in_file(content: bytes, action: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        return action(path)


def parse(content: bytes, dimensions: int = 3) -> np.ndarray:
    return in_file(content, lambda path: read_idx(path, dimensions))


def test_idx_bytes_by_hand() -> None:
    content = bytes.fromhex("00000803 00000001 00000002 00000003 0a0b0c0d0e0f")
    assert parse(content).tolist() == [[[10, 11, 12], [13, 14, 15]]]
    assert parse(gzip.compress(content)).tolist() == [[[10, 11, 12], [13, 14, 15]]]
    assert parse(bytes.fromhex("00000801 00000002 0709"), 1).tolist() == [7, 9]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "begins with 0x, an idx file of bytes in 3 dimension(s) with 0x00000803"),
        (b"hello, world", "begins with 0x68656c6c"),
        (bytes.fromhex("03080000 02000000 03000000 04000000") + bytes(24), "begins with 0x03080000"),
        (bytes.fromhex("00000d03 00000001 00000001 00000001 00000000"), "begins with 0x00000d03"),
        (SMALL_IDX[:15], "ends within the idx header"),
        (SMALL_IDX[:-1], "its header says 2 x 3 x 4 = 24 bytes of data, it holds only 23"),
        (SMALL_IDX[:16], "it holds only 0"),
        (SMALL_IDX + b"\0", "its header says 2 x 3 x 4 = 24 bytes of data, it holds more"),
        (
            bytes.fromhex("00000803 ffffffff ffffffff ffffffff 00"),
            f"= {0xFFFFFFFF**3} bytes of data, it holds only 1",
        ),
        (gzip.compress(SMALL_IDX, mtime=0)[:-9], "damaged gzip file"),
        (gzip.compress(SMALL_IDX, mtime=0)[:12], "damaged gzip file"),
        (gzip.compress(SMALL_IDX, mtime=0)[:-8] + bytes(8), "damaged gzip file (CRC check failed"),
        (b"\x1f\x8b", "damaged gzip file"),
        (gzip.compress(SMALL_IDX, mtime=0) + b"junk", "damaged gzip file"),
        (gzip.compress(SMALL_IDX + b"\0", mtime=0), "it holds more"),
    ],
)
def test_damaged_idx(content: bytes, expected: str) -> None:
    text = message(lambda: parse(content))
    assert expected in text and "/file: " in text


def test_unreadable_idx(tmp_path: Path) -> None:
    assert f"{tmp_path}: cannot be read (Is a directory)" in message(lambda: read_idx(tmp_path, 3))
    assert "cannot be read (No such file" in message(lambda: read_idx(tmp_path / "none", 3))


@settings(deadline=None)
@given(st.integers(0, len(SMALL_IDX) - 1), st.booleans())
def test_every_truncation_is_an_fqt_error(length: int, gz: bool) -> None:
    content = gzip.compress(SMALL_IDX[:length]) if gz else SMALL_IDX[:length]
    message(lambda: parse(content))


@settings(deadline=None)
@given(st.integers(0, len(SMALL_IDX) - 1), st.integers(1, 255))
def test_every_changed_byte_is_an_error_or_that_byte_of_data(position: int, change: int) -> None:
    changed = bytearray(SMALL_IDX)
    changed[position] ^= change
    if position < 16:
        message(lambda: parse(bytes(changed)))
    else:
        assert parse(bytes(changed)).tobytes() == bytes(changed[16:])


GZIPPED = gzip.compress(SMALL_IDX, mtime=0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GZIPPED) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 60))
def test_damaged_gzip_is_an_error_or_harmless(changes: list[tuple[int, int]], cut: int) -> None:
    changed = bytearray(GZIPPED)
    for position, value in changes:
        changed[position] = value
    content = bytes(changed[: len(changed) - max(0, cut - 30)])
    try:
        array = parse(content)
    except FqtError:
        assert content != GZIPPED
    else:  # only bytes of the gzip header that carry no data
        assert np.array_equal(array, SMALL)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_array_or_an_fqt_error(content: bytes) -> None:
    for prefix in (b"", b"\0\0\x08\x01", b"\x1f\x8b\x08\0"):
        try:
            array = parse(prefix + content, 1)
        except FqtError:
            continue
        assert array.size > 0 and (prefix + content).endswith(array.tobytes())


# --- search -------------------------------------------------------------------------------------------------


def no_system_folder(named: NamedSet) -> NamedSet:
    return replace(named, system_folder=None)


def test_environment_then_system_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_environment = [images(3, 1), labels(3), images(2, 2), labels(2)]
    in_system = [images(3, 3), labels(3), images(2, 4), labels(2)]
    in_argument = [images(3, 5), labels(3), images(2, 6), labels(2)]
    write_idx(FASHION, tmp_path / "e" / "fashion-mnist", in_environment)
    write_idx(FASHION, tmp_path / "s", in_system, gz=True)
    write_idx(FASHION, tmp_path / "a", in_argument)
    named = replace(FASHION, system_folder=tmp_path / "s")
    assert_holds(load_named(named, download=False), in_system)
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path / "e"))
    assert_holds(load_named(named, download=False), in_environment)
    assert_holds(load_named(named, tmp_path / "a", download=False), in_argument)
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path / "nowhere"))
    assert_holds(load_named(named, download=False), in_system)
    monkeypatch.setenv("FQT_DATA_DIR", "")
    assert_holds(load_named(named, download=False), in_system)


def test_data_dir_alone_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(MNIST, tmp_path / "e", arrays())
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path / "e"))
    (tmp_path / "empty").mkdir()
    text = message(lambda: load("mnist", tmp_path / "empty"))
    assert f"mnist: the data folder {tmp_path / 'empty'} is empty: it lacks train-images-idx3-ubyte[.gz]" in text


def test_folder_of_another_set_is_passed_over(tmp_path: Path) -> None:
    write_idx(MNIST, tmp_path / "mnist", arrays())
    write_idx(MNIST, tmp_path / "MNIST" / "raw", arrays())
    assert load("mnist", tmp_path / "mnist").name == "mnist"
    write_idx(KMNIST, tmp_path / "gzip", arrays())  # EMNIST's archive unpacks into gzip, but anyone's may
    assert load("kmnist", tmp_path / "gzip").name == "kmnist"
    for folder in (tmp_path / "mnist", tmp_path / "MNIST" / "raw"):
        text = message(functools.partial(load, "kmnist", folder))
        assert f"kmnist: the data folder {folder} by its name is another set's" in text


def test_folder_that_lacks_one_file(tmp_path: Path) -> None:
    for subfolder in ("", "MNIST/raw"):
        folder = tmp_path / str(len(subfolder)) / subfolder
        write_idx(MNIST, folder, arrays())
        (folder / MNIST.idx_files[1]).unlink()
        text = message(functools.partial(load, "mnist", tmp_path / str(len(subfolder))))
        assert f" lacks train-labels-idx1-ubyte[.gz] in {folder};" in text


def test_folder_with_other_files_only(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    text = message(lambda: load("emnist-letters", tmp_path))
    assert "lacks emnist-letters-train-images-idx3-ubyte[.gz], " in text
    assert "also in its subfolders emnist-letters, emnist," in text
    assert "biometrics.nist.gov" in text


def test_data_folder_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("none", "file"):
        text = message(functools.partial(load, "mnist", tmp_path / name))
        assert f"the data folder {tmp_path / name} does not exist (or is a file)" in text


def test_not_found_says_where_it_was_sought_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = replace(FASHION, system_folder=tmp_path / "system")
    text = message(lambda: load_named(named, download=False))
    assert text == (
        f"fashion-mnist: not found in FQT_DATA_DIR (not set), {tmp_path / 'system'}; download: turned off "
        f"(and not in the cache {tmp_path / 'user-cache' / 'fqt' / 'fashion-mnist'}); to get it, "
        "apt-get install dataset-fashion-mnist, or put the four files into a folder, "
        "and name the folder with --data-dir or FQT_DATA_DIR"
    )
    monkeypatch.setenv("FQT_DATA_DIR", str(tmp_path / "none"))
    assert f"FQT_DATA_DIR={tmp_path / 'none'} (no such folder)" in message(lambda: load("mnist", download=False))
    (tmp_path / "none").mkdir()
    text = message(lambda: load("kmnist", download=False))
    assert f"FQT_DATA_DIR={tmp_path / 'none'} (is empty: it lacks train-images" in text
    assert "kmnist-test-labels.npz; the last two will do" in text


def test_emnist_is_not_downloaded() -> None:
    text = message(lambda: load("emnist-digits"))
    assert "no download is offered; to get it, unpack https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip" in text


# --- download -----------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    requested: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve tmp_path/home on 127.0.0.1."""
    pytest.importorskip("pooch", reason="the download needs pooch: pip install pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "home").mkdir()
    with Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "home"))) as made:
        made.requested = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def served(tmp_path: Path) -> tuple[NamedSet, list[np.ndarray]]:
    """Write a set into the server's folder; return it with its files' checksums."""
    contents = arrays()
    write_idx(KMNIST, tmp_path / "home", contents, gz=True)
    a, b, c, d = (hashlib.md5((tmp_path / "home" / f"{name}.gz").read_bytes()).hexdigest() for name in KMNIST.idx_files)
    return replace(KMNIST, md5=(a, b, c, d)), contents


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/"


def test_download_into_the_cache_and_from_it(tmp_path: Path, server: Server) -> None:
    named, contents = served(tmp_path)
    cache = tmp_path / "cache"
    assert_holds(load_named(named, base_url=url_of(server), cache=cache), contents)
    assert server.requested == [f"/{name}.gz" for name in named.idx_files]
    assert sorted(p.name for p in (cache / "kmnist").iterdir()) == sorted(f"{n}.gz" for n in named.idx_files)

    assert_holds(load_named(named, download=False, base_url=url_of(server), cache=cache), contents)
    assert len(server.requested) == 4

    damaged = cache / "kmnist" / f"{named.idx_files[2]}.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert "turned off" in message(lambda: load_named(named, download=False, cache=cache))
    assert_holds(load_named(named, base_url=url_of(server), cache=cache), contents)
    assert server.requested[4:] == [f"/{named.idx_files[2]}.gz"]


def test_user_cache_by_default(tmp_path: Path, server: Server) -> None:
    named, contents = served(tmp_path)
    assert_holds(load_named(named, base_url=url_of(server)), contents)
    assert (tmp_path / "user-cache" / "fqt" / "kmnist" / f"{named.idx_files[0]}.gz").is_file()


def test_download_with_a_wrong_checksum(tmp_path: Path, server: Server) -> None:
    named, _ = served(tmp_path)
    path = tmp_path / "home" / f"{named.idx_files[1]}.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    cache = tmp_path / "cache"
    text = message(lambda: load_named(named, base_url=url_of(server), cache=cache))
    assert named.md5 is not None
    assert f"download: {url_of(server)}{named.idx_files[1]}.gz: wrong checksum" in text and named.md5[1] in text
    assert "kmnist: not found in FQT_DATA_DIR (not set); " in text and "--data-dir" in text
    assert [p.name for p in (cache / "kmnist").iterdir()] == [f"{named.idx_files[0]}.gz"]


def test_download_of_a_missing_file(tmp_path: Path, server: Server) -> None:
    named, _ = served(tmp_path)
    (tmp_path / "home" / f"{named.idx_files[0]}.gz").unlink()
    text = message(lambda: load_named(named, base_url=url_of(server), cache=tmp_path / "cache"))
    assert "download: " in text and "404" in text and "to get it, download the files of" in text


def test_download_without_a_server(tmp_path: Path, server: Server) -> None:
    named, _ = served(tmp_path)
    url = url_of(server)
    server.shutdown()
    server.server_close()
    text = message(lambda: load_named(named, base_url=url, cache=tmp_path / "cache"))
    assert f"download: {url}{named.idx_files[0]}.gz: no connection to the server (and not in the cache" in text


def test_download_into_a_cache_that_is_a_file(tmp_path: Path, server: Server) -> None:
    named, _ = served(tmp_path)
    (tmp_path / "cache").write_text("")
    text = message(lambda: load_named(named, base_url=url_of(server), cache=tmp_path / "cache"))
    assert f"cannot write into the cache {tmp_path / 'cache' / 'kmnist'}" in text


def test_download_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert "downloads need pooch" in message(lambda: load_named(no_system_folder(FASHION)))


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "pip install scikit-learn" in message(lambda: load("digits"))


def test_checksums_and_homes() -> None:
    for named in NAMED_SETS.values():
        assert (named.base_url is None) == (named.md5 is None)
        if named.base_url and named.md5:
            assert named.base_url.endswith("/") and len(set(named.md5)) == 4
            assert all(len(md5) == 32 and int(md5, 16) > 0 for md5 in named.md5)


# --- the user's own file ------------------------------------------------------------------------------------

KERAS = ("x_train", "y_train", "x_test", "y_test")
TURNED = ("train_x", "train_y", "test_x", "test_y")


def own(tmp_path: Path, keys: tuple[str, ...] = KERAS, **changes: Any) -> Path:
    """Write an .npz of 4 + 2 images of 2 x 3 x 1 in 3 classes, with some arrays replaced."""
    content: dict[str, Any] = {
        "x_train": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "y_train": np.array([0, 2, 1, 0]),
        "x_test": np.arange(100, 112, dtype=np.uint8).reshape(2, 2, 3),
        "y_test": np.array([2, 1]),
    }
    content |= changes
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **{key: content[name] for key, name in zip(keys, KERAS, strict=True)})
    return path


@pytest.mark.parametrize("keys", [KERAS, TURNED])
def test_own_bytes(keys: tuple[str, ...], tmp_path: Path) -> None:
    data = load(own(tmp_path, keys))
    check_form(data)
    assert data.train_x.shape == (4, 2, 3, 1) and data.train_x.ravel().tolist() == list(range(24))
    assert data.test_x.shape == (2, 2, 3, 1) and data.test_x.ravel().tolist() == list(range(100, 112))
    assert (data.name, data.classes, data.scale, data.zero) == ("mine", 3, ONE_255TH, 0)
    assert (data.train_y.tolist(), data.test_y.tolist(), data.label_names) == ([0, 2, 1, 0], [2, 1], None)


def test_own_with_channels_column_labels_and_foreign_order(tmp_path: Path) -> None:
    x = np.arange(72, dtype=np.uint8).reshape(4, 2, 3, 3)
    path = own(
        tmp_path,
        x_train=np.asfortranarray(x),
        x_test=x[:2],
        y_train=np.array([[0], [1], [0], [1]], dtype=">u2"),
        y_test=np.array([0, 1], dtype=np.int8),
    )
    data = load(str(path))
    check_form(data)
    assert np.array_equal(data.train_x, x) and data.train_y.tolist() == [0, 1, 0, 1]


def quantized_exactly(value: float, scale: np.float32, zero: int) -> int:
    """floor(v / scale + zero + 0.5), clipped, each operation rounded to float32 from its exact value."""

    def f32(x: Fraction) -> Fraction:
        low = np.float32(float(x))
        candidates = [low, np.nextafter(low, np.float32(np.inf)), np.nextafter(low, np.float32(-np.inf))]
        best = min(candidates, key=lambda c: (abs(Fraction(float(c)) - x), int(c.view(np.uint32)) & 1))
        return Fraction(float(best))

    quotient = f32(Fraction(value) / Fraction(float(scale)))
    shifted = f32(f32(quotient + zero) + Fraction(1, 2))
    return min(255, max(0, shifted.numerator // shifted.denominator))


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4", "<i2", ">i4", "<u2", "?"])
def test_own_numbers_are_real_values(kind: str, tmp_path: Path) -> None:
    train = (np.random.default_rng(5).random((4, 2, 3)) * 300).astype(kind)
    data = load(own(tmp_path, x_train=train, x_test=train[:2]))
    check_form(data)
    assert data.scale is None and np.array_equal(data.train_x[..., 0], train.astype(np.float32))
    assert np.array_equal(real_values(data, "test", 1), train[:1, ..., np.newaxis].astype(np.float32))


def test_real_values_are_quantized_exactly(tmp_path: Path) -> None:
    train, test = np.random.default_rng(5).random((4, 2, 3)) * 3 - 1, np.random.default_rng(6).random((2, 2, 3)) * 5 - 2
    train[1, 0, 0], train[2, 1, 1], train[0, 0, 0] = -1.0, 2.0, 0.0
    test[0, 0, 0], test[0, 0, 1] = -50.0, 50.0
    data = load(own(tmp_path, x_train=train, x_test=test))
    grid = input_grid_for(data)
    assert grid == (np.float32(3) / np.float32(255), 85)
    placed = on_grid(data, grid).data
    check_form(placed)
    for stored, values in ((placed.train_x, train), (placed.test_x, test)):
        expected = [quantized_exactly(float(np.float32(v)), *grid) for v in values.ravel()]
        assert stored.ravel().tolist() == expected
    assert placed.train_x[1, 0, 0, 0] == 0 and placed.train_x[2, 1, 1, 0] == 255 and placed.train_x[0, 0, 0, 0] == 85
    assert placed.test_x[0, 0, 0, 0] == 0 and placed.test_x[0, 0, 1, 0] == 255


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (0.25, 1.0, np.float32(1) / np.float32(255), 0),  # 0 is part of the range
        (-2.0, -1.0, np.float32(2) / np.float32(255), 255),
        (-1.0, 1.0, np.float32(2) / np.float32(255), 127),  # the rounded scale is above 2/255: 127.49999
        (-0.5, 254.5, np.float32(1), 1),  # exactly half goes up
        (-0.25, 254.75, np.float32(1), 0),
    ],
)
def test_scale_and_zero_point(low: float, high: float, scale: np.float32, zero: int, tmp_path: Path) -> None:
    train = np.full((4, 2, 3), (low + high) / 2, np.float32)
    train[0, 0, 0], train[3, 1, 2] = low, high
    assert input_grid_for(load(own(tmp_path, x_train=train, x_test=train[:2]))) == (scale, zero)


def test_floats_beyond_one_chunk(tmp_path: Path) -> None:
    train = (np.arange(2500 * 2) % 256).astype(np.float32).reshape(2500, 1, 2)
    data = load(own(tmp_path, x_train=train, y_train=np.arange(2500) % 3, x_test=train[:2]))
    grid = input_grid_for(data)
    assert grid == (np.float32(1), 0)
    assert on_grid(data, grid).data.train_x.ravel().tolist() == [i % 256 for i in range(5000)]
    train[2047, 0, 1] = np.nan
    text = message(lambda: load(own(tmp_path, x_train=train, y_train=np.arange(2500) % 3, x_test=train[:2])))
    assert "'x_train': sample 2047 holds a NaN" in text


def floats(*values: float) -> np.ndarray:
    x = np.linspace(0, 1, 24, dtype=np.float64).reshape(4, 2, 3)
    for index, value in enumerate(values):
        x[index + 1, 1, 2] = value
    return x


BYTES = np.zeros((4, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"x_train": floats(0, np.nan, np.inf), "x_test": floats()[:2]}, "'x_train': sample 2 holds a NaN"),
        ({"x_train": floats(-np.inf), "x_test": floats()[:2]}, "'x_train': sample 1 holds a NaN or"),
        ({"x_train": floats(), "x_test": floats(np.inf)[:2]}, "'x_test': sample 1 holds a NaN or"),
        (
            {"x_train": floats(1e39), "x_test": floats()[:2]},
            "'x_train': sample 1 holds a NaN or a value beyond",
        ),
        ({"x_train": floats()}, "images of 'x_train' are 2 x 3 x 1 float64, of 'x_test' 2 x 3 x 1 uint8"),
        ({"x_test": np.zeros((2, 3, 2), np.uint8)}, "are 2 x 3 x 1 uint8, of 'x_test' 3 x 2 x 1 uint8"),
        ({"x_train": BYTES.astype(np.int64)}, "images of 'x_train' are 2 x 3 x 1 int64, of 'x_test' 2 x 3 x 1 uint8"),
        ({"x_test": BYTES.astype(np.complex64)}, "'x_test' is complex64"),
        ({"x_train": np.array([["a"]])}, "'x_train' is <U1"),
        ({"x_train": BYTES[0, 0]}, "'x_train' has shape (3,); samples must be [N,n], [N,H,W] or [N,H,W,C]"),
        ({"x_train": BYTES[np.newaxis, np.newaxis]}, "'x_train' has shape (1, 1, 4, 2, 3)"),
        ({"x_train": BYTES[:0], "y_train": np.zeros(0, int)}, "'x_train' is empty, shape (0, 2, 3, 1)"),
        ({"x_test": BYTES[:, :0]}, "'x_test' is empty, shape (4, 0, 3, 1)"),
        (
            {"x_train": np.zeros((4, 65536, 1), np.uint8)},
            "'x_train' has shape (4, 65536, 1, 1); dimensions go up to",
        ),
        ({"y_train": np.array([0, 1, 2])}, "'y_train': 3 labels for 4 images"),
        ({"y_test": np.zeros(0, int)}, "'y_test': 0 labels for 2 images"),
        ({"y_train": np.array([0, 1, -1, -2])}, "'y_train': label -1 of sample 2 is outside 0..1022"),
        ({"y_train": np.array([0, 1, 1023, 1])}, "'y_train': label 1023 of sample 2 is outside 0..1022"),
        ({"y_train": np.array([0, 2**64 - 1, 1, 1], np.uint64)}, "label 18446744073709551615 of sample 1"),
        ({"y_test": np.array([-1, 3])}, "label -1 of sample 0 is outside 0..1022"),
        ({"y_train": np.array([0.0, 1.5, 2.0, 0.0])}, "'y_train': label 1.5 of sample 1 is no whole number"),
        ({"y_train": np.array([0.0, 1.0, np.nan, 0.0])}, "'y_train': label nan of sample 2 is no whole number"),
        ({"y_train": np.array(["a", "b", "a", "b"])}, "'y_train' is <U1; labels must be whole numbers"),
        (
            {"y_train": np.eye(4, dtype=int)},
            "'y_train' has shape (4, 4); labels must be [N], one class number a sample: if they are one-hot",
        ),
        ({"y_train": np.array(3)}, "'y_train' has shape (); labels must be [N]"),
        ({"x_train": np.array([None])}, "'x_train' holds Python objects (pickle)"),
        ({"y_test": np.array([{}, 1])}, "'y_test' holds Python objects (pickle)"),
    ],
)
def test_own_file_with_a_fault(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = own(tmp_path, **changes)
    text = message(lambda: load(path))
    assert text.startswith(f"{path}: ") and expected in text


def test_1023_classes_are_allowed(tmp_path: Path) -> None:
    assert load(own(tmp_path, y_train=np.array([0, 1, 1022, 2]))).classes == 1023


def test_own_file_with_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=BYTES, y=np.zeros(4, int))
    text = message(lambda: load(tmp_path / "a.npz"))
    assert "a.npz: holds x, y; it must hold x_train, y_train, x_test, y_test (or train_x, " in text
    np.savez(tmp_path / "b.npz")
    assert "b.npz: holds no arrays; it must hold" in message(lambda: load(tmp_path / "b.npz"))
    np.savez(tmp_path / "c.npz", x_train=BYTES, y_train=np.zeros(4, int), test_x=BYTES, test_y=np.zeros(4, int))
    assert "c.npz: holds x_train, y_train, test_x, test_y; it must" in message(lambda: load(tmp_path / "c.npz"))


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x_train,y_train\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "array.npy", BYTES)
    for name in ("text.npz", "empty.npz", "array.npy"):
        text = message(functools.partial(load, tmp_path / name))
        assert f"{name}: " in text and "not an .npz file (no zip archive)" in text
    whole = own(tmp_path).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert "cut.npz: damaged .npz file (truncated zip" in message(lambda: load(tmp_path / "cut.npz"))
    assert "is a folder; data are an .npz file" in message(lambda: load(tmp_path))
    assert "no such file" in message(lambda: load(tmp_path / "none.npz"))
    with pytest.raises(FqtError, match=r"cannot be read \(No such file"):
        load_npz(tmp_path / "none.npz")


def test_archive_member_that_is_no_array(tmp_path: Path) -> None:
    path = own(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for content, expected in (
        (b"text", "'y_train' is not a numpy array"),
        (members["y_train.npy"][:-1], "'y_train' is damaged"),
        (members["y_train.npy"].replace(b"'shape'", b"'shade'"), "'y_train' is damaged"),
        (members["y_train.npy"].replace(b"(4,)", b"(4**"), "'y_train' is damaged"),
    ):
        with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
            for name, good in members.items():
                archive.writestr(name, content if name == "y_train.npy" else good)
        assert expected in message(lambda: load(tmp_path / "bad.npz"))


with tempfile.TemporaryDirectory() as _folder:
    OWN_NPZ = own(Path(_folder)).read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(OWN_NPZ) - 1), st.integers(0, 255)), max_size=5), st.integers(0, 40))
@example([(OWN_NPZ.rindex(b"y_train.npy"), 10)], 0)  # a line break in an array's name
def test_damaged_npz_is_an_fqt_error_or_harmless(changes: list[tuple[int, int]], cut: int) -> None:
    changed = bytearray(OWN_NPZ)
    for position, value in changes:
        changed[position] = value
    content = bytes(changed[: len(changed) - max(0, cut - 20)])
    try:
        data = in_file(content, load_npz)
    except FqtError as error:
        assert content != OWN_NPZ and "\n" not in str(error)
    else:  # zip's checksums guard the arrays: only fields without effect were changed
        assert data.train_x.ravel().tolist() == list(range(24)) and data.test_y.tolist() == [2, 1]


# --- names --------------------------------------------------------------------------------------------------


def test_dataset_names() -> None:
    names = dataset_names()
    assert "mnist-c/fog" in names and "cifar10-c/glass-blur" in names
    assert tuple(name for name in names if "/" not in name) == (
        "digits",
        "mnist",
        "fashion-mnist",
        "kmnist",
        "emnist-letters",
        "emnist-digits",
        "cifar10",
        "flowers102",
        "kkanji",
        "cwru",
        "hapt",
        "arsc",
        "speech-commands",
    )


def test_unknown_name() -> None:
    text = message(lambda: load("imagenet"))
    assert "'imagenet' is neither a data set (digits, mnist, " in text and "nor a file" in text


def test_import_is_light() -> None:
    code = "import sys, fqt_ref.datasets; print([m for m in ('sklearn', 'scipy', 'pooch', 'requests', 'numba', 'PIL') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
