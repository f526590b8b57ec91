# SPDX-License-Identifier: Apache-2.0
"""Golden cases computed by naive.py alone: they test the C library without the Numba engine. Small random shapes, fixed seeds."""

import random

import naive
import numpy as np
from naive import f32

from fqt_ref import model_file
from fqt_ref.random_graph import CONFIGS, RELU, RELU6, Builder

# in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w
GEOMETRIES = {
    "3x3 same": (5, 4, 3, 5, 4, 2, 3, 3, 1, 1, 1, 1, 1, 1),
    "stride 2": (7, 6, 2, 3, 3, 5, 3, 2, 2, 2, 0, 0, 1, 1),
    "1xN, uneven padding": (1, 9, 2, 1, 5, 3, 1, 4, 1, 2, 0, 2, 1, 1),
    "stride beyond kernel": (7, 7, 1, 2, 3, 2, 2, 1, 4, 3, 0, 0, 1, 1),
    "more channels than a block": (2, 2, 19, 2, 2, 18, 2, 2, 1, 1, 1, 0, 1, 1),
    "dilation 2, stride 2, uneven padding": (7, 8, 2, 4, 3, 3, 3, 2, 2, 2, 3, 0, 2, 2),
    "1xN, dilation 3": (1, 12, 2, 1, 8, 2, 1, 3, 1, 1, 0, 2, 1, 3),
    "one": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1),
    # What the blocked kernels' panels do not hold at once: a window, the outputs of an input, its channels, the positions.
    "large window": (4, 3, 24, 4, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1),
    "many errors": (3, 3, 37, 2, 2, 27, 3, 3, 2, 2, 1, 1, 1, 1),
    "pointwise": (3, 5, 70, 3, 5, 66, 1, 1, 1, 1, 0, 0, 1, 1),
    "many positions": (9, 11, 3, 9, 11, 4, 3, 3, 1, 1, 1, 1, 1, 1),
    "many positions, stride 3": (13, 25, 8, 5, 13, 8, 3, 2, 3, 2, 2, 1, 1, 1),
    # Windows that blocked kernels keep in registers, inside and on the padding; more channels than they unpack at once.
    "small windows": (7, 6, 1, 7, 6, 19, 3, 3, 1, 1, 1, 1, 1, 1),
    "small windows, stride 2, dilation 2": (12, 11, 2, 5, 5, 5, 2, 2, 2, 2, 0, 1, 2, 2),
    "small pointwise": (5, 4, 9, 5, 4, 18, 1, 1, 1, 1, 0, 0, 1, 1),
    "large linear": (1, 7, 57, 1, 7, 1, 1, 1, 1, 1, 0, 0, 1, 1),
}
DEPTHWISE = {
    "3x3 same": (5, 4, 3, 5, 4, 3, 3, 3, 1, 1, 1, 1, 1, 1),
    "5x3 stride 2": (7, 6, 2, 3, 3, 2, 5, 3, 2, 2, 1, 1, 1, 1),
    "1xN, uneven padding": (1, 9, 18, 1, 5, 18, 1, 4, 1, 2, 0, 2, 1, 1),
    "dilation 2, stride 2, uneven padding": (8, 7, 3, 3, 4, 3, 2, 3, 2, 2, 0, 3, 2, 2),
    # Blocks of four channels, of which some are left over; each shape of a window inside the input.
    "3x3, 7 channels": (6, 7, 7, 6, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1),
    "3x3 stride 2, 13 channels": (9, 8, 13, 5, 4, 13, 3, 3, 2, 2, 1, 1, 1, 1),
    "5x5, uneven padding, 4 channels": (7, 6, 4, 6, 5, 4, 5, 5, 1, 1, 3, 1, 1, 1),
    "5x5 stride 3, 6 channels": (11, 12, 6, 4, 4, 6, 5, 5, 3, 3, 1, 2, 1, 1),
    "3x3 dilation 2, 5 channels": (9, 8, 5, 9, 8, 5, 3, 3, 1, 1, 2, 2, 2, 2),
    "7x7, 5 channels": (8, 7, 5, 8, 7, 5, 7, 7, 1, 1, 3, 3, 1, 1),
    "3x3 stride 1 and 2, 7 channels": (8, 8, 7, 8, 4, 7, 3, 3, 1, 2, 2, 1, 1, 1),  # sums that saturate while accumulating
    "stride beyond kernel, 5 channels": (7, 7, 5, 2, 3, 5, 2, 1, 4, 3, 0, 0, 1, 1),
}
POOLS = {
    "2x2": (6, 5, 3, 3, 2, 3, 2, 2, 2, 2, 0, 0, 1, 1),
    "overlapping": (7, 7, 2, 3, 3, 2, 3, 3, 2, 2, 0, 0, 1, 1),
    "gaps": (7, 5, 1, 2, 2, 1, 2, 1, 4, 3, 0, 0, 1, 1),
    "global": (5, 3, 4, 1, 1, 4, 5, 3, 1, 1, 0, 0, 1, 1),
    "1xN": (1, 11, 2, 1, 4, 2, 1, 5, 1, 2, 0, 0, 1, 1),
}
LIMITS = ((-1, 1000, 0), (7, 1000, 1), (40, 200, 0), (0, 90, 1))  # lowest, highest, accumulate


