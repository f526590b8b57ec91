# SPDX-License-Identifier: Apache-2.0
"""What ONNX nodes make of constants: computed by onnx's reference implementation, after its size was told from its inputs' alone."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fqt_ref.convert.limits import MAX_ELEMENTS, MAX_PRODUCTS
from fqt_ref.convert.onnx_file import MOST, OnnxNode, require_onnx
from fqt_ref.errors import FqtError, one_line

Arrays = list[np.ndarray | None]


def shape_of(arrays: Arrays, k: int = 0) -> tuple[int, ...]:
    """Input k's shape. Raises ValueError if there is no such input."""
    array = arrays[k] if k < len(arrays) else None
    if array is None:
        raise ValueError(f"input {k} is missing")
    return array.shape


def numbers(arrays: Arrays, k: int) -> list[int]:
    """Input k as a list of integers; [] if there is none."""
    array = arrays[k] if k < len(arrays) else None
    return [] if array is None else [int(n) for n in array.reshape(-1)]


def broadcast(node: OnnxNode, arrays: Arrays) -> int:
    return math.prod(np.broadcast_shapes(*(array.shape for array in arrays if array is not None)))


def as_first(node: OnnxNode, arrays: Arrays) -> int:
    return math.prod(shape_of(arrays))


def together(node: OnnxNode, arrays: Arrays) -> int:
    return sum(array.size for array in arrays if array is not None)


def gathered(node: OnnxNode, arrays: Arrays) -> int:
    shape, axis = shape_of(arrays), int(node.attributes.get("axis", 0))
    return math.prod(shape) // max(1, shape[axis] if shape else 1) * math.prod(shape_of(arrays, 1))


def multiplied(node: OnnxNode, arrays: Arrays) -> int:
    a, b = shape_of(arrays), shape_of(arrays, 1)
    if node.op == "Gemm":
        a, b = (a[::-1] if node.attributes.get("transA") else a), (b[::-1] if node.attributes.get("transB") else b)
    products = math.prod(np.broadcast_shapes(a[:-2], b[:-2])) * math.prod(a[-2:]) * (b[-1] if len(b) > 1 else 1)
    if products > MAX_PRODUCTS:
        raise FqtError(f"multiplies constants of shape {a} and {b}, which takes too long; export it with that done")
    return products // max(1, a[-1])


def expanded(node: OnnxNode, arrays: Arrays) -> int:
    return math.prod(np.broadcast_shapes(shape_of(arrays), tuple(numbers(arrays, 1))))


def filled(node: OnnxNode, arrays: Arrays) -> int:
    return math.prod(numbers(arrays, 0))


def tiled(node: OnnxNode, arrays: Arrays) -> int:
    return math.prod(shape_of(arrays)) * math.prod(numbers(arrays, 1))


def counted(node: OnnxNode, arrays: Arrays) -> int:
    start, end, step = (float(array.reshape(-1)[0]) for array in arrays if array is not None)
    return max(0, math.ceil((end - start) / step))


def padded(node: OnnxNode, arrays: Arrays) -> int:
    pads = numbers(arrays, 1) or [int(n) for n in node.attributes["pads"]]
    axes, shape = numbers(arrays, 3) or list(range(len(shape_of(arrays)))), list(shape_of(arrays))
    for i, axis in enumerate(axes):
        shape[axis] += pads[i] + pads[i + len(axes)]
    return math.prod(shape)


SIZES: dict[str, Callable[[OnnxNode, Arrays], int]] = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "Equal", "Less", "LessOrEqual", "Greater",
         "GreaterOrEqual", "And", "Or", "Xor", "Where", "PRelu", "BitShift"), broadcast,
    ),
    **dict.fromkeys(
        ("Identity", "Cast", "CastLike", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Neg", "Abs", "Sqrt",
         "Reciprocal", "Exp", "Log", "Floor", "Ceil", "Round", "Sign", "Not", "Relu", "Clip", "Sigmoid", "Tanh", "Erf", "Sin", "Cos",
         "Softplus", "Softmax", "CumSum", "Trilu", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1",
         "ReduceL2", "ReduceSumSquare", "ArgMax", "ArgMin", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
         "BatchNormalization", "ScatterND", "ScatterElements", "Size", "Dropout", "IsNaN", "IsInf"), as_first,
    ),
    "Concat": together,
    "Gather": gathered,
    "GatherElements": lambda node, arrays: math.prod(shape_of(arrays, 1)),
    "MatMul": multiplied,
    "Gemm": multiplied,
    "Expand": expanded,
    "ConstantOfShape": filled,
    "Tile": tiled,
    "Range": counted,
    "Pad": padded,
}  # fmt: skip


def size_of(node: OnnxNode, arrays: Arrays) -> int:
    """How many elements a node makes of constants, told without making them. Raises FqtError: unknown kind, too many."""
    if node.op not in SIZES:
        raise FqtError("works on constants, which is not computed for this operator; export the network with constants folded")
    try:
        size = SIZES[node.op](node, arrays)
    except (ValueError, IndexError, TypeError, KeyError, ArithmeticError) as error:
        raise FqtError(f"works on constants that do not fit together: {one_line(error, MOST)}; the file is damaged") from error
    if not 0 <= size <= MAX_ELEMENTS:
        raise FqtError(f"makes a constant of {size} elements; {MAX_ELEMENTS} are the most, and a microcontroller holds less")
    return size


def fold(node: OnnxNode, arrays: Arrays, opset: int) -> list[np.ndarray]:
    """What a node makes of constants, by onnx's reference implementation. Raises FqtError if it has none, or for a result too large."""
    onnx: Any = require_onnx()
    from onnx.reference import ReferenceEvaluator

    size_of(node, arrays)
    names = [name for name, array in zip(node.inputs, arrays, strict=True) if array is not None]
    values = [array for array in arrays if array is not None]
    feeds = dict(zip(names, values, strict=True))
    kind = onnx.helper.np_dtype_to_tensor_dtype
    types = [onnx.helper.make_tensor_value_info(name, kind(array.dtype), array.shape) for name, array in feeds.items()]
    ends = [onnx.ValueInfoProto(name=name) for name in node.outputs]
    graph = onnx.helper.make_graph([node.proto], "constant", types, ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:
        raise FqtError(f"works on constants and cannot be computed: {one_line(error, MOST)}") from error
