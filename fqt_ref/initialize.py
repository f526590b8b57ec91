# SPDX-License-Identifier: Apache-2.0
"""From a description to a network with random weights, calibrated on real samples, in one of the three configurations."""

import numpy as np

from fqt_ref.calibrate import fresh_layer, quantize_layer
from fqt_ref.errors import FqtError
from fqt_ref.models.describe import Conv2d, DepthwiseConv2d, Layer, Linear, MaxPool2d
from fqt_ref.network import (
    CONV2D,
    DEPTHWISE_CONV2D,
    DEQUANTIZE,
    F32,
    LAYER,
    LAYER_RELU,
    LAYER_TRAINABLE,
    LINEAR,
    MAX_POOL2D,
    TENSOR,
    TENSOR_ADAPTIVE,
    TENSOR_RELU,
    U8,
    Geometry,
    Network,
)

CONFIGS = ("uint8", "mixed", "float32")


def conv_output(size: int, kernel: int, stride: int, pad: int) -> int:
    """Outputs along one axis: (size + pad - kernel) / stride + 1, floor."""
    return (size + pad - kernel) // stride + 1


def layer_geometry(layer: Layer, shape: tuple[int, int, int]) -> Geometry:
    """Geometry of a described layer on an input shape (h, w, c). Raises FqtError if the kernel does not fit."""
    h, w, c = shape
    if isinstance(layer, Linear):
        return Geometry(h, w, c, 1, 1, layer.features, 1, 1, 1, 1, 0, 0)
    kernel_h, kernel_w = layer.kernel
    stride_h, stride_w = layer.stride or layer.kernel
    top, bottom, left, right = layer.padding if isinstance(layer, Conv2d | DepthwiseConv2d) else (0, 0, 0, 0)
    out_h = conv_output(h, kernel_h, stride_h, top + bottom)
    out_w = conv_output(w, kernel_w, stride_w, left + right)
    if out_h < 1 or out_w < 1:
        raise FqtError(f"a {kernel_h}x{kernel_w} kernel does not fit its {h}x{w} input: choose a network for larger images")
    out_c = layer.channels if isinstance(layer, Conv2d) else c
    return Geometry(h, w, c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, top, left)


