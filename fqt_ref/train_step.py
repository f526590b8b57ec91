# SPDX-License-Identifier: Apache-2.0
"""One sample through the network and back; the minibatch (SPEC.md 7). A small machine that walks the tables of a State."""

from typing import NamedTuple

import numpy as np

from fqt_ref.arithmetic import ACC_LIMIT, BIAS_ONE, NEAREST, clamp, random_key, requantizer, rescale
from fqt_ref.jit import njit
from fqt_ref.kernels.conv2d import (
    centre,
    conv2d_backward_input_f32,
    conv2d_backward_input_u8,
    conv2d_backward_weight_f32,
    conv2d_backward_weight_u8,
    conv2d_forward_f32,
    conv2d_forward_u8,
    fill_taps,
    im2col,
)
from fqt_ref.kernels.depthwise_conv2d import (
    centre_pixels,
    depthwise_conv2d_backward_input_f32,
    depthwise_conv2d_backward_input_u8,
    depthwise_conv2d_backward_weight_f32,
    depthwise_conv2d_backward_weight_u8,
    depthwise_conv2d_forward_f32,
    depthwise_conv2d_forward_u8,
)
from fqt_ref.kernels.dequantize import dequantize_backward, dequantize_forward
from fqt_ref.kernels.linear import (
    linear_backward_input_f32,
    linear_backward_input_u8,
    linear_backward_weight_f32,
    linear_backward_weight_u8,
    linear_forward_f32,
    linear_forward_u8,
)
from fqt_ref.kernels.max_pool2d import max_pool2d_backward_f32, max_pool2d_backward_u8, max_pool2d_forward
from fqt_ref.kernels.softmax_cross_entropy import softmax_cross_entropy_f32, softmax_cross_entropy_u8
from fqt_ref.network import (
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    LAYER_RELU,
    LAYER_TRAINABLE,
    LINEAR,
    LOSS_MAX,
    MAX_POOL2D,
    SAMPLES,
    STEP,
    TENSOR_ADAPTIVE,
    TENSOR_RELU,
    U8,
    geometry,
)
from fqt_ref.optimizers.standardized_sgd import fraction_bits_of, update_bias_u8, update_f32, update_weights_u8
from fqt_ref.ranges import error_scale_in_force, update_error_scale, update_range
from fqt_ref.sparse_update import kept_channels, sparse_select, update_rate


class TrainConfig(NamedTuple):
    """Hyperparameters. lambda_min, lambda_max: Q12 (SPEC.md 5); see train_config()."""

    batch_size: int
    learning_rate: np.float32
    lambda_min: int
    lambda_max: int
    sparse_last: bool
    seed: int


def train_config(batch_size=48, learning_rate=0.001, lambda_min=1.0, lambda_max=1.0, sparse_last=False, seed=0) -> TrainConfig:
    """TrainConfig from real numbers: 0 <= lambda_min <= lambda_max <= 1, rounded to 1/4096."""

    def q12(value):
        return int(np.floor(np.float32(value) * np.float32(4096) + np.float32(0.5)))

    return TrainConfig(batch_size, np.float32(learning_rate), q12(lambda_min), q12(lambda_max), sparse_last, seed & 0xFFFFFFFF)


@njit
def is_quantized(state, layer):
    """Whether a layer's output is uint8."""
    return state.tensors[layer.output].type == U8


@njit
def vector(arena, start, size):
    """size elements of an arena."""
    return arena[start : start + size]


@njit
def matrix(arena, start, rows, columns):
    """[rows, columns] of an arena."""
    return arena[start : start + rows * columns].reshape((rows, columns))


@njit
def taps_of(state, slot):
    """Where the columns of a convolution come from. uint32[fan_in, positions]."""
    return matrix(state.taps, slot.taps, slot.fan_in, slot.positions)


