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
_callers: Any = None  # keeps the caller's setting while somebody is


@cache
def libraries() -> Any:
    """The BLAS libraries that are loaded, those of compiled code and numpy among them: a threadpoolctl controller."""
    import threadpoolctl

    import fqt_ref.jit  # noqa: F401 (loads what compiled code calls)

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, matrix products take one thread. A decorator, too; may be nested and entered by several threads at once."""
    global _inside, _callers
    with _lock:
        if _inside == 0:
            _callers = libraries().limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _callers.restore_original_limits()
                _callers = None
