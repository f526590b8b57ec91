# SPDX-License-Identifier: Apache-2.0
"""The networks that ship with fqt, by name: each a function (input shape, classes) -> list of layer descriptions."""

from collections.abc import Callable

from fqt_ref.errors import FqtError
from fqt_ref.models.describe import Add, AvgPool2d, Conv2d, DepthwiseConv2d, Layer, Linear, MaxPool2d, same
from fqt_ref.models.digits_cnn import digits_cnn
from fqt_ref.models.digits_graph import digits_graph
from fqt_ref.models.digits_mlp import digits_mlp
from fqt_ref.models.ds_cnn import ds_cnn
from fqt_ref.models.mbednet import mbednet
from fqt_ref.models.mnist_cnn import mnist_cnn
from fqt_ref.models.mobilenet_v1 import mobilenet_v1_025
from fqt_ref.models.resnet8 import resnet8

NETWORKS: dict[str, Callable[[tuple[int, int, int], int], list[Layer]]] = {
    "mnist-cnn": mnist_cnn,
    "digits-cnn": digits_cnn,
    "digits-mlp": digits_mlp,
    "mbednet": mbednet,
    "ds-cnn": ds_cnn,
    "resnet8": resnet8,
    "mobilenet-v1-0.25": mobilenet_v1_025,
    "digits-graph": digits_graph,
}

__all__ = ["NETWORKS", "Add", "AvgPool2d", "Conv2d", "DepthwiseConv2d", "Layer", "Linear", "MaxPool2d", "describe_network", "same"]


def describe_network(name: str, input_shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """Layer descriptions of a named network. Raises FqtError for a name that does not exist."""
    if name not in NETWORKS:
        raise FqtError(f"network '{name}' does not exist: choose one of {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name](input_shape, classes)