@njit
def pixels_of(arena, slot, count):
    """The centred input of a depthwise convolution with its padding. [pixels + 1, out]."""
    return matrix(arena, slot.columns, count // slot.out + 1, slot.out)


@njit
def volume(arena, start, tensor):
    """A tensor of an arena as [h, w, c]."""
    h, w, c = np.int64(tensor.h), np.int64(tensor.w), np.int64(tensor.c)
    return arena[start : start + h * w * c].reshape((h, w, c))


@njit
def weighted(layer):
    """Whether a layer has weights."""
    return layer.op == CONV2D or layer.op == LINEAR or layer.op == DEPTHWISE_CONV2D


@njit
def trains(layer):
    """Whether a layer's weights are updated."""
    return layer.flagset & LAYER_TRAINABLE != 0


@njit
def first_trained(state):
    """Index of the first trained layer; the number of layers if none is."""
    for i in range(state.layers.size):
        if trains(state.layers[i]):
            return i
    return state.layers.size


@njit
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
        for co in range(slot.out):
            for k in range(slot.fan_in):
                centred[co, k] = np.int32(weights[co, k]) - layer.weight_zero
        if layer.op == CONV2D:
            matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)[:] = centred.T
        else:
            matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)[:] = centred.T
    elif layer.op != CONV2D:
        weights_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
        matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)[:] = weights_f32.T


@njit
def prepare_scales(state, i):
    """Requantizers and bias_acc of a quantized layer i (SPEC.md 4.1, 4.3); scales pass through max pooling (SPEC.md 8)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    if layer.op == MAX_POOL2D:
        y.scale = x.scale
        y.zero = x.zero
    elif layer.op != DEQUANTIZE and is_quantized(state, layer):
        unit = x.scale * layer.weight_scale
        slot.forward_mantissa, slot.forward_pre, slot.forward_post = requantizer(unit / y.scale)
        m = np.float32(1) / (unit * BIAS_ONE)
        bias = vector(state.i32, slot.bias, slot.out)
        bias_acc = vector(state.i32, slot.bias_acc, slot.out)
        for co in range(slot.out):
            bias_acc[co] = clamp(rescale(bias[co], m, NEAREST), -ACC_LIMIT, ACC_LIMIT)


@njit
def prepare_error_scales(state, i):
    """Requantizer of the error that layer i sends to its input."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    if layer.op == MAX_POOL2D:
        x.error_scale = y.error_scale
    elif layer.op != DEQUANTIZE and is_quantized(state, layer):
        scale = layer.weight_scale * error_scale_in_force(y.error_scale)
        slot.backward_mantissa, slot.backward_pre, slot.backward_post = requantizer(scale / error_scale_in_force(x.error_scale))


@njit
def clear_minibatch(state):
    """Zero the sums and trackers of the minibatch; gradients of trained uint8 layers keep what update_layer() left, their residuals."""
    for i in range(state.layers.size):
        layer, slot = state.layers[i], state.layer_slots[i]
        slot.error_max_i32 = 0
        slot.error_max_f32 = np.float32(0)
        if weighted(layer):
            vector(state.i32, slot.chosen, slot.out)[:] = 0
            if is_quantized(state, layer):
                vector(state.i32, slot.bias_gradient, slot.out)[:] = 0
            else:
                vector(state.f32, slot.gradient, slot.out * slot.fan_in)[:] = np.float32(0)
                vector(state.f32, slot.bias_gradient, slot.out)[:] = np.float32(0)
    state.acc_extremes[:, 0] = 2147483647
    state.acc_extremes[:, 1] = -2147483648
    state.counters[SAMPLES] = 0


@njit
def prepare(state, frozen):
    """Derived values of all layers (frozen ones' weights only if asked); sums start anew."""
    for i in range(state.layers.size):
        if weighted(state.layers[i]) and (frozen or trains(state.layers[i])):
            prepare_weights(state, i)
        prepare_scales(state, i)
    for i in range(state.layers.size - 1, -1, -1):
        prepare_error_scales(state, i)
    clear_minibatch(state)


