# SPDX-License-Identifier: Apache-2.0
"""Runs on this machine, some at a time, each in a process of its own."""

import queue
from contextlib import suppress
from threading import Thread

from fqt_ref.experiments.worker import Apart, Job, Message


class Local:
    """A pool of `jobs` processes (runner.Pool)."""

    def __init__(self, jobs: int = 1):
        self.slots = jobs
        self.said: queue.Queue[tuple[str, Message]] = queue.Queue()
        self.runs: list[tuple[Apart, Thread]] = []

    def start(self, key: str, job: Job) -> None:
        apart = Apart(job)

        def listen() -> None:
            for message in apart.read():
                self.said.put((key, message))

        thread = Thread(target=listen, daemon=True)
        self.runs.append((apart, thread))
        thread.start()

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        try:
            messages = [self.said.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self.said.empty():
            messages.append(self.said.get())
        return messages

    def close(self) -> None:
        for apart, thread in self.runs:
            apart.stop()
            with suppress(RuntimeError):  # Ctrl-C came before the thread had started
                thread.join()
        self.runs.clear()
