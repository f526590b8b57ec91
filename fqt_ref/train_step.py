# SPDX-License-Identifier: Apache-2.0
"""One sample through the network and back; the minibatch (SPEC.md 7). A small machine that walks the tables of a State."""

from typing import NamedTuple

import numpy as np

from fqt_ref.arithmetic import (
    ACC_LIMIT,
    BIAS_ONE,
    MASK32,
    NEAREST,
    ROUND_HALF_UP,
    STREAM_ERRORS,
    STREAM_LOSS,
    clamp,
    fround,
    random_key,
    requantizer,
    rescale,
)
from fqt_ref.errors import FqtError
from fqt_ref.jit import njit, uncounted
from fqt_ref.kernels.activation import RELU6, highest_of
from fqt_ref.kernels.conv2d import fill_taps
from fqt_ref.kernels.softmax_cross_entropy import softmax_cross_entropy_f32, softmax_cross_entropy_u8
from fqt_ref.limits import check_seed, check_share, float32
from fqt_ref.network import (
    ADD,
    AVG_POOL2D,
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    ENTRY,
    F32,
    HARD_SWISH,
    LINEAR,
    LOSS_MAX,
    MAX_POOL2D,
    SAMPLES,
    STEP,
    TENSOR_ADAPTIVE,
    U8,
    geometry,
)
from fqt_ref.operators import add, avg_pool2d, conv2d, depthwise_conv2d, dequantize, hard_swish, linear, max_pool2d
from fqt_ref.operators.views import (
    accumulates,
    act_of,
    carries,
    error_f32,
    error_i8,
    feature_f32,
    feature_u8,
    input_of,
    inputs,
    is_quantized,
    matrix,
    scales_of,
    trains,
    vector,
    weighted,
    wide_error,
    zeros_of,
)
from fqt_ref.optimizers import int8_sgd_m, qas_sgd_m, sgd_m
from fqt_ref.optimizers.names import (
    ALL,
    HYSTERESIS,
    LOSS,
    MOVING_AVERAGE,
    NAMES,
    NONE,
    QAS_SGD_M,
    STANDARDIZED_SGD,
    STOCHASTIC_ERRORS,
    WEIGHT_RANGES,
    number_of,
)
from fqt_ref.optimizers.standardized_sgd import fraction_bits_of, update_bias_u8, update_f32, update_weights_u8
from fqt_ref.ranges import error_scale_in_force, update_error_scale, update_range
from fqt_ref.saturation import count_saturated
from fqt_ref.sparse_update import kept_channels, sparse_select, update_rate

LARGEST_SUM = 2**31 - 1 - 2**28  # what requantize() takes (SPEC.md 2.1)
LARGEST_PRODUCT = 127 * 255  # of an error and a centred weight
MAX_ERROR_BITS = 8
DEFAULT_MOMENTUM = 0.9  # of Lin et al. and of most others
FRACTION = np.float32(0.0078125)  # add and hard-swish round in 128ths of a step


class TrainConfig(NamedTuple):
    """Hyperparameters. lambda_min, lambda_max: Q12 (SPEC.md 5); optimizer: of optimizers.names; see train_config().

    optimizer, momentum and real_weights are of the desktop alone: the C library has the first optimizer only.
    """

    batch_size: int
    learning_rate: np.float32
    lambda_min: int
    lambda_max: int
    sparse_last: bool
    seed: int
    optimizer: int = STANDARDIZED_SGD
    momentum: np.float32 = np.float32(0)  # of the optimizers that have one
    real_weights: bool = False  # they keep what rounding quantized weights to bytes leaves over
    weight_range: int = HYSTERESIS  # how weight grids follow (SPEC.md 16.1)
    range_rate: np.float32 = np.float32(0.001)  # of the moving average of their ranges
    stochastic_errors: int = LOSS  # which errors are rounded stochastically, of STOCHASTIC_ERRORS (SPEC.md 16.2)