@njit
def begin(state, config):
    """Make a new State ready for samples."""
    for i in range(state.layers.size):
        layer, slot = state.layers[i], state.layer_slots[i]
        slot.fraction_bits = fraction_bits_of(slot.positions, config.batch_size)
        if layer.op == CONV2D or layer.op == DEPTHWISE_CONV2D:
            g = geometry(layer, state.tensors[layer.input], state.tensors[layer.output])
            fill_taps(g, g.in_c if layer.op == CONV2D else 1, taps_of(state, slot))
    prepare(state, True)


@njit
def widen(e, out):
    """out = e as int32. e: int8[n]."""
    for k in range(e.size):
        out[k] = np.int32(e[k])


@njit
def columns_of(state, slot, x, zero):
    """im2col of a convolution's input. x: uint8 or float32[n]. Returns float32[fan_in, positions]."""
    padded = state.sums_f32[: x.size + 1]
    centre(x, zero, padded)
    columns = matrix(state.f32, slot.columns, slot.fan_in, slot.positions)
    im2col(taps_of(state, slot), padded, columns)
    return columns


@njit
def forward_quantized(state, i, layer, slot, x, y, x_slot, y_slot):
    """Convolution or linear layer i on uint8 (SPEC.md 4.1)."""
    lower = y.zero if layer.flagset & LAYER_RELU != 0 else 0
    requantizer_ = (slot.forward_mantissa, slot.forward_pre, slot.forward_post)
    bias_acc = vector(state.i32, slot.bias_acc, slot.out)
    x_u8, y_u8 = vector(state.u8, x_slot.feature, x_slot.count), vector(state.u8, y_slot.feature, y_slot.count)
    acc, extremes = state.sums_i32[: y_slot.count], state.acc_extremes[i]
    if layer.op == CONV2D:
        columns = columns_of(state, slot, x_u8, x.zero)
        weights_c = matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
        weights_t = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)
        conv2d_forward_u8(requantizer_, y.zero, lower, columns, weights_c, weights_t, bias_acc, y_u8, acc, extremes)
    elif layer.op == DEPTHWISE_CONV2D:
        padded = pixels_of(state.i32, slot, x_slot.count)
        centre_pixels(x_u8, x.zero, padded)
        taps, weights_t_i32 = taps_of(state, slot), matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)
        depthwise_conv2d_forward_u8(requantizer_, y.zero, lower, taps, padded, weights_t_i32, bias_acc, y_u8, acc, extremes)
    else:
        centred = vector(state.i32, slot.columns, slot.fan_in)
        for k in range(centred.size):
            centred[k] = np.int32(x_u8[k]) - x.zero
        weights_t_i32 = matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)
        linear_forward_u8(requantizer_, y.zero, lower, centred, weights_t_i32, bias_acc, y_u8, acc, extremes)


@njit
def forward_float(state, layer, slot, x_slot, y_slot):
    """Convolution or linear layer on float32 (SPEC.md 4.2)."""
    relu = layer.flagset & LAYER_RELU != 0
    bias = vector(state.f32, slot.bias, slot.out)
    x, y = vector(state.f32, x_slot.feature, x_slot.count), vector(state.f32, y_slot.feature, y_slot.count)
    if layer.op == CONV2D:
        columns = columns_of(state, slot, x, np.float32(0))
        weights = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
        conv2d_forward_f32(relu, columns, weights, bias, y.reshape((slot.positions, slot.out)), state.sums_f32[: slot.positions])
    elif layer.op == DEPTHWISE_CONV2D:
        padded = pixels_of(state.f32, slot, x_slot.count)
        centre_pixels(x, np.float32(0), padded)
        weights_t = matrix(state.f32, slot.weights_t, slot.fan_in, slot.out)
        depthwise_conv2d_forward_f32(relu, taps_of(state, slot), padded, weights_t, bias, y)
    else:
        linear_forward_f32(relu, x, matrix(state.f32, slot.weights_t, slot.fan_in, slot.out), bias, y)


