# SPDX-License-Identifier: Apache-2.0
"""Training without back-propagation: gradients of quantized layers from differences of losses (SPEC.md 17; Zhao et al., TODAES 2025).

A minibatch on the State of train_step.py: forward passes, sums, update rule and moving ranges are the same.
"""

from typing import NamedTuple

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref.arithmetic import BIAS_ONE, ERROR_MAX, NEAREST, WIDE_LIMIT, clamp, random_key, random_word, requantize, requantizer, rescale
from fqt_ref.errors import FqtError
from fqt_ref.jit import njit, uncounted
from fqt_ref.model_file import MAX_FAN_OUT, MAX_POSITIONS
from fqt_ref.network import LAYER_TRAINABLE, MAX_POOL2D, SAMPLES, STEP, U8, Network, State, new_state
from fqt_ref.operators.views import error_i8, feature_u8, limits, matrix, passing, trains, vector
from fqt_ref.optimizers.names import ALL, HYSTERESIS
from fqt_ref.optimizers.standardized_sgd import LARGEST_PRODUCT, fraction_bits_of
from fqt_ref.ranges import error_scale_in_force
from fqt_ref.sparse_update import kept_channels

STREAM_SIGNS = 0x30000  # random streams, plus the layer's index
STREAM_BLOCK = 0x40000
LARGEST_DIFFERENCE = LARGEST_PRODUCT  # of losses, Q16: a query has the bound of an error times an input
MAX_STEP = 127
MAX_QUERIES = MAX_FAN_OUT
BY_WEIGHTS, BY_NODES, EXACTLY = 0, 1, 2  # how a layer's gradient is found


class ZerothConfig(NamedTuple):
    """How gradients are estimated (SPEC.md 17.1), beside a TrainConfig."""

    queries: int  # N, per sample and layer
    weight_step: int  # 1..127 steps of the weight grid
    bias_step: int  # 0..127 steps of the output grid; 0: biases of layers estimated by weights stay
    node_step: int  # 1..127 steps of the output grid
    antithetic: bool  # losses on both sides, instead of one side and the middle
    first_node: int  # trained layers from this index on are estimated by nodes, those before by weights
    exact_last: bool  # the layer that makes the logits takes their error as it is


def zeroth_config(
    network: Network,
    batch_size: int,
    queries: int = 8,
    weight_step: int = 1,
    bias_step: int = 1,
    node_step: int = 5,
    antithetic: bool = True,
    first_node: int = 0,
    exact_last: bool = False,
) -> ZerothConfig:
    """A ZerothConfig that fits a network and a batch size. Raises FqtError."""
    config = ZerothConfig(queries, weight_step, bias_step, node_step, antithetic, first_node, exact_last)
    if not 1 <= queries <= MAX_QUERIES:
        raise FqtError(f"queries {queries} is not in 1..{MAX_QUERIES}")
    if not 1 <= batch_size <= MAX_POSITIONS // queries:
        raise FqtError(f"batch size {batch_size} with {queries} queries: a sum could overflow; use 1..{MAX_POSITIONS // queries}")
    for name, step, least in (("weight step", weight_step, 1), ("bias step", bias_step, 0), ("node step", node_step, 1)):
        if not least <= step <= MAX_STEP:
            raise FqtError(f"{name} {step} is not in {least}..{MAX_STEP}")
    if not 0 <= first_node < 1 << 32:
        raise FqtError(f"first node layer {first_node} is not in 0..{(1 << 32) - 1}")
    trained = [i for i, layer in enumerate(network.layers) if layer["flagset"] & LAYER_TRAINABLE]
    if not trained:
        raise FqtError("no layer of the network is trained: choose some")
    for i in trained:
        y = network.tensors[i + 1]
        if y["type"] != U8:
            raise FqtError(f"layer {i} is float32: only quantized layers train without back-propagation, freeze it")
        positions = int(y["h"]) * int(y["w"])
        if method_of(len(network.layers), config, i) != BY_WEIGHTS and positions * batch_size > MAX_POSITIONS:
            what = f"the gradient of layer {i} ({positions} positions) could overflow"
            raise FqtError(f"batch size {batch_size}: {what}; use at most {MAX_POSITIONS // positions}")
    return config


