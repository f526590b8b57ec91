# SPDX-License-Identifier: Apache-2.0
"""Golden cases of whole training on the smallest networks that show a clause: ReLU6's limit, poolings that overlap, a partial minibatch,
frozen last layers, values at both ends of their ranges. Small enough for every machine and for plain Python."""

from collections.abc import Iterator

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.build import ACT_FLAGS
from fqt_ref.golden.format import Case
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    HARD_SWISH,
    LAYER,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    OPS_WITH_WEIGHTS,
    TENSOR,
    TENSOR_ADAPTIVE,
    U8,
    Network,
    carrying,
)
from fqt_ref.training_plan import plan_network

BIAS_MAX = (1 << 30) - 1


class Tiny:
    """A network that grows layer by layer, with numbers of one's choice and random weights."""

    def __init__(self, seed: int, shape: tuple[int, int, int], scale=1 / 64, zero=100):
        self.rng = np.random.RandomState(seed)
        self.tensors, self.layers = [tensor(shape, U8, 0, scale, zero)], list[np.ndarray]()
        self.parameters: list = []

    def add(self, op, shape=None, at=None, activation="", grid=(1 / 32, 60), **options) -> int:
        """Add a layer that reads tensor `at`, the last one unless given, or two; returns its output tensor.

        shape: of the output, its input's unless given; grid: (scale, zero) of a quantized output; options: fields of the records,
        window (kernel, stride, padding, dilation), trained, grids, spread and middle of the weights' bytes, s_w, bias.
        """
        inputs = (at,) if isinstance(at, int) else (at or (len(self.layers),))
        x = self.tensors[inputs[0]]
        shape = shape or tuple(int(x[axis]) for axis in "hwc")
        kind = F32 if op == DEQUANTIZE else int(x["type"])
        keeps = op in (MAX_POOL2D, DEQUANTIZE)
        flags = int(x["flagset"]) & 5 if keeps else ACT_FLAGS[activation]
        y = tensor(shape, kind, flags, *grid) if kind == U8 else tensor(shape, F32, flags)
        y["error_scale"] = options.get("error_scale", 0)
        self.tensors.append(y)
        record = np.zeros((), LAYER)
        record["op"], record["flagset"] = op, 0 if keeps else flags
        record["input"], record["input2"], record["output"] = inputs[0], inputs[-1] if op == ADD else 0, len(self.tensors) - 1
        window = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), **options.get("window", {})}
        for field in ("kernel", "stride", "dilation"):
            record[f"{field}_h"], record[f"{field}_w"] = window[field]
        record["pad_top"], record["pad_bottom"], record["pad_left"], record["pad_right"] = window.get("padding", (0, 0, 0, 0))
        self.layers.append(record)
        self.parameters.append(self.weights_of(record, x, y, options) if op in OPS_WITH_WEIGHTS else (None, None, None))
        return len(self.layers)

    def weights_of(self, record, x, y, options) -> tuple:
        """Weights, biases and grids of a layer; frozen if it is not trained."""
        out, depth = int(y["c"]), {CONV2D: int(x["c"]), DEPTHWISE_CONV2D: 1}.get(int(record["op"]), int(x["h"]) * int(x["w"]) * int(x["c"]))
        size = (out, int(record["kernel_h"]), int(record["kernel_w"]), depth)
        record["flagset"] |= LAYER_TRAINABLE if options.get("trained", True) else 0
        if y["type"] == F32:
            return self.rng.standard_normal(size).astype(np.float32), self.rng.standard_normal(out).astype(np.float32), None
        middle, spread, n = options.get("middle", 128), options.get("spread", 100), out if options.get("grids") else 1
        weights = np.clip(middle + self.rng.randint(-spread, spread + 1, size), 0, 255).astype(np.uint8)
        bias = np.array(options.get("bias", self.rng.randint(-(1 << 19), 1 << 19, out)), np.int32)
        record["grids"] = n
        scales = (np.float32(options.get("s_w", 1 / 256)) * (1 + np.arange(n) / 8)).astype(np.float32)
        return weights, bias, (scales, 128 - np.arange(n, dtype=np.int32) % 100)

    def network(self, name: str) -> Network:
        """The network, with ranges that adapt wherever they may, and its memory planned."""
        tensors, layers = np.array(self.tensors, TENSOR), np.array(self.layers, LAYER)
        for i, carries in enumerate(carrying(layers)[1:]):
            if carries and tensors["type"][i + 1] == U8 and layers["op"][i] != MAX_POOL2D:
                tensors["flagset"][i + 1] |= TENSOR_ADAPTIVE
        network = Network(name, tensors, layers, *map(list, zip(*self.parameters, strict=True)))
        plan_network(network)
        return network


