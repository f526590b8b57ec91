# SPDX-License-Identifier: Apache-2.0
"""Golden cases at the borders of single clauses: halves of both signs, limits reached and just not reached, channels of unlike size.

Each is there because a change of the engine or of the C library went unnoticed without it (scripts/mutants.py).
"""

from collections.abc import Iterator

import numpy as np

from fqt_ref.arithmetic import (
    NEAREST,
    ROUND_HALF_UP,
    error_requantizer,
    log2_q16,
    random_key,
    requantize,
    requantizer,
    rescale,
    sample_order,
)
from fqt_ref.calibrate import random_weights
from fqt_ref.golden import weighted
from fqt_ref.golden.format import Case
from fqt_ref.golden.values import floats, ints, new_extremes, reals, window_geometry
from fqt_ref.kernels import add, dequantize, hard_swish, max_pool2d, softmax_cross_entropy
from fqt_ref.optimizers import standardized_sgd
from fqt_ref.optimizers.names import HYSTERESIS
from fqt_ref.ranges import update_range
from fqt_ref.sparse_update import sparse_select

I32, U32, F32 = np.int32, np.uint32, np.float32
JUST_BELOW_HALF = 0.49999997  # whose sum with 0.5 is 1 in float32


def arithmetic_edges() -> Iterator[Case]:
    """Halves of both signs, the ends of shifts and clamps."""
    a = np.arange(-9, 10)
    m = np.repeat(reals(0.5, 0.25, 1.5), a.size)
    a = np.tile(a, 3).astype(I32)
    yield Case("requantize", "halves", [m, a], [ints(*(requantize(v, *requantizer(f)) for f, v in zip(m, a, strict=True)))])
    r = np.full(m.size, NEAREST, U32)
    yield Case("rescale", "halves", [m, a, r], [ints(*(rescale(int(v), f, NEAREST) for f, v in zip(m, a, strict=True)))])
    limit = 2**31 - 1 - 2**28
    edges = [
        2.0**e * k for e in (-37, -36, -35, -24, -23, -22, -21, -20, -16, -15, -9, -8, 13, 14, 15) for k in (1.0, 1.99999988, 1.9999695)
    ]
    m = np.repeat(reals(*edges), 6)
    a = np.tile(ints(limit, -limit, 1 << 22, -(1 << 22), 12345678, -7), len(edges))
    yield Case("requantize", "ends of shifts", [m, a], [ints(*(requantize(v, *requantizer(f)) for f, v in zip(m, a, strict=True)))])
    edges = [2.0**e * k for e in (-63, -40, -39, -38, -9, -8, -1, 0, 21, 22, 23, 24) for k in (1.0, 1.99999988)]
    m, r = np.repeat(reals(*edges), 6), np.tile(np.array([NEAREST, 0, 0xFFFFFFFF, 0x80000001, 0x12345678, 0xFEDCBA98], U32), len(edges))
    a = np.tile(ints(3, -3, 1 << 30, -(1 << 30), 127, -128), len(edges))
    wide = [rescale(int(v), f, int(q)) for f, v, q in zip(m, a, r, strict=True)]
    yield Case("rescale", "ends of shifts", [m, a, r], [ints(*wide)])
    v = np.array([1, 2, 3, 0xFFFFFFFF, 0x80000000, 0x80000001, 0x7FFFFFFF], U32)
    yield Case("log2", "ends", [v], [np.array([log2_q16(int(x)) for x in v], U32)])


def random_uses() -> Iterator[Case]:
    """What random words serve beside rounding: the order of samples, initial weights."""
    for seed, epoch, n in ((0, 0, 1), (7, 0, 2), (1, 2, 10), (0xFFFFFFFF, 3, 57)):
        order = sample_order(seed, epoch, n).astype(U32)
        yield Case("sample_order", f"{n} samples, epoch {epoch}", [np.array([seed, epoch, n], U32)], [order])
    for seed, layer, out, fan_in in ((0, 0, 1, 1), (5, 3, 4, 9), (0xFFFFFFFF, 254, 2, 25)):
        weights = np.zeros((out, fan_in), F32)
        random_weights(seed, layer, weights)
        numbers = np.array([seed, layer, fan_in, out * fan_in], U32)
        yield Case("initial_weights", f"layer {layer}, fan-in {fan_in}", [numbers], [weights])


