# SPDX-License-Identifier: Apache-2.0
"""Instructions of single kernels on an emulated core: layers a to f, as forward, error to the input (dx) and weight gradient (dw)."""

from typing import NamedTuple

import numpy as np

from fqt_ref.counting.cycles import cycles
from fqt_ref.counting.instructions import Program, build_program, instructions, run
from fqt_ref.network import CONV2D, DEPTHWISE_CONV2D, LINEAR, OP_NAMES, Geometry
from fqt_ref.optimizers.standardized_sgd import fraction_bits_of

PASSES = ("forward", "dx", "dw")
TRACKED = "forward, tracked"  # forward in training: the extremes of the accumulators are kept (SPEC.md 8)
BATCH = 48  # what the fraction bits of a gradient follow from
ZERO_X, ZERO_Y = 7, 120


class Layer(NamedTuple):
    """A layer that is measured."""

    name: str
    description: str
    op: int
    geometry: Geometry

    @property
    def positions(self) -> int:
        """Output positions."""
        return self.geometry.out_h * self.geometry.out_w

    @property
    def fan_in(self) -> int:
        """Weights of an output channel."""
        return self.geometry.kernel_h * self.geometry.kernel_w * (1 if self.op == DEPTHWISE_CONV2D else self.geometry.in_c)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a pass, counted as CMSIS-NN's users do: all taps, those on the padding too."""
        return self.positions * self.fan_in * self.geometry.out_c


def same(side: int, in_c: int, out_c: int, kernel: int) -> Geometry:
    """Stride 1, output as large as the input."""
    return Geometry(side, side, in_c, side, side, out_c, kernel, kernel, 1, 1, kernel // 2, kernel // 2)


LAYERS = {
    layer.name: layer
    for layer in (
        Layer("a", "conv 3x3 1->16 @28", CONV2D, same(28, 1, 16, 3)),
        Layer("b", "conv 3x3 16->32 @14", CONV2D, same(14, 16, 32, 3)),
        Layer("c", "depthwise 3x3 64 @16", DEPTHWISE_CONV2D, same(16, 64, 64, 3)),
        Layer("d", "pointwise 64->128 @8", CONV2D, same(8, 64, 128, 1)),
        Layer("e", "linear 1568->128", LINEAR, same(1, 1568, 128, 1)),
        Layer("f", "linear 128->10", LINEAR, same(1, 128, 10, 1)),
    )
}


class Counted(NamedTuple):
    """A kernel on a core. stack: bytes below the caller's; interval: COUNT records."""

    layer: Layer
    passing: str
    program: Program
    instructions: int
    stack: int
    ticks: int
    interval: np.ndarray

    @property
    def kernel(self) -> str:
        """The operator's name."""
        return OP_NAMES[self.layer.op].lower()

    @property
    def per_mac(self) -> float:
        """Instructions per multiply-accumulate."""
        return self.instructions / self.layer.macs

    @property
    def estimate(self) -> float:
        """Cycles, estimated."""
        return cycles(self.program, self.interval)


def padded(array: np.ndarray) -> bytes:
    """Bytes of an array, padded to a word."""
    data = array.tobytes()
    return data + bytes(-len(data) % 4)


def job(layer: Layer, passing: str, per_channel: bool) -> bytes:
    """A case as kernels.c reads it. Nothing lets a kernel skip work: no error is 0 and every input passes its error on."""
    rng, g = np.random.RandomState(0), layer.geometry
    grids = g.out_c if per_channel else 1
    inputs = g.in_h * g.in_w * g.in_c
    sums = g.kernel_h * g.kernel_w * g.out_c if passing == "dx" and layer.op != DEPTHWISE_CONV2D else layer.fan_in
    m = np.float32(60 / (80 * 80 * np.sqrt(sums)))  # results fill 8 bits, few saturate
    head = [layer.op, ("forward", "dx", "dw").index(passing.split(",")[0])]
    values = [ZERO_X, ZERO_Y, 0, 255, ZERO_X, 1000, fraction_bits_of(layer.positions, BATCH), grids, int(passing == TRACKED)]
    errors = rng.randint(1, 128, layer.positions * g.out_c) * rng.choice([-1, 1], layer.positions * g.out_c)
    arrays = (
        np.array(head + list(g) + values, "<i4"),
        m.astype("<f4"),
        rng.randint(100, 156, grids).astype("<i4"),
        rng.randint(128, 257, grids).astype("<i4") if per_channel else np.ones(1, "<i4"),
        rng.randint(-20000, 20000, g.out_c).astype("<i4"),
        rng.randint(ZERO_X + 1, 256, inputs).astype(np.uint8),
        rng.randint(0, 256, layer.fan_in * g.out_c).astype(np.uint8),
        errors.astype(np.int8),
    )
    return b"".join(padded(array) for array in arrays)


def build(core: str, optimize: str = "-O2") -> Program:
    """The program that runs kernels."""
    return build_program(core, "kernels", optimize)


def count_kernels(
    program: Program, layers: list[Layer], passes: tuple[str, ...] = PASSES, per_channel: bool = False, icount: bool = False
) -> list[Counted]:
    """Every layer and pass on a program's core. icount: instructions by the clock, in the timer's steps. Raises FqtError."""
    jobs = [(layer, passing) for layer in layers for passing in passes]
    body = b"".join(job(layer, passing, per_channel) for layer, passing in jobs)
    bundle = b"FQK1" + np.array([12 + len(body), len(jobs)], "<u4").tobytes() + body
    answer = run(program, bundle, icount)
    results = []
    for number, ((layer, passing), line) in enumerate(zip(jobs, answer.lines, strict=True)):
        ticks, stack = map(int, line)
        interval = answer.intervals[number] if not icount else np.zeros(0)
        count = 0 if icount else instructions(program, interval)
        results.append(Counted(layer, passing, program, count, stack, ticks, interval))
    return results