def train_config(
    batch_size=48, learning_rate=0.001, lambda_min=1.0, lambda_max=1.0, sparse_last=False, seed=0,
    optimizer=NAMES[0], momentum=None, real_weights=False, weight_range=WEIGHT_RANGES[0], range_rate=0.001,
    stochastic_errors=STOCHASTIC_ERRORS[0],
) -> TrainConfig:  # fmt: skip
    """TrainConfig from real numbers: 0 <= lambda_min <= lambda_max <= 1, rounded to 1/4096; seed: 0 to 2^32 - 1. Names: optimizers.names.

    momentum: 0.9 unless given, real_weights: SPEC.md 15.2; both of the optimizers with momentum alone. weight_range: of the first optimizer
    alone; range_rate: 0..1, of its moving-average. Raises FqtError for a name that does not exist, an optimizer without the option, or
    a number out of its range (training.check_run() looks at the rest).
    """
    number = number_of("optimizer", optimizer, NAMES)
    how = number_of("weight range", weight_range, WEIGHT_RANGES)
    rounded = number_of("choice of stochastic errors", stochastic_errors, STOCHASTIC_ERRORS)
    if number != STANDARDIZED_SGD and how != HYSTERESIS:
        raise FqtError(f"optimizer {optimizer} leaves weight grids alone: weight range {weight_range} is for {NAMES[0]}")
    if number == STANDARDIZED_SGD and (momentum is not None or real_weights):
        raise FqtError(f"optimizer {optimizer} has neither momentum nor real weights: choose one of {', '.join(NAMES[1:])}")
    if number == STANDARDIZED_SGD:
        momentum = 0
    elif momentum is None:
        momentum = DEFAULT_MOMENTUM

    def q12(name, value):
        return int(np.floor(np.float32(check_share(name, value)) * np.float32(4096) + np.float32(0.5)))

    return TrainConfig(
        batch_size, float32(learning_rate), q12("lambda_min", lambda_min), q12("lambda_max", lambda_max), sparse_last,
        check_seed(seed), number, float32(momentum), real_weights, how, float32(range_rate), rounded,
    )  # fmt: skip


def check_on_chip(config: TrainConfig) -> None:
    """Whether the C library trains so. Raises FqtError."""
    if config.optimizer != STANDARDIZED_SGD:
        raise FqtError(f"the C library has {NAMES[0]} alone: {NAMES[config.optimizer]} is for the desktop (fqt train, retrain, transfer)")


@uncounted
def last_weighted(state):
    """Index of the last layer with weights: the loss layer, exempt from sparse updates."""
    last = -1
    for i in range(state.layers.size):
        if weighted(state.layers[i]):
            last = i
    return last


@njit
def prepare_weights(state, i):
    """Centred and transposed copies of layer i's weights."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        weights = matrix(state.u8, slot.weights, slot.out, slot.fan_in)
        centred = matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
        zeros = zeros_of(state, slot)
        for co in range(slot.out):
            zero = zeros[co if zeros.size > 1 else 0]
            for k in range(slot.fan_in):
                centred[co, k] = np.int32(weights[co, k]) - zero
        if layer.op == CONV2D:
            matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)[:] = centred.T
        else:
            matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)[:] = centred.T
    elif layer.op != CONV2D:
        weights_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
        matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)[:] = weights_f32.T


@njit
def set_requantizer(row, m):
    """row = requantizer of m. row: int64[3]."""
    row[0], row[1], row[2] = requantizer(m)


@njit
def window_size(layer):
    """Elements of a window, float32."""
    return np.float32(np.int64(layer.kernel_h) * np.int64(layer.kernel_w))


@njit
def prepare_scales(state, i):
    """Requantizers and bias_acc of layer i (SPEC.md 4); scales pass through max pooling (SPEC.md 8); where the output's errors pass."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y, y_slot = state.tensors[layer.input], state.tensors[layer.output], state.tensor_slots[layer.output]
    if not is_quantized(state, layer):
        return
    if layer.op == MAX_POOL2D:
        y.scale = x.scale
        y.zero = x.zero
    elif layer.op == AVG_POOL2D:
        set_requantizer(state.requantizers[slot.requantizers], (x.scale / window_size(layer)) / y.scale)
    elif layer.op == ADD:
        set_requantizer(state.requantizers[slot.requantizers], x.scale / y.scale)
        set_requantizer(state.requantizers[slot.requantizers + 1], state.tensors[layer.input2].scale / y.scale)
    elif weighted(layer):
        scales = scales_of(state, slot)
        bias = vector(state.i32, slot.bias, slot.out)
        bias_acc = vector(state.i32, slot.bias_acc, slot.out)
        for g in range(scales.size):
            set_requantizer(state.requantizers[slot.requantizers + g], (x.scale * scales[g]) / y.scale)
        for co in range(slot.out):
            m = np.float32(1) / ((x.scale * scales[co if scales.size > 1 else 0]) * BIAS_ONE)
            bias_acc[co] = clamp(rescale(bias[co], m, NEAREST), -ACC_LIMIT, ACC_LIMIT)
    act = act_of(y.flagset)
    y_slot.lowest = y.zero if act != 0 else -1
    y_slot.highest = highest_of(y.scale, y.zero) if act == RELU6 else 1000