def pool_edges() -> Iterator[Case]:
    """Errors that meet at one maximum: beyond +-127 and just within; overlap along one axis; windows of zeros; limits of passing."""
    x = np.zeros((3, 3, 2), np.uint8)
    x[1, 1] = 9
    for one in (127, -127, 32, -32, 31):
        for passing in ((-1, 1000), (9, 1000), (8, 10), (-1, 9)):
            e = np.full((2, 2, 2), one, np.int8)
            e[0, 0, 1] = 0
            yield pool_case(f"four of {one} meet", (3, 3, 2, 2, (2, 2)), passing, x, e)
    rng = np.random.RandomState(104)
    for name, shape in (("rows overlap", (5, 4, 2, 2, (3, 2), (2, 2))), ("columns overlap", (4, 5, 2, 2, (2, 3), (2, 2)))):
        g = window_geometry(*shape)
        x, e = rng.randint(0, 3, (g.in_h, g.in_w, 2)).astype(np.uint8), np.full((g.out_h, g.out_w, 2), 100, np.int8)
        yield pool_case(name, shape, (-1, 1000), x, e)
    for c in (1, 2, 4, 5):
        x, e = np.zeros((4, 4, c), np.uint8), rng.randint(-127, 128, (2, 2, c)).astype(np.int8)
        yield pool_case(f"zeros, {c} channels", (4, 4, c, c, (2, 2), (2, 2)), (-1, 1000), x, e)


def pool_case(name: str, shape: tuple, passing: tuple[int, int], x, e) -> Case:
    """A backward case of max pooling."""
    g, dx = window_geometry(*shape), np.zeros(x.shape, np.int8)
    max_pool2d.max_pool2d_backward_u8(g, passing, x, e, dx, np.zeros(x.shape, I32))
    return Case("max_pool2d_backward_u8", f"{name}, passing {passing[0]}..{passing[1]}", [np.array(g, I32), ints(*passing), x, e], [dx])


def border_edges() -> Iterator[Case]:
    """Halves of both signs, one ulp below a half, the clamp, and values at the limits of passing."""
    e = reals(0.5, -0.5, 1.5, -1.5, 2.5, -2.5, JUST_BELOW_HALF, -JUST_BELOW_HALF, 126.5, -126.5, 127.5, -127.5, 1e30, -1e30, 0, 3)
    x = np.tile(np.array([9, 10, 11, 200, 201], np.uint8), 16)[:80]
    e = np.repeat(e, 5)
    for s_e, passing in ((1.0, (-1, 1000)), (0.25, (10, 1000)), (1.0, (10, 201)), (0.25, (-1, 200))):
        scaled, dx = (e * F32(s_e)).astype(F32), np.zeros(e.size, np.int8)
        largest = dequantize.dequantize_backward(passing, F32(s_e), ROUND_HALF_UP, scaled, x, dx)
        title = f"halves, scale {s_e}, passing {passing[0]}..{passing[1]}"
        yield Case("dequantize_backward", title, [ints(*passing), reals(s_e), scaled, x], [dx, reals(largest)])