@njit
def method_of(count, zeroth, i):
    """How the gradient of trained layer i of `count` layers is found."""
    if zeroth.exact_last and i == count - 1:
        return EXACTLY
    return BY_NODES if i >= zeroth.first_node else BY_WEIGHTS


# ---- Signs, channels, units ----


@njit
def sign(key, i):
    """u(i): +1 or -1, each with probability 1/2; a random word holds 32."""
    return 1 if (random_word(key, i >> 5) >> (i & 31)) & 1 else -1


@njit
def query_keys(seed, step, i, sample, queries):
    """Keys of the signs of layer i's queries, int64[queries]. sample: of the minibatch, from 0."""
    base = random_key(seed, step, STREAM_SIGNS + i)
    keys = np.empty(queries, np.int64)
    for q in range(queries):
        keys[q] = random_word(base, sample * queries + q)
    return keys


@njit
def kept_block(seed, step, i, sample, k, channels):
    """Which output channels of layer i a sample trains: k neighbours from a random one. Returns bool[channels]."""
    first = (random_word(random_key(seed, step, STREAM_BLOCK + i), sample) * channels) >> 32
    kept = np.empty(channels, np.bool_)
    for co in range(channels):
        kept[co] = (co + channels - first) % channels < k
    return kept


@njit
def estimate_unit(zeroth, step, scale):
    """Real value of 1 in a sum of signed loss differences, perturbed by `step` steps of `scale` (SPEC.md 17.2)."""
    if step == 0:
        return np.float32(0)
    span = np.float32(2 * step if zeroth.antithetic else step)
    return (np.float32(1) / (span * (np.float32(zeroth.queries) * np.float32(65536)))) / scale


# ---- Perturbations and estimates; plain arrays ----


@njit
def perturb_weights(key, step, kept, weights, perturbed):
    """w' of SPEC.md 17.3. step: negative for the other side; weights, perturbed: uint8[out, fan_in]."""
    n = weights.shape[1]
    for co in range(weights.shape[0]):
        for j in range(n):
            move = step * sign(key, co * n + j) if kept[co] else 0
            perturbed[co, j] = clamp(np.int64(weights[co, j]) + move, 0, 255)


@njit
def perturb_bias(key, first, delta, kept, bias, perturbed):
    """b' of SPEC.md 17.3. first: index of the first bias's sign; delta: Q20; bias, perturbed: int32[out]."""
    for co in range(bias.size):
        move = delta * sign(key, first + co) if kept[co] else 0
        perturbed[co] = clamp(np.int64(bias[co]) + move, 1 - WIDE_LIMIT, WIDE_LIMIT - 1)


@njit
def add_weight_estimate(key, difference, bits, kept, gradient):
    """G += u d 2^bits of the kept channels. gradient: int32[out, fan_in]."""
    n = gradient.shape[1]
    for co in range(gradient.shape[0]):
        if kept[co]:
            for j in range(n):
                gradient[co, j] += (sign(key, co * n + j) * difference) << bits


@njit
def add_bias_estimate(key, first, difference, kept, gradient):
    """G_b += u d of the kept channels. gradient: int32[out]."""
    for co in range(gradient.size):
        if kept[co]:
            gradient[co] += sign(key, first + co) * difference


@njit
def perturb_nodes(key, step, kept, passes, bounds, nodes, perturbed):
    """y' of SPEC.md 17.4. passes: (lowest, highest) between which an output is perturbed; bounds: (lower, upper); nodes: uint8[n]."""
    for j in range(nodes.size):
        node = np.int64(nodes[j])
        if passes[0] < node < passes[1] and kept[j % kept.size]:
            node = clamp(node + step * sign(key, j), bounds[0], bounds[1])
        perturbed[j] = node


@njit
def node_error(keys, differences, m, kept, passes, nodes, error):
    """e of SPEC.md 17.4; returns the largest |S|. keys, differences: int64[queries]; m: float32; nodes: uint8[n]; error: int8[n]."""
    mantissa, pre, post = requantizer(m)
    largest = 0
    for j in range(nodes.size):
        error[j] = 0
        if passes[0] < np.int64(nodes[j]) < passes[1] and kept[j % kept.size]:
            total = 0
            for q in range(keys.size):
                total += sign(keys[q], j) * differences[q]
            largest = max(largest, abs(total))
            error[j] = clamp(requantize(total, mantissa, pre, post), -ERROR_MAX, ERROR_MAX)
    return largest


