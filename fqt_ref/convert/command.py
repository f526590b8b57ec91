# SPDX-License-Identifier: Apache-2.0
"""What `fqt import` and `fqt export` do: files in, files out, and what there is to tell."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import MAX_CLASSES
from fqt_ref.convert import load
from fqt_ref.convert.assemble import Imported
from fqt_ref.convert.head import replace_head
from fqt_ref.convert.report import describe, table
from fqt_ref.errors import FqtError
from fqt_ref.graph import WEIGHTED, Graph
from fqt_ref.kind import kind_of
from fqt_ref.network import Network

CALIBRATION_SAMPLES = 256
CALIBRATIONS = ("minmax", "percentile")


@dataclass(frozen=True)
class ImportSettings:
    """How to import. percentile counts with calibration "percentile" only; input_scale, input_zero: what a byte of the data means.

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


def is_quantized(graph: Graph) -> bool:
    """Whether the source prescribes every grid, so that nothing has to be calibrated."""
    needed = [node for node in graph.nodes if node.op != "max_pool2d"]
    weighted = [node for node in graph.nodes if node.op in WEIGHTED]
    return graph.input_grid is not None and all(n.output_grid for n in needed) and all(n.weight_grid for n in weighted)


def samples_for(graph: Graph, settings: ImportSettings) -> tuple[np.ndarray, np.float32, int]:
    """Calibration samples uint8[n, h, w, c], and the scale and zero point of their bytes.

    A quantized source knows what its input's bytes mean and needs no samples. Raises FqtError if samples are needed or do not fit.
    """
    h, w, c = graph.input_shape
    if settings.data is None:
        if not is_quantized(graph):
            raise FqtError(f"{settings.model} does not prescribe all ranges: add samples to measure them on, --data NAME")
        samples = np.random.RandomState(settings.seed % 2**32).randint(0, 256, (8, h, w, c)).astype(np.uint8)
        scale, zero = None, 0
    else:
        from fqt_ref.datasets import load as load_data

        data = load_data(settings.data, settings.data_dir)
        samples, scale, zero = data.train_x[:CALIBRATION_SAMPLES], data.scale, data.zero
        if samples.shape[1:] != (h, w, c):
            raise FqtError(
                f"data set {data.name} has samples of shape {samples.shape[1:]}, {settings.model} takes {(h, w, c)}: choose data that fits"
            )
    if settings.input_scale is not None:
        scale, zero = np.float32(settings.input_scale), settings.input_zero
        if not np.isfinite(scale) or scale < np.float32(2.0**-126) or not 0 <= zero <= 255:
            raise FqtError(f"an input scale of {settings.input_scale:g} and zero point of {zero} are not possible: positive, and 0..255")
    if graph.input_grid is not None:
        scale, zero = graph.input_grid.scale[0], int(graph.input_grid.zero[0])
    if scale is None:
        raise FqtError(f"{settings.model} does not say what its input's bytes mean: add --data NAME or --input-scale")
    return samples, np.float32(scale), int(zero)


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
    samples, scale, zero = samples_for(graph, settings)
    options: dict[str, Any] = {
        "seed": settings.seed,
        "train_last": settings.train_last,
        "percentile": settings.percentile if settings.calibration == "percentile" else 100.0,
        "per_channel": settings.per_channel,
    }
    network = build_network(graph, settings.config, samples, scale, zero, **options)
    model_file.write(settings.output, network)
    return summary(settings, imported, network), table(imported)


def summary(settings: ImportSettings, imported: Imported, network: Network) -> dict[str, Any]:
    """What an import did, for programs."""
    graph = imported.graph
    return {
        "source": str(settings.model),
        "model": str(settings.output),
        "config": settings.config,
        "kind": kind_of(network),
        "input": list(graph.input_shape),
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
