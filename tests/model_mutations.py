# SPDX-License-Identifier: Apache-2.0
"""Damaged models whose files still parse: fields of ONNX and TFLite models changed at random, a seed each."""

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

NUMBERS = (-(2**31), -3, -1, 0, 1, 2, 3, 5, 7, 127, 255, 256, 65536, 2**31 - 1)
WORDS = ("", "x", "input", "line\nbreak \x1b[31m", "SAME_UPPER", "Conv", "Loop", "Expand", "Relu", "Cast", "Reshape", "MaxPool")


def one_of(rng, items):
    return items[rng.randint(len(items))]


def mutated_onnx(model, rng):
    """A copy of a ModelProto with one to three fields changed."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for _ in range(rng.randint(1, 4)):
        graph = model.graph
        kind, node = rng.randint(9), one_of(rng, graph.node)
        if kind == 0 and node.input:
            node.input[rng.randint(len(node.input))] = one_of(rng, [*WORDS, *(n.output[0] for n in graph.node if n.output)])
        elif kind == 1 and node.input:
            del node.input[rng.randint(len(node.input))]
        elif kind == 2:
            node.op_type = one_of(rng, [*WORDS, *(n.op_type for n in graph.node)])
        elif kind == 3 and node.attribute:
            attribute = one_of(rng, node.attribute)
            attribute.name = one_of(rng, [attribute.name, *(a.name for n in graph.node for a in n.attribute)])
            if attribute.ints:
                attribute.ints[rng.randint(len(attribute.ints))] = one_of(rng, NUMBERS)
            attribute.i, attribute.type = one_of(rng, NUMBERS), one_of(rng, [attribute.type, rng.randint(1, 12)])
        elif kind == 4 and node.attribute:
            del node.attribute[rng.randint(len(node.attribute))]
        elif kind == 5 and graph.initializer:
            tensor = one_of(rng, graph.initializer)
            if tensor.dims:
                tensor.dims[rng.randint(len(tensor.dims))] = one_of(rng, NUMBERS)
        elif kind == 6 and graph.initializer:
            tensor = one_of(rng, graph.initializer)
            tensor.data_type = rng.randint(0, 25)
        elif kind == 7:
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[rng.randint(len(dims))].dim_value = one_of(rng, NUMBERS)
        else:
            node.name = one_of(rng, WORDS)
            del node.output[rng.randint(len(node.output)) :]
            node.output.append(one_of(rng, [*WORDS, *(n.output[0] for n in graph.node if n.output)]))
    return model.SerializeToString()


def mutated_tflite(data, rng):
    """A TFLite file's bytes with one to three fields changed."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    for _ in range(rng.randint(1, 4)):
        kind, operator, tensor = rng.randint(8), one_of(rng, graph.operators), one_of(rng, graph.tensors)
        if kind == 0:
            operator.inputs = np.array(operator.inputs[: rng.randint(len(operator.inputs) + 1)], np.int32)
        elif kind == 1 and len(operator.inputs):
            operator.inputs = np.array(operator.inputs, np.int32)
            operator.inputs[rng.randint(len(operator.inputs))] = rng.randint(-1, len(graph.tensors))
        elif kind == 2:
            code = one_of(rng, model.operatorCodes)
            code.builtinCode = one_of(rng, [c.builtinCode for c in model.operatorCodes] + list(range(130)))
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        elif kind == 3 and tensor.shape is not None and len(tensor.shape):
            tensor.shape = np.array(tensor.shape, np.int32)
            tensor.shape[rng.randint(len(tensor.shape))] = one_of(rng, NUMBERS)
        elif kind == 4:
            tensor.type = rng.randint(0, 12)
        elif kind == 5 and operator.builtinOptions is not None:
            name = one_of(rng, [key for key, value in vars(operator.builtinOptions).items() if type(value) is int] or ["padding"])
            setattr(operator.builtinOptions, name, int(one_of(rng, [0, 1, 2, 3, 127])))
        elif kind == 6:
            tensor.quantization = one_of(rng, graph.tensors).quantization
        else:
            tensor.name, tensor.buffer = one_of(rng, WORDS).encode(), rng.randint(len(model.buffers))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