def u8(r, n):
    return [r.choice((0, 255, r.randrange(256))) for _ in range(n)]


def i8(r, n):
    return [r.choice((0, 0, -127, 127, r.randrange(-127, 128))) for _ in range(n)]


def floats(r, n, zeros=0.2, spread=1):
    return [f32(0) if r.random() < zeros else f32(r.gauss(0, spread)) for _ in range(n)]


def arithmetic_cases(r):
    bits = [r.getrandbits(31) for _ in range(400)]  # any positive float32 that is not a NaN
    m = [np.uint32(min(b, 0x7F7FFFFF)).view(f32) for b in bits] + [f32(2.0 ** r.uniform(-40, 20)) for _ in range(600)]
    a = [r.choice((0, 1, -1, r.randrange(-(2**31) + 2**28, 2**31 - 2**28), r.randrange(-70000, 70000))) for _ in m]
    yield naive.golden_case(1, "requantize", ("f", m), ("i", a), ("i", [naive.requantize(x, y) for x, y in zip(a, m, strict=True)]))
    words = [r.choice((0, naive.NEAREST, 0xFFFFFFFF, r.getrandbits(32))) for _ in m]
    y = [naive.rescale(x, k, w) for x, k, w in zip(a, m, words, strict=True)]
    yield naive.golden_case(2, "rescale", ("f", m), ("i", a), ("I", words), ("i", y))
    inputs = [[r.getrandbits(32) for _ in range(4)] for _ in range(50)]
    y = [naive.word(naive.key(*v[:3]), v[3]) for v in inputs]
    yield naive.golden_case(3, "random", ("I", [v for four in inputs for v in four]), ("I", y))
    v = [1, 2, 3, 2**31, 2**32 - 1] + [r.randrange(1, 2 ** r.randrange(1, 33)) for _ in range(200)]
    yield naive.golden_case(4, "log2", ("I", v), ("I", [naive.log2_q16(x) for x in v]))


def weighted_cases(r, operator, name, shape):
    """All kinds of conv2d, linear or depthwise_conv2d."""
    g = naive.geometry(*shape)
    if operator == "linear":
        g = naive.as_linear(g)
    n_x, n_y = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c
    n_w = g.out_c * g.kernel_h * g.kernel_w * (1 if operator == "depthwise_conv2d" else g.in_c)
    quantizations = (
        (128, 100, 30, 0, 255, 1e-3),
        (0, 255, 0, 0, 255, 3e-4),
        (255, 0, 255, 0, 255, 0.9),
        (7, 9, 0, 0, 120, 2e-3),
        (7, 9, 5, 5, 5, 9e9),
    )
    for i, (z_x, z_w, z_y, lower, upper, m) in enumerate(quantizations):
        x, w, bias = u8(r, n_x), u8(r, n_w), [r.randrange(-50000, 50000) for _ in range(g.out_c)]
        n = g.out_c if i % 2 else 1
        zeros, scales = [z_w, *(r.randrange(256) for _ in range(n - 1))], [f32(m), *(f32(m * r.random()) for _ in range(n - 1))]
        factors = [r.choice((0, 1, 128, 256)) for _ in range(n)] if n > 1 else [1]
        yield naive.case_of(f"{operator}_forward_u8", name, shape, [z_x, z_y, lower, upper], zeros, scales, x, w, bias)
        e, before = i8(r, n_y), i8(r, n_x)
        dropped = [co for co in range(g.out_c) if i % 2 == 1 and r.random() < 0.5]  # a replay keeps the others
        e = [0 if j % g.out_c in dropped else error for j, error in enumerate(e)]
        limits = LIMITS[i % len(LIMITS)]
        yield naive.case_of(f"{operator}_backward_input_u8", name, shape, limits, zeros, factors, [f32(m)], e, w, x, before)
        G, G_b = [r.randrange(-(10**6), 10**6) for _ in w], [r.randrange(-999, 999) for _ in bias]
        yield naive.case_of(f"{operator}_backward_weight_u8", name, shape, [z_x, r.choice([0, 1, 8])], e, x, G, G_b)
    for act, accumulate in ((0, 0), (1, 1), (2, 0), (2, 1)):
        x, w, bias, e, before = floats(r, n_x, spread=4), floats(r, n_w), floats(r, g.out_c), floats(r, n_y, 0.5), floats(r, n_x)
        yield naive.case_of(f"{operator}_forward_f32", name, shape, [act], x, w, bias)
        yield naive.case_of(f"{operator}_backward_input_f32", name, shape, [act, accumulate], e, w, x, before)
        yield naive.case_of(f"{operator}_backward_weight_f32", name, shape, e, x, floats(r, n_w), floats(r, g.out_c))


