# SPDX-License-Identifier: Apache-2.0
"""Golden cases of convolutions and linear layers: every pass, ordinary shapes and edges, one weight grid and one a channel."""

from collections.abc import Callable, Iterator

import numpy as np

from fqt_ref.arithmetic import error_requantizer, requantizer
from fqt_ref.golden.format import Case
from fqt_ref.golden.values import errors, floats, ints, new_extremes, octets, reals, window_geometry
from fqt_ref.kernels import conv2d, depthwise_conv2d, linear
from fqt_ref.network import Geometry

I32, F32 = np.int32, np.float32

# in_h, in_w, in_c, out_c, kernel, stride, padding (top, bottom, left, right), dilation
CONVOLUTIONS: dict[str, tuple] = {
    "one element": (1, 1, 1, 1, (1, 1)),
    "pointwise": (3, 5, 4, 5, (1, 1)),
    "3x3 valid": (5, 6, 2, 3, (3, 3)),
    "3x3 same": (4, 4, 3, 2, (3, 3), (1, 1), (1, 1, 1, 1)),
    "stride 2 even": (6, 6, 2, 2, (3, 3), (2, 2), (0, 1, 0, 1)),
    "stride beyond kernel": (7, 7, 1, 2, (2, 2), (4, 3)),
    "1xN signal": (1, 12, 2, 3, (1, 5), (1, 2), (0, 0, 2, 2)),
    "kernel is input": (3, 3, 2, 2, (3, 3)),
    "uneven padding": (4, 4, 1, 5, (3, 2), (2, 1), (2, 0, 0, 1)),
    "dilation 2": (7, 6, 2, 3, (3, 2), (1, 2), (2, 1, 0, 1), (2, 2)),
    "dilation 3, 1xN": (1, 13, 3, 2, (1, 3), (1, 2), (0, 0, 4, 5), (1, 3)),
}
DEPTHWISE: dict[str, tuple] = {
    "one element": (1, 1, 1, 1, (1, 1)),
    "3x3 same": (4, 4, 5, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    "5x5 same": (6, 5, 3, 3, (5, 5), (1, 1), (2, 2, 2, 2)),
    "stride 2 even": (6, 6, 4, 4, (3, 3), (2, 2), (0, 1, 0, 1)),
    "stride beyond kernel": (7, 7, 2, 2, (2, 2), (4, 3)),
    "1xN signal": (1, 12, 6, 6, (1, 5), (1, 2), (0, 0, 2, 2)),
    "kernel is input": (3, 3, 17, 17, (3, 3)),
    "uneven padding": (4, 4, 1, 1, (3, 2), (2, 1), (2, 0, 0, 1)),
    "dilation 2": (7, 6, 3, 3, (3, 2), (1, 2), (2, 1, 0, 1), (2, 2)),
}
LINEARS: dict[str, tuple] = {"one element": (1, 1), "one output": (33, 1), "one input": (1, 7), "odd": (17, 5), "even": (24, 4)}
# z_x, z_w, z_y, lower, upper, m, grid for each channel; value ranges: the middle, both ends, saturation above and below.
QUANTIZATIONS = {
    "middle": (128, 120, 100, 0, 255, 2e-3, False),
    "zero points 0": (0, 0, 0, 0, 255, 4e-4, False),
    "zero points 255": (255, 255, 255, 0, 255, 4e-4, False),
    "relu": (3, 131, 0, 0, 255, 1e-3, False),
    "saturating": (7, 250, 10, 10, 255, 0.7, False),
    "tiny multiplier": (100, 100, 37, 0, 255, 3e-10, False),
    "huge multiplier": (100, 100, 37, 0, 255, 3e4, False),
    "relu6, grids": (3, 131, 0, 0, 190, 1e-3, True),
    "grids": (77, 120, 99, 0, 255, 2e-3, True),
}
# The ends of the number ranges need no further shapes: golden files have to fit the flash of small machines.
EVERY_QUANTIZATION = ("one element", "3x3 same", "odd")


def linear_geometry(fan_in: int, outputs: int) -> Geometry:
    """Geometry of an entry of LINEARS."""
    return Geometry(1, 1, fan_in, 1, 1, outputs, 1, 1, 1, 1, 0, 0)


def centred_weights(g: Geometry, w, zeros) -> np.ndarray:
    """w - z_w as int32[out, fan_in]."""
    return w.astype(I32).reshape(g.out_c, -1) - zeros.reshape(-1, 1)


def columns_of(g: Geometry, x, zero) -> np.ndarray:
    """im2col of a flat input."""
    shape, padded = (g.kernel_h * g.kernel_w * g.in_c, g.out_h * g.out_w), np.zeros(x.size + 1, F32)
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


def forward_u8(op: str, g: Geometry, constants, zeros, m, x, w, bias_acc):
    """Quantized layer from plain arrays. constants: (z_x, z_y, lower, upper). Returns (y, extremes)."""
    z_x, z_y, lower, upper = (int(v) for v in constants)
    y, extremes = np.zeros(g.out_h * g.out_w * g.out_c, np.uint8), new_extremes(len(m))
    centred, acc, rows = centred_weights(g, w, zeros), np.zeros(y.size, I32), np.array([requantizer(one) for one in m], np.int64)
    weights_t = np.ascontiguousarray(centred.T)
    if op == "conv2d":
        columns = columns_of(g, x, I32(z_x))
        conv2d.conv2d_forward_u8(rows, z_y, lower, upper, columns, centred, weights_t.astype(F32), bias_acc, y, acc, extremes)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(z_x), I32)
        depthwise_conv2d.depthwise_conv2d_forward_u8(rows, z_y, lower, upper, taps, pixels, weights_t, bias_acc, y, acc, extremes)
    else:
        linear.linear_forward_u8(rows, z_y, lower, upper, x.astype(I32) - I32(z_x), weights_t, bias_acc, y, acc, extremes)
    return y, extremes


