"""A TCP proxy that misbehaves on request: what a network does to a connection, without root and without namespaces."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from types import TracebackType

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: closing sends RST


class TcpProxy:
    """Relays 127.0.0.1:`port` to `target`. `target=None`: accepts and says nothing.

    `stall()` relays nothing and closes nothing (a silent link), `resume()` goes on; `cut()` resets what is connected;
    `refuse()` refuses new connections, `allow()` takes them again. `rate_bytes_per_s` slows each direction down;
    `cut_after_bytes` resets everything once when so many bytes have gone to the target.
    """

    def __init__(
        self,
        target: tuple[str, int] | None,
        *,
        rate_bytes_per_s: float | None = None,
        cut_after_bytes: int | None = None,
    ) -> None:
        self._target = target
        self.rate_bytes_per_s, self.cut_after_bytes = rate_bytes_per_s, cut_after_bytes
        self.sent_bytes = 0  # towards the target
        self.connections = 0
        self._lock = threading.RLock()
        self._peers: dict[socket.socket, socket.socket | None] = {}
        self._selector = selectors.DefaultSelector()
        self._stalled = self._closed = False
        self._listener: socket.socket | None = None
        self.port = 0
        self.allow()
        self._thread = threading.Thread(target=self._relay, name="tcp-proxy", daemon=True)
        self._thread.start()

    def allow(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self.port = int(self._listener.getsockname()[1])
                self._selector.register(self._listener, selectors.EVENT_READ)

    def refuse(self) -> None:
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None

    def stall(self) -> None:
        self._stalled = True

    def resume(self) -> None:
        self._stalled = False

    def cut(self) -> None:
        with self._lock:
            for one in list(self._peers):
                self._drop(one)

    def close(self) -> None:
        self._closed = True
        self._thread.join(5.0)
        self.refuse()
        self.cut()
        self._selector.close()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _relay(self) -> None:
        while not self._closed:
            if self._stalled:
                time.sleep(0.01)
                continue
            for key, _ in self._selector.select(0.05):
                with self._lock, contextlib.suppress(KeyError, ValueError):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket) and not self._stalled:
                        self._pass_on(key.fileobj, to_target=key.data == "client")

    def _accept(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        self.connections += 1
        if self._target is None:
            self._peers[client] = None
            return
        try:
            server = socket.create_connection(self._target, 5.0)
        except OSError:
            client.close()
            return
        server.settimeout(5.0)
        client.settimeout(5.0)
        self._peers[client], self._peers[server] = server, client
        self._selector.register(client, selectors.EVENT_READ, "client")
        self._selector.register(server, selectors.EVENT_READ, "server")

    def _pass_on(self, source: socket.socket, *, to_target: bool) -> None:
        sink = self._peers[source]
        try:
            data = source.recv(_CHUNK)
            if not data or sink is None:
                self._drop(source)
                return
            sink.sendall(data)
        except OSError:
            self._drop(source)
            return
        if self.rate_bytes_per_s:
            time.sleep(len(data) / self.rate_bytes_per_s)
        if to_target:
            self.sent_bytes += len(data)
            if self.cut_after_bytes is not None and self.sent_bytes >= self.cut_after_bytes:
                self.cut_after_bytes = None
                self.cut()

    def _drop(self, one: socket.socket) -> None:
        for each in (one, self._peers.pop(one, None)):
            if each is None:
                continue
            self._peers.pop(each, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()
