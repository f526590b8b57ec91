# SPDX-License-Identifier: Apache-2.0
"""Golden cases computed by naive.py alone: they test the C library without the Numba engine. Small random shapes, fixed seeds."""

import random

import naive
import numpy as np
from naive import f32

GEOMETRIES = {  # in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left
    "3x3 same": (5, 4, 3, 5, 4, 2, 3, 3, 1, 1, 1, 1),
    "stride 2": (7, 6, 2, 3, 3, 5, 3, 2, 2, 2, 0, 0),
    "1xN, uneven padding": (1, 9, 2, 1, 5, 3, 1, 4, 1, 2, 0, 2),
    "stride beyond kernel": (7, 7, 1, 2, 3, 2, 2, 1, 4, 3, 0, 0),
    "more channels than a block": (2, 2, 19, 2, 2, 18, 2, 2, 1, 1, 1, 0),
    "one": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
}
DEPTHWISE = {
    "3x3 same": (5, 4, 3, 5, 4, 3, 3, 3, 1, 1, 1, 1),
    "5x3 stride 2": (7, 6, 2, 3, 3, 2, 5, 3, 2, 2, 1, 1),
    "1xN, uneven padding": (1, 9, 18, 1, 5, 18, 1, 4, 1, 2, 0, 2),
}
POOLS = {
    "2x2": (6, 5, 3, 3, 2, 3, 2, 2, 2, 2, 0, 0),
    "overlapping": (7, 7, 2, 3, 3, 2, 3, 3, 2, 2, 0, 0),
    "gaps": (7, 5, 1, 2, 2, 1, 2, 1, 4, 3, 0, 0),
}


def u8(r, n):
    return [r.choice((0, 255, r.randrange(256))) for _ in range(n)]


def i8(r, n):
    return [r.choice((0, 0, -127, 127, r.randrange(-127, 128))) for _ in range(n)]


def floats(r, n, zeros=0.2):
    return [f32(0) if r.random() < zeros else f32(r.gauss(0, 1)) for _ in range(n)]


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


def weighted_cases(r, first_kind, name, shape):
    """Kinds 10-15, 20-25 or 90-95."""
    g = naive.geometry(*shape)
    if first_kind == 20:
        g = naive.as_linear(g)
    if first_kind == 90:
        g = naive.as_depthwise(g)
    n_x, n_y = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c
    n_w = g.out_c * g.kernel_h * g.kernel_w * (1 if g.depthwise else g.in_c)
    quantizations = (128, 100, 30, 0, 1e-3), (0, 255, 0, 1, 3e-4), (255, 0, 255, 0, 0.9), (7, 9, 0, 1, 1e-12), (7, 9, 5, 0, 9e9)
    for z_x, z_w, z_y, relu, m in quantizations:
        lower, masked, m = (z_y if relu else 0), relu, f32(m)
        x, w, bias = u8(r, n_x), u8(r, n_w), [r.randrange(-50000, 50000) for _ in range(g.out_c)]
        y, lo, hi = naive.conv2d_forward_u8(g, x, w, bias, z_x, z_w, z_y, lower, m)
        yield naive.golden_case(first_kind, name, ("i", shape), ("i", [z_x, z_w, z_y, lower]), ("f", [m]), ("B", x), ("B", w), ("i", bias),
                                ("B", y), ("i", [lo, hi]))  # fmt: skip
        e = i8(r, n_y)
        dx, largest = naive.conv2d_backward_input_u8(g, e, w, x, z_w, z_x, masked, m)
        yield naive.golden_case(first_kind + 1, name, ("i", shape), ("i", [z_w, z_x, masked]), ("f", [m]), ("b", e), ("B", w), ("B", x),
                                ("b", dx), ("i", [largest]))  # fmt: skip
        G, G_b = [r.randrange(-(10**6), 10**6) for _ in w], [r.randrange(-999, 999) for _ in bias]
        bits = r.choice([0, 1, 8])
        after = naive.conv2d_backward_weight_u8(g, e, x, z_x, bits, G, G_b)
        yield naive.golden_case(first_kind + 2, name, ("i", shape), ("i", [z_x, bits]), ("b", e), ("B", x), ("i", G), ("i", G_b),
                                ("i", after[0]), ("i", after[1]))  # fmt: skip
    for relu in (0, 1):
        x, w, bias, e = floats(r, n_x), floats(r, n_w), floats(r, g.out_c), floats(r, n_y, 0.5)
        y = naive.conv2d_forward_f32(g, x, w, bias, relu)
        yield naive.golden_case(first_kind + 3, name, ("i", shape), ("i", [relu]), ("f", x), ("f", w), ("f", bias), ("f", y))
        dx = naive.conv2d_backward_input_f32(g, e, w, x, relu)
        yield naive.golden_case(first_kind + 4, name, ("i", shape), ("i", [relu]), ("f", e), ("f", w), ("f", x), ("f", dx))
        G, G_b = floats(r, n_w), floats(r, g.out_c)
        after = naive.conv2d_backward_weight_f32(g, e, x, G, G_b)
        yield naive.golden_case(first_kind + 5, name, ("i", shape), ("f", e), ("f", x), ("f", G), ("f", G_b),
                                ("f", after[0]), ("f", after[1]))  # fmt: skip


