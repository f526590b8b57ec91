# SPDX-License-Identifier: Apache-2.0
"""What is in a model file, for people and for programs."""

from typing import Any

from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.errors import FqtError
from fqt_ref.input_grid import InputGrid, grid_of
from fqt_ref.kind import MEANINGS, kind_of
from fqt_ref.model_file import MAX_LAYERS
from fqt_ref.network import LAYER_RELU, LAYER_RELU6, LAYER_TRAINABLE, OP_NAMES, U8, Network, inputs_of
from fqt_ref.training_plan import arenas_of, lower_bounds
from fqt_ref.zeroth_order import zeroth_config

ZEROTH_QUERIES = 8  # whose memory is told: each takes 4 bytes more
BY_WEIGHTS = MAX_LAYERS  # as first node: no layer is estimated by nodes
ACTIVATIONS = {0: "", LAYER_RELU: "relu", LAYER_RELU | LAYER_RELU6: "relu6"}


def zeroth_trainer_bytes(network: Network, first_node: int) -> int | None:
    """Bytes lent to the trainer without back-propagation; None if the network cannot train so."""
    try:
        return zeroth_memory(network, zeroth_config(network, 1, ZEROTH_QUERIES, first_node=first_node)).trainer
    except FqtError:
        return None


def described_grid(grid: InputGrid) -> dict[str, Any]:
    """An input grid: the real value of a byte is scale * (byte - zero), from lo (byte 0) to hi (byte 255)."""
    return {"scale": float(grid.scale), "zero": grid.zero, "lo": grid.lo, "hi": grid.hi}


def describe(network: Network, file_bytes: int) -> dict[str, Any]:
    """Layers with shapes, types, scales and what trains. Sizes in bytes; trained memory is weights, biases and their gradients."""
    layers = []
    for i, layer in enumerate(network.layers):
        x, y, weights, grid = network.tensors[layer["input"]], network.tensors[i + 1], network.weights[i], network.grids[i]
        layers.append(
            {
                "layer": i,
                "op": OP_NAMES[int(layer["op"])],
                "type": "uint8" if y["type"] == U8 else "float32",
                "input": [int(x[k]) for k in "hwc"],
                "output": [int(y[k]) for k in "hwc"],
                "kernel": [int(layer["kernel_h"]), int(layer["kernel_w"])],
                "stride": [int(layer["stride_h"]), int(layer["stride_w"])],
                "dilation": [int(layer["dilation_h"]), int(layer["dilation_w"])],
                "reads": list(inputs_of(layer)),
                "activation": ACTIVATIONS[int(layer["flagset"]) & (LAYER_RELU | LAYER_RELU6)],
                "trains": bool(layer["flagset"] & LAYER_TRAINABLE),
                "weights": 0 if weights is None else int(weights.size),
                "weight_scales": [] if grid is None else grid[0].tolist(),
                "weight_zeros": [] if grid is None else grid[1].tolist(),
                "output_scale": float(y["scale"]),
                "output_zero": int(y["zero"]),
                "macs": 0 if weights is None else int(weights.size) * (int(y["h"]) * int(y["w"])),
            }
        )
    (training, inference), (training_bound, inference_bound) = arenas_of(network), lower_bounds(network)
    trained = [i for i, layer in enumerate(layers) if layer["trains"]]
    return {
        "name": network.name,
        "file_bytes": file_bytes,
        "input": [int(network.tensors[0][k]) for k in "hwc"],
        "input_grid": described_grid(grid_of(network)),
        "kind": kind_of(network),
        "classes": int(network.tensors[-1]["c"]),
        "weights": sum(layer["weights"] for layer in layers),
        "macs": sum(layer["macs"] for layer in layers),
        "trained_weights": sum(layers[i]["weights"] for i in trained),
        "trained_bytes": sum(network.weights[i].nbytes + 4 * network.weights[i].size + 8 * len(network.biases[i]) for i in trained),
        "training_arena_bytes": training,
        "training_lower_bound_bytes": training_bound,
        "inference_arena_bytes": inference,
        "inference_lower_bound_bytes": inference_bound,
        "trainer_bytes": device_memory(network).trainer if trained else None,
        "zeroth_nodes_trainer_bytes": zeroth_trainer_bytes(network, 0),
        "zeroth_weights_trainer_bytes": zeroth_trainer_bytes(network, BY_WEIGHTS),
        "layers": layers,
    }


def table(description: dict[str, Any]) -> list[str]:
    """The description as lines of text."""
    from rich.console import Console
    from rich.table import Table

    rows = Table("layer", "op", "type", "input", "output", "kernel", "weights", "scale", "trains", box=None)
    for layer in description["layers"]:
        rows.add_row(
            str(layer["layer"]),
            layer["op"] + (f" + {layer['activation']}" if layer["activation"] else ""),
            layer["type"],
            "x".join(map(str, layer["input"])),
            "x".join(map(str, layer["output"])),
            "x".join(map(str, layer["kernel"])),
            str(layer["weights"]),
            f"{layer['output_scale']:.3g}",
            "yes" if layer["trains"] else "-",
        )
    console = Console(width=140, highlight=False)
    with console.capture() as text:
        console.print(rows)
    name, weights = description["name"], description["weights"]
    kind = description["kind"]
    head = f"{name}: {kind} ({MEANINGS[kind]}), {weights} weights, {description['macs']} MACs a sample, {description['file_bytes']} bytes"
    tail = f"training: {description['trained_weights']} weights, {description['trained_bytes']} bytes of weights, biases and gradients"
    arena, bound = description["training_arena_bytes"], description["training_lower_bound_bytes"]
    plan = f"feature maps and errors: {arena} bytes to train (lower bound {bound}), {description['inference_arena_bytes']} to infer"
    grid = description["input_grid"]
    taken = f"input: {'x'.join(map(str, description['input']))} bytes of scale {grid['scale']:.6g}, zero point {grid['zero']}: "
    lines = [head, f"{taken}real values {grid['lo']:.4g}..{grid['hi']:.4g}", text.get().rstrip(), tail, plan]
    trainers = {
        "by back-propagation": description["trainer_bytes"],
        f"without, {ZEROTH_QUERIES} queries by nodes": description["zeroth_nodes_trainer_bytes"],
        "by weights": description["zeroth_weights_trainer_bytes"],
    }
    known = [f"{size} {how}" for how, size in trainers.items() if size is not None]
    return [*lines, f"bytes lent to the trainer: {'; '.join(known)}"] if known else lines
