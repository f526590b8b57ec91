# SPDX-License-Identifier: Apache-2.0
"""The Kconfig fragment of a model, fqt.conf: just the operators that it uses, and exactly the memory that it needs."""

from typing import NamedTuple

import numpy as np

from fqt_ref.device_memory import device_memory, zeroth_memory
from fqt_ref.errors import FqtError
from fqt_ref.memory_plan import aligned
from fqt_ref.model_file import MAX_LAYERS
from fqt_ref.network import F32, OP_NAMES, Network
from fqt_ref.optimizers.names import HYSTERESIS, LOSS, MOVING_AVERAGE, STOCHASTIC_ERRORS, WEIGHT_RANGES
from fqt_ref.sparse_update import RATE_ONE
from fqt_ref.train_step import TrainConfig, check_on_chip, train_config
from fqt_ref.zeroth_order import ZerothConfig, check_options

QUEUE_BYTES, QUEUE_PLACES = 1024, 2  # the queue holds as many samples as fit, but so many at least
SAMPLE_HEADER = 8  # struct sample of the application
ITEM_HEADER = 8  # STREAM_ITEM_BYTES of the application
MOST_DIGITS = 999_999_999  # of a rate; an int32 holds them


class Hyperparameters(NamedTuple):
    """How the application trains, as its Kconfig options say it; made by on_chip()."""

    batch_size: int
    learning_rate: np.float32
    lambda_min_percent: int
    lambda_max_percent: int
    sparse_last: bool
    weight_range: int  # of optimizers.names.WEIGHT_RANGES
    range_rate: np.float32
    stochastic_errors: int  # of STOCHASTIC_ERRORS
    zeroth: ZerothConfig | None  # without back-propagation

    def config(self, seed: int) -> TrainConfig:
        """The same for the engine."""
        return train_config(
            self.batch_size, self.learning_rate, self.lambda_min_percent / 100, self.lambda_max_percent / 100,
            self.sparse_last, seed, weight_range=WEIGHT_RANGES[self.weight_range], range_rate=self.range_rate,
            stochastic_errors=STOCHASTIC_ERRORS[self.stochastic_errors],
        )  # fmt: skip

    @property
    def keeps_ranges(self) -> bool:
        """Whether the library is built with CONFIG_FQT_WEIGHT_RANGES."""
        return self.weight_range != HYSTERESIS


class Decimal(NamedTuple):
    """A rate as Kconfig, which knows no fractions, has it: digits times 10 to the power of -exponent."""

    digits: int
    exponent: int


def decimal(name: str, rate: np.float32) -> Decimal:
    """The shortest decimal that is this float32 and no other, so that the C compiler reads the same bits.

    Raises FqtError for a rate that is negative, no number, or longer than Kconfig's integers.
    """
    if not (np.isfinite(rate) and rate >= 0):
        raise FqtError(f"{name} {rate} is no rate: take a number from 0 up")
    mantissa, _, power = np.format_float_scientific(rate, unique=True, trim="-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits, exponent = int(whole + fraction), len(fraction) - int(power)
    if exponent < 0:
        digits, exponent = digits * 10**-exponent, 0
    if digits > MOST_DIGITS:
        raise FqtError(f"{name} {rate} is too large for the application: take one below {MOST_DIGITS}")
    return Decimal(digits, exponent)


def percent(name: str, share: int) -> int:
    """A share in Q12 as the whole percent of which settings.c makes it. Raises FqtError for one that is between two."""
    rounded = (share * 100 + RATE_ONE // 2) // RATE_ONE
    if (rounded * RATE_ONE + 50) // 100 != share:
        raise FqtError(f"{name} {share / RATE_ONE:.4g} is not a whole percent, and Kconfig has no others: take {rounded / 100}")
    return rounded


def on_chip(config: TrainConfig, zeroth: ZerothConfig | None = None) -> Hyperparameters:
    """The same for the application, bit for bit. Raises FqtError for what the C library or Kconfig does not have."""
    check_on_chip(config)
    if zeroth is not None:
        check_options(config)
    decimal("learning rate", config.learning_rate)
    decimal("range rate", config.range_rate)
    return Hyperparameters(
        config.batch_size, config.learning_rate, percent("lambda-min", config.lambda_min), percent("lambda-max", config.lambda_max),
        config.sparse_last, config.weight_range, config.range_rate, config.stochastic_errors, zeroth,
    )  # fmt: skip


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


def memories(network: Network, zeroth: ZerothConfig | None = None, keeps_ranges: bool = False) -> Memories:
    """What the application of a network reserves. zeroth: to train without back-propagation; keeps_ranges: as Hyperparameters."""
    place = SAMPLE_HEADER + aligned(sample_bytes(network))
    queue = max(QUEUE_BYTES // place, QUEUE_PLACES) * place
    lent = device_memory(network, keeps_ranges) if zeroth is None else zeroth_memory(network, zeroth)
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


def name_of_option(choice: str, name: str) -> str:
    """A member of one of Kconfig's choices."""
    return f"CONFIG_FQT_APP_{choice}_{name.upper().replace('-', '_')}=y"


def rate_lines(name: str, rate: np.float32) -> list[str]:
    """The fragment's lines on a rate, for example "learning rate"."""
    option = f"CONFIG_FQT_APP_{name.upper().replace(' ', '_')}"
    return [f"{option}_{part.upper()}={value}" for part, value in decimal(name, rate)._asdict().items()]


def training_lines(training: Hyperparameters) -> list[str]:
    """The fragment's lines on how to train."""
    lines = [f"CONFIG_FQT_APP_{name.upper()}={getattr(training, name)}"
             for name in ("batch_size", "lambda_min_percent", "lambda_max_percent")]  # fmt: skip
    lines += rate_lines("learning rate", training.learning_rate)
    lines += ["CONFIG_FQT_APP_SPARSE_LAST=y"] if training.sparse_last else []
    if training.keeps_ranges:
        lines.append(name_of_option("WEIGHT_RANGE", WEIGHT_RANGES[training.weight_range]))
    if training.weight_range == MOVING_AVERAGE:
        lines += rate_lines("range rate", training.range_rate)
    if training.stochastic_errors != LOSS:
        lines.append(name_of_option("STOCHASTIC_ERRORS", STOCHASTIC_ERRORS[training.stochastic_errors]))
    return lines + ([] if training.zeroth is None else zeroth_lines(training.zeroth))


def fragment(network: Network, training: Hyperparameters, stream: bool = False, shares_console: bool = False) -> str:
    """The whole file. stream: samples to learn come from a UART. shares_console: from the console's."""
    reserved = memories(network, training.zeroth, training.keeps_ranges)
    sizes = [f"CONFIG_FQT_APP_{name.upper()}_BYTES={size}" for name, size in reserved._asdict().items()]
    title = f"# Written by `fqt deploy` for {network.name}."
    source = stream_lines(network, shares_console) if stream else []
    return "\n".join([title, *operator_lines(operators(network)), *sizes, *training_lines(training), *source, ""])
