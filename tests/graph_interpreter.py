# SPDX-License-Identifier: Apache-2.0
"""What a Graph computes, in plain NumPy: real numbers, or rounded to each prescribed grid as a quantized runtime does it."""

import numpy as np

from fqt_ref.graph import WINDOWED, Graph, Grid, Node


def round_to(values: np.ndarray, grid: Grid) -> np.ndarray:
    """The nearest values on a grid."""
    scale, zero = float(grid.scale[0]), int(grid.zero[0])
    return scale * (np.clip(np.floor(values / scale + 0.5) + zero, 0, 255) - zero)


def windows(node: Node, x: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """float[n, out_h, out_w, kernel_h, kernel_w, c]; padding is 0."""
    top, bottom, left, right = node.padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    taps = np.empty((len(x), shape[0], shape[1], *node.kernel, x.shape[3]), x.dtype)
    for ky in range(node.kernel[0]):
        for kx in range(node.kernel[1]):
            y0, x0 = ky * node.dilation[0], kx * node.dilation[1]
            rows = slice(y0, y0 + (shape[0] - 1) * node.stride[0] + 1, node.stride[0])
            columns = slice(x0, x0 + (shape[1] - 1) * node.stride[1] + 1, node.stride[1])
            taps[:, :, :, ky, kx] = x[:, rows, columns]
    return taps


def run_node(node: Node, inputs: list[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """One operator on float[n, h, w, c]."""
    x = inputs[0]
    if node.op == "linear":
        y = x.reshape(len(x), -1) @ node.weights.reshape(node.channels, -1).T.astype(x.dtype)
        y = y.reshape(len(x), 1, 1, -1)
    elif node.op in WINDOWED:
        taps = windows(node, x, shape)
        if node.op == "max_pool2d":
            y = taps.max((3, 4))
        elif node.op == "avg_pool2d":
            y = taps.mean((3, 4))
        elif node.op == "conv2d":
            y = np.tensordot(taps, node.weights.astype(x.dtype), ((3, 4, 5), (1, 2, 3)))
        else:
            y = np.einsum("nyxklc,ckl->nyxc", taps, node.weights[..., 0].astype(x.dtype))
    elif node.op == "add":
        y = x + inputs[1]
    else:
        y = x * np.clip(x + 3, 0, 6) / 6
    if node.bias is not None:
        y = y + node.bias.astype(x.dtype)
    if node.activation:
        y = np.clip(y, 0, 6 if node.activation == "relu6" else None)
    return y


def run_graph(graph: Graph, x: np.ndarray, quantized: bool = False) -> list[np.ndarray]:
    """Every tensor, float64[n, h, w, c], for real inputs x [n, h, w, c]. quantized: round to the prescribed grids, layer by layer."""
    tensors = [np.asarray(x, np.float64).reshape(-1, *graph.input_shape)]
    if quantized and graph.input_grid is not None:
        tensors[0] = round_to(tensors[0], graph.input_grid)
    for i, node in enumerate(graph.nodes):
        y = run_node(node, [tensors[t] for t in node.inputs], graph.shape(i + 1))
        assert y.shape[1:] == graph.shape(i + 1), node.name
        if quantized and node.output_grid is not None and node.op != "max_pool2d":
            y = round_to(y, node.output_grid)
        tensors.append(y)
    return tensors


def logits(graph: Graph, x: np.ndarray, quantized: bool = False) -> np.ndarray:
    """float64[n, classes]."""
    return run_graph(graph, x, quantized)[-1].reshape(len(x), -1)
