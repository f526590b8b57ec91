# SPDX-License-Identifier: Apache-2.0
"""Instructions of whole training steps on an emulated core: each layer's forward pass, selection, weight gradient and error; the update."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from fqt_ref.counting import instructions as instruction_count
from fqt_ref.counting.instructions import Program, build_program, run, within
from fqt_ref.counting.kernels import BATCH
from fqt_ref.errors import FqtError
from fqt_ref.model_file import file_bytes
from fqt_ref.network import LAYER_TRAINABLE, OP_NAMES, Network, carrying, inputs_of
from fqt_ref.sparse_update import kept_channels
from fqt_ref.zeroth_order import ZerothConfig

SAMPLES = 2  # counted of each run; the figures are means
LEARNT = 10 * BATCH  # samples a network has learnt before: its errors have found their scales
ROOM = 16 << 20  # of the bundle and the memory behind it, on every machine
RATES = (1.0, 0.5, 0.1)
# Parts of a step, in the order of time.
FORWARD, LOSS, SELECT, DW, DX, ESTIMATE, UPDATE = PARTS = ("forward", "loss", "select", "dw", "dx", "estimate", "update")
BACKWARD = (SELECT, DW, DX, ESTIMATE)  # the last one stands in for the others without back-propagation
# The event that ends a part (enum fqt_event; 0: the sample's end).
OUTPUT, LOSS_KNOWN, ERROR, SELECTED, GRADIENT, BIAS_GRADIENT, END = 1, 2, 3, 4, 5, 6, 0
FOR_OBSERVERS = "fqt_sparse_zero_u8"  # what an observer alone wants to see: no part of a step


# Name, (network, side and channels of its input, layers to train).
NETWORKS = {
    "mnist-cnn": ("mnist-cnn", 28, 1, None),
    "mbednet": ("mbednet", 32, 3, None),
    "mbednet-tail": ("mbednet", 32, 3, 5),
}


class Part(NamedTuple):
    """A piece of a step. layer: -1 outside layers."""

    part: str
    layer: int
    interval: np.ndarray


class Step(NamedTuple):
    """A network trained at an update rate on a core. parts: of all its samples, and one update."""

    network: Network
    rate: float
    program: Program
    parts: list[Part]
    stack: int
    zeroth: ZerothConfig | None = None  # without back-propagation

    def mean(self, measure: Callable[[Program, np.ndarray], float], names: Iterable[str], layer: int | None = None) -> float:
        """What a function of program and interval says of some parts, a mean over the samples."""
        wanted = [one for one in self.parts if one.part in names and layer in (None, one.layer)]
        return sum(measure(self.program, one.interval) / (1 if one.part == UPDATE else SAMPLES) for one in wanted)

    def instructions(self, names: Iterable[str], layer: int | None = None) -> float:
        """Instructions of some parts, a mean over the samples."""
        return self.mean(instruction_count.instructions, names, layer)

    @property
    def backward(self) -> float:
        """Instructions of a sample's way back, or of what stands in for it."""
        return self.instructions(BACKWARD)


def backward_macs(network: Network, rate: float) -> float:
    """Multiply-accumulates of a sample's way back at an update rate: what channels that are not kept would cost is left out."""
    carries, last = carrying(network.layers), max(i for i, w in enumerate(network.weights) if w is not None)
    total = 0.0
    for i, layer in enumerate(network.layers):
        weights = network.weights[i]
        if weights is None or not carries[i + 1]:
            continue
        y, trains = network.tensors[i + 1], bool(layer["flagset"] & LAYER_TRAINABLE)
        kept = kept_channels(round(rate * 4096), int(y["c"])) if trains and i != last else int(y["c"])
        macs = weights.size * int(y["h"]) * int(y["w"]) * min(1.0, kept / int(y["c"]))
        total += macs * (trains + carries[int(layer["input"])])
    return total


