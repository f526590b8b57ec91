# SPDX-License-Identifier: Apache-2.0
"""A float32 Graph as a file: an .npz of its arrays and one JSON text of everything else."""

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Grid, Node

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
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise FqtError(f"cannot write {path}: {error.strerror}; choose another folder") from error


def read(path: Path) -> tuple[Graph, dict[str, Any]]:
    """The Graph and the notes of a file. Raises FqtError: no such file, or not one that write made."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
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
            graph.append(node)
    except FileNotFoundError as error:
        raise FqtError(f"{path}: no such file; name one that fqt pretrain or fqt prune wrote") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise FqtError(f"{path}: not a float32 network of fqt; name one that fqt pretrain or fqt prune wrote") from error
    return graph, text["notes"]


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
