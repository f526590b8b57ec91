# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all, never over what is no file, and never over what a command reads as something else."""

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from fqt_ref import files, model_file
from fqt_ref.errors import FqtError
from fqt_ref.transfer import graph_file
from tests.handmade import chain
from tests.test_cli import SMALL, fqt, refused

WRITER = """
import sys
from pathlib import Path
from fqt_ref.files import write
for size in range(300_000, 300_150):
    write(Path(sys.argv[1]), sys.argv[2].encode() * size)
"""


def rests(folder) -> list[str]:
    """Names of temporary files that were left."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_new_file_has_the_permissions_of_the_umask_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "a"
    before = os.umask(0o027)
    try:
        files.write(path, b"one")
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o640)
    path.chmod(0o600)
    files.write(path, "zwei")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"zwei", 0o600)
    assert rests(tmp_path) == []


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, dangling = tmp_path / "folder" / "file", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(b"old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "folder" / "new")
    files.check_output(link)
    files.write(link, b"new")
    files.write(dangling, b"made")
    assert link.is_symlink() and dangling.is_symlink()
    assert (target.read_bytes(), (tmp_path / "folder" / "new").read_bytes()) == (b"new", b"made")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(FqtError, match="cannot write"):
        files.check_output(loop)


def test_what_is_no_file_is_never_replaced(tmp_path):
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to("/dev/null")
    for path, kind in ((pipe, "a pipe"), (folder, "a folder"), (link, "a device")):
        for function in (files.check_output, lambda path: files.write(path, b"data")):
            with pytest.raises(FqtError, match=f"cannot write .*{kind}"):
                function(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and folder.is_dir() and link.is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(FqtError, match="No space left"):
        files.write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert rests(tmp_path) == []


def test_two_writers_at_once_and_no_reader_sees_a_part(tmp_path):
    path = tmp_path / "both"
    files.write(path, b"0")
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE) for letter in ("a", "b")]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        data = path.read_bytes()
        assert data == b"0" or (len(data) >= 300_000 and data == data[:1] * len(data))
        reads += 1
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert reads > 10
    assert rests(tmp_path) == []


# ---- Commands ----


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "m.fqt"
    model_file.write(path, chain(np.random.RandomState(0), "uint8").network("chain"))
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    rng, path = np.random.RandomState(0), tmp_path_factory.mktemp("data") / "mine.npz"
    x, y = rng.rand(24, 8, 8).astype(np.float32), np.arange(24) % 4
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["train", *SMALL, "-o", "OUT"],
        ["train", *SMALL, "-o", "m.fqt", "--plot", "OUT.png"],
        ["import", "MODEL", "-o", "OUT"],
        ["export", "MODEL", "-o", "OUT"],
        ["info", "MODEL", "--plot", "OUT.png"],
        ["quantize", "MODEL", "--data", "digits", "-o", "OUT"],
        ["retrain", "MODEL", "--data", "digits", "-o", "OUT"],
        ["retrain", "MODEL", "--data", "digits", "-o", "m.fqt", "--plot", "OUT.png"],
        ["golden", "--golden-dir", "OUT"],
        ["transfer", "--data", "digits", "-o", "OUT"],
    ],
)
def test_an_output_that_cannot_be_is_found_before_the_work(model, tmp_path, monkeypatch, command):
    """OUT lies in a folder that is a file: even root cannot write there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    text = [part.replace("OUT", str(tmp_path / "file" / "out")).replace("MODEL", str(model)) for part in command]
    with monkeypatch.context() as patched:
        patched.setattr("fqt_ref.datasets.load", lambda *arguments: pytest.fail("the data were loaded"))
        patched.setattr("fqt_ref.model_file.read", lambda *arguments: pytest.fail("the model was read"))
        patched.setattr("fqt_ref.golden.generate", lambda *arguments: pytest.fail("the vectors were made"))
        line = refused(*text)
    assert "cannot write" in line and "choose another" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_outputs_that_are_no_files(model, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "it is a device" in refused("train", *SMALL, "-o", "/dev/null")
    assert "it is a pipe" in refused("export", model, "-o", pipe)
    assert "there is no folder" in refused("train", *SMALL, "-o", tmp_path / "none" / "m.fqt")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_input_is_not_lost_to_another_format(model, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, link, hard = model.read_bytes(), tmp_path / "link", tmp_path / "hard"
    source = tmp_path / "m.onnx"
    source.write_bytes(b"a network")
    link.symlink_to(model)
    os.link(model, hard)
    for output in (model, link, hard):
        assert "choose another file with -o" in refused("export", model, "-o", output)
    assert "a model file of fqt already" in refused("import", model, "-o", model)
    assert "choose another file with -o" in refused("import", source, "-o", source)
    assert "choose another file with -o" in refused("train", *SMALL, "--data", samples, "-o", samples)
    assert "choose another file with -o" in refused("quantize", samples, "--data", "digits", "-o", samples)
    assert "choose another file with -o" in refused("retrain", model, "--data", samples, "-o", samples)
    assert "choose another file with --plot" in refused("train", *SMALL, "-o", "a.png", "--plot", "a.png")
    assert "pictures are files of" in refused("info", model, "--plot", model)
    assert model.read_bytes() == before
    with np.load(samples) as found:
        assert len(found["x_train"]) == 24


def test_a_model_may_go_on_in_its_own_file(tmp_path):
    path = tmp_path / "m.fqt"
    assert fqt("train", *SMALL, "--epochs", 1, "-o", path).returncode == 0
    before = path.read_bytes()
    assert fqt("train", "--from", path, "--epochs", 1, "-o", path).returncode == 0
    assert path.read_bytes() != before


def test_a_training_goes_on_when_its_file_cannot_be_written_for_a_while(tmp_path, monkeypatch):
    path, write, calls = tmp_path / "m.fqt", files.write, []

    def sometimes(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise FqtError(f"cannot write {path}: No space left on device")
        write(*arguments)

    monkeypatch.setattr(files, "write", sometimes)
    done = fqt("train", *SMALL, "--epochs", 3, "-o", path)
    assert done.returncode == 0
    assert "No space left on device. The training goes on" in done.stderr and "epoch 3" in done.stderr
    assert len(calls) == 4 and model_file.read(path).name == "digits-mlp"


def test_networks_of_the_desktop_are_written_whole(tmp_path, monkeypatch):
    from fqt_ref.models import describe_network
    from fqt_ref.models.describe import graph_of

    graph, path = graph_of("digits-mlp", describe_network("digits-mlp", (8, 8, 1), 10), (8, 8, 1)), tmp_path / "new" / "g.npz"
    graph_file.write(path, graph)
    before = path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "broken disk")))
    with pytest.raises(FqtError, match="broken disk"):
        graph_file.write(path, graph, {"more": 1})
    assert path.read_bytes() == before and len(graph_file.read(path)[0].nodes) == len(graph.nodes)
