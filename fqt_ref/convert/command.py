# SPDX-License-Identifier: Apache-2.0
"""What `fqt import` and `fqt export` do: files in, files out, and what there is to tell."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import MAX_CLASSES
from fqt_ref.convert import load
from fqt_ref.convert.agreement import Agreement, agree
from fqt_ref.convert.assemble import Imported
from fqt_ref.convert.head import replace_head
from fqt_ref.convert.report import describe, table
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.input_range import InputGrid
from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph
from fqt_ref.info import described_grid
from fqt_ref.input_grid import check_trains, fitted, grid_of, input_grid_for, on_grid, said, stated_grid
from fqt_ref.kind import kind_of
from fqt_ref.network import Network

_log = logging.getLogger(__name__)
CALIBRATION_SAMPLES = 256
CALIBRATIONS = ("minmax", "percentile")


@dataclass(frozen=True)
class ImportSettings:
    """How to import. percentile counts with calibration "percentile" only; input_scale, input_zero: the network's input grid, of a source
    that prescribes none; data_range: LO..HI, what the data's bytes mean.

    per_channel: grids of weights that the source does not prescribe; input_shape: see convert.load; classes: replace the head.
    """

    model: Path
    output: Path
    data: str | None = None
    data_dir: Path | None = None
    config: str = "uint8"
    per_channel: bool = True
    calibration: str = "minmax"
    percentile: float = 99.9
    train_last: int | None = None
    seed: int = 0
    classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    input_scale: float | None = None
    input_zero: int = 0
    data_range: str | None = None


def is_quantized(graph: Graph) -> bool:
    """Whether the source prescribes every grid, so that nothing has to be calibrated."""
    needed = [node for node in graph.nodes if node.op != "max_pool2d"]
    weighted = [node for node in graph.nodes if node.op in WEIGHTED]
    return graph.input_grid is not None and all(n.output_grid for n in needed) and all(n.weight_grid for n in weighted)


def input_grid_of(graph: Graph, settings: ImportSettings) -> InputGrid | None:
    """The input grid that the source prescribes, or that --input-scale and --input-zero state for one that does not. Raises FqtError."""
    if graph.input_grid is not None or settings.input_scale is None:
        if settings.input_scale is not None:
            _log.warning("warning: %s prescribes its input's grid, %s: --input-scale has no effect", settings.model, stated_grid(graph))
        return stated_grid(graph)
    grid = InputGrid(np.float32(settings.input_scale), settings.input_zero)
    if not np.isfinite(grid.scale) or grid.scale < np.float32(2.0**-126) or not 0 <= grid.zero <= 255:
        raise FqtError(f"an input scale of {settings.input_scale:g} and zero point of {grid.zero} are not possible: positive, and 0..255")
    return grid


def load_samples(graph: Graph, settings: ImportSettings) -> tuple[Dataset | None, bool]:
    """--data in the source's shape, as the file means it: real values or bytes; None without. And whether its labels are the source's
    classes: an import needs none. Raises FqtError.
    """
    if settings.data is None:
        return None, False
    from fqt_ref.datasets import load as load_data

    h, w, c = graph.input_shape
    try:
        data = load_data(settings.data, settings.data_dir, data_range=settings.data_range)
        return said(fitted(data, (h, w, c), int(np.prod(graph.shape(len(graph.nodes)))))), True
    except FqtError:
        data = load_data(settings.data, settings.data_dir, data_range=settings.data_range, labels=False)
        return said(fitted(data, (h, w, c), data.classes)), False


def samples_for(graph: Graph, settings: ImportSettings, data: Dataset | None = None) -> tuple[np.ndarray, np.float32, int]:
    """Calibration samples uint8[n, h, w, c], and the scale and zero point of their bytes, the network's input grid.

    data: of load_samples(). A quantized source needs none. Raises FqtError if samples are needed or do not fit.
    """
    grid = input_grid_of(graph, settings)
    calibrated = grid is None
    if not is_quantized(graph):
        if data is None:
            raise FqtError(f"{settings.model} does not prescribe all ranges: add samples to measure them on, --data NAME")
        check_trains(data)
    if grid is None:
        if data is None:
            raise FqtError(f"{settings.model} does not say what its input's bytes mean: add --data NAME or --input-scale")
        grid = input_grid_for(data, settings.percentile if settings.calibration == "percentile" else 100.0)
        if not data.stated:
            _log.warning(
                "warning: data set %s: nobody states what its bytes are worth: taken as real values %s; "
                "if %s takes 0..255, add --input-scale 1; of any other range, state it with --data-range LO..HI",
                data.name, grid, settings.model,
            )  # fmt: skip
    if data is None or len(data.train_x) == 0:
        samples = np.random.RandomState(settings.seed % 2**32).randint(0, 256, (8, *graph.input_shape)).astype(np.uint8)
    else:
        samples = said(on_grid(data, grid, calibrated)).train_x[:CALIBRATION_SAMPLES]
    return samples, *grid


def import_model(settings: ImportSettings) -> tuple[dict[str, Any], list[str]]:
    """Import, quantize and write a model file. Returns what was done, for programs and as the report's lines. Raises FqtError."""
    from fqt_ref import model_file
    from fqt_ref.build import build_network

    if settings.calibration not in CALIBRATIONS:
        raise FqtError(f"calibration '{settings.calibration}' does not exist: choose one of {', '.join(CALIBRATIONS)}")
    if not 50 < settings.percentile <= 100:
        raise FqtError(f"--percentile {settings.percentile:g} is not in 50..100: 100 is the same as minmax")
    imported = load(settings.model, settings.input_shape)
    if settings.classes is not None:
        imported = replace(imported, graph=replace_head(imported.graph, settings.classes))
    graph = imported.graph
    outputs = int(np.prod(graph.shape(len(graph.nodes))))
    if outputs > MAX_CLASSES:
        raise FqtError(f"{settings.model} has {outputs} outputs, more than {MAX_CLASSES}: replace its last layer with --classes N")
    data, labelled = load_samples(graph, settings)
    samples, scale, zero = samples_for(graph, settings, data)
    options: dict[str, Any] = {
        "seed": settings.seed,
        "train_last": settings.train_last,
        "percentile": settings.percentile if settings.calibration == "percentile" else 100.0,
        "per_channel": settings.per_channel,
    }
    network = build_network(graph, settings.config, samples, scale, zero, **options)
    model_file.write(settings.output, network)
    found = proof(settings, imported, network, data, labelled)
    for warning in found.warnings:
        _log.warning("warning: %s: %s", settings.model, warning)
    lines = [*table(imported), *found.notes]
    return summary(settings, imported, network) | found.as_dict() | {"notes": [*imported.notes, *found.notes]}, lines


