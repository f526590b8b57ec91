# SPDX-License-Identifier: Apache-2.0
"""Slow, obvious twins of every operator, of the update and of a whole training run, straight from SPEC.md and independent of `fqt_ref`.

Tensors are flat lists in memory order; integers are Python's, float32 values are numpy.float32 scalars, one operation at a time. Both the
Numba engine and the C library are tested against this file. Function names are the kinds of SPEC.md section 12.
"""

import copy
import math
import struct
import zlib
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from types import SimpleNamespace

import numpy as np

f32 = np.float32
ZERO, ONE = f32(0), f32(1)
np.seterr(over="ignore", under="ignore", invalid="ignore", divide="ignore")

NEAREST = 0x80000000
MASK = 0xFFFFFFFF
U8, F32 = 1, 2
CONV2D, LINEAR, MAX_POOL2D, DEQUANTIZE, DEPTHWISE_CONV2D, AVG_POOL2D, ADD, HARD_SWISH = range(1, 9)
RELU, ADAPTIVE, TRAINABLE, RELU6 = 1, 2, 2, 4
NO_ACT, ACT_RELU, ACT_RELU6 = 0, 1, 2
FEATURE, ERROR = "feature", "error"
NOWHERE = 0xFFFFFFFF


def clamp(x, lo, hi):
    return min(max(x, lo), hi)


def fround(x):
    """floor(x + 0.5f) of a float32, as an integer; an infinity stays one."""
    y = f32(x) + f32(0.5)
    return math.floor(y) if math.isfinite(y) else y


def fields(m):
    """Exponent field and 24-bit significand of a float32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", f32(m)))
    return (bits >> 23) & 255, (bits & 0x7FFFFF) | 0x800000


# ---- 2. Requantization ----


def requantizer(m):
    exponent, m24 = fields(m)
    mantissa = (m24 + 256) >> 9
    if mantissa == 32768:
        mantissa, exponent = 16384, exponent + 1
    t = 141 - exponent
    if exponent == 0 or t > 50:
        return 0, 0, 1
    if t < 1:
        return 32767, 0, 1
    pre = max(0, t - 21)
    return mantissa, pre, t - pre


def requantize(a, m):
    mantissa, pre, post = requantizer(m)
    half = 1 << (pre - 1) if pre else 0
    assert abs(a + half) < 2**31
    return (clamp((a + half) >> pre, -32768, 32767) * mantissa + (1 << (post - 1))) >> post


def requantize_random(a, m, r):
    mantissa, pre, post = requantizer(m)
    half = 1 << (pre - 1) if pre else 0
    return (clamp((a + half) >> pre, -32768, 32767) * mantissa + (r >> (32 - post))) >> post


def rescale(a, m, r):
    exponent, m24 = fields(m)
    sh = 150 - exponent
    if exponent == 0 or sh > 62:
        return 0
    sh = max(sh, 1)
    align = r >> (32 - sh) if sh <= 32 else r << (sh - 32)
    assert abs(a) < 2**38
    return clamp((a * m24 + align) >> sh, -(2**30), 2**30)


# ---- 3. Random numbers ----


def mix(h):
    h ^= h >> 16
    h = h * 0x85EBCA6B & MASK
    h ^= h >> 13
    h = h * 0xC2B2AE35 & MASK
    return h ^ (h >> 16)


def key(seed, step, stream):
    return mix((mix((mix((seed + 0x9E3779B9) & MASK) + step) & MASK) + stream) & MASK)


def word(k, i):
    return mix((k + i * 0x9E3779B9) & MASK)


def sample_order(seed, epoch, n):
    k, p = key(seed, epoch, 0x20000), list(range(n))
    for i in range(n - 1, 0, -1):
        j = (word(k, i) * (i + 1)) >> 32
        p[i], p[j] = p[j], p[i]
    return p


def initial_weights(seed, layer, fan_in, count):
    k, bound = key(seed, 0, 0x10000 + layer), np.sqrt(f32(6) / f32(fan_in))
    return [(f32(word(k, i) >> 8) * f32(2.0**-23) - f32(1)) * bound for i in range(count)]


# ---- 4. Operators ----


def geometry(in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h=1, dilation_w=1):
    return SimpleNamespace(**locals(), depthwise=False)


def as_linear(g):
    """Of a linear layer's geometry only in_c (fan-in) and out_c count."""
    return geometry(1, 1, g.in_c, 1, 1, g.out_c, 1, 1, 1, 1, 0, 0)


def as_depthwise(g):
    """The same work with one kernel a channel."""
    return SimpleNamespace(**{**vars(g), "depthwise": True})


def taps(g, oy, ox):
    """(ky, kx, iy, ix) of the taps of output (oy, ox) inside the input, in raster order."""
    for ky in range(g.kernel_h):
        for kx in range(g.kernel_w):
            iy, ix = oy * g.stride_h + ky * g.dilation_h - g.pad_top, ox * g.stride_w + kx * g.dilation_w - g.pad_left
            if 0 <= iy < g.in_h and 0 <= ix < g.in_w:
                yield ky, kx, iy, ix


def products(g):
    """(y index, x index, w index) of every product, positions in raster order, then co, ky, kx, ci."""
    for oy in range(g.out_h):
        for ox in range(g.out_w):
            for co in range(g.out_c):
                for ky, kx, iy, ix in taps(g, oy, ox):
                    kernel = (co * g.kernel_h + ky) * g.kernel_w + kx
                    for ci in [co] if g.depthwise else range(g.in_c):
                        w = kernel if g.depthwise else kernel * g.in_c + ci
                        yield (oy * g.out_w + ox) * g.out_c + co, (iy * g.in_w + ix) * g.in_c + ci, w


def each_channel(values, channels):
    """Values of the weight grids, one for each output channel."""
    return list(values) * channels if len(values) == 1 else list(values)


def act_of(flags):
    """Activation of a tensor's or layer's flags: 0 (none), 1 (ReLU) or 2 (ReLU6)."""
    return ACT_RELU6 if flags & RELU6 else ACT_RELU if flags & RELU else NO_ACT


def activate(act, v):
    """act(v) of float32 layers."""
    if act == NO_ACT:
        return v
    if not v > 0:
        return f32(0)
    return v if act == ACT_RELU or v < 6 else f32(6)


def highest_of(scale, zero):
    """The byte at which a ReLU6 saturates; may lie beyond 255."""
    return zero + clamp(fround(f32(6) / f32(scale)), 0, 1000)


def output_limits(act, scale, zero):
    """(lower, upper) of a quantized output."""
    return 0 if act == NO_ACT else zero, min(255, highest_of(scale, zero)) if act == ACT_RELU6 else 255


def passing_limits(act, scale, zero):
    """(lowest, highest) of a quantized tensor: errors pass strictly between them."""
    return -1 if act == NO_ACT else zero, highest_of(scale, zero) if act == ACT_RELU6 else 1000


def send_u8(sums, lowest, highest, accumulate, m, x, before, k=None):
    """The end of section 4.3: (dx, largest |sum| or |total| of those that pass). k: None, or the key of section 16.2."""
    dx, largest = [], 0
    for i, s in enumerate(sums):
        r = requantize(s, m) if k is None else requantize_random(s, m, word(k, i))
        total = r + before[i] if accumulate else r
        if lowest < x[i] < highest:
            dx.append(clamp(total, -127, 127))
            largest = max(largest, abs(total) if accumulate else abs(s))
        else:
            dx.append(0)
    return dx, largest


def passes_f32(act, v):
    return act == NO_ACT or (v > 0 and (act == ACT_RELU or v < 6))


def send_f32(sums, act, accumulate, x, before):
    dx = []
    for i, s in enumerate(sums):
        if not passes_f32(act, x[i]):
            dx.append(f32(0))
        elif accumulate:
            dx.append(before[i] + s)
        else:
            dx.append(s)
    return dx


def error_bits(fan_out, grids):
    """f of section 4.3."""
    if grids == 1:
        return 0
    return max(f for f in range(9) if f == 0 or (32385 * fan_out) << f <= 2**31 - 1 - 2**28)


def error_factors(s_w, f):
    """K of section 4.3."""
    if len(s_w) == 1:
        return [1]
    return [clamp(fround((s / max(s_w)) * f32(1 << f)), 0, 1 << f) for s in s_w]