# ---- On a State ----


@njit
def loss_behind(state, first, label):
    """Loss, Q16, after the layers from `first` on have run again."""
    for i in range(first, state.layers.size):
        ts.forward_layer(state, i)
    loss, _ = ts.loss_of_logits(state, label, False, 0)
    return loss


@uncounted
def difference_of(plus, minus):
    """d of SPEC.md 17.2, Q16."""
    return clamp(np.int64(plus) - np.int64(minus), -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)


@njit
def set_parameters(state, i, weights, bias):
    """Layer i runs with other parameters. weights: uint8[out, fan_in]; bias: int32[out]."""
    slot = state.layer_slots[i]
    ts.copy(weights.reshape(-1), vector(state.u8, slot.weights, slot.out * slot.fan_in))
    ts.copy(bias, vector(state.i32, slot.bias, slot.out))
    ts.prepare_weights(state, i)
    ts.prepare_scales(state, i)


@njit
def estimate_by_weights(state, zeroth, i, keys, kept, label, loss):
    """SPEC.md 17.3: adds to the gradients of layer i. loss: of the unperturbed network, Q16."""
    slot = state.layer_slots[i]
    weights, bias = matrix(state.u8, slot.weights, slot.out, slot.fan_in).copy(), vector(state.i32, slot.bias, slot.out).copy()
    other_weights, other_bias = np.empty_like(weights), np.empty_like(bias)
    gradient = matrix(state.i32, slot.gradient, slot.out, slot.fan_in)
    delta = rescale(zeroth.bias_step, state.tensors[i + 1].scale * BIAS_ONE, NEAREST)
    losses = np.empty(2, np.int64)
    for q in range(keys.size):
        losses[1] = loss
        for side in range(2 if zeroth.antithetic else 1):
            direction = 1 - 2 * side
            perturb_weights(keys[q], direction * zeroth.weight_step, kept, weights, other_weights)
            perturb_bias(keys[q], weights.size, direction * delta, kept, bias, other_bias)
            set_parameters(state, i, other_weights, other_bias)
            losses[side] = loss_behind(state, i, label)
        difference = difference_of(losses[0], losses[1])
        add_weight_estimate(keys[q], difference, slot.fraction_bits, kept, gradient)
        if zeroth.bias_step > 0:
            add_bias_estimate(keys[q], weights.size, difference, kept, vector(state.i32, slot.bias_gradient, slot.out))
    set_parameters(state, i, weights, bias)


@njit
def estimate_by_nodes(state, zeroth, i, keys, kept, label, loss):
    """SPEC.md 17.4: the error at layer i's output, and with it Eq. 2. Needs the columns that forward_layer() left."""
    layer, t = state.layers[i], i + 1
    y, nodes = feature_u8(state, t), feature_u8(state, t).copy()
    passes, bounds = passing(state, t), limits(state, layer)
    differences, losses = np.empty(keys.size, np.int64), np.empty(2, np.int64)
    for q in range(keys.size):
        losses[1] = loss
        for side in range(2 if zeroth.antithetic else 1):
            perturb_nodes(keys[q], (1 - 2 * side) * zeroth.node_step, kept, passes, bounds, nodes, y)
            losses[side] = loss_behind(state, i + 1, label)
        differences[q] = difference_of(losses[0], losses[1])
    tensor = state.tensors[t]
    m = estimate_unit(zeroth, zeroth.node_step, tensor.scale) / error_scale_in_force(tensor.error_scale)
    largest = node_error(keys, differences, m, kept, passes, nodes, error_i8(state, t))
    state.error_max[i, 0] = max(state.error_max[i, 0], largest)  # here of the error at the output
    ts.backward_weight_layer(state, i)


@njit
def take_exact_error(state, i, kept):
    """SPEC.md 17.5: Eq. 2 with the error at the logits, which the loss has just left."""
    error = error_i8(state, i + 1)
    for j in range(error.size):
        if not kept[j % kept.size]:
            error[j] = 0
    ts.backward_weight_layer(state, i)


