# SPDX-License-Identifier: Apache-2.0
"""Golden cases of single operators and of the update rule: ordinary shapes, edges, and values at the ends of their ranges."""

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from fqt_ref.arithmetic import NEAREST, log2_q16, random_key, random_word, requantize, requantizer, rescale
from fqt_ref.golden import edges
from fqt_ref.golden.format import Case
from fqt_ref.golden.plain import add_cases, average_cases, border_cases, hard_swish_cases, pool_cases
from fqt_ref.golden.values import errors, floats
from fqt_ref.golden.weighted import weighted_cases
from fqt_ref.kernels import softmax_cross_entropy
from fqt_ref.optimizers import standardized_sgd
from fqt_ref.optimizers.names import HYSTERESIS
from fqt_ref.ranges import update_range
from fqt_ref.sparse_update import sparse_select

I32, U32, F32 = np.int32, np.uint32, np.float32


def arithmetic_cases(rng) -> Iterator[Case]:
    """Requantizers, random words, log2: ordinary values and the ends of every branch."""
    powers, mixed = F32(2.0) ** np.arange(-60, 20).astype(F32), rng.random_sample(400) * F32(2.0) ** rng.randint(-30, 4, 400)
    m = np.concatenate([powers, mixed.astype(F32)]).astype(F32)
    m = np.concatenate([m, np.array([0.99999994, 1.1754942e-38, 3e38, 2.0**-37, 2.0**14, 1.9999695e-3, 1.9999999], F32)])
    limit = 2**31 - 1 - 2**28
    a = rng.randint(-limit, limit + 1, m.size) >> rng.randint(0, 31, m.size)
    a[:6] = (limit, -limit, 0, 1, -1, limit)
    a = a.astype(I32)
    yield Case("requantize", "all exponents", [m, a], [np.array([requantize(v, *requantizer(f)) for f, v in zip(m, a, strict=True)], I32)])
    r = rng.randint(0, 2**32, m.size).astype(U32)
    r[::2] = NEAREST
    r[1:8:2] = (0, 0xFFFFFFFF, 1, 0x7FFFFFFF)
    wide = np.array([rescale(int(v), f, int(q)) for f, v, q in zip(m, a, r, strict=True)], I32)
    yield Case("rescale", "all exponents", [m, a, r], [wide])
    keys = rng.randint(0, 2**32, (256, 4)).astype(U32)
    keys[:4] = ((0, 0, 0, 0), (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (1, 0, 0, 0), (0, 0, 0x20000, 59999))
    words = [random_word(random_key(int(s), int(t), int(u)), int(i)) for s, t, u, i in keys]
    yield Case("random", "words", [keys], [np.array(words, U32)])
    v = np.concatenate([1 << np.arange(32), (1 << np.arange(1, 33)) - 1, rng.randint(1, 2**32, 100)]).astype(U32)
    yield Case("log2", "values", [v], [np.array([log2_q16(int(x)) for x in v], U32)])


def softmax_cases(rng) -> Iterator[Case]:
    """Softmax cross-entropy: one class, equal logits, certain and impossible labels."""
    shapes = (1, 0.1, 256), (10, 0.05, 256), (10, 5.0, 256), (10, 1e-6, 256), (102, 0.02, 256), (1023, 0.5, 2), (10, 200.0, 256)
    for n, scale, top in shapes:
        logits = rng.randint(0, top, n).astype(np.uint8)
        for label in {0, n - 1, int(logits.argmax()), int(logits.argmin())}:
            e = np.zeros(n, np.int8)
            roundings = (False, 0), (True, int(rng.randint(2**32, dtype=np.int64)))
            for stochastic, key in roundings[n > 500 :]:  # 256 KB of flash hold no more
                scratch = np.zeros(n, np.int64)
                result = softmax_cross_entropy.softmax_cross_entropy_u8(F32(scale), logits, label, stochastic, key, e, scratch)
                arrays = [np.array([label], I32), np.array([scale], F32), np.array([stochastic, key], U32), logits]
                title = f"{n} classes, scale {scale}, label {label}, {'stochastic' if stochastic else 'half up'}"
                yield Case("softmax_u8", title, arrays, [e.copy(), np.array(result, U32)])
            logits_f, e_f = (logits.astype(F32) * F32(scale) - F32(3)), np.zeros(n, F32)
            result = softmax_cross_entropy.softmax_cross_entropy_f32(logits_f, label, e_f, np.zeros(n, np.int64))
            title = f"{n} classes, scale {scale}, label {label}"
            yield Case("softmax_f32", title, [np.array([label], I32), logits_f], [e_f, np.array(result, U32)])


def sparse_cases(rng) -> Iterator[Case]:
    """Selection with all-zero errors, one channel, all channels but one, and equal norms: several of those that are kept, or all."""
    plans = ((1, 1, 1, 1), (4, 8, 3, 0.5), (9, 8, 1, 1), (9, 8, 7, 1), (5, 6, 2, 0), (1, 16, 4, 0.3), (1, 12, 5, 0.7), (2, 6, 3, 1))
    for positions, channels, k, density in plans:
        equal = channels in (6, 12)
        title = f"{k} of {channels}, {positions} positions, density {density}{', errors of 1' if equal else ''}"
        chosen = rng.randint(0, 5, channels).astype(I32)
        shape = np.array([positions, channels, k], I32)
        for suffix, before in (("u8", errors(rng, (positions, channels), density)), ("f32", floats(rng, (positions, channels), density))):
            before = np.sign(before) if equal else before
            e, after = before.astype(I32) if suffix == "u8" else before.copy(), chosen.copy()
            sparse_select(e, k, np.zeros(channels, e.dtype), after)
            yield Case(f"sparse_select_{suffix}", title, [shape, before, chosen], [e.astype(before.dtype), after])


def update_cases(rng) -> Iterator[Case]:
    """The update rule: grid kept, grown and shrunk; equal gradients; huge gradients; channels never chosen."""
    plans = {
        "grid kept": (4, 9, 0.004, 0.001, 5000, 8),
        "grid kept, residuals": (4, 30, 0.004, 0.001, 500000, 8),
        "grid grows": (3, 20, 0.0001, 0.05, 100, 8),
        "grid shrinks": (3, 20, 0.01, 0.01, 1000, 2),
        "one weight": (1, 1, 0.01, 0.01, 1000, 8),
        "one input": (5, 1, 0.01, 0.01, 1000, 8),
        "large gradients": (3, 200, 0.003, 0.001, 2**31 - 1, 8),
        "no gradients": (4, 7, 0.003, 0.001, 1, 8),
        "learning rate 1": (2, 30, 1e-6, 1.0, 99999, 8),
    }
    kept = HYSTERESIS, F32(0), np.zeros((0, 2), F32)  # how the grid follows
    for step, (name, (out, n, scale, lr, top, spread)) in enumerate(plans.items()):
        w = rng.randint(128 - (1 << spread) // 2, 128 + (1 << spread) // 2, (out, n)).astype(np.uint8)
        bits = (8, 3, 1, 0)[step % 4]
        gradient = rng.randint(-top + 1, top, (out, n)).astype(I32)
        chosen = rng.randint(0, 49, out).astype(I32)
        key = random_key(7, step, 2)
        moved = np.zeros((out, n), np.int64)
        for grids in sorted({1, out}):
            after, residual = w.copy(), gradient.copy()
            scales, zeros = F32(scale) * (F32(1) + np.arange(grids, dtype=F32) / F32(4)), I32(128) - np.arange(grids, dtype=I32)
            inputs = [np.array([out, n, 48, bits], I32), np.array([7, step, 2], U32), np.array([lr], F32)]
            inputs += [scales.copy(), zeros.copy(), w, gradient, chosen]
            standardized_sgd.update_weights_u8(scales, zeros, *kept, F32(lr), 48, key, bits, after, residual, chosen, moved)
            yield Case("update_weights_u8", f"{name}, {grids} grids", inputs, [after, scales, zeros, residual])
        bias, bias_gradient = rng.randint(-(2**29), 2**29, out).astype(I32), rng.randint(-top + 1, top, out).astype(I32)
        after_b = bias.copy()
        standardized_sgd.update_bias_u8(F32(scale), F32(lr), 48, after_b, bias_gradient)
        yield Case("update_bias_u8", name, [np.array([48], I32), np.array([scale, lr], F32), bias, bias_gradient], [after_b])
        w_f, b_f = floats(rng, (out, n)), floats(rng, out)
        g_f, gb_f = floats(rng, (out, n), float(top > 1)), np.abs(floats(rng, out))
        after_w, after_bf = w_f.copy(), b_f.copy()
        standardized_sgd.update_f32(F32(lr), 48, after_w, after_bf, g_f, gb_f, chosen)
        inputs = [np.array([out, n, 48], I32), np.array([lr], F32), w_f, b_f, g_f, gb_f, chosen]
        yield Case("update_f32", name, inputs, [after_w, after_bf])


def range_cases(rng) -> Iterator[Case]:
    """The moving range of a feature map."""
    for act, lo_batch, hi_batch, lo, hi in (
        (0, -3.0, 4.0, -1.0, 2.0),
        (1, -3.0, 4.0, 0.0, 2.0),
        (2, -3.0, 9.0, 0.0, 6.0),
        (0, 0.01, 0.02, -1.0, 2.0),
        (0, 0.0, 0.0, 0.0, 0.0),
        (1, 0.0, 5e-12, 0.0, 1e-13),
        (0, -1e9, 1e9, -7.0, 3.0),
    ):
        values = np.array([lo_batch, hi_batch, lo, hi, (hi - lo) / 255 if hi > lo else 0.25], F32)
        result = update_range(act, values[0], values[1], values[2], values[3], values[4], 5)
        inputs = [np.array([act], I32), values, np.array([5], I32)]
        yield Case("update_range", f"act {act}, {lo_batch}..{hi_batch}", inputs, [np.array(result[:3], F32), np.array([result[3]], I32)])


def generators() -> dict[str, Callable[[], Iterator[Case]]]:
    """What makes the cases of each file, from fixed seeds."""

    def rng(seed):
        return np.random.RandomState(seed)  # its stream is frozen in all versions of NumPy

    return {
        "arithmetic": lambda: chain(arithmetic_cases(rng(1)), edges.arithmetic_edges(), edges.random_uses()),
        "conv2d": lambda: chain(weighted_cases("conv2d", rng(2)), edges.error_edges("conv2d")),
        "linear": lambda: chain(weighted_cases("linear", rng(3)), edges.error_edges("linear")),
        "max_pool2d": lambda: chain(pool_cases(rng(4)), edges.pool_edges()),
        "dequantize": lambda: chain(border_cases(rng(5)), edges.border_edges()),
        "softmax_cross_entropy": lambda: chain(softmax_cases(rng(6)), edges.softmax_edges(), edges.table_cases()),
        "sparse_update": lambda: chain(sparse_cases(rng(7)), edges.sparse_edges()),
        "standardized_sgd": lambda: chain(update_cases(rng(8)), edges.update_edges()),
        "ranges": lambda: chain(range_cases(rng(9)), edges.range_edges()),
        "depthwise_conv2d": lambda: chain(weighted_cases("depthwise_conv2d", rng(10)), edges.error_edges("depthwise_conv2d")),
        "avg_pool2d": lambda: average_cases(rng(11)),
        "add": lambda: chain(add_cases(rng(12)), edges.add_edges()),
        "hard_swish": lambda: chain(hard_swish_cases(rng(13)), edges.hard_swish_edges()),
    }


def operator_files() -> dict[str, list[Case]]:
    """Golden cases by file name."""
    return {name: list(make()) for name, make in generators().items()}
