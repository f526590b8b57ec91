# SPDX-License-Identifier: Apache-2.0
"""PyTorch files whose pickles, sizes, operators or code would do something: nothing of it happens, and one line says why."""

import io
import json
import pickle
import warnings
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra fqt[torch] is not installed")
pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")

from graph_interpreter import logits  # noqa: E402
from torch import nn  # noqa: E402

from fqt_ref.convert import load  # noqa: E402
from fqt_ref.errors import FqtError  # noqa: E402

PROGRAM, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS = "data/weights/model_weights_config.json"


class Evil:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The members of a .pt2 file, and its module."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    batch = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch), path)
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}, module


def written(folder, members, compression=zipfile.ZIP_STORED):
    path = folder / "net.pt2"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"net/{name}", data)
    return path


def line_of(path):
    with pytest.raises(FqtError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_pickled_sample_inputs_are_never_read(exported, tmp_path):
    members, module = exported
    buffer = io.BytesIO()
    torch.save((Evil(tmp_path / "created"), {}), buffer)
    path = written(tmp_path, members | {SAMPLES: buffer.getvalue()})
    x = torch.randn(5, 3, 8, 8)
    ours = logits(load(path).graph, x.numpy().transpose(0, 2, 3, 1))
    assert np.abs(ours - module(x).detach().numpy()).max() < 1e-4
    assert sorted(tmp_path.iterdir()) == [path]


def test_pickled_weights_are_refused(exported, tmp_path):
    members, _ = exported
    config = json.loads(members[WEIGHTS])
    config["config"]["0.weight"] |= {"use_pickle": True, "path_name": "weight_0"}
    buffer = io.BytesIO()
    torch.save(Evil(tmp_path / "created"), buffer)
    path = written(tmp_path, members | {WEIGHTS: json.dumps(config).encode(), "data/weights/weight_0": buffer.getvalue()})
    assert "'0.weight' as a pickled object" in line_of(path)
    constants = {"config": {"c": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}}}
    evil = {"data/constants/model_constants_config.json": json.dumps(constants)}
    evil["data/constants/opaque_obj_0"] = pickle.dumps(Evil(tmp_path / "created"))
    assert "'c' as a pickled object" in line_of(written(tmp_path, members | evil))
    assert sorted(tmp_path.iterdir()) == [path]


def spoilt(program, kind, folder):
    """A program's JSON that would run something."""
    graph, evil = program["graph_module"]["graph"], f"open('{folder}/created', 'w')"
    node = graph["nodes"][0]
    text = {"name": "", "arg": {"as_string": f"touch {folder}/created"}, "kind": 1}
    if kind == "function":
        node |= {"target": "torch.serialization.os.system", "inputs": [text]}
    elif kind == "file":
        node |= {"target": "torch.ops.aten.from_file.default", "inputs": [text]}
    elif kind == "operator":
        node["inputs"][0]["arg"] = {"as_operator": "torch.serialization.os.system"}
    elif kind == "size":
        graph["tensor_values"]["input"]["sizes"][0] = {"as_expr": {"expr_str": evil, "hint": {"as_int": 1}}}
    elif kind == "range":
        program["range_constraints"][evil] = {"min_val": 1, "max_val": 2}
    elif kind == "tree":
        context = json.dumps({"default_factory_module": "os", "default_factory_name": "abort"})
        spec = [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(spec)
    return json.dumps(program).encode()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("function", "no operator on tensors"),
        ("file", "no operator on tensors"),
        ("operator", "an argument as_operator"),
        ("size", "no plain expression"),
        ("range", "no symbol"),
        ("tree", "collections.defaultdict"),
    ],
)
def test_what_a_program_would_run_is_refused(exported, kind, words, tmp_path):
    members, _ = exported
    path = written(tmp_path, members | {PROGRAM: spoilt(json.loads(members[PROGRAM]), kind, tmp_path)})
    assert words in line_of(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_guards_are_not_run(exported, tmp_path):
    members, _ = exported
    program = json.loads(members[PROGRAM])
    program["guards_code"] = [f"open('{tmp_path}/created', 'w')"]
    path = written(tmp_path, members | {PROGRAM: json.dumps(program).encode()})
    load(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_bombs_libraries_and_old_layouts_are_refused(exported, tmp_path):
    members, _ = exported
    config = json.loads(members[WEIGHTS])
    config["config"]["0.weight"]["tensor_meta"] |= {"sizes": [{"as_int": 1 << 40}], "strides": [{"as_int": 0}]}
    assert "0.weight' of shape" in line_of(written(tmp_path, members | {WEIGHTS: json.dumps(config).encode()}))
    assert "is compressed" in line_of(written(tmp_path, members, zipfile.ZIP_DEFLATED))
    assert "compiled code" in line_of(written(tmp_path, members | {"data/aotinductor/model/x.so": b"\x7fELF"}))
    assert "is not an exported program" in line_of(written(tmp_path, {"version": b"1"}))
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    assert "old layout, which is pickled" in line_of(path)


def test_pickles_called_pt_are_refused_unread(tmp_path):
    path = tmp_path / "net.pt"
    for legacy in (False, True):
        torch.save({"weight": Evil(tmp_path / "created")}, path, _use_new_zipfile_serialization=not legacy)
        assert "not a TorchScript file" in line_of(path)
    assert sorted(tmp_path.iterdir()) == [path]


class Writer(nn.Module):
    def forward(self, x):
        torch.save(x, "created")
        return x


def test_torchscript_that_writes_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Writer()), path)
    with pytest.raises(FqtError, match="reads or writes files"):
        load(path, (3, 8, 8))
    assert sorted(tmp_path.iterdir()) == [path]


def test_damaged_programs_end_in_a_model_or_one_line(exported, tmp_path):
    """Text replaced anywhere in the program's JSON, bytes anywhere in the archive: never another exception."""
    members, _ = exported
    rng, refusals = np.random.RandomState(0), 0
    for kind in ["program"] * 25 + ["archive"] * 25:
        bad = bytearray(members[PROGRAM]) if kind == "program" else bytearray(written(tmp_path, members).read_bytes())
        for at in rng.randint(0, len(bad), rng.randint(1, 4)):
            bad[at] = rng.randint(32, 127) if kind == "program" else rng.randint(256)
        path = tmp_path / "net.pt2"
        if kind == "program":
            written(tmp_path, members | {PROGRAM: bytes(bad)})
        else:
            path.write_bytes(bad)
        try:
            load(path)
        except FqtError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > 10