def conv2d_forward_u8(g, z_x, z_y, lower, upper, z_w, m, x, w, bias_acc):
    """Returns (y, [(least acc, greatest acc) of each grid])."""
    acc = list(bias_acc) * (g.out_h * g.out_w)
    zeros, multipliers = each_channel(z_w, g.out_c), each_channel(m, g.out_c)
    for i, j, k in products(g):
        acc[i] += (x[j] - z_x) * (w[k] - zeros[i % g.out_c])
    y = [clamp(requantize(a, multipliers[i % g.out_c]) + z_y, lower, upper) for i, a in enumerate(acc)]
    if len(z_w) == 1:
        return y, [(min(acc), max(acc))]
    return y, [(min(acc[co :: g.out_c]), max(acc[co :: g.out_c])) for co in range(g.out_c)]


def conv2d_backward_input_u8(g, lowest, highest, accumulate, z_w, K, m, e, w, x, before, key_of_words=None):
    """Returns (dx, largest |sum| or |total|)."""
    sums = [0] * (g.in_h * g.in_w * g.in_c)
    zeros, factors = each_channel(z_w, g.out_c), each_channel(K, g.out_c)
    for i, j, k in products(g):
        sums[j] += e[i] * factors[i % g.out_c] * (w[k] - zeros[i % g.out_c])
    return send_u8(sums, lowest, highest, accumulate, m, x, before, key_of_words)


def conv2d_backward_weight_u8(g, z_x, k, e, x, G, G_b):
    """Returns (G, G_b). k: fraction bits."""
    G, G_b = list(G), list(G_b)
    for i, j, n in products(g):
        G[n] += 2**k * e[i] * (x[j] - z_x)
    for i, error in enumerate(e):
        G_b[i % g.out_c] += error
    return G, G_b


def conv2d_forward_f32(g, act, x, w, b):
    acc = [f32(v) for v in b] * (g.out_h * g.out_w)
    for i, j, k in products(g):
        acc[i] = acc[i] + x[j] * w[k]
    return [activate(act, a) for a in acc]


def conv2d_backward_input_f32(g, act, accumulate, e, w, x, before):
    sums = [f32(0)] * (g.in_h * g.in_w * g.in_c)
    for i, j, k in products(g):
        if e[i] != 0:
            sums[j] = sums[j] + e[i] * w[k]
    return send_f32(sums, act, accumulate, x, before)


def conv2d_backward_weight_f32(g, e, x, G, G_b):
    G, G_b = list(G), list(G_b)
    for i, j, k in products(g):
        if e[i] != 0:
            G[k] = G[k] + e[i] * x[j]
    for i, error in enumerate(e):
        if error != 0:
            G_b[i % g.out_c] = G_b[i % g.out_c] + error
    return G, G_b


def depthwise_conv2d_forward_u8(g, *args):
    return conv2d_forward_u8(as_depthwise(g), *args)


def depthwise_conv2d_backward_input_u8(g, *args):
    return conv2d_backward_input_u8(as_depthwise(g), *args)


def depthwise_conv2d_backward_weight_u8(g, *args):
    return conv2d_backward_weight_u8(as_depthwise(g), *args)


def depthwise_conv2d_forward_f32(g, *args):
    return conv2d_forward_f32(as_depthwise(g), *args)


def depthwise_conv2d_backward_input_f32(g, *args):
    return conv2d_backward_input_f32(as_depthwise(g), *args)


def depthwise_conv2d_backward_weight_f32(g, *args):
    return conv2d_backward_weight_f32(as_depthwise(g), *args)


def linear_forward_u8(g, *args):
    return conv2d_forward_u8(as_linear(g), *args)


def linear_backward_input_u8(g, *args):
    return conv2d_backward_input_u8(as_linear(g), *args)


def linear_backward_weight_u8(g, *args):
    return conv2d_backward_weight_u8(as_linear(g), *args)


def linear_forward_f32(g, *args):
    return conv2d_forward_f32(as_linear(g), *args)


def linear_backward_input_f32(g, *args):
    return conv2d_backward_input_f32(as_linear(g), *args)


def linear_backward_weight_f32(g, *args):
    return conv2d_backward_weight_f32(as_linear(g), *args)


def windows(g):
    """(y index, x indices of its window in raster order) of pooling."""
    for oy in range(g.out_h):
        for ox in range(g.out_w):
            for c in range(g.out_c):
                yield (
                    (oy * g.out_w + ox) * g.out_c + c,
                    [(iy * g.in_w + ix) * g.in_c + c for _, _, iy, ix in taps(g, oy, ox)],
                )


def max_pool2d_forward_u8(g, x):
    return [max(x[j] for j in window) for _, window in windows(g)]


def max_pool2d_forward_f32(g, x):
    return [x[first_maximum(x, window)] for _, window in windows(g)]


def first_maximum(x, window):
    """Index of the first largest value of a window."""
    best = window[0]
    for j in window[1:]:
        if x[j] > x[best]:
            best = j
    return best


def route_error(g, x, e, zero):
    dx = [zero] * len(x)
    for i, window in windows(g):
        j = first_maximum(x, window)
        dx[j] = dx[j] + e[i]
    return dx


def max_pool2d_backward_u8(g, lowest, highest, x, e):
    return [clamp(d, -127, 127) if lowest < v < highest else 0 for d, v in zip(route_error(g, x, e, 0), x, strict=True)]


def max_pool2d_backward_f32(g, act, x, e):
    return [d if passes_f32(act, v) else f32(0) for d, v in zip(route_error(g, x, e, f32(0)), x, strict=True)]


def avg_pool2d_forward_u8(g, z_x, z_y, m, x):
    """Returns (y, least acc, greatest acc)."""
    acc = [sum(x[j] - z_x for j in window) for _, window in windows(g)]
    return [clamp(requantize(a, m) + z_y, 0, 255) for a in acc], min(acc), max(acc)


def avg_pool2d_backward_u8(g, lowest, highest, accumulate, m, e, x, before, k=None):
    """Returns (dx, largest |sum| or |total|)."""
    sums = [0] * (g.in_h * g.in_w * g.in_c)
    for i, window in windows(g):
        for j in window:
            sums[j] += e[i]
    return send_u8(sums, lowest, highest, accumulate, m, x, before, k)


def avg_pool2d_forward_f32(g, x):
    y = []
    for _, window in windows(g):
        total = f32(0)
        for j in window:
            total = total + x[j]
        y.append(total / f32(g.kernel_h * g.kernel_w))
    return y


def avg_pool2d_backward_f32(g, act, accumulate, e, x, before):
    sums = [f32(0)] * (g.in_h * g.in_w * g.in_c)
    for i, window in windows(g):
        for j in window:
            sums[j] = sums[j] + e[i] / f32(g.kernel_h * g.kernel_w)
    return send_f32(sums, act, accumulate, x, before)


def dequantize_forward(z, s, x):
    return [f32(v - z) * f32(s) for v in x]


def dequantize_backward(lowest, highest, s_e, e, x, k=None):
    """Returns (dx, largest |e| of those that pass)."""
    inverse = f32(1) / f32(s_e)
    dx, largest = [], f32(0)
    for i, (error, v) in enumerate(zip(e, x, strict=True)):
        if lowest < v < highest:
            largest = max(largest, abs(error))
            if k is None:
                dx.append(int(clamp(f32(fround(error * inverse)), f32(-127), f32(127))))
            else:
                u = f32(word(k, i) >> 16) / f32(65536)
                dx.append(math.floor(clamp(error * inverse, f32(-127), f32(127)) + u))
        else:
            dx.append(0)
    return dx, largest


def add_forward_u8(z_a, z_b, z_y, lower, upper, m_a, m_b, a, b):
    """Returns (y, least acc, greatest acc)."""
    acc = [requantize((p - z_a) << 7, m_a) + requantize((q - z_b) << 7, m_b) for p, q in zip(a, b, strict=True)]
    return [clamp(((v + 64) >> 7) + z_y, lower, upper) for v in acc], min(acc), max(acc)


def add_backward_u8(lowest, highest, accumulate, m, e, x, before, k=None):
    """Returns (dx, largest |sum| or |total|)."""
    return send_u8(e, lowest, highest, accumulate, m, x, before, k)


def add_forward_f32(act, a, b):
    return [activate(act, p + q) for p, q in zip(a, b, strict=True)]


def add_backward_f32(act, accumulate, e, x, before):
    return send_f32(e, act, accumulate, x, before)


def hard_swish_gate(v):
    """g: v + 3, clamped to 0..6."""
    return clamp(v + f32(3), f32(0), f32(6))