def pool_cases(r, name, shape):
    g = naive.geometry(*shape)
    n_x, n_y = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c
    for z_x, masked in ((0, 1), (3, 1), (255, 0)):
        x, e = [r.randrange(6) for _ in range(n_x)], i8(r, n_y)  # few values: many ties
        yield naive.golden_case(30, name, ("i", shape), ("B", x), ("B", naive.max_pool2d_forward(g, x)))
        dx = naive.max_pool2d_backward_u8(g, x, e, z_x, masked)
        yield naive.golden_case(31, name, ("i", shape), ("i", [z_x, masked]), ("B", x), ("b", e), ("b", dx))
        x, e = [f32(r.randrange(-2, 4) / 4) for _ in range(n_x)], floats(r, n_y)
        yield naive.golden_case(32, name, ("i", shape), ("f", x), ("f", naive.max_pool2d_forward(g, x)))
        dx = naive.max_pool2d_backward_f32(g, x, e, masked)
        yield naive.golden_case(33, name, ("i", shape), ("i", [masked]), ("f", x), ("f", e), ("f", dx))


def border_cases(r):
    for z, masked, scale in ((0, 1, 1e-3), (77, 0, 0.03), (77, 1, 4.0)):
        x, e, s = u8(r, 60), floats(r, 60), f32(scale)
        yield naive.golden_case(40, "dequantize", ("i", [z]), ("f", [s]), ("B", x), ("f", naive.dequantize_forward(x, z, s)))
        dx, largest = naive.dequantize_backward(e, x, z, masked, s)
        yield naive.golden_case(41, "dequantize", ("i", [z, masked]), ("f", [s]), ("f", e), ("B", x), ("b", dx), ("f", [largest]))


def loss_cases(r):
    for n, scale in ((1, 0.1), (2, 0.02), (10, 0.1), (10, 30.0), (10, 1e-9), (512, 0.01), (512, 3e38)):
        logits, label = u8(r, n), r.randrange(n)
        for values in (logits, [9] * n):
            e, *loss = naive.softmax_u8(values, label, f32(scale))
            yield naive.golden_case(50, f"{n} classes", ("i", [label]), ("f", [scale]), ("B", values), ("b", e), ("I", loss))
        values = [f32(v) * f32(min(scale, 1e36)) for v in floats(r, n)]
        e, *loss = naive.softmax_f32(values, label)
        yield naive.golden_case(51, f"{n} classes", ("i", [label]), ("f", values), ("f", e), ("I", loss))


