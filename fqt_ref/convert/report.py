# SPDX-License-Identifier: Apache-2.0
"""What an import did, operator by operator, for people and for programs."""

from typing import Any

from fqt_ref.convert.assemble import Imported, Row
from fqt_ref.errors import one_line
from fqt_ref.graph import WINDOWED, Graph, Grid, Node


def describe(imported: Imported) -> list[dict[str, Any]]:
    """One dictionary for each operator of the source, in its order: what it is there, what became of it here."""
    return [_row(imported.graph, row) for row in imported.rows]


def _row(graph: Graph, row: Row) -> dict[str, Any]:
    result: dict[str, Any] = {"source_op": row.op, "source_name": row.name, "layer": row.node, "note": row.note}
    if row.node is None or row.note.startswith(("folded", "dropped", "grid")):
        return result
    node = graph.nodes[row.node]
    return result | {
        "op": node.op,
        "inputs": list(node.inputs),
        "output": list(graph.shape(row.node + 1)),
        "window": window(node),
        "activation": node.activation,
        "weights": 0 if node.weights is None else int(node.weights.size),
        "weight_grids": 0 if node.weight_grid is None else len(node.weight_grid.scale),
        "output_grid": _grid(node.output_grid),
    }


def window(node: Node) -> str:
    """Kernel, and whatever is not the usual of stride, padding and dilation."""
    if node.op not in WINDOWED:
        return ""
    text = f"{node.kernel[0]}x{node.kernel[1]}"
    for mark, pair in (("/", node.stride), (" dilated ", node.dilation)):
        if pair != (1, 1):
            text += mark + (str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}")
    return text + (f" pad {','.join(map(str, node.padding))}" if any(node.padding) else "")


def _grid(grid: Grid | None) -> list[float] | None:
    return None if grid is None else [float(grid.scale[0]), int(grid.zero[0])]


def table(imported: Imported) -> list[str]:
    """The report as lines of text."""
    from rich.console import Console
    from rich.table import Table

    graph = imported.graph
    names = ("source", "name", "layer", "reads", "output", "window", "activation", "weights", "grids", "scale, zero", "")
    rows = Table(*names, box=None)
    for row in describe(imported):
        name = one_line(row["source_name"])
        name = name if len(name) <= 24 else "…" + name[-23:]
        cells = [one_line(row["source_op"]), name, *[""] * 8, one_line(row["note"])]
        if "op" in row:
            grid = row["output_grid"]
            cells[2:10] = [
                f"{row['layer']} {row['op']}",
                " ".join(map(str, row["inputs"])),
                "x".join(map(str, row["output"])),
                row["window"],
                row["activation"],
                str(row["weights"] or ""),
                str(row["weight_grids"] or ""),
                "" if grid is None else f"{grid[0]:.4g}, {grid[1]}",
            ]
        elif row["layer"] is not None and not row["note"].startswith("dropped"):
            cells[2] = f"  into {row['layer']}"
        rows.add_row(*cells)
    console = Console(width=180, highlight=False, markup=False)
    with console.capture() as text:
        console.print(rows)
    shape, grid = "x".join(map(str, graph.input_shape)), _grid(graph.input_grid)
    quantized = f", scale {grid[0]:.4g}, zero {grid[1]:.0f}" if grid else ""
    weights = sum(node.weights.size for node in graph.nodes if node.weights is not None)
    head = f"{graph.name}: input {shape}{quantized}; {len(graph.nodes)} layers, {weights} weights"
    return [head, *(line.rstrip() for line in text.get().rstrip().splitlines()), *imported.notes]
