# SPDX-License-Identifier: Apache-2.0
"""Small networks with random parameters, straight in a model file's tables: built layer by layer by hand, or drawn at random.

Valid by construction, over every operator and option of SPEC.md 4; small, because emulated Cortex-M0 train them.
"""

import math

import numpy as np

from fqt_ref.graph import conv_output
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    HARD_SWISH,
    LAYER,
    LAYER_RELU,
    LAYER_RELU6,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    OPS_WITH_WEIGHTS,
    TENSOR,
    TENSOR_ADAPTIVE,
    TENSOR_RELU,
    TENSOR_RELU6,
    U8,
    Network,
    carrying,
)
from fqt_ref.training_plan import plan_network

CONFIGS = ("uint8", "mixed", "float32")
NONE, RELU, RELU6 = 0, LAYER_RELU, LAYER_RELU | LAYER_RELU6  # activations; tensors have the same flags
ACTIVATION = TENSOR_RELU | TENSOR_RELU6
MOST_ELEMENTS = 240  # of a random network's tensor
MOST_LAYERS = 14


class Builder:
    """Appends layers; every method returns the index of the tensor that its layer makes."""

    def __init__(self, rng: np.random.RandomState, shape: tuple[int, int, int], scale: float = 1 / 255, zero: int = 3):
        self.rng = rng
        self.layers: list[np.ndarray] = []
        self.weights: list = []
        self.biases: list = []
        self.grids: list = []
        self.tensors = [self._tensor(U8, shape, NONE, np.float32(scale), zero)]
        self.rms = [float(scale) * 80]  # about, of each tensor's real values: parameters are drawn to fit

    def shape(self, t: int) -> tuple[int, int, int]:
        """(h, w, c) of a tensor."""
        return tuple(int(self.tensors[t][axis]) for axis in "hwc")  # type: ignore[return-value]

    def quantized(self, t: int) -> bool:
        return bool(self.tensors[t]["type"] == U8)

    def activation(self, t: int) -> int:
        return int(self.tensors[t]["flagset"]) & ACTIVATION

    def readers(self, t: int) -> int:
        """How many layers read a tensor."""
        return sum(t == layer["input"] or (layer["op"] == ADD and t == layer["input2"]) for layer in self.layers)

    def _tensor(self, kind: int, shape, flags: int, scale=1.0, zero: int = 0) -> np.ndarray:
        tensor = np.zeros((), TENSOR)
        tensor["type"], tensor["flagset"], tensor["scale"], tensor["zero"] = kind, flags, scale, zero
        tensor["h"], tensor["w"], tensor["c"] = shape
        if kind == U8:
            tensor["lo"], tensor["hi"] = -zero * np.float32(scale), (255 - zero) * np.float32(scale)
        return tensor

    def _grid(self, rms: float, activation: int) -> tuple[np.float32, int]:
        """Scale and zero point of a quantized output: mostly fitting, sometimes saturating or off centre."""
        scale = np.float32(6 * rms / 255 * 2 ** self.rng.uniform(-1.5, 1))
        if activation == RELU6:
            scale = np.float32(self.rng.uniform(0.025, 0.08))  # 6 lies below 255
        zero = 0 if activation else int(self.rng.randint(90, 160))
        if self.rng.randint(5) == 0:
            zero = int(self.rng.choice([0, 5, 100, 250, 255]))
        return scale, zero

    def _append(self, op: int, inputs: tuple[int, ...], shape, rms: float, activation: int = NONE, **fields) -> int:
        layer, kind = np.zeros((), LAYER), U8 if self.quantized(inputs[0]) and op != DEQUANTIZE else F32
        for field in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"):
            layer[field] = 1
        layer["op"], layer["flagset"], layer["output"] = op, activation, len(self.tensors)
        layer["input"], layer["input2"] = inputs if op == ADD else (inputs[0], 0)
        for field, value in fields.items():
            layer[field] = value
        self.layers.append(layer)
        source = self.tensors[inputs[0]]
        if op in (MAX_POOL2D, DEQUANTIZE):
            activation = self.activation(inputs[0])
        if kind == F32:
            self.tensors.append(self._tensor(F32, shape, activation))
        elif op == MAX_POOL2D:
            self.tensors.append(self._tensor(U8, shape, activation, source["scale"], int(source["zero"])))
        else:
            self.tensors.append(self._tensor(U8, shape, activation, *self._grid(rms, activation)))
        self.rms.append(max(rms * (0.7 if activation else 1), 1e-3))
        if op not in OPS_WITH_WEIGHTS:
            for column in (self.weights, self.biases, self.grids):
                column.append(None)
        return len(self.tensors) - 1

    def _parameters(self, t: int, shape: tuple[int, int, int, int], per_channel: bool, gain: float) -> None:
        """Random weights, bias and grids for a layer that reads t, so that its output has an rms of about `gain`."""
        rng, out, fan_in = self.rng, shape[0], math.prod(shape[1:])
        spread = gain / (math.sqrt(fan_in) * self.rms[t])
        if not self.quantized(t):
            self.weights.append(rng.normal(0, spread, shape).astype(np.float32))
            self.biases.append(rng.normal(0, 0.2 * gain, out).astype(np.float32))
            self.grids.append(None)
            return
        n = out if per_channel else 1
        scales = np.full(n, spread / 74) * 10 ** rng.uniform(-1.5 if per_channel else -0.3, 0.3, n)
        zeros = rng.randint(100, 150, n)
        if rng.randint(4) == 0:
            zeros[rng.randint(n)] = rng.choice([0, 255, 17])
        self.weights.append(rng.randint(0, 256, shape).astype(np.uint8))
        self.biases.append((rng.normal(0, 0.2 * gain, out) * 2**20).astype(np.int32))
        self.grids.append((scales.astype(np.float32), zeros.astype(np.int32)))

    def conv(
        self,
        t: int,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        activation: int = NONE,
        trains: bool = True,
        per_channel: bool = False,
        depthwise: bool = False,
    ) -> int:
        """A convolution; a depthwise one keeps its channels. padding: top, bottom, left, right."""
        h, w, c = self.shape(t)
        channels = c if depthwise else channels
        out_h = conv_output(h, kernel[0], stride[0], padding[0] + padding[1], dilation[0])
        out_w = conv_output(w, kernel[1], stride[1], padding[2] + padding[3], dilation[1])
        assert out_h > 0 and out_w > 0
        gain = 3.0 if activation == RELU6 else 1.0
        self._parameters(t, (channels, *kernel, 1 if depthwise else c), per_channel, gain)
        fields = {
            **{f"pad_{side}": pad for side, pad in zip(("top", "bottom", "left", "right"), padding, strict=True)},
            **{
                f"{name}_{a}": v
                for name, pair in (("kernel", kernel), ("stride", stride), ("dilation", dilation))
                for a, v in zip("hw", pair, strict=True)
            },
        }
        op = DEPTHWISE_CONV2D if depthwise else CONV2D
        made = self._append(op, (t,), (out_h, out_w, channels), gain, activation, **fields)
        self.layers[-1]["flagset"] |= LAYER_TRAINABLE if trains else 0
        return made

    def linear(self, t: int, channels: int, activation: int = NONE, trains: bool = True, per_channel: bool = False) -> int:
        """A linear layer."""
        gain = 3.0 if activation == RELU6 else 1.0
        self._parameters(t, (channels, 1, 1, math.prod(self.shape(t))), per_channel, gain)
        made = self._append(LINEAR, (t,), (1, 1, channels), gain, activation)
        self.layers[-1]["flagset"] |= LAYER_TRAINABLE if trains else 0
        return made

    def pool(self, t: int, kernel: tuple[int, int] | None = None, stride: tuple[int, int] = (1, 1), maximum: bool = False) -> int:
        """Average or maximum pooling. kernel: None for the whole input."""
        h, w, c = self.shape(t)
        kernel = kernel or (h, w)
        shape = conv_output(h, kernel[0], stride[0], 0), conv_output(w, kernel[1], stride[1], 0), c
        assert min(shape) > 0
        rms = self.rms[t] if maximum else self.rms[t] / math.sqrt(math.sqrt(math.prod(kernel)))
        fields = {"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1]}
        return self._append(MAX_POOL2D if maximum else AVG_POOL2D, (t,), shape, rms, **fields)

    def add(self, a: int, b: int, activation: int = NONE) -> int:
        """a + b."""
        return self._append(ADD, (a, b), self.shape(a), math.hypot(self.rms[a], self.rms[b]), activation)

    def hard_swish(self, t: int) -> int:
        """v relu6(v + 3) / 6."""
        return self._append(HARD_SWISH, (t,), self.shape(t), 0.7 * self.rms[t])

    def dequantize(self, t: int) -> int:
        """From uint8 to float32."""
        return self._append(DEQUANTIZE, (t,), self.shape(t), self.rms[t])

    def network(self, name: str) -> Network:
        """The network with its memory plan; quantized outputs that carry an error adapt."""
        layers, tensors = np.array(self.layers, LAYER), np.array(self.tensors, TENSOR)
        layers["grids"] = [0 if grid is None else len(grid[0]) for grid in self.grids]
        carries = carrying(layers)
        for i, layer in enumerate(layers):
            if tensors["type"][i + 1] == U8 and layer["op"] != MAX_POOL2D and carries[i + 1]:
                tensors["flagset"][i + 1] |= TENSOR_ADAPTIVE
        network = Network(name, tensors, layers, self.weights, self.biases, self.grids)
        plan_network(network, 0.0)  # no time: the plan depends on the network alone
        return network


class Drawing:
    """Draws a random graph with a Builder."""

    def __init__(self, rng: np.random.RandomState, config: str):
        self.rng, self.config = rng, config
        shape = (int(rng.randint(1, 10)), int(rng.randint(1, 10)), int(rng.randint(1, 4)))
        if rng.randint(4) == 0:
            shape = (1, int(rng.randint(4, 25)), int(rng.randint(1, 4)))  # a time series
        self.b = Builder(rng, shape, rng.uniform(0.001, 0.1), int(rng.randint(0, 256)))

    def chance(self, part: float) -> bool:
        return bool(self.rng.uniform() < part)

    def activation(self) -> int:
        return (NONE, RELU, RELU, RELU6)[self.rng.randint(4)]

    def options(self, activation: bool = True) -> dict:
        chosen = self.activation() if activation else NONE
        return {"activation": chosen, "trains": self.chance(0.6), "per_channel": self.chance(0.5)}

    def window(self, t: int, strided: bool) -> dict:
        """Random kernel, dilation, stride and padding that fit an input."""
        fields: dict = {"kernel": [], "stride": [], "dilation": [], "padding": []}
        for size in self.b.shape(t)[:2]:
            kernel, dilation = int(self.rng.randint(1, 4)), int(self.rng.choice([1, 1, 2, 3]))
            extent = dilation * (kernel - 1) + 1
            pads = [int(self.rng.randint(0, extent)) for _ in range(2)]
            if size + sum(pads) < extent:
                kernel, extent, pads = 1, 1, [0, 0]
            fields["kernel"].append(kernel)
            fields["dilation"].append(dilation)
            fields["stride"].append(int(self.rng.randint(1, 4)) if strided else 1)
            fields["padding"] += pads
        return {name: tuple(values) for name, values in fields.items()}

    def same_window(self) -> dict:
        """Random kernel and dilation with padding that keeps the shape."""
        fields: dict = {"kernel": [], "dilation": [], "padding": []}
        for _ in range(2):
            kernel, dilation = int(self.rng.randint(1, 4)), int(self.rng.randint(1, 3))
            pad = dilation * (kernel - 1)
            before = int(self.rng.randint(0, pad + 1))
            fields["kernel"].append(kernel)
            fields["dilation"].append(dilation)
            fields["padding"] += [before, pad - before]
        return {name: tuple(values) for name, values in fields.items()}

    def channels(self, t: int) -> int:
        """Channels that keep a convolution's output small."""
        h, w, _ = self.b.shape(t)
        return int(self.rng.randint(1, max(2, min(9, MOST_ELEMENTS // (h * w + 1)))))

    def plain(self, t: int) -> int:
        """One layer."""
        b, kind = self.b, self.rng.randint(12)
        h, w, _ = b.shape(t)
        if kind < 4:
            made = b.conv(t, self.channels(t), **self.window(t, True), **self.options())
        elif kind < 6:
            made = b.conv(t, 0, **self.window(t, True), **self.options(), depthwise=True)
        elif kind < 10:
            kernel = (int(self.rng.randint(1, min(h, 3) + 1)), int(self.rng.randint(1, min(w, 3) + 1)))
            stride = (int(self.rng.randint(1, 4)), int(self.rng.randint(1, 4)))
            made = b.pool(t, kernel, stride, kind < 8)
        else:
            made = b.hard_swish(t)
        return made

    def branch(self, t: int) -> int:
        """One to three layers that keep the height and width."""
        b = self.b
        for _ in range(self.rng.randint(1, 4)):
            kind = self.rng.randint(5)
            if kind < 2:
                t = b.conv(t, self.channels(t), **self.same_window(), **self.options())
            elif kind < 4:
                t = b.conv(t, 0, **self.same_window(), **self.options(), depthwise=True)
            else:
                t = b.hard_swish(t)
        return t

    def block(self, t: int) -> int:
        """A residual block: t, or a projection of it, and a branch are added; perhaps a second time."""
        b = self.b
        made = self.branch(t)
        if b.shape(made) == b.shape(t) and made != t and self.chance(0.7):
            other = t
        else:
            other = b.conv(t, b.shape(made)[2], **self.same_window(), **self.options())
        ends = (made, other) if self.chance(0.5) else (other, made)
        total = b.add(*ends, self.activation())
        if self.chance(0.3):
            total = b.add(total, other, self.activation())
        return total

    def network(self, name: str, classes: int) -> Network:
        """The whole network."""
        b, t = self.b, 0
        if self.config == "float32":
            t = b.dequantize(t)
        for _ in range(self.rng.randint(0, 5)):
            if len(b.layers) > MOST_LAYERS or math.prod(b.shape(t)) > MOST_ELEMENTS:
                break
            t = self.block(t) if self.chance(0.4) else self.plain(t)
            if self.config == "mixed" and b.quantized(t) and self.chance(0.15):
                t = b.dequantize(t)
        if self.chance(0.4):
            t = b.pool(t)
        if self.config == "mixed" and b.quantized(t):
            t = b.dequantize(t)
        if self.chance(0.4):
            t = b.linear(t, int(self.rng.randint(1, 10)), **self.options())
        self.head(t, classes)
        if not any(layer["flagset"] & LAYER_TRAINABLE for layer in b.layers):
            next(layer for layer in reversed(b.layers) if layer["op"] in OPS_WITH_WEIGHTS)["flagset"] |= LAYER_TRAINABLE
        network = b.network(name)
        self.set_error_scales(network)
        return network

    def head(self, t: int, classes: int) -> None:
        """From the last features to the logits."""
        b, kind = self.b, self.rng.randint(8)
        if kind == 0:  # the last layer has no weights
            last = b.linear(t, classes, **self.options())
            b.hard_swish(last)
        elif kind == 1:
            b.add(b.linear(t, classes, **self.options()), b.linear(t, classes, **self.options()))
        elif kind == 2:
            last = b.conv(t, classes, **self.options())
            b.pool(last, maximum=self.chance(0.3))
        else:
            b.linear(t, classes, **self.options(activation=self.chance(0.1)))

    def set_error_scales(self, network: Network) -> None:
        """Some errors have been seen before."""
        tensors = network.tensors
        for t, carries in enumerate(carrying(network.layers)[:-1]):
            if carries and tensors["type"][t] == U8 and self.chance(0.3):
                tensors["error_scale"][t] = np.float32(10 ** self.rng.uniform(-5, -1))
        for layer in network.layers[::-1]:
            if layer["op"] == MAX_POOL2D:
                tensors["error_scale"][layer["input"]] = tensors["error_scale"][layer["output"]]


def random_network(rng: np.random.RandomState, name: str, config: str, classes: int) -> Network:
    """A small random graph with random parameters, at least one layer of which trains. config: uint8, mixed or float32."""
    return Drawing(rng, config).network(name, classes)