@njit
def estimate_layer(state, config, zeroth, i, label, loss, rate):
    """Adds one sample to the gradients of trained layer i. rate: of Eq. 9, Q12."""
    slot = state.layer_slots[i]
    exempt = i == ts.last_weighted(state) and not config.sparse_last
    k = slot.out if exempt else kept_channels(rate, slot.out)
    step, sample = state.counters[STEP], state.counters[SAMPLES]
    kept = kept_block(config.seed, step, i, sample, k, slot.out)
    chosen = vector(state.i32, slot.chosen, slot.out)
    for co in range(slot.out):
        chosen[co] += 1 if kept[co] else 0
    keys = query_keys(config.seed, step, i, sample, zeroth.queries)
    method = method_of(state.layers.size, zeroth, i)
    if method == BY_WEIGHTS:
        estimate_by_weights(state, zeroth, i, keys, kept, label, loss)
    elif method == BY_NODES:
        estimate_by_nodes(state, zeroth, i, keys, kept, label, loss)
    else:
        take_exact_error(state, i, kept)


@njit
def begin(state, config, zeroth):
    """Make a new State ready for samples."""
    ts.begin(state, config)
    for i in range(state.layers.size):
        if method_of(state.layers.size, zeroth, i) == BY_WEIGHTS:
            state.layer_slots[i].fraction_bits = fraction_bits_of(zeroth.queries, config.batch_size)


@njit
def train_sample(state, config, zeroth, sample, label):
    """One sample: a forward pass, then the gradient of each trained layer (SPEC.md 17.2). Returns (loss in Q16, prediction)."""
    ts.forward(state, sample)
    loss, prediction = ts.loss_and_error(state, config, label)
    rate = ts.current_rate(state, config, loss)
    extremes = state.extremes.copy()
    for i in range(state.layers.size - 1, -1, -1):  # backwards, so that the inputs of layers to come stay
        if trains(state.layers[i]):
            estimate_layer(state, config, zeroth, i, label, loss, rate)
    state.extremes[:] = extremes
    state.counters[SAMPLES] += 1
    return loss, prediction


@njit
def observe_node_errors(state, zeroth, i, observed):
    """R of layer i's error, estimated by nodes, where its scale is kept: behind max pooling (SPEC.md 17.4). observed: float32[T]."""
    t = i + 1
    unit = estimate_unit(zeroth, zeroth.node_step, state.tensors[t].scale)
    while state.tensor_slots[t].last_reader >= 0 and state.layers[state.tensor_slots[t].last_reader].op == MAX_POOL2D:
        t = state.tensor_slots[t].last_reader + 1
    if state.tensor_slots[t].last_reader >= 0:  # the logits' scale is fixed
        observed[t] = (np.float32(state.error_max[i, 0]) * unit) / np.float32(127)


@njit
def update(state, config, zeroth):
    """The end of a minibatch: weights, then scales, then derived values (SPEC.md 6, 8, 17)."""
    count = state.layers.size
    observed = np.zeros(count + 1, np.float32)
    ranges, zeros = ts.observed_ranges(state)
    for i in range(count):
        if trains(state.layers[i]):
            if method_of(count, zeroth, i) == BY_WEIGHTS:
                ts.update_quantized(state, config, i, estimate_unit(zeroth, zeroth.bias_step, state.tensors[i + 1].scale))
            else:
                if method_of(count, zeroth, i) == BY_NODES:
                    observe_node_errors(state, zeroth, i, observed)
                ts.update_layer(state, config, i)
    ts.end_minibatch(state, observed, ranges, zeros)


@njit
def train(state, config, zeroth, samples, labels, order, losses, predictions):
    """As train_step.train(). No Python call inside.

    samples: uint8[n, h * w * c]; labels: int64[n]; order: int64[m]; losses, predictions: int64[m], written.
    """
    for j in range(order.size):
        losses[j], predictions[j] = train_sample(state, config, zeroth, samples[order[j]], labels[order[j]])
        if state.counters[SAMPLES] == config.batch_size:
            update(state, config, zeroth)


def check_options(config: ts.TrainConfig) -> None:
    """Whether hyperparameters leave the options of training with errors alone (SPEC.md 16). Raises FqtError."""
    if config.weight_range != HYSTERESIS or config.stochastic_errors == ALL:
        raise FqtError("without back-propagation there are neither other weight ranges nor errors to round: leave those options away")


def prepared_state(network: Network, config: ts.TrainConfig, zeroth: ZerothConfig) -> State:
    """A State ready for train_sample(). Raises FqtError for options of training with errors."""
    check_options(config)
    state = new_state(network)
    begin(state, config, zeroth)
    return state
