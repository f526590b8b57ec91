# SPDX-License-Identifier: Apache-2.0
"""Slow, obvious twins of every operator, of the update and of a whole training run, straight from SPEC.md and independent of `fqt_ref`.

Tensors are flat lists in memory order; integers are Python's, float32 values are numpy.float32 scalars, one operation at a time. Both the
Numba engine and the C library are tested against this file. Function names are the kinds of SPEC.md section 12.
"""

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
CONV2D, LINEAR, MAX_POOL2D, DEQUANTIZE, DEPTHWISE_CONV2D = 1, 2, 3, 4, 5
RELU, ADAPTIVE, TRAINABLE = 1, 2, 2


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


# ---- 4. Operators ----


def geometry(in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, depthwise=False):
    return SimpleNamespace(**locals())


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
            iy, ix = oy * g.stride_h + ky - g.pad_top, ox * g.stride_w + kx - g.pad_left
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


def conv2d_forward_u8(g, x, w, bias_acc, z_x, z_w, z_y, lower, m):
    """Returns (y, least acc, greatest acc)."""
    acc = list(bias_acc) * (g.out_h * g.out_w)
    for i, j, k in products(g):
        acc[i] += (x[j] - z_x) * (w[k] - z_w)
    return [clamp(requantize(a, m) + z_y, lower, 255) for a in acc], min(acc), max(acc)


def conv2d_backward_input_u8(g, e, w, x, z_w, z_x, masked, m):
    """Returns (dx, largest |sum|)."""
    sums = [0] * (g.in_h * g.in_w * g.in_c)
    for i, j, k in products(g):
        sums[j] += e[i] * (w[k] - z_w)
    kept = [not masked or v > z_x for v in x]
    dx = [clamp(requantize(s, m), -127, 127) if keep else 0 for s, keep in zip(sums, kept, strict=True)]
    return dx, max([abs(s) for s, keep in zip(sums, kept, strict=True) if keep], default=0)


def conv2d_backward_weight_u8(g, e, x, z_x, k, G, G_b):
    """Returns (G, G_b). k: fraction bits."""
    G, G_b = list(G), list(G_b)
    for i, j, n in products(g):
        G[n] += 2**k * e[i] * (x[j] - z_x)
    for i, error in enumerate(e):
        G_b[i % g.out_c] += error
    return G, G_b


def conv2d_forward_f32(g, x, w, b, relu):
    acc = [f32(v) for v in b] * (g.out_h * g.out_w)
    for i, j, k in products(g):
        acc[i] = acc[i] + x[j] * w[k]
    return [f32(0) if relu and not a > 0 else a for a in acc]


def conv2d_backward_input_f32(g, e, w, x, masked):
    dx = [f32(0)] * (g.in_h * g.in_w * g.in_c)
    for i, j, k in products(g):
        dx[j] = dx[j] + e[i] * w[k]
    return [f32(0) if masked and not v > 0 else d for d, v in zip(dx, x, strict=True)]


def conv2d_backward_weight_f32(g, e, x, G, G_b):
    G, G_b = list(G), list(G_b)
    for i, j, k in products(g):
        G[k] = G[k] + e[i] * x[j]
    for i, error in enumerate(e):
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
    """(y index, x indices of its window in raster order) of max pooling."""
    for oy in range(g.out_h):
        for ox in range(g.out_w):
            for c in range(g.out_c):
                yield (
                    (oy * g.out_w + ox) * g.out_c + c,
                    [(iy * g.in_w + ix) * g.in_c + c for _, _, iy, ix in taps(g, oy, ox)],
                )


def max_pool2d_forward(g, x):
    """u8 and f32 alike."""
    return [max(x[j] for j in window) for _, window in windows(g)]


def route_error(g, x, e, zero):
    dx = [zero] * len(x)
    for i, window in windows(g):
        j = max(window, key=lambda j: (x[j], -j))
        dx[j] = dx[j] + e[i]
    return dx


def max_pool2d_backward_u8(g, x, e, z_x, masked):
    return [0 if masked and v <= z_x else clamp(d, -127, 127) for d, v in zip(route_error(g, x, e, 0), x, strict=True)]


