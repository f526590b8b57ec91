#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests: style, types, the engine compiled and as plain Python, the C library on host and emulated cores, twister where Zephyr is found.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# The engine is compiled on one core, minutes in a fresh clone, while style and plain Python are tested on the other.
.venv/bin/fqt golden --check &
compiled=$!
trap 'kill $compiled 2>/dev/null || true' EXIT

.venv/bin/ruff check .
.venv/bin/ruff format --check fqt_ref tests scripts
.venv/bin/mypy
if command -v clang-format >/dev/null; then
    git ls-files 'zephyr_app/*.c' 'zephyr_app/*.h' 'tests/*.[ch]' 'tests/*.cpp' | xargs -r clang-format --dry-run --Werror --style=file:zephyr_app/.clang-format
else
    echo "test: skipped: clang-format is not installed"
fi
# The same engine as plain Python: a second meaning of every kernel, and the only one coverage can see.
NUMBA_DISABLE_JIT=1 .venv/bin/coverage run --source=fqt_ref -m pytest -q tests/test_golden.py tests/test_optimizers.py -k "engine_equals or plain or small" -p no:cacheprovider
.venv/bin/coverage report --include='fqt_ref/kernels/*,fqt_ref/operators/*,fqt_ref/optimizers/*,fqt_ref/arithmetic.py,fqt_ref/ranges.py,fqt_ref/sparse_update.py,fqt_ref/train_step.py' \
    --fail-under=95
wait $compiled
.venv/bin/pytest -n 2 --dist loadfile "$@"
