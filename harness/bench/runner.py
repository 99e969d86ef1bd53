"""One run: prepare the board, record the meters, let the board work, keep everything raw.

The runner knows ports only. It judges nothing itself: whether power has settled is for the Judge, whether
the run is valid is for the analysis. Whatever happens, the meters are stopped, the agent is ended, the
board's settings are put back, and what was measured is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.bench.cool_down import cool_down
from harness.bench.layers import put_layers
from harness.bench.live_power import newest_to_judge
from harness.bench.program import standby_program, start_program
from harness.bench.recorder import AnyOpener, Recorder, open_recorder
from harness.bench.telling import TelemetryRecorder
from harness.bench.warm_gate import warm_through
from harness.boards.remote_agent import lease_s
from harness.core.errors import BenchError
from harness.core.events import EventStream
from harness.core.layers import LayerStamps
from harness.core.ports import AgentSession, Board, Judge, ProfilingSession
from harness.core.spec import MeterBinding, RunSpec
from harness.core.timeline import Phase
from harness.core.waiting import NS_PER_S, WaitClock
from harness.store.layout import stream_path
from harness.store.run_writer import RunWriter

Outputs = Mapping[str, npt.NDArray[np.generic]]
OutputsCheck = Callable[[RunSpec, Outputs], Mapping[str, Any]]

PINGS = 50
IDLE_REFERENCE_S = 1.5  # board without an agent, before the first load: what "settled" is compared with
TAIL_S = 2.5  # recorded after the last bracket: meters with a pipeline deliver late
LOOK_AGAIN_S = 0.25


def execute_run(
    spec: RunSpec,
    *,
    root: Path,
    board: Board,
    meters: Sequence[tuple[MeterBinding, AnyOpener]],
    judge: Judge,
    clock: WaitClock,
    events: EventStream,
    check_outputs: OutputsCheck | None = None,
) -> Path:
    """Measure `spec` and return the finished run directory under `root`.

    Raises SpecError, DeviceError or TransientError; the directory is then `<run_id>.aborted-<k>` and holds
    what had been measured, with the reason.
    """
    writer = RunWriter.create(root, spec)
    try:
        with events.logged_to(writer.path / "events.jsonl"):
            try:
                _Run(spec, writer, board, judge, clock, events, check_outputs).measure(meters)
            except BaseException as error:
                events.emit("run_aborted", run_id=spec.run_id, reason=_reason(error))
                raise
            events.emit("run_measured", run_id=spec.run_id)
    except BaseException as error:
        writer.abort(_reason(error))
        raise
    return writer.finish()


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by the user"
    return error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


class _Run:
    """The state of one run while it is measured."""

    def __init__(
        self,
        spec: RunSpec,
        writer: RunWriter,
        board: Board,
        judge: Judge,
        clock: WaitClock,
        events: EventStream,
        check_outputs: OutputsCheck | None,
    ) -> None:
        self.spec, self.writer, self.board = spec, writer, board
        self.judge, self.clock, self.events, self.check_outputs = judge, clock, events, check_outputs
        self.recorders: list[Recorder] = []
        self.telemetry: TelemetryRecorder | None = None
        self.idle_w: float | None = None
        self.link_account: list[dict[str, Any]] = []
        self.layer_stamps: list[LayerStamps | None] = []  # one a start

    def measure(self, meters: Sequence[tuple[MeterBinding, AnyOpener]]) -> None:
        self._clear_the_bench()
        cool_down(self.board, self.spec.board, self.clock, self.events)
        before = self.board.state()
        configured = self.board.configure(self.spec)
        try:
            with self._recording(meters):
                self._idle_reference()
                self._deep_bracket("before", 0)
                for start in range(self.spec.protocol.starts):
                    with self.events.step("start", run_id=self.spec.run_id, start=start):
                        self._one_start(start)
                self._deep_bracket("after", self.spec.protocol.starts - 1)
                after = self._tail()
            if self.spec.protocol.layers != "off":
                put_layers(self.spec, self.board, self.writer, self.events, self.layer_stamps)
            self.writer.put_json("link", self.link_account)
            self.writer.put_json("board_state", {"before": before, "configured": configured, "after": after})
        except BaseException:
            with contextlib.suppress(BenchError):  # the journal stays on the board: the next run puts it back
                self._restore()
            raise
        self._restore()

    def _restore(self) -> None:
        self.events.emit("board_restored", restored=list(self.board.restore()))

    def _clear_the_bench(self) -> None:
        """Put back what a crash left changed, and end its agents before they heat the next standby."""
        restored = self.board.restore()
        if restored:
            self.events.emit("board_restored_after_crash", restored=list(restored))
        orphans = self.board.end_orphans()
        if orphans:
            self.events.emit("orphan_agents_ended", pids=list(orphans))

    @contextlib.contextmanager
    def _recording(self, meters: Sequence[tuple[MeterBinding, AnyOpener]]) -> Iterator[None]:
        try:
            for binding, opener in meters:
                path = stream_path(self.writer.path, binding.name)
                unspoken_s = lease_s(self.spec.protocol)
                recorder = open_recorder(binding, opener, path, self.clock, board=self.board, lease_s=unspoken_s)
                self.recorders.append(recorder)
                self.events.emit(
                    "meter_opened", meter=binding.name, model=recorder.info.model, serial=recorder.info.serial,
                    firmware=recorder.info.firmware, recovered=recorder.recovered,
                )  # fmt: skip
                if recorder.recovered:
                    self.events.emit("meter_found_sampling", meter=binding.name, drained=True)
            for recorder in self.recorders:
                recorder.start()
            self.telemetry = TelemetryRecorder(
                self.spec, self.writer, self.board, self.events, lease_s=lease_s(self.spec.protocol)
            )
            yield
            self.telemetry.stop()
            for (binding, _), recorder in zip(meters, self.recorders, strict=True):
                self.events.emit("meter_stopped", meter=binding.name, counts=recorder.stop())
        finally:
            if self.telemetry is not None:
                self.telemetry.close()
            for recorder in self.recorders:
                recorder.close()

    def _idle_reference(self) -> None:
        """Power of the board without an agent: what settling is compared with, never subtracted."""
        with self._step("idle_reference"):
            self._wait(IDLE_REFERENCE_S)
        _, power = self.recorders[0].recent(IDLE_REFERENCE_S)
        self.idle_w = float(np.median(power)) if len(power) else None
        self.events.emit("idle_reference", power_w=self.idle_w)

    def _tail(self) -> Mapping[str, Any]:
        """Record on while meters deliver what they hold; the board, no longer measured, says its state meanwhile."""
        with self._step("tail"):
            until_ns = self.clock.now_ns() + int(TAIL_S * NS_PER_S)
            after = self.board.state()
            self.clock.sleep_until(until_ns)
            self._poll()
        return after

    def _one_start(self, start: int) -> None:
        protocol = self.spec.protocol
        session = self.board.start_agent(self.spec, start)
        try:
            if start == 0:
                self.writer.put_json("agent", dict(session.hello()))
            else:
                session.hello()
            self.writer.put_pings(session.clock, session.ping(PINGS))
            with self._step("load", start=start):
                report = session.load(self.spec, start)
            self.writer.put_timeline(report.timeline)
            if start == 0:
                self.writer.put_json("runtime", dict(report.details))
                self._check_outputs(session)
                if not self._deep_idle:
                    self._bracket("before", session, start)
            self._warm_through(session, start)
            with self._step("program", start=start):
                self._perform(session, start, start_program(protocol))
            if protocol.layers == "instances" and isinstance(session, ProfilingSession):
                self._keep_stamps(session.layer_stamps(), start)
            if start == protocol.starts - 1 and not self._deep_idle:
                self._bracket("after", session, start)
            self.writer.put_pings(session.clock, session.ping(PINGS))
        finally:
            self.link_account.extend({"start": start, **entry} for entry in session.link_account)
            session.close()

    def _warm_through(self, session: AgentSession, start: int) -> None:
        def perform(program: Sequence[Any]) -> None:
            self._perform(session, start, program)

        warm_through(self.board, self.spec.board, self.clock, self.events, perform, start=start)

    def _keep_stamps(self, stamps: LayerStamps | None, start: int) -> None:
        self.layer_stamps.append(stamps)
        self.events.emit("layers_stamped", start=start, inferences=0 if stamps is None else len(stamps.start))

    @property
    def _deep_idle(self) -> bool:
        return self.spec.protocol.standby_state == "deep-idle"

    def _deep_bracket(self, when: str, start: int) -> None:
        """Standby with no model loaded anywhere: an agent that loads nothing stamps the bracket, and no other lives."""
        if not self._deep_idle:
            return
        session = self.board.start_agent(self.spec, start)
        try:
            session.hello()
            self.writer.put_pings(session.clock, session.ping(PINGS))
            self._bracket(when, session, start)
            self.writer.put_pings(session.clock, session.ping(PINGS))
        finally:
            self.link_account.extend({"start": start, **entry} for entry in session.link_account)
            session.close()

    def _bracket(self, when: str, session: AgentSession, start: int) -> None:
        phase = Phase.STANDBY_BEFORE if when == "before" else Phase.STANDBY_AFTER
        with self._step("settle", when=when):
            self._settle(when, session)
        with self._step("standby", when=when):
            self._perform(session, start, standby_program(phase, self.spec.protocol.standby_s))

    def _step(self, step: str, **fields: Any) -> AbstractContextManager[None]:
        """A step of the protocol: its events tell a step's time from what the harness needs in between."""
        return self.events.step("protocol_step", run_id=self.spec.run_id, step=step, **fields)

    def _check_outputs(self, session: AgentSession) -> None:
        if self.check_outputs is None:
            return
        outputs = session.outputs()
        verdict = dict(self.check_outputs(self.spec, outputs)) if outputs else {}
        if verdict:
            self.writer.put_json("outputs_check", verdict)
            self.events.emit("outputs_checked", **verdict)
        else:
            self.events.emit("outputs_not_checked", run_id=self.spec.run_id, given=sorted(outputs))

    def _perform(self, session: AgentSession, start: int, program: Sequence[Any]) -> None:
        timeline = session.perform(program, start, seed=self.spec.seed + 7919 * start)
        self.writer.put_timeline(timeline)
        self._poll()
        if self.telemetry is not None:
            self.telemetry.poll()

    def _settle(self, when: str, session: AgentSession) -> None:
        """Wait until the judge finds the power settled, at least settle_min_s and at most settle_max_s."""
        protocol = self.spec.protocol
        begin_ns = self.clock.now_ns()
        self._wait(protocol.settle_min_s)
        limit_ns = begin_ns + int(protocol.settle_max_s * NS_PER_S)
        while True:
            rest_s = (self.clock.now_ns() - begin_ns) / NS_PER_S
            t_ns, power = newest_to_judge(self.recorders[0], rest_s=rest_s)
            verdict = self.judge.settled(t_ns, power, reference_w=self.idle_w)
            if verdict.ok or self.clock.now_ns() >= limit_ns:
                break
            self._wait(LOOK_AGAIN_S)
        waited_s = (self.clock.now_ns() - begin_ns) / NS_PER_S
        self.events.emit("settled", when=when, ok=verdict.ok, reason=verdict.reason, waited_s=waited_s)
        self.writer.put_json(f"settle_{when}", {"ok": verdict.ok, "reason": verdict.reason, "waited_s": waited_s})

    def _wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now_ns() + int(seconds * NS_PER_S))
        self._poll()

    def _poll(self) -> None:
        for recorder in self.recorders:
            recorder.poll()
