# SPDX-License-Identifier: Apache-2.0
"""The serial port of a real board, as a line that samples are streamed over."""

from time import monotonic, sleep

from fqt_ref.errors import FqtError

BAUD = 115200  # of the console's UART on nearly all boards


class SerialLine:
    """A device at a serial port. A context. Raises FqtError if the port does not open within some seconds: a board's may vanish while
    it is flashed."""

    def __init__(self, port: str, baud: int = BAUD, seconds: float = 0):
        try:
            import serial
        except ImportError as error:
            raise FqtError("serial ports need pyserial: pip install 'fqt[zephyr]'") from error
        self.port, end = port, monotonic() + seconds
        while True:
            try:
                self.serial = serial.Serial(port, baud, timeout=0)
                return
            except OSError as error:  # SerialException is one
                if monotonic() > end:
                    raise FqtError(f"serial port {port} does not open: {error}; name another with --port") from error
                sleep(0.1)

    def __enter__(self) -> "SerialLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the port to others."""
        self.serial.close()

    def send(self, data: bytes) -> None:
        try:
            self.serial.write(data)
        except OSError as error:
            raise FqtError(self.gone()) from error

    def receive(self, seconds: float) -> bytes:
        self.serial.timeout = max(seconds, 0)
        try:
            first: bytes = self.serial.read(1)
            return first + self.serial.read(self.serial.in_waiting) if first else b""
        except OSError as error:  # SerialException is one
            raise FqtError(self.gone()) from error

    def gone(self) -> str:
        """What to say when the port fails."""
        return f"the board at {self.port} is gone: see its cable, and begin again"
