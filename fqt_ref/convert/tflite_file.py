# SPDX-License-Identifier: Apache-2.0
"""A TFLite file as plain records: every offset that the file holds is followed here, so that a damaged file fails here and nowhere else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.limits import DAMAGE
from fqt_ref.errors import FqtError

NUMPY_TYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4", "UINT8": "u1", "INT64": "<i8", "INT8": "i1", "INT16": "<i2", "BOOL": "?"}
# Options that tell what an operator does, as the schema names them.
OPTIONS = {
    "CONV_2D": ("Conv2DOptions", ("Padding", "StrideW", "StrideH", "FusedActivationFunction", "DilationWFactor", "DilationHFactor")),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        ("Padding", "StrideW", "StrideH", "FusedActivationFunction", "DilationWFactor", "DilationHFactor"),
    ),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "MAX_POOL_2D": ("Pool2DOptions", ("Padding", "StrideW", "StrideH", "FilterWidth", "FilterHeight", "FusedActivationFunction")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", ("Padding", "StrideW", "StrideH", "FilterWidth", "FilterHeight", "FusedActivationFunction")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor. shape: with the batch axis; signature: the same, -1 where the size is open; data: None of a feature map."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    data: np.ndarray | None


@dataclass(frozen=True)
class Operator:
    """An operator: its name in the schema, tensor indices (-1: none) and options."""

    op: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, int]


@dataclass(frozen=True)
class TFLiteFile:
    """The one subgraph of a file."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


def read_tflite(path: Path) -> TFLiteFile:
    """Read a file. Raises FqtError: no reader installed, not a TFLite file, damaged or cut short, more than one subgraph."""
    try:
        import tflite
    except ImportError as error:
        raise FqtError("reading TFLite files needs the package tflite: pip install 'fqt[onnx]'") from error
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FqtError(f"cannot read {path}: {error.strerror}; name a file that can be read") from error
    if len(data) < 8 or data[4:8] != b"TFL3":
        what = "is empty" if not data else "is not a TFLite file: bytes 4 to 7 are not TFL3"
        raise FqtError(f"{path} {what}; name a file that the TFLite converter has written")
    try:
        model = tflite.Model.GetRootAs(data, 0)
        subgraphs = model.SubgraphsLength()
        if subgraphs == 1:
            return _read(tflite, model)
    except (*DAMAGE, AssertionError) as error:
        raise FqtError(f"{path} is damaged or cut short: a table or array reaches beyond its {len(data)} bytes; copy it again") from error
    if subgraphs == 0:
        raise FqtError(f"{path} is damaged: it holds no graph; copy it again")
    raise FqtError(f"{path} has {subgraphs} subgraphs; only a file with one, without control flow, can be imported")


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _read(tflite: Any, model: Any) -> TFLiteFile:
    graph = model.Subgraphs(0)
    operator_names, type_names = _names(tflite.BuiltinOperator), _names(tflite.TensorType)
    codes = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        name = operator_names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        codes.append(f"CUSTOM {(code.CustomCode() or b'').decode()}".strip() if name == "CUSTOM" else name)
    tensors = [_tensor(model, graph.Tensors(i), type_names) for i in range(graph.TensorsLength())]
    operators = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        op = codes[operator.OpcodeIndex()]
        inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
        outputs = [operator.Outputs(k) for k in range(operator.OutputsLength())]
        if not outputs or not all(-1 <= t < len(tensors) for t in inputs) or not all(0 <= t < len(tensors) for t in outputs):
            raise ValueError("tensor index out of range")
        operators.append(Operator(op, inputs, outputs, _options(tflite, op, operator)))
    ends = [[side(k) for k in range(n)] for side, n in ((graph.Inputs, graph.InputsLength()), (graph.Outputs, graph.OutputsLength()))]
    if not all(0 <= t < len(tensors) for end in ends for t in end):
        raise ValueError("tensor index out of range")
    return TFLiteFile(tensors, operators, *ends)


def _tensor(model: Any, tensor: Any, type_names: dict[int, str]) -> Tensor:
    shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
    signature = tuple(tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())) or shape
    kind = type_names[tensor.Type()]
    scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    quantization = tensor.Quantization()
    if quantization is not None and quantization.ScaleLength():
        scale = np.array(quantization.ScaleAsNumpy(), np.float32)
        zero = np.array(quantization.ZeroPointAsNumpy(), np.int64) if quantization.ZeroPointLength() else np.zeros(1, np.int64)
        axis = quantization.QuantizedDimension()
    buffer = model.Buffers(tensor.Buffer())
    values = None
    if buffer is not None and buffer.DataLength() and kind in NUMPY_TYPES:
        values = np.frombuffer(np.asarray(buffer.DataAsNumpy()).tobytes(), NUMPY_TYPES[kind]).reshape(shape)
    return Tensor((tensor.Name() or b"").decode(errors="replace"), shape, signature, kind, scale, zero, axis, values)


def _options(tflite: Any, op: str, operator: Any) -> dict[str, int]:
    if op not in OPTIONS:
        return {}
    class_name, fields = OPTIONS[op]
    table = operator.BuiltinOptions()
    if table is None:
        return {}
    options = getattr(tflite, class_name)()
    options.Init(table.Bytes, table.Pos)
    return {name: int(getattr(options, name)()) for name in fields}
