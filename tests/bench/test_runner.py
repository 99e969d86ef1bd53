"""One run and a campaign in virtual time: what happens when the meter fails, the agent fails, or all is well."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.program import start_program
from harness.bench.rails import check_total
from harness.bench.runner import execute_run
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.events import EventStream
from harness.core.ports import AgentSession, Board, Meter
from harness.core.spec import ProtocolSpec, RunSpec
from harness.core.timeline import Phase
from harness.core.trace import Block, MeterInfo
from harness.exam.virtual import exam_protocol, exam_spec, virtual_bench
from harness.store.find import RunStatus, list_runs
from harness.store.recover import recover_partial
from harness.store.run_reader import RunReader

SHORT = replace(exam_protocol(), starts=2, measure_s=1.0, standby_s=1.0, settle_max_s=4.0, probe_pauses=3)


class FailingMeter:
    """A simulated meter whose wire breaks after some steps."""

    def __init__(self, inner: Meter, after_steps: int, error: BenchError) -> None:
        self._inner, self._left, self._error = inner, after_steps, error
        self.open, self.start, self.stop = inner.open, inner.start, inner.stop
        self.closed = 0

    @property
    def recovered(self) -> bool:
        return self._inner.recovered

    def step(self, until_ns: int) -> Block | None:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._inner.step(until_ns)

    def close(self) -> None:
        self.closed += 1
        self._inner.close()


def measure(
    root: Path,
    spec: RunSpec,
    *,
    wrap: Callable[[Meter], Meter] = lambda meter: meter,
    board: Callable[[Board], Board] = lambda board: board,
    events: EventStream | None = None,
) -> Path:
    bench = virtual_bench(draw(spec.seed, load_ranges("ideal")), spec)
    meters = [(binding, lambda opener=opener: wrap(opener())) for binding, opener in bench.meters]
    return execute_run(
        spec, root=root, board=board(bench.board), meters=meters, judge=PowerJudge(),
        clock=bench.clock, events=events or EventStream(),
    )  # fmt: skip


def short_spec(seed: int = 1, protocol: ProtocolSpec = SHORT) -> RunSpec:
    return exam_spec(seed, protocol=protocol)


def test_a_run_holds_every_phase_in_order_and_the_events_say_so(tmp_path: Path) -> None:
    run = RunReader.open(measure(tmp_path, short_spec()), verify="hashes")
    timeline = run.timeline()
    phases = [span.phase for span in timeline.spans if span.phase not in (Phase.LOAD,)]
    first = [Phase.STANDBY_BEFORE, Phase.MARKER, Phase.WARM_UP, Phase.LEAD_IN, Phase.MEASURED, Phase.LEAD_OUT,
             Phase.PROBE, Phase.MARKER]  # fmt: skip
    assert phases == [*first, *first[1:], Phase.STANDBY_AFTER]
    assert timeline.starts == (0, 1)
    assert np.all(np.diff(timeline.begin_ns) > 0)
    names = [event["event"] for event in run.events()]
    assert names.index("meter_opened") < names.index("start_begin") < names.index("meter_stopped")
    assert names[-1] == "run_measured"


def test_measured_inferences_follow_the_lead_in_and_precede_the_lead_out_without_a_break(tmp_path: Path) -> None:
    timeline = RunReader.open(measure(tmp_path, short_spec())).timeline()
    for start in timeline.starts:
        measured_begin, measured_end = timeline.rows(Phase.MEASURED, start)
        _, lead_in_end = timeline.rows(Phase.LEAD_IN, start)
        lead_out_begin, _ = timeline.rows(Phase.LEAD_OUT, start)
        usual_ns = np.median(measured_begin[1:] - measured_end[:-1])
        assert measured_begin[0] - lead_in_end[-1] < 20 * usual_ns + 1_000_000
        assert lead_out_begin[0] - measured_end[-1] < 20 * usual_ns + 1_000_000


@pytest.mark.parametrize("error", [TransientError("the link stalled"), DeviceError("over-current")])
def test_a_meter_that_fails_in_mid_run_leaves_what_was_measured_and_its_reason(
    tmp_path: Path, error: BenchError
) -> None:
    failing: list[FailingMeter] = []

    def wrap(inner: Meter) -> Meter:
        failing.append(FailingMeter(inner, 60, error))
        return failing[0]

    with pytest.raises(type(error), match=error.message):
        measure(tmp_path, short_spec(), wrap=wrap)
    (entry,) = list_runs(tmp_path)
    assert entry.status is RunStatus.ABORTED
    assert entry.reason == error.message
    assert failing[0].closed >= 1
    left = recover_partial(entry.path)
    assert len(left.trace(left.meters()[0])) > 1000  # some of the readings, not none


def test_the_board_is_put_back_and_the_agent_ended_when_the_meter_fails(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watched:
        """The virtual board, with a note of what is asked of it."""

        def __init__(self, inner: Board) -> None:
            self._inner = inner
            self.check, self.state, self.configure, self.end_orphans = (
                inner.check, inner.state, inner.configure, inner.end_orphans,
            )  # fmt: skip
            self.name, self.clock = inner.name, inner.clock

        def restore(self) -> Sequence[str]:
            seen.append("restore")
            return self._inner.restore()

        def start_agent(self, spec: RunSpec, start: int) -> AgentSession:
            session = self._inner.start_agent(spec, start)
            close = session.close
            session.close = lambda: (seen.append("agent closed"), close())  # type: ignore[method-assign,func-returns-value]
            return session

        def close(self) -> None:
            self._inner.close()

    with pytest.raises(TransientError):
        measure(
            tmp_path, short_spec(), board=Watched, wrap=lambda m: FailingMeter(m, 60, TransientError("gone"))
        )  # fmt: skip
    assert seen == ["restore", "agent closed", "restore"]


def test_a_channel_that_the_meter_lacks_is_named_before_anything_is_measured(tmp_path: Path) -> None:
    spec = short_spec()
    wrong = replace(spec, meters=(replace(spec.meters[0], rails=(("aux", "board"),)),))
    with pytest.raises(SpecError, match=r"aux.*does not have"):
        measure(tmp_path, wrong)


def test_n_inferences_are_shared_by_the_starts_and_rounded_up() -> None:
    steps = {s.phase: s for s in start_program(replace(SHORT, inferences=101, starts=2))}
    assert steps[Phase.MEASURED].count == 51
    assert steps[Phase.LEAD_IN].count is None
    dithered = start_program(replace(SHORT, gap="dithered", gap_max_s=0.02))
    assert {s.pause_max_s for s in dithered if s.phase is Phase.MEASURED} == {0.02}
    assert all(s.phase is not Phase.PROBE for s in start_program(replace(SHORT, probe_pauses=0)))


def test_meter_info_survives_the_way_to_the_run_directory(tmp_path: Path) -> None:
    run = RunReader.open(measure(tmp_path, short_spec()))
    info = run.trace(run.meters()[0]).info
    assert isinstance(info, MeterInfo)
    assert info.simulated
    assert json.loads((run.path / "manifest.json").read_text())["simulated"] is True


def test_a_total_that_counts_a_part_twice_is_refused(tmp_path: Path) -> None:
    spec = short_spec()
    info = MeterInfo(
        "rapl", "m", "1", "0", "host", (), (), details={"part_of:package-0/core": "package-0"},
    )  # fmt: skip
    rails = (("package-0", "cpu"), ("package-0/core", "core"))
    with pytest.raises(SpecError, match="a part of it"):
        check_total(replace(spec.meters[0], rails=rails, total_rails=("cpu", "core")), info)
    check_total(replace(spec.meters[0], rails=rails, total_rails=("cpu",)), info)


def test_a_part_of_a_part_is_a_part(tmp_path: Path) -> None:
    details = {"part_of:package-0/core": "package-0", "part_of:package-0": "psys"}
    info = MeterInfo("rapl", "m", "1", "0", "host", (), (), details=details)
    rails = (("psys", "all"), ("package-0", "cpu"), ("package-0/core", "core"))
    with pytest.raises(SpecError, match="'psys' and 'package-0/core'"):
        check_total(replace(short_spec().meters[0], rails=rails, total_rails=("all", "core")), info)