@njit
def prepare_factors(state, i):
    """K of a layer whose output channels have weight grids of their own (SPEC.md 4.3)."""
    slot = state.layer_slots[i]
    scales = scales_of(state, slot)
    factors = vector(state.grid_factors, slot.grid, slot.grids)
    one = 1 << slot.error_bits
    for co in range(scales.size):
        factors[co] = clamp(fround((scales[co] / scales.max()) * np.float32(one)), 0, one)


@njit
def error_unit(state, i):
    """Real value of 1 in the sums that a quantized layer i sends to its inputs (SPEC.md 4.3, 4.8-4.10)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    error_scale = error_scale_in_force(state.tensors[layer.output].error_scale)
    if layer.op == ADD:
        return error_scale
    if layer.op == AVG_POOL2D:
        return error_scale / window_size(layer)
    if layer.op == HARD_SWISH:
        return error_scale * FRACTION
    scales = scales_of(state, slot)
    return (scales.max() * error_scale) * (np.float32(1) / np.float32(1 << slot.error_bits))


@njit
def prepare_error_scales(state, i):
    """Requantizers of the errors that layer i sends to its inputs."""
    layer = state.layers[i]
    if layer.op == MAX_POOL2D:
        state.tensors[layer.input].error_scale = state.tensors[layer.output].error_scale
    elif layer.op != DEQUANTIZE and is_quantized(state, layer):
        for operand in range(inputs(layer)):
            scale = error_scale_in_force(state.tensors[input_of(layer, operand)].error_scale)
            set_requantizer(state.error_requantizers[i, operand], error_unit(state, i) / scale)


@njit
def clear_minibatch(state):
    """Zero the sums and trackers of the minibatch; gradients of trained uint8 layers keep what update_layer() left, their residuals."""
    for i in range(state.layers.size):
        layer, slot = state.layers[i], state.layer_slots[i]
        slot.error_max_f32 = np.float32(0)
        if weighted(layer):
            vector(state.i32, slot.chosen, slot.out)[:] = 0
            if is_quantized(state, layer):
                vector(state.i32, slot.bias_gradient, slot.out)[:] = 0
            else:
                vector(state.f32, slot.bias_gradient, slot.out)[:] = np.float32(0)
                if trains(layer):
                    vector(state.f32, slot.gradient, slot.out * slot.fan_in)[:] = np.float32(0)
    state.error_max[:] = 0
    state.extremes[:, 0] = 2147483647
    state.extremes[:, 1] = -2147483648
    state.counters[SAMPLES] = 0


@njit
def prepare(state, frozen):
    """Derived values of all layers (frozen ones' weights only if asked); sums start anew."""
    for i in range(state.layers.size):
        if weighted(state.layers[i]) and (frozen or trains(state.layers[i])):
            prepare_weights(state, i)
            if state.layer_slots[i].grids > 0:
                prepare_factors(state, i)
        prepare_scales(state, i)
    for i in range(state.layers.size - 1, -1, -1):
        prepare_error_scales(state, i)
    clear_minibatch(state)


@njit
def error_bits_of(fan_out):
    """f of SPEC.md 4.3: how many bits a factor K may have, at most 8."""
    bits = MAX_ERROR_BITS
    while bits > 0 and (LARGEST_PRODUCT * fan_out) << bits > LARGEST_SUM:
        bits -= 1
    return bits


@njit
def begin(state, config):
    """Make a new State ready for samples."""
    for i in range(state.layers.size):
        layer, slot = state.layers[i], state.layer_slots[i]
        # Only the standardized update keeps residuals in the gradient's low bits.
        slot.fraction_bits = fraction_bits_of(slot.positions, config.batch_size) if config.optimizer == STANDARDIZED_SGD else 0
        if layer.op == CONV2D or layer.op == DEPTHWISE_CONV2D:
            g = geometry(layer, state.tensors[layer.input], state.tensors[layer.output])
            fill_taps(g, g.in_c if layer.op == CONV2D else 1, conv2d.taps_of(state, slot))
        if slot.grids > 1:
            taps = np.int64(layer.kernel_h) * np.int64(layer.kernel_w)
            slot.error_bits = error_bits_of(taps if layer.op == DEPTHWISE_CONV2D else taps * slot.out)
        if config.weight_range == MOVING_AVERAGE:
            scales, zeros = scales_of(state, slot), zeros_of(state, slot)
            for k in range(scales.size):
                state.weight_ranges[slot.grid + k, 0] = np.float32(-zeros[k]) * scales[k]
                state.weight_ranges[slot.grid + k, 1] = np.float32(255 - zeros[k]) * scales[k]
    state.error_requantizers[:, :, 3] = ROUND_HALF_UP
    prepare(state, True)


@uncounted
def forward_layer(state, i):
    """Layer i from its inputs to its output (SPEC.md 4)."""
    op = state.layers[i].op
    if op == CONV2D:
        conv2d.forward(state, i)
    elif op == LINEAR:
        linear.forward(state, i)
    elif op == DEPTHWISE_CONV2D:
        depthwise_conv2d.forward(state, i)
    elif op == MAX_POOL2D:
        max_pool2d.forward(state, i)
    elif op == DEQUANTIZE:
        dequantize.forward(state, i)
    elif op == AVG_POOL2D:
        avg_pool2d.forward(state, i)
    elif op == ADD:
        add.forward(state, i)
    else:
        hard_swish.forward(state, i)


@uncounted
def loss_of_logits(state, label, stochastic, key):
    """Loss (Q16) and prediction of the logits; writes the error at the logits. stochastic, key: how it is rounded if it is int8."""
    last = state.tensors.size - 1
    tensor, slot = state.tensors[last], state.tensor_slots[last]
    exponents = state.moved[: slot.count]
    if tensor.type == U8:
        logits, error = feature_u8(state, last), error_i8(state, last)
        loss, prediction = softmax_cross_entropy_u8(tensor.scale, logits, label, stochastic, key, error, exponents)
    else:
        loss, prediction = softmax_cross_entropy_f32(feature_f32(state, last), label, error_f32(state, last), exponents)
    return loss, prediction


@njit
def sample_key(state, config, stream):
    """Key of a stream of random words of this sample (SPEC.md 16.2)."""
    number = state.counters[STEP] * config.batch_size + state.counters[SAMPLES]
    return random_key(config.seed, number & MASK32, stream)


@uncounted
def loss_and_error(state, config, label):
    """Loss (Q16) and prediction of this sample; writes the error at the logits and raises the largest loss seen."""
    loss, prediction = loss_of_logits(state, label, config.stochastic_errors != NONE, sample_key(state, config, STREAM_LOSS))
    state.counters[LOSS_MAX] = max(state.counters[LOSS_MAX], loss)
    return loss, prediction


@uncounted
def current_rate(state, config, loss):
    """This sample's update rate, Q12 (Eq. 9)."""
    return update_rate(loss, state.counters[LOSS_MAX], config.lambda_min, config.lambda_max)


@uncounted
def select_layer(state, config, i, rate):
    """Sparse selection at the output of a trained layer i (Eq. 9). Returns whether channels were dropped."""
    layer, slot = state.layers[i], state.layer_slots[i]
    chosen = vector(state.i32, slot.chosen, slot.out)
    exempt = i == last_weighted(state) and not config.sparse_last
    k = slot.out if exempt else kept_channels(rate, slot.out)
    if k >= slot.out:
        for co in range(slot.out):
            chosen[co] += 1
        return False
    if is_quantized(state, layer):
        error, wide = error_i8(state, layer.output), wide_error(state, layer)
        sparse_select(wide.reshape((slot.positions, slot.out)), k, state.sums_i32[: slot.out], chosen)
        for j in range(error.size):
            error[j] = wide[j]
    else:
        error_2d = error_f32(state, layer.output).reshape((slot.positions, slot.out))
        sparse_select(error_2d, k, state.sums_f32[: slot.out], chosen)
    return True


@uncounted
def backward_weight_layer(state, i):
    """Weight gradient of layer i (Eq. 2), added to the minibatch's. Uses the columns that forward_layer() left."""
    op = state.layers[i].op
    if op == CONV2D:
        conv2d.backward_weight(state, i)
    elif op == LINEAR:
        linear.backward_weight(state, i)
    else:
        depthwise_conv2d.backward_weight(state, i)


@uncounted
def choose_rounding(state, config, i, operand):
    """The random words by which this sample's error at an input of layer i is rounded, if it is stochastically (SPEC.md 16.2)."""
    if config.stochastic_errors == ALL:
        state.error_requantizers[i, operand, 3] = sample_key(state, config, STREAM_ERRORS + 2 * i + operand)


@uncounted
def backward_input_layer(state, i, operand):
    """Error at an input of layer i (Eq. 1, 4)."""
    op = state.layers[i].op
    if op == CONV2D:
        conv2d.backward_input(state, i)
    elif op == LINEAR:
        linear.backward_input(state, i)
    elif op == DEPTHWISE_CONV2D:
        depthwise_conv2d.backward_input(state, i)
    elif op == MAX_POOL2D:
        max_pool2d.backward_input(state, i)
    elif op == DEQUANTIZE:
        dequantize.backward_input(state, i)
    elif op == AVG_POOL2D:
        avg_pool2d.backward_input(state, i)
    elif op == ADD:
        add.backward_input(state, i, operand)
    else:
        hard_swish.backward_input(state, i)


@njit
def copy(values, out):
    """out = values."""
    out[:] = values


@njit
def forward(state, sample):
    """A sample through the layers behind the tensor at which it enters. sample: that tensor's bytes, uint8."""
    entry = state.counters[ENTRY]
    if state.tensors[entry].type == U8:
        copy(sample, feature_u8(state, entry))
    else:
        copy(sample.view(np.float32), feature_f32(state, entry))
    for i in range(entry, state.layers.size):
        forward_layer(state, i)


@uncounted
def backward(state, config, loss):
    """From the error at the logits to all tensors that carry one."""
    rate = current_rate(state, config, loss)
    for i in range(state.layers.size - 1, -1, -1):
        layer = state.layers[i]
        if not carries(state, layer.output):
            continue
        if trains(layer):
            select_layer(state, config, i, rate)
            backward_weight_layer(state, i)
        for operand in range(inputs(layer)):
            if carries(state, input_of(layer, operand)):
                choose_rounding(state, config, i, operand)
                backward_input_layer(state, i, operand)
    state.counters[SAMPLES] += 1


@njit
def update_quantized(state, config, i, error_scale):
    """Eq. 5-8 for quantized layer i. error_scale: real value of 1 in the bias gradient."""
    slot = state.layer_slots[i]
    batch, rate, bits = state.counters[SAMPLES], config.learning_rate, slot.fraction_bits
    key = random_key(config.seed, state.counters[STEP], i)
    chosen = vector(state.i32, slot.chosen, slot.out)
    weights = matrix(state.u8, slot.weights, slot.out, slot.fan_in)
    gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
    moved = matrix(state.moved, 0, slot.out, slot.fan_in)
    scales, zeros = scales_of(state, slot), zeros_of(state, slot)
    how, range_rate, ranges = config.weight_range, config.range_rate, state.weight_ranges[slot.grid : slot.grid + slot.grids]
    update_weights_u8(scales, zeros, how, range_rate, ranges, rate, batch, key, bits, weights, gradient, chosen, moved)
    bias, bias_gradient = vector(state.i32, slot.bias, slot.out), vector(state.i32, slot.bias_gradient, slot.out)
    update_bias_u8(error_scale, rate, batch, bias, bias_gradient)


@njit
def update_standardized(state, config, i):
    """Eq. 5-8 for layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    if is_quantized(state, layer):
        update_quantized(state, config, i, error_scale_in_force(state.tensors[layer.output].error_scale))
    else:
        chosen = vector(state.i32, slot.chosen, slot.out)
        weights_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
        gradient_f32 = matrix(state.f32, slot.gradient, slot.out, slot.fan_in)
        bias_f32, bias_gradient_f32 = vector(state.f32, slot.bias, slot.out), vector(state.f32, slot.bias_gradient, slot.out)
        update_f32(config.learning_rate, state.counters[SAMPLES], weights_f32, bias_f32, gradient_f32, bias_gradient_f32, chosen)


@njit
def update_quantized_momentum(state, config, i):
    """SGD with momentum for a quantized layer i, with or without quantization-aware scaling (SPEC.md 15.2 and 15.3)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    batch, rate, mu = state.counters[SAMPLES], config.learning_rate, config.momentum
    size = slot.out * slot.fan_in
    weights = matrix(state.u8, slot.weights, slot.out, slot.fan_in)
    gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
    moments = matrix(state.momentum, slot.momentum, slot.out, slot.fan_in)
    rest = vector(state.momentum, slot.rest, size if config.real_weights else 0)
    bias, bias_gradient = vector(state.i32, slot.bias, slot.out), vector(state.i32, slot.bias_gradient, slot.out)
    bias_moments = vector(state.momentum, slot.bias_momentum, slot.out)
    scales = scales_of(state, slot)
    input_scale = state.tensors[layer.input].scale
    error_scale = error_scale_in_force(state.tensors[layer.output].error_scale)
    for co in range(slot.out):
        scale = scales[co if scales.size > 1 else 0]
        bias_scale = input_scale * scale
        if config.optimizer == QAS_SGD_M:
            unit = qas_sgd_m.weight_unit(error_scale, input_scale, batch, scale)
            bias_unit = qas_sgd_m.bias_unit(error_scale, batch, bias_scale)
        else:
            unit = int8_sgd_m.weight_unit(error_scale, input_scale, batch, scale)
            bias_unit = int8_sgd_m.bias_unit(error_scale, batch, bias_scale)
        rest_of_channel = rest[co * slot.fan_in : (co + 1) * slot.fan_in]  # empty if there is none
        int8_sgd_m.move_weights(unit, rate, mu, weights[co], gradient[co], moments[co], rest_of_channel)
        bias[co], bias_moments[co] = int8_sgd_m.move_bias(bias_unit, bias_scale, rate, mu, bias[co], bias_gradient[co], bias_moments[co])


@njit
def update_f32_momentum(state, config, i):
    """SGD with momentum for a float32 layer i (SPEC.md 15.1)."""
    slot = state.layer_slots[i]
    batch, size = state.counters[SAMPLES], slot.out * slot.fan_in
    weights, bias = vector(state.f32, slot.weights, size), vector(state.f32, slot.bias, slot.out)
    gradient, bias_gradient = vector(state.f32, slot.gradient, size), vector(state.f32, slot.bias_gradient, slot.out)
    moments, bias_moments = vector(state.momentum, slot.momentum, size), vector(state.momentum, slot.bias_momentum, slot.out)
    sgd_m.update_f32(config.learning_rate, config.momentum, batch, weights, gradient, moments)
    sgd_m.update_f32(config.learning_rate, config.momentum, batch, bias, bias_gradient, bias_moments)


@njit
def update_layer(state, config, i):
    """The optimizer's step for a trained layer i."""
    if config.optimizer == STANDARDIZED_SGD:
        update_standardized(state, config, i)
    elif is_quantized(state, state.layers[i]):
        update_quantized_momentum(state, config, i)
    else:
        update_f32_momentum(state, config, i)


@njit
def observe_errors(state, i, observed):
    """observed[t] = largest R that layer i gives for the errors it has sent to tensor t (SPEC.md 8)."""
    layer = state.layers[i]
    if layer.op == DEQUANTIZE:
        observed[layer.input] = max(observed[layer.input], state.layer_slots[i].error_max_f32 / np.float32(127))
    elif layer.op != MAX_POOL2D and is_quantized(state, layer):
        for operand in range(inputs(layer)):
            t = input_of(layer, operand)
            unit = error_scale_in_force(state.tensors[t].error_scale) if accumulates(state, i, t) else error_unit(state, i)
            observed[t] = max(observed[t], (np.float32(state.error_max[i, operand]) * unit) / np.float32(127))


@njit
def batch_range(state, i):
    """(lo, hi) of the minibatch's outputs of layer i in real numbers, from its extreme accumulators (SPEC.md 8)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    first, scales = slot.extremes, scales_of(state, slot)
    unit = x.scale / window_size(layer) if layer.op == AVG_POOL2D else y.scale * FRACTION
    lo, hi = np.float32(0), np.float32(0)
    for g in range(max(scales.size, 1)):
        if scales.size > 0:
            unit = x.scale * scales[g]
        lo = min(lo, np.float32(state.extremes[first + g, 0]) * unit)
        hi = max(hi, np.float32(state.extremes[first + g, 1]) * unit)
    return lo, hi


@njit
def adapt_range(state, i):
    """The range of layer i's output follows the minibatch (SPEC.md 8), written as (lo, hi, scale, zero)."""
    layer = state.layers[i]
    y = state.tensors[layer.output]
    lo, hi = batch_range(state, i)
    return update_range(act_of(layer.flagset), lo, hi, y.lo, y.hi, y.scale, y.zero)


@njit
def observed_ranges(state):
    """What adapt_range() says of each layer's output: float32[L, 3] and zero points, int64[L]; 0 where nothing adapts."""
    count = state.layers.size
    ranges = np.zeros((count, 3), np.float32)
    zeros = np.zeros(count, np.int64)
    for i in range(count):
        if state.tensors[i + 1].flagset & TENSOR_ADAPTIVE != 0:
            ranges[i, 0], ranges[i, 1], ranges[i, 2], zeros[i] = adapt_range(state, i)
    return ranges, zeros


@njit
def end_minibatch(state, observed, ranges, zeros):
    """Scales move (SPEC.md 8), derived values follow, the next minibatch begins.

    observed: float32[T], R of each tensor; ranges, zeros: of observed_ranges(), before the weights moved.
    """
    for t in range(state.tensors.size):
        tensor = state.tensors[t]
        if tensor.type == U8:
            tensor.error_scale = update_error_scale(tensor.error_scale, observed[t])
        if tensor.flagset & TENSOR_ADAPTIVE != 0:
            tensor.lo, tensor.hi, tensor.scale, tensor.zero = ranges[t - 1, 0], ranges[t - 1, 1], ranges[t - 1, 2], zeros[t - 1]
    state.counters[STEP] += 1
    prepare(state, False)


@njit
def update(state, config):
    """The end of a minibatch: weights, then scales, then derived values (SPEC.md 6-8)."""
    count_saturated(state)
    observed = np.zeros(state.tensors.size, np.float32)
    for i in range(state.layers.size):
        observe_errors(state, i, observed)
    ranges, zeros = observed_ranges(state)
    for i in range(state.layers.size):
        if trains(state.layers[i]):
            update_layer(state, config, i)
    end_minibatch(state, observed, ranges, zeros)


@njit
def train_sample(state, config, sample, label):
    """One sample forward and backward. Returns (loss in Q16, prediction)."""
    forward(state, sample)
    loss, prediction = loss_and_error(state, config, label)
    backward(state, config, loss)
    return loss, prediction


@njit
def train(state, config, samples, labels, order, losses, predictions):
    """Train on samples[order], an update every batch_size samples. No Python call inside.

    samples: uint8[n, h * w * c]; labels: int64[n]; order: int64[m]; losses, predictions: int64[m], written.
    A rest smaller than a minibatch stays accumulated: call update() to apply it.
    """
    for j in range(order.size):
        losses[j], predictions[j] = train_sample(state, config, samples[order[j]], labels[order[j]])
        if state.counters[SAMPLES] == config.batch_size:
            update(state, config)


@njit
def predict(state, samples, predictions):
    """Predictions of samples, one after the other. samples: uint8[n, h * w * c]; predictions: int64[n], written."""
    last = state.tensors.size - 1
    for j in range(samples.shape[0]):
        forward(state, samples[j])
        if state.tensors[last].type == F32:
            predictions[j] = np.argmax(feature_f32(state, last))
        else:
            predictions[j] = np.argmax(feature_u8(state, last))


@njit
def features(state, samples, t, out):
    """Feature maps of tensor t. samples: uint8[n, h * w * c] of the tensor at which they enter; out: uint8[n, bytes of t], written."""
    for j in range(samples.shape[0]):
        entry = state.counters[ENTRY]
        copy(samples[j], feature_u8(state, entry))
        for i in range(entry, t):
            forward_layer(state, i)
        out[j] = feature_u8(state, t) if state.tensors[t].type == U8 else feature_f32(state, t).view(np.uint8)
