# SPDX-License-Identifier: Apache-2.0
"""An import proves itself: the source in its own runtime and the engine, on the same samples, output by output.

Where they disagree, the layer at which they part is found by comparing feature maps. Where both agree and both are wrong, because the
samples' bytes mean something else than the source expects, the labels tell.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.assemble import Imported
from fqt_ref.convert.grids import real_values as of_bytes
from fqt_ref.convert.runtimes import RUNTIMES, NotRun, run_source
from fqt_ref.datasets.dataset import Dataset
from fqt_ref.errors import one_line
from fqt_ref.graph import Grid
from fqt_ref.input_grid import fitted, grid_of, on_grid, real_values
from fqt_ref.kind import CLASSIFIER, kind_of
from fqt_ref.network import DEQUANTIZE, U8, Network

SAMPLES, FEWEST, LAYER_SAMPLES = 500, 50, 16
MACS = 2e10  # that the engine may spend on it
ENOUGH = 0.98
FAR = 0.5  # outputs' relative difference that is told even if classes agree, as of a network that knows one class only
PARTED, GROWN = 0.1, 3.0  # a layer's relative error, and how many times that of what it reads, from which on they part there
BETTER, TELLING = 0.1, 0.3  # accuracy: another reading of the samples is said when it gains so much, and is so far from chance to 1
NO_OUTPUT = ("dropped", "folded: hard-swish", "folded: the next")  # notes of operators that make no layer's output


@dataclass
class Agreement:
    """What was found. agreement: share of samples with the same class, None of what isn't compared or no classifier.

    differences: of the outputs, largest and mean, in real values and in steps of our outputs' grid.
    """

    compared: int = 0
    agreement: float | None = None
    reason: str = ""
    runtime: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    source_accuracy: float | None = None
    parts_at: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        found: dict[str, Any] = {"agreement": self.agreement, "compared": self.compared, "runtime": self.runtime or None}
        found |= {"not_compared": self.reason or None, "output_differences": self.differences or None}
        return found | {"source_accuracy": self.source_accuracy, "parts_at": self.parts_at or None}


def agree(path: Path, imported: Imported, network: Network, data: Dataset, labelled: bool = True) -> Agreement:
    """Compare a source with the network that was made of it, on up to SAMPLES samples of a data set's test part.

    labelled: whether the data set's labels are the source's classes.
    """
    runtime = RUNTIMES.get(path.suffix.lower(), "")
    h, w, c = imported.graph.input_shape
    data = fitted(data, (h, w, c), data.classes).data
    placed = on_grid(data, grid_of(network)).data
    count = max(FEWEST, min(SAMPLES, int(MACS / max(1, macs_of(network)))))
    samples = placed.test_x[:count]
    real = real_values(placed if placed.test_x is data.test_x else data, "test", count)
    try:
        theirs = source_outputs(path, imported, source_samples(imported, samples, real))
    except NotRun as error:
        return Agreement(reason=str(error))
    ours = real_tensors(network, samples)[-1]
    found = Agreement(len(samples), runtime=runtime)
    if is_softmax(imported) and not has_logits(path, imported):
        ours, theirs = ours - log_sum(ours), np.log(np.maximum(theirs, 1e-30)) if theirs.min() >= 0 else theirs
    describe_differences(found, network, ours, theirs)
    apart = relative(ours, theirs)
    if kind_of(network) == CLASSIFIER:
        compare_classes(found, data if labelled else None, ours, theirs)
    if apart > FAR or (found.agreement is not None and found.agreement < ENOUGH):
        found.parts_at = where_they_part(path, imported, network, samples[:LAYER_SAMPLES], real[:LAYER_SAMPLES])
        at = f"they part at {found.parts_at}" if found.parts_at else "no layer can be named"
        what = f"{runtime}'s outputs and the import's differ by {apart:.0%}"
        if found.agreement is not None and found.agreement < ENOUGH:
            what = f"{runtime} and the import tell the same class of only {found.agreement:.2%} of {count_of(found)}"
        found.warnings.append(f"{what}; {at}")
    if imported.sample_type == "float32" and imported.graph.input_grid is None and found.source_accuracy is not None:
        found.warnings += better_readings(path, imported, data, real, found.source_accuracy)
    return found


def count_of(found: Agreement) -> str:
    """How many samples, in words."""
    return f"{found.compared} sample{'' if found.compared == 1 else 's'}"


def compare_classes(found: Agreement, data: Dataset | None, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fill in how often both tell the same class, and how often the source is right."""
    found.agreement = float(np.mean(ours.argmax(1) == theirs.argmax(1)))
    if data is not None and data.classes <= theirs.shape[1]:
        found.source_accuracy = float(np.mean(theirs.argmax(1) == data.test_y[: len(theirs)]))
    found.notes.insert(0, f"{count_of(found)} in {found.runtime} and here: the same class of {found.agreement:.2%}")


