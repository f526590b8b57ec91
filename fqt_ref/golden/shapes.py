# SPDX-License-Identifier: Apache-2.0
"""Golden cases of shapes that blocked kernels divide: more positions, channels and taps than one block holds, with and without a rest.

Plain kernels know no blocks, so machines that run only those need no such cases.
"""

from collections.abc import Iterator

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref.golden.format import Case
from fqt_ref.golden.tiny import Tiny, course
from fqt_ref.golden.values import errors, ints, octets, reals, window_geometry
from fqt_ref.golden.weighted import backward_input_u8, backward_weight_u8, forward_u8, linear_geometry
from fqt_ref.network import CONV2D, DEPTHWISE_CONV2D, LINEAR, Geometry, Network

I32, F32 = np.int32, np.float32
ONE = (1, 1, 1, 1)
# in_h, in_w, in_c, out_c, kernel, stride, padding (top, bottom, left, right), dilation; grids a channel
SHAPES: dict[str, dict[str, tuple]] = {
    "conv2d": {
        "3x3, 8 channels": (6, 9, 8, 6, (3, 3), (1, 1), ONE),
        "pointwise, 17 channels": (5, 6, 17, 9, (1, 1)),
        "one pixel": (1, 1, 40, 13, (1, 1)),
        "stride 2": (7, 9, 5, 6, (3, 3), (2, 2), ONE),
        "stride 2, pointwise": (6, 6, 8, 5, (1, 1), (2, 2)),
        "dilation 2": (7, 9, 4, 5, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
        "one channel": (8, 11, 1, 7, (3, 3)),
        "1x5 signal": (1, 40, 3, 6, (1, 5), (1, 2), (0, 0, 2, 2)),
        "long sums": (3, 3, 33, 5, (3, 3), (1, 1), ONE),
        "few columns": (3, 4, 4, 3, (2, 2)),
    },
    "depthwise_conv2d": {
        "3x3, 8 channels": (6, 11, 8, 8, (3, 3), (1, 1), ONE),
        "5x5": (8, 9, 5, 5, (5, 5), (1, 1), (2, 2, 2, 2)),
        "stride 2": (7, 11, 4, 4, (3, 3), (2, 2), ONE),
        "rows of 3": (7, 12, 4, 4, (5, 3), (1, 1), (2, 2, 1, 1)),
        "dilation 2": (7, 9, 9, 9, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
        "without padding": (5, 9, 12, 12, (3, 3)),
        "1x7 signal": (1, 31, 6, 6, (1, 7), (1, 1), (0, 0, 3, 3)),
    },
    "linear": {"140 to 6": (140, 6)},
}


def case_arrays(op: str, name: str, g: Geometry, grids: bool, density: float, rng) -> Iterator[Case]:
    """The quantized passes of one shape; errors of a density."""
    n_x, n_y, numbers = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c, np.array(g, I32)
    n_w = g.out_c * g.kernel_h * g.kernel_w * (1 if op == "depthwise_conv2d" else g.in_c)
    title = f"{name}, {'grids' if grids else 'one grid'}, density {density}"
    x, w, bias_acc, e = octets(rng, n_x), octets(rng, n_w), rng.randint(-20000, 20000, g.out_c).astype(I32), errors(rng, n_y, density)
    zeros = rng.randint(90, 160, g.out_c if grids else 1).astype(I32)
    scale = 1 / (8 * np.sqrt(n_w / g.out_c) * 80)
    m, constants = (F32(scale) * (1 + rng.random_sample(zeros.size))).astype(F32), ints(100, 110, 0, 255)
    yield Case(
        f"{op}_forward_u8",
        title,
        [numbers, constants, zeros, m, x, w, bias_acc],
        list(forward_u8(op, g, constants, zeros, m, x, w, bias_acc)),
    )
    factors = rng.randint(0, 257, g.out_c).astype(I32) if grids else ints(1)
    before, passing, m = errors(rng, n_x), ints(60, 220, int(grids)), reals(0.004 / (256 if grids else 1))
    found = backward_input_u8(op, g, passing, zeros, factors, m, e, w, x, before)
    yield Case(f"{op}_backward_input_u8", title, [numbers, passing, zeros, factors, m, e, w, x, before], list(found))
    sums = np.zeros(n_w, I32), np.zeros(g.out_c, I32)
    after = backward_weight_u8(op, g, 100, 3, e, x, *sums)
    yield Case(f"{op}_backward_weight_u8", title, [numbers, ints(100, 3), e, x, *sums], list(after))


def operator_cases() -> Iterator[Case]:
    """Each shape with many errors and one grid, and with few errors and a grid a channel."""
    rng = np.random.RandomState(120)
    for op, shapes in SHAPES.items():
        for name, shape in shapes.items():
            g = linear_geometry(*shape) if op == "linear" else window_geometry(*shape)
            yield from case_arrays(op, name, g, False, 0.7, rng)
            yield from case_arrays(op, name, g, True, 0.06, rng)


def channels() -> Network:
    """More channels than a block holds, of which a sample trains some."""
    tiny = Tiny(29, (6, 7, 2))
    three = {"kernel": (3, 3), "padding": ONE}
    tiny.add(CONV2D, (6, 7, 9), activation="relu", grid=(1 / 32, 0), window=three, s_w=1 / 64)
    tiny.add(DEPTHWISE_CONV2D, activation="relu6", grid=(1 / 32, 0), window=three, s_w=1 / 40)
    tiny.add(CONV2D, (6, 7, 6), activation="relu", grid=(1 / 32, 0), s_w=1 / 64)
    tiny.add(LINEAR, (1, 1, 4), grid=(1 / 16, 128), s_w=1 / 200)
    return tiny.network("channels")


def shape_cases() -> Iterator[Case]:
    """All of them, and a network that selects channels."""
    from fqt_ref.golden.steps import trace_case

    yield from operator_cases()
    settings = ts.train_config(2, 0.02, 0.4, 0.7, seed=52)
    yield trace_case("channels", channels(), settings, *course(channels(), 52), 2)
