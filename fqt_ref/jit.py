# SPDX-License-Identifier: Apache-2.0
"""How every kernel is compiled: cached, without the GIL, and never with fastmath."""

import gc
import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import scipy

if "NUMBA_CPU_FEATURES" not in os.environ:
    # LLVM prefers 256-bit vectors on AVX-512 machines; the 512-bit ones are 1.2 times as fast here (scripts/bench_engine.py).
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        os.environ["NUMBA_CPU_FEATURES"] = features.flatten() + ",-prefer-256-bit"

if "scipy.linalg" not in sys.modules:
    # Numba takes its matrix products from one small extension module of scipy's, but importing the package around it takes a third of our
    # start: stand in for the package while that module is loaded.
    package = ModuleType("scipy.linalg")
    package.__path__ = [f"{path}/linalg" for path in scipy.__path__]
    sys.modules["scipy.linalg"] = package
    importlib.import_module("scipy.linalg.cython_blas")
    del sys.modules["scipy.linalg"]

gc.disable()
import numba  # noqa: E402

from fqt_ref.cache_files import KernelCache  # noqa: E402
from fqt_ref.kernel_cache import LOCATORS  # noqa: E402

numba.config.CACHE_LOCATOR_CLASSES = LOCATORS  # type: ignore[attr-defined]
gc.freeze()  # what was imported stays: 0.1 s of looking for garbage in it less
gc.enable()

# error_model="numpy": a division is one instruction, without Python's check for zero.
# _nrt (references to arrays are counted) is said aloud, because an uncounted caller would pass on its False.
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy", "_nrt": True}


def compiled_with(**options: Any) -> Callable[[Any], Any]:
    """A decorator: Numba's njit with these options, and our cache."""

    def decorate(function: Callable[..., Any]) -> Any:
        made = numba.njit(**options)(function)
        if made is not function:  # NUMBA_DISABLE_JIT leaves functions as they are
            made._cache = KernelCache(function)
        return made

    return decorate


njit = compiled_with(**OPTIONS)
# For functions that walk through a State and return no array: counting references to its twenty arrays, which the caller keeps, takes a
# third of their time (scripts/bench_engine.py).
uncounted = compiled_with(**OPTIONS | {"_nrt": False})
# For functions that return a part of a State's array: in an uncounted one no call may.
inlined = compiled_with(**OPTIONS, inline="always")


def when_compiling(say: Callable[[], None]) -> None:
    """Call say() once, when the first kernel has to be compiled in this process, because no cache has it."""

    def once() -> None:
        KernelCache.missed = staticmethod(lambda: None)
        say()

    KernelCache.missed = staticmethod(once)


def is_compiled(function) -> bool:
    """Whether the cache holds a compiled form of an njit function as it is now (plain Python counts as compiled)."""
    cache = getattr(function, "_cache", None)
    return cache is None or bool(cache._cache_file._load_index())