def hard_swish_forward_u8(z_x, z_y, s_x, s_y, x):
    """Returns (y, least acc, greatest acc)."""
    acc = []
    for byte in x:
        v = f32(byte - z_x) * f32(s_x)
        scaled = (((v * hard_swish_gate(v)) / f32(6)) / f32(s_y)) * f32(128)
        acc.append(fround(clamp(scaled, f32(-32768), f32(32767))))
    return [clamp(((a + 64) >> 7) + z_y, 0, 255) for a in acc], min(acc), max(acc)


def hard_swish_slope_u8(v):
    """D, in 128ths."""
    if v <= -3:
        return 0
    return 128 if v >= 3 else fround(((v + v + f32(3)) / f32(6)) * f32(128))


def hard_swish_backward_u8(z_x, lowest, highest, accumulate, s_x, m, e, x, before, k=None):
    """Returns (dx, largest |sum| or |total|)."""
    sums = [error * hard_swish_slope_u8(f32(byte - z_x) * f32(s_x)) for error, byte in zip(e, x, strict=True)]
    return send_u8(sums, lowest, highest, accumulate, m, x, before, k)


def hard_swish_forward_f32(x):
    return [(v * hard_swish_gate(v)) / f32(6) for v in x]


def hard_swish_slope_f32(v):
    """d."""
    if v <= -3:
        return f32(0)
    return f32(1) if v >= 3 else (v + v + f32(3)) / f32(6)


def hard_swish_backward_f32(act, accumulate, e, x, before):
    return send_f32([error * hard_swish_slope_f32(v) for error, v in zip(e, x, strict=True)], act, accumulate, x, before)


with localcontext() as context:
    context.prec = 60
    EXP2 = [int((Decimal(2) ** 30 * Decimal(2) ** (Decimal(-j) / 256)).to_integral_value()) for j in range(257)]


def exp2_negative(t):
    n, j, r = t >> 16, (t >> 8) & 255, t & 255
    return 0 if n + 8 >= 32 else (EXP2[j] - (((EXP2[j] - EXP2[j + 1]) * r) >> 8)) >> (n + 8)


def log2_q16(v):
    n = v.bit_length() - 1
    x, result = v << (31 - n), n
    for _ in range(16):
        x2 = (x * x) >> 31
        bit = x2 >> 32
        x = x2 >> bit
        result = 2 * result + bit
    return result


def loss_of(num, label):
    return ((log2_q16(sum(num)) - log2_q16(max(num[label], 1))) * 45426) >> 16


