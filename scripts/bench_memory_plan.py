#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How near the memory planner's stages come to the lower bound, on random training graphs of inverted-residual networks.

Prints a row for each last stage allowed: share of plans equal to the bound, excess over it, seconds a plan. `--json`: one JSON object.
"""

import argparse
import json
import random
from statistics import mean, median
from time import perf_counter

from fqt_ref.memory_plan import METHODS, Buffer, aligned, check, plan

CAPTIONS = {
    "size": "greedy by size (TFLM's)",
    "greedy": "best of the greedy orders",
    "climb": "+ hill climb on the order",
    "milp": "+ MILP (HiGHS)",
}


class Layer:
    """An operator: the feature maps it reads (layers by index, -1: the input), bytes it writes, what its backward step reads."""

    def __init__(self, name: str, inputs: tuple[int, ...], size: int, weights: bool = True, relu: bool = False) -> None:
        self.name, self.inputs, self.size, self.weights, self.relu = name, inputs, size, weights, relu


def random_network(rng: random.Random) -> tuple[int, list[Layer]]:
    """(bytes of the input, layers): stem, 3 to 23 blocks of expand, depthwise, project (, add), head, pool, linear."""
    side, width = rng.choice((48, 64, 80, 96, 112, 128, 160)), rng.choice((0.25, 0.35, 0.5, 0.75, 1.0))
    input_size = side * side * 3
    side, channels = -(-side // 2), max(8, int(32 * width) // 8 * 8)
    layers = [Layer("stem", (-1,), side * side * channels, relu=True)]

    def add(name: str, size: int, *inputs: int, **what: bool) -> int:
        layers.append(Layer(f"{len(layers)} {name}", inputs or (len(layers) - 1,), size, **what))
        return len(layers) - 1

    for _ in range(rng.randint(3, 23)):
        start, stride, ratio = len(layers) - 1, 2 if side > 4 and rng.random() < 0.3 else 1, rng.choice((1, 3, 4, 5, 6))
        out = channels if rng.random() < 0.6 else channels + 8 * rng.randint(0, max(1, channels // 16))
        if ratio > 1:
            add("expand", side * side * channels * ratio, relu=True)
        side = -(-side // stride)
        add("depthwise", side * side * channels * ratio, relu=True)
        project = add("project", side * side * out)
        if stride == 1 and out == channels:
            add("add", side * side * out, project, start, weights=False)
        channels = out
    head = channels * rng.choice((2, 4))
    add("head", side * side * head, relu=True)
    add("pool", head, weights=False)
    add("linear", rng.choice((2, 10, 35, 100)))
    return input_size, layers


def training_graph(rng: random.Random) -> list[Buffer]:
    """Buffers of one sample's training: L forward steps, the loss, then backward steps from the last layer to the first trained one."""
    input_size, layers = random_network(rng)
    count = len(layers)
    first_trained = rng.choice([0, rng.choice([i for i, layer in enumerate(layers) if layer.weights])])

    def backward(layer: int) -> int:
        return 2 * count - layer

    last_read = {-1: 0} | {i: i for i in range(count)}
    last_read[count - 1] = count  # the loss
    for i, layer in enumerate(layers):
        trained = i >= first_trained
        for source in layer.inputs:
            last_read[source] = max(last_read[source], backward(i) if trained and layer.weights else i)
        if trained and layer.relu:  # its output is its mask
            last_read[i] = max(last_read[i], backward(i))
    buffers = [Buffer("input", aligned(input_size), 0, last_read[-1], "feature map")]
    buffers += [Buffer(layer.name, aligned(layer.size), i, last_read[i], "feature map") for i, layer in enumerate(layers)]
    for i in range(first_trained, count):
        if i + 1 < count and len(layers[i + 1].inputs) == 2:
            continue  # the error of what is added is the sum's, without a copy
        made, spent = backward(i + 1), backward(i)
        if len(layers[i].inputs) == 2:  # an error goes through the block, and around it to where the block begins
            start = layers[i].inputs[1]
            spent = backward(start + 1) if start >= first_trained else backward(i - 1)
        buffers.append(Buffer(f"error of {layers[i].name}", aligned(layers[i].size), made, spent, "error"))
    return buffers


def measure(graphs: list[list[Buffer]], until: str, seconds: float) -> dict:
    """Plan every graph with the stages up to `until`, and check the plans."""
    excesses, times = [], []
    for buffers in graphs:
        start = perf_counter()
        result = plan(buffers, seconds, until=until)
        times.append(perf_counter() - start)
        check(buffers, result)
        excesses.append(result.size / result.lower_bound - 1)
    return {
        "method": until,
        "equal_to_bound": excesses.count(0) / len(graphs),
        "mean_excess": mean(excesses),
        "worst_excess": max(excesses),
        "median_s": median(times),
        "worst_s": max(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--graphs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=3.0, help="a plan's time limit")
    parser.add_argument("--seed", type=int, default=0, help="of the graphs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.graphs < 1:
        parser.error(f"--graphs {options.graphs}: at least one graph")
    rng = random.Random(options.seed)
    graphs = [training_graph(rng) for _ in range(options.graphs)]
    plan([Buffer("a", 3, 0, 0), Buffer("b", 2, 0, 1)])
    rows = [measure(graphs, until, options.seconds) for until in METHODS]
    buffers = {"median": median(map(len, graphs)), "most": max(map(len, graphs))}
    if options.json:
        print(json.dumps({"graphs": options.graphs, "seed": options.seed, "seconds": options.seconds, "buffers": buffers, "rows": rows}))
        return
    print(f"{options.graphs} training graphs of {buffers['median']:.0f} buffers in the middle, {buffers['most']} at most\n")
    print("| method | equals the bound | mean excess | worst excess | median time | worst time |\n|---|---|---|---|---|---|")
    for row in rows:
        shares = f"{row['equal_to_bound']:.1%} | +{row['mean_excess']:.3%} | +{row['worst_excess']:.2%}"
        print(f"| {CAPTIONS[row['method']]} | {shares} | {1e3 * row['median_s']:.1f} ms | {row['worst_s']:.2f} s |")


if __name__ == "__main__":
    main()