@njit
def forward_layer(state, i):
    """Layer i from its input tensor to its output tensor (Eq. 3)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    x_slot, y_slot = state.tensor_slots[layer.input], state.tensor_slots[layer.output]
    if layer.op == DEQUANTIZE:
        x_u8, y_f32 = vector(state.u8, x_slot.feature, x_slot.count), vector(state.f32, y_slot.feature, y_slot.count)
        dequantize_forward(x.zero, x.scale, x_u8, y_f32)
    elif layer.op == MAX_POOL2D:
        g = geometry(layer, x, y)
        if y.type == U8:
            max_pool2d_forward(g, volume(state.u8, x_slot.feature, x), volume(state.u8, y_slot.feature, y))
        else:
            max_pool2d_forward(g, volume(state.f32, x_slot.feature, x), volume(state.f32, y_slot.feature, y))
    elif y.type == U8:
        forward_quantized(state, i, layer, slot, x, y, x_slot, y_slot)
    else:
        forward_float(state, layer, slot, x_slot, y_slot)


@njit
def loss_and_error(state, label):
    """Loss (Q16) and prediction of the logits; writes the error at the logits and raises the largest loss seen."""
    last = state.tensors.size - 1
    tensor, slot = state.tensors[last], state.tensor_slots[last]
    exponents = state.moved[: slot.count]
    if tensor.type == U8:
        logits, error = vector(state.u8, slot.feature, slot.count), vector(state.i8, slot.error, slot.count)
        loss, prediction = softmax_cross_entropy_u8(tensor.scale, logits, label, error, exponents)
    else:
        logits_f32, error_f32 = vector(state.f32, slot.feature, slot.count), vector(state.f32, slot.error, slot.count)
        loss, prediction = softmax_cross_entropy_f32(logits_f32, label, error_f32, exponents)
    state.counters[LOSS_MAX] = max(state.counters[LOSS_MAX], loss)
    return loss, prediction


@njit
def current_rate(state, config, loss):
    """This sample's update rate, Q12 (Eq. 9)."""
    return update_rate(loss, state.counters[LOSS_MAX], config.lambda_min, config.lambda_max)


@njit
def select_layer(state, config, i, rate):
    """Sparse selection at the output of a trained layer i (Eq. 9). Returns whether channels were dropped."""
    layer, slot = state.layers[i], state.layer_slots[i]
    y_slot = state.tensor_slots[layer.output]
    chosen = vector(state.i32, slot.chosen, slot.out)
    exempt = i == last_weighted(state) and not config.sparse_last
    k = slot.out if exempt else kept_channels(rate, slot.out)
    if k >= slot.out:
        for co in range(slot.out):
            chosen[co] += 1
        return False
    if is_quantized(state, layer):
        error = vector(state.i8, y_slot.error, y_slot.count)
        wide = state.wide_error[: y_slot.count]
        widen(error, wide)
        sparse_select(wide.reshape((slot.positions, slot.out)), k, state.sums_i32[: slot.out], chosen)
        for j in range(error.size):
            error[j] = wide[j]
    else:
        error_f32 = matrix(state.f32, y_slot.error, slot.positions, slot.out)
        sparse_select(error_f32, k, state.sums_f32[: slot.out], chosen)
    return True