def tensor(shape, kind, flags, scale=1, zero=0) -> np.ndarray:
    """A tensor's record; a quantized one's range is that of its grid."""
    record = np.zeros((), TENSOR)
    record["type"], record["flagset"] = kind, flags
    record["h"], record["w"], record["c"] = shape
    record["scale"], record["zero"] = scale, zero
    if kind == U8:
        record["lo"], record["hi"] = np.float32(-zero) * np.float32(scale), np.float32(255 - zero) * np.float32(scale)
    return record


def residual(config: str, grids: bool) -> Network:
    """Every operator once; ReLU6 where its upper limit lies inside the grid, poolings that overlap."""
    tiny = Tiny(20, (5, 4, 2))
    three = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    if config == "float32":
        tiny.add(DEQUANTIZE)
    skip = tiny.add(CONV2D, (5, 4, 3), activation="relu6", grid=(0.04, 3), window=three, grids=grids, s_w=1 / 40)
    tiny.add(DEPTHWISE_CONV2D, activation="relu6", grid=(0.04, 0), window=three, grids=grids, s_w=1 / 40)
    tiny.add(HARD_SWISH, grid=(0.04, 9))
    tiny.add(ADD, at=(skip, tiny.add(CONV2D, grid=(0.05, 90), s_w=1 / 40)), activation="relu6", grid=(0.03, 0))
    tiny.add(MAX_POOL2D, (4, 3, 3), window={"kernel": (2, 2)})
    if config == "mixed":
        tiny.add(DEQUANTIZE)
    tiny.add(AVG_POOL2D, (3, 2, 3), window={"kernel": (2, 2)}, grid=(0.03, 10))
    tiny.add(LINEAR, (1, 1, 6), activation="relu", grid=(0.05, 0), grids=grids, s_w=1 / 60)
    tiny.add(LINEAR, (1, 1, 4), grid=(0.1, 120), s_w=1 / 60)
    return tiny.network(f"residual {config}")


def frozen_last() -> Network:
    """The last layer with weights is frozen: the one in front of it is not exempt from sparse updates."""
    tiny = Tiny(21, (1, 1, 6))
    tiny.add(LINEAR, (1, 1, 7), activation="relu", grid=(1 / 64, 0))
    tiny.add(LINEAR, (1, 1, 3), trained=False, s_w=1 / 100)
    return tiny.network("frozen last")


def pooled() -> Network:
    """Two poolings in a row, whose records say other scales, and an error scale, than are in force."""
    tiny = Tiny(22, (6, 6, 1))
    tiny.add(CONV2D, (6, 6, 3), activation="relu", grid=(1 / 50, 0), error_scale=0.5)
    tiny.add(MAX_POOL2D, (4, 4, 3), window={"kernel": (3, 3)}, grid=(2.0, 7), error_scale=0.25)
    tiny.add(MAX_POOL2D, (2, 2, 3), window={"kernel": (3, 3)}, grid=(3.0, 8), error_scale=0.004)
    tiny.add(LINEAR, (1, 1, 3), grid=(1 / 16, 128), s_w=1 / 8)
    return tiny.network("pooled")


def pooled_logits() -> Network:
    """The logits are what max pooling leaves: their error scale is fixed, and so is that of its input."""
    tiny = Tiny(23, (2, 2, 2))
    tiny.add(CONV2D, (2, 2, 3), window={"kernel": (1, 1)}, grid=(1 / 16, 100), s_w=1 / 32)
    tiny.add(MAX_POOL2D, (1, 1, 3), window={"kernel": (2, 2)})
    return tiny.network("pooled logits")


def at_ends() -> Network:
    """Weights at both ends of their grid, biases at both of theirs, logits at 0 and 255 and so far apart that exponents saturate."""
    tiny = Tiny(24, (1, 1, 5))
    tiny.add(LINEAR, (1, 1, 6), grid=(1 / 300, 128), spread=400, s_w=1 / 64, bias=[BIAS_MAX, -BIAS_MAX, 0, 1 << 28, -(1 << 28), 5])
    tiny.add(LINEAR, (1, 1, 4), grid=(120.0, 128), spread=400, s_w=2.0**13, bias=[BIAS_MAX, -BIAS_MAX, 1, 0])
    return tiny.network("at ends")