def proof(settings: ImportSettings, imported: Imported, network: Network, data: Dataset | None, labelled: bool) -> Agreement:
    """How far the network agrees with its source in the source's own runtime, if there are samples and the runtime."""
    if data is None:
        return Agreement(reason="no samples: --data")
    if settings.classes is not None:
        reason = "the last layer was replaced"
        return Agreement(reason=reason, notes=[f"not compared with its source: {reason}"])
    found = agree(settings.model, imported, network, data, labelled)
    if found.reason:
        found.notes.append(f"not compared with its source: {found.reason}")
    return found


def summary(settings: ImportSettings, imported: Imported, network: Network) -> dict[str, Any]:
    """What an import did, for programs."""
    graph = imported.graph
    return {
        "source": str(settings.model),
        "model": str(settings.output),
        "config": settings.config,
        "kind": kind_of(network),
        "input": list(graph.input_shape),
        "input_grid": described_grid(grid_of(network)),
        "layers": len(graph.nodes),
        "weights": sum(int(node.weights.size) for node in graph.nodes if node.weights is not None),
        "quantized_source": is_quantized(graph),
        "operators": describe(imported),
        "notes": imported.notes,
    }


def export_model(model: Path, output: Path) -> dict[str, Any]:
    """Write a model file's network as ONNX. Raises FqtError."""
    from fqt_ref import model_file
    from fqt_ref.convert.export_onnx import write_onnx

    network = model_file.read(model)
    size = write_onnx(network, output)
    return {"model": str(model), "onnx": str(output), "layers": len(network.layers), "bytes": size}
