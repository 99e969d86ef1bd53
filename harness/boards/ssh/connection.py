"""One live SSH connection, through whatever lies in between, with every failure said in our own terms.

paramiko leaves some waits unbounded, lets its threads print tracebacks, and does not say when its socket is gone; here
every wait has an end, its log is silent, and `close` returns when threads, socket and the last packet are gone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any

import paramiko

from harness.boards.ssh.keys import log_in
from harness.boards.ssh.known_hosts import HostKey, KnownHosts
from harness.boards.ssh.route import Hop
from harness.core.errors import BenchError, DeviceError, TransientError

AUTH_S = 30.0
CHANNEL_S = 10.0
SILENT_MS = 20_000  # bytes unacknowledged for so long: the link is gone (TCP_USER_TIMEOUT)
LINK_ERRORS = (paramiko.SSHException, EOFError, OSError)  # what paramiko raises when a link is lost
_FAREWELL_S = 1.0
_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER: closing forgets what is not sent yet
_LOG = "harness.boards.ssh.paramiko"
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


def _quiet() -> None:
    logger = logging.getLogger(_LOG)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


class Wire:
    """The bytes to the first machine: a TCP socket, or a ProxyCommand at the other end of a socket pair."""

    def __init__(self, hop: Hop, *, board: str) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self.socket = self._connect(hop, board) if hop.proxy_command is None else self._run(hop.proxy_command)
        self._kept = self.socket.dup()  # paramiko closes its own; this one says farewell

    @staticmethod
    def _connect(hop: Hop, board: str) -> socket.socket:
        where = f"board {board}: {hop.host} port {hop.port}"
        try:
            link = socket.create_connection((hop.host, hop.port), hop.connect_timeout_s)
        except socket.gaierror as error:
            raise TransientError(
                f"board {board}: the name {hop.host!r} cannot be resolved ({error.strerror})",
                hint=f"getent hosts {hop.host}  # or give the address, or HostName in ~/.ssh/config",
            ) from error
        except TimeoutError as error:
            raise TransientError(
                f"{where} does not answer within {hop.connect_timeout_s:g} s", hint=f"ping {hop.host}"
            ) from error
        except ConnectionRefusedError as error:
            raise TransientError(
                f"{where} refuses the connection", hint="is sshd running there, and is this its port?"
            ) from error
        except OSError as error:
            raise TransientError(f"{where} cannot be reached ({error.strerror})", hint=f"ping {hop.host}") from error
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
        return link

    def _run(self, command: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 closed by close()
        with theirs:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._complaints.fileno(),
            )
        return ours

    def last_words(self) -> str:
        """What a ProxyCommand complained about last."""
        if self._complaints is None:
            return ""
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self, *, abort: bool = False) -> None:
        """Returns when nothing more will be sent. May be called twice.

        What the other side has not acknowledged within a second, or at once if `abort`, is never sent: a command that
        was given up must not begin minutes later, when the link is back.
        """
        try:
            if abort:
                raise TimeoutError
            self._kept.shutdown(socket.SHUT_WR)
            self._kept.settimeout(_FAREWELL_S)
            while self._kept.recv(1 << 16):
                pass
        except OSError:
            with contextlib.suppress(OSError):
                self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        self._kept.close()
        self.socket.close()
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL_S)
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._complaints is not None:
            self._complaints.close()
            self._complaints = None


class Connection:
    """An authenticated connection to the last machine of `route`. Errors: DeviceError, TransientError."""

    def __init__(self, route: Sequence[Hop], *, board: str, target: str) -> None:
        self._transports: list[Any] = []
        self._wire: Wire | None = None
        self._closing = threading.Lock()
        try:
            for index, hop in enumerate(route):
                transport = self._negotiated(hop, board=board)
                target_here = target if index == len(route) - 1 else hop.name
                with lost_while(f"board {board}: {hop.name} did not let us in"):
                    log_in(transport, hop, board=board, target=target_here)
        except BaseException:
            self.close(abort=True)
            raise

    def _negotiated(self, hop: Hop, *, board: str) -> Any:
        transport = negotiate(self._link_to(hop, board=board), hop, self._transports, board=board, wire=self._wire)
        shown = host_key_of(transport)
        KnownHosts(hop).verify(shown, board=board)
        return transport

    def _link_to(self, hop: Hop, *, board: str) -> Any:
        if not self._transports:
            self._wire = Wire(hop, board=board)
            return self._wire.socket
        return through(self._transports[-1], hop, board=board)

    @property
    def alive(self) -> bool:
        return bool(self._transports) and all(transport.is_active() for transport in self._transports)

    @property
    def transport(self) -> Any:
        """The board's paramiko Transport."""
        return self._transports[-1]

    def open_channel(self, timeout_s: float = CHANNEL_S) -> Any:
        """A new session channel; paramiko's errors."""
        return self.transport.open_session(timeout=timeout_s)

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Cut the connection if the block takes longer: the way out of paramiko's waits that have no end."""
        guard = threading.Timer(seconds, self.close, kwargs={"abort": True})
        guard.daemon = True
        guard.start()
        try:
            yield
        finally:
            guard.cancel()

    def close(self, *, abort: bool = False) -> None:
        """Cut the link; returns when its threads are gone and its last packet is out. May be called twice.

        `abort`: the link is lost, do not wait for it.
        """
        with self._closing:
            end_transports(self._transports)
            if self._wire is not None:
                self._wire.close(abort=abort)
                self._wire = None