def hardly_any_error() -> Network:
    """Errors so small that their scale stays as it is."""
    tiny = Tiny(25, (1, 1, 4))
    tiny.add(LINEAR, (1, 1, 4), activation="relu", grid=(1 / 64, 0), error_scale=1e-3)
    tiny.add(LINEAR, (1, 1, 3), grid=(2.0**-62, 128), s_w=2.0**-62, bias=[0, 0, 0], error_scale=0)
    return tiny.network("hardly any error")


def float_logits() -> Network:
    """Logits that dequantize makes: float32 behind quantized layers alone."""
    tiny = Tiny(27, (2, 2, 1))
    tiny.add(CONV2D, (2, 2, 2), grid=(1 / 32, 128), s_w=1 / 64)
    tiny.add(LINEAR, (1, 1, 3), grid=(1 / 16, 128), s_w=1 / 64)
    tiny.add(DEQUANTIZE)
    return tiny.network("float logits")


def wide() -> Network:
    """A grid a channel, a fan-out of 227, one more than lets the factors of errors have all their bits, and one of two, whose second
    grid is the largest. Error scales at which a bit of the factors shows."""
    tiny = Tiny(28, (1, 1, 2))
    tiny.add(LINEAR, (1, 1, 3), grid=(1 / 32, 128), s_w=1 / 64, error_scale=1 / 8)
    tiny.add(LINEAR, (1, 1, 227), activation="relu", grid=(1 / 32, 0), grids=True, s_w=1 / 256, trained=False, error_scale=1 / 300)
    tiny.add(LINEAR, (1, 1, 2), grid=(1 / 16, 128), grids=True, s_w=1 / 256, trained=False)
    return tiny.network("wide")


def many_taps() -> Network:
    """The same of a depthwise convolution, whose fan-out is its 240 taps."""
    tiny = Tiny(30, (4, 4, 3))
    tiny.add(CONV2D, grid=(1 / 32, 128), s_w=1 / 64, error_scale=1e-3)
    window = {"kernel": (16, 15), "padding": (6, 6, 6, 5)}
    tiny.add(DEPTHWISE_CONV2D, (1, 1, 3), grid=(1 / 32, 128), window=window, grids=True, s_w=1 / 256, trained=False, error_scale=1 / 300)
    tiny.add(LINEAR, (1, 1, 2), grid=(1 / 16, 128), s_w=1 / 256, trained=False)
    return tiny.network("many taps")


def coarse() -> Network:
    """A grid on which 6 is less than half a step: ReLU6 leaves nothing of it."""
    tiny = Tiny(31, (1, 1, 3))
    tiny.add(LINEAR, activation="relu6", grid=(13.0, 0), s_w=1 / 4)
    tiny.add(LINEAR, (1, 1, 2), grid=(1 / 4, 128), s_w=1 / 16)
    return tiny.network("coarse")


def frozen_first() -> Network:
    """The first layer is frozen: inputs of the first trained one are made before its perturbations."""
    tiny = Tiny(32, (1, 1, 4))
    tiny.add(LINEAR, activation="relu", grid=(1 / 32, 0), trained=False, s_w=1 / 64)
    tiny.add(LINEAR, (1, 1, 3), activation="relu", grid=(1 / 32, 0), s_w=1 / 64)
    tiny.add(LINEAR, (1, 1, 2), grid=(1 / 16, 128), s_w=1 / 64)
    return tiny.network("frozen first")


def frozen_branch() -> Network:
    """A frozen layer that carries no error lies behind a trained one in the file."""
    tiny = Tiny(33, (1, 1, 4))
    tiny.add(LINEAR, (1, 1, 3), grid=(1 / 32, 128), s_w=1 / 64)
    tiny.add(LINEAR, (1, 1, 3), at=0, grid=(1 / 32, 128), trained=False, s_w=1 / 64)
    tiny.add(ADD, at=(1, 2), grid=(1 / 16, 128))
    tiny.add(LINEAR, (1, 1, 2), grid=(1 / 16, 128), s_w=1 / 64)
    return tiny.network("frozen branch")


def one_class() -> Network:
    """One class: the loss is always 0, and so is the largest."""
    tiny = Tiny(26, (1, 1, 4))
    tiny.add(LINEAR, (1, 1, 3), activation="relu", grid=(1 / 64, 0))
    tiny.add(LINEAR, (1, 1, 1))
    return tiny.network("one class")