def add_edges() -> Iterator[Case]:
    """Sums that fall on a half, limits of 0 and 255 reached from both sides; totals beyond +-127, and what a huge requantizer leaves."""
    a, b = np.meshgrid(np.array([0, 1, 100, 101, 102, 254, 255], np.uint8), np.array([0, 99, 100, 101, 255], np.uint8))
    a, b = np.ascontiguousarray(a.reshape(-1)), np.ascontiguousarray(b.reshape(-1))
    for z_y, lower, upper, m in ((0, 0, 255, 0.5), (128, 0, 255, 1.0), (100, 100, 130, 0.5), (255, 0, 255, 0.25)):
        y, extremes = np.zeros(a.size, np.uint8), new_extremes()
        rows = np.array([requantizer(F32(m)), requantizer(F32(m))], np.int64)
        add.add_forward_u8(rows, 100, 100, z_y, lower, upper, a, b, y, np.zeros(a.size, I32), extremes)
        yield Case("add_forward_u8", f"halves, zero point {z_y}", [ints(100, 100, z_y, lower, upper), reals(m, m), a, b], [y, extremes])
    for m, adds in ((1.0, 1), (1.0, 0), (0.5, 1), (0.5, 0), (4096.0, 1), (4096.0, 0)):
        e = np.tile(np.array([127, 126, 1, 3, 0, -1, -3, -126, -127], np.int8), 5)
        before = np.repeat(np.array([127, 1, 0, -1, -127], np.int8), 9)
        x, dx = np.array([(9, 10, 11, 200, 201)[i % 5] for i in range(e.size)], np.uint8), before.copy()
        largest = add.add_backward_u8(error_requantizer(F32(m)), (9, 201), adds == 1, e.astype(I32), x, dx)
        yield Case("add_backward_u8", f"ends, {m}, accumulate {adds}", [ints(9, 201, adds), reals(m), e, x, before], [dx, ints(largest)])


def hard_swish_edges() -> Iterator[Case]:
    """Values and slopes that fall on a half below 0, the borders of the three pieces, outputs beyond both ends."""
    every, e = np.arange(256, dtype=np.uint8), np.full(256, 127, np.int8)
    for z_x, z_y, s_x, s_y in ((128, 0, 0.5, 32.0), (200, 3, 3 / 256, 1 / 128), (128, 255, 1 / 16, 1e-4), (0, 128, 3 / 256, 1e-6)):
        y, extremes = np.zeros(256, np.uint8), new_extremes()
        hard_swish.hard_swish_forward_u8(z_x, z_y, F32(s_x), F32(s_y), every, y, np.zeros(256, I32), extremes)
        yield Case("hard_swish_forward_u8", f"halves, {s_x} to {s_y}", [ints(z_x, z_y), reals(s_x, s_y), every], [y, extremes])
        dx = np.zeros(256, np.int8)
        sums = (e.astype(I32) * np.where(every % 2, 1, -1)).astype(I32)
        signed = sums.astype(np.int8)
        largest = hard_swish.hard_swish_backward_u8(z_x, F32(s_x), error_requantizer(F32(1 / 128)), (-1, 1000), False, sums, every, dx)
        arrays = [ints(z_x, -1, 1000, 0), reals(s_x, 1 / 128), signed, every, np.zeros(256, np.int8)]
        yield Case("hard_swish_backward_u8", f"halves, {s_x}, zero point {z_x}", arrays, [dx, ints(largest)])


def softmax_edges() -> Iterator[Case]:
    """Exponents at both limits, distances just at a table's border, predictions of equal logits."""
    plans = ((88.72, (0, 1, 255)), (88.73, (0, 1, 255)), (1e9, (3, 3, 2)), (0.6931, (0, 23, 24, 25, 31, 32, 33)), (1e-5, (1, 0, 255, 255)))
    for scale, values in plans:
        logits = np.array(values, np.uint8)
        n = logits.size
        for label in (0, n - 1):
            e = np.zeros(n, np.int8)
            result = softmax_cross_entropy.softmax_cross_entropy_u8(F32(scale), logits, label, False, 0, e, np.zeros(n, np.int64))
            arrays = [ints(label), reals(scale), np.zeros(2, U32), logits]
            yield Case("softmax_u8", f"{n} classes, scale {scale}, label {label}, ends", arrays, [e, np.array(result, U32)])
            logits_f, e_f = (logits.astype(F32) * F32(scale)).astype(F32), np.zeros(n, F32)
            result = softmax_cross_entropy.softmax_cross_entropy_f32(logits_f, label, e_f, np.zeros(n, np.int64))
            yield Case(
                "softmax_f32", f"{n} classes, scale {scale}, label {label}, ends", [ints(label), logits_f], [e_f, np.array(result, U32)]
            )


