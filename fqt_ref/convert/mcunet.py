# SPDX-License-Identifier: Apache-2.0
"""The int8 networks of "On-Device Training Under 256KB Memory" (a JSON list of layers, arrays in an .npz beside it) to a Graph."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref.convert.assemble import Assembler, Imported, Value
from fqt_ref.convert.grids import make_grid, same_grid, weights_on_grid
from fqt_ref.datasets.npz_archive import read_arrays
from fqt_ref.errors import FqtError
from fqt_ref.graph import Grid

INT8 = np.dtype(np.int8)


def load_mcunet(path: Path) -> Imported:
    """Import NAME.json with the arrays of NAME.npz. Raises FqtError: a file is missing or damaged, or has layers of another kind.

    A layer whose output grid begins at 0 ends in a ReLU6: the format knows no activations, only the clamp of the grid.
    """
    arrays_path = path.with_suffix(".npz")
    try:
        layers = json.loads(path.read_text())
    except OSError as error:
        raise FqtError(f"cannot read {path}: {error.strerror}; name a file that can be read") from error
    except (ValueError, RecursionError) as error:
        raise FqtError(f"{path} is no JSON, or damaged; copy it again") from error
    if not arrays_path.is_file():
        raise FqtError(f"{path} needs its arrays in {arrays_path.name} beside it, which is not there; copy both")
    arrays: dict[str, Any] = dict(read_arrays(arrays_path))
    try:
        return _Importer(path.stem, layers, arrays).run()
    except FqtError as error:
        raise FqtError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise FqtError(f"{path}: not the list of layers that it should be ({type(error).__name__}: {error}); copy it again") from error


class _Importer:
    def __init__(self, name: str, layers: dict[str, Any], arrays: dict[str, np.ndarray]):
        self.layers, self.arrays = layers, arrays
        first = layers["first_conv"]
        size, channels = int(first["in_shape"]), int(first["in_channel"])
        self.assembler = Assembler(name, (size, size, channels))

    def run(self) -> Imported:
        first = self.layers["first_conv"]
        value = Value(0, self.assembler.graph.input_shape)
        self.assembler.prescribe(value, grid(first["params"], "x"))
        value = self.conv(first, "first_conv", value)
        for i, block in enumerate(self.layers["blocks"]):
            value = self.block(block, f"blocks.{i}", value)
        if self.layers.get("feature_mix") is not None:
            value = self.conv(self.layers["feature_mix"], "feature_mix", value)
        h, w, c = self.assembler.shape(value)
        classifier = self.layers["classifier"]
        value = self.assembler.add("avg_pool2d", ("pool", "pool"), [value], True, channels=c, kernel=(h, w))
        self.assembler.prescribe(value, grid(classifier["params"], "x"))
        return self.assembler.finish(self.conv(classifier, "classifier", value, linear=True))

    def block(self, block: dict[str, Any], name: str, value: Value) -> Value:
        if block.get("se") is not None:
            raise FqtError(f"{name} has squeeze-and-excitation, which cannot be imported")
        x = value
        for part in ("pointwise1", "depthwise", "pointwise2"):
            if block[part] is not None:
                x = self.conv(block[part], f"{name}.{part}", x)
        if block["residual"] is None:
            return x
        params = block["residual"]["params"]
        identity = self.assembler.graph.nodes[value.tensor - 1].output_grid if value.tensor else self.assembler.graph.input_grid
        if identity is None or not same_grid(identity, grid(params, "x")):
            raise FqtError(f"{name}: the residual reads its block's input on another grid than that of the layer that makes it")
        total = self.assembler.add("add", ("residual", f"{name}.residual"), [value, x], True, channels=self.assembler.shape(x)[2])
        self.assembler.prescribe(total, grid(params, "y"))
        return total

    def conv(self, layer: dict[str, Any], name: str, value: Value, linear: bool = False) -> Value:
        params = layer["params"]
        bytes_ = self.array(params["weight"])
        steps = self.array(params["w_scales"])
        if bytes_.dtype != np.int8 or bytes_.ndim != 4 or len(steps) != len(bytes_):
            raise FqtError(f"{name} has weights {bytes_.dtype}{list(bytes_.shape)} with {len(steps)} scales; int8[out, in, h, w] is needed")
        shifted = (bytes_.astype(np.int16) + 128).astype(np.uint8).transpose(0, 2, 3, 1)
        weights, weight_grid = weights_on_grid(np.ascontiguousarray(shifted), make_grid(steps, 0, INT8))
        input_scale = float(np.float32(params["x_scale"]))
        bias = (self.array(params["bias"]).astype(np.float64) * input_scale * steps.astype(np.float64)).astype(np.float32)
        fields: dict[str, Any] = {"channels": len(weights), "weights": weights, "bias": bias, "weight_grid": weight_grid}
        output = grid(params, "y")
        if linear:
            op, source = "linear", "linear"
            fields["weights"] = weights.reshape(len(weights), 1, 1, -1)
        else:
            depthwise, channels = bool(layer["depthwise"]), self.assembler.shape(value)[2]
            op = source = "depthwise_conv2d" if depthwise else "conv2d"
            groups = int(layer["groups"])
            if groups != (channels if depthwise else 1) or weights.shape[3] != (1 if depthwise else channels):
                raise FqtError(f"{name} has {groups} groups and weights for {weights.shape[3]} of {channels} channels")
            kernel, stride = weights.shape[1:3], int(layer["stride"])
            pad_h, pad_w = kernel[0] // 2, kernel[1] // 2
            fields |= {"kernel": kernel, "stride": (stride, stride), "padding": (pad_h, pad_h, pad_w, pad_w)}
            if int(output.zero[0]) == 0:
                fields["activation"] = "relu6"
        made = self.assembler.add(op, (source, name), [value], True, **fields)
        h, w, _ = self.assembler.shape(made)
        if not linear and (h, w) != (int(layer["out_shape"]),) * 2:
            raise FqtError(f"{name} gives {h}x{w} where {layer['out_shape']} is written")
        self.assembler.prescribe(made, output)
        return made

    def array(self, entry: dict[str, Any]) -> np.ndarray:
        array = self.arrays.get(entry["array"])
        if array is None:
            raise FqtError(f"the .npz has no array '{entry['array']}'")
        if list(array.shape) != list(entry["shape"]):
            raise FqtError(f"array '{entry['array']}' has shape {list(array.shape)}, not {entry['shape']}")
        return array


def grid(params: dict[str, Any], which: str) -> Grid:
    """The grid of a layer's input ("x") or output ("y")."""
    return make_grid(params[f"{which}_scale"], params[f"{which}_zero"], INT8)