@njit
def backward_weight_layer(state, i):
    """Weight gradient of layer i (Eq. 2), added to the minibatch's. Uses the columns that forward_layer() left."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x_slot, y_slot = state.tensor_slots[layer.input], state.tensor_slots[layer.output]
    if is_quantized(state, layer):
        error = state.wide_error[: y_slot.count]
        widen(vector(state.i8, y_slot.error, y_slot.count), error)
        gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
        bias_gradient = vector(state.i32, slot.bias_gradient, slot.out)
        if layer.op == CONV2D:
            columns = matrix(state.f32, slot.columns, slot.fan_in, slot.positions)
            conv2d_backward_weight_u8(slot.fraction_bits, columns, error.reshape((slot.positions, slot.out)), gradient, bias_gradient)
        elif layer.op == DEPTHWISE_CONV2D:
            padded, error2 = pixels_of(state.i32, slot, x_slot.count), error.reshape((slot.positions, slot.out))
            depthwise_conv2d_backward_weight_u8(slot.fraction_bits, taps_of(state, slot), padded, error2, gradient, bias_gradient)
        else:
            centred = vector(state.i32, slot.columns, slot.fan_in)
            linear_backward_weight_u8(slot.fraction_bits, error, centred, gradient, bias_gradient)
    else:
        gradient_f32 = matrix(state.f32, slot.gradient, slot.out, slot.fan_in)
        bias_gradient_f32 = vector(state.f32, slot.bias_gradient, slot.out)
        if layer.op == CONV2D:
            columns_f32 = matrix(state.f32, slot.columns, slot.fan_in, slot.positions)
            error_f32 = matrix(state.f32, y_slot.error, slot.positions, slot.out)
            conv2d_backward_weight_f32(columns_f32, error_f32, gradient_f32, bias_gradient_f32, state.sums_f32[: slot.fan_in])
        elif layer.op == DEPTHWISE_CONV2D:
            padded_f32, error_f32 = pixels_of(state.f32, slot, x_slot.count), matrix(state.f32, y_slot.error, slot.positions, slot.out)
            depthwise_conv2d_backward_weight_f32(taps_of(state, slot), padded_f32, error_f32, gradient_f32, bias_gradient_f32)
        else:
            x_f32, e_f32 = vector(state.f32, x_slot.feature, x_slot.count), vector(state.f32, y_slot.error, y_slot.count)
            linear_backward_weight_f32(e_f32, x_f32, gradient_f32, bias_gradient_f32)


@njit
def backward_input_quantized(state, layer, slot, x, y, x_slot, y_slot):
    """Error at the input of a convolution or linear layer on uint8 (Eq. 4)."""
    masked = x.flagset & TENSOR_RELU != 0
    requantizer_ = (slot.backward_mantissa, slot.backward_pre, slot.backward_post)
    error = state.wide_error[: y_slot.count]
    widen(vector(state.i8, y_slot.error, y_slot.count), error)
    weights_c = matrix(state.i32, slot.weights_c, slot.out, slot.fan_in)
    features = vector(state.u8, x_slot.feature, x_slot.count)
    dx = vector(state.i8, x_slot.error, x_slot.count)
    sums = state.sums_i32[: x_slot.count]
    if layer.op == CONV2D:
        g, error2 = geometry(layer, x, y), error.reshape((slot.positions, slot.out))
        largest = conv2d_backward_input_u8(g, requantizer_, x.zero, masked, error2, weights_c, features, dx, sums)
    elif layer.op == DEPTHWISE_CONV2D:
        error2, weights_t = error.reshape((slot.positions, slot.out)), matrix(state.i32, slot.weights_t, slot.fan_in, slot.out)
        scratch = state.sums_i32[: x_slot.count + slot.out]
        largest = depthwise_conv2d_backward_input_u8(
            requantizer_, x.zero, masked, taps_of(state, slot), error2, weights_t, features, dx, scratch
        )
    else:
        largest = linear_backward_input_u8(requantizer_, x.zero, masked, error, weights_c, features, dx, sums)
    slot.error_max_i32 = max(slot.error_max_i32, np.int64(largest))


@njit
def backward_input_float(state, layer, slot, x, y, x_slot, y_slot):
    """Error at the input of a convolution or linear layer on float32 (Eq. 1)."""
    masked = x.flagset & TENSOR_RELU != 0
    weights = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
    features = vector(state.f32, x_slot.feature, x_slot.count)
    dx = vector(state.f32, x_slot.error, x_slot.count)
    if layer.op == CONV2D:
        error = matrix(state.f32, y_slot.error, slot.positions, slot.out)
        conv2d_backward_input_f32(geometry(layer, x, y), masked, error, weights, features, dx)
    elif layer.op == DEPTHWISE_CONV2D:
        error, weights_t = (
            matrix(state.f32, y_slot.error, slot.positions, slot.out),
            matrix(state.f32, slot.weights_t, slot.fan_in, slot.out),
        )
        scratch = state.sums_f32[: x_slot.count + slot.out]
        depthwise_conv2d_backward_input_f32(masked, taps_of(state, slot), error, weights_t, features, dx, scratch)
    else:
        linear_backward_input_f32(masked, vector(state.f32, y_slot.error, y_slot.count), weights, features, dx)


@njit
def backward_pool(state, layer, x, y, x_slot, y_slot):
    """Error at the input of a max pooling layer (SPEC.md 4.5)."""
    g, masked = geometry(layer, x, y), x.flagset & TENSOR_RELU != 0
    if y.type == U8:
        features, sums = volume(state.u8, x_slot.feature, x), volume(state.sums_i32, 0, x)
        error, dx = volume(state.i8, y_slot.error, y), volume(state.i8, x_slot.error, x)
        max_pool2d_backward_u8(g, x.zero, masked, features, error, dx, sums)
    else:
        features_f32 = volume(state.f32, x_slot.feature, x)
        error_f32, dx_f32 = volume(state.f32, y_slot.error, y), volume(state.f32, x_slot.error, x)
        max_pool2d_backward_f32(g, masked, features_f32, error_f32, dx_f32)


@njit
def backward_input_layer(state, i):
    """Error at the input of layer i (Eq. 1, 4)."""
    layer, slot = state.layers[i], state.layer_slots[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    x_slot, y_slot = state.tensor_slots[layer.input], state.tensor_slots[layer.output]
    if layer.op == DEQUANTIZE:
        error, dx = vector(state.f32, y_slot.error, y_slot.count), vector(state.i8, x_slot.error, x_slot.count)
        features, scale = vector(state.u8, x_slot.feature, x_slot.count), error_scale_in_force(x.error_scale)
        largest = dequantize_backward(x.zero, x.flagset & TENSOR_RELU != 0, scale, error, features, dx)
        slot.error_max_f32 = max(slot.error_max_f32, largest)
    elif layer.op == MAX_POOL2D:
        backward_pool(state, layer, x, y, x_slot, y_slot)
    elif y.type == U8:
        backward_input_quantized(state, layer, slot, x, y, x_slot, y_slot)
    else:
        backward_input_float(state, layer, slot, x, y, x_slot, y_slot)


@njit
def forward(state, sample):
    """A sample (uint8[h * w * c]) through all layers."""
    vector(state.u8, state.tensor_slots[0].feature, sample.size)[:] = sample
    for i in range(state.layers.size):
        forward_layer(state, i)


@njit
def backward(state, config, loss):
    """From the error at the logits down to the first trained layer."""
    first = first_trained(state)
    rate = current_rate(state, config, loss)
    for i in range(state.layers.size - 1, first - 1, -1):
        if trains(state.layers[i]):
            select_layer(state, config, i, rate)
            backward_weight_layer(state, i)
        if i > first:
            backward_input_layer(state, i)
    state.counters[SAMPLES] += 1


@njit
def update_layer(state, config, i):
    """Eq. 5-8 for layer i."""
    layer, slot = state.layers[i], state.layer_slots[i]
    batch = state.counters[SAMPLES]
    chosen = vector(state.i32, slot.chosen, slot.out)
    if is_quantized(state, layer):
        key = random_key(config.seed, state.counters[STEP], i)
        weights = matrix(state.u8, slot.weights, slot.out, slot.fan_in)
        gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
        moved = matrix(state.moved, 0, slot.out, slot.fan_in)
        layer.weight_scale, layer.weight_zero = update_weights_u8(
            layer.weight_scale, layer.weight_zero, config.learning_rate, batch, key, slot.fraction_bits, weights, gradient, chosen, moved
        )
        error_scale = error_scale_in_force(state.tensors[layer.output].error_scale)
        bias, bias_gradient = vector(state.i32, slot.bias, slot.out), vector(state.i32, slot.bias_gradient, slot.out)
        update_bias_u8(error_scale, config.learning_rate, batch, bias, bias_gradient)
    else:
        weights_f32 = matrix(state.f32, slot.weights, slot.out, slot.fan_in)
        gradient_f32 = matrix(state.f32, slot.gradient, slot.out, slot.fan_in)
        bias_f32, bias_gradient_f32 = vector(state.f32, slot.bias, slot.out), vector(state.f32, slot.bias_gradient, slot.out)
        update_f32(config.learning_rate, batch, weights_f32, bias_f32, gradient_f32, bias_gradient_f32, chosen)


@njit
def observe_scales(state, i, old_weight_scale, ranges, observed):
    """What the minibatch says about layer i's scales, from the scales that were in force (SPEC.md 8).

    ranges[i] = (lo, hi, scale) and observed[i] = R of the error at the layer's input; returns the output's new zero point.
    """
    layer = state.layers[i]
    x, y = state.tensors[layer.input], state.tensors[layer.output]
    zero = y.zero
    observed[i] = np.float32(0)
    if layer.op == DEQUANTIZE:
        observed[i] = state.layer_slots[i].error_max_f32 / np.float32(127)
    elif layer.op != MAX_POOL2D and y.type == U8:
        error_unit = old_weight_scale * error_scale_in_force(y.error_scale)
        observed[i] = (np.float32(state.layer_slots[i].error_max_i32) * error_unit) / np.float32(127)
        if y.flagset & TENSOR_ADAPTIVE != 0:
            unit = x.scale * old_weight_scale
            relu = layer.flagset & LAYER_RELU != 0
            low, high = state.acc_extremes[i, 0], state.acc_extremes[i, 1]
            lo, hi, scale, zero = update_range(relu, unit, y.lo, y.hi, y.scale, y.zero, low, high)
            ranges[i, 0], ranges[i, 1], ranges[i, 2] = lo, hi, scale
    return zero


@njit
def update(state, config):
    """The end of a minibatch: weights, then scales, then derived values (SPEC.md 6-8)."""
    count = state.layers.size
    ranges = np.zeros((count, 3), np.float32)
    zeros = np.zeros(count, np.int64)
    observed = np.zeros(count, np.float32)
    for i in range(count):
        zeros[i] = observe_scales(state, i, state.layers[i].weight_scale, ranges, observed)
    for i in range(count):
        if trains(state.layers[i]):
            update_layer(state, config, i)
    for i in range(count):
        layer = state.layers[i]
        x, y = state.tensors[layer.input], state.tensors[layer.output]
        if layer.op != MAX_POOL2D:
            if x.type == U8:
                x.error_scale = update_error_scale(x.error_scale, observed[i])
            if y.type == U8 and y.flagset & TENSOR_ADAPTIVE != 0:
                y.lo, y.hi, y.scale, y.zero = ranges[i, 0], ranges[i, 1], ranges[i, 2], zeros[i]
    state.counters[STEP] += 1
    prepare(state, False)


@njit
def train_sample(state, config, sample, label):
    """One sample forward and backward. Returns (loss in Q16, prediction)."""
    forward(state, sample)
    loss, prediction = loss_and_error(state, label)
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
    slot = state.tensor_slots[last]
    for j in range(samples.shape[0]):
        forward(state, samples[j])
        if state.tensors[last].type == F32:
            predictions[j] = np.argmax(vector(state.f32, slot.feature, slot.count))
        else:
            predictions[j] = np.argmax(vector(state.u8, slot.feature, slot.count))
