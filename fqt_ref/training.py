# SPDX-License-Identifier: Apache-2.0
"""A training run: epochs over a data set, in pieces short enough to be interrupted, and evaluation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np

from fqt_ref import train_step as ts
from fqt_ref import zeroth_order as zo
from fqt_ref.arithmetic import sample_order
from fqt_ref.blas import one_blas_thread
from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.frozen import copy_of, entry_of, frozen_features
from fqt_ref.health import Health, clear, health_of
from fqt_ref.initialize import initialize
from fqt_ref.input_grid import (
    CALIBRATION_SAMPLES,
    bytes_on,
    check_trains,
    fitted_to,
    for_new_network,
    grid_of,
    input_grid_for,
    on_grid,
    said,
)
from fqt_ref.kind import TRAINING, check_classifier
from fqt_ref.limits import LARGEST_EPOCHS, check_seed
from fqt_ref.model_file import MAX_POSITIONS, check_batch
from fqt_ref.models import describe_network
from fqt_ref.network import ENTRY, SAMPLES, Network, State, new_state
from fqt_ref.optimizers.names import MOVING_AVERAGE, STANDARDIZED_SGD
from fqt_ref.sample_checks import check_bytes, check_labels, check_sample_bytes, check_samples, check_threads
from fqt_ref.training_plan import tensor_bytes

PIECE = 1024  # samples between two looks at the keyboard


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures. Losses are mean cross-entropies in nats; accuracies are fractions; health: of the engine's training alone."""

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float
    health: Health | None = None

    def as_dict(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value is not None}

    def warnings(self) -> list[str]:
        """What is not well with the training (health.py), a clause each."""
        return [] if self.health is None else self.health.warnings(self.epoch, self.train_accuracy)


def flat(images: np.ndarray) -> np.ndarray:
    """uint8[n, h, w, c] as a writable uint8[n, h * w * c], the one type that the engine is compiled for. Raises FqtError."""
    check_bytes("the array of samples", images)
    return np.array(images.reshape(len(images), int(np.prod(images.shape[1:]))), np.uint8, order="C")


def prepared_state(network: Network, config: ts.TrainConfig | None = None) -> State:
    """A State ready for samples; for inference alone it needs no configuration."""
    config = config or ts.train_config(1)
    moving = config.weight_range == MOVING_AVERAGE
    state = new_state(network, config.optimizer != STANDARDIZED_SGD, config.real_weights, moving)
    ts.begin(state, config)
    return state


def fresh_network(name: str, config: str, data: Dataset, seed: int, train_last: int | None = None) -> Network:
    """A named network with random weights, calibrated on the first training samples. Raises FqtError."""
    check_seed(seed)
    data = said(for_new_network(data))
    grid = input_grid_for(data)
    samples = on_grid(data, grid).data.train_x[:CALIBRATION_SAMPLES]
    description = describe_network(name, samples.shape[1:], data.classes)
    return initialize(name, description, config, samples, *grid, seed, train_last)


