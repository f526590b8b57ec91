#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Accuracy from scratch on Fashion-MNIST: three configurations, three update rates, five seeds (README's table).

Each finished run is one line in the results file, so a run that was stopped goes on where it was: python scripts/fmnist_table.py
"""

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

CONFIGS = ("float32", "mixed", "uint8")
LAMBDAS = (1.0, 0.5, 0.1)


def one_run(config: str, lambda_min: float, seed: int, epochs: int, data_name: str) -> dict:
    """Train one network; returns its row."""
    from fqt_ref.datasets import load
    from fqt_ref.train_step import train_config
    from fqt_ref.training import fresh_network, train_epochs

    data = load(data_name)
    network = fresh_network("mnist-cnn", config, data, seed)
    history = [e.as_dict() for e, _ in train_epochs(network, data, train_config(48, 0.001, lambda_min, 1.0, seed=seed), epochs)]
    return {"config": config, "lambda_min": lambda_min, "seed": seed, "epochs": epochs, "data": data_name, "history": history}


def key_of(row: dict) -> tuple:
    return row["config"], row["lambda_min"], row["seed"], row["epochs"], row["data"]


def table(rows: list[dict]) -> str:
    """Mean and sample standard deviation of the last epoch's test accuracy, in %."""
    lines = ["| configuration | " + " | ".join(f"lambda_min {value}" for value in LAMBDAS) + " |", "|---" * 4 + "|"]
    for config in CONFIGS:
        cells = []
        for value in LAMBDAS:
            found = [100 * r["history"][-1]["test_accuracy"] for r in rows if (r["config"], r["lambda_min"]) == (config, value)]
            spread = statistics.stdev(found) if len(found) > 1 else 0.0
            cells.append(f"{statistics.mean(found):.2f} ± {spread:.2f} (n={len(found)})" if found else "-")
        lines.append(f"| {config} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--results", type=Path, default=Path("docs/fmnist.jsonl"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    rows = [row for row in rows if row["epochs"] == options.epochs and row["data"] == options.data]
    done = {key_of(row) for row in rows}
    wanted = [(c, v, s, options.epochs, options.data) for s in range(options.seeds) for c in CONFIGS for v in LAMBDAS]
    with ProcessPoolExecutor(options.workers) as pool, options.results.open("a") as log:
        for future in as_completed([pool.submit(one_run, *run) for run in wanted if run not in done]):
            rows.append(future.result())
            log.write(json.dumps(rows[-1]) + "\n")
            log.flush()
            print(f"{len(rows)}/{len(wanted)}", key_of(rows[-1]), f"{rows[-1]['history'][-1]['test_accuracy']:.4f}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
