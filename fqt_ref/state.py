# SPDX-License-Identifier: Apache-2.0
"""The state of a training run as bytes: its checksum and its trace (SPEC.md 11 and 12)."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.network import LOSS_MAX, SAMPLES, STEP, U8, State, grids, has_weights, momentum_of, parameters
from fqt_ref.operators.views import carries, input_of, inputs, trains

EVENTS = {
    1: "output of layer",
    2: "loss and prediction of sample",
    3: "error at tensor",
    4: "selected error of layer",
    5: "weight gradient of layer",
    6: "bias gradient of layer",
    7: "weights of layer",
    8: "bias of layer",
    9: "weight grids of layer",
    10: "scales of tensor",
    11: "largest loss and step",
    12: "gradient with residuals of layer",
    13: "momentum of layer",
    14: "weight ranges of layer",
}
OUTPUT, LOSS, ERROR, SELECTED, GRADIENT, BIAS_GRADIENT, WEIGHTS, BIAS, WEIGHT_GRID, SCALES, COUNTERS, RESIDUALS = range(1, 13)
MOMENTUM, WEIGHT_RANGES = 13, 14


@dataclass(frozen=True)
class Record:
    """One record of a trace."""

    kind: int
    index: int
    data: bytes


def state_records(state: State) -> Iterator[Record]:
    """All that training changes, in SPEC.md 11's order; with what options of the desktop add (15, 16)."""
    for i, layer in enumerate(state.layers):
        if has_weights(layer):
            weights, bias = parameters(state, i)
            yield Record(WEIGHTS, i, weights.tobytes())
            yield Record(BIAS, i, bias.tobytes())
            slot = state.layer_slots[i]
            if slot.grids:
                weight_scales, weight_zeros = grids(state, i)
                yield Record(WEIGHT_GRID, i, weight_scales.tobytes() + weight_zeros.tobytes())
            if trains(layer) and state.tensors[layer.output].type == U8:
                yield Record(RESIDUALS, i, state.i32[slot.gradient : slot.gradient + slot.out * slot.fan_in].tobytes())
            if trains(layer) and slot.grids and state.weight_ranges.size:
                yield Record(WEIGHT_RANGES, i, state.weight_ranges[slot.grid : slot.grid + slot.grids].tobytes())
            if slot.kept:
                yield Record(MOMENTUM, i, momentum_of(state, i).tobytes())
    for i, t in enumerate(state.tensors):
        scales = np.array([t.lo, t.hi, t.error_scale], "<f4").tobytes()
        yield Record(SCALES, i, np.float32(t.scale).tobytes() + np.int32(t.zero).tobytes() + scales)
    yield Record(COUNTERS, 0, np.array([state.counters[LOSS_MAX], state.counters[STEP]], "<u4").tobytes())


def state_checksum(state: State) -> int:
    """CRC-32 of the state."""
    return records_checksum(state_records(state))


def records_checksum(records: Iterable[Record]) -> int:
    """The same of what a device has sent."""
    crc = 0
    for record in records:
        crc = zlib.crc32(record.data, crc)
    return crc


def feature_bytes(state: State, i: int) -> bytes:
    """Tensor i's feature map."""
    slot, arena = state.tensor_slots[i], state.u8 if state.tensors[i].type == U8 else state.f32
    return arena[slot.feature : slot.feature + slot.count].tobytes()


def error_bytes(state: State, i: int) -> bytes:
    """The error at tensor i."""
    slot, arena = state.tensor_slots[i], state.i8 if state.tensors[i].type == U8 else state.f32
    return arena[slot.error : slot.error + slot.count].tobytes()


def trace_sample(state: State, config: ts.TrainConfig, sample: np.ndarray, label: int) -> Iterator[Record]:
    """train_sample() step by step, showing each result; the state changes as in train_sample()."""
    ts.feature_u8(state, 0)[:] = sample
    for i in range(len(state.layers)):
        ts.forward_layer(state, i)
        yield Record(OUTPUT, i, feature_bytes(state, i + 1))
    loss, prediction = ts.loss_and_error(state, config, label)
    yield Record(LOSS, 0, np.array([loss, prediction], "<u4").tobytes())
    yield Record(ERROR, len(state.layers), error_bytes(state, len(state.layers)))
    rate = ts.current_rate(state, config, loss)
    for i in range(len(state.layers) - 1, -1, -1):
        layer = state.layers[i]
        if trains(layer):
            if ts.select_layer(state, config, i, rate):
                yield Record(SELECTED, i, error_bytes(state, i + 1))
            ts.backward_weight_layer(state, i)
            slot, sums = state.layer_slots[i], state.i32 if state.tensors[i + 1].type == U8 else state.f32
            yield Record(GRADIENT, i, sums[slot.gradient : slot.gradient + slot.out * slot.fan_in].tobytes())
            yield Record(BIAS_GRADIENT, i, sums[slot.bias_gradient : slot.bias_gradient + slot.out].tobytes())
        for operand in range(inputs(layer)):
            t = input_of(layer, operand)
            if carries(state, t):
                ts.choose_rounding(state, config, i, operand)
                ts.backward_input_layer(state, i, operand)
                yield Record(ERROR, t, error_bytes(state, t))
    state.counters[SAMPLES] += 1


def update_is_due(state: State, config: ts.TrainConfig, i: int, steps: int) -> bool:
    """Whether an update follows step i of a golden run: a minibatch is full, or the run ends (SPEC.md 12)."""
    return state.counters[SAMPLES] == config.batch_size or i == steps - 1


def trace(state: State, config: ts.TrainConfig, samples: np.ndarray, labels: np.ndarray, steps: int) -> Iterator[Record]:
    """steps training steps on sample i mod n, an update every batch_size and at the end. samples: uint8[n, h * w * c]; labels: int[n]."""
    for i in range(steps):
        j = i % len(samples)
        yield from trace_sample(state, config, samples[j], int(labels[j]))
        if update_is_due(state, config, i, steps):
            ts.update(state, config)
            yield from state_records(state)


def gradient_records(state: State) -> Iterator[Record]:
    """The gradients of all trained layers, quantized ones."""
    for i, layer in enumerate(state.layers):
        if trains(layer):
            slot = state.layer_slots[i]
            yield Record(GRADIENT, i, state.i32[slot.gradient : slot.gradient + slot.out * slot.fan_in].tobytes())
            yield Record(BIAS_GRADIENT, i, state.i32[slot.bias_gradient : slot.bias_gradient + slot.out].tobytes())


def zeroth_trace(
    state: State, config: ts.TrainConfig, zeroth: zo.ZerothConfig, samples: np.ndarray, labels: np.ndarray, steps: int
) -> Iterator[Record]:
    """The same without back-propagation: losses and gradients of each step, the state after each update."""
    for i in range(steps):
        j = i % len(samples)
        yield Record(LOSS, 0, np.array(zo.train_sample(state, config, zeroth, samples[j], int(labels[j])), "<u4").tobytes())
        yield from gradient_records(state)
        if update_is_due(state, config, i, steps):
            zo.update(state, config, zeroth)
            yield from state_records(state)


def trace_bytes(records: Iterator[Record]) -> bytes:
    """A trace as one stream, each record padded to 4 bytes."""
    parts = []
    for record in records:
        header = np.array([record.kind, record.index, len(record.data)], "<u4").tobytes()
        parts.append(header + record.data + bytes(-len(record.data) % 4))
    return b"".join(parts)