def macs_of(network: Network) -> int:
    """Multiply-accumulates of a sample."""
    return sum(
        int(weights.size) * int(network.tensors[i + 1]["h"]) * int(network.tensors[i + 1]["w"])
        for i, weights in enumerate(network.weights)
        if weights is not None
    )


def describe_differences(found: Agreement, network: Network, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fill in how far outputs [n, outputs] are apart."""
    off, last = np.abs(ours - theirs), network.tensors[-1]
    found.differences = {"max": float(off.max()), "mean": float(off.mean())}
    steps = ""
    if last["type"] == U8:
        found.differences |= {"max_steps": float(off.max() / last["scale"]), "mean_steps": float(off.mean() / last["scale"])}
        steps = f" ({found.differences['max_steps']:.1f} and {found.differences['mean_steps']:.2g} steps of their grid)"
    numbers = f"{found.differences['max']:.3g} at most, {found.differences['mean']:.3g} on average{steps}"
    found.notes.append(f"{count_of(found)}: outputs differ from {found.runtime}'s by {numbers}")


# ---- the source ----


def source_samples(imported: Imported, samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Samples [n, h, w, c] as the source takes them: real values, or for an input of bytes the bytes of its own grid."""
    x = real
    if imported.sample_type != "float32":
        x = (samples.astype(np.int16) - 128).astype(np.int8) if imported.sample_type == "int8" else samples
    if imported.layout == "chw":
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x).reshape(len(x), *imported.sample_shape)


def tensors_of(imported: Imported, node: int) -> list[str]:
    """What the source calls a node's output, the likeliest name first."""
    rows = [row for row in imported.rows if row.node == node and row.tensor and not row.note.startswith(NO_OUTPUT)]
    return [row.tensor for row in reversed(rows)]


def is_softmax(imported: Imported) -> bool:
    """Whether the source's output stands behind a softmax, which the import leaves out."""
    return any(row.note.startswith("dropped: training has its own") for row in imported.rows)


def has_logits(path: Path, imported: Imported) -> bool:
    """Whether the runtime shows the tensor before the softmax: PyTorch's names are not those that its exporter gives."""
    return RUNTIMES.get(path.suffix.lower()) != "PyTorch" and bool(tensors_of(imported, len(imported.graph.nodes) - 1))


def source_outputs(path: Path, imported: Imported, x: np.ndarray) -> np.ndarray:
    """The source's logits float[n, outputs] as real values; its outputs where the runtime doesn't show logits. Raises NotRun."""
    last = len(imported.graph.nodes) - 1
    names = tensors_of(imported, last) if has_logits(path, imported) else []
    made = run_source(path, x, names)
    for name in (*names, ""):
        if name in made:
            values = reals(made[name].reshape(len(x), -1), imported.graph.nodes[last].output_grid)
            if values is not None and values.shape[1] == np.prod(imported.graph.shape(last + 1)):
                return values
    raise NotRun("its outputs have another number than the import's")