def backward_input_u8(op: str, g: Geometry, constants, zeros, factors, m, e, w, x, before):
    """Error to the input from plain arrays. constants: (lowest, highest, accumulate). Returns (dx, largest)."""
    lowest, highest, adds = (int(v) for v in constants)
    dx, sums, wide = before.copy(), np.zeros(x.size, I32), e.astype(I32).reshape(-1, g.out_c) * factors
    centred, passing, requantize = centred_weights(g, w, zeros), (lowest, highest), error_requantizer(m[0])
    weights_t = np.ascontiguousarray(centred.T)
    if op == "conv2d":
        largest = conv2d.conv2d_backward_input_u8(g, requantize, passing, adds == 1, wide, centred, weights_t.astype(F32), x, dx, sums)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(0), I32)
        function = depthwise_conv2d.depthwise_conv2d_backward_input_u8
        largest = function(requantize, passing, adds == 1, taps, wide, weights_t, x, dx, pixels.reshape(-1))
    else:
        largest = linear.linear_backward_input_u8(requantize, passing, adds == 1, wide.reshape(-1), centred, x, dx, sums)
    return dx, ints(largest)


def backward_weight_u8(op: str, g: Geometry, z_x, bits, e, x, gradient, bias_gradient):
    """Weight gradient added to the given sums. Returns (G, G_b)."""
    gradient, bias_gradient = gradient.copy().reshape(g.out_c, -1), bias_gradient.copy()
    wide = e.astype(I32).reshape(-1, g.out_c)
    if op == "conv2d":
        conv2d.conv2d_backward_weight_u8(bits, columns_of(g, x, I32(z_x)), wide, gradient, bias_gradient)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, I32(z_x), I32)
        depthwise_conv2d.depthwise_conv2d_backward_weight_u8(bits, taps, pixels, wide, gradient, bias_gradient)
    else:
        linear.linear_backward_weight_u8(bits, wide.reshape(-1), x.astype(I32) - I32(z_x), gradient, bias_gradient)
    return gradient, bias_gradient


def forward_f32(op: str, g: Geometry, act, x, w, b):
    """Float32 layer from plain arrays."""
    y, weights = np.zeros(g.out_h * g.out_w * g.out_c, F32), w.reshape(g.out_c, -1)
    if op == "conv2d":
        columns = columns_of(g, x, F32(0))
        conv2d.conv2d_forward_f32(act, columns, weights, b, y.reshape(-1, g.out_c), np.zeros(columns.shape[1], F32))
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        depthwise_conv2d.depthwise_conv2d_forward_f32(act, taps, pixels, np.ascontiguousarray(weights.T), b, y)
    else:
        linear.linear_forward_f32(act, x, np.ascontiguousarray(weights.T), b, y)
    return y


def backward_input_f32(op: str, g: Geometry, act, adds, e, w, x, before):
    """Float32 error to the input from plain arrays."""
    dx, weights, sums, error = before.copy(), w.reshape(g.out_c, -1), np.zeros(x.size, F32), e.reshape(-1, g.out_c)
    if op == "conv2d":
        conv2d.conv2d_backward_input_f32(g, act, adds == 1, error, weights, x, dx, sums)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        function = depthwise_conv2d.depthwise_conv2d_backward_input_f32
        function(act, adds == 1, taps, error, np.ascontiguousarray(weights.T), x, dx, pixels.reshape(-1))
    else:
        linear.linear_backward_input_f32(act, adds == 1, e, weights, x, dx, sums)
    return dx


def backward_weight_f32(op: str, g: Geometry, e, x, gradient, bias_gradient):
    """Float32 weight gradient added to the given sums."""
    gradient, bias_gradient = gradient.copy().reshape(g.out_c, -1), bias_gradient.copy()
    if op == "conv2d":
        columns, patch = columns_of(g, x, F32(0)), np.zeros(gradient.shape[1], F32)
        conv2d.conv2d_backward_weight_f32(columns, e.reshape(-1, g.out_c), gradient, bias_gradient, patch)
    elif op == "depthwise_conv2d":
        taps, pixels = pixels_of(g, x, F32(0), F32)
        depthwise_conv2d.depthwise_conv2d_backward_weight_f32(taps, pixels, e.reshape(-1, g.out_c), gradient, bias_gradient)
    else:
        linear.linear_backward_weight_f32(e, x, gradient, bias_gradient)
    return gradient, bias_gradient


