"""The link to a live agent: requests and replies over a line stream that may break and is opened again.

A measurement must not depend on the cable: the agent works on alone, and whoever waits for it here waits silently
while it measures, asks whether it still lives when it should be done, and attaches again when the link broke.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from harness.core.clock import Int64Array
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import LineStream

REPLY_S = 10.0
PROBE_S = 5.0  # how long a link that waits for a job may be silent before the agent is asked whether it lives
LONGEST_PAUSE_S = 5.0
MOST_OUTAGES = 50


class AgentGone(TransientError):
    """The link works, but no agent answers behind it."""


class AgentVanished(TransientError):
    """The process of an agent that had answered is gone: killed, crashed or ended."""


_KINDS: dict[str, type[BenchError]] = {
    "spec": SpecError, "device": DeviceError, "transient": TransientError, "gone": AgentGone,
}  # fmt: skip

Connect = Callable[[], LineStream]


class Unanswered(TransientError):
    """The link works and the agent answers, but this job is not done in its time."""


class AgentLink:
    """Requests and replies over a line stream; a link that breaks is opened again.

    `patience_s`: how long one outage may last before the agent is given up; the agent measures on meanwhile.
    Nothing is sent while a request is `quiet_s` young: neither probes nor, when the link breaks, a new connection.
    """

    def __init__(self, connect: Connect, *, board: str, last_words: Callable[[], str], patience_s: float = 5.0) -> None:
        self._connect, self._board, self._last_words = connect, board, last_words
        self._patience_s = patience_s
        self._number = 0
        self.outages = 0
        self._stream: LineStream | None = connect()

    def request(
        self,
        op: str,
        *,
        timeout_s: float = REPLY_S,
        quiet_s: float = 0.0,
        patience_s: float | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """The agent's reply. A request is sent again after an outage, so it must be idempotent.

        Raises what the agent raised; TransientError when it is gone, the link stays broken for `patience_s`, or a
        job is not done within `timeout_s` although the agent answers.
        """
        began = time.monotonic()
        quiet_until = began + quiet_s
        for _ in range(MOST_OUTAGES):
            try:
                return self._ask(op, fields, timeout_s - (time.monotonic() - began), quiet_until)
            except AgentGone as error:
                self.drop()
                raise self._gone(error, AgentVanished) from error
            except Unanswered:
                raise
            except TransientError as error:
                lost = time.monotonic()
                self.drop()
                sleep_until(quiet_until)
                self._reconnect(error, self._patience_s if patience_s is None else patience_s)
                began += max(0.0, time.monotonic() - max(lost, quiet_until))  # an outage is not the job's fault
        raise TransientError(
            f"board {self._board}: the link broke {MOST_OUTAGES} times during {op!r}",
            hint="look at the network between here and the board, then run again",
        )

    def _ask(self, op: str, fields: Mapping[str, Any], timeout_s: float, quiet_until: float) -> dict[str, Any]:
        """One request on the link as it is. Raises Unanswered, AgentGone, or TransientError for a broken link."""
        number = self._send(op, fields)
        deadline = max(time.monotonic() + timeout_s, quiet_until)
        probe: int | None = None
        while True:
            now = time.monotonic()
            listen_until = now + REPLY_S if probe else max(quiet_until, now + PROBE_S)
            if probe is None and timeout_s <= REPLY_S:
                listen_until = deadline  # an op that is answered at once needs no probes
            reply = self._read(min(listen_until, max(deadline, now + 0.1)))
            if reply is None:
                if probe or timeout_s <= REPLY_S:
                    raise TransientError(f"no answer to {'status' if probe else op!r} on the link")
                if time.monotonic() >= deadline:
                    raise Unanswered(
                        f"board {self._board}: the agent lives, but {op!r} is not done within {timeout_s:.0f} s",
                        hint="look at the load of the board, then run again",
                    )
                probe = self._send("status", {})
            elif reply.get("id") == number:
                if not reply["ok"]:
                    raise_refusal(reply, self._board)
                return reply
            elif reply.get("id") == 0:
                raise_refusal(reply, self._board)
            elif reply.get("id") == probe:
                probe = None  # else the answer to a request given up

    def _send(self, op: str, fields: Mapping[str, Any]) -> int:
        if self._stream is None:
            raise TransientError("not connected")
        self._number += 1
        self._stream.write_line(json.dumps({"id": self._number, "op": op, **fields}))
        return self._number

    def _read(self, until: float) -> dict[str, Any] | None:
        """The next reply; None when nothing came until then. TransientError when the link ended."""
        assert self._stream is not None
        while True:
            try:
                line = self._stream.read_line(max(0.0, until - time.monotonic()))
            except TransientError:
                if time.monotonic() >= until:
                    return None
                raise
            if line.startswith("{"):  # a login shell may print something else
                reply: dict[str, Any] = json.loads(line)
                return reply

    def _reconnect(self, cause: TransientError, patience_s: float) -> None:
        """Attach again; the agent does not notice. Raises when it is gone for good."""
        self.outages += 1
        until = time.monotonic() + patience_s
        pause_s = 0.1
        while True:
            self.drop()
            try:
                self._stream = self._connect()
                self._ask("status", {}, REPLY_S, 0.0)
                return
            except TransientError as error:
                if isinstance(error, AgentGone) or time.monotonic() + pause_s >= until:
                    self.drop()
                    if isinstance(error, AgentGone):
                        raise self._gone(cause, AgentVanished) from error
                    raise self._gone(error) from error
                time.sleep(pause_s)
                pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)

    def _gone(self, cause: TransientError, kind: type[TransientError] = TransientError) -> TransientError:
        words = self._last_words()
        return kind(
            f"board {self._board}: the agent is gone ({cause.message})"
            + (f"; its last words: {words}" if words else ""),
            hint="run again: finished runs are kept, this one is measured anew",
        )

    def ping(self, count: int) -> Int64Array:
        """(count, 3) int64: host before, middle of the agent's two stamps, host after."""
        stamps = np.empty((count, 3), np.int64)
        for k in range(count):
            before = time.monotonic_ns()
            received, answered = self.request("ping")["t"]
            after = time.monotonic_ns()
            stamps[k] = before, (received + answered) // 2, after
        return stamps

    def fetch(self, name: str, sha256: str) -> bytes:
        """A result file, verified."""
        data = bytearray()
        while True:
            reply = self.request("fetch", file=name, offset=len(data))
            data += base64.b64decode(reply["data"])
            if len(data) >= reply["size"]:
                break
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DeviceError(f"board {self._board}: result {name} is damaged (SHA-256 differs)")
        return bytes(data)

    def drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def sleep_until(until: float) -> None:
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(left_s)


def raise_refusal(reply: Mapping[str, Any], board: str) -> NoReturn:
    kind = _KINDS.get(str(reply.get("kind")), DeviceError)
    raise kind(f"board {board}: {reply.get('error')}", hint=str(reply.get("hint") or ""))
