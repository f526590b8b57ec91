# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile model files, through all of `fqt import`: a model, or one printable line. And nothing large is made of little."""

import json
import zipfile

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("tflite", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("ai_edge_litert", reason="its schema classes make the TFLite models")

from model_mutations import mutated_onnx, mutated_tflite  # noqa: E402
from onnx_models import Maker  # noqa: E402
from test_import_onnx import residual_network  # noqa: E402
from test_import_tflite import whole_model  # noqa: E402

from fqt_ref import model_file  # noqa: E402
from fqt_ref.build import build_network  # noqa: E402
from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.onnx import from_model  # noqa: E402
from fqt_ref.convert.report import table  # noqa: E402
from fqt_ref.datasets.npz_archive import read_array, read_arrays  # noqa: E402
from fqt_ref.errors import FqtError  # noqa: E402
from fqt_ref.graph import Graph, Node  # noqa: E402
from fqt_ref.transfer import graph_file  # noqa: E402

SEEDS = 250


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_mutated_models_end_in_a_file_or_one_line(kind, tmp_path):
    path, model, refused = tmp_path / f"net.{kind}", residual_network() if kind == "onnx" else whole_model(), 0
    for seed in range(SEEDS):
        rng = np.random.RandomState(seed)
        path.write_bytes(mutated_onnx(model, rng) if kind == "onnx" else mutated_tflite(model, rng))
        try:
            imported = load(path)
            assert all(line.isprintable() for line in table(imported))
            samples = np.zeros((2, *imported.graph.input_shape), np.uint8)
            model_file.file_bytes(build_network(imported.graph, "uint8", samples, np.float32(0.02), 128, per_channel=True))
        except FqtError as error:
            refused += 1
            assert str(error).isprintable(), repr(str(error))
    assert SEEDS // 4 < refused < SEEDS - 5


def oversized(kind):
    """A network with one constant that would be too large."""
    m = Maker()
    m.conv(4, 3)
    feature, huge = m.last, np.int64([3_000_000_000])
    if kind == "Expand":
        made = m.node("Expand", huge, first=m.const(np.float32([1])))
    elif kind == "ConstantOfShape":
        made = m.node("ConstantOfShape", first=m.const(np.int64([100_000, 100_000])))
    elif kind == "Tile":
        made = m.node("Tile", huge, first=m.const(np.float32([1])))
    elif kind == "Range":
        made = m.node("Range", np.int64(10**12), np.int64(1), first=m.const(np.int64(0)))
    elif kind == "Pad":
        made = m.node("Pad", np.int64([0, 3_000_000_000]), first=m.const(np.float32([1])))
    elif kind == "Resize":
        made = m.node("Resize", "", "", np.int64([1, 1, 60_000, 60_000]), first=m.const(np.zeros((1, 1, 2, 2), np.float32)))
    elif kind == "broadcast":
        made = m.node("Add", np.zeros((1, 40_000), np.float32), first=m.const(np.zeros((40_000, 1), np.float32)))
    elif kind == "outer product":
        made = m.node("MatMul", np.zeros((1, 40_000), np.float32), first=m.const(np.zeros((40_000, 1), np.float32)))
    elif kind == "many":
        made = m.node("Expand", np.int64([1 << 25]), first=m.const(np.uint8([1])))
        for _ in range(5):
            made = m.node("Identity", first=made)
    m.node("Add", made, first=feature)
    return m.model()


@pytest.mark.parametrize(
    "kind", ["Expand", "ConstantOfShape", "Tile", "Range", "Pad", "Resize", "broadcast", "outer product", "many"]
)  # fmt: skip
def test_constants_are_bounded_before_they_are_made(kind):
    with pytest.raises(FqtError, match=r"elements|not computed"):
        from_model(oversized(kind), "net")


def test_loops_and_nested_functions_are_refused():
    helper = onnx.helper
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info(n, t, []) for n, t in (("i", onnx.TensorProto.INT64), ("go", onnx.TensorProto.BOOL))],
        [helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, [])],
    )  # fmt: skip
    m = Maker()
    m.conv(4, 3)
    count, go = m.const(np.int64(10**12)), m.const(np.bool_(True))
    m.nodes.append(helper.make_node("Loop", [count, go], ["end"], name="endless", body=body))
    with pytest.raises(FqtError, match="Loop 'endless' is control flow"):
        from_model(m.model(), "net")

    m = Maker()
    m.nodes.append(helper.make_node("f29", ["x"], ["y"], domain="mine"))
    m.last = "y"
    model = m.model()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    for i in range(30):
        inner = ("f" + str(i - 1), "mine") if i else ("Identity", "")
        nodes = [helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in (("a", "b"), ("b", "c"))]
        model.functions.append(helper.make_function("mine", f"f{i}", ["a"], ["c"], nodes, opsets))
    model.opset_import.append(opsets[1])
    with pytest.raises(FqtError, match="expand to more than"):
        from_model(model, "net")
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "f29", "mine"
    with pytest.raises(FqtError, match="calls itself"):
        from_model(model, "net")


@pytest.mark.parametrize(("shape", "words"), [((1, 3, 40_000, 40_000), "the input has a feature map"), ((1, 64, 500, 500), "positions")])
def test_feature_maps_are_bounded(shape, words, tmp_path):
    m = Maker(shape)
    m.conv(4, shape[1], k=5)
    onnx.save(m.model(), tmp_path / "net.onnx")
    with pytest.raises(FqtError, match=words):
        load(tmp_path / "net.onnx")


def npz_of_zeros(path, parts, claimed=None):
    """An .npz whose member 'x_train' unpacks to so many times 32 MiB of zeros; claimed: what its header says instead."""
    count = parts << 25
    whole = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with whole as archive, archive.open("x_train.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (claimed or count,)})
        for _ in range(parts):
            file.write(bytes(1 << 25))


def test_archives_that_unpack_to_gigabytes_are_refused_unread(tmp_path):
    path = tmp_path / "bomb.npz"
    npz_of_zeros(path, 33)
    for read in (lambda: read_array(path, "x_train"), lambda: read_arrays(path), lambda: graph_file.read(path)):
        with pytest.raises(FqtError, match="unpack to 1056 MiB"):
            read()
    (tmp_path / "bomb.json").write_text("{}")
    with pytest.raises(FqtError, match="unpack to 1056 MiB"):
        load(tmp_path / "bomb.json")
    npz_of_zeros(path, 0, 1 << 40)
    with pytest.raises(FqtError, match="'x_train' is damaged"):
        read_array(path, "x_train")


def test_graph_files_with_other_fields_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    graph = Graph("net", (4, 4, 2))
    graph.append(Node("conv2d", (0,), 3, (3, 3), weights=np.ones((3, 3, 3, 2), np.float32), bias=np.zeros(3, np.float32)))
    graph_file.write(path, graph)
    assert graph_file.read(path)[0].shape(1) == (2, 2, 3)
    arrays = read_arrays(path)
    text = json.loads(arrays["graph"].tobytes())
    wrong = {"op": "exec", "inputs": [7], "channels": 4, "kernel": [2, 3], "stride": [0, 1], "activation": "tanh", "padding": [-1, 0, 0, 0]}
    for key, value in wrong.items():
        bad = text | {"nodes": [text["nodes"][0] | {key: value}]}
        np.savez(path, **arrays | {"graph": np.frombuffer(json.dumps(bad).encode(), np.uint8)})
        with pytest.raises(FqtError, match="not a float32 network of fqt"):
            graph_file.read(path)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(FqtError, match="not a float32 network of fqt"):
        graph_file.read(path)