def images(side: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The digits of scikit-learn, enlarged to side x side: real images that are on every machine. uint8[n, h, w, c], labels."""
    from fqt_ref.datasets import load

    data = load("digits")
    factor = -(-side // 8)
    enlarged = data.train_x.repeat(factor, axis=1).repeat(factor, axis=2)[:, :side, :side, :]
    return np.ascontiguousarray(enlarged.repeat(channels, axis=3)[:LEARNT]), np.array(data.train_y[:LEARNT], np.int64)


def learnt_network(name: str, side: int, channels: int, train_last: int | None) -> tuple[Network, np.ndarray, np.ndarray]:
    """A named network that has trained for some minibatches, with its samples (flat) and labels."""
    from fqt_ref import train_step
    from fqt_ref.initialize import initialize
    from fqt_ref.models import describe_network
    from fqt_ref.network import network_of
    from fqt_ref.training import flat, prepared_state

    x, y = images(side, channels)
    network = initialize(name, describe_network(name, x.shape[1:], 10), "uint8", x[:64], np.float32(1 / 255), 0, 0, train_last)
    config = train_step.train_config(BATCH)
    state, order, samples = prepared_state(network, config), np.arange(len(x)), flat(x)
    train_step.train(state, config, samples, y, order, np.zeros(len(x), np.int64), np.zeros(len(x), np.int64))
    return network_of(name, state), samples, y


def bundle(network: Network, samples: np.ndarray, labels: np.ndarray, rates: Iterable[float], zeroth: ZerothConfig | None = None) -> bytes:
    """The file that steps.c reads."""
    data, parts = file_bytes(network), []
    estimates = list(map(int, zeroth)) if zeroth is not None else [0] * len(ZerothConfig._fields)
    for rate in rates:
        head = [len(data), SAMPLES, samples.shape[1], round(rate * 4096), *estimates]
        x = samples[:SAMPLES].tobytes()
        parts += [np.array(head, "<u4").tobytes(), data, bytes(-len(data) % 4), labels[:SAMPLES].astype("<u4").tobytes(), x]
        parts.append(bytes(-len(x) % 4))
    body = b"".join(parts)
    total = 16 + len(body)
    return b"FQS1" + np.array([total, ROOM - (total + 7) // 8 * 8, len(parts) // 6], "<u4").tobytes() + body


def way_back(network: Network) -> list[int]:
    """The layers that send errors, in the order of a sample's way back, one entry an error."""
    carries = carrying(network.layers)
    order = range(len(network.layers) - 1, -1, -1)
    return [i for i in order if carries[i + 1] for t in inputs_of(network.layers[i]) if carries[t]]


def parts_of_sample(network: Network, program: Program, events: list[tuple[int, int]], intervals: list[np.ndarray]) -> list[Part]:
    """The parts that a sample's events have ended. The selection goes on behind its event, with compaction."""
    senders, last = iter(way_back(network)), len(network.layers)
    parts = []
    for (event, index), watched in zip(events, intervals, strict=True):
        interval = watched[~within(program, watched, lambda one: one.name == FOR_OBSERVERS)]
        if event in (LOSS_KNOWN, END) or (event == ERROR and index == last):
            parts.append(Part(LOSS, -1, interval))
        elif event == ERROR:
            parts.append(Part(DX, next(senders), interval))
        elif event == GRADIENT:
            selecting = within(program, interval, lambda one: one.source == "sparse_update")
            parts += [Part(SELECT, index, interval[selecting]), Part(DW, index, interval[~selecting])]
        else:
            name = {OUTPUT: FORWARD, SELECTED: SELECT, BIAS_GRADIENT: DW}[event]
            parts.append(Part(name, index, interval))
    return parts


def parts_of_estimates(events: list[tuple[int, int]], intervals: list[np.ndarray]) -> list[Part]:
    """The same of a sample without back-propagation, whose forward pass ends with the loss."""
    parts = []
    for (event, index), interval in zip(events, intervals, strict=True):
        layer = index if event in (GRADIENT, BIAS_GRADIENT) else -1
        parts.append(Part(FORWARD if event == LOSS_KNOWN else ESTIMATE, layer, interval))
    return parts


def build(core: str, optimize: str = "-O2", zeroth: bool = False) -> Program:
    """The program that trains. zeroth: without back-propagation."""
    return build_program(core, "steps", optimize, "FQT_STEPS_ZEROTH" if zeroth else "")


def count_steps(
    program: Program,
    network: Network,
    samples: np.ndarray,
    labels: np.ndarray,
    rates: tuple[float, ...] = RATES,
    zeroth: ZerothConfig | None = None,
) -> list[Step]:
    """A network's step at each update rate. zeroth: how gradients are estimated, of a program built for that. Raises FqtError."""
    answer = run(program, bundle(network, samples, labels, rates, zeroth))
    intervals, steps = iter(answer.intervals), []
    lines = iter(answer.lines)
    for rate in rates:
        status = int(next(lines)[1])
        if status != 0:
            raise FqtError(f"{network.name} does not train on {program.core}: status {status}")
        parts: list[Part] = []
        events: list[tuple[int, int]] = []
        for line in lines:
            if line[0] == "stack":
                steps.append(Step(network, rate, program, parts, int(line[1]), zeroth))
                break
            if line[0] == UPDATE:
                parts.append(Part(UPDATE, -1, next(intervals)))
                continue
            events.append((int(line[0]), int(line[1])))
            if events[-1][0] == END:
                watched = [next(intervals) for _ in events]
                if zeroth is None:
                    parts += parts_of_sample(network, program, events, watched)
                else:
                    parts += parts_of_estimates(events, watched)
                events = []
    return steps


def layer_name(network: Network, layer: int) -> str:
    """What a table calls a layer."""
    return f"{layer} {OP_NAMES[int(network.layers['op'][layer])].lower()}" if layer >= 0 else "-"
