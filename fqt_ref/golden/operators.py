# SPDX-License-Identifier: Apache-2.0
"""Golden cases of single operators and of the update rule: ordinary shapes, edges, and values at the ends of their ranges."""

from collections.abc import Callable, Iterator

import numpy as np

from fqt_ref.arithmetic import NEAREST, log2_q16, random_key, random_word, requantize, requantizer, rescale
from fqt_ref.golden.format import Case
from fqt_ref.kernels import conv2d, depthwise_conv2d, dequantize, linear, max_pool2d, softmax_cross_entropy
from fqt_ref.network import Geometry
from fqt_ref.optimizers import standardized_sgd
from fqt_ref.ranges import update_range
from fqt_ref.sparse_update import sparse_select

I32, U32, F32 = np.int32, np.uint32, np.float32

# in_h, in_w, in_c, out_c, kernel, stride, padding (top, bottom, left, right)
CONVOLUTIONS = {
    "one element": (1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
    "pointwise": (3, 5, 4, 5, (1, 1), (1, 1), (0, 0, 0, 0)),
    "3x3 valid": (5, 6, 2, 3, (3, 3), (1, 1), (0, 0, 0, 0)),
    "3x3 same": (4, 4, 3, 2, (3, 3), (1, 1), (1, 1, 1, 1)),
    "stride 2 even": (6, 6, 2, 2, (3, 3), (2, 2), (0, 1, 0, 1)),
    "stride beyond kernel": (7, 7, 1, 2, (2, 2), (4, 3), (0, 0, 0, 0)),
    "1xN signal": (1, 12, 2, 3, (1, 5), (1, 2), (0, 0, 2, 2)),
    "kernel is input": (3, 3, 2, 2, (3, 3), (1, 1), (0, 0, 0, 0)),
    "uneven padding": (4, 4, 1, 5, (3, 2), (2, 1), (2, 0, 0, 1)),
}
DEPTHWISE = {
    "one element": (1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
    "3x3 same": (4, 4, 5, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    "5x5 same": (6, 5, 3, 3, (5, 5), (1, 1), (2, 2, 2, 2)),
    "stride 2 even": (6, 6, 4, 4, (3, 3), (2, 2), (0, 1, 0, 1)),
    "stride beyond kernel": (7, 7, 2, 2, (2, 2), (4, 3), (0, 0, 0, 0)),
    "1xN signal": (1, 12, 6, 6, (1, 5), (1, 2), (0, 0, 2, 2)),
    "kernel is input": (3, 3, 17, 17, (3, 3), (1, 1), (0, 0, 0, 0)),
    "uneven padding": (4, 4, 1, 1, (3, 2), (2, 1), (2, 0, 0, 1)),
}
LINEARS = {"one element": (1, 1), "one output": (33, 1), "one input": (1, 7), "odd": (17, 5), "even": (24, 4)}
POOLS = {
    "one element": (1, 1, 1, (1, 1), (1, 1)),
    "2x2": (6, 6, 5, (2, 2), (2, 2)),
    "odd input": (7, 5, 3, (2, 2), (2, 2)),
    "overlapping": (7, 7, 2, (3, 3), (2, 2)),
    "1xN": (1, 12, 4, (1, 3), (1, 3)),
}
# Zero points, multipliers and value ranges: the middle, both ends, saturation above and below.
QUANTIZATIONS = {
    "middle": (128, 120, 100, 0, 2e-3),
    "zero points 0": (0, 0, 0, 0, 4e-4),
    "zero points 255": (255, 255, 255, 0, 4e-4),
    "relu": (3, 131, 0, 0, 1e-3),
    "saturating": (7, 250, 10, 10, 0.7),
    "tiny multiplier": (100, 100, 37, 0, 3e-10),
    "huge multiplier": (100, 100, 37, 0, 3e4),
}


def conv_geometry(shape) -> Geometry:
    """Geometry of an entry of CONVOLUTIONS."""
    h, w, c, out, (kh, kw), (sh, sw), (top, bottom, left, right) = shape
    return Geometry(h, w, c, (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1, out, kh, kw, sh, sw, top, left)


def linear_geometry(shape) -> Geometry:
    """Geometry of an entry of LINEARS."""
    return Geometry(1, 1, shape[0], 1, 1, shape[1], 1, 1, 1, 1, 0, 0)


def pool_geometry(shape) -> Geometry:
    """Geometry of an entry of POOLS."""
    h, w, c, (kh, kw), (sh, sw) = shape
    return Geometry(h, w, c, (h - kh) // sh + 1, (w - kw) // sw + 1, c, kh, kw, sh, sw, 0, 0)


def fan_in(g: Geometry) -> int:
    return g.kernel_h * g.kernel_w * g.in_c


def array(g: Geometry) -> np.ndarray:
    return np.array(g, I32)


def forward_u8(op: str, g: Geometry, z_x, z_w, z_y, lower, m, x, w, bias_acc):
    """Quantized convolution or linear layer from plain arrays. Returns (y, extremes)."""
    y, extremes = np.zeros(g.out_h * g.out_w * g.out_c, np.uint8), np.array([2**31 - 1, -(2**31)], I32)
    centred, acc = w.astype(I32).reshape(g.out_c, -1) - I32(z_w), np.zeros(y.size, I32)
    if op == "conv2d":
        columns, weights_t = columns_of(g, x, I32(z_x)), np.ascontiguousarray(centred.T, F32)
        conv2d.conv2d_forward_u8(requantizer(F32(m)), z_y, lower, columns, centred, weights_t, bias_acc, y, acc, extremes)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(z_x), I32)
        weights_t = np.ascontiguousarray(centred.T)
        depthwise_conv2d.depthwise_conv2d_forward_u8(requantizer(F32(m)), z_y, lower, taps, pixels, weights_t, bias_acc, y, acc, extremes)
    else:
        x_centred, weights_t = x.astype(I32) - I32(z_x), np.ascontiguousarray(centred.T)
        linear.linear_forward_u8(requantizer(F32(m)), z_y, lower, x_centred, weights_t, bias_acc, y, acc, extremes)
    return y, extremes


def columns_of(g: Geometry, x, zero) -> np.ndarray:
    """im2col of a flat input."""
    shape, padded = (fan_in(g), g.out_h * g.out_w), np.zeros(x.size + 1, F32)
    table, columns = np.zeros(shape, np.uint32), np.zeros(shape, F32)
    conv2d.fill_taps(g, g.in_c, table)
    conv2d.centre(x, zero, padded)
    conv2d.im2col(table, padded, columns)
    return columns


def pixels_of(g: Geometry, x, zero, dtype) -> tuple[np.ndarray, np.ndarray]:
    """The taps of a depthwise convolution and its padded input."""
    taps, pixels = np.zeros((g.kernel_h * g.kernel_w, g.out_h * g.out_w), np.uint32), np.zeros((g.in_h * g.in_w + 1, g.in_c), dtype)
    conv2d.fill_taps(g, 1, taps)
    depthwise_conv2d.centre_pixels(x, zero, pixels)
    return taps, pixels


def backward_input_u8(op: str, g: Geometry, z_w, z_x, masked, m, e, w, x):
    """Error to the input from plain arrays. Returns (dx, largest |sum|)."""
    dx, sums, wide = np.zeros(x.size, np.int8), np.zeros(x.size, I32), e.astype(I32)
    centred = w.astype(I32).reshape(g.out_c, -1) - I32(z_w)
    if op == "conv2d":
        wide = wide.reshape(-1, g.out_c)
        largest = conv2d.conv2d_backward_input_u8(g, requantizer(F32(m)), z_x, bool(masked), wide, centred, x, dx, sums)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(0), I32)
        wide, weights_t = wide.reshape(-1, g.out_c), np.ascontiguousarray(centred.T)
        largest = depthwise_conv2d.depthwise_conv2d_backward_input_u8(
            requantizer(F32(m)), z_x, bool(masked), taps, wide, weights_t, x, dx, pixels.reshape(-1)
        )
    else:
        largest = linear.linear_backward_input_u8(requantizer(F32(m)), z_x, bool(masked), wide, centred, x, dx, sums)
    return dx, np.array([largest], I32)


def backward_weight_u8(op: str, g: Geometry, z_x, bits, e, x, gradient, bias_gradient):
    """Weight gradient added to the given sums. Returns (G, G_b)."""
    gradient, bias_gradient = gradient.copy().reshape(g.out_c, -1), bias_gradient.copy()
    if op == "conv2d":
        wide = e.astype(I32).reshape(-1, g.out_c)
        conv2d.conv2d_backward_weight_u8(bits, columns_of(g, x, I32(z_x)), wide, gradient, bias_gradient)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(z_x), I32)
        wide = e.astype(I32).reshape(-1, g.out_c)
        depthwise_conv2d.depthwise_conv2d_backward_weight_u8(bits, taps, pixels, wide, gradient, bias_gradient)
    else:
        linear.linear_backward_weight_u8(bits, e.astype(I32), x.astype(I32) - I32(z_x), gradient, bias_gradient)
    return gradient, bias_gradient


def forward_f32(op: str, g: Geometry, relu, x, w, b):
    """Float32 convolution or linear layer from plain arrays."""
    y, weights = np.zeros(g.out_h * g.out_w * g.out_c, F32), w.reshape(g.out_c, -1)
    if op == "conv2d":
        columns = columns_of(g, x, F32(0))
        conv2d.conv2d_forward_f32(bool(relu), columns, weights, b, y.reshape(-1, g.out_c), np.zeros(columns.shape[1], F32))
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        depthwise_conv2d.depthwise_conv2d_forward_f32(bool(relu), taps, pixels, np.ascontiguousarray(weights.T), b, y)
    else:
        linear.linear_forward_f32(bool(relu), x, np.ascontiguousarray(weights.T), b, y)
    return y


def backward_input_f32(op: str, g: Geometry, masked, e, w, x):
    """Float32 error to the input from plain arrays."""
    dx, weights = np.zeros(x.size, F32), w.reshape(g.out_c, -1)
    if op == "conv2d":
        conv2d.conv2d_backward_input_f32(g, bool(masked), e.reshape(-1, g.out_c), weights, x, dx)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        weights_t, sums = np.ascontiguousarray(weights.T), pixels.reshape(-1)
        depthwise_conv2d.depthwise_conv2d_backward_input_f32(bool(masked), taps, e.reshape(-1, g.out_c), weights_t, x, dx, sums)
    else:
        linear.linear_backward_input_f32(bool(masked), e, weights, x, dx)
    return dx


def backward_weight_f32(op: str, g: Geometry, e, x, gradient, bias_gradient):
    """Float32 weight gradient added to the given sums."""
    gradient, bias_gradient = gradient.copy().reshape(g.out_c, -1), bias_gradient.copy()
    if op == "conv2d":
        columns, patch = columns_of(g, x, F32(0)), np.zeros(fan_in(g), F32)
        conv2d.conv2d_backward_weight_f32(columns, e.reshape(-1, g.out_c), gradient, bias_gradient, patch)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        depthwise_conv2d.depthwise_conv2d_backward_weight_f32(taps, pixels, e.reshape(-1, g.out_c), gradient, bias_gradient)
    else:
        linear.linear_backward_weight_f32(e, x, gradient, bias_gradient)
    return gradient, bias_gradient


def errors(rng, size, density=1.0) -> np.ndarray:
    """int8 errors in -127..127, a share of them 0."""
    return (rng.randint(-127, 128, size) * (rng.random_sample(size) < density)).astype(np.int8)


def floats(rng, size, density=1.0) -> np.ndarray:
    """float32 values around 0, a share of them 0."""
    return (rng.standard_normal(size) * (rng.random_sample(size) < density)).astype(F32)


def weighted_cases(op: str, rng) -> Iterator[Case]:
    """All passes of a convolution or a linear layer."""
    tables: dict[str, dict] = {"conv2d": CONVOLUTIONS, "depthwise_conv2d": DEPTHWISE, "linear": LINEARS}
    make: Callable = linear_geometry if op == "linear" else conv_geometry
    shapes = {name: make(shape) for name, shape in tables[op].items()}
    for name, g in shapes.items():
        n_x, n_y = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c
        n_w = g.out_c * {"conv2d": fan_in(g), "depthwise_conv2d": g.kernel_h * g.kernel_w, "linear": n_x}[op]
        for label, (z_x, z_w, z_y, lower, m) in QUANTIZATIONS.items():
            title = f"{name}, {label}"
            x, w = rng.randint(0, 256, n_x).astype(np.uint8), rng.randint(0, 256, n_w).astype(np.uint8)
            bias_acc = rng.randint(-20000, 20000, g.out_c).astype(I32)
            constants, multiplier = np.array([z_x, z_w, z_y, lower], I32), np.array([m], F32)
            y, extremes = forward_u8(op, g, z_x, z_w, z_y, lower, m, x, w, bias_acc)
            yield Case(f"{op}_forward_u8", title, [array(g), constants, multiplier, x, w, bias_acc], [y, extremes])
            e = errors(rng, n_y, 0.6)
            masked = int(label == "relu")
            dx, largest = backward_input_u8(op, g, z_w, z_x, masked, m, e, w, x)
            arrays = [array(g), np.array([z_w, z_x, masked], I32), multiplier, e, w, x]
            yield Case(f"{op}_backward_input_u8", title, arrays, [dx, largest])
            before = rng.randint(-1000, 1000, n_w).astype(I32), rng.randint(-1000, 1000, g.out_c).astype(I32)
            bits = 8 * (label == "middle") + 3 * (label == "relu")
            after = backward_weight_u8(op, g, z_x, bits, e, x, *before)
            yield Case(f"{op}_backward_weight_u8", title, [array(g), np.array([z_x, bits], I32), e, x, *before], list(after))
        zero = np.zeros(n_y, np.int8)
        dx, largest = backward_input_u8(op, g, 120, 0, 0, 1e-3, zero, w, x)
        arrays = [array(g), np.array([120, 0, 0], I32), np.array([1e-3], F32), zero, w, x]
        yield Case(f"{op}_backward_input_u8", f"{name}, empty sparse mask", arrays, [dx, largest])
        for flag in (0, 1):
            title = f"{name}, relu {flag}"
            x_f, w_f, b_f = floats(rng, n_x, 0.8), floats(rng, n_w), floats(rng, g.out_c)
            e_f = floats(rng, n_y, 0.6)
            flags = np.array([flag], I32)
            yield Case(f"{op}_forward_f32", title, [array(g), flags, x_f, w_f, b_f], [forward_f32(op, g, flag, x_f, w_f, b_f)])
            dx_f = backward_input_f32(op, g, flag, e_f, w_f, x_f)
            yield Case(f"{op}_backward_input_f32", title, [array(g), flags, e_f, w_f, x_f], [dx_f])
            before_f = np.abs(floats(rng, n_w)), np.abs(floats(rng, g.out_c))
            after_f = backward_weight_f32(op, g, e_f, x_f, *before_f)
            yield Case(f"{op}_backward_weight_f32", title, [array(g), e_f, x_f, *before_f], list(after_f))


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


def pool_cases(rng) -> Iterator[Case]:
    """Max pooling, ties and overlaps included."""
    for name, shape in POOLS.items():
        g = pool_geometry(shape)
        outer, inner = (g.out_h, g.out_w, g.out_c), (g.in_h, g.in_w, g.in_c)
        for top in (256, 4):  # few values: many ties
            title = f"{name}, {top} values"
            x, y = rng.randint(0, top, inner).astype(np.uint8), np.zeros(outer, np.uint8)
            max_pool2d.max_pool2d_forward(g, x, y)
            yield Case("max_pool2d_forward_u8", title, [array(g), x], [y])
            e, dx, masked = errors(rng, outer, 0.8), np.zeros(inner, np.int8), int(top == 4)
            max_pool2d.max_pool2d_backward_u8(g, 1, bool(masked), x, e, dx, np.zeros(inner, I32))
            yield Case("max_pool2d_backward_u8", title, [array(g), np.array([1, masked], I32), x, e], [dx])
            x_f, y_f, dx_f = (rng.randint(-top, top, inner) / 4).astype(F32), np.zeros(outer, F32), np.zeros(inner, F32)
            max_pool2d.max_pool2d_forward(g, x_f, y_f)
            yield Case("max_pool2d_forward_f32", title, [array(g), x_f], [y_f])
            e_f = floats(rng, outer, 0.8)
            max_pool2d.max_pool2d_backward_f32(g, bool(masked), x_f, e_f, dx_f)
            yield Case("max_pool2d_backward_f32", title, [array(g), np.array([masked], I32), x_f, e_f], [dx_f])


def border_cases(rng) -> Iterator[Case]:
    """Dequantize in both directions."""
    for n, zero, scale, masked in ((1, 0, 1 / 255, 0), (50, 0, 0.02, 1), (50, 255, 3.0, 0), (50, 77, 1e-6, 1)):
        x, y, title = rng.randint(0, 256, n).astype(np.uint8), np.zeros(n, F32), f"{n} elements, zero {zero}"
        dequantize.dequantize_forward(zero, F32(scale), x, y)
        yield Case("dequantize_forward", title, [np.array([zero], I32), np.array([scale], F32), x], [y])
        e, dx = floats(rng, n), np.zeros(n, np.int8)
        largest = dequantize.dequantize_backward(zero, bool(masked), F32(0.01), e, x, dx)
        yield Case(
            "dequantize_backward", title, [np.array([zero, masked], I32), np.array([0.01], F32), e, x], [dx, np.array([largest], F32)]
        )


def softmax_cases(rng) -> Iterator[Case]:
    """Softmax cross-entropy: one class, equal logits, certain and impossible labels."""
    shapes = (1, 0.1, 256), (10, 0.05, 256), (10, 5.0, 256), (10, 1e-6, 256), (102, 0.02, 256), (512, 0.5, 2), (10, 200.0, 256)
    for n, scale, top in shapes:
        logits = rng.randint(0, top, n).astype(np.uint8)
        for label in {0, n - 1, int(logits.argmax()), int(logits.argmin())}:
            e = np.zeros(n, np.int8)
            result = softmax_cross_entropy.softmax_cross_entropy_u8(F32(scale), logits, label, e, np.zeros(n, np.int64))
            arrays = [np.array([label], I32), np.array([scale], F32), logits]
            yield Case("softmax_u8", f"{n} classes, scale {scale}, label {label}", arrays, [e, np.array(result, U32)])
            logits_f, e_f = (logits.astype(F32) * F32(scale) - F32(3)), np.zeros(n, F32)
            result = softmax_cross_entropy.softmax_cross_entropy_f32(logits_f, label, e_f, np.zeros(n, np.int64))
            title = f"{n} classes, scale {scale}, label {label}"
            yield Case("softmax_f32", title, [np.array([label], I32), logits_f], [e_f, np.array(result, U32)])


def sparse_cases(rng) -> Iterator[Case]:
    """Selection with ties, all-zero errors, one channel, all channels but one."""
    for positions, channels, k, density in ((1, 1, 1, 1), (4, 8, 3, 0.5), (9, 8, 1, 1), (9, 8, 7, 1), (5, 6, 2, 0), (1, 16, 4, 0.3)):
        title = f"{k} of {channels}, {positions} positions, density {density}"
        chosen = rng.randint(0, 5, channels).astype(I32)
        shape = np.array([positions, channels, k], I32)
        for suffix, before in (("u8", errors(rng, (positions, channels), density)), ("f32", floats(rng, (positions, channels), density))):
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
    for step, (name, (out, n, scale, lr, top, spread)) in enumerate(plans.items()):
        w = rng.randint(128 - (1 << spread) // 2, 128 + (1 << spread) // 2, (out, n)).astype(np.uint8)
        bits = (8, 3, 1, 0)[step % 4]
        gradient = rng.randint(-top + 1, top, (out, n)).astype(I32)
        chosen = rng.randint(0, 49, out).astype(I32)
        after, residual = w.copy(), gradient.copy()
        key = random_key(7, step, 2)
        moved = np.zeros((out, n), np.int64)
        new = standardized_sgd.update_weights_u8(F32(scale), 128, F32(lr), 48, key, bits, after, residual, chosen, moved)
        numbers = np.array([out, n, 128, 48, bits], I32)
        inputs = [numbers, np.array([7, step, 2], U32), np.array([scale, lr], F32), w, gradient, chosen]
        yield Case("update_weights_u8", name, inputs, [after, np.array([new[0]], F32), np.array([new[1]], I32), residual])
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
    for relu, unit, lo, hi, acc_min, acc_max in (
        (0, 1e-4, -1.0, 2.0, -30000, 40000),
        (1, 1e-4, 0.0, 2.0, -30000, 40000),
        (0, 1e-4, -1.0, 2.0, 100, 200),
        (0, 1e-4, 0.0, 0.0, 0, 0),
        (1, 1e-12, 0.0, 1e-13, 0, 5),
        (0, 0.5, -7.0, 3.0, -(2**31) + 1, 2**31 - 1),
    ):
        scale, zero = F32((hi - lo) / 255 if hi > lo else 0.25), 5
        result = update_range(bool(relu), F32(unit), F32(lo), F32(hi), scale, zero, I32(acc_min), I32(acc_max))
        inputs = [np.array([relu], I32), np.array([unit, lo, hi, scale], F32), np.array([zero, acc_min, acc_max], I32)]
        yield Case("update_range", f"relu {relu}, {acc_min}..{acc_max}", inputs, [np.array(result[:3], F32), np.array([result[3]], I32)])


def operator_files() -> dict[str, list[Case]]:
    """Golden cases by file name, from fixed seeds."""

    def rng(seed):
        return np.random.RandomState(seed)  # its stream is frozen in all versions of NumPy

    return {
        "arithmetic": list(arithmetic_cases(rng(1))),
        "conv2d": list(weighted_cases("conv2d", rng(2))),
        "linear": list(weighted_cases("linear", rng(3))),
        "max_pool2d": list(pool_cases(rng(4))),
        "dequantize": list(border_cases(rng(5))),
        "softmax_cross_entropy": list(softmax_cases(rng(6))),
        "sparse_update": list(sparse_cases(rng(7))),
        "standardized_sgd": list(update_cases(rng(8))),
        "ranges": list(range_cases(rng(9))),
        "depthwise_conv2d": list(weighted_cases("depthwise_conv2d", rng(10))),
    }
