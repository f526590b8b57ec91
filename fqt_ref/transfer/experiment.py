# SPDX-License-Identifier: Apache-2.0
"""Transfer learning in several configurations and with several seeds, into a folder: models, results, plots."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fqt_ref import files, model_file
from fqt_ref.datasets import Dataset
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph
from fqt_ref.terminal import say
from fqt_ref.transfer import steps


def stored(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run, None if there is none. Raises FqtError if it is one of other settings."""
    try:
        result = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FqtError(f"{path}: not a result that can be read; delete it to run it again") from error
    if not isinstance(result, dict) or any(result.get(key) != value for key, value in identity.items()):
        raise FqtError(f"{path}: a run of other settings; choose another folder, or delete it to run it again")
    return result


def experiment(
    graph: Graph,
    data: Dataset,
    configs: Sequence[str],
    runs: int,
    settings: Callable[[int], Any],
    epochs: int,
    reset: int,
    folder: Path,
    **quantization: Any,
) -> dict[str, Any]:
    """Quantize, reset and retrain in each configuration with seeds 0 to runs - 1; CONFIG-SEED.fqt and .json in the folder.

    settings: seed -> TrainConfig; quantization: percentile and per_channel of steps.quantize. Raises FqtError as these do; Ctrl-C
    leaves the finished runs.
    """
    results: dict[str, list[dict[str, Any]]] = {config: [] for config in configs}
    files.make_folder(folder)
    for config in configs:
        network = None
        for seed in range(runs):
            file = folder / f"{config}-{seed}.json"
            chosen = settings(seed)
            # Options at their defaults go unnamed, so that a folder from before them stays one of the same settings.
            options = {name: str(value) for name, value in chosen._asdict().items() if value != chosen._field_defaults.get(name)}
            identity = {"data": data.name, "parameters": steps.figures(graph).parameters, "options": options, "reset": reset,
                        "planned": epochs, **quantization}  # fmt: skip
            result = stored(file, identity)
            if result is None:
                say(f"{config}, seed {seed}")
                network = network or steps.quantize(graph, data, config, **quantization)
                model_file.check_batch(network, settings(seed).batch_size)
                result, trained = steps.retrain(network, data, settings(seed), epochs, reset, seed)
                if result["stopped"]:
                    raise KeyboardInterrupt
                model_file.write(folder / f"{config}-{seed}.fqt", trained)
                result = {**result, **identity}
                files.write(file, json.dumps(result))
            results[config].append(result)
    return {"folder": str(folder), "network": graph.name, "data": data.name, "runs": results}


def mean_and_deviation(runs: list[dict[str, Any]], key: str) -> tuple[float, float]:
    """Mean and standard deviation of a figure over runs."""
    values = [run[key] for run in runs]
    return float(np.mean(values)), float(np.std(values))


def summary(result: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    lines = [f"{result['network']} on {result['data']}: float32 before quantization {result['float32_baseline']}"]
    for config, runs in result["runs"].items():
        mean, deviation = mean_and_deviation(runs, "test_accuracy")
        before = runs[0]["quantized_test_accuracy"]
        lines.append(f"{config:<8} quantized {before:.4f}, retrained {mean:.4f} +- {deviation:.4f} ({len(runs)} runs)")
    return lines
