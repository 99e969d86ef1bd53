"""Records a coded load: the agent plays it alone, the meters of the bench are recorded, everything raw is kept.

The result is a run directory like any other, without measured inferences of its own: what the readings mean is told
from it afterwards, and can be told again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from harness.bench.coded_load import CodedLoad
from harness.bench.recorder import AnyOpener, Recorder, open_recorder
from harness.core.events import EventStream
from harness.core.ports import Board
from harness.core.spec import MeterBinding, RunSpec
from harness.core.waiting import NS_PER_S, WaitClock
from harness.store.layout import stream_path
from harness.store.lock import campaign_lock
from harness.store.run_writer import RunWriter

PINGS = 50
SETTLE_S = 1.0  # recorded before the load
TAIL_S = 2.5  # and after it: meters with a pipeline deliver late
LEASE_S = 900.0


def record_coded_load(
    spec: RunSpec, load: CodedLoad, *, root: Path, board: Board, meters: Sequence[tuple[MeterBinding, AnyOpener]],
    clock: WaitClock, events: EventStream, with_model: bool, late_s: float = 0.0,
) -> Path:  # fmt: skip
    """Play `load` on `board`, with spins or with inferences of the spec's model, and return the finished run directory.

    `late_s`: how much later than usual the meters may show the load. Errors: SpecError, DeviceError, TransientError;
    what had been recorded is then kept as `.aborted`.
    """
    with campaign_lock(root):
        writer = RunWriter.create(root, spec)
        recorders: list[Recorder] = []
        try:
            board.end_orphans()
            for binding, opener in meters:
                path = stream_path(writer.path, binding.name)
                recorder = open_recorder(binding, opener, path, clock, board=board, lease_s=LEASE_S + 2 * load.seconds)
                recorders.append(recorder)
            for recorder in recorders:
                recorder.start()
            _play(spec, load, writer, board, clock, events, with_model=with_model)
            clock.sleep_until(clock.now_ns() + int((TAIL_S + late_s) * NS_PER_S))
            for recorder in recorders:
                recorder.stop()
        except BaseException as error:
            _close(recorders)
            writer.abort(f"{type(error).__name__}: {error}")
            raise
        _close(recorders)
        return writer.finish()


def _close(recorders: Sequence[Recorder]) -> None:
    with contextlib.ExitStack() as stack:
        for recorder in recorders:
            stack.callback(recorder.close)


def _play(
    spec: RunSpec, load: CodedLoad, writer: RunWriter, board: Board, clock: WaitClock, events: EventStream,
    *, with_model: bool,
) -> None:  # fmt: skip
    session = board.start_agent(spec, 0)
    try:
        writer.put_json("agent", dict(session.hello()))
        writer.put_pings(session.clock, session.ping(PINGS))
        if with_model:
            with events.step("protocol_step", run_id=spec.run_id, step="load", start=0):
                session.load(spec, 0)
        clock.sleep_until(clock.now_ns() + int(SETTLE_S * NS_PER_S))
        steps = load.model_steps() if with_model else load.steps()
        with events.step("protocol_step", run_id=spec.run_id, step="coded_load", seconds=load.seconds):
            writer.put_timeline(session.perform(steps, 0, seed=spec.seed))
        writer.put_pings(session.clock, session.ping(PINGS))
    finally:
        session.close()
