# SPDX-License-Identifier: Apache-2.0
"""The golden file, `.fqg`: named cases of arrays, inputs first, expected results last (SPEC.md 12)."""

import zlib
from dataclasses import dataclass, field

import numpy as np

MAGIC = b"FQG1"
VERSION = 1
TYPES: dict[int, np.dtype] = {1: np.dtype("u1"), 2: np.dtype("i1"), 3: np.dtype("<i4"), 4: np.dtype("<u4"), 5: np.dtype("<f4")}
CODES = {dtype: code for code, dtype in TYPES.items()}

KINDS = {
    "requantize": 1,
    "rescale": 2,
    "random": 3,
    "log2": 4,
    "sample_order": 5,
    "initial_weights": 6,
    "conv2d_forward_u8": 10,
    "conv2d_backward_input_u8": 11,
    "conv2d_backward_weight_u8": 12,
    "conv2d_forward_f32": 13,
    "conv2d_backward_input_f32": 14,
    "conv2d_backward_weight_f32": 15,
    "linear_forward_u8": 20,
    "linear_backward_input_u8": 21,
    "linear_backward_weight_u8": 22,
    "linear_forward_f32": 23,
    "linear_backward_input_f32": 24,
    "linear_backward_weight_f32": 25,
    "max_pool2d_forward_u8": 30,
    "max_pool2d_backward_u8": 31,
    "max_pool2d_forward_f32": 32,
    "max_pool2d_backward_f32": 33,
    "avg_pool2d_forward_u8": 34,
    "avg_pool2d_backward_u8": 35,
    "avg_pool2d_forward_f32": 36,
    "avg_pool2d_backward_f32": 37,
    "dequantize_forward": 40,
    "dequantize_backward": 41,
    "add_forward_u8": 44,
    "add_backward_u8": 45,
    "add_forward_f32": 46,
    "add_backward_f32": 47,
    "softmax_u8": 50,
    "softmax_f32": 51,
    "hard_swish_forward_u8": 52,
    "hard_swish_backward_u8": 53,
    "hard_swish_forward_f32": 54,
    "hard_swish_backward_f32": 55,
    "sparse_select_u8": 60,
    "sparse_select_f32": 61,
    "update_weights_u8": 70,
    "update_bias_u8": 71,
    "update_f32": 72,
    "update_range": 80,
    "depthwise_conv2d_forward_u8": 90,
    "depthwise_conv2d_backward_input_u8": 91,
    "depthwise_conv2d_backward_weight_u8": 92,
    "depthwise_conv2d_forward_f32": 93,
    "depthwise_conv2d_backward_input_f32": 94,
    "depthwise_conv2d_backward_weight_f32": 95,
    "trajectory": 100,
    "trace": 101,
    "zeroth_trajectory": 102,
    "zeroth_trace": 103,
    "options_trajectory": 104,
    "options_trace": 105,
    "model_error": 110,
}


@dataclass
class Case:
    """One golden case: inputs, then expected results, each an array of a type in TYPES."""

    kind: str
    name: str
    inputs: list[np.ndarray] = field(default_factory=list)
    expected: list[np.ndarray] = field(default_factory=list)


def case_bytes(case: Case) -> bytes:
    """One case with its header."""
    arrays = [np.ascontiguousarray(a).reshape(-1) for a in case.inputs + case.expected]
    at = 64 + 12 * len(arrays)
    table, body = [], []
    for array in arrays:
        data = array.tobytes()
        data += bytes(-len(data) % 4)
        table.append(np.array([CODES[array.dtype], array.size, at], "<u4").tobytes())
        body.append(data)
        at += len(data)
    name = case.name.encode("ascii")
    assert len(name) < 48, case.name
    header = np.array([at, KINDS[case.kind], len(arrays), 0], "<u4").tobytes() + name.ljust(48, b"\0")
    return b"".join([header, *table, *body])


def file_bytes(cases: list[Case]) -> bytes:
    """A golden file of these cases."""
    body = np.array([len(cases), 0, 0, 0], "<u4").tobytes() + b"".join(case_bytes(c) for c in cases)
    return MAGIC + np.array([VERSION, 16 + len(body), zlib.crc32(body)], "<u4").tobytes() + body


def case_spans(data: bytes) -> list[tuple[str, int, int]]:
    """(name, first byte, one past the last) of each case, as far as the file can be read."""
    spans, at = [], 32
    while at + 64 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        name = data[at + 16 : at + 64].split(b"\0")[0].decode("ascii", "replace")
        if size < 64:
            break
        spans.append((name, at, at + size))
        at += size
    return spans


def arrays_of(data: bytes, first: int) -> tuple[int, list[np.ndarray]]:
    """Kind and arrays, flat, of the case that begins at byte `first` of a golden file."""
    _, kind, count, _ = np.frombuffer(data, "<u4", 4, first)
    table = np.frombuffer(data, "<u4", 3 * count, first + 64).reshape(count, 3)
    return int(kind), [np.frombuffer(data, TYPES[int(code)], int(n), first + int(at)) for code, n, at in table]
