# SPDX-License-Identifier: Apache-2.0
"""Model files by hand, right or wrong: from records that need not fit together, and with fields changed (SPEC.md 10)."""

import zlib

import numpy as np

from fqt_ref import model_file
from fqt_ref.network import LAYER, NOWHERE, OPS_WITH_WEIGHTS, TENSOR, U8, Network
from fqt_ref.training_plan import plan_network

HEADER = np.dtype(
    [
        ("magic", "S4"),
        *((name, "<u4") for name in ("format_version", "file_size", "crc", "arithmetic_version", "n_tensors", "n_layers")),
        *((name, "<u4") for name in ("tensors_offset", "layers_offset", "training_arena", "inference_arena", "reserved")),
        ("name", "V16"),
    ]
)


PLACE = 16  # bytes: more than any buffer that apart() places


def sealed(data: bytes) -> bytes:
    """The same bytes with a size and checksum that fit, so that the checks behind those are reached."""
    data = data[:8] + len(data).to_bytes(4, "little") + data[12:]
    return data[:12] + zlib.crc32(data[16:]).to_bytes(4, "little") + data[16:]


def tensor(h: int, w: int, c: int, kind: int = U8, **fields) -> np.ndarray:
    """A TENSOR record."""
    record = np.zeros((), TENSOR)
    record["type"], record["scale"] = kind, 1
    record["h"], record["w"], record["c"] = h, w, c
    for name, value in fields.items():
        record[name] = value
    return record


def layer(op: int, x: int = 0, **fields) -> np.ndarray:
    """A LAYER record that reads tensor x."""
    record = np.zeros((), LAYER)
    for name in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"):
        record[name] = 1
    record["op"], record["input"] = op, x
    for name, value in fields.items():
        record[name] = value
    return record


def file_of(tensors: list[np.ndarray], layers: list[np.ndarray]) -> bytes:
    """A model file of these records, which need not fit together; parameters are 0, of the sizes that they ask for."""
    network = Network("", np.array(tensors, TENSOR), np.array(layers, LAYER), [], [], [])
    for i, record in enumerate(network.layers):
        network.layers["output"][i] = i + 1
        out, quantized = int(tensors[i + 1]["c"]), tensors[i + 1]["type"] == U8
        weights = bias = grid = None
        if record["op"] in OPS_WITH_WEIGHTS:
            weights = np.zeros(out * model_file.fan_in(record, tensors[record["input"]]), np.uint8 if quantized else np.float32)
            bias = np.zeros(out, np.int32 if quantized else np.float32)
            grid = (np.ones(1, np.float32), np.zeros(1, np.int32)) if quantized else None
        network.weights.append(weights)
        network.biases.append(bias)
        network.grids.append(grid)
    plan_network(network, 0.0)
    return model_file.file_bytes(network)


def fields_of(record: np.dtype, at: int, prefix: str) -> dict[str, tuple[int, np.dtype]]:
    """Places and types of the fields of a record that stands at byte `at`."""
    assert record.fields is not None
    return {prefix + name: (at + offset, kind) for name, (kind, offset, *_) in record.fields.items()}


def places(data: bytes) -> dict[str, tuple[int, np.dtype]]:
    """Where each field stands and of which type: n_layers, tensor_1_scale, layer_0_op, layer_0_bias_1 (the second one)."""
    header = np.frombuffer(data, HEADER, 1)[0]
    tensors = np.frombuffer(data, TENSOR, header["n_tensors"], header["tensors_offset"])
    layers = np.frombuffer(data, LAYER, header["n_layers"], header["layers_offset"])
    found = fields_of(HEADER, 0, "")
    for what, table, at in (("tensor", tensors, header["tensors_offset"]), ("layer", layers, header["layers_offset"])):
        for i in range(len(table)):
            found |= fields_of(table.dtype, int(at) + i * table.itemsize, f"{what}_{i}_")
    for i, record in enumerate(layers):
        number = np.dtype("<i4" if record["grids"] else "<f4")
        for name, at, kind, count in (
            ("scale", record["grid_offset"], np.dtype("<f4"), record["grids"]),
            ("zero", record["grid_offset"] + 4 * record["grids"], np.dtype("<i4"), record["grids"]),
            ("bias", record["bias_offset"], number, record["bias_bytes"] // 4),
            ("weight", record["weight_offset"], np.dtype("u1") if record["grids"] else number, min(record["weight_bytes"], 4)),
        ):
            found |= {f"layer_{i}_{name}_{j}": (int(at) + j * kind.itemsize, kind) for j in range(count)}
    return found


def spoilt(data: bytes, **changes) -> bytes:
    """The file with fields changed, in the names of places(), and sealed again."""
    found = places(data)
    for name, value in changes.items():
        at, kind = found[name]
        new = value if isinstance(value, bytes) else np.array(value, kind.base).tobytes()
        assert len(new) == kind.itemsize, name
        data = data[:at] + new + data[at + len(new) :]
    return sealed(data)


def moved(data: bytes, field: str, size: int, shift: int = 0, cut: int = 0) -> bytes:
    """The file with what a field points to once more at its end, `shift` bytes off alignment or without the last `cut`, which are 0."""
    at, _ = places(data)[field]
    old = int.from_bytes(data[at : at + 4], "little")
    copy, end = data[old : old + size], bytes(-len(data) % 4 + shift)
    assert len(copy) == size, field
    assert not any(copy[size - cut :]) or not cut, field
    return sealed(spoilt(data, **{field: len(data) + len(end)}) + end + copy[: size - cut])


def apart(tensors: list[np.ndarray], layers: list[np.ndarray]) -> bytes:
    """A small network whose buffers have places of their own."""
    data = file_of(tensors, layers)
    found = np.frombuffer(data, TENSOR, len(tensors), 64)
    changes, n = {}, 0
    for name in ("feature", "error"):
        for t in np.flatnonzero(found[f"{name}_offset"] != NOWHERE):
            changes[f"tensor_{t}_{name}_offset"] = PLACE * n
            n += 1
    changes |= {f"tensor_{t}_inference_offset": PLACE * (t - 1) for t in range(1, len(tensors))}
    return spoilt(data, training_arena=PLACE * n, inference_arena=PLACE * (len(tensors) - 1), **changes)


def sharing(data: bytes, one: str, other: str, by: int = 0) -> bytes:
    """The file with buffer `one`, say "error 2", `by` bytes behind the start of another."""
    found = places(data)
    field, place = ("tensor_{1}_{0}_offset".format(*name.split()) for name in (one, other))
    at, _ = found[place]
    return spoilt(data, **{field: int.from_bytes(data[at : at + 4], "little") + by})
