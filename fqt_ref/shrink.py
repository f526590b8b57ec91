# SPDX-License-Identifier: Apache-2.0
"""What to change in a deployment of which the linker says that it does not fit: the same that `fqt fit` proposes, for any board."""

from fqt_ref.deploy_config import Hyperparameters, memories, sample_bytes
from fqt_ref.fit import LABEL_BYTES, frozen, padded, trained_layers
from fqt_ref.network import Network


def fewer_layers(network: Network, training: Hyperparameters, lacking: int) -> int:
    """The largest number of last layers whose training saves so many bytes of RAM; 0 if not even one layer's does."""
    whole = sum(memories(network, training.zeroth, training.keeps_ranges))
    for count in range(trained_layers(network) - 1, 0, -1):
        if whole - sum(memories(frozen(network, count), training.zeroth, training.keeps_ranges)) >= lacking:
            return count
    return 0


def fewer_samples(network: Network, samples: int, lacking: int) -> int:
    """How many samples may stay in flash if so many bytes have to go; 0 if none."""
    return max(0, samples - -(-padded(lacking) // (LABEL_BYTES + sample_bytes(network))))


def remedy(network: Network, training: Hyperparameters, samples: int | None, lacking: dict[str, int]) -> str:
    """One line. samples: in flash, None if their number cannot be chosen; lacking: bytes by memory region."""
    hints = []
    for region, size in lacking.items():
        if region == "FLASH":
            count = fewer_samples(network, samples, size) if samples is not None else 0
            hints.append(f"FLASH: --samples {count}" if count else "FLASH: take a smaller network, or a board with more")
        else:
            count = fewer_layers(network, training, size)
            hints.append(f"{region}: train the last {count} layers only (fqt train --from MODEL --train-last {count})" if count
                         else f"{region}: take a smaller network or input, or a board with more")  # fmt: skip
    return "; ".join(hints)