def quantized_cases(op: str, g: Geometry, name: str, n_w: int, rng) -> Iterator[Case]:
    """The uint8 passes of one shape."""
    n_x, n_y, numbers = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c, np.array(g, I32)
    labels = QUANTIZATIONS if name in EVERY_QUANTIZATION else ("middle", "relu", "relu6, grids", "grids")
    for label in labels:
        z_x, z_w, z_y, lower, upper, m, grids = QUANTIZATIONS[label]
        title = f"{name}, {label}"
        x, w, bias_acc = octets(rng, n_x), octets(rng, n_w), rng.randint(-20000, 20000, g.out_c).astype(I32)
        zeros = np.full(1, z_w, I32) if not grids else rng.randint(0, 256, g.out_c).astype(I32)
        multipliers = reals(m) if not grids else (F32(m) * (rng.random_sample(g.out_c) + 0.1)).astype(F32)
        constants = ints(z_x, z_y, lower, upper)
        results = forward_u8(op, g, constants, zeros, multipliers, x, w, bias_acc)
        yield Case(f"{op}_forward_u8", title, [numbers, constants, zeros, multipliers, x, w, bias_acc], list(results))
        e, before = errors(rng, n_y, 0.6), errors(rng, n_x)
        factors = ints(1) if not grids else rng.randint(0, 257, g.out_c).astype(I32)
        relu, adds = label.startswith("relu"), int(label in ("saturating", "grids"))
        passing = ints(z_x if relu else -1, 200 if label.startswith("relu6") else 1000, adds)
        scale = reals(m / 256 if grids else m)
        found = backward_input_u8(op, g, passing, zeros, factors, scale, e, w, x, before)
        yield Case(f"{op}_backward_input_u8", title, [numbers, passing, zeros, factors, scale, e, w, x, before], list(found))
        sums = rng.randint(-1000, 1000, n_w).astype(I32), rng.randint(-1000, 1000, g.out_c).astype(I32)
        bits = 8 * (label == "middle") + 3 * (label == "relu")
        after = backward_weight_u8(op, g, z_x, bits, e, x, *sums)
        yield Case(f"{op}_backward_weight_u8", title, [numbers, ints(z_x, bits), e, x, *sums], list(after))
    zero, passing, zeros, scale = np.zeros(n_y, np.int8), ints(-1, 1000, 0), ints(120), reals(1e-3)
    found = backward_input_u8(op, g, passing, zeros, ints(1), scale, zero, w, x, before)
    arrays = [numbers, passing, zeros, ints(1), scale, zero, w, x, before]
    yield Case(f"{op}_backward_input_u8", f"{name}, empty sparse mask", arrays, list(found))


def float_cases(op: str, g: Geometry, name: str, n_w: int, rng) -> Iterator[Case]:
    """The float32 passes of one shape."""
    n_x, n_y, numbers = g.in_h * g.in_w * g.in_c, g.out_h * g.out_w * g.out_c, np.array(g, I32)
    for act, adds in ((0, 0), (1, 0), (2, 1)):
        title = f"{name}, act {act}"
        x, w, b = floats(rng, n_x, 0.8) * F32(3), floats(rng, n_w), floats(rng, g.out_c)
        e, before = floats(rng, n_y, 0.6), floats(rng, n_x)
        yield Case(f"{op}_forward_f32", title, [numbers, ints(act), x, w, b], [forward_f32(op, g, act, x, w, b)])
        arrays = [numbers, ints(act, adds), e, w, x, before]
        yield Case(f"{op}_backward_input_f32", title, arrays, [backward_input_f32(op, g, act, adds, e, w, x, before)])
        sums = np.abs(floats(rng, n_w)), np.abs(floats(rng, g.out_c))
        yield Case(f"{op}_backward_weight_f32", title, [numbers, e, x, *sums], list(backward_weight_f32(op, g, e, x, *sums)))


def weighted_cases(op: str, rng) -> Iterator[Case]:
    """All passes of a convolution or a linear layer."""
    tables: dict[str, dict] = {"conv2d": CONVOLUTIONS, "depthwise_conv2d": DEPTHWISE, "linear": LINEARS}
    make: Callable = linear_geometry if op == "linear" else window_geometry
    for name, shape in tables[op].items():
        g = make(*shape)
        fan_in = g.kernel_h * g.kernel_w * (1 if op == "depthwise_conv2d" else g.in_c)
        yield from quantized_cases(op, g, name, g.out_c * fan_in, rng)
        yield from float_cases(op, g, name, g.out_c * fan_in, rng)