def reals(values: np.ndarray, grid: Grid | None) -> np.ndarray | None:
    """float64 of a source's array; bytes need their grid."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype not in (np.int8, np.uint8) or grid is None:
        return None
    return of_bytes((values.astype(np.int16) + (128 if values.dtype == np.int8 else 0)).astype(np.uint8)[None], grid)[0].astype(np.float64)


def log_sum(logits: np.ndarray) -> np.ndarray:
    """log of the sum of exponentials, [n, 1]."""
    most = logits.max(1, keepdims=True)
    return most + np.log(np.exp(logits - most).sum(1, keepdims=True))


# ---- the engine ----


def real_tensors(network: Network, samples: np.ndarray, every: bool = False) -> list[np.ndarray]:
    """What the engine makes of bytes [n, h, w, c] as real values float64[n, elements]: the outputs, or every tensor of the tables."""
    from fqt_ref.state import feature_bytes
    from fqt_ref.terminal import say_if_slow
    from fqt_ref.train_step import forward
    from fqt_ref.training import flat, prepared_state

    say_if_slow()
    state, last = prepared_state(network), len(network.tensors) - 1
    wanted = range(last + 1) if every else [last]
    rows: list[list[np.ndarray]] = [[] for _ in wanted]
    for sample in flat(samples):
        forward(state, sample)
        for row, t in zip(rows, wanted, strict=True):
            record = network.tensors[t]
            kind = np.uint8 if record["type"] == U8 else np.float32
            values = np.frombuffer(feature_bytes(state, t), kind).astype(np.float64)
            row.append((values - int(record["zero"])) * float(record["scale"]) if kind is np.uint8 else values)
    return [np.array(row) for row in rows]


# ---- where they part ----


def where_they_part(path: Path, imported: Imported, network: Network, samples: np.ndarray, real: np.ndarray) -> str:
    """The first layer whose feature maps differ by more than PARTED of their size, and GROWN times more than what it reads; or "".

    If there is none, the layer at which the difference grows most.
    """
    graph = imported.graph
    names = [tensors_of(imported, i) for i in range(len(graph.nodes))]
    try:
        made = run_source(path, source_samples(imported, samples, real), [name for some in names for name in some])
    except NotRun:
        return ""
    tables = real_tensors(network, samples, every=True)
    ours = [tables[i + 1] for i in range(len(network.layers)) if network.layers[i]["op"] != DEQUANTIZE]
    errors = {0: relative(tables[0], real.reshape(len(real), -1).astype(np.float64))}
    if errors[0] > PARTED:
        return f"the input, whose values the grid of its bytes changes by {errors[0]:.0%}"
    grids = [graph.input_grid]
    for i, node in enumerate(graph.nodes):
        grids.append(grids[node.inputs[0]] if node.op == "max_pool2d" else node.output_grid)
        maps = (in_our_axes(made.get(name), graph.shape(i + 1), grids[-1], imported) for name in names[i])
        theirs = next((values for values in maps if values is not None), None)
        if theirs is not None:
            errors[i + 1] = relative(ours[i], theirs)
    growth = {}
    for i, node in enumerate(graph.nodes):
        if i + 1 not in errors:
            continue
        before = max([errors[t] for t in node.inputs if t in errors] or [0.0])
        growth[i] = errors[i + 1] / max(before, PARTED / GROWN / 2)
        if errors[i + 1] > PARTED and growth[i] > GROWN:
            return layer_name(imported, i, errors[i + 1])
    most = max(growth, key=lambda i: growth[i], default=None)
    return "" if most is None else layer_name(imported, most, errors[most + 1])


def in_our_axes(values: np.ndarray | None, shape: tuple[int, int, int], grid: Grid | None, imported: Imported) -> np.ndarray | None:
    """A source's feature map as float64[n, h * w * c]; None if it is not this layer's, or its bytes have no grid."""
    if values is None or values[0].size != np.prod(shape):
        return None
    result = reals(values, grid)
    h, w, c = shape
    if result is not None and imported.layout == "chw" and (result.shape[1:] != shape or shape == (c, h, w)):
        result = result.reshape(-1, c, h, w).transpose(0, 2, 3, 1)
    return None if result is None else result.reshape(len(values), -1)


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference, of what the source makes."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2)) / max(np.sqrt(np.mean(theirs**2)), 1e-12))


def layer_name(imported: Imported, node: int, error: float) -> str:
    """A layer in words."""
    one = imported.graph.nodes[node]
    return f"layer {node}, {one.op} '{one_line(one.name, 60)}', whose outputs differ by {error:.0%}"


# ---- what the samples mean ----


def better_readings(path: Path, imported: Imported, data: Dataset, real: np.ndarray, accuracy: float) -> list[str]:
    """Whether the source tells the labels much better from samples that are read in another range."""
    readings = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}
    if data.scale is not None:
        unit = data.test_x[: len(real)].astype(np.float64) / 255
    elif real.min() >= 0 and real.max() <= 1 and real.max() > 0.5:
        unit = real.astype(np.float64)
    else:
        return []
    chance = 1 / max(data.classes, 2)
    best, name = max(accuracy + BETTER, chance + TELLING * (1 - chance)), ""
    for reading, (lo, hi) in readings.items():
        x = (unit * (hi - lo) + lo).astype(np.float32)
        if np.allclose(x, real, atol=1e-3 * (hi - lo)):
            continue
        try:
            outputs = source_outputs(path, imported, source_samples(imported, x, x))
        except NotRun:
            return []
        right = float(np.mean(outputs.argmax(1) == data.test_y[: len(real)]))
        if right > best:
            best, name = right, reading
    if not name:
        return []
    option = "--input-scale 1" if name == "0..255" else f"--data-range {name}"
    remedy = f"add {option}" if data.scale is not None else f"scale the samples to {name}"
    return [f"it seems to want samples in {name}: {best:.2%} of the labels are right then, {accuracy:.2%} as they are read now: {remedy}"]
