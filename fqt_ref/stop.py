# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop, by whatever way: Ctrl-C, a service manager's SIGTERM, a terminal that closes. All are KeyboardInterrupt."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt(number: int, frame: object) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP stop as Ctrl-C does. A signal that the caller ignores, as nohup does, stays ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
        before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
