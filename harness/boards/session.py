"""A live agent seen from the host: requests and replies over a line stream, results turned into Timelines.

Jobs have keys chosen here, so that a request repeated after a broken link starts nothing twice, and the agent
keeps every result until it has been fetched.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.boards.layer_results import join_stamps, unpack_profile, unpack_stamps
from harness.boards.link import AgentLink, AgentVanished, sleep_until
from harness.core.clock import Int64Array
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.layers import Kernel, LayerStamps
from harness.core.ports import LoadReport, ProfileReport, Step
from harness.core.spec import RunSpec
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline

PROTOCOL_VERSION = 3
LOAD_S = 600.0
SLACK_S = 60.0
AFTER_S = 0.05  # a program begins when the last packets about it have come and gone
DARK_AFTER_S = 1.0  # a dark program begins so long after the link is told to close
SILENCE_MARGIN_S = 1.5  # nothing is sent for this long after the program should be over ...
SILENCE_MARGIN = {"timed": 0.02, "counted": 0.5}  # ... and this share of what it should take


READING_S = 600.0  # what a board may take to read a profile of a million events
PROFILED_S = 20.0  # longest inference that a profile pass has time for

LoadJob = Callable[[RunSpec], Mapping[str, Any]]
Trace = Callable[[RunSpec, Sequence[Kernel], bytes], tuple[tuple[Kernel, ...], bytes]]


class BoardSession:
    """AgentSession over an AgentLink.

    `load_job` deploys what a RunSpec needs and returns the agent's load job; `on_close` ends the agent for good
    (it is called after the polite request to exit) and removes its directory. `cut`, if given, makes programs dark:
    it cuts the board's link, which is opened again when the program is over. `link_account`: one entry a program.
    `trace` finds kernels in the optimised graph: gives them source nodes, and the graph's nodes their names.
    """

    def __init__(
        self,
        link: AgentLink,
        *,
        board: str,
        clock: str,
        token: str,
        load_job: LoadJob,
        on_close: Callable[[], None],
        cut: Callable[[], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._cut, self._trace = cut, trace
        self._link_account: list[dict[str, Any]] = []
        self._link, self._board, self._clock, self._token = link, board, clock, token
        self._load_job, self._on_close = load_job, on_close
        self._jobs = 0
        self._period_s = 0.1
        self._reading_s = 0.0
        self._closed = False
        self._optimised: Mapping[str, str] | None = None
        self._stamps: list[LayerStamps] = []

    @property
    def clock(self) -> str:
        return self._clock

    @property
    def link_account(self) -> Sequence[Mapping[str, Any]]:
        """One entry a program: its phases, contacts and packets while it ran, outages so far."""
        return tuple(self._link_account)

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
        try:
            reply = self._job(f"load-{start}", {**self._load_job(spec), "instances": _instances(spec)}, LOAD_S)
        except AgentVanished as error:
            raise TransientError(
                f"{error.message}: it vanished while it loaded {spec.model.name}, killed, perhaps out of memory",
                hint="look at the board's free memory (free -m, dmesg), or set memory_limit_mib in its file: then a "
                "model that is too large is refused in words",
            ) from error
        self._reading_s = READING_S if spec.protocol.layers == "instances" else 0.0
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
        after_s = DARK_AFTER_S if self._cut else AFTER_S
        job = {"job": "perform", "steps": steps, "seed": seed, "after_s": after_s}
        limit_s = 3.0 * sum(map(self._step_s, program)) + SLACK_S + self._reading_s
        silence_s = after_s + self._silence_s(program)
        reply = self._job(f"perform-{start}-{self._jobs}", job, limit_s, silence_s=silence_s)
        self._account(program, reply)
        data = self._link.fetch(reply["file"], reply["sha256"])
        rows = np.frombuffer(data, "<i8").astype(np.int64).reshape(-1, 2)
        spans, phases = [], np.full(len(rows), -1, np.int64)
        for name, begin_ns, end_ns, first, count in reply["spans"]:
            phase = Phase(name)
            spans.append(Span(start, phase, begin_ns, end_ns))
            phases[first : first + count] = PHASE_CODE[phase]
        self._verify(rows, phases, reply["rows"])
        timeline = self._timeline(start, tuple(spans), phases, rows)
        self._take_stamps(timeline, start, reply.get("layers"))
        return timeline

    def _take_stamps(self, timeline: Timeline, start: int, reply: Mapping[str, Any] | None) -> None:
        if reply is not None and "file" in reply:
            data = self._link.fetch(reply["file"], reply["sha256"])
            self._stamps.append(unpack_stamps(data, timeline, start, board=self._board))

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

    def profile(self, spec: RunSpec, *, count: int) -> ProfileReport:
        """Profile `count` inferences and as many without a profiler, in this process; what was loaded is forgotten."""
        self._jobs += 1
        job = {
            **self._load_job(spec), "job": "profile", "count": count, "warm_up_s": spec.protocol.warm_up_s,
            "save_optimised": False,
        }  # fmt: skip
        limit_s = 2.0 * (LOAD_S + spec.protocol.warm_up_s + PROFILED_S * count)
        reply = self._job(f"profile-{self._jobs}", job, limit_s)
        profile = unpack_profile(self._link.fetch(reply["file"], reply["sha256"]), reply, board=self._board)
        problem = "; ".join(reply["problems"])
        if reply["graph"] is None:
            return ProfileReport(profile, problem=problem)
        graph = self._link.fetch(reply["graph"]["file"], reply["graph"]["sha256"])
        if self._trace is None:
            return ProfileReport(profile, graph, problem)
        try:
            kernels, graph = self._trace(spec, profile.kernels, graph)
        except Exception as error:  # noqa: BLE001 - a graph of whatever form must not cost the profile
            untraced = f"kernels cannot be traced to the model's nodes: {error}"
            return ProfileReport(profile, graph, "; ".join(filter(None, (problem, untraced))))
        return ProfileReport(replace(profile, kernels=kernels), graph, problem)

    def layer_stamps(self) -> LayerStamps | None:
        """Stamps of the measured inferences of the programs so far; None if their kernels were not stamped."""
        return join_stamps(self._stamps)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._link.request("exit", timeout_s=2.0, patience_s=0.0)
        except BenchError:
            pass  # on_close makes sure
        finally:
            self._link.drop()
            self._on_close()

    def _job(self, key: str, job: Mapping[str, Any], limit_s: float, *, silence_s: float = 0.0) -> dict[str, Any]:
        """Submit a job and wait for its outcome; for `silence_s` nothing is sent, and a dark link is cut."""
        self._link.request("submit", key=key, job=job, lease_s=limit_s + SLACK_S)
        if silence_s and self._cut is not None:
            self._link.drop()
            self._cut()
            sleep_until(time.monotonic() + silence_s)
            silence_s = 0.0
        return self._link.request("wait", timeout_s=limit_s, quiet_s=silence_s, key=key, lease_s=limit_s + SLACK_S)

    def _silence_s(self, program: Sequence[Step]) -> float:
        """From its begin, by when a program is surely over: rather too late, since the answer of an open link is
        heard at once all the same, and for a dark one it is only time."""

        def margin(step: Step) -> float:
            return SILENCE_MARGIN["counted" if step.op == "infer" and step.count is not None else "timed"]

        return SILENCE_MARGIN_S + sum(self._step_s(step) * (1.0 + margin(step)) for step in program)

    def _account(self, program: Sequence[Step], reply: Mapping[str, Any]) -> None:
        """What the link did while the program ran. TransientError if a dark one was spoken to before its end."""
        contacts_ns, end_ns = list(reply["contacts_ns"]), max(end for _, _, end, _, _ in reply["spans"])
        self._link_account.append(
            {
                "phases": list(dict.fromkeys(str(step.phase) for step in program)),
                "dark": self._cut is not None,
                "contacts_ns": contacts_ns,
                "packets": reply["packets"],
                "outages": self._link.outages,
            }
        )
        if self._cut is not None and any(t_ns <= end_ns for t_ns in contacts_ns):
            raise TransientError(
                f"board {self._board}: a dark program was still running when the link was opened again",
                hint="run again; if it happens often the board throttles: give the protocol measure_s, not inferences",
            )

    def _step_s(self, step: Step) -> float:
        """How long a step should take."""
        if step.op == "marker":
            return len(step.bits) * step.chip_s
        if step.op == "infer" and step.count is not None:
            return step.count * (self._period_s + step.pause_max_s)
        return step.seconds + self._period_s

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


def _instances(spec: RunSpec) -> dict[str, float] | None:
    """How many inferences a process start plans whose kernels are to be stamped: for so many seconds, and so many."""
    protocol = spec.protocol
    if protocol.layers != "instances":
        return None
    seconds = protocol.warm_up_s + protocol.lead_in_s + protocol.lead_out_s
    if protocol.inferences is None:
        return {"seconds": seconds + protocol.measure_s, "count": protocol.probe_pauses}
    return {"seconds": seconds, "count": protocol.probe_pauses + math.ceil(protocol.inferences / protocol.starts)}
