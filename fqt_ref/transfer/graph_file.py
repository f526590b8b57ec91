# SPDX-License-Identifier: Apache-2.0
"""A float32 Graph as a file: an .npz of its arrays and one JSON text of everything else."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import files
from fqt_ref.datasets.npz_archive import read_arrays
from fqt_ref.errors import FqtError
from fqt_ref.graph import ACTIVATIONS, OPERATORS, Graph, Grid, Node, weights_shape

FORMAT = 1
ARRAYS = ("weights", "bias")
GRIDS = ("output_grid", "weight_grid")


def write(path: Path, graph: Graph, notes: dict[str, Any] | None = None) -> None:
    """Write a Graph and notes (what JSON holds: history, data set, settings). Raises FqtError if the file cannot be written."""
    arrays: dict[str, Any] = {}
    nodes = []
    for i, node in enumerate(graph.nodes):
        fields = {k: v for k, v in asdict(node).items() if k not in (*ARRAYS, *GRIDS)}
        for key in ARRAYS:
            if getattr(node, key) is not None:
                arrays[f"{i}.{key}"] = np.asarray(getattr(node, key), np.float32)
        for key in GRIDS:
            put_grid(arrays, f"{i}.{key}", getattr(node, key))
        nodes.append(fields)
    put_grid(arrays, "input_grid", graph.input_grid)
    text = {"format": FORMAT, "name": graph.name, "input_shape": list(graph.input_shape), "nodes": nodes, "notes": notes or {}}
    arrays["graph"] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    files.make_folder(path.parent)
    files.write(path, made.getvalue())


def read(path: Path) -> tuple[Graph, dict[str, Any]]:
    """The Graph and the notes of a file. Raises FqtError: no such file, or not one that write made."""
    remedy = "name one that fqt pretrain or fqt prune wrote"
    if not path.exists():
        raise FqtError(f"{path}: no such file; {remedy}")
    try:
        arrays: dict[str, Any] = dict(read_arrays(path))
        text = json.loads(arrays["graph"].tobytes())
        if text["format"] != FORMAT:
            raise FqtError(f"{path}: format {text['format']}, this fqt reads {FORMAT}: write it anew with this fqt")
        graph = Graph(text["name"], to_shape(text["input_shape"]), input_grid=get_grid(arrays, "input_grid"))
        for i, fields in enumerate(text["nodes"]):
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            node = Node(**values)
            for key in ARRAYS:
                setattr(node, key, arrays.get(f"{i}.{key}"))
            for key in GRIDS:
                setattr(node, key, get_grid(arrays, f"{i}.{key}"))
            check_node(graph, node)
            graph.append(node)
    except FqtError as error:
        raise FqtError(f"{path}: not a float32 network of fqt ({str(error).removeprefix(f'{path}: ')}); {remedy}") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FqtError(f"{path}: not a float32 network of fqt; {remedy}") from error
    return graph, text["notes"]


def check_node(graph: Graph, node: Node) -> None:
    """Whether a node from a file fits the graph that it is to be appended to. Raises ValueError, TypeError or KeyError."""
    numbers = [*node.inputs, *node.kernel, *node.stride, *node.padding, *node.dilation, node.channels]
    if node.op not in OPERATORS or node.activation not in ACTIVATIONS or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("an operator, activation or number that does not exist")
    if max(node.inputs) > len(graph.nodes) or len(node.inputs) != (2 if node.op == "add" else 1) or min(*node.stride, *node.dilation) < 1:
        raise ValueError("inputs, strides or dilations that cannot be")
    if node.weights is None:
        return
    shapes = weights_shape(node, graph.shape(node.inputs[0])), (node.channels,)
    for array, shape in zip((node.weights, node.bias), shapes, strict=True):
        if array is None or array.dtype != np.float32 or array.shape != shape or not np.all(np.isfinite(array)):
            raise ValueError("weights or biases that do not fit")


def to_shape(values: list[int]) -> tuple[int, int, int]:
    """Three numbers as a shape; ValueError otherwise."""
    h, w, c = values
    return (h, w, c)


def put_grid(arrays: dict[str, np.ndarray], name: str, grid: Grid | None) -> None:
    """Add a grid's arrays."""
    if grid is not None:
        arrays[f"{name}.scale"], arrays[f"{name}.zero"] = np.asarray(grid.scale, np.float32), np.asarray(grid.zero, np.int32)


def get_grid(arrays: dict[str, np.ndarray], name: str) -> Grid | None:
    """The grid of a name, None if there is none."""
    return Grid(arrays[f"{name}.scale"], arrays[f"{name}.zero"]) if f"{name}.scale" in arrays else None
