# SPDX-License-Identifier: Apache-2.0
"""The Kconfig fragment of a model, fqt.conf: just the operators that it uses, and exactly the memory that it needs."""

from typing import NamedTuple

from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.memory_plan import aligned
from fqt_ref.model_file import MAX_LAYERS
from fqt_ref.network import F32, OP_NAMES, Network
from fqt_ref.zeroth_order import ZerothConfig

QUEUE_BYTES, QUEUE_PLACES = 1024, 2  # the queue holds as many samples as fit, but so many at least
SAMPLE_HEADER = 8  # struct sample of the application
ITEM_HEADER = 8  # STREAM_ITEM_BYTES of the application


class Hyperparameters(NamedTuple):
    """How the application trains."""

    batch_size: int
    learning_rate_ppm: int
    zeroth: ZerothConfig | None = None  # without back-propagation


class Memories(NamedTuple):
    """Bytes of the application's memories that depend on the model, each a multiple of 8."""

    network: int
    trainer: int
    inference: int
    queue: int


def rounded(size: int) -> int:
    """Up to a multiple of 8; memories of 0 bytes do not exist in C."""
    return max(8, aligned(size, 8))


def sample_bytes(network: Network) -> int:
    """Bytes of a sample."""
    x = network.tensors[0]
    return int(x["h"]) * int(x["w"]) * int(x["c"])


def memories(network: Network, zeroth: ZerothConfig | None = None) -> Memories:
    """What the application of a network reserves. zeroth: to train without back-propagation."""
    place = SAMPLE_HEADER + aligned(sample_bytes(network))
    queue = max(QUEUE_BYTES // place, QUEUE_PLACES) * place
    lent = device_memory(network) if zeroth is None else zeroth_memory(network, zeroth)
    return Memories(*map(rounded, (*lent, queue)))


def operators(network: Network) -> frozenset[str]:
    """Options without CONFIG_FQT_ that a network needs: OP_CONV2D, ..., FLOAT32."""
    used = {f"OP_{OP_NAMES[int(op)].upper()}" for op in network.layers["op"]}
    return frozenset(used | ({"FLOAT32"} if (network.tensors["type"] == F32).any() else set()))


ALL_OPERATORS = frozenset({f"OP_{name.upper()}" for name in OP_NAMES.values()} | {"FLOAT32"})


def operator_lines(used: frozenset[str]) -> list[str]:
    """The fragment's lines on operators. Border layers do not exist without float32 ones: Kconfig does not ask for them then."""
    asked = ALL_OPERATORS - (set() if "FLOAT32" in used else {"OP_DEQUANTIZE"})
    return [f"CONFIG_FQT_{name}={'y' if name in used else 'n'}" for name in sorted(asked)]


def stream_lines(network: Network, shares_console: bool) -> list[str]:
    """The fragment's lines on samples that come from a UART; frames and a shell do not go over one line."""
    lines = ["CONFIG_FQT_APP_SOURCE_STREAM=y", f"CONFIG_FQT_APP_STREAM_FRAME_BYTES={ITEM_HEADER + sample_bytes(network)}"]
    return lines + (["CONFIG_SHELL=n", "CONFIG_FQT_APP_STREAM_ON_CONSOLE=y"] if shares_console else [])


def zeroth_lines(zeroth: ZerothConfig) -> list[str]:
    """The fragment's lines on training without back-propagation. Kconfig's last layer is 255: a model has fewer layers."""
    values = zeroth._replace(first_node=min(zeroth.first_node, MAX_LAYERS))._asdict()
    texts = {name: ("y" if value else "n") if isinstance(value, bool) else value for name, value in values.items()}
    return ["CONFIG_FQT_APP_ZEROTH_ORDER=y", *(f"CONFIG_FQT_APP_{name.upper()}={text}" for name, text in texts.items())]


def fragment(network: Network, training: Hyperparameters, stream: bool = False, shares_console: bool = False) -> str:
    """The whole file. stream: samples to learn come from a UART. shares_console: from the console's."""
    sizes = [f"CONFIG_FQT_APP_{name.upper()}_BYTES={size}" for name, size in memories(network, training.zeroth)._asdict().items()]
    numbers = [f"CONFIG_FQT_APP_BATCH_SIZE={training.batch_size}", f"CONFIG_FQT_APP_LEARNING_RATE_PPM={training.learning_rate_ppm}"]
    estimates = [] if training.zeroth is None else zeroth_lines(training.zeroth)
    title = f"# Written by `fqt deploy` for {network.name}."
    source = stream_lines(network, shares_console) if stream else []
    return "\n".join([title, *operator_lines(operators(network)), *sizes, *numbers, *estimates, *source, ""])