def table_cases() -> Iterator[Case]:
    """Every entry of 2^(-j/256), at it and between it and the next; exponents of 23 to 26, where numerators end."""
    octave = np.arange(257)
    spread = np.array([0, 22.5, 23.5, 24.5, 25.5, 26.5, 23.999, 24.001]) * 65536
    for name, t in (("at entries", octave * 256), ("between entries", octave * 256 + 128), ("where numerators end", spread)):
        logits = (F32(-1) * (t / 94548.46).astype(F32)).astype(F32)
        e = np.zeros(logits.size, F32)
        result = softmax_cross_entropy.softmax_cross_entropy_f32(logits, 3, e, np.zeros(logits.size, np.int64))
        yield Case("softmax_f32", f"table, {name}", [ints(3), logits], [e, np.array(result, U32)])


def sparse_edges() -> Iterator[Case]:
    """Many positions, so that norms leave 16 bits; channels of four and more, equal but for one; k one below all."""
    rng = np.random.RandomState(107)
    for positions, channels, k in ((513, 4, 2), (514, 5, 3), (3, 9, 8), (2, 8, 1)):
        shape, chosen = ints(positions, channels, k), rng.randint(0, 5, channels).astype(I32)
        before = np.full((positions, channels), 127, np.int8) * rng.choice([-1, 1], (positions, channels)).astype(np.int8)
        before[0, channels // 2] = 126
        for suffix, values in (("u8", before), ("f32", (before / F32(127)).astype(F32))):
            e, after = values.astype(I32) if suffix == "u8" else values.copy(), chosen.copy()
            sparse_select(e, k, np.zeros(channels, e.dtype), after)
            arrays = [shape, values, chosen]
            yield Case(
                f"sparse_select_{suffix}", f"{k} of {channels}, {positions} positions, large", arrays, [e.astype(values.dtype), after]
            )
            if positions > 100:
                break  # the same in float32 takes four times the flash
    large = np.where(np.arange(520)[:, None] < 512, 127, np.array([0, 1, 126, 2])).astype(np.int8)  # the last eight decide
    for name, few, work in (("u8", large, large.astype(I32)), ("f32", reals(1e-9, 2e-9)[None], reals(1e-9, 2e-9)[None])):
        chosen = np.zeros(few.shape[1], I32)
        after = chosen.copy()
        sparse_select(work, 1, np.zeros(chosen.size, work.dtype), after)
        arrays = [ints(*few.shape, 1), few, chosen]
        yield Case(f"sparse_select_{name}", "norms apart in few bits", arrays, [work.astype(few.dtype), after])


def update_edges() -> Iterator[Case]:
    """Channels whose gradients differ by powers of two, few samples, grids too fine to follow, weights and biases beyond both ends."""
    rng = np.random.RandomState(108)
    kept = HYSTERESIS, F32(0), np.zeros((0, 2), F32)
    for step, (name, out, n, scale, lr, bits, batch) in enumerate((
        ("unequal channels", 4, 33, 0.004, 0.002, 8, 5),
        ("unequal channels, no fraction", 3, 16, 0.004, 0.002, 0, 1),
        ("grid beyond the finest", 2, 5, 2.0**-43, 1e-12, 3, 2),
        ("weights beyond both ends", 2, 9, 0.004, 0.0008, 1, 3),
        ("largest steps", 2, 3, 1e-9, 100.0, 8, 2),
    )):  # fmt: skip
        top = np.array([2**30, 2**18, 300, 1][:out] if "unequal" in name else [2**20, 2**24][:out])
        w = rng.randint(0, 256, (out, n)).astype(np.uint8)
        if "beyond both" in name:
            w = np.where(rng.randint(2, size=(out, n)) > 0, 255, 0).astype(np.uint8)
        gradient = np.array([rng.randint(-t, t + 1, n) for t in top], I32)
        chosen = rng.randint(1, batch + 1, out).astype(I32)
        for grids in (1, out):
            after, residual, moved = w.copy(), gradient.copy(), np.zeros((out, n), np.int64)
            scales, zeros = F32(scale) * (F32(1) + np.arange(grids, dtype=F32) / F32(4)), I32(128) - np.arange(grids, dtype=I32)
            inputs = [ints(out, n, batch, bits), np.array([9, step, 3], U32), reals(lr), scales.copy(), zeros.copy(), w, gradient, chosen]
            key = random_key(9, step, 3)
            standardized_sgd.update_weights_u8(scales, zeros, *kept, F32(lr), batch, key, bits, after, residual, chosen, moved)
            yield Case("update_weights_u8", f"{name}, {grids} grids", inputs, [after, scales, zeros, residual])
        g = np.ldexp(rng.standard_normal((out, n)), rng.randint(-20, 20, (out, 1))).astype(F32)
        w_f, b_f, gb_f = floats(rng, (out, n)), floats(rng, out), floats(rng, out)
        after_w, after_b = w_f.copy(), b_f.copy()
        standardized_sgd.update_f32(F32(lr), batch, after_w, after_b, g, gb_f, chosen)
        yield Case("update_f32", name, [ints(out, n, batch), reals(lr), w_f, b_f, g, gb_f, chosen], [after_w, after_b])
    for power in (-67, -66, -65, -64, -63, -62):  # whose squares are subnormal, or just not
        g, w_f, b_f = np.ldexp(rng.standard_normal((2, 5)), power).astype(F32), floats(rng, (2, 5)), floats(rng, 2)
        after_w, after_b, gb_f, chosen = w_f.copy(), b_f.copy(), floats(rng, 2), ints(1, 2)
        standardized_sgd.update_f32(F32(0.01), 2, after_w, after_b, g, gb_f, chosen)
        arrays = [ints(2, 5, 2), reals(0.01), w_f, b_f, g, gb_f, chosen]
        yield Case("update_f32", f"gradients of 2^{power}", arrays, [after_w, after_b])
    for n in (1, 2, 3, 4, 7, 8, 9, 16, 17):  # bits(fan_in - 1) on both sides of powers of two
        w, gradient = rng.randint(0, 256, (1, n)).astype(np.uint8), rng.randint(-(2**31) + 1, 2**31, (1, n)).astype(I32)
        after, residual, moved = w.copy(), gradient.copy(), np.zeros((1, n), np.int64)
        scales, zeros, chosen = reals(0.004), ints(100), ints(3)
        inputs = [ints(1, n, 3, 0), np.array([9, n, 4], U32), reals(0.02), scales.copy(), zeros.copy(), w, gradient, chosen]
        standardized_sgd.update_weights_u8(scales, zeros, *kept, F32(0.02), 3, random_key(9, n, 4), 0, after, residual, chosen, moved)
        yield Case("update_weights_u8", f"largest gradients, {n} weights", inputs, [after, scales, zeros, residual])
    for name, values, weights, zero, bits, lr in (
        ("shift of 1 by the first gradient", 2**26 - np.array([0, 1, 2, 4, 3]), (90,) * 5, 100, 0, 0.02),
        ("shift of 0, just", np.array([1, 2, 3, 5, 4]) - 2**26, (90,) * 5, 100, 0, 0.02),
        ("root of 1", (6, 5), (90,) * 2, 100, 0, 0.02),
        ("range just wide enough to be kept", (0, 1), (0, 223), 0, 3, 0.0),
        ("half a step beyond both ends", (8, -8), (0, 255), 0, 3, 2.0**-9),
    ):
        n, gradient, w = len(values), ints(*values)[None], np.array(weights, np.uint8)[None]
        scales, zeros, chosen = reals(2.0**-8), ints(zero), ints(3)
        after, residual, moved = w.copy(), gradient.copy(), np.zeros((1, n), np.int64)
        inputs = [ints(1, n, 3, bits), np.array([9, n, 5], U32), reals(lr), scales.copy(), zeros.copy(), w, gradient, chosen]
        standardized_sgd.update_weights_u8(scales, zeros, *kept, F32(lr), 3, random_key(9, n, 5), bits, after, residual, chosen, moved)
        yield Case("update_weights_u8", name, inputs, [after, scales, zeros, residual])
    most = 2**30 - 1
    bias, gradient = ints(most, -most, most, -most, 0, 5, -5, most - 1), ints(-(2**20), 2**20, 2**20, -(2**20), 1, -1, 3, -3)
    for batch, scale, lr in ((3, 0.5, 0.7), (1, 2.0**-20, 0.5), (2, 1e3, 1e3)):
        after = bias.copy()
        standardized_sgd.update_bias_u8(F32(scale), F32(lr), batch, after, gradient)
        yield Case("update_bias_u8", f"ends, batch {batch}", [ints(batch), reals(scale, lr), bias, gradient], [after])


def range_edges() -> Iterator[Case]:
    """Batches on one side of 0, ranges that do not hold 0 yet, ReLU6 just at 6, a grid that is too fine and one that is just not."""
    finest = 2.0**-40 * 255
    for act, lo_batch, hi_batch, lo, hi in (
        (0, -4.0, -1.0, -2.0, 1.0),
        (0, 1.0, 4.0, -2.0, 1.0),
        (1, -4.0, -1.0, 0.0, 1.0),
        (2, 0.0, 4.0, 0.0, 5.0),
        (2, 0.0, 7.0, 0.0, 8.0),
        (2, -1.0, -1.0, 0.0, 3.0),
        (0, -1.0, 1.0, 3.0, 5.0),
        (0, -1.0, 1.0, -5.0, -3.0),
        (0, 0.0, finest, 0.0, finest),
        (0, 0.0, finest / 2, 0.0, finest),
        (1, 0.0, finest, 0.0, finest),
    ):
        values = reals(lo_batch, hi_batch, lo, hi, 0.25)
        result = update_range(act, values[0], values[1], values[2], values[3], values[4], 5)
        title = f"act {act}, {lo_batch:.3g}..{hi_batch:.3g} onto {lo:.3g}..{hi:.3g}"
        yield Case("update_range", title, [ints(act), values, ints(5)], [reals(*result[:3]), ints(result[3])])


def error_edges(op: str) -> Iterator[Case]:
    """Errors to the input that are mostly small, some beyond +-127 on one side alone, half of them masked, onto errors that are there."""
    shape = {"conv2d": (3, 5, 4, 5, (1, 1)), "depthwise_conv2d": (4, 4, 4, 4, (3, 3), (1, 1), (1, 1, 1, 1))}.get(op)
    g = window_geometry(*shape) if shape else weighted.linear_geometry(24, 6)
    rng = np.random.RandomState(111)
    n_x, n_y, numbers = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c, np.array(g, I32)
    n_w = g.out_c * (9 if op == "depthwise_conv2d" else g.in_c)
    for sign in (1, -1):
        for adds, m in ((0, 0.004), (1, 0.004), (1, 3e-4)):
            e = (sign * rng.randint(0, 3, n_y) * np.where(rng.random_sample(n_y) < 0.1, 63, 1)).astype(np.int8)
            w, x = rng.randint(120, 240, n_w).astype(np.uint8), rng.randint(0, 40, n_x).astype(np.uint8)
            before, passing, zeros = rng.randint(-3, 4, n_x).astype(np.int8), ints(9, 30, adds), ints(110)
            found = weighted.backward_input_u8(op, g, passing, zeros, ints(1), reals(m), e, w, x, before)
            arrays = [numbers, passing, zeros, ints(1), reals(m), e, w, x, before]
            title = f"one side, {'positive' if sign > 0 else 'negative'}, {m}, accumulate {adds}"
            yield Case(f"{op}_backward_input_u8", title, arrays, list(found))
