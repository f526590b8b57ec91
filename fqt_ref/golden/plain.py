# SPDX-License-Identifier: Apache-2.0
"""Golden cases of operators without weights: pooling, add, hard-swish, the border to float32."""

from collections.abc import Iterator

import numpy as np

from fqt_ref.arithmetic import ROUND_HALF_UP, error_requantizer, requantizer
from fqt_ref.golden.format import Case
from fqt_ref.golden.values import errors, floats, ints, new_extremes, octets, reals, window_geometry
from fqt_ref.kernels import add, avg_pool2d, dequantize, hard_swish, max_pool2d
from fqt_ref.kernels.activation import highest_of

I32, F32 = np.int32, np.float32
POOLS = {
    "one element": (1, 1, 1, 1, (1, 1), (1, 1)),
    "2x2": (6, 6, 5, 5, (2, 2), (2, 2)),
    "odd input": (7, 5, 3, 3, (2, 2), (2, 2)),
    "overlapping": (7, 7, 2, 2, (3, 3), (2, 2)),
    "1xN": (1, 12, 4, 4, (1, 3), (1, 3)),
}
AVERAGES = POOLS | {"global": (5, 4, 17, 17, (5, 4), (5, 4)), "gaps": (7, 7, 2, 2, (2, 1), (3, 4))}
# lowest, highest, accumulate: all pass; behind ReLU; behind ReLU6; onto an error that is there
PASSING = {"all": (-1, 1000, 0), "relu": (9, 1000, 0), "relu6": (9, 200, 0), "adding": (-1, 1000, 1), "relu6, adding": (9, 200, 1)}
ACTS = {"all": (0, 0), "relu": (1, 0), "relu6": (2, 0), "adding": (0, 1), "relu6, adding": (2, 1)}


def pool_cases(rng) -> Iterator[Case]:
    """Max pooling, ties and overlaps included."""
    for name, shape in POOLS.items():
        g = window_geometry(*shape)
        outer, inner, numbers = (g.out_h, g.out_w, g.out_c), (g.in_h, g.in_w, g.in_c), np.array(g, I32)
        for top in (256, 4):  # few values: many ties
            title = f"{name}, {top} values"
            x, y = rng.randint(0, top, inner).astype(np.uint8), np.zeros(outer, np.uint8)
            max_pool2d.max_pool2d_forward(g, x, y)
            yield Case("max_pool2d_forward_u8", title, [numbers, x], [y])
            e, dx, passing = errors(rng, outer, 0.8), np.zeros(inner, np.int8), (1, 3) if top == 4 else (-1, 1000)
            max_pool2d.max_pool2d_backward_u8(g, passing, x, e, dx, np.zeros(inner, I32))
            yield Case("max_pool2d_backward_u8", title, [numbers, ints(*passing), x, e], [dx])
            x_f, y_f, dx_f = (rng.randint(-top, top, inner) / 4).astype(F32), np.zeros(outer, F32), np.zeros(inner, F32)
            max_pool2d.max_pool2d_forward(g, x_f, y_f)
            yield Case("max_pool2d_forward_f32", title, [numbers, x_f], [y_f])
            e_f, act = floats(rng, outer, 0.8), 2 if top == 256 else 0
            max_pool2d.max_pool2d_backward_f32(g, act, x_f, e_f, dx_f)
            yield Case("max_pool2d_backward_f32", title, [numbers, ints(act), x_f, e_f], [dx_f])


