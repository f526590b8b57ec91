# SPDX-License-Identifier: Apache-2.0
"""Small TFLite models made on the spot, with the schema classes of LiteRT."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {np.dtype(n): getattr(schema.TensorType, n.upper()) for n in ("float32", "float16", "int8", "uint8", "int16", "int32", "int64")}
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions", "AVERAGE_POOL_2D": "Pool2DOptions", "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions",
    "MEAN": "ReducerOptions", "RESHAPE": "ReshapeOptions", "SOFTMAX": "SoftmaxOptions", "SQUEEZE": "SqueezeOptions",
    "SHAPE": "ShapeOptions", "STRIDED_SLICE": "StridedSliceOptions", "PACK": "PackOptions",
}  # fmt: skip
RELU, RELU6, TANH = 1, 3, 4
SAME, VALID = 0, 1


class Maker:
    """Collects operators in a row. Shapes have the batch axis; grids are (scale, zero) or (scales, zeros, axis)."""

    def __init__(self, shape, dtype=np.float32, grid=None, seed=0, signature=None):
        self.rng = np.random.RandomState(seed)
        self.dtype = np.dtype(dtype)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, "test"
        self.model.subgraphs, self.model.buffers, self.model.operatorCodes = [self.graph], [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []
        self.last = self.tensor(shape, dtype, grid=grid, name="input", signature=signature)
        self.graph.inputs = [self.last]
        self.shapes = {self.last: shape}

    def tensor(self, shape, dtype, data=None, grid=None, name="", signature=None):
        t = schema.TensorT()
        t.shape, t.type, t.name = list(shape), TYPES[np.dtype(dtype)], (name or f"t{len(self.graph.tensors)}").encode()
        t.shapeSignature = signature
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if grid is not None:
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint = np.atleast_1d(np.float32(grid[0])), np.atleast_1d(np.int64(grid[1]))
            q.quantizedDimension = grid[2] if len(grid) > 2 else 0
            q.detailsType = 0
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def const(self, array, grid=None):
        return self.tensor(np.shape(array), np.asarray(array).dtype, array, grid)

    def op(self, name, inputs, shape, grid=None, dtype=None, **options):
        """Append an operator; returns its output tensor."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        if name == "FULLY_CONNECTED" or (name == "DEPTHWISE_CONV_2D" and self.dtype != np.float32):
            code.version = 4 if name == "FULLY_CONNECTED" else 3
        self.model.operatorCodes.append(code)
        o = schema.OperatorT()
        o.opcodeIndex = len(self.model.operatorCodes) - 1
        self.last = self.tensor(shape, dtype or self.dtype, grid=grid)
        self.shapes[self.last] = tuple(shape)
        o.inputs, o.outputs = list(inputs), [self.last]
        if name in OPTIONS:
            made = getattr(schema, OPTIONS[name] + "T")()
            for key, value in options.items():
                assert hasattr(made, key), key
                setattr(made, key, value)
            o.builtinOptions, o.builtinOptionsType = made, getattr(schema.BuiltinOptions, OPTIONS[name])
        self.graph.operators.append(o)
        return self.last

    def weights(self, *shape, axis=0):
        fan_in = np.prod(shape) / shape[axis]
        return (self.rng.randn(*shape) / np.sqrt(fan_in)).astype(np.float32)

    def layer(self, name, weights, shape, axis=0, x=None, grid=None, per_channel=True, bias=True, **options):
        """A layer with float weights, quantized if the model is. The output's grid is the caller's."""
        x = self.last if x is None else x
        n = weights.shape[axis]
        values = self.rng.randn(n).astype(np.float32) * np.float32(0.3)
        if self.dtype == np.float32:
            inputs = [x, self.const(weights)] + ([self.const(values)] if bias else [])
            return self.op(name, inputs, shape, **options)
        others = tuple(k for k in range(weights.ndim) if k != axis)
        scales = np.abs(weights).max(others) / 127 if per_channel else np.atleast_1d(np.abs(weights).max() / 127)
        scales = np.maximum(scales, 1e-9).astype(np.float32)
        along = [1] * weights.ndim
        along[axis] = -1
        zero = 0 if self.dtype == np.int8 else 128
        steps = (np.rint(weights / scales.reshape(along)) + zero).astype(self.dtype)
        zeros = np.full(len(scales), zero)
        x_scale = self.graph.tensors[x].quantization.scale[0]
        inputs = [x, self.const(steps, (scales, zeros, axis if per_channel else 0))]
        if bias:
            counts = np.rint(values / (x_scale * scales).astype(np.float64)).clip(-(2**31), 2**31 - 1).astype(np.int64).astype(np.int32)
            inputs.append(self.const(counts, (x_scale * scales, np.zeros(len(scales)))))
        return self.op(name, inputs, shape, grid=grid, **options)

    def bytes(self):
        self.graph.outputs = [self.last]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def window(stride=(1, 1), padding=VALID, activation=0, dilation=None):
    """Options of a convolution or pool."""
    options = {"strideH": stride[0], "strideW": stride[1], "padding": padding, "fusedActivationFunction": activation}
    return options | ({"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]} if dilation else {})


def size(n, k, stride, padding, dilation=1):
    """Outputs along an axis, as TensorFlow counts them."""
    return -(-n // stride) if padding == SAME else -(-(n - dilation * (k - 1)) // stride)