def update_cases(r):
    for positions, channels, k in ((1, 1, 1), (4, 7, 3), (9, 16, 15), (2, 5, 1)):
        e, chosen = i8(r, positions * channels), [r.randrange(9) for _ in range(channels)]
        yield naive.golden_case(60, "select", ("i", [positions, channels, k]), ("b", e), ("i", chosen),
                                *zip("bi", naive.sparse_select(positions, channels, k, e, chosen), strict=True))  # fmt: skip
        e = floats(r, positions * channels, 0.5)
        yield naive.golden_case(61, "select", ("i", [positions, channels, k]), ("f", e), ("i", chosen),
                                *zip("fi", naive.sparse_select(positions, channels, k, e, chosen), strict=True))  # fmt: skip
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
        bits = r.choice([0, 3, 8])
        after = naive.update_weights_u8(out, n, z, batch, bits, *stream, s_w, lr, w, G, chosen)
        yield naive.golden_case(70, "weights", ("i", [out, n, z, batch, bits]), ("I", stream), ("f", [s_w, lr]), ("B", w), ("i", G),
                                ("i", chosen), ("B", after[0]), ("f", [after[1]]), ("i", [after[2]]), ("i", after[3]))  # fmt: skip
        b, G_b = [r.randint(1 - 2**30, 2**30 - 1) for _ in range(out)], [r.randint(-(2**23), 2**23) for _ in range(out)]
        yield naive.golden_case(71, "bias", ("i", [batch]), ("f", [s_w, lr]), ("i", b), ("i", G_b),
                                ("i", naive.update_bias_u8(batch, s_w, lr, b, G_b)))  # fmt: skip
        w, b = floats(r, out * n), floats(r, out)
        G, G_b = floats(r, out * n, 1.0 if size == 0 else 0.2), floats(r, out)
        after = naive.update_f32(out, n, batch, lr, w, b, G, G_b, chosen)
        yield naive.golden_case(72, "float32", ("i", [out, n, batch]), ("f", [lr]), ("f", w), ("f", b), ("f", G), ("f", G_b),
                                ("i", chosen), ("f", after[0]), ("f", after[1]))  # fmt: skip
    for relu, unit, lo, hi, scale, acc_min, acc_max in (
        (0, 1e-4, -1, 2, 0.01, -30000, 40000),
        (1, 1e-4, 0, 2, 0.01, -30000, 40000),
        (0, 1e-4, 0, 0, 0.5, 0, 0),
        (0, 1e-4, -1, 2, 0.01, 500, 600),
        (1, 1e-30, 0, 0, 1e-30, -5, 7),
    ):
        f = [f32(unit), f32(lo), f32(hi), f32(scale)]
        *floats_after, zero = naive.update_range(relu, *f, 17, acc_min, acc_max)
        yield naive.golden_case(80, "range", ("i", [relu]), ("f", f), ("i", [17, acc_min, acc_max]), ("f", floats_after), ("i", [zero]))


# ---- Whole networks ----


def random_weights(r, layer, quantized, out, fan_in):
    """Fills in random parameters."""
    if quantized:
        layer.weights, layer.bias = [r.randrange(256) for _ in range(out * fan_in)], [r.randrange(-(2**19), 2**19) for _ in range(out)]
        layer.weight_scale, layer.weight_zero = f32(0.01), r.randrange(100, 150)
    else:
        layer.weights, layer.bias = [f32(r.gauss(0, fan_in**-0.5)) for _ in range(out * fan_in)], floats(r, out, 0)
    return layer


