# SPDX-License-Identifier: Apache-2.0
"""What a training sample costs on an emulated core (paper, Fig. 4b, 5, 6d, 7b): counted instructions, estimated cycles, time and energy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqt_ref.experiments.chips import CHIPS, ENERGY_MODEL, joules, seconds
from fqt_ref.experiments.description import DONE, Cell, Chart, Experiment, Found, Outcome, Record, Run, Table, why_missing
from fqt_ref.experiments.place import Place

Shape = tuple[int, int, int]
PASSES = ("forward", "backward", "update")


def digits_as(shape: Shape, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's digits, enlarged to images or repeated to signals of a shape: real samples on every machine, uint8[n, h, w, c]."""
    from fqt_ref.datasets import load

    data, (h, w, c) = load("digits"), shape
    images = data.train_x[:count, :, :, 0]
    if h == 1:
        made = np.resize(images.reshape(len(images), -1).T, (w, len(images))).T[:, None, :, None]
    else:
        made = images.repeat(-(-h // 8), axis=1).repeat(-(-w // 8), axis=2)[:, :h, :w, None]
    return np.ascontiguousarray(made.repeat(c, axis=3)), np.array(data.train_y[:count], np.int64)


@dataclass(frozen=True)
class Cost(Run):
    """A network's step on a core at update rates; it has trained for ten minibatches before, as fqt_ref/counting/steps.py has it.

    queries, first_node: of the ZerothConfig of a step without back-propagation; "backward" are its estimates then.
    """

    core: str
    network: str
    shape: Shape
    classes: int
    config: str
    train_last: int | None
    rates: tuple[float, ...] = (1.0,)
    queries: int | None = None
    first_node: int | None = None

    def perform(self, place: Place) -> Outcome:
        from fqt_ref import train_step
        from fqt_ref.build import build_network
        from fqt_ref.counting import cycles, steps
        from fqt_ref.counting.instructions import instructions
        from fqt_ref.device_memory import device_memory, zeroth_memory
        from fqt_ref.models import describe_network
        from fqt_ref.models.describe import graph_of
        from fqt_ref.network import network_of
        from fqt_ref.training import flat, prepared_state
        from fqt_ref.zeroth_order import zeroth_config

        x, y = digits_as(self.shape, steps.LEARNT)
        graph = graph_of(self.network, describe_network(self.network, self.shape, self.classes), self.shape)
        begun = build_network(graph, self.config, x[:64], np.float32(1 / 255), 0, train_last=self.train_last)
        config = train_step.train_config(steps.BATCH)
        state, samples = prepared_state(begun, config), flat(x)
        train_step.train(state, config, samples, y, np.arange(len(x)), np.zeros(len(x), np.int64), np.zeros(len(x), np.int64))
        network = network_of(self.network, state)
        place.advance(0.3, "learnt")
        zeroth, memory = None, {}
        if self.queries is not None:
            zeroth = zeroth_config(network, steps.BATCH, self.queries, first_node=self.first_node or 0)
            lent = zeroth_memory(network, zeroth).trainer, device_memory(network).trainer
            memory = dict(zip(("trainer_bytes", "back_propagation_bytes"), lent, strict=True))
        program = steps.build(self.core, zeroth=zeroth is not None)
        place.advance(0.1, "compiled")
        measured = []
        for step in steps.count_steps(program, network, samples, y, self.rates, zeroth):
            parts = {"forward": (steps.FORWARD,), "backward": (steps.LOSS, *steps.BACKWARD), "update": (steps.UPDATE,)}
            # An update ends a minibatch: a sample's share of it.
            share = {"forward": 1, "backward": 1, "update": steps.BATCH}
            counted = {name: step.mean(instructions, of) / share[name] for name, of in parts.items()}
            estimated = {name: step.mean(cycles.cycles, of) / share[name] for name, of in parts.items()}
            measured.append({"rate": step.rate, "instructions": counted, "cycles": estimated, "stack": step.stack})
        return Outcome({"steps": measured, "assumptions": cycles.ASSUMPTIONS[self.core], **memory})


@dataclass(frozen=True)
class DeviceCost(Experiment):
    """Shapes (name, (h, w, c), classes) x configurations x chips x rates."""

    network: str = "mbednet"
    train_last: int | None = 5
    shapes: tuple[tuple[str, Shape, int], ...] = ()
    configs: tuple[str, ...] = ("uint8", "mixed", "float32")
    chips: tuple[str, ...] = ("IMXRT1062",)
    rates: tuple[float, ...] = (1.0,)
    paper: tuple[tuple[str, str, float], ...] = ()

    def cells(self) -> list[Cell]:
        return [
            Cell(", ".join((name, config, chip)), chip,
                 Cost(CHIPS[chip].core, self.network, shape, classes, config, self.train_last, self.rates))
            for name, shape, classes in self.shapes for config in self.configs for chip in self.chips
        ]  # fmt: skip

    def tables(self, found: Found) -> list[Table]:
        """Time and energy of a sample; with several rates the backward pass's speed-up, too."""
        printed = {(row, column): value for row, column, value in self.paper}
        columns = ["forward ms", "backward ms", "update / 48 ms", "energy mJ (model)", "backward instructions"]
        columns += ["backward speed-up"] * (len(self.rates) > 1)
        rows = []
        for cell in self.cells():
            record, chip = found(cell.run), CHIPS[cell.column]
            if record is None or record.status != DONE:
                rows.append([cell.row, why_missing(cell, record), *[""] * (len(columns) - 1)])
                continue
            dense = record.result["steps"][0]
            for step in record.result["steps"]:
                name = cell.row if len(self.rates) == 1 else f"{cell.row}, lambda_min {step['rate']}"
                times = [1e3 * seconds(chip, step["cycles"][part]) for part in PASSES]
                texts = [f"{time:.3g}" for time in times]
                texts += [f"{1e3 * joules(chip, sum(step['cycles'].values())):.3g}", f"{step['instructions']['backward']:.0f}"]
                if len(self.rates) > 1:
                    texts.append(f"{dense['cycles']['backward'] / step['cycles']['backward']:.2f}")
                rows.append([name, *(text + paper_of(printed, name, column) for text, column in zip(texts, columns, strict=True))])
        title = f"a training sample; times are estimates: instructions counted under QEMU, cycles without wait states; {ENERGY_MODEL}"
        return [Table(title, ["", *columns], rows)]

    def charts(self, found: Found) -> list[Chart]:
        made = [(cell, found(cell.run)) for cell in self.cells()]
        done = [(cell, record) for cell, record in made if record is not None and record.status == DONE]
        if not done:
            return []
        return [Chart("time", self.title, lambda axes: draw(axes, done), 2 + 0.2 * len(done) * len(self.rates))]


def paper_of(printed: dict[tuple[str, str], float], row: str, column: str) -> str:
    """What the paper has measured, as a table adds it."""
    return f"; paper {printed[row, column]:g}" if (row, column) in printed else ""


def draw(axes: Any, done: list[tuple[Cell, Record]]) -> None:
    """Stacked bars, forward light and backward dark as in the paper."""
    names, bars = [], []
    for cell, record in done:
        for step in record.result["steps"]:
            names.append(cell.row if len(record.result["steps"]) == 1 else f"{cell.row}, {step['rate']}")
            bars.append([1e3 * seconds(CHIPS[cell.column], step["cycles"][part]) for part in PASSES])
    left = [0.0] * len(bars)
    for part, (label, colour) in enumerate(zip(PASSES, ("lightsteelblue", "tab:blue", "tab:orange"), strict=True)):
        lengths = [bar[part] for bar in bars]
        axes.barh(range(len(bars)), lengths, left=left, color=colour, label=label)
        left = [a + b for a, b in zip(left, lengths, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("time of a sample (ms, estimate)")
    axes.legend(frameon=False, ncols=len(PASSES), loc="lower center", bbox_to_anchor=(0.5, 1))
