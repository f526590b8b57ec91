# SPDX-License-Identifier: Apache-2.0
"""A built application on its emulator: its console's lines, and the UART that a stream of samples goes to."""

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from fqt_ref.errors import FqtError
from fqt_ref.zephyr import environment, find_zephyr

SECONDS_BETWEEN_STATUS = 0.5
ENDED = "the emulator has ended: see the lines above"
SOCKET = "stream.sock"
# QEMU's second serial port; the path is relative to the build folder, where it starts: a socket's may not be long.
QEMU_FLAGS = ("-serial", f"unix:{SOCKET},server=on,wait=off")
ONE_UART = ("qemu_cortex_m0", "qemu_cortex_m0_256k")  # QEMU's micro:bit: samples come by the console's


class SocketLine:
    """A device at a socket."""

    def __init__(self, connection: socket.socket):
        self.connection = connection

    def send(self, data: bytes) -> None:
        self.connection.settimeout(None)
        self.connection.sendall(data)

    def receive(self, seconds: float) -> bytes:
        self.connection.settimeout(max(seconds, 0.001))
        try:
            data = self.connection.recv(65536)
        except TimeoutError:
            return b""
        if not data:
            raise FqtError(ENDED)
        return data


def connect(folder: Path, seconds: float = 20) -> SocketLine:
    """The second UART of an application whose emulator runs in a build folder. Raises FqtError if it does not open."""
    end = monotonic() + seconds
    opened = os.open(folder, os.O_RDONLY)
    try:
        while monotonic() < end:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(f"/proc/self/fd/{opened}/{SOCKET}")
                return SocketLine(connection)
            except OSError:
                connection.close()
                sleep(0.05)
    finally:
        os.close(opened)
    raise FqtError(f"the second UART of the emulated board in {folder} did not open in {seconds:.0f} s: see its build and its console")


class ConsoleLine:
    """The only UART of an emulated board, at QEMU's own input and output."""

    def __init__(self, process: subprocess.Popen[bytes]):
        assert process.stdin is not None and process.stdout is not None
        self.input, self.output = process.stdin, process.stdout

    def send(self, data: bytes) -> None:
        try:
            self.input.write(data.replace(b"\x01", b"\x01\x01"))  # QEMU's escape character, Ctrl-A, once is a command
            self.input.flush()
        except BrokenPipeError as error:
            raise FqtError(ENDED) from error

    def receive(self, seconds: float) -> bytes:
        if not select.select([self.output], [], [], max(seconds, 0))[0]:
            return b""
        data = os.read(self.output.fileno(), 65536)
        if not data:
            raise FqtError(ENDED)
        return data


class Emulator:
    """A running emulator; a context. lines: the application's so far, without the shell's prompt. shared: its console is the stream's
    line, too (CONFIG_FQT_APP_STREAM_ON_CONSOLE): who talks to the application hands its lines to show()."""

    def __init__(self, folder: Path, say: Callable[[str], None], shared: bool = False):
        self.folder, self.say, self.shared = folder, say, shared
        self.lines: list[str] = []
        self.shown = 0.0

    def __enter__(self) -> "Emulator":
        with suppress(FileNotFoundError):
            (self.folder / SOCKET).unlink()
        self.process = subprocess.Popen(
            ["cmake", "--build", str(self.folder), "--target", "run"],
            env=environment(find_zephyr()),
            stdin=subprocess.PIPE if self.shared else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        if not self.shared:
            self.reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        if not self.shared:
            self.reader.join(timeout=5)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.show(line.decode(errors="replace"))

    def show(self, line: str) -> None:
        """Take a line of the console, and say it if it is worth a look."""
        prompt, marker, text = line.partition("fqt: ")  # the shell writes its prompt before
        self.lines.append((marker + text or prompt).rstrip())
        # An emulated second takes a few milliseconds: nobody reads all its status lines.
        if marker and (not text.startswith("step ") or monotonic() > self.shown + SECONDS_BETWEEN_STATUS):
            self.shown = monotonic()
            self.say(self.lines[-1])

    def wait(self, seconds: float) -> None:
        """Until the emulator ends by itself, or so many seconds."""
        self.reader.join(timeout=seconds)

    def connect(self) -> SocketLine | ConsoleLine:
        """The UART that the application takes samples from. Raises FqtError if it does not open."""
        return ConsoleLine(self.process) if self.shared else connect(self.folder)
