"""Files to and from a board: whole or not at all, verified there by hash, going on where a lost link left off.

Both directions use a plain channel and `cat`, not SFTP: one way works with or without an sftp server and with a login
shell that prints, the board's own words say what went wrong (SFTP says "Failure"), and it is not slower.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.boards.ssh.connection import LINK_ERRORS
from harness.boards.ssh.shell import Frame
from harness.core.errors import DeviceError, TransientError
from harness.io.digest import sha256_of

if TYPE_CHECKING:
    from harness.boards.ssh.transport import SshTransport

BLOCK = 1 << 18
STALLED_S = 45.0  # a card may take long to write what it was sent
SLOWEST_HASH = 4e6  # bytes a second
CHECK_S = 60.0
_MOST_DAMAGED = 2
_RETRY_S = (0.2, 5.0)

_HASH = (
    "h() { if command -v sha256sum >/dev/null 2>&1; then sha256sum; "
    "elif command -v shasum >/dev/null 2>&1; then shasum -a 256; "
    "elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r; "
    'else python3 -c "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"; fi; }; '
)
# Is it there, is there room, may it be written; parts of uploads that died a day ago go.
_LOOK = _HASH + (
    "f=$1; d=${f%/*}; "
    'if [ -d "$f" ]; then echo directory; exit; fi; '
    'if [ -f "$f" ] && [ "$(wc -c <"$f")" -eq "$3" ]; then x=$(h <"$f"); '
    '[ "${x%% *}" = "$2" ] && echo same && exit; fi; '
    'p=$d; while [ -n "$p" ] && [ ! -d "$p" ]; do p=${p%/*}; done; '
    'df -Pk "${p:-/}" | tail -n 1; '
    'mkdir -p "$d" && [ -w "$d" ] || { echo closed; exit; }; '
    'find "$d" -name ".*.part" -mtime +0 -exec rm -f {} + 2>/dev/null; echo open'
)
# Takes over what an attempt before has left (as a copy: its `cat` may still hold that file), says how much it has,
# takes the rest, verifies, and renames: rename(2), as posix_rename does. Input that ends too soon is a lost link.
_TAKE = _HASH + (
    'f=$1; p=$2; n=0; [ -f "$5" ] && { cat "$5" >"$p"; rm -f "$5"; }; [ -f "$p" ] && n=$(wc -c <"$p"); echo "have" $n; '
    'if ! cat >>"$p"; then echo full; df -Pk "${f%/*}" | tail -n 1; rm -f "$p"; exit; fi; '
    '[ "$(wc -c <"$p")" -lt "$4" ] && exit; '
    'x=$(h <"$p"); if [ "${x%% *}" = "$3" ]; then mv -f "$p" "$f" && echo placed; '
    'else rm -f "$p"; [ -n "$x" ] && echo damaged "${x%% *}" || echo toolless; fi'
)
_GIVE = _HASH + 'x=$(h <"$1") && n=$(wc -c <"$1") && echo "${x%% *}" $n && exec cat "$1"'


class Upload:
    """One file on its way to a board."""

    def __init__(self, transport: SshTransport, local: Path, remote: str, *, patience_s: float) -> None:
        if not remote.startswith("/"):
            raise DeviceError(f"board {transport.board}: {remote!r} is not an absolute path")
        self._transport, self._local, self._remote, self._patience_s = transport, local, remote, patience_s
        self._size = local.stat().st_size
        self._sha256 = sha256_of(local)
        self._part = ""
        self._had = 0
        self._damaged = 0
        self._board = f"board {transport.board}"

    def run(self) -> None:
        if self._is_there():
            return
        until, wait_s = time.monotonic() + self._patience_s, _RETRY_S[0]
        while True:
            had = self._had
            try:
                if self._attempt():
                    return
            except TransientError as error:
                if self._had > had:
                    until, wait_s = time.monotonic() + self._patience_s, _RETRY_S[0]
                if time.monotonic() + wait_s > until:
                    raise TransientError(
                        f"{self._board}: {self._local.name} could not be sent, the link did not come back within "
                        f"{self._patience_s:g} s ({error.message})",
                        hint="run again: it goes on from the beginning of this file",
                    ) from error
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, _RETRY_S[1])

    def _is_there(self) -> bool:
        """Whether nothing needs to be sent. DeviceError if it cannot be."""
        argv = ["sh", "-c", _LOOK, "sh", self._remote, self._sha256, str(self._size)]
        done = self._transport.run(argv, timeout_s=CHECK_S + self._size / SLOWEST_HASH)
        lines = done.stdout.splitlines()
        verdict = lines[-1] if lines else ""
        if verdict == "same":
            return True
        if verdict == "directory":
            raise DeviceError(f"{self._board}: {self._remote} is a directory, {self._local} cannot take its place")
        folder = str(PurePosixPath(self._remote).parent)
        if verdict != "open":
            said = (done.stderr.strip().splitlines() or ["no right to write, or mounted read-only"])[-1]
            raise DeviceError(
                f"{self._board}: {folder} cannot be written: {said}",
                hint=f"ls -ld {folder}; mount | grep ' ro'   # on the board, or choose another `directory:`",
            )
        free = free_bytes(lines[-2] if len(lines) > 1 else "")
        if free is not None and free < self._size:
            raise self._no_room(free, folder)
        return False

    def _no_room(self, free: int | None, folder: str) -> DeviceError:
        room = "no room" if free is None else f"{free / 2**20:.1f} MiB free"
        return DeviceError(
            f"{self._board}: {room} in {folder}, {self._local.name} needs {self._size / 2**20:.1f} MiB",
            hint=f"joulebench boards clean {self._transport.board}, or choose another `directory:`",
        )

    def _attempt(self) -> bool:
        """Send what is missing. False: what arrived was damaged and must be sent again."""
        name = PurePosixPath(self._remote)
        part = str(name.with_name(f".{name.name}.{secrets.token_hex(4)}.part"))
        argv = [self._remote, part, self._sha256, str(self._size), self._part]
        channel, frame = self._transport.talk(_TAKE, argv)
        self._part = part
        replies = _Replies(channel, frame, self._board)
        with contextlib.closing(replies):
            self._had = int(replies.line(STALLED_S).removeprefix("have "))
            if self._had <= self._size:
                self._send(channel)
            replies.end_of_input()
            verdict = replies.line(STALLED_S + self._size / SLOWEST_HASH)
            if verdict == "placed":
                return True
            if verdict == "full":
                raise self._not_written(replies)
        if verdict == "toolless":
            raise DeviceError(
                f"{self._board}: it has none of sha256sum, shasum, openssl and python3 to verify a file with",
                hint="install coreutils on the board",
            )
        if not verdict.startswith("damaged"):
            raise DeviceError(f"{self._board}: {self._remote} cannot be put in place: {replies.complaint()}")
        self._damaged += 1
        if self._damaged > _MOST_DAMAGED:
            found = verdict.removeprefix("damaged ")
            raise DeviceError(
                f"{self._board}: {self._local.name} arrives damaged again and again (SHA-256 {found})",
                hint="check the board's memory and storage: dmesg | tail",
            )
        return False

    def _not_written(self, replies: _Replies) -> DeviceError:
        free = free_bytes(replies.line(STALLED_S))
        said = replies.complaint()
        folder = str(PurePosixPath(self._remote).parent)
        if "pace" in said or (free is not None and free < self._size):
            return self._no_room(free, folder)
        return DeviceError(f"{self._board}: {self._remote} cannot be written: {said}", hint=f"df -h {folder}")

    def _send(self, channel: Any) -> None:
        channel.settimeout(STALLED_S)
        with self._local.open("rb") as data:
            data.seek(self._had)
            while block := data.read(BLOCK):
                if channel.recv_ready():
                    return  # it has given up, and says why
                try:
                    channel.sendall(block)
                except TimeoutError as error:
                    raise TransientError(f"{self._board}: it takes nothing any more during an upload") from error
                except LINK_ERRORS:
                    return  # closed by the board, which then says why, or lost


class _Replies:
    """Lines of a transfer script, and its complaints."""

    def __init__(self, channel: Any, frame: Frame, board: str) -> None:
        self._channel, self._board = channel, board
        self._buffer = bytearray()
        while not self.line(STALLED_S).endswith(frame.token):
            pass

    def line(self, timeout_s: float) -> str:
        return self.raw_line(timeout_s).decode("utf-8", "replace")

    def raw_line(self, timeout_s: float) -> bytes:
        self._channel.settimeout(timeout_s)
        while (end := self._buffer.find(b"\n")) < 0:
            self._buffer += self.some()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def some(self) -> bytes:
        """Some bytes more; TransientError when there will be none."""
        try:
            data: bytes = self._channel.recv(BLOCK)
        except OSError as error:
            raise TransientError(f"{self._board}: nothing came over the link any more during a transfer") from error
        if not data:
            if self._channel.status_event.wait(1.0) and self._channel.exit_status > 0:
                raise DeviceError(f"{self._board}: {self.complaint()}")
            raise TransientError(f"{self._board}: the link was lost during a transfer")
        return data

    def blocks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes."""
        self._channel.settimeout(STALLED_S)
        while size > 0:
            block = bytes(self._buffer[:size]) if self._buffer else self.some()[:size]
            self._buffer.clear()
            size -= len(block)
            yield block

    def end_of_input(self) -> None:
        with contextlib.suppress(*LINK_ERRORS):
            self._channel.shutdown_write()

    def complaint(self) -> str:
        """The last line the board wrote to standard error."""
        said = b""
        with contextlib.suppress(OSError):
            self._channel.settimeout(1.0)
            while more := self._channel.recv_stderr(BLOCK):
                said = (said + more)[-BLOCK:]
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it does not say why"

    def close(self) -> None:
        with contextlib.suppress(*LINK_ERRORS):
            self._channel.close()


def free_bytes(df_line: str) -> int | None:
    """Free bytes in a line of `df -Pk`; None if it is not one."""
    match = re.search(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+(?:\d+%|-)\s", df_line)
    return max(0, int(match[3])) * 1024 if match else None


def download(transport: SshTransport, remote: str, local: Path) -> None:
    """Copy a file of the board to `local`, atomically. DeviceError if it cannot be read, or `local` not written."""
    channel, frame = transport.talk(_GIVE, [remote])
    part = local.with_name(f".{local.name}.{secrets.token_hex(4)}.part")
    board = f"board {transport.board}"
    with contextlib.closing(_Replies(channel, frame, board)) as replies:
        wanted, size = replies.line(CHECK_S * 10).split()
        digest = hashlib.sha256()
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as out:
                for block in replies.blocks(int(size)):
                    digest.update(block)
                    out.write(block)
            if digest.hexdigest() != wanted:
                raise TransientError(f"{board}: {remote} arrived damaged, or was changed on the way")
            part.replace(local)
        except OSError as error:
            raise DeviceError(f"{local} cannot be written: {error.strerror}", hint=f"df -h {local.parent}") from error
        finally:
            part.unlink(missing_ok=True)