def small_network(r, config, train_from=0):
    """conv 3x3 - pool 2 - depthwise 3x2 - conv 2x2 stride 2 - linear - linear on 7x6x2, 4 classes; config: uint8, mixed or float32."""
    relu, adaptive = naive.RELU, naive.ADAPTIVE
    plan = [("conv", 4, (3, 3), (1, 1), (1, 1, 1, 1), relu), ("pool", 4, (2, 2), (2, 2), (0, 0, 0, 0), 0),
            ("depthwise", 4, (3, 2), (1, 1), (1, 1, 1, 0), relu), ("conv", 5, (2, 2), (2, 2), (0, 0, 1, 1), relu),
            ("linear", 6, (1, 1), (1, 1), (0, 0, 0, 0), relu), ("linear", 4, (1, 1), (1, 1), (0, 0, 0, 0), 0)]  # fmt: skip
    tensors = [naive.Tensor(naive.U8, (7, 6, 2), 0, f32(1 / 255), 3, f32(-0.1), f32(1))]
    layers, weighted = [], 0
    for op, channels, kernel, stride, pads, flags in plan:
        x = tensors[-1]
        if x.type == naive.U8 and (config == "float32" or (config == "mixed" and op == "linear")):
            layers.append(naive.Layer(naive.DEQUANTIZE))
            tensors.append(naive.Tensor(naive.F32, x.shape, x.flags & relu))
            x = tensors[-1]
        quantized = x.type == naive.U8
        if op == "linear":
            shape, fan_in = (1, 1, channels), x.size
        else:
            h, w = ((x.shape[a] + pads[2 * a] + pads[2 * a + 1] - kernel[a]) // stride[a] + 1 for a in (0, 1))
            shape, fan_in = (h, w, channels), kernel[0] * kernel[1] * (1 if op == "depthwise" else x.shape[2])
        if op == "pool":
            layers.append(naive.Layer(naive.MAX_POOL2D, 0, kernel, stride))
            tensors.append(naive.Tensor(x.type, shape, x.flags & relu, x.scale, x.zero, x.lo, x.hi))
            continue
        trains = weighted >= train_from
        weighted += 1
        code = {"conv": naive.CONV2D, "depthwise": naive.DEPTHWISE_CONV2D, "linear": naive.LINEAR}[op]
        train_flag = naive.TRAINABLE if trains else 0
        layer = naive.Layer(code, flags | train_flag, kernel, stride, pads)
        layers.append(random_weights(r, layer, quantized, channels, fan_in))
        if quantized:
            zero = 0 if flags else 120
            lo, flags = f32(-2.4 if zero else 0), flags | (adaptive if trains else 0)
            tensors.append(naive.Tensor(naive.U8, shape, flags, f32(0.02), zero, lo, f32(5.1)))
        else:
            tensors.append(naive.Tensor(naive.F32, shape, flags))
    return tensors, layers


def training_case(r, kind, name, config, train_from, steps, batch, lr, lmin=4096, lmax=4096, sparse_last=False):
    """Kind 100 or 101."""
    tensors, layers = small_network(r, config, train_from)
    n, seed = 5, r.getrandbits(32)
    samples, labels = [u8(r, tensors[0].size) for _ in range(n)], [r.randrange(4) for _ in range(n)]
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
    for config in ("uint8", "mixed", "float32"):
        yield training_case(r, 101, f"{config} dense", config, 0, 8, 3, 0.02)
        yield training_case(r, 101, f"{config} sparse", config, 0, 8, 3, 0.02, 1000, 3000, config == "mixed")
        yield training_case(r, 101, f"{config} last two", config, 2, 5, 2, 0.02)
        yield training_case(r, 100, f"{config} trajectory", config, 1, 24, 4, 0.05, 2048, 4096)


def all_cases(seed=1):
    """One of everything."""
    r = random.Random(seed)
    yield from arithmetic_cases(r)
    for name, shape in GEOMETRIES.items():
        yield from weighted_cases(r, 10, name, shape)
        yield from weighted_cases(r, 20, name, shape)
    for name, shape in DEPTHWISE.items():
        yield from weighted_cases(r, 90, name, shape)
    for name, shape in POOLS.items():
        yield from pool_cases(r, name, shape)
    yield from border_cases(r)
    yield from loss_cases(r)
    yield from update_cases(r)
    yield from training_cases(r)