def train_epochs(
    network: Network,
    data: Dataset,
    config: ts.TrainConfig,
    epochs: int,
    advance: Callable[[int, float], None] = lambda n, loss: None,
    threads: int = 1,
    zeroth: zo.ZerothConfig | None = None,
) -> Iterator[tuple[Epoch, State]]:
    """Train epoch by epoch; yields each epoch's figures and the state (valid until the next one). Frozen layers run once per sample.

    Inside, BLAS has one thread; the caller's setting is in force again whenever an epoch is yielded.

    zeroth: of zeroth_config(), to train without back-propagation. advance(samples, mean loss) is called after each piece.
    Raises FqtError for a batch size out of bounds, data that does not fit or has no training part, a network that is no classifier,
    arrays or hyperparameters that make no sense.
    """
    check_classifier(network, TRAINING)
    if zeroth is None:
        check_batch(network, config.batch_size)
    check_run(config, epochs)
    check_trains(data)
    data = fitted_to(network, data)
    check_threads(threads)
    state = prepared_state(network, config) if zeroth is None else zo.prepared_state(network, config, zeroth)
    piece_size = PIECE if zeroth is None else max(1, PIECE // zeroth.queries)  # each query costs two forward passes a layer
    entry = entry_of(network)
    samples, test_samples = (frozen_features(state, flat(images), entry, threads) for images in (data.train_x, data.test_x))
    state.counters[ENTRY] = entry
    labels = np.array(data.train_y, np.int64)
    for epoch in range(epochs):
        clear(state)
        start = perf_counter()
        order = sample_order(config.seed, epoch, len(samples))
        losses, predictions = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
        for at in range(0, len(order), piece_size):
            piece = slice(at, at + piece_size)
            with one_blas_thread():
                if zeroth is None:
                    ts.train(state, config, samples, labels, order[piece], losses[piece], predictions[piece])
                else:
                    zo.train(state, config, zeroth, samples, labels, order[piece], losses[piece], predictions[piece])
            advance(len(order[piece]), losses[piece].mean() / 65536)
        if state.counters[SAMPLES] > 0:
            if zeroth is None:
                ts.update(state, config)
            else:
                zo.update(state, config, zeroth)
        accuracy = float(np.mean(predictions == labels[order]))
        test = evaluate(state, test_samples, data.test_y, threads)
        yield Epoch(epoch, float(losses.mean() / 65536), accuracy, test, perf_counter() - start, health_of(state, labels)), state


def predictions_of(state: State, images: np.ndarray | Dataset, threads: int = 1) -> np.ndarray:
    """Predicted classes, int64[n]; the same for any number of threads, 1..256.

    images: a data set, of which the test part is taken; or bytes of the network's input grid, uint8[n, h, w, c], or real values, float32;
    of a state that samples enter behind frozen layers, uint8[n, bytes] as frozen_features() made them.
    Raises FqtError for any others.
    """
    check_threads(threads)
    check_samples("the array of images", images.test_x if isinstance(images, Dataset) else images)
    samples = flat(fitted_to(state, images).test_x if isinstance(images, Dataset) else bytes_on(grid_of(state), images))
    check_sample_bytes("the array of images", samples, tensor_bytes(state.tensors[state.counters[ENTRY]]))
    predictions = np.zeros(len(samples), np.int64)

    def work(part: int) -> None:
        piece = slice(part * len(samples) // threads, (part + 1) * len(samples) // threads)
        # Inference writes feature maps and extremes: each thread works on its own copy, so training goes on undisturbed.
        ts.predict(copy_of(state), samples[piece], predictions[piece])

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return predictions


def evaluate(state: State, images: np.ndarray | Dataset, labels: np.ndarray | None = None, threads: int = 1) -> float:
    """Fraction of images whose prediction is the label; see predictions_of. A data set brings its test part's labels.

    Raises FqtError as that does, for labels that do not fit, and without images.
    """
    if isinstance(images, Dataset):
        data = fitted_to(state, images)
        images, labels = data.test_x, data.test_y
    check_labels("the array of labels", labels, len(images), int(state.tensors[-1].c))
    if len(images) == 0:
        raise FqtError("there are no images: accuracy needs one")
    return float(np.mean(predictions_of(state, images, threads) == labels))


def check_run(config: ts.TrainConfig, epochs: int) -> None:
    """Hyperparameters that make no sense get a FqtError before anything is loaded."""
    if not 1 <= config.batch_size <= MAX_POSITIONS:
        raise FqtError(f"batch size {config.batch_size} is not in 1..{MAX_POSITIONS}")
    if not 0 <= epochs <= LARGEST_EPOCHS:
        raise FqtError(f"epochs {epochs} is not in 0..{LARGEST_EPOCHS}")
    highest = 1 if config.optimizer == STANDARDIZED_SGD else 1000000  # steps of int8 SGD-M are too small by s_w^2
    if not 0 < config.learning_rate <= highest:
        raise FqtError(f"learning rate {config.learning_rate} is not in 0..{highest} (more than 0)")
    if not 0 <= config.momentum < 1:
        raise FqtError(f"momentum {config.momentum} is not in 0..1 (less than 1)")
    if not 0 < config.range_rate <= 1:
        raise FqtError(f"range rate {config.range_rate} is not in 0..1 (more than 0)")
    if config.lambda_min > config.lambda_max:
        raise FqtError(f"lambda_min {config.lambda_min / 4096} exceeds lambda_max {config.lambda_max / 4096}")