class Builder:
    """Grows the tables layer by layer while calibration samples run through the float32 network."""

    def __init__(self, config: str, samples: np.ndarray, scale: np.float32, zero: int, seed: int):
        n, h, w, c = samples.shape
        self.config, self.seed = config, seed
        self.values = (samples.reshape(n, -1).astype(np.int32) - np.int32(zero)).astype(np.float32) * np.float32(scale)
        self.shape = (h, w, c)
        lo, hi = np.float32(0 - zero) * np.float32(scale), np.float32(255 - zero) * np.float32(scale)
        self.tensors = [self.tensor(U8, 0, scale, zero, lo, hi)]
        self.layers: list[np.ndarray] = []
        self.weights: list[np.ndarray | None] = []
        self.biases: list[np.ndarray | None] = []
        self.relu = False

    def tensor(self, kind, flags, scale, zero, lo, hi):
        record = np.zeros((), TENSOR)
        record["type"], record["flagset"] = kind, flags
        record["h"], record["w"], record["c"] = self.shape
        record["scale"], record["zero"], record["lo"], record["hi"] = scale, zero, lo, hi
        return record

    def float_tensor(self, flags):
        return self.tensor(F32, flags, 1, 0, 0, 0)

    def append(self, op, geometry: Geometry, flags, tensor, weights=None, bias=None, weight_scale=0.0, weight_zero=0, pads=None):
        record = np.zeros((), LAYER)
        record["op"], record["flagset"] = op, flags
        record["input"], record["output"] = len(self.layers), len(self.layers) + 1
        record["kernel_h"], record["kernel_w"] = geometry.kernel_h, geometry.kernel_w
        record["stride_h"], record["stride_w"] = geometry.stride_h, geometry.stride_w
        for field, pad in zip(("pad_top", "pad_bottom", "pad_left", "pad_right"), pads or (0, 0, 0, 0), strict=True):
            record[field] = pad
        record["weight_scale"], record["weight_zero"] = weight_scale, weight_zero
        self.layers.append(record)
        self.tensors.append(tensor)
        self.weights.append(weights)
        self.biases.append(bias)

    def dequantize(self):
        """Cross the border to float32 once."""
        if self.tensors[-1]["type"] == U8:
            h, w, c = self.shape
            flags = TENSOR_RELU if self.relu else 0
            self.append(DEQUANTIZE, Geometry(h, w, c, h, w, c, 1, 1, 1, 1, 0, 0), 0, self.float_tensor(flags))

    def add_weights(self, layer: Conv2d | DepthwiseConv2d | Linear):
        """Convolution or linear layer: random weights, batch norm from the samples, folded, quantized."""
        if self.config == "float32" or (self.config == "mixed" and isinstance(layer, Linear) and layer.head):
            self.dequantize()
        g = layer_geometry(layer, self.shape)
        if isinstance(layer, Linear):
            op, fan_in = LINEAR, g.in_h * g.in_w * g.in_c
        elif isinstance(layer, DepthwiseConv2d):
            op, fan_in = DEPTHWISE_CONV2D, g.kernel_h * g.kernel_w
        else:
            op, fan_in = CONV2D, g.kernel_h * g.kernel_w * g.in_c
        weights, bias = np.zeros((g.out_c, fan_in), np.float32), np.zeros(g.out_c, np.float32)
        outputs = np.zeros((len(self.values), g.out_h * g.out_w * g.out_c), np.float32)
        fresh_layer(op, g, self.seed, len(self.layers), layer.batch_norm, layer.relu, self.values, weights, bias, outputs)
        self.shape, self.relu, self.values = (g.out_h, g.out_w, g.out_c), layer.relu, outputs
        flags = LAYER_TRAINABLE | (LAYER_RELU if layer.relu else 0)
        pads = None if isinstance(layer, Linear) else layer.padding
        shape = (g.out_c, g.kernel_h, g.kernel_w, fan_in // (g.kernel_h * g.kernel_w))
        tensor_flags = TENSOR_RELU if layer.relu else 0
        if self.tensors[-1]["type"] == F32:
            self.append(op, g, flags, self.float_tensor(tensor_flags), weights.reshape(shape), bias, pads=pads)
            return
        quantized, bias_q20 = np.zeros(weights.size, np.uint8), np.zeros(g.out_c, np.int32)
        scale, zero, lo, hi, y_scale, y_zero = quantize_layer(weights, bias, outputs, quantized, bias_q20)
        tensor = self.tensor(U8, tensor_flags | TENSOR_ADAPTIVE, y_scale, y_zero, lo, hi)
        self.append(op, g, flags, tensor, quantized.reshape(shape), bias_q20, scale, zero, pads)

    def add_max_pool(self, layer: MaxPool2d):
        """Max pooling keeps type, scale and zero point."""
        g = layer_geometry(layer, self.shape)
        y = np.zeros((len(self.values), g.out_h * g.out_w * g.out_c), np.float32)
        no_weights, no_bias = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
        fresh_layer(MAX_POOL2D, g, 0, 0, False, False, self.values, no_weights, no_bias, y)
        self.shape, self.values = (g.out_h, g.out_w, g.out_c), y
        before = self.tensors[-1]
        tensor = self.tensor(before["type"], before["flagset"] & TENSOR_RELU, before["scale"], before["zero"], before["lo"], before["hi"])
        self.append(MAX_POOL2D, g, 0, tensor)


def initialize(
    name: str, description: list[Layer], config: str, samples: np.ndarray, scale, zero: int, seed: int, train_last: int | None = None
) -> Network:
    """A network with random weights, batch norm and ranges from calibration samples.

    description: layers; config: one of CONFIGS ("mixed": quantized, but the head in float32); samples: uint8[n, h, w, c] with real value
    scale * (byte - zero); seed: uint32; train_last: number of layers with weights that train, all if None.
    Raises FqtError for an unknown configuration or a kernel that does not fit.
    """
    if config not in CONFIGS:
        raise FqtError(f"configuration '{config}' does not exist: choose one of {', '.join(CONFIGS)}")
    builder = Builder(config, samples, np.float32(scale), zero, seed)
    for layer in description:
        if isinstance(layer, MaxPool2d):
            builder.add_max_pool(layer)
        else:
            builder.add_weights(layer)
    network = Network(name, np.array(builder.tensors, TENSOR), np.array(builder.layers, LAYER), builder.weights, builder.biases)
    if train_last is not None:
        freeze(network, train_last)
    return network


def freeze(network: Network, train_last: int) -> None:
    """Let only the last train_last layers with weights train; feature maps before the first of them keep their ranges."""
    weighted = [i for i, weights in enumerate(network.weights) if weights is not None]
    if not 0 < train_last <= len(weighted):
        raise FqtError(f"cannot train the last {train_last} layers: the network has {len(weighted)} with weights")
    first = weighted[-train_last]
    for i in weighted:
        if i < first:
            network.layers["flagset"][i] &= LAYER_RELU
            network.tensors["flagset"][i + 1] &= TENSOR_RELU