def pool_cases(r, name, shape):
    g = naive.geometry(*shape)
    n_x, n_y = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c
    for limits in ((0, 1000), (3, 5), (-1, 1000)):
        x, e = [r.randrange(6) for _ in range(n_x)], i8(r, n_y)  # few values: many ties
        yield naive.case_of("max_pool2d_forward_u8", name, shape, x)
        yield naive.case_of("max_pool2d_backward_u8", name, shape, limits, x, e)
    for act in (0, 1, 2):
        x, e = [f32(r.choice((-2, -0.25, 0, 0.25, 1, 6, 7))) for _ in range(n_x)], floats(r, n_y)
        yield naive.case_of("max_pool2d_forward_f32", name, shape, x)
        yield naive.case_of("max_pool2d_backward_f32", name, shape, [act], x, e)
    for i, m in enumerate((1e-3, 0.05, 3.0, 1e-12)):
        x, e, before = u8(r, n_x), i8(r, n_y), i8(r, n_x)
        yield naive.case_of("avg_pool2d_forward_u8", name, shape, [r.randrange(256), r.randrange(256)], [f32(m)], x)
        yield naive.case_of("avg_pool2d_backward_u8", name, shape, LIMITS[i], [f32(m)], e, x, before)
        x, e, before = floats(r, n_x, spread=4), floats(r, n_y), floats(r, n_x)
        yield naive.case_of("avg_pool2d_forward_f32", name, shape, x)
        yield naive.case_of("avg_pool2d_backward_f32", name, shape, [i % 3, i // 2], e, x, before)


def pointwise_cases(r):
    """Dequantize, add and hard-swish."""
    for z, limits, scale in ((0, (0, 1000), 1e-3), (77, (-1, 1000), 0.03), (77, (77, 90), 4.0)):
        yield naive.case_of("dequantize_forward", "dequantize", [z], [f32(scale)], u8(r, 60))
        yield naive.case_of("dequantize_backward", "dequantize", limits, [f32(scale)], floats(r, 60), u8(r, 60))
    for i, (m_a, m_b) in enumerate(((1.0, 0.5), (0.013, 2.7), (9e9, 1e-12), (300.0, 300.0))):
        zeros, limits = [r.choice((0, 255, r.randrange(256))) for _ in range(3)], ((0, 255), (30, 255), (9, 90), (0, 255))[i]
        yield naive.case_of("add_forward_u8", "add", [*zeros, *limits], [f32(m_a), f32(m_b)], u8(r, 60), u8(r, 60))
        yield naive.case_of("add_backward_u8", "add", LIMITS[i], [f32(m_a)], i8(r, 60), u8(r, 60), i8(r, 60))
        yield naive.case_of("add_forward_f32", "add", [i % 3], floats(r, 60, spread=4), floats(r, 60, spread=4))
        yield naive.case_of("add_backward_f32", "add", [i % 3, i // 2], floats(r, 60), floats(r, 60, spread=4), floats(r, 60))
    scales = ((0.05, 0.02), (0.003, 0.9), (2.0, 1e-30), (1e-20, 1e-20))
    for i, (s_x, s_y) in enumerate(scales):
        z_x, z_y = (128, 3, 255, 0)[i], (16, 200, 0, 255)[i]
        yield naive.case_of("hard_swish_forward_u8", "hard-swish", [z_x, z_y], [f32(s_x), f32(s_y)], list(range(256)))
        limits, m = [z_x, *LIMITS[i]], f32((0.01, 1e-4, 5.0, 1e-12)[i])
        yield naive.case_of("hard_swish_backward_u8", "hard-swish", limits, [f32(s_x), m], i8(r, 256), list(range(256)), i8(r, 256))
        x = [*floats(r, 60, spread=4), f32(3), f32(-3), f32(-1.5)]
        yield naive.case_of("hard_swish_forward_f32", "hard-swish", x)
        yield naive.case_of("hard_swish_backward_f32", "hard-swish", [i % 3, i // 2], floats(r, 63), x, floats(r, 63))


def loss_cases(r):
    for n, scale in ((1, 0.1), (2, 0.02), (10, 0.1), (10, 30.0), (10, 1e-9), (512, 0.01), (1023, 0.01), (1023, 1e-9), (512, 3e38)):
        label = r.randrange(n)
        for values in (u8(r, n), [9] * n):
            for rounding in ([0, 0], [1, r.getrandbits(32)]):
                yield naive.case_of("softmax_u8", f"{n} classes", [label], [f32(scale)], rounding, values)
        yield naive.case_of("softmax_f32", f"{n} classes", [label], [f32(v) * f32(min(scale, 1e36)) for v in floats(r, n)])


def update_cases(r):
    for positions, channels, k in ((1, 1, 1), (4, 7, 3), (9, 16, 15), (2, 5, 1)):
        chosen = [r.randrange(9) for _ in range(channels)]
        yield naive.case_of("sparse_select_u8", "select", [positions, channels, k], i8(r, positions * channels), chosen)
        yield naive.case_of("sparse_select_f32", "select", [positions, channels, k], floats(r, positions * channels, 0.5), chosen)
    for out, n, z, batch, s_w, lr, size in (
        (3, 10, 128, 8, 0.01, 0.001, 1000),
        (2, 27, 0, 48, 0.003, 0.01, 2**31 - 1),
        (4, 9, 255, 3, 2.0, 1.0, 5),
        (2, 1, 5, 1, 0.1, 0.1, 100),
        (5, 7, 200, 7, 1e-3, 1e-6, 0),
        (1, 300, 120, 16, 1e-12, 3.0, 10**7),
        (3, 50, 90, 4, 0.02, 1e30, 10**4),
    ):
        w, G = [r.randrange(40, 200) for _ in range(out * n)], [r.randint(-size, size) for _ in range(out * n)]
        chosen, stream = [r.randint(0, batch) for _ in range(out)], [r.getrandbits(32), r.randrange(99), 3]
        s_w, lr = f32(s_w), f32(lr)
        for grids in sorted({1, out}):
            scales = [s_w, *(s_w * f32(r.uniform(0.01, 3)) for _ in range(grids - 1))]
            zeros = [z, *(r.randrange(256) for _ in range(grids - 1))]
            sizes = [out, n, batch, r.choice([0, 3, 8])]
            yield naive.case_of("update_weights_u8", "weights", sizes, stream, [lr], scales, zeros, w, G, chosen)
        b, G_b = [r.randint(1 - 2**30, 2**30 - 1) for _ in range(out)], [r.randint(-(2**23), 2**23) for _ in range(out)]
        yield naive.case_of("update_bias_u8", "bias", [batch], [s_w, lr], b, G_b)
        G, G_b = floats(r, out * n, 1.0 if size == 0 else 0.2), floats(r, out)
        yield naive.case_of("update_f32", "float32", [out, n, batch], [lr], floats(r, out * n), floats(r, out), G, G_b, chosen)
    for act, *values in (
        (0, -3, 4, -1, 2, 0.01),
        (1, -3, 4, 0, 2, 0.01),
        (2, -3, 4, 0, 2, 0.01),
        (2, -3, 40, 0, 7, 0.01),
        (0, 0, 0, 0, 0, 0.5),
        (0, 0.05, 0.06, -1, 2, 0.01),
        (1, -5e-30, 7e-30, 0, 0, 1e-30),
        (2, 1, 0, 0, 1e-3, 0.5),
    ):
        yield naive.case_of("update_range", "range", [act], [f32(v) for v in values], [17])


# ---- Whole networks ----

CLASSES = 4


def begin(rng, config, shape):
    """A builder and the tensor to go on from."""
    b = Builder(rng, shape)
    return b, b.dequantize(0) if config == "float32" else 0


def border(b, t, config):
    """The mixed configuration's change to float32."""
    return b.dequantize(t) if config == "mixed" else t


def chain(rng, config, train_from=0):
    """conv 3x3 - pool 2 - depthwise 3x2 - conv 2x2 stride 2 - linear - linear on 7x6x2."""
    b, t = begin(rng, config, (7, 6, 2))
    t = b.conv(t, 4, (3, 3), padding=(1, 1, 1, 1), activation=RELU, trains=train_from <= 0)
    t = b.pool(t, (2, 2), (2, 2), maximum=True)
    t = b.conv(t, 0, (3, 2), padding=(1, 1, 1, 0), activation=RELU, trains=train_from <= 1, depthwise=True)
    t = b.conv(t, 5, (2, 2), (2, 2), (0, 0, 1, 1), activation=RELU, trains=train_from <= 2)
    t = b.linear(border(b, t, config), 6, RELU, train_from <= 3)
    b.linear(t, CLASSES)
    return b


def residual(rng, config):
    """A block whose skip tensor is read by two trained layers and by both of two additions' ways back to it."""
    b, t = begin(rng, config, (6, 5, 2))
    skip = b.conv(t, 4, (3, 3), (1, 2), (1, 1, 1, 0), activation=RELU, per_channel=True)
    t = b.conv(skip, 6, activation=RELU6)
    t = b.conv(t, 0, (3, 3), padding=(1, 1, 1, 1), activation=RELU6, depthwise=True, per_channel=True)
    t = b.conv(t, 4)
    t = b.add(t, skip)
    other = b.conv(skip, 4, per_channel=True)
    t = b.pool(b.add(other, t, RELU), (2, 2), (2, 2), maximum=True)
    b.linear(border(b, t, config), CLASSES)
    return b


def half_block(rng, config, first):
    """The first trained layer is in the middle of a block: only one input of the addition carries an error."""
    b, t = begin(rng, config, (5, 5, 2))
    skip = b.conv(t, 4, (2, 2), (2, 2), (1, 0, 0, 1), activation=RELU6, trains=False, per_channel=True)
    t = b.conv(skip, 5, activation=RELU, trains=False)
    t = b.conv(t, 0, (3, 3), padding=(1, 1, 1, 1), activation=RELU6, depthwise=True, per_channel=True)
    t = b.conv(t, 4, per_channel=True)
    t = b.add(t, skip) if first else b.add(skip, t)
    b.linear(border(b, t, config), CLASSES)
    return b


def additions(rng, config):
    """Additions with ReLU and ReLU6, one behind the other, one of them the last layer."""
    b, t = begin(rng, config, (4, 6, 3))
    one = b.conv(t, 3, activation=RELU)
    two = b.conv(one, 3, per_channel=True)
    three = b.add(one, two, RELU6)
    four = b.add(three, two, RELU)
    t = border(b, b.add(four, three), config)
    b.add(b.linear(t, CLASSES, RELU), b.linear(t, CLASSES, per_channel=True))
    return b


def pooling(rng, config):
    """Average pooling with overlap, read twice, and global, with the border behind it."""
    b, t = begin(rng, config, (8, 7, 2))
    t = b.conv(t, 4, (3, 3), activation=RELU6, per_channel=True)
    t = b.pool(t, (3, 2), (1, 2))
    t = b.add(b.conv(t, 4, activation=RELU), b.pool(t, (1, 1)))
    t = b.conv(b.pool(t, (2, 2), (1, 1)), 5, activation=RELU)
    t = border(b, b.pool(t), config)
    b.linear(t, CLASSES)
    return b


def swishes(rng, config):
    """Hard-swish behind convolutions, on the input itself and beside other readers."""
    b, t = begin(rng, config, (5, 4, 2))
    t = b.hard_swish(t)
    t = b.hard_swish(b.conv(t, 4, (3, 3), (2, 1), (1, 1, 1, 1), per_channel=True))
    t = b.conv(t, 3, activation=RELU6)
    t = b.add(b.hard_swish(t), t)
    t = b.hard_swish(t)
    t = b.hard_swish(b.linear(border(b, t, config), 5))
    b.linear(t, CLASSES)
    return b


def dilated(rng, config):
    """Dilation 2 and stride 2 with asymmetric padding, trained and frozen, with one grid and with one a channel."""
    b, t = begin(rng, config, (9, 8, 2))
    t = b.conv(t, 4, (3, 2), (2, 1), (4, 1, 1, 2), (2, 3), RELU6, per_channel=True)
    t = b.conv(t, 0, (3, 3), (2, 2), (0, 4, 3, 0), (2, 2), RELU, trains=False, depthwise=True, per_channel=True)
    t = b.conv(t, 5, (2, 2), (1, 1), (2, 1, 0, 2), (3, 2), RELU, trains=False, per_channel=True)
    t = b.conv(t, 0, (2, 1), (1, 1), (0, 1, 0, 0), (2, 1), depthwise=True)
    b.linear(border(b, t, config), CLASSES, per_channel=True)
    return b


def time_series(rng, config):
    """Everything with a height of 1."""
    b, t = begin(rng, config, (1, 30, 2))
    t = b.conv(t, 4, (1, 5), (1, 2), (0, 0, 3, 1), (1, 2), RELU6, per_channel=True)
    skip = b.pool(t, (1, 3), (1, 2))
    t = b.conv(skip, 0, (1, 3), padding=(0, 0, 4, 0), dilation=(1, 2), activation=RELU, depthwise=True)
    t = b.hard_swish(b.add(t, skip))
    t = b.pool(b.conv(t, 5, (1, 2), (1, 2), activation=RELU), (1, 2), maximum=True)
    t = border(b, b.pool(t), config)
    b.linear(t, CLASSES)
    return b


NETWORKS = {
    "residual": residual,
    "half block first": lambda rng, config: half_block(rng, config, True),
    "half block second": lambda rng, config: half_block(rng, config, False),
    "additions": additions,
    "pooling": pooling,
    "swishes": swishes,
    "dilated": dilated,
    "time series": time_series,
}


def networks():
    """Every network made by hand, in each configuration, by name."""
    for config in CONFIGS:
        for seed, (name, build) in enumerate({"chain": chain, **NETWORKS}.items()):
            yield build(np.random.RandomState(seed), config).network(f"{name[:11]} {config[:4]}")


def tables(r, build, config, *options):
    """naive.py's tensors and layers of a network."""
    network = build(np.random.RandomState(r.getrandbits(32)), config, *options).network("handmade")
    return naive.read_model(model_file.file_bytes(network))


def small_network(r, config, train_from=0):
    """The chain; config: uint8, mixed or float32."""
    return tables(r, chain, config, train_from)


def training_case(r, kind, name, network, steps, batch, lr, lmin=4096, lmax=4096, sparse_last=False):
    """Kind 100 or 101. network: (tensors, layers)."""
    tensors, layers = network
    n, seed = 5, r.getrandbits(32)
    samples, labels = [u8(r, tensors[0].size) for _ in range(n)], [r.randrange(CLASSES) for _ in range(n)]
    numbers = [batch, seed, lmin, lmax, int(sparse_last), n, steps]
    inputs = [("B", naive.write_model("handmade", tensors, layers)), ("I", numbers), ("f", [f32(lr)]),
              ("B", [v for sample in samples for v in sample]), ("i", labels)]  # fmt: skip
    trainer = naive.Trainer(tensors, layers, batch, lr, seed, lmin, lmax, sparse_last)
    trainer.records = []
    results, checksums = trainer.run(samples, labels, steps)
    if kind == 100:
        return naive.golden_case(100, name, *inputs, ("I", results), ("I", checksums))
    return naive.golden_case(101, name, *inputs, ("B", naive.trace_bytes(trainer.records)))


def training_cases(r):
    for config in CONFIGS:
        yield training_case(r, 101, f"{config} dense", small_network(r, config), 8, 3, 0.02)
        yield training_case(r, 101, f"{config} sparse", small_network(r, config), 8, 3, 0.02, 1000, 3000, config == "mixed")
        yield training_case(r, 101, f"{config} last two", small_network(r, config, 2), 5, 2, 0.02)
        yield training_case(r, 100, f"{config} trajectory", small_network(r, config, 1), 24, 4, 0.05, 2048, 4096)
        for name, build in NETWORKS.items():
            sparse = (4096, 4096) if name != "residual" else (1000, 3000)
            yield training_case(r, 101, f"{config} {name}", tables(r, build, config), 6, 2, 0.02, *sparse)


def all_cases(seed=1):
    """One of everything."""
    r = random.Random(seed)
    yield from arithmetic_cases(r)
    for name, shape in GEOMETRIES.items():
        yield from weighted_cases(r, "conv2d", name, shape)
        yield from weighted_cases(r, "linear", name, shape)
    for name, shape in DEPTHWISE.items():
        yield from weighted_cases(r, "depthwise_conv2d", name, shape)
    for name, shape in POOLS.items():
        yield from pool_cases(r, name, shape)
    yield from pointwise_cases(r)
    yield from loss_cases(r)
    yield from update_cases(r)
    yield from training_cases(r)
