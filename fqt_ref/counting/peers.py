# SPDX-License-Identifier: Apache-2.0
"""Instructions per multiply-accumulate that others reach, lower bounds and this project's gates (layers: fqt_ref/counting/kernels.py).

CMSIS-NN is V.22.11 at -Ofast; the prototype is hand-written u8 code of restricted shapes, with one weight grid and asymmetric weights.
Both were counted as we count: QEMU 7.2, gcc-arm-none-eabi 12.2, all taps counted, also those on the padding. On a Cortex-M7 the
instructions are those of a Cortex-M4.
"""

from typing import NamedTuple


class Peers(NamedTuple):
    """Instructions per MAC of others; None where they have no such kernel, or nobody counted it."""

    cmsis_nn: float | None
    prototype: float | None


# By (layer, pass, core). CMSIS-NN's linear e has a weight zero point, as ours always have: without one it takes 6.09 (M0+), 1.91 (M4, M7).
PEERS = {
    (layer, passing, core): Peers(*pair)
    for (layer, passing), row in {
        ("a", "forward"): ((21.4, 10.2), (10.5, 4.6), (10.6, 4.7)),
        ("b", "forward"): ((7.13, 4.25), (2.14, 1.47), (2.14, 1.47)),
        ("c", "forward"): ((37.6, 9.7), (8.6, 3.9), (8.5, 3.55)),
        ("d", "forward"): ((7.60, 4.06), (2.11, 1.40), (2.08, 1.40)),
        ("e", "forward"): ((11.4, 3.54), (1.97, 1.47), (1.97, 1.47)),
        ("f", "forward"): ((7.18, 5.16), (2.37, 2.45), (2.37, 2.43)),
        ("b", "dx"): ((7.07, None), (2.07, None), (2.08, None)),
        ("e", "dx"): ((None, 4.68), (None, 2.31), (None, 2.31)),
        ("b", "dw"): ((None, 6.42), (None, 1.45), (None, 1.45)),
        ("e", "dw"): ((None, 5.51), (None, 2.00), (None, 2.00)),
    }.items()
    for core, pair in zip(("cortex-m0", "cortex-m4", "cortex-m7"), row, strict=True)
}
NOBODY = Peers(None, None)

# By (kernel, pass): Cortex-M0+, Cortex-M4 and M7.
GATES = {
    ("conv2d", "forward"): (4.5, 1.6),
    ("conv2d", "dx"): (4.5, 1.6),
    ("conv2d", "dw"): (6.5, 1.6),
    ("linear", "forward"): (4.0, 1.6),
    ("linear", "dx"): (5.0, 2.4),
    ("linear", "dw"): (6.0, 2.1),
    ("depthwise_conv2d", "forward"): (10.0, 4.0),
}
UNGATED = ("a",)  # 9 taps an output: what an output costs weighs more than its products

# Derived, not reached: M4 a 2x2 block of registers (forward, dx), both operands 16 bits (dw), four rows (linear); M0+ four rows.
BOUNDS = {
    ("conv2d", "forward"): (3.1, 1.13),
    ("conv2d", "dx"): (3.1, 1.13),
    ("conv2d", "dw"): (None, 0.88),
    ("linear", "forward"): (3.1, 1.38),
    ("linear", "dx"): (None, 1.8),
    ("linear", "dw"): (None, 1.5),
}

# Bytes of .text: CMSIS-NN as such a benchmark links it, the prototype's seven kernels.
CODE_SIZES = {"cortex-m0": Peers(15.0e3, 3.6e3), "cortex-m4": Peers(20.7e3, 4.2e3)}


def column(core: str) -> int:
    """Which of a pair is a core's."""
    return 0 if core == "cortex-m0" else 1


def gate(kernel: str, layer: str, passing: str, core: str) -> float | None:
    """The most instructions per MAC that a kernel may take."""
    return None if layer in UNGATED else GATES.get((kernel, passing), (None, None))[column(core)]


def bound(kernel: str, passing: str, core: str) -> float | None:
    """The fewest instructions per MAC that seem possible."""
    return BOUNDS.get((kernel, passing), (None, None))[column(core)]
