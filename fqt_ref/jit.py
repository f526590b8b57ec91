# SPDX-License-Identifier: Apache-2.0
"""How every kernel is compiled: cached, without the GIL, and never with fastmath."""

import os

if "NUMBA_CPU_FEATURES" not in os.environ:
    # LLVM prefers 256-bit vectors on AVX-512 machines; the 512-bit ones are 1.2 times as fast here (scripts/bench_engine.py).
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        os.environ["NUMBA_CPU_FEATURES"] = features.flatten() + ",-prefer-256-bit"

import numba

# error_model="numpy": a division is one instruction, without Python's check for zero.
njit = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
