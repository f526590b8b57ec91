# SPDX-License-Identifier: Apache-2.0
"""What a network's outputs mean, told by its shapes: a model file does not say it. Only classifiers can be trained and counted right."""

import numpy as np

from fqt_ref.errors import FqtError
from fqt_ref.network import Network

CLASSIFIER, REGRESSION, AUTOENCODER = "classifier", "regression", "autoencoder"
TRAINING, ACCURACY = "training by cross-entropy needs a classifier", "class accuracy cannot measure it"
LARGEST_CLASSIFIER_OF_ITS_SIZE = 16  # with as many outputs as inputs: above it the inputs are what is put out
MEANINGS = {
    CLASSIFIER: "one output a class",
    REGRESSION: "one output: a number, or the one logit of a binary classifier",
    AUTOENCODER: "as many outputs as inputs",
}


def kind_of_sizes(sizes: list[int]) -> str:
    """The kind of a network whose tensors have so many elements, the input first, the outputs last.

    An autoencoder gives as many values as it takes, and either more than a classifier of few inputs would, or through fewer between.
    """
    inputs, outputs = sizes[0], sizes[-1]
    if outputs == 1:
        return REGRESSION
    if inputs == outputs and (outputs > LARGEST_CLASSIFIER_OF_ITS_SIZE or min(sizes) < outputs):
        return AUTOENCODER
    return CLASSIFIER


def kind_of(network: Network) -> str:
    """The kind of a network: CLASSIFIER, REGRESSION or AUTOENCODER."""
    return kind_of_sizes([int(np.prod([int(tensor[axis]) for axis in "hwc"])) for tensor in network.tensors])


def check_classifier(network: Network, why_not: str) -> None:
    """Whether cross-entropy and class accuracy mean something; why_not: TRAINING or ACCURACY, what is wanted. Raises FqtError."""
    kind = kind_of(network)
    if kind != CLASSIFIER:
        article = "an" if kind == AUTOENCODER else "a"
        remedy = "import it with --classes N to give it a classifier's head"
        raise FqtError(f"{network.name} is {article} {kind} ({MEANINGS[kind]}), and {why_not}: use it for inference, or {remedy}")