def end_transports(transports: Sequence[Any]) -> None:
    """Close paramiko Transports, the farthest first, and wait for their threads."""
    for transport in reversed(transports):
        transport.close()
    for transport in reversed(transports):
        if transport.is_alive() and transport is not threading.current_thread():
            transport.join(2.0)


def negotiate(link: Any, hop: Hop, transports: list[Any], *, board: str, wire: Wire | None) -> Any:
    """A paramiko Transport over `link`, keys exchanged, appended to `transports`; its host key is not yet judged."""
    _quiet()
    transport = paramiko.Transport(link)
    transports.append(transport)
    transport.set_log_channel(_LOG)
    transport.daemon = True
    transport.banner_timeout = transport.handshake_timeout = hop.connect_timeout_s
    transport.auth_timeout = AUTH_S
    _ask_for_known_kinds(transport, KnownHosts(hop).kinds)
    where = f"board {board}: {hop.host} port {hop.port}"
    try:
        transport.start_client(timeout=hop.connect_timeout_s)
        transport.get_remote_server_key()
    except paramiko.IncompatiblePeer as error:
        raise DeviceError(f"{where} and we have no algorithm in common ({error})", hint="update its sshd") from error
    except LINK_ERRORS as error:
        words = wire.last_words() if wire else ""
        if words:
            raise TransientError(f"{where}: the ProxyCommand said: {words}") from error
        if "ndecipherable" in str(error) or "Invalid" in str(error):
            raise DeviceError(f"{where} is not an SSH server ({error})", hint="check the port") from error
        if isinstance(error, EOFError | ConnectionError) or "EOF" in repr(error.__cause__ or error.__context__):
            raise TransientError(
                f"{where} hangs up before it has said who it is", hint="look at sshd's log there; too many connections?"
            ) from error
        raise TransientError(
            f"{where} accepts the connection and says nothing for {hop.connect_timeout_s:g} s",
            hint="the board may be out of memory or storage, or starting up: look at its console",
        ) from error
    return transport


def host_key_of(transport: Any) -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


def through(transport: Any, hop: Hop, *, board: str) -> Any:
    """A channel from a jump host to the next machine."""
    try:
        return transport.open_channel(
            "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=hop.connect_timeout_s
        )
    except LINK_ERRORS as error:
        raise TransientError(
            f"board {board}: its jump host cannot reach {hop.host} port {hop.port} ({error})",
            hint="is the board on, and does the jump host's sshd allow TCP forwarding?",
        ) from error


def _ask_for_known_kinds(transport: Any, kinds: Sequence[str]) -> None:
    """Let the server show the host key that is on file, not another of its keys."""
    wanted = [name for kind in kinds for name in (_RSA if kind == "ssh-rsa" else (kind,))]
    options = transport.get_security_options()
    offered = options.key_types
    first = [name for name in wanted if name in offered]
    options.key_types = (*first, *(name for name in offered if name not in first))


@contextlib.contextmanager
def lost_while(what: str) -> Iterator[None]:
    """A lost link as a passing error that says `what` was going on."""
    try:
        yield
    except (BenchError, paramiko.ChannelException):
        raise  # the latter is an answer: the link works
    except LINK_ERRORS as error:
        raise TransientError(f"{what}: {error or 'the link was lost'}", hint="run again") from error
