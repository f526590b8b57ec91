# SPDX-License-Identifier: Apache-2.0
"""An ONNX file or model as plain records: nodes with their attributes, constants as arrays, one input, one output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.errors import FqtError, one_line

OLDEST_OPSET = 7
MOST = 160  # characters of onnx's own messages
MAX_NODES = 100_000
REAL_TYPES = ("FLOAT", "FLOAT16", "DOUBLE", "UINT8", "INT8")


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """A node; proto: as onnx has it, for folding constants."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    proto: Any


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A model: shape with the batch axis first, None where a size is open; type: of the input, as onnx names it."""

    name: str
    nodes: list[OnnxNode]
    constants: dict[str, np.ndarray]
    input: str
    shape: tuple[int | None, ...]
    type: str
    output: str
    opsets: dict[str, int]


def require_onnx() -> Any:
    """The package. Raises FqtError when the extra is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise FqtError("ONNX files need the package onnx: pip install 'fqt[onnx]'") from error
    return onnx


def read_onnx(path: Path) -> OnnxFile:
    """Read a file. Raises FqtError: not installed, not readable, not an ONNX file, damaged."""
    onnx = require_onnx()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FqtError(f"cannot read {path}: {error.strerror}; name a file that can be read") from error
    if not data:
        raise FqtError(f"{path} is empty; name an ONNX file")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own exceptions have no common base that is importable
        raise FqtError(f"{path} is not an ONNX file, or damaged: it cannot be parsed as protobuf; export it again") from error
    if not model.HasField("graph") or not model.graph.node:
        raise FqtError(f"{path} is not an ONNX file, or damaged: it holds no graph; export it again")
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:
        raise FqtError(f"{path} keeps its weights in another file that cannot be read beside it: {one_line(error, MOST)}") from error
    return records(model, path.stem, str(path))


def records(model: Any, name: str, where: str) -> OnnxFile:
    """A ModelProto as records; where: what messages call it. Raises FqtError."""
    onnx = require_onnx()
    opsets = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in model.opset_import}
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        raise FqtError(f"{where} uses opset {opsets['']}, older than {OLDEST_OPSET}: export it again with a newer one")
    if model.functions:
        try:
            check_functions(model)
            model = onnx.inliner.inline_local_functions(model)
        except FqtError as error:
            raise FqtError(f"{where} {error}") from error
        except Exception as error:
            raise FqtError(f"{where} has functions that cannot be inlined: {one_line(error, MOST)}") from error
    graph = model.graph
    try:
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        nodes = [_node(onnx, proto) for proto in graph.node]
    except Exception as error:
        raise FqtError(f"{where} is damaged: {one_line(error, MOST)}; export it again") from error
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise FqtError(f"{where} has {len(inputs)} inputs and {len(graph.output)} outputs; only one of each can be imported")
    tensor = inputs[0].type.tensor_type
    kind = type_name(tensor.elem_type)
    if kind not in REAL_TYPES:
        raise FqtError(f"{where}: input '{inputs[0].name}' is of type {kind}; {', '.join(REAL_TYPES)} can be imported")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return OnnxFile(name, nodes, constants, inputs[0].name, shape, kind, graph.output[0].name, opsets)


def check_functions(model: Any) -> None:
    """Whether what a model's functions expand to, calls within calls, is no more than MAX_NODES nodes. Raises FqtError."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def expanded(nodes: Any, calling: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in calling:
                raise FqtError(f"has a function '{one_line(node.op_type, 60)}' that calls itself; export it again")
            if key in bodies and key not in sizes:
                sizes[key] = expanded(bodies[key], (*calling, key))
            total += sizes.get(key, 1)
        return total

    if expanded(model.graph.node, ()) > MAX_NODES:
        raise FqtError(f"has functions that expand to more than {MAX_NODES} nodes; export it without functions")


def type_name(code: int) -> str:
    """A type as onnx names it, "?" of a code that it doesn't know."""
    names = require_onnx().TensorProto.DataType
    return names.Name(code) if code in names.values() else "?"


def _node(onnx: Any, proto: Any) -> OnnxNode:
    if not proto.output:
        raise ValueError(f"node {proto.name} makes nothing")
    attributes = {}
    for attribute in proto.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif attribute.type == onnx.AttributeProto.TENSOR:
            value = onnx.numpy_helper.to_array(value)
        attributes[attribute.name] = value
    op = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
    return OnnxNode(op, proto.name or proto.output[0], list(proto.input), list(proto.output), attributes, proto)
