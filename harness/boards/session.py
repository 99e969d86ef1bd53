"""A live agent seen from the host: requests and replies over a line stream, results turned into Timelines.

Jobs have keys chosen here, so that a request repeated after a broken link starts nothing twice, and the agent
keeps every result until it has been fetched.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from harness.core.clock import Int64Array
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import LineStream, LoadReport, Step
from harness.core.spec import RunSpec
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline

PROTOCOL_VERSION = 2
REPLY_S = 10.0
LOAD_S = 600.0
SLACK_S = 60.0


class AgentGone(TransientError):
    """The link works, but no agent answers behind it."""


_KINDS: dict[str, type[BenchError]] = {
    "spec": SpecError, "device": DeviceError, "transient": TransientError, "gone": AgentGone,
}  # fmt: skip

Connect = Callable[[], LineStream]
LoadJob = Callable[[RunSpec], Mapping[str, Any]]


class AgentLink:
    """Requests and replies; a broken link is opened again until `patience_s` is over."""

    def __init__(self, connect: Connect, *, board: str, last_words: Callable[[], str], patience_s: float = 5.0) -> None:
        self._connect, self._board, self._last_words = connect, board, last_words
        self._patience_s = patience_s
        self._number = 0
        self._stream: LineStream | None = connect()

    def request(self, op: str, *, timeout_s: float = REPLY_S, **fields: Any) -> dict[str, Any]:
        """The agent's reply. Requests may be sent twice when the link breaks, so they must be idempotent."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                return self._ask(op, fields, max(0.1, until - time.monotonic()))
            except AgentGone as error:
                self.drop()
                raise self._gone(error) from error
            except TransientError as error:
                if time.monotonic() >= until:
                    raise TransientError(
                        f"board {self._board}: no answer to {op!r} within {timeout_s:g} s",
                        hint="look at the load of the board, then run again",
                    ) from error
                self._reconnect(error)

    def _ask(self, op: str, fields: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._stream is None:
            raise TransientError("not connected")
        self._number += 1
        self._stream.write_line(json.dumps({"id": self._number, "op": op, **fields}))
        until = time.monotonic() + timeout_s
        while True:
            line = self._stream.read_line(max(0.0, until - time.monotonic()))
            if not line.startswith("{"):
                continue  # a login shell that prints
            reply: dict[str, Any] = json.loads(line)
            if reply.get("id") == 0:
                raise_refusal(reply, self._board)
            if reply.get("id") != self._number:
                continue  # the answer to a request given up
            if not reply["ok"]:
                raise_refusal(reply, self._board)
            return reply

    def _reconnect(self, cause: TransientError) -> None:
        """Attach again; the agent does not notice. Raises when it is gone for good."""
        until = time.monotonic() + self._patience_s
        while True:
            self.drop()
            try:
                self._stream = self._connect()
                self._ask("status", {}, REPLY_S)
                return
            except TransientError as error:
                if isinstance(error, AgentGone) or time.monotonic() >= until:
                    self.drop()
                    raise self._gone(cause) from error
                time.sleep(0.1)

    def _gone(self, cause: TransientError) -> TransientError:
        words = self._last_words()
        return TransientError(
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


def raise_refusal(reply: Mapping[str, Any], board: str) -> NoReturn:
    kind = _KINDS.get(str(reply.get("kind")), DeviceError)
    raise kind(f"board {board}: {reply.get('error')}", hint=str(reply.get("hint") or ""))


class BoardSession:
    """AgentSession over an AgentLink.

    `load_job` deploys what a RunSpec needs and returns the agent's load job; `on_close` ends the agent for good
    (it is called after the polite request to exit) and removes its directory.
    """

    def __init__(
        self, link: AgentLink, *, board: str, clock: str, token: str, load_job: LoadJob, on_close: Callable[[], None]
    ) -> None:
        self._link, self._board, self._clock, self._token = link, board, clock, token
        self._load_job, self._on_close = load_job, on_close
        self._jobs = 0
        self._period_s = 0.1
        self._closed = False
        self._optimised: Mapping[str, str] | None = None

    @property
    def clock(self) -> str:
        return self._clock

    def hello(self) -> Mapping[str, Any]:
        reply = self._link.request("hello")
        if reply["protocol"] != PROTOCOL_VERSION:
            raise DeviceError(
                f"board {self._board}: the agent speaks protocol {reply['protocol']}, this harness {PROTOCOL_VERSION}",
                hint=f"end it (kill {reply['pid']} on the board) and run again: the right agent is deployed by itself",
            )
        if reply["token"] != self._token:
            raise DeviceError(f"board {self._board}: another agent answers than the one that was started")
        return {k: v for k, v in reply.items() if k not in ("id", "ok")}

    def describe(self) -> Mapping[str, Any] | None:
        """Signature, runtime and settings of the loaded model; None if none is loaded."""
        details: Mapping[str, Any] | None = self._link.request("describe")["details"]
        return details

    def ping(self, count: int) -> Int64Array:
        return self._link.ping(count)

    def load(self, spec: RunSpec, start: int) -> LoadReport:
        reply = self._job(f"load-{start}", dict(self._load_job(spec)), LOAD_S)
        details, self._optimised = reply["details"], reply.get("optimised")
        self._period_s = float(details["period_s"])
        begin_ns, end_ns = reply["begin_ns"], reply["end_ns"]
        rows = np.array([[begin_ns, end_ns]], np.int64)
        span = Span(start, Phase.LOAD, begin_ns, end_ns)
        phases = np.array([PHASE_CODE[Phase.LOAD]], np.int64)
        return LoadReport(details, self._timeline(start, (span,), phases, rows))

    def perform(self, program: Sequence[Step], start: int, *, seed: int) -> Timeline:
        steps = [dict(asdict(step), phase=str(step.phase)) for step in program]
        self._jobs += 1
        job = {"job": "perform", "steps": steps, "seed": seed}
        reply = self._job(f"perform-{start}-{self._jobs}", job, 3.0 * self._expected_s(program) + SLACK_S)
        data = self._link.fetch(reply["file"], reply["sha256"])
        rows = np.frombuffer(data, "<i8").astype(np.int64).reshape(-1, 2)
        spans, phases = [], np.full(len(rows), -1, np.int64)
        for name, begin_ns, end_ns, first, count in reply["spans"]:
            phase = Phase(name)
            spans.append(Span(start, phase, begin_ns, end_ns))
            phases[first : first + count] = PHASE_CODE[phase]
        self._verify(rows, phases, reply["rows"])
        return self._timeline(start, tuple(spans), phases, rows)

    def outputs(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """The model's outputs for the run's inputs, by name; empty if the runtime cannot give any."""
        self._jobs += 1
        reply = self._job(f"outputs-{self._jobs}", {"job": "outputs"}, SLACK_S + 10.0 * self._period_s)
        if reply["file"] is None:
            return {}
        with np.load(io.BytesIO(self._link.fetch(reply["file"], reply["sha256"])), allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}

    def optimised_model(self) -> bytes | None:
        """The runtime's optimised graph (ONNX bytes), if the load was asked to save it."""
        return self._link.fetch(self._optimised["file"], self._optimised["sha256"]) if self._optimised else None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._link.request("exit", timeout_s=2.0)
        except BenchError:
            pass  # on_close makes sure
        finally:
            self._link.drop()
            self._on_close()

    def _job(self, key: str, job: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        self._link.request("submit", key=key, job=job, lease_s=limit_s + SLACK_S)
        return self._link.request("wait", timeout_s=limit_s, key=key, lease_s=limit_s + SLACK_S)

    def _expected_s(self, program: Sequence[Step]) -> float:
        def one(step: Step) -> float:
            if step.op == "marker":
                return len(step.bits) * step.chip_s
            if step.op == "infer" and step.count is not None:
                return step.count * (self._period_s + step.pause_max_s)
            return step.seconds + self._period_s

        return sum(one(step) for step in program)

    def _verify(self, rows: Int64Array, phases: Int64Array, count: int) -> None:
        if len(rows) != count or np.any(phases < 0):
            raise DeviceError(f"board {self._board}: {len(rows)} stamped stretches, {count} announced")
        if np.any(rows[:, 1] < rows[:, 0]) or np.any(rows[1:, 0] < rows[:-1, 1]):
            raise DeviceError(f"board {self._board}: stamps run backwards", hint="is CLOCK_MONOTONIC steady there?")

    def _timeline(self, start: int, spans: tuple[Span, ...], phases: Int64Array, rows: Int64Array) -> Timeline:
        return Timeline(
            self._clock, spans, np.full(len(rows), start, np.int64), phases,
            np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]),
        )  # fmt: skip
