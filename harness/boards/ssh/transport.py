"""The Transport port over SSH: commands, files, detached programs and line streams on a board that may vanish.

The link is opened when it is needed and again when it was lost or closed; nothing is sent while nobody asks. Several
threads may use one SshTransport: each operation has a channel of its own, only connecting is done by one at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko

from harness.boards.ssh.connection import CHANNEL_S, LINK_ERRORS, Connection, host_key_of, lost_while
from harness.boards.ssh.known_hosts import HostKey
from harness.boards.ssh.lines import SshLines
from harness.boards.ssh.route import Hop, find_route
from harness.boards.ssh.shell import Frame
from harness.boards.ssh.upload import Upload, download
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.ports import Completed, LineStream

FACTS_S = 20.0
SPAWN_S = 20.0
PATIENCE_S = 120.0
_KILL_S = 5.0
_SHORTEST_S = 2.0  # a board under load needs a moment to open a channel
_TICK_S = 0.05  # how late output on standard error may be noticed while standard output is silent

_DETACH = (
    'log=$1; program=$2; shift 2; : >>"$log" || exit 1; '
    'command -v -- "$program" >/dev/null 2>&1 || { echo "it is not found" >&2; exit 1; }; '
    '( if command -v setsid >/dev/null 2>&1; then exec setsid "$@"; else exec nohup "$@"; fi ) '
    '</dev/null >>"$log" 2>&1 & echo $!'
)
_KILL = 'kill -- "-$1" 2>/dev/null || kill "$1"'
_FACTS = (
    'echo "home=$HOME"; echo "user=$(id -un)"; echo "uid=$(id -u)"; echo "machine=$(uname -m)"; '
    'echo "kernel=$(uname -sr)"; echo "hostname=$(uname -n)"; echo "shell=$SHELL"; '
    'echo "boot_id=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"; '
    'echo "free_kib=$(df -Pk "$HOME" 2>/dev/null | awk \'NR == 2 {print $4}\')"'
)


class SshTransport:
    """Transport to `address`. `board`: its name, for messages; `config`: ssh_config to read in place of the user's.

    `patience_s`: for how long an upload goes on trying to get the link back. Errors: SpecError for an address or
    configuration that is wrong (on first use), DeviceError, TransientError.
    """

    def __init__(self, address: str, *, board: str, config: Path | None = None, patience_s: float = PATIENCE_S) -> None:
        self.address, self.board, self._config, self.patience_s = address, board, config, patience_s
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self.noise_bytes = 0  # what the login shell printed before the last command

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Run argv there without input. DeviceError if there is no such program; TransientError after `timeout_s`
        (it is then ended there, as far as the link allows) or when the link is lost."""
        frame = Frame.new()
        channel = self._start(frame.command(argv), min(CHANNEL_S, max(timeout_s, _SHORTEST_S)))
        try:
            out, err, status = self._collect(channel, frame, argv[0], timeout_s)
        finally:
            _close(channel)
        if status == "missing":
            raise DeviceError(f"board {self.board}: command {argv[0]!r} cannot be run there: it is not found")
        return Completed(int(status), out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def _collect(self, channel: Any, frame: Frame, program: str, timeout_s: float) -> tuple[bytes, bytes, str]:
        out, err = bytearray(), bytearray()
        until = time.monotonic() + timeout_s
        ended = False
        while True:
            with contextlib.suppress(TimeoutError):
                channel.settimeout(_TICK_S)
                data = channel.recv(1 << 18)
                out += data
                ended = not data
            while channel.recv_stderr_ready() or ended:
                data = channel.recv_stderr(1 << 18)
                err += data
                if not data:
                    break
            inner, status = frame.inside(out)
            complaints, done = frame.inside(err)
            if status is not None and (done is not None or ended):
                self.noise_bytes = frame.noise(out)
                return inner, complaints, status
            if ended:
                raise self._no_status(channel, bytes(out), bytes(err), program)
            if time.monotonic() > until:
                begun = frame.pid(out)
                self._give_up(channel, begun)
                if begun is None:
                    raise TransientError(
                        f"board {self.board}: command {program!r} did not begin within {timeout_s:g} s",
                        hint=f"if this happens again, its login shell waits for something: ssh {self.address} true",
                    )
                raise TransientError(f"board {self.board}: command {program!r} did not end within {timeout_s:g} s")

    def _give_up(self, channel: Any, pid: str | None) -> None:
        """End a command that took too long, if the link allows: it would heat the board. One that has not even begun
        is not to begin later: the link is cut, and with it what is still to be sent."""
        if pid is not None:
            with contextlib.suppress(BenchError):
                self.run(["sh", "-c", _KILL, "sh", pid], timeout_s=_KILL_S)
            return
        with self._lock:
            if self._connection is not None and self._connection.transport is channel.get_transport():
                self._drop(self._connection)

    def _no_status(self, channel: Any, out: bytes, err: bytes, program: str) -> BenchError:
        channel.status_event.wait(1.0)
        if channel.exit_status == -1:
            return TransientError(f"board {self.board}: the link was lost while {program!r} ran", hint="run again")
        said = (err + b"\n" + out).decode("utf-8", "replace").strip().splitlines()
        return DeviceError(
            f"board {self.board}: the login shell ends with status {channel.exit_status} before it runs anything"
            + (f": {said[-1]}" if said else ""),
            hint=f"try: ssh {self.address} true",
        )

    def put(self, local: Path, remote: str) -> None:
        """Copy a file there: verified by SHA-256, put in place atomically, nothing sent that is there already.

        A link that is lost on the way is waited for, for `patience_s` after the last progress, and the upload goes on
        where it was. DeviceError: no room, or it may not be written there.
        """
        Upload(self, local, remote, patience_s=self.patience_s).run()

    def get(self, remote: str, local: Path) -> None:
        """Copy a file from there, verified by SHA-256 and atomically. DeviceError if it cannot be read."""
        download(self, remote, local)

    def spawn(self, argv: Sequence[str], *, log: str, env: Mapping[str, str]) -> int:
        """Start argv detached: in a session of its own, without us. Its output goes to the file `log`. Its pid."""
        assignments = [f"{name}={value}" for name, value in env.items()]
        command = [*(["env", *assignments] if assignments else []), *argv]
        done = self.run(["sh", "-c", _DETACH, "sh", log, argv[0], *command], timeout_s=SPAWN_S)
        if done.status != 0 or not done.stdout.strip().isdigit():
            said = done.stderr.strip() or done.stdout.strip()
            raise DeviceError(f"board {self.board}: {argv[0]!r} cannot be started: {said}")
        return int(done.stdout)

    def stream(self, argv: Sequence[str]) -> LineStream:
        """Talk to argv by lines. It ends when it notices the end of its input."""
        frame = Frame.new()
        channel = self._start(frame.talk('exec "$@"', argv))
        return SshLines(channel, frame, board=self.board, program=argv[0])

    def facts(self) -> dict[str, Any]:
        """What the board is, in one round trip: home, user, uid, machine, kernel, hostname, shell, boot_id and
        free_bytes (of the home; both None where they cannot be known)."""
        done = self.run(["sh", "-c", _FACTS], timeout_s=FACTS_S)
        pairs = dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)
        facts: dict[str, Any] = {key: pairs.get(key) or None for key in ("machine", "kernel", "hostname", "shell")}
        free_kib, uid = pairs.get("free_kib", ""), pairs.get("uid", "")
        if not pairs.get("home") or not uid.isdigit():
            raise DeviceError(f"board {self.board}: it does not say whose home is where: {done.stdout!r}")
        return {
            **facts, "home": pairs["home"], "user": pairs.get("user") or uid, "uid": int(uid),
            "boot_id": pairs.get("boot_id") or None, "free_bytes": int(free_kib) * 1024 if free_kib.isdigit() else None,
        }  # fmt: skip

    def route(self) -> tuple[Hop, ...]:
        """The machines to pass, the board last. SpecError for an address or configuration that is wrong."""
        return find_route(self.address, self._config)

    def host_key(self) -> HostKey:
        """The key that the board has shown, which is the known one."""
        return host_key_of(self.connect().transport)

    def connect(self) -> Connection:
        """Open the link if it is not open; the other operations do so by themselves."""
        with self._lock:
            if self._connection is None or not self._connection.alive:
                if self._connection is not None:
                    self._drop(self._connection)
                self._connection = Connection(self.route(), board=self.board, target=self.address)
            return self._connection

    def close(self) -> None:
        """Cut the link: nothing is sent any more when this returns. The next operation opens it anew."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def talk(self, script: str, argv: Sequence[str] = ()) -> tuple[Any, Frame]:
        """A channel whose input and output are those of an sh script; its output begins after the frame's opening."""
        frame = Frame.new()
        return self._start(frame.talk(script, argv)), frame

    def _start(self, command: str, timeout_s: float = CHANNEL_S) -> Any:
        """A channel on which `command` was started. A link that died unnoticed is opened anew, once."""
        fresh = False
        while True:
            with self._lock:
                fresh = fresh or self._connection is None or not self._connection.alive
                connection = self.connect()
            try:
                with lost_while(f"board {self.board}: the link was lost"):
                    channel = connection.open_channel(timeout_s)
                    with connection.at_most(timeout_s):
                        channel.exec_command(command)
                    return channel
            except paramiko.ChannelException as error:
                raise TransientError(
                    f"board {self.board}: it opens no further session ({error.text})",
                    hint="raise MaxSessions in its sshd_config, or use it from fewer programs at once",
                ) from error
            except TransientError:
                self._drop(connection)
                if fresh:
                    raise
                fresh = True

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                connection.close(abort=True)
                self._connection = None


def _close(channel: Any) -> None:
    with contextlib.suppress(*LINK_ERRORS):
        channel.close()