def course(network: Network, seed: int, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random samples and labels, the ends of the bytes among them."""
    rng = np.random.RandomState(seed)
    x, classes = network.tensors[0], int(network.tensors[-1]["c"])
    samples = rng.randint(0, 256, (count, int(x["h"]) * int(x["w"]) * int(x["c"]))).astype(np.uint8)
    samples[0], samples[1][::2] = 255 * (np.arange(samples.shape[1]) % 2), 255
    return samples, rng.randint(0, classes, count)


def trace_cases() -> Iterator[Case]:
    """Three updates, the last of a partial minibatch: every tensor of every step."""
    from fqt_ref.golden.steps import trace_case

    plans = (
        (residual("uint8", False), 0.02, 0.3, False),
        (residual("uint8", True), 0.02, 0.3, True),
        (residual("mixed", True), 0.02, 1.0, False),
        (residual("float32", False), 0.02, 0.3, False),
        (frozen_last(), 0.02, 0.02, False),
        (pooled(), 0.02, 1.0, False),
        (pooled_logits(), 0.02, 0.5, True),
        (at_ends(), 1.0, 1.0, False),
        (hardly_any_error(), 0.01, 1.0, False),
        (one_class(), 0.01, 0.5, False),
        (float_logits(), 0.02, 0.0, False),
    )
    for batch in (259, 260):  # the last that leaves 8 fraction bits at one position, and the first that leaves 7
        settings = ts.train_config(batch, 0.02, 0.5, 0.9, seed=batch)
        yield trace_case(f"frozen last, batch {batch}", frozen_last(), settings, *course(frozen_last(), 50), 2)
    yield trace_case("wide, grid a channel", wide(), ts.train_config(2, 0.02, seed=51), *course(wide(), 51), 2)
    yield trace_case("many taps, grid a channel", many_taps(), ts.train_config(2, 0.02, seed=53), *course(many_taps(), 53), 2)
    yield trace_case("coarse", coarse(), ts.train_config(2, 0.02, seed=54), *course(coarse(), 54), 2)
    yield trace_case("frozen branch", frozen_branch(), ts.train_config(2, 0.02, seed=55), *course(frozen_branch(), 55), 2)
    for i, (network, rate, lambda_min, last) in enumerate(plans):
        settings = ts.train_config(2, rate, lambda_min, 0.9 if lambda_min < 0.9 else 1.0, last, seed=30 + i)
        grids = ", grid a channel" if any(n > 1 for n in network.layers["grids"]) else ""
        yield trace_case(f"{network.name}{grids}", network, settings, *course(network, 40 + i), 5)


def option_cases() -> Iterator[Case]:
    """The options of SPEC.md 16 on the operators that send errors, with grids a channel and a rest of one sample."""
    from fqt_ref.golden.steps import trace_case

    plans = ((residual("uint8", True), "moving-average", "all"), (pooled(), "literal", "all"), (float_logits(), "moving-average", "all"))
    for i, (network, weight_range, errors) in enumerate(plans):
        options = {"weight_range": weight_range, "range_rate": 0.3, "stochastic_errors": errors}
        settings = ts.train_config(2, 0.02, 0.6, 0.9, seed=80 + i, **options)
        yield trace_case(f"{network.name}, {weight_range}, {errors}", network, settings, *course(network, 90 + i), 3)


def zeroth_cases() -> Iterator[Case]:
    """The same without back-propagation: clamps of perturbations and of differences, each way to a gradient, a rest of one sample."""
    from fqt_ref.golden.steps import zeroth_trace_case

    plans: tuple[tuple[Network, dict], ...] = (
        (residual("uint8", True), dict(queries=2, weight_step=127, bias_step=127, node_step=127, first_node=3)),
        (residual("uint8", False), dict(queries=1, weight_step=3, bias_step=0, node_step=90, first_node=255, antithetic=False)),
        (pooled(), dict(queries=2, node_step=9, first_node=0, exact_last=True)),
        (pooled_logits(), dict(queries=3, node_step=2, first_node=0)),
        (at_ends(), dict(queries=2, weight_step=100, bias_step=127, node_step=100, first_node=1)),
        (frozen_last(), dict(queries=2, weight_step=1, bias_step=1, first_node=1, antithetic=False)),
        (frozen_first(), dict(queries=2, weight_step=9, bias_step=3, node_step=5, first_node=2)),
    )
    for i, (network, options) in enumerate(plans):
        settings = ts.train_config(2, 0.02, 0.4, 0.9, i % 2 == 0, seed=60 + i)
        zeroth = zo.zeroth_config(network, 2, **options)
        title = f"{network.name}, {'exact, ' if zeroth.exact_last else ''}nodes from {zeroth.first_node}"
        yield zeroth_trace_case(title, network, settings, zeroth, *course(network, 70 + i), 3)
