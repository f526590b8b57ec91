#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job: set up, train on real data, write the golden vectors, and show the same training happen on an emulated Cortex-M.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
mkdir -p out
skipped=()

.venv/bin/fqt train --data digits --network digits-cnn --epochs 10 --batch-size 16 --learning-rate 0.003 --plot out/digits.png -o out/digits.fqt
if .venv/bin/python -c 'from fqt_ref.datasets import load; load("fashion-mnist", download=False)' 2>/dev/null; then
    .venv/bin/fqt train --data fashion-mnist --network mnist-cnn --epochs 3 --plot out/fashion-mnist.png -o out/fashion-mnist.fqt
else
    skipped+=("Fashion-MNIST: not on this machine; apt-get install dataset-fashion-mnist")
fi
.venv/bin/fqt golden
for target in cortex-m0 cortex-m3 cortex-m4 cortex-m7; do
    .venv/bin/fqt crosscheck --target "$target" --networks 3 --steps 6 --seed 1 || skipped+=("$target: crosscheck failed or its tools are missing")
done
if .venv/bin/python -c 'from fqt_ref.zephyr import find_zephyr; find_zephyr()' 2>out/zephyr.txt; then
    # An untrained network, so that all that is learnt is learnt on the emulated core.
    .venv/bin/fqt train --data digits --network digits-cnn --epochs 0 -o out/untrained.fqt
    .venv/bin/fqt deploy out/untrained.fqt --board qemu_cortex_m3 --learning-rate 0.003 --samples 200 --epochs 3 --run --seconds 300
else
    skipped+=("Zephyr application: $(tail -n 1 out/zephyr.txt)")
fi

echo "learn: out/digits.fqt and golden/ are written; pictures in out/"
for reason in "${skipped[@]}"; do
    echo "learn: skipped: $reason"
done
