"""A simulated instrument in real time: a TCP server as behind a SOCKET resource. (A pty: PtyServer over a Wire.)"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.lines import Wire

PUMP_S = 0.001


class TcpServer:
    """`instrument` on 127.0.0.1:`port`, one client at a time as many instruments have it; the next one waits.

    `cut()` drops the connection as a pulled cable does; `touched` is called when a client speaks.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        port: int = 0,
        deaf_ns: int = 0,
        touched: Callable[[], None] = lambda: None,
    ) -> None:
        self.instrument, self._touched = instrument, touched
        self._wire = Wire(instrument, deaf_ns=deaf_ns)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._client: socket.socket | None = None
        self._waiting = b""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pump, name=f"instrument {self.port}", daemon=True)
        self._thread.start()

    @property
    def resource(self) -> str:
        """What VISA opens."""
        return f"TCPIP0::127.0.0.1::{self.port}::SOCKET"

    def _pump(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                self._turn(time.monotonic_ns())
            time.sleep(PUMP_S)

    def _turn(self, now_ns: int) -> None:
        if self._client is None:
            with contextlib.suppress(BlockingIOError):
                self._client, _ = self._listener.accept()
                self._client.setblocking(False)
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._waiting = b""
        if self._client is not None:
            self._hear(self._client, now_ns)
        self._wire.advance(now_ns)
        self._waiting += self._wire.transmit(now_ns)
        if self._client is None:
            self._waiting = b""  # there is nobody to whom it could be sent
        elif self._waiting:
            try:
                self._waiting = self._waiting[self._client.send(self._waiting) :]
            except BlockingIOError:
                pass
            except OSError:
                self._drop()

    def _hear(self, client: socket.socket, now_ns: int) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        self._touched()
        self._wire.receive(data, now_ns)

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def cut(self) -> None:
        with self._lock:
            self._drop()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._drop()
        self._listener.close()