def softmax_u8(label, s_y, rounding, logits):
    """rounding: (1, key) stochastically, (0, anything) half up. Returns (e, loss, prediction)."""
    k = int(min(f32(fround(f32(s_y) * f32(94548.46))), f32(8388607)))
    num = [exp2_negative((max(logits) - q) * k) for q in logits]
    total = sum(num)
    r = [word(rounding[1], i) if rounding[0] else 0x80000000 for i in range(len(num))]
    e = [(v * 127 + ((r[i] // 2 * total) >> 31)) // total - (127 if i == label else 0) for i, v in enumerate(num)]
    return e, loss_of(num, label), logits.index(max(logits))


def softmax_f32(label, logits):
    t = [int(min(f32(fround((max(logits) - y) * f32(94548.46))), f32(1073741824))) for y in logits]
    num = [exp2_negative(v) for v in t]
    total = sum(num)
    e = [f32(v) / f32(total) - f32(1 if i == label else 0) for i, v in enumerate(num)]
    return e, loss_of(num, label), logits.index(max(logits))


# ---- 5. Dynamic sparse updates ----


def update_rate(loss, loss_max, lmin, lmax):
    eps = 0 if loss_max == 0 else (loss << 12) // loss_max
    return min(lmin + ((eps * (lmax - lmin)) >> 12), 4096)


def sparse_select(positions, channels, k, e, chosen):
    """u8 and f32 alike. Returns (e, chosen)."""
    norms = [type(e[0])(0)] * channels
    for i in range(positions * channels):
        norms[i % channels] = norms[i % channels] + abs(e[i])
    order = sorted(range(channels), key=lambda c: (-norms[c], c))
    kept = set(order[:k])
    zero = type(e[0])(0)
    return [v if i % channels in kept else zero for i, v in enumerate(e)], [n + (c in kept) for c, n in enumerate(chosen)]


# ---- 6. Update rule ----


def channel_rate(lr, chosen, batch):
    return f32(lr) * (f32(chosen) / f32(batch))


def grid_of_range(lo, hi, scale, zero):
    s = (hi - lo) / f32(255)
    if s >= f32(2.0**-40):
        return s, clamp(fround((f32(0) - lo) / s), 0, 255)
    return scale, zero


def fraction_bits(positions, batch):
    return max(k for k in range(9) if (127 * 255 * positions * batch + 1) * 2**k <= 2**31 - 1 or k == 0)


def update_weights_u8(out, fan_in, batch, bits, seed, step, layer, lr, s_w, z_w, w, G, chosen, how="hysteresis", ranges=None):
    """s_w, z_w: one value, or one for each output channel. how, ranges: see followed_grid(). Returns (w, s_w, z_w, residuals)."""
    n, half = fan_in, 2**bits // 2
    scales, zeros = each_channel([f32(s) for s in s_w], out), each_channel(z_w, out)
    rest = [(x + half) % 2**bits - half for x in G]
    G = [(x - r) // 2**bits for x, r in zip(G, rest, strict=True)]
    v = []
    for co in range(out):
        Gs = G[co * n : (co + 1) * n]
        h = max(0, max(abs(x) for x in Gs).bit_length() - (29 - (n - 1).bit_length()))
        g = [(x + (1 << (h - 1) if h else 0)) >> h for x in Gs]
        s1, s2 = sum(g), sum(x * x for x in g)
        r = math.isqrt(n * s2 - s1 * s1)
        for i in range(n):
            d = 0
            if r != 0:
                m = ((channel_rate(lr, chosen[co], batch) / scales[co]) * f32(65536)) / f32(r)
                d = clamp(rescale(n * g[i] - s1, m, NEAREST), -(2**28), 2**28)
            v.append((w[co * n + i] - zeros[co]) * 65536 + rest[co * n + i] * 2 ** (16 - bits) - d)
    if len(s_w) == 1:
        new_grids = [followed_grid(how, ranges, 0, v, scales[0], zeros[0])]
    else:
        new_grids = [followed_grid(how, ranges, co, v[co * n : (co + 1) * n], scales[co], zeros[co]) for co in range(out)]
    k = key(seed, step, layer)
    new_w, new_rest = [], []
    for i, x in enumerate(v):
        s_new, z_new = each_channel(new_grids, out)[i // n]
        fine = rescale(x, ((scales[i // n] / s_new) / f32(65536)) * f32(2**bits), word(k, i))
        whole = (fine + half) // 2**bits + z_new
        new_w.append(clamp(whole, 0, 255))
        new_rest.append(fine - (whole - z_new) * 2**bits if 0 <= whole <= 255 else 0)
    return new_w, [s for s, _ in new_grids], [z for _, z in new_grids], new_rest


def followed_grid(how, ranges, g, v, s_w, z_w):
    """New (scale, zero) of grid g. how: "hysteresis", "literal" or the moving average's rate; ranges: its (lo, hi) of each grid,
    in place."""
    if how == "hysteresis":
        return moved_grid(v, s_w, z_w)
    u = s_w / f32(65536)
    lo, hi = f32(min([0, *v])) * u, f32(max([0, *v])) * u
    if how != "literal":
        lo_old, hi_old = ranges[g]
        lo, hi = lo_old + f32(how) * (lo - lo_old), hi_old + f32(how) * (hi - hi_old)
        ranges[g] = lo, hi
    return grid_of_range(lo, hi, s_w, z_w)


def moved_grid(v, s_w, z_w):
    """New (scale, zero) of a grid whose weights are v, in units of s_w / 65536."""
    u = s_w / f32(65536)
    lo, hi = f32(min([0, *v])) * u, f32(max([0, *v])) * u
    lo_old, hi_old = f32(-z_w) * s_w, f32(255 - z_w) * s_w
    slack = s_w * f32(0.5)
    if lo >= lo_old - slack and hi <= hi_old + slack and (hi - lo) >= f32(0.875) * (hi_old - lo_old):
        return s_w, z_w
    return grid_of_range(lo, hi, s_w, z_w)


def update_bias_u8(batch, s_e, lr, b, G_b):
    m = ((f32(lr) * f32(s_e)) / f32(batch)) * f32(1048576)
    return [clamp(x - rescale(g, m, NEAREST), -(2**30 - 1), 2**30 - 1) for x, g in zip(b, G_b, strict=True)]


def update_f32(out, fan_in, batch, lr, w, b, G, G_b, chosen):
    """Returns (w, b)."""
    n, new_w = fan_in, []
    for co in range(out):
        Gs = G[co * n : (co + 1) * n]
        total = f32(0)
        for x in Gs:
            total = total + x
        mean = total / f32(n)
        squares = f32(0)
        for x in Gs:
            squares = squares + (x - mean) * (x - mean)
        sigma = np.sqrt(squares / f32(n))
        rate = channel_rate(lr, chosen[co], batch)
        for i in range(n):
            old = w[co * n + i]
            new_w.append(old - rate * ((Gs[i] - mean) / sigma) if sigma > 0 else old)
    return new_w, [x - f32(lr) * (g / f32(batch)) for x, g in zip(b, G_b, strict=True)]


# ---- 8. Scales that move ----


def in_force(error_scale):
    return f32(1) / f32(127) if error_scale == 0 else error_scale


def update_error_scale(error_scale, observed):
    if observed < f32(2.0**-60):
        return error_scale
    return observed if error_scale == 0 else error_scale + f32(0.1) * (observed - error_scale)


def update_range(act, lo_b, hi_b, lo, hi, scale, zero):
    """Returns (lo, hi, scale, zero)."""
    lo_b = f32(0) if act != NO_ACT else min(f32(lo_b), f32(0))
    hi_b = max(f32(hi_b), f32(0))
    if act == ACT_RELU6:
        hi_b = min(hi_b, f32(6))
    lo, hi = f32(lo), f32(hi)
    hi = hi + f32(0.1) * (hi_b - hi)
    lo = lo + f32(0.1) * (lo_b - lo)
    return lo, hi, *grid_of_range(lo, hi, f32(scale), zero)


# ---- 15. Desktop baselines ----


def sgd_m(lr, mu, batch, values, G, m):
    """Weights or biases of a f32 layer. Returns (values, m)."""
    m = [f32(mu) * a + g / f32(batch) for a, g in zip(m, G, strict=True)]
    return [v - f32(lr) * a for v, a in zip(values, m, strict=True)], m


def int8_unit(s_e, s_x, batch, s_w):
    return ((f32(s_e) * f32(s_x)) / f32(batch)) * f32(s_w)


def int8_bias_unit(s_e, batch, s_b):
    return (f32(s_e) / f32(batch)) * s_b


def qas_unit(s_e, s_x, batch, s_w):
    return int8_unit(s_e, s_x, batch, s_w) / (f32(s_w) * f32(s_w))


def qas_bias_unit(s_e, batch, s_b):
    return int8_bias_unit(s_e, batch, s_b) / (s_b * s_b)


def int8_sgd_m(out, units, lr, mu, w, G, m, rest):
    """units: one for each output channel; rest: None, or one for each weight. Returns (w, m, rest)."""
    n = len(w) // out
    m = [f32(mu) * a + units[i // n] * f32(g) for i, (a, g) in enumerate(zip(m, G, strict=True))]
    real = [f32(q) if rest is None else f32(q) + rest[i] for i, q in enumerate(w)]
    v = [clamp(r - f32(lr) * a, f32(0), f32(255)) for r, a in zip(real, m, strict=True)]
    w = [fround(r) for r in v]
    return w, m, None if rest is None else [r - f32(q) for r, q in zip(v, w, strict=True)]


def int8_sgd_m_bias(units, s_b, lr, mu, b, G_b, m):
    """units, s_b: one for each output channel. Returns (b, m)."""
    m = [f32(mu) * a + unit * f32(g) for a, unit, g in zip(m, units, G_b, strict=True)]
    steps = [(f32(lr) * a) * (s * f32(1048576)) for a, s in zip(m, s_b, strict=True)]
    whole = [fround(clamp(step, f32(-(2**30)), f32(2**30))) for step in steps]
    return [clamp(x - d, -(2**30 - 1), 2**30 - 1) for x, d in zip(b, whole, strict=True)], m


# ---- 10. Model file ----


@dataclass
class Tensor:
    type: int
    shape: tuple[int, int, int]
    flags: int = 0
    scale: np.float32 = ONE
    zero: int = 0
    lo: np.float32 = ZERO
    hi: np.float32 = ZERO
    error_scale: np.float32 = ZERO
    feature_offset: int = NOWHERE
    error_offset: int = NOWHERE
    inference_offset: int = NOWHERE

    @property
    def size(self):
        return math.prod(self.shape)

    @property
    def bytes(self):
        return self.size * (1 if self.type == U8 else 4)

    @property
    def act(self):
        return act_of(self.flags)

    def values(self):
        return struct.pack("<fifff", self.scale, self.zero, self.lo, self.hi, self.error_scale)


@dataclass
class Layer:
    op: int
    flags: int = 0
    input: int = 0
    input2: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    weights: list = field(default_factory=list)
    bias: list = field(default_factory=list)
    scales: list = field(default_factory=list)  # of the weight grids
    zeros: list = field(default_factory=list)

    @property
    def trains(self):
        return self.flags & TRAINABLE != 0

    @property
    def inputs(self):
        return [self.input, self.input2] if self.op == ADD else [self.input]


def pack(values, kind):
    return struct.pack(f"<{len(values)}{kind}", *values)


TENSOR_FORMAT, LAYER_FORMAT = "<BB3Hfifff3I8x", "<BB3H4H6BH5I20x"


def arena_bytes(placed):
    """Size of an arena from (offset, bytes) of its buffers; NOWHERE: none."""
    return max([0] + [-(-(at + size) // 4) * 4 for at, size in placed if at != NOWHERE])


def arenas_of(tensors: list[Tensor]) -> tuple[int, int]:
    """(training, inference) arena: as small as the tensors' offsets allow."""
    training = arena_bytes([(t.feature_offset, t.bytes) for t in tensors] + [(t.error_offset, t.bytes) for t in tensors])
    return training, arena_bytes([(t.inference_offset, t.bytes) for t in tensors])


def write_model(name: str, tensors: list[Tensor], layers: list[Layer], arenas: tuple[int, int] | None = None) -> bytes:
    """A .fqt file."""
    tensors_offset = 64
    layers_offset = tensors_offset + 48 * len(tensors)
    data_offset = layers_offset + 64 * len(layers)
    data, table = b"", b""
    for i, layer in enumerate(layers):
        quantized = tensors[i + 1].type == U8
        parts = []
        grids = pack(layer.scales, "f") + pack(layer.zeros, "i")
        for raw in (pack(layer.weights, "B" if quantized else "f"), pack(layer.bias, "i" if quantized else "f"), grids):
            parts += [data_offset + len(data) if raw else 0, len(raw)]
            data += raw + b"\0" * (-len(raw) % 4)
        window = *layer.kernel, *layer.stride, *layer.dilation, *layer.pads
        table += struct.pack(
            LAYER_FORMAT, layer.op, layer.flags, layer.input, layer.input2, i + 1, *window, len(layer.scales), parts[4], *parts[:4]
        )
    rows = []
    for t in tensors:
        offsets = t.feature_offset, t.error_offset, t.inference_offset
        rows.append(struct.pack(TENSOR_FORMAT, t.type, t.flags, *t.shape, t.scale, t.zero, t.lo, t.hi, t.error_scale, *offsets))
    counts = 1, len(tensors), len(layers), tensors_offset, layers_offset, *(arenas or arenas_of(tensors)), 0
    tail = struct.pack("<8I16s", *counts, name.encode()) + b"".join(rows) + table + data
    return seal(b"FQT1" + struct.pack("<III", 2, 16 + len(tail), 0) + tail)


def read_model(blob: bytes) -> tuple[list[Tensor], list[Layer]]:
    """Tensors and layers of a .fqt file that is known to be good."""
    n_tensors, n_layers, tensors_offset, layers_offset = struct.unpack_from("<4I", blob, 20)
    tensors, layers = [], []
    for i in range(n_tensors):
        kind, flags, h, w, c, scale, zero, lo, hi, error_scale, *offsets = struct.unpack_from(TENSOR_FORMAT, blob, tensors_offset + 48 * i)
        tensors.append(Tensor(kind, (h, w, c), flags, f32(scale), zero, f32(lo), f32(hi), f32(error_scale), *offsets))
    for i in range(n_layers):
        op, flags, x, x2, y, *v = struct.unpack_from(LAYER_FORMAT, blob, layers_offset + 64 * i)
        kernel, stride, dilation, pads = tuple(v[:2]), tuple(v[2:4]), tuple(v[4:6]), tuple(v[6:10])
        grids, grid_at, weight_at, weight_bytes, bias_at, bias_bytes = v[10:]
        size = 1 if tensors[y].type == U8 else 4
        weights = unpack(blob, "B" if size == 1 else "f", weight_bytes // size, weight_at)
        bias = unpack(blob, "i" if size == 1 else "f", bias_bytes // 4, bias_at)
        scales, zeros = unpack(blob, "f", grids, grid_at), unpack(blob, "i", grids, grid_at + 4 * grids)
        layers.append(Layer(op, flags, x, x2, kernel, stride, dilation, pads, weights, bias, scales, zeros))
    return tensors, layers


def trainer_of(inputs) -> "Trainer":
    """A training run from the inputs of kinds 100, 101, 104 and 105 (SPEC.md 12), arrays."""
    model, numbers, rate, _, _, *options = inputs
    batch, seed, lmin, lmax, last = (int(v) for v in numbers[:5])
    how, stochastic_errors = ("hysteresis", "moving-average", "literal")[int(options[0][0]) if options else 0], "loss"
    if options:
        how = float(options[1][0]) if how == "moving-average" else how
        stochastic_errors = ("loss", "none", "all")[int(options[0][1])]
    tables = read_model(model.tobytes())
    return Trainer(*tables, batch, rate[0], seed, lmin, lmax, bool(last), how=how, stochastic_errors=stochastic_errors)


def unpack(blob, kind, count, at):
    values = struct.unpack_from(f"<{count}{kind}", blob, at)
    return [f32(v) for v in values] if kind == "f" else list(values)


def seal(blob: bytes) -> bytes:
    """The same file with its CRC (bytes 12..15) computed anew."""
    return blob[:12] + struct.pack("<I", zlib.crc32(blob[16:])) + blob[16:]


# ---- 5, 7, 8, 11: a training run ----


class Trainer:
    """A network in training. `records` collects the trace of SPEC.md section 12 when it is a list.

    Features and errors go through load() and store(), each in a step of SPEC.md section 14 (`now`).
    """

    def __init__(
        self, tensors, layers, batch_size, lr, seed=0, lmin=4096, lmax=4096, sparse_last=False,
        optimizer="", mu=0.0, real_weights=False, how="hysteresis", stochastic_errors="loss",
    ):  # fmt: skip
        """optimizer: "" (section 6), "sgd-m" or "qas-sgd-m" (section 15); how, stochastic_errors: section 16."""
        self.tensors, self.layers = copy.deepcopy(tensors), copy.deepcopy(layers)
        self.batch_size, self.lr, self.seed = batch_size, f32(lr), seed
        self.lmin, self.lmax, self.sparse_last = lmin, lmax, sparse_last
        self.carries = [False]
        for layer in layers:
            self.carries.append(layer.trains or any(self.carries[t] for t in layer.inputs))
        assert self.carries[-1]
        self.last_weighted = max(i for i, layer in enumerate(layers) if layer.weights)
        self.last_reader = {t: i for i, layer in enumerate(layers) for t in layer.inputs}
        self.loss_max, self.step = 0, 0
        self.records: list | None = None
        self.memory: dict = {}
        self.now = 0
        self.optimizer, self.mu, self.how, self.stochastic_errors = optimizer, mu, how, stochastic_errors
        self.ranges = [[(f32(-z) * s, f32(255 - z) * s) for s, z in zip(layer.scales, layer.zeros, strict=True)] for layer in self.layers]
        self.m = [[f32(0)] * len(layer.weights) for layer in self.layers]
        self.m_b = [[f32(0)] * len(layer.bias) for layer in self.layers]
        self.rest = [[f32(0)] * len(layer.weights) if real_weights and self.quantized(i) else None for i, layer in enumerate(self.layers)]
        self.G = [[0 if self.quantized(i) else f32(0)] * len(layer.weights) for i, layer in enumerate(self.layers)]
        self.pass_scales()
        self.clear()

    def quantized(self, i):
        """Whether layer i's output is u8."""
        return self.tensors[i + 1].type == U8

    def store(self, kind, t, values):
        self.memory[kind, t] = values

    def load(self, kind, t):
        return self.memory[kind, t]

    def geometry(self, i):
        layer, x, y = self.layers[i], self.tensors[self.layers[i].input], self.tensors[i + 1]
        if layer.op == LINEAR:
            return geometry(1, 1, x.size, 1, 1, y.size, 1, 1, 1, 1, 0, 0)
        g = geometry(*x.shape, *y.shape, *layer.kernel, *layer.stride, layer.pads[0], layer.pads[2], *layer.dilation)
        return as_depthwise(g) if layer.op == DEPTHWISE_CONV2D else g

    def bits(self, i):
        """Fraction bits of a layer's gradient."""
        if self.optimizer:
            return 0
        return fraction_bits(self.tensors[i + 1].shape[0] * self.tensors[i + 1].shape[1], self.batch_size)

    def clear(self):
        """Begin a minibatch. The u8 G stay: they hold residuals."""
        self.samples = 0
        for i, layer in enumerate(self.layers):
            if not self.quantized(i):
                self.G[i] = [f32(0)] * len(layer.weights)
        self.G_b = [[0 if self.quantized(i) else f32(0)] * len(layer.bias) for i, layer in enumerate(self.layers)]
        self.chosen = [[0] * len(layer.bias) for layer in self.layers]
        self.extremes: list = [None] * len(self.layers)  # of each layer: [(least acc, greatest acc) of each grid]
        self.sent: dict = {}  # (layer, tensor): largest |sum|, |total| or |e| sent

    def record(self, kind, index, values, types):
        if self.records is not None:
            self.records.append((kind, index, pack(values, types)))

    def pass_scales(self):
        """Max pooling hands scales on."""
        for i, layer in enumerate(self.layers):
            if layer.op == MAX_POOL2D:
                x = self.tensors[layer.input]
                self.tensors[i + 1].scale, self.tensors[i + 1].zero = x.scale, x.zero
        for i in reversed(range(len(self.layers))):
            if self.layers[i].op == MAX_POOL2D:
                self.tensors[self.layers[i].input].error_scale = self.tensors[i + 1].error_scale

    # -- forward --

    def forward_layer(self, i, x, x2):
        """Returns (y, [(least acc, greatest acc), ...] of a quantized layer other than max pooling)."""
        layer, tx, ty, g = self.layers[i], self.tensors[self.layers[i].input], self.tensors[i + 1], self.geometry(i)
        quantized = self.quantized(i)
        if layer.op == MAX_POOL2D:
            return (max_pool2d_forward_u8 if quantized else max_pool2d_forward_f32)(g, x), None
        if layer.op == DEQUANTIZE:
            return dequantize_forward(tx.zero, tx.scale, x), None
        limits = output_limits(act_of(layer.flags), ty.scale, ty.zero)
        if layer.op == AVG_POOL2D:
            if not quantized:
                return avg_pool2d_forward_f32(g, x), None
            y, lo, hi = avg_pool2d_forward_u8(g, tx.zero, ty.zero, self.acc_unit(i) / ty.scale, x)
            return y, [(lo, hi)]
        if layer.op == ADD:
            if not quantized:
                return add_forward_f32(act_of(layer.flags), x, x2), None
            tx2 = self.tensors[layer.input2]
            y, lo, hi = add_forward_u8(tx.zero, tx2.zero, ty.zero, *limits, tx.scale / ty.scale, tx2.scale / ty.scale, x, x2)
            return y, [(lo, hi)]
        if layer.op == HARD_SWISH:
            if not quantized:
                return hard_swish_forward_f32(x), None
            y, lo, hi = hard_swish_forward_u8(tx.zero, ty.zero, tx.scale, ty.scale, x)
            return y, [(lo, hi)]
        if not quantized:
            return conv2d_forward_f32(g, act_of(layer.flags), x, layer.weights, layer.bias), None
        bias_acc = []
        for b, s_w in zip(layer.bias, each_channel(layer.scales, len(layer.bias)), strict=True):
            bias_acc.append(clamp(rescale(b, f32(1) / ((tx.scale * s_w) * f32(1048576)), NEAREST), -(2**28), 2**28))
        m = [(tx.scale * s_w) / ty.scale for s_w in layer.scales]
        return conv2d_forward_u8(g, tx.zero, ty.zero, *limits, layer.zeros, m, x, layer.weights, bias_acc)

    def acc_unit(self, i, grid=0):
        """What one step of a quantized layer's acc is worth."""
        layer, tx, ty = self.layers[i], self.tensors[self.layers[i].input], self.tensors[i + 1]
        if layer.weights:
            return tx.scale * layer.scales[grid]
        if layer.op == AVG_POOL2D:
            return tx.scale / f32(layer.kernel[0] * layer.kernel[1])
        return ty.scale * f32(0.0078125)

    def forward(self, sample):
        """All layers. Returns the logits."""
        self.store(FEATURE, 0, list(sample))
        for i, layer in enumerate(self.layers):
            self.now = i
            x = self.load(FEATURE, layer.input)
            x2 = self.load(FEATURE, layer.input2) if layer.op == ADD else None
            y, extremes = self.forward_layer(i, x, x2)
            if extremes is not None:
                before = self.extremes[i] or extremes
                self.extremes[i] = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(before, extremes, strict=True)]
            self.store(FEATURE, i + 1, y)
            self.record(1, i, y, "B" if self.quantized(i) else "f")
        self.now = len(self.layers)
        return self.load(FEATURE, len(self.layers))

    # -- backward --

    def error_unit(self, i):
        """`unit` of a quantized layer's errors."""
        layer, s_e = self.layers[i], in_force(self.tensors[i + 1].error_scale)
        if layer.weights:
            return (max(layer.scales) * s_e) * f32(2.0 ** -self.error_bits(i))
        if layer.op == AVG_POOL2D:
            return s_e / f32(layer.kernel[0] * layer.kernel[1])
        return s_e * f32(0.0078125) if layer.op == HARD_SWISH else s_e

    def error_bits(self, i):
        g = self.geometry(i)
        return error_bits(g.kernel_h * g.kernel_w * (1 if g.depthwise else g.out_c), len(self.layers[i].scales))

    def backward_input(self, i, t):
        """Layer i's error to its input t, from the memory and into it."""
        layer, tx, g, quantized = self.layers[i], self.tensors[t], self.geometry(i), self.quantized(i)
        e = self.load(ERROR, i + 1)
        needs_x = tx.act != NO_ACT or layer.op in (MAX_POOL2D, HARD_SWISH)
        x = self.load(FEATURE, t) if needs_x else [0] * tx.size  # without an activation everything passes
        accumulate = self.last_reader[t] != i
        before = self.load(ERROR, t) if accumulate else None
        k = None
        if self.stochastic_errors == "all":
            k = self.sample_key(0x50000 + 2 * i + layer.inputs.index(t))
        limits = passing_limits(tx.act, tx.scale, tx.zero)
        if layer.op == MAX_POOL2D:
            dx = max_pool2d_backward_u8(g, *limits, x, e) if quantized else max_pool2d_backward_f32(g, tx.act, x, e)
        elif layer.op == DEQUANTIZE:
            dx, largest = dequantize_backward(*limits, in_force(tx.error_scale), e, x, k)
            self.note_sent(i, t, largest)
        elif quantized:
            m = self.error_unit(i) / in_force(tx.error_scale)
            if layer.op == AVG_POOL2D:
                dx, largest = avg_pool2d_backward_u8(g, *limits, accumulate, m, e, x, before, k)
            elif layer.op == ADD:
                dx, largest = add_backward_u8(*limits, accumulate, m, e, x, before, k)
            elif layer.op == HARD_SWISH:
                dx, largest = hard_swish_backward_u8(tx.zero, *limits, accumulate, tx.scale, m, e, x, before, k)
            else:
                K = error_factors(layer.scales, self.error_bits(i))
                dx, largest = conv2d_backward_input_u8(g, *limits, accumulate, layer.zeros, K, m, e, layer.weights, x, before, k)
            self.note_sent(i, t, largest)
        elif layer.op == AVG_POOL2D:
            dx = avg_pool2d_backward_f32(g, tx.act, accumulate, e, x, before)
        elif layer.op == ADD:
            dx = add_backward_f32(tx.act, accumulate, e, x, before)
        elif layer.op == HARD_SWISH:
            dx = hard_swish_backward_f32(tx.act, accumulate, e, x, before)
        else:
            dx = conv2d_backward_input_f32(g, tx.act, accumulate, e, layer.weights, x, before)
        self.store(ERROR, t, dx)
        self.record(3, t, dx, "b" if tx.type == U8 else "f")

    def note_sent(self, i, t, largest):
        self.sent[i, t] = max(self.sent.get((i, t), largest), largest)

    def backward_weight(self, i, rate):
        """Sparse selection and layer i's weight gradient."""
        t, quantized = self.layers[i].input, self.quantized(i)
        e = self.select(i, self.load(ERROR, i + 1), rate)
        x = self.load(FEATURE, t)
        if quantized:
            self.G[i], self.G_b[i] = conv2d_backward_weight_u8(
                self.geometry(i), self.tensors[t].zero, self.bits(i), e, x, self.G[i], self.G_b[i])  # fmt: skip
        else:
            self.G[i], self.G_b[i] = conv2d_backward_weight_f32(self.geometry(i), e, x, self.G[i], self.G_b[i])
        self.record(5, i, self.G[i], "i" if quantized else "f")
        self.record(6, i, self.G_b[i], "i" if quantized else "f")

    def select(self, i, e, rate):
        channels = len(self.layers[i].bias)
        exempt = i == self.last_weighted and not self.sparse_last
        k = channels if exempt else max(1, (rate * channels) >> 12)
        if k >= channels:
            self.chosen[i] = [c + 1 for c in self.chosen[i]]
            return e
        e, self.chosen[i] = sparse_select(len(e) // channels, channels, k, e, self.chosen[i])
        self.store(ERROR, i + 1, e)
        self.record(4, i, e, "b" if self.quantized(i) else "f")
        return e

    def sample_key(self, stream):
        return key(self.seed, (self.step * self.batch_size + self.samples) % 2**32, stream)

    def loss_at(self, logits, label):
        """Returns (e, loss, prediction)."""
        if self.quantized(len(self.layers) - 1):
            rounding = self.stochastic_errors != "none", self.sample_key(0x60000)
            return softmax_u8(label, self.tensors[-1].scale, rounding, logits)
        return softmax_f32(label, logits)

    def train_sample(self, sample, label):
        """Returns (loss, prediction)."""
        logits, n = self.forward(sample), len(self.layers)
        e, loss, prediction = self.loss_at(logits, label)
        self.store(ERROR, n, e)
        self.loss_max = max(self.loss_max, loss)
        self.record(2, 0, [loss, prediction], "I")
        self.record(3, n, e, "b" if self.quantized(n - 1) else "f")
        rate = update_rate(loss, self.loss_max, self.lmin, self.lmax)
        for i in reversed(range(n)):
            if not self.carries[i + 1]:
                continue
            self.now = n + 1 + 2 * (n - 1 - i)
            if self.layers[i].trains:
                self.backward_weight(i, rate)
            self.now += 1
            for t in self.layers[i].inputs:
                if self.carries[t]:
                    self.backward_input(i, t)
        self.samples += 1
        return loss, prediction

    # -- end of a minibatch --

    def observed_errors(self):
        """R_t of each quantized tensor that was sent errors other than by max pooling."""
        largest: dict = {}
        for (i, t), most in self.sent.items():
            if self.layers[i].op == DEQUANTIZE:
                R = most / f32(127)
            elif self.last_reader[t] == i:
                R = (f32(most) * self.error_unit(i)) / f32(127)
            else:
                R = (f32(most) * in_force(self.tensors[t].error_scale)) / f32(127)
            largest[t] = max(largest.get(t, R), R)
        return largest

    def observed_ranges(self):
        """(lo_b, hi_b) of each tensor that adapts."""
        ranges = {}
        for i, extremes in enumerate(self.extremes):
            if extremes is not None and self.tensors[i + 1].flags & ADAPTIVE and self.carries[i + 1]:
                units = [self.acc_unit(i, grid) for grid in range(len(extremes))]
                lo_b = min(f32(lo) * unit for (lo, _), unit in zip(extremes, units, strict=True))
                hi_b = max(f32(hi) * unit for (_, hi), unit in zip(extremes, units, strict=True))
                ranges[i + 1] = lo_b, hi_b
        return ranges

    def update_layer(self, i):
        layer = self.layers[i]
        n = len(layer.weights) // len(layer.bias)
        if self.quantized(i):
            layer.weights, layer.scales, layer.zeros, self.G[i] = update_weights_u8(
                len(layer.bias), n, self.samples, self.bits(i), self.seed, self.step, i, self.lr,
                layer.scales, layer.zeros, layer.weights, self.G[i], self.chosen[i], self.how, self.ranges[i])  # fmt: skip
            layer.bias = update_bias_u8(self.samples, in_force(self.tensors[i + 1].error_scale), self.lr, layer.bias, self.G_b[i])
        else:
            layer.weights, layer.bias = update_f32(
                len(layer.bias), n, self.samples, self.lr, layer.weights, layer.bias, self.G[i], self.G_b[i], self.chosen[i])  # fmt: skip

    def update_layer_with_momentum(self, i):
        layer, B, lr, mu, channels = self.layers[i], self.samples, self.lr, self.mu, len(self.layers[i].bias)
        if not self.quantized(i):
            layer.weights, self.m[i] = sgd_m(lr, mu, B, layer.weights, self.G[i], self.m[i])
            layer.bias, self.m_b[i] = sgd_m(lr, mu, B, layer.bias, self.G_b[i], self.m_b[i])
            return
        s_e, s_x, s_w = in_force(self.tensors[i + 1].error_scale), self.tensors[layer.input].scale, each_channel(layer.scales, channels)
        s_b = [s_x * s for s in s_w]
        unit, bias_unit = (int8_unit, int8_bias_unit) if self.optimizer == "sgd-m" else (qas_unit, qas_bias_unit)
        units, bias_units = [unit(s_e, s_x, B, s) for s in s_w], [bias_unit(s_e, B, s) for s in s_b]
        layer.weights, self.m[i], self.rest[i] = int8_sgd_m(channels, units, lr, mu, layer.weights, self.G[i], self.m[i], self.rest[i])
        layer.bias, self.m_b[i] = int8_sgd_m_bias(bias_units, s_b, lr, mu, layer.bias, self.G_b[i], self.m_b[i])
        self.G[i] = [0] * len(layer.weights)

    def update(self):
        if self.samples == 0:
            return
        errors, ranges = self.observed_errors(), self.observed_ranges()  # of the values in force
        for i, layer in enumerate(self.layers):
            if layer.trains and self.optimizer:
                self.update_layer_with_momentum(i)
            elif layer.trains:
                self.update_layer(i)
        for t, R in errors.items():
            self.tensors[t].error_scale = update_error_scale(self.tensors[t].error_scale, R)
        for t, (lo_b, hi_b) in ranges.items():
            y = self.tensors[t]
            y.lo, y.hi, y.scale, y.zero = update_range(y.act, lo_b, hi_b, y.lo, y.hi, y.scale, y.zero)
        self.pass_scales()
        self.clear()
        self.step += 1
        if self.records is not None:
            self.records += self.state()

    def state(self):
        """The parts of SPEC.md section 11 as (record kind, index, bytes)."""
        parts = []
        for i, layer in enumerate(self.layers):
            if layer.weights:
                quantized = self.quantized(i)
                parts.append((7, i, pack(layer.weights, "B" if quantized else "f")))
                parts.append((8, i, pack(layer.bias, "i" if quantized else "f")))
                if quantized:
                    parts.append((9, i, pack(layer.scales, "f") + pack(layer.zeros, "i")))
                if layer.trains and quantized:
                    parts.append((12, i, pack(self.G[i], "i")))
                    if layer.trains and self.how not in ("hysteresis", "literal"):
                        parts.append((14, i, pack([v for pair in self.ranges[i] for v in pair], "f")))
                if layer.trains and self.optimizer:
                    parts.append((13, i, pack(self.m[i] + self.m_b[i] + (self.rest[i] or []), "f")))
        parts += [(10, i, t.values()) for i, t in enumerate(self.tensors)]
        return [*parts, (11, 0, struct.pack("<II", self.loss_max, self.step))]

    def state_crc(self):
        return zlib.crc32(b"".join(data for _, _, data in self.state()))

    def run(self, samples, labels, n_steps):
        """Trajectory of SPEC.md section 12: (losses and predictions in turn, state checksums)."""
        results, checksums = [], []
        for i in range(n_steps):
            results += self.train_sample(samples[i % len(samples)], labels[i % len(samples)])
            if self.samples == self.batch_size or i == n_steps - 1:
                self.update()
                checksums.append(self.state_crc())
        return results, checksums


# ---- 17. Training without back-propagation ----


def zeroth_trainer_of(inputs) -> "ZerothTrainer":
    """A training run from the inputs of kinds 102 and 103 (SPEC.md 12), arrays."""
    model, numbers, rate, _, _, zeroth = inputs
    batch, seed, lmin, lmax, last = map(int, numbers[:5])
    return ZerothTrainer(zeroth, *read_model(model.tobytes()), batch, rate[0], seed, lmin, lmax, bool(last))


def trace_of(trainer, inputs) -> bytes:
    """The trace of a trainer of kinds 101, 103 or 105 over the samples of its inputs."""
    _, numbers, _, samples, labels, *_ = inputs
    trainer.records = []
    trainer.run([[int(v) for v in sample] for sample in samples], [int(label) for label in labels], int(numbers[6]))
    return trace_bytes(trainer.records)


class ZerothTrainer(Trainer):
    """The same network trained by differences of losses. zeroth: the seven numbers of kinds 102 and 103."""

    def __init__(self, zeroth, *args):
        self.N, self.weight_step, self.bias_step, self.node_step, self.antithetic, self.first_node, self.exact_last = map(int, zeroth)
        super().__init__(*args)

    def record(self, kind, index, values, types):
        if kind != 1:  # of the outputs of layers nothing is recorded
            super().record(kind, index, values, types)

    def method(self, i):
        if self.exact_last and i == len(self.layers) - 1:
            return "exact"
        return "nodes" if i >= self.first_node else "weights"

    def bits(self, i):
        return fraction_bits(self.N, self.batch_size) if self.method(i) == "weights" else super().bits(i)

    def unit(self, i, sigma):
        f = 2 if self.antithetic else 1
        return (f32(1) / (f32(f * sigma) * (f32(self.N) * f32(65536)))) / self.tensors[i + 1].scale if sigma else f32(0)

    def signs(self, i, q):
        """u of a query, as a function."""
        k = word(key(self.seed, self.step, 0x30000 + i), self.samples * self.N + q)
        return lambda j: 1 if (word(k, j // 32) >> j % 32) & 1 else -1

    def kept(self, i, rate):
        """Whether a channel is kept, as a function."""
        C = len(self.layers[i].bias)
        exempt = i == self.last_weighted and not self.sparse_last
        k = C if exempt else max(1, (rate * C) >> 12)
        first = (word(key(self.seed, self.step, 0x40000 + i), self.samples) * C) >> 32
        return lambda co: co in [(first + j) % C for j in range(k)]

    def loss_with(self, sample, label, changed, y=None):
        """Loss of a whole forward pass with other parameters (changed: layer, weights, bias) or another output y of a layer."""
        features = [list(sample)]
        for i, layer in enumerate(self.layers):
            if changed[0] == i and y is not None:
                features.append(y)
                continue
            own = layer.weights, layer.bias
            if changed[0] == i:
                layer.weights, layer.bias = changed[1:]
            features.append(self.forward_layer(i, features[layer.input], features[layer.input2])[0])
            layer.weights, layer.bias = own
        return self.loss_at(features[-1], label)[1]

    def differences(self, loss_along, loss):
        """d of each query. loss_along(q, direction)."""
        found = []
        for q in range(self.N):
            other = loss_along(q, -1) if self.antithetic else loss
            found.append(clamp(loss_along(q, 1) - other, -32385, 32385))
        return found

    def by_weights(self, i, kept, sample, label, loss):
        layer, n = self.layers[i], len(self.layers[i].weights)
        fan_in = n // len(layer.bias)
        delta = rescale(self.bias_step, self.tensors[i + 1].scale * f32(1048576), NEAREST)

        def loss_along(q, direction):
            u = self.signs(i, q)
            w = [clamp(v + direction * self.weight_step * u(j), 0, 255) if kept(j // fan_in) else v for j, v in enumerate(layer.weights)]
            limit = 2**30 - 1
            b = [clamp(v + direction * delta * u(n + co), -limit, limit) if kept(co) else v for co, v in enumerate(layer.bias)]
            return self.loss_with(sample, label, (i, w, b))

        for q, d in enumerate(self.differences(loss_along, loss)):
            u = self.signs(i, q)
            self.G[i] = [g + u(j) * d * 2 ** self.bits(i) * kept(j // fan_in) for j, g in enumerate(self.G[i])]
            if self.bias_step:
                self.G_b[i] = [g + u(n + co) * d * kept(co) for co, g in enumerate(self.G_b[i])]

    def by_nodes(self, i, kept, sample, label, loss):
        y, ty, C = self.load(FEATURE, i + 1), self.tensors[i + 1], len(self.layers[i].bias)
        lowest, highest = passing_limits(ty.act, ty.scale, ty.zero)
        lower, upper = output_limits(ty.act, ty.scale, ty.zero)
        moves = [lowest < v < highest and kept(j % C) for j, v in enumerate(y)]

        def loss_along(q, direction):
            u = self.signs(i, q)
            step = direction * self.node_step
            other = [clamp(v + step * u(j), lower, upper) if moves[j] else v for j, v in enumerate(y)]
            return self.loss_with(sample, label, (i,), other)

        d = self.differences(loss_along, loss)
        u = [self.signs(i, q) for q in range(self.N)]
        S = [sum(u[q](j) * d[q] for q in range(self.N)) if moves[j] else 0 for j in range(len(y))]
        m = self.unit(i, self.node_step) / in_force(ty.error_scale)
        self.largest[i] = max([self.largest.get(i, 0)] + [abs(v) for v in S])
        return [clamp(requantize(v, m), -127, 127) if moves[j] else 0 for j, v in enumerate(S)]

    def train_sample(self, sample, label):
        logits = self.forward(sample)
        e, loss, prediction = self.loss_at(logits, label)
        self.loss_max = max(self.loss_max, loss)
        rate = update_rate(loss, self.loss_max, self.lmin, self.lmax)
        self.record(2, 0, [loss, prediction], "I")
        for i, layer in enumerate(self.layers):
            if layer.trains:
                kept = self.kept(i, rate)
                self.chosen[i] = [c + kept(co) for co, c in enumerate(self.chosen[i])]
                if self.method(i) == "weights":
                    self.by_weights(i, kept, sample, label, loss)
                else:
                    exact = [v if kept(j % len(layer.bias)) else 0 for j, v in enumerate(e)]
                    error = exact if self.method(i) == "exact" else self.by_nodes(i, kept, sample, label, loss)
                    x = self.load(FEATURE, layer.input)
                    self.G[i], self.G_b[i] = conv2d_backward_weight_u8(
                        self.geometry(i), self.tensors[layer.input].zero, self.bits(i), error, x, self.G[i], self.G_b[i])  # fmt: skip
                self.record(5, i, self.G[i], "i")
                self.record(6, i, self.G_b[i], "i")
        self.samples += 1
        return loss, prediction

    def clear(self):
        super().clear()
        self.largest = {}  # of a layer by nodes: largest |S|

    def observed_errors(self):
        found = {}
        for i, most in self.largest.items():
            t = i + 1
            while t in self.last_reader and self.layers[self.last_reader[t]].op == MAX_POOL2D:
                t = self.last_reader[t] + 1
            if t < len(self.layers):
                found[t] = (f32(most) * self.unit(i, self.node_step)) / f32(127)
        return found

    def update_layer(self, i):
        bias, G_b = self.layers[i].bias, self.G_b[i]
        super().update_layer(i)
        if self.method(i) == "weights":
            self.layers[i].bias = update_bias_u8(self.samples, self.unit(i, self.bias_step), self.lr, bias, G_b)


# ---- 12. Golden file ----


# Number, inputs and results of each kind. An input is g (the geometry), s (scalars, each an argument) or a (an array), with its type.
CONV2D_KINDS = {
    "forward_u8": (0, "gi si ai af aB aB ai", "B i"),
    "backward_input_u8": (1, "gi si ai ai sf ab aB aB ab", "b i"),
    "backward_weight_u8": (2, "gi si ab aB ai ai", "i i"),
    "forward_f32": (3, "gi si af af af", "f"),
    "backward_input_f32": (4, "gi si af af af af", "f"),
    "backward_weight_f32": (5, "gi af af af af", "f f"),
}
KINDS = {
    **{f"conv2d_{name}": (10 + i, *types) for name, (i, *types) in CONV2D_KINDS.items()},
    **{f"linear_{name}": (20 + i, *types) for name, (i, *types) in CONV2D_KINDS.items()},
    **{f"depthwise_conv2d_{name}": (90 + i, *types) for name, (i, *types) in CONV2D_KINDS.items()},
    "max_pool2d_forward_u8": (30, "gi aB", "B"),
    "max_pool2d_backward_u8": (31, "gi si aB ab", "b"),
    "max_pool2d_forward_f32": (32, "gi af", "f"),
    "max_pool2d_backward_f32": (33, "gi si af af", "f"),
    "avg_pool2d_forward_u8": (34, "gi si sf aB", "B i"),
    "avg_pool2d_backward_u8": (35, "gi si sf ab aB ab", "b i"),
    "avg_pool2d_forward_f32": (36, "gi af", "f"),
    "avg_pool2d_backward_f32": (37, "gi si af af af", "f"),
    "dequantize_forward": (40, "si sf aB", "f"),
    "dequantize_backward": (41, "si sf af aB", "b f"),
    "add_forward_u8": (44, "si sf aB aB", "B i"),
    "add_backward_u8": (45, "si sf ab aB ab", "b i"),
    "add_forward_f32": (46, "si af af", "f"),
    "add_backward_f32": (47, "si af af af", "f"),
    "hard_swish_forward_u8": (52, "si sf aB", "B i"),
    "hard_swish_backward_u8": (53, "si sf ab aB ab", "b i"),
    "hard_swish_forward_f32": (54, "af", "f"),
    "hard_swish_backward_f32": (55, "si af af af", "f"),
    "softmax_u8": (50, "si sf aI aB", "b I"),
    "softmax_f32": (51, "si af", "f I"),
    "sparse_select_u8": (60, "si ab ai", "b i"),
    "sparse_select_f32": (61, "si af ai", "f i"),
    "update_weights_u8": (70, "si sI sf af ai aB ai ai", "B f i i"),
    "update_bias_u8": (71, "si sf ai ai", "i"),
    "update_f32": (72, "si sf af af af af ai", "f f"),
    "update_range": (80, "si sf si", "f i"),
}


def results_of(kind: str, inputs: list[list]) -> list[list]:
    """The expected arrays of a kind of KINDS, from its input arrays."""
    arguments: list = []
    for token, values in zip(KINDS[kind][1].split(), inputs, strict=True):
        if token[0] == "s":
            arguments += values
        else:
            arguments.append(geometry(*values) if token[0] == "g" else values)
    function = globals()[kind.removesuffix("_u8").removesuffix("_f32") if kind.startswith("sparse") else kind]
    results = function(*arguments)
    arrays: list[list] = []
    last: object = list
    for result in results if isinstance(results, tuple) else (results,):
        if isinstance(result, list):
            arrays.append([v for one in result for v in (one if isinstance(one, tuple) else (one,))])
        elif type(result) is last:
            arrays[-1].append(result)  # scalars of one type share an array
        else:
            arrays.append([result])
        last = type(result)
    return arrays


def case_of(kind: str, name: str, *inputs) -> bytes:
    """A golden case of KINDS with what this file expects."""
    number, types_in, types_out = KINDS[kind]
    arrays = [(token[1], values) for token, values in zip(types_in.split(), inputs, strict=True)]
    return golden_case(number, name, *arrays, *zip(types_out.split(), results_of(kind, [list(v) for v in inputs]), strict=True))


def golden_case(kind: int, name: str, *arrays) -> bytes:
    """One case. arrays: (struct letter of B b i I f, values)."""
    types = {"B": 1, "b": 2, "i": 3, "I": 4, "f": 5}
    head = 64 + 12 * len(arrays)
    table, data = b"", b""
    for letter, values in arrays:
        values = list(values)
        table += struct.pack("<III", types[letter], len(values), head + len(data))
        raw = pack(values, letter)
        data += raw + b"\0" * (-len(raw) % 4)
    return struct.pack("<IIII48s", head + len(data), kind, len(arrays), 0, name.encode()) + table + data


def golden_file(cases: list[bytes]) -> bytes:
    """A .fqg file."""
    body = struct.pack("<I12x", len(cases)) + b"".join(cases)
    return b"FQG1" + struct.pack("<III", 1, 16 + len(body), zlib.crc32(body)) + body


def trace_bytes(records) -> bytes:
    """The stream of a trace."""
    return b"".join(struct.pack("<III", kind, i, len(data)) + data + b"\0" * (-len(data) % 4) for kind, i, data in records)
