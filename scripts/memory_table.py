#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The memory of MbedNet's transfer learning (paper, Fig. 4c, 4d), last five layers trained, in all configurations."""

import numpy as np

from fqt_ref.build import CONFIGS, build_network
from fqt_ref.info import describe
from fqt_ref.model_file import file_bytes
from fqt_ref.models import describe_network
from fqt_ref.models.describe import graph_of

SETS = {  # input shape, classes
    "flowers102, paper's size": ((128, 128, 3), 102),
    "flowers102": ((64, 64, 3), 102),
    "cifar10": ((32, 32, 3), 10),
    "arsc": ((49, 40, 1), 40),
    "hapt": ((1, 128, 6), 12),
    "cwru": ((1, 512, 1), 10),
}
CHIPS = {"RP2040": (264 << 10, 16 << 20), "nrf52840": (256 << 10, 1 << 20), "IMXRT1062": (1024 << 10, 16 << 20)}  # RAM, flash (Tab. II)
TRAINED = 5

print("| data set | configuration | feature maps and errors | lower bound | trained weights and gradients | flash | fits |")
print("|---|---|---|---|---|---|---|")
for name, (shape, classes) in SETS.items():
    graph = graph_of("mbednet", describe_network("mbednet", shape, classes), shape)
    samples = np.random.RandomState(0).randint(0, 256, (2, *shape)).astype(np.uint8)
    for config in CONFIGS:
        network = build_network(graph, config, samples, 1 / 255, 0, train_last=TRAINED)
        data = file_bytes(network)
        numbers = describe(network, len(data))
        plan, bound, trained = (numbers[f"{key}_bytes"] for key in ("training_arena", "training_lower_bound", "trained"))
        fitting = [chip for chip, (ram, flash) in CHIPS.items() if plan + trained <= ram and len(data) <= flash]
        print(f"| {name} | {config} | {plan} | {bound} | {trained} | {len(data)} | {', '.join(fitting) or '-'} |", flush=True)
