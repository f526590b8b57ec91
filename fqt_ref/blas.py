# SPDX-License-Identifier: Apache-2.0
"""One BLAS thread inside the engine, whatever the environment says: its matrix products are tiny, and threads would wait for each other.

The setting belongs to the whole process; the caller has his own back as soon as nobody is inside.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_inside = 0  # how many threads of the process are in one_blas_thread()
_callers: list[int] = []  # the caller's setting, a number for each library, while somebody is


@cache
def libraries() -> Any:
    """The BLAS libraries that are loaded, those of compiled code and numpy among them: a threadpoolctl controller."""
    import threadpoolctl

    import fqt_ref.jit  # noqa: F401 (loads what compiled code calls)

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def set_threads(numbers: list[int]) -> None:
    """Set each library's number of threads, from whatever thread of the process: the setting is the process's own.

    threadpoolctl (3.8) lets one thread alone set OpenBLAS's, and does nothing in the others; that is not for us.
    """
    for library, number in zip(libraries().lib_controllers, numbers, strict=True):
        getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, matrix products take one thread. A decorator, too; may be nested and entered by several threads at once."""
    global _inside
    with _lock:
        if _inside == 0:
            _callers[:] = [library.get_num_threads() for library in libraries().lib_controllers]
            set_threads([1] * len(_callers))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                set_threads(_callers)