def max_pool2d_backward_f32(g, x, e, masked):
    return [f32(0) if masked and not v > 0 else d for d, v in zip(route_error(g, x, e, f32(0)), x, strict=True)]


def dequantize_forward(x, z, s):
    return [f32(v - z) * f32(s) for v in x]


def dequantize_backward(e, x, z, masked, s_e):
    """Returns (dx, largest |e| of the unmasked)."""
    inverse = f32(1) / f32(s_e)
    dx, largest = [], f32(0)
    for error, v in zip(e, x, strict=True):
        if masked and v <= z:
            dx.append(0)
        else:
            largest = max(largest, abs(error))
            dx.append(fround(clamp(error * inverse, f32(-127), f32(127))))
    return dx, largest


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


def softmax_u8(logits, label, s_y):
    """Returns (e, loss, prediction)."""
    k = int(min(f32(fround(f32(s_y) * f32(94548.46))), f32(8388607)))
    num = [exp2_negative((max(logits) - q) * k) for q in logits]
    total = sum(num)
    e = [(v * 254 + total) // (2 * total) - (127 if i == label else 0) for i, v in enumerate(num)]
    return e, loss_of(num, label), logits.index(max(logits))


def softmax_f32(logits, label):
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


def update_weights_u8(out, fan_in, z_w, batch, bits, seed, step, layer, s_w, lr, w, G, chosen):
    """Returns (w, s_w, z_w, residuals)."""
    n, s_w = fan_in, f32(s_w)
    v = []
    half = 2**bits // 2
    rest = [(x + half) % 2**bits - half for x in G]
    G = [(x - r) // 2**bits for x, r in zip(G, rest, strict=True)]
    for co in range(out):
        Gs = G[co * n : (co + 1) * n]
        h = max(0, max(abs(x) for x in Gs).bit_length() - (29 - (n - 1).bit_length()))
        g = [(x + (1 << (h - 1) if h else 0)) >> h for x in Gs]
        s1, s2 = sum(g), sum(x * x for x in g)
        r = math.isqrt(n * s2 - s1 * s1)
        for i in range(n):
            d = 0
            if r != 0:
                m = ((channel_rate(lr, chosen[co], batch) / s_w) * f32(65536)) / f32(r)
                d = clamp(rescale(n * g[i] - s1, m, NEAREST), -(2**28), 2**28)
            v.append((w[co * n + i] - z_w) * 65536 + rest[co * n + i] * 2 ** (16 - bits) - d)
    u = s_w / f32(65536)
    lo, hi = f32(min([0, *v])) * u, f32(max([0, *v])) * u
    lo_old, hi_old = f32(-z_w) * s_w, f32(255 - z_w) * s_w
    s2, z2 = s_w, z_w
    slack = s_w * f32(0.5)
    if not (lo >= lo_old - slack and hi <= hi_old + slack and (hi - lo) >= f32(0.875) * (hi_old - lo_old)):
        s2, z2 = grid_of_range(lo, hi, s_w, z_w)
    k = key(seed, step, layer)
    m = ((s_w / s2) / f32(65536)) * f32(2**bits)
    fine = [rescale(x, m, word(k, i)) for i, x in enumerate(v)]
    whole = [(x + half) // 2**bits + z2 for x in fine]
    rest = [x - (y - z2) * 2**bits if 0 <= y <= 255 else 0 for x, y in zip(fine, whole, strict=True)]
    return [clamp(y, 0, 255) for y in whole], s2, z2, rest


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


def update_range(relu, unit, lo, hi, scale, zero, acc_min, acc_max):
    """Returns (lo, hi, scale, zero)."""
    lo_b = f32(0) if relu else min(f32(acc_min) * f32(unit), f32(0))
    hi_b = max(f32(acc_max) * f32(unit), f32(0))
    lo, hi = f32(lo), f32(hi)
    hi = hi + f32(0.1) * (hi_b - hi)
    lo = lo + f32(0.1) * (lo_b - lo)
    return lo, hi, *grid_of_range(lo, hi, f32(scale), zero)


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

    @property
    def size(self):
        return math.prod(self.shape)

    def values(self):
        return struct.pack("<fifff", self.scale, self.zero, self.lo, self.hi, self.error_scale)


@dataclass
class Layer:
    op: int
    flags: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    weights: list = field(default_factory=list)
    bias: list = field(default_factory=list)
    weight_scale: np.float32 = ZERO
    weight_zero: int = 0

    @property
    def trains(self):
        return self.flags & TRAINABLE != 0


def pack(values, kind):
    return struct.pack(f"<{len(values)}{kind}", *values)


def write_model(name: str, tensors: list[Tensor], layers: list[Layer]) -> bytes:
    """A .fqt file."""
    tensors_offset = 64
    layers_offset = tensors_offset + 48 * len(tensors)
    data_offset = layers_offset + 60 * len(layers)
    data, table = b"", b""
    for i, layer in enumerate(layers):
        quantized = tensors[i + 1].type == U8
        parts = []
        for values, kind in ((layer.weights, "B" if quantized else "f"), (layer.bias, "i" if quantized else "f")):
            raw = pack(values, kind)
            parts += [data_offset + len(data) if raw else 0, len(raw)]
            data += raw + b"\0" * (-len(raw) % 4)
        table += struct.pack("<BBHH4H4BH4Ifi16x", layer.op, layer.flags, i, i + 1, *layer.kernel, *layer.stride, *layer.pads, 0,
                             *parts, layer.weight_scale, layer.weight_zero)  # fmt: skip
    body = b"".join(struct.pack("<BB3H", t.type, t.flags, *t.shape) + t.values() + bytes(20) for t in tensors) + table + data
    tail = struct.pack("<5I12x16s", 1, len(tensors), len(layers), tensors_offset, layers_offset, name.encode()) + body
    return seal(b"FQT1" + struct.pack("<III", 1, 16 + len(tail), 0) + tail)


def seal(blob: bytes) -> bytes:
    """The same file with its CRC (bytes 12..15) computed anew."""
    return blob[:12] + struct.pack("<I", zlib.crc32(blob[16:])) + blob[16:]


# ---- 5, 7, 11: a training run ----


class Trainer:
    """A network in training. `records` collects the trace of SPEC.md section 12 when it is a list."""

    def __init__(self, tensors, layers, batch_size, lr, seed=0, lmin=4096, lmax=4096, sparse_last=False):
        self.tensors = [Tensor(**vars(t)) for t in tensors]
        self.layers = [Layer(**vars(layer)) for layer in layers]
        self.batch_size, self.lr, self.seed = batch_size, f32(lr), seed
        self.lmin, self.lmax, self.sparse_last = lmin, lmax, sparse_last
        self.first = next(i for i, layer in enumerate(layers) if layer.trains)
        self.last_weighted = max(i for i, layer in enumerate(layers) if layer.weights)
        self.loss_max, self.step = 0, 0
        self.records: list | None = None
        self.pass_scales()
        self.clear()

    def quantized(self, i):
        return self.tensors[i + 1].type == U8

    def geometry(self, i):
        layer, x, y = self.layers[i], self.tensors[i], self.tensors[i + 1]
        if layer.op == LINEAR:
            return geometry(1, 1, x.size, 1, 1, y.size, 1, 1, 1, 1, 0, 0)
        return geometry(*x.shape, *y.shape, *layer.kernel, *layer.stride, layer.pads[0], layer.pads[2], layer.op == DEPTHWISE_CONV2D)

    def bits(self, i):
        """Fraction bits of a layer's gradient."""
        return fraction_bits(self.tensors[i + 1].shape[0] * self.tensors[i + 1].shape[1], self.batch_size)

    def clear(self):
        self.samples = 0
        zeros = {True: 0, False: f32(0)}
        self.G = [[zeros[self.quantized(i)]] * len(layer.weights) for i, layer in enumerate(self.layers)]
        self.G_b = [[zeros[self.quantized(i)]] * len(layer.bias) for i, layer in enumerate(self.layers)]
        self.chosen = [[0] * len(layer.bias) for layer in self.layers]
        self.acc_min = [2**31 - 1] * len(self.layers)
        self.acc_max = [-(2**31)] * len(self.layers)
        self.error_max = [f32(0) if layer.op == DEQUANTIZE else 0 for layer in self.layers]

    def record(self, kind, index, values, types):
        if self.records is not None:
            self.records.append((kind, index, pack(values, types) if isinstance(types, str) else values))

    def pass_scales(self):
        for i, layer in enumerate(self.layers):
            if layer.op == MAX_POOL2D:
                self.tensors[i + 1].scale, self.tensors[i + 1].zero = self.tensors[i].scale, self.tensors[i].zero
        for i in reversed(range(len(self.layers))):
            if self.layers[i].op == MAX_POOL2D:
                self.tensors[i].error_scale = self.tensors[i + 1].error_scale

    def forward_layer(self, i, x):
        layer, tx, ty, g = self.layers[i], self.tensors[i], self.tensors[i + 1], self.geometry(i)
        if layer.op == MAX_POOL2D:
            return max_pool2d_forward(g, x)
        if layer.op == DEQUANTIZE:
            return dequantize_forward(x, tx.zero, tx.scale)
        relu = layer.flags & RELU != 0
        if not self.quantized(i):
            return conv2d_forward_f32(g, x, layer.weights, layer.bias, relu)
        unit = tx.scale * layer.weight_scale
        m_bias = f32(1) / (unit * f32(1048576))
        bias_acc = [clamp(rescale(b, m_bias, NEAREST), -(2**28), 2**28) for b in layer.bias]
        lower = ty.zero if relu else 0
        m = unit / ty.scale
        y, lo, hi = conv2d_forward_u8(g, x, layer.weights, bias_acc, tx.zero, layer.weight_zero, ty.zero, lower, m)
        self.acc_min[i], self.acc_max[i] = min(self.acc_min[i], lo), max(self.acc_max[i], hi)
        return y

    def forward(self, sample):
        features = [list(sample)]
        for i in range(len(self.layers)):
            features.append(self.forward_layer(i, features[-1]))
            self.record(1, i, features[-1], "B" if self.quantized(i) else "f")
        return features

    def backward_input(self, i, e, x):
        layer, tx, ty, g = self.layers[i], self.tensors[i], self.tensors[i + 1], self.geometry(i)
        masked = tx.flags & RELU != 0
        if layer.op == MAX_POOL2D:
            if self.quantized(i):
                return max_pool2d_backward_u8(g, x, e, tx.zero, masked)
            return max_pool2d_backward_f32(g, x, e, masked)
        if layer.op == DEQUANTIZE:
            dx, largest = dequantize_backward(e, x, tx.zero, masked, in_force(tx.error_scale))
        elif self.quantized(i):
            m = (layer.weight_scale * in_force(ty.error_scale)) / in_force(tx.error_scale)
            dx, largest = conv2d_backward_input_u8(g, e, layer.weights, x, layer.weight_zero, tx.zero, masked, m)
        else:
            return conv2d_backward_input_f32(g, e, layer.weights, x, masked)
        self.error_max[i] = max(self.error_max[i], largest)
        return dx

    def train_sample(self, sample, label):
        """Returns (loss, prediction)."""
        features = self.forward(sample)
        n = len(self.layers)
        if self.quantized(n - 1):
            e, loss, prediction = softmax_u8(features[-1], label, self.tensors[-1].scale)
        else:
            e, loss, prediction = softmax_f32(features[-1], label)
        self.loss_max = max(self.loss_max, loss)
        self.record(2, 0, [loss, prediction], "I")
        self.record(3, n, e, "b" if self.quantized(n - 1) else "f")
        rate = update_rate(loss, self.loss_max, self.lmin, self.lmax)
        for i in reversed(range(self.first, n)):
            x = features[i]
            if self.layers[i].trains:
                e = self.select(i, e, rate)
                if self.quantized(i):
                    self.G[i], self.G_b[i] = conv2d_backward_weight_u8(
                        self.geometry(i), e, x, self.tensors[i].zero, self.bits(i), self.G[i], self.G_b[i])  # fmt: skip
                else:
                    self.G[i], self.G_b[i] = conv2d_backward_weight_f32(self.geometry(i), e, x, self.G[i], self.G_b[i])
                self.record(5, i, self.G[i], "i" if self.quantized(i) else "f")
                self.record(6, i, self.G_b[i], "i" if self.quantized(i) else "f")
            if i > self.first:
                e = self.backward_input(i, e, x)
                self.record(3, i, e, "b" if self.tensors[i].type == U8 else "f")
        self.samples += 1
        return loss, prediction

    def select(self, i, e, rate):
        channels = len(self.layers[i].bias)
        exempt = i == self.last_weighted and not self.sparse_last
        k = channels if exempt else max(1, (rate * channels) >> 12)
        if k >= channels:
            self.chosen[i] = [c + 1 for c in self.chosen[i]]
            return e
        e, self.chosen[i] = sparse_select(len(e) // channels, channels, k, e, self.chosen[i])
        self.record(4, i, e, "b" if self.quantized(i) else "f")
        return e

    def update(self):
        old = [Tensor(**vars(t)) for t in self.tensors]
        old_w = [layer.weight_scale for layer in self.layers]
        rest: dict[int, list] = {}
        for i, layer in enumerate(self.layers):
            if not layer.trains:
                continue
            n = len(layer.weights) // len(layer.bias)
            if self.quantized(i):
                layer.weights, layer.weight_scale, layer.weight_zero, rest[i] = update_weights_u8(
                    len(layer.bias), n, layer.weight_zero, self.samples, self.bits(i), self.seed, self.step, i, layer.weight_scale, self.lr,
                    layer.weights, self.G[i], self.chosen[i])  # fmt: skip
                s_e = in_force(old[i + 1].error_scale)
                layer.bias = update_bias_u8(self.samples, s_e, self.lr, layer.bias, self.G_b[i])
            else:
                layer.weights, layer.bias = update_f32(
                    len(layer.bias), n, self.samples, self.lr, layer.weights, layer.bias,
                    self.G[i], self.G_b[i], self.chosen[i])  # fmt: skip
        for i, layer in enumerate(self.layers):
            tx, ty = self.tensors[i], self.tensors[i + 1]
            if layer.op == DEQUANTIZE:
                tx.error_scale = update_error_scale(old[i].error_scale, self.error_max[i] / f32(127))
            elif layer.weights and self.quantized(i):
                observed = (f32(self.error_max[i]) * (old_w[i] * in_force(old[i + 1].error_scale))) / f32(127)
                tx.error_scale = update_error_scale(old[i].error_scale, observed)
                if ty.flags & ADAPTIVE:
                    o = old[i + 1]
                    relu, unit = layer.flags & RELU != 0, old[i].scale * old_w[i]
                    ty.lo, ty.hi, ty.scale, ty.zero = update_range(
                        relu, unit, o.lo, o.hi, o.scale, o.zero, self.acc_min[i], self.acc_max[i])  # fmt: skip
        self.pass_scales()
        self.clear()
        for i, values in rest.items():
            self.G[i] = values
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
                parts.append((9, i, struct.pack("<fi", layer.weight_scale, layer.weight_zero)))
                if layer.trains and quantized:
                    parts.append((12, i, pack(self.G[i], "i")))
        parts += [(10, i, t.values()) for i, t in enumerate(self.tensors)]
        return [*parts, (11, 0, struct.pack("<II", self.loss_max, self.step))]

    def state_crc(self):
        return zlib.crc32(b"".join(data for _, _, data in self.state()))

    def run(self, samples, labels, n_steps):
        """Trajectory of SPEC.md section 12: (losses and predictions in turn, state checksums)."""
        results, checksums = [], []
        for i in range(n_steps):
            results += self.train_sample(samples[i % len(samples)], labels[i % len(samples)])
            if self.samples == self.batch_size:
                self.update()
                checksums.append(self.state_crc())
        return results, checksums


# ---- 12. Golden file ----


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