def average_cases(rng) -> Iterator[Case]:
    """Average pooling, overlaps, gaps and the whole input."""
    for name, shape in AVERAGES.items():
        g = window_geometry(*shape)
        inner, n_x, n_y, numbers = (g.in_h, g.in_w, g.in_c), g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c, np.array(g, I32)
        for m in (0.5, 1e-3, 40.0):
            x, y, extremes = octets(rng, inner), np.zeros(n_y, np.uint8), new_extremes()
            rows = np.array([requantizer(F32(m))], np.int64)
            avg_pool2d.avg_pool2d_forward_u8(g, rows, 77, 20, x, y, np.zeros(n_y, I32), extremes)
            yield Case("avg_pool2d_forward_u8", f"{name}, {m}", [numbers, ints(77, 20), reals(m), x], [y, extremes])
        x_f, y_f = floats(rng, inner), np.zeros(n_y, F32)
        avg_pool2d.avg_pool2d_forward_f32(g, x_f, y_f)
        yield Case("avg_pool2d_forward_f32", name, [numbers, x_f], [y_f])
        for label, (lowest, highest, adds) in PASSING.items():
            x, e, before = octets(rng, n_x), errors(rng, n_y), errors(rng, n_x)
            dx, wide = before.copy(), e.astype(I32).reshape(-1, g.out_c)
            result = avg_pool2d.avg_pool2d_backward_u8(
                g, error_requantizer(F32(0.6)), (lowest, highest), adds == 1, wide, x, dx, np.zeros(n_x, I32)
            )
            arrays = [numbers, ints(lowest, highest, adds), reals(0.6), e, x, before]
            yield Case("avg_pool2d_backward_u8", f"{name}, {label}", arrays, [dx, ints(result)])
            x_f, e_f, before_f, (act, _) = floats(rng, n_x) * F32(4), floats(rng, n_y), floats(rng, n_x), ACTS[label]
            dx_f, shares = before_f.copy(), np.zeros((n_y // g.out_c, g.out_c), F32)
            avg_pool2d.avg_pool2d_backward_f32(g, act, adds == 1, e_f.reshape(-1, g.out_c), x_f, dx_f, np.zeros(n_x, F32), shares)
            yield Case("avg_pool2d_backward_f32", f"{name}, {label}", [numbers, ints(act, adds), e_f, x_f, before_f], [dx_f])


def add_cases(rng) -> Iterator[Case]:
    """Residual add: equal and very different scales, saturation, activations."""
    plans = {
        "equal scales": (128, 100, 110, 0, 255, 0.7, 0.7),
        "one far smaller": (0, 255, 30, 0, 255, 1.0, 1e-3),
        "saturating": (128, 128, 128, 0, 255, 30.0, 20.0),
        "relu": (7, 9, 0, 0, 255, 0.4, 0.9),
        "relu6": (7, 9, 0, 0, 180, 0.9, 0.9),
    }
    for name, (z_a, z_b, z_y, lower, upper, m_a, m_b) in plans.items():
        for n in (1, 67):
            a, b, y, extremes = octets(rng, n), octets(rng, n), np.zeros(n, np.uint8), new_extremes()
            rows = np.array([requantizer(F32(m_a)), requantizer(F32(m_b))], np.int64)
            add.add_forward_u8(rows, z_a, z_b, z_y, lower, upper, a, b, y, np.zeros(n, I32), extremes)
            arrays = [ints(z_a, z_b, z_y, lower, upper), reals(m_a, m_b), a, b]
            yield Case("add_forward_u8", f"{name}, {n}", arrays, [y, extremes])
    for act in (0, 1, 2):
        a_f, b_f, y_f = floats(rng, 40) * F32(4), floats(rng, 40) * F32(4), np.zeros(40, F32)
        add.add_forward_f32(act, a_f, b_f, y_f)
        yield Case("add_forward_f32", f"act {act}", [ints(act), a_f, b_f], [y_f])
    for label, (lowest, highest, adds) in PASSING.items():
        for m in (0.3, 1.0, 9.0):
            x, e, before = octets(rng, 50), errors(rng, 50), errors(rng, 50)
            dx = before.copy()
            result = add.add_backward_u8(error_requantizer(F32(m)), (lowest, highest), adds == 1, e.astype(I32), x, dx)
            arrays = [ints(lowest, highest, adds), reals(m), e, x, before]
            yield Case("add_backward_u8", f"{label}, {m}", arrays, [dx, ints(result)])
        x_f, e_f, before_f, (act, _) = floats(rng, 50) * F32(4), floats(rng, 50), floats(rng, 50), ACTS[label]
        dx_f = before_f.copy()
        add.add_backward_f32(act, adds == 1, e_f, x_f, dx_f)
        yield Case("add_backward_f32", label, [ints(act, adds), e_f, x_f, before_f], [dx_f])


def hard_swish_cases(rng) -> Iterator[Case]:
    """Hard-swish: all bytes, all three pieces, saturation."""
    every = np.arange(256, dtype=np.uint8)
    for z_x, z_y, s_x, s_y in (
        (128, 20, 0.06, 0.03),
        (0, 0, 0.01, 0.01),
        (255, 255, 0.02, 0.001),
        (128, 30, 0.06, 0.0003),
        (90, 9, 5.0, 3.0),
    ):
        y, extremes = np.zeros(256, np.uint8), new_extremes()
        hard_swish.hard_swish_forward_u8(z_x, z_y, F32(s_x), F32(s_y), every, y, np.zeros(256, I32), extremes)
        yield Case("hard_swish_forward_u8", f"{s_x} to {s_y}", [ints(z_x, z_y), reals(s_x, s_y), every], [y, extremes])
        for label, (lowest, highest, adds) in PASSING.items():
            e, before = errors(rng, 256), errors(rng, 256)
            dx = before.copy()
            result = hard_swish.hard_swish_backward_u8(
                z_x, F32(s_x), error_requantizer(F32(0.008)), (lowest, highest), adds == 1, e.astype(I32), every, dx
            )
            arrays = [ints(z_x, lowest, highest, adds), reals(s_x, 0.008), e, every, before]
            yield Case("hard_swish_backward_u8", f"{s_x}, {label}", arrays, [dx, ints(result)])
    x_f, y_f = np.concatenate([floats(rng, 60) * F32(3), reals(-3, 3, 0, -4, 4, 2.9999998)]), np.zeros(66, F32)
    hard_swish.hard_swish_forward_f32(x_f, y_f)
    yield Case("hard_swish_forward_f32", "all pieces", [x_f], [y_f])
    for label, (act, adds) in ACTS.items():
        e_f, before_f = floats(rng, 66), floats(rng, 66)
        dx_f = before_f.copy()
        hard_swish.hard_swish_backward_f32(act, adds == 1, e_f, x_f, dx_f, np.zeros(66, F32))
        yield Case("hard_swish_backward_f32", label, [ints(act, adds), e_f, x_f, before_f], [dx_f])


def border_cases(rng) -> Iterator[Case]:
    """Dequantize in both directions."""
    for n, zero, scale, act in ((1, 0, 1 / 255, 0), (50, 0, 0.02, 1), (50, 255, 3.0, 0), (50, 77, 0.05, 2)):
        x, y, title = octets(rng, n), np.zeros(n, F32), f"{n} elements, zero {zero}"
        dequantize.dequantize_forward(zero, F32(scale), x, y)
        yield Case("dequantize_forward", title, [ints(zero), reals(scale), x], [y])
        e, dx = floats(rng, n), np.zeros(n, np.int8)
        passing = (zero if act else -1, int(highest_of(F32(scale), zero)) if act == 2 else 1000)
        largest = dequantize.dequantize_backward(passing, F32(0.01), ROUND_HALF_UP, e, x, dx)
        yield Case("dequantize_backward", title, [ints(*passing), reals(0.01), e, x], [dx, reals(largest)])
