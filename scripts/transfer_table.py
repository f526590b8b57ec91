#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of the five transfer learnings in README, from what scripts/transfer_learning.sh left in a folder.

Test accuracy in %: the pretrained network, the pruned one in float32, quantized, and after the last five layers started anew.
usage: python scripts/transfer_table.py OUT_DIR
"""

import json
import sys
from pathlib import Path

SETS = ("cifar10", "cwru", "hapt", "arsc", "flowers102")
CONFIGS = ("float32", "mixed", "uint8")
TITLES = ("data set", "parameters", "baseline", "pruned", "quantized to uint8", *(f"retrained, {config}" for config in CONFIGS))


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def row(folder: Path, name: str) -> list[str]:
    """One data set's cells; empty ones if it has not been run."""
    try:
        baseline = json.loads((folder / f"{name}.json").read_text())
        moved = json.loads((folder / name / "transfer.json").read_text())
    except FileNotFoundError:
        return [name] + [""] * (len(TITLES) - 1)
    runs = {config: moved["runs"][config][0] for config in CONFIGS}
    cells = [str(runs["uint8"]["parameters"])]
    cells += map(percent, (baseline["test_accuracy"], moved["float32_baseline"], runs["uint8"]["quantized_test_accuracy"]))
    return [name, *cells, *(percent(runs[config]["test_accuracy"]) for config in CONFIGS)]


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(f"transfer_table: give the folder that scripts/transfer_learning.sh wrote\n{__doc__}")
    rows = [list(TITLES), ["---"] * len(TITLES), *(row(Path(sys.argv[1]), name) for name in SETS)]
    print("\n".join("| " + " | ".join(cells) + " |" for cells in rows))


if __name__ == "__main__":
    main()
