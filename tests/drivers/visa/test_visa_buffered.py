"""Instruments that sample by themselves: the shipped driver against simulated ones, written from the manuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from drivers.simulated.visa import FunctionElectrical, Instrument, opener, simulator
from drivers.visa.buffered_meter import BufferedVisa
from drivers.visa.meter import open_meter
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest
from harness.core.trace import MeterInfo, ReadingKind, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

BEGIN_NS = 1_000 * NS_PER_S
STEP_S = 8.0  # after BEGIN_NS the load goes from 2 W to 5 W
VOLTS = 5.0
OPTIONS: dict[str, dict[str, str | int | float]] = {
    "ngu": {"current_range": 10, "update_s": 0.001},
    "n6705": {"current_range": 3},
    "dmm6500": {"current_range": 3},
    "2281s": {},
}


@dataclass
class Stand:
    """A simulated instrument on a board whose power steps once, and its meter."""

    sim: Instrument
    clock: VirtualClock
    meter: BufferedVisa
    info: MeterInfo | None = None
    start_ns: int = 0

    def read(self, *until_s: float, at: dict[float, Callable[[], object]] | None = None) -> Trace:
        """Start and read: one step to each of `until_s` (after the start); `at`: what happens before that step."""
        self.info = self.meter.open()
        self.meter.start()
        self.start_ns = self.clock.now_ns()
        blocks = []
        for second in until_s:
            if at and second in at:
                at[second]()
            blocks.append(self.meter.step(self.start_ns + round(second * NS_PER_S)))
        blocks.append(self.meter.stop())
        self.meter.close()
        return join_blocks(self.info, [block for block in blocks if block is not None])

    def step_at_s(self, trace: Trace) -> float:
        """When the power stepped, s after BEGIN_NS, by rows alone: start on the host, and time on the instrument."""
        rose = int(np.argmax(trace.power_w("power") > 3.5))
        return (self.start_ns - BEGIN_NS + int(trace.t_ns[rose])) / NS_PER_S

    def asleep(self, seconds: float) -> Callable[[], None]:
        return lambda: self.clock.sleep_until(self.clock.now_ns() + round(seconds * NS_PER_S))


def stand(name: str, spoil: Any = None, clock_ppm: float = 0.0, **options: str | int | float) -> Stand:
    clock = VirtualClock(BEGIN_NS)
    source = FunctionElectrical(
        lambda t_s: 2.0 * t_s + 3.0 * np.maximum(0.0, t_s - STEP_S), lambda t_s: np.full(len(t_s), VOLTS), BEGIN_NS
    )
    sim: Any = simulator(name, source, begin_ns=BEGIN_NS, seed=5)
    sim.front.clock_ppm = clock_ppm
    given = {"resource": "TCPIP0::10.0.0.9::5025::SOCKET", "instrument": name} | OPTIONS[name] | options
    request = MeterRequest("m", given, visa=opener(sim, clock, spoil=spoil), simulated=True)
    meter = open_meter(request, clock=clock)
    assert isinstance(meter, BufferedVisa)
    return Stand(sim, clock, meter)


def steps(seconds: float, every_s: float = 0.2) -> list[float]:
    return [round((k + 1) * every_s, 6) for k in range(round(seconds / every_s))]


@pytest.mark.parametrize("name", OPTIONS)
def test_power_and_time_are_right_without_a_gap(name: str) -> None:
    here = stand(name, clock_ppm=40.0)
    trace = here.read(*steps(16.0))
    assert here.info is not None
    (channel,) = here.info.channels
    limits = channel.accuracy
    assert limits is not None and limits.source and here.info.clock == f"meter:{here.info.serial}"
    power, t_s = trace.power_w("power"), (trace.t_ns + here.start_ns - BEGIN_NS) / NS_PER_S
    for level, part in ((2.0, t_s < STEP_S - 0.1), (5.0, t_s > STEP_S + 0.1)):
        assert np.mean(power[part]) == pytest.approx(level, abs=limits.gain_rel * level + limits.offset_w)
    assert here.step_at_s(trace) == pytest.approx(STEP_S, abs=0.06)  # commands take the simulated instruments some ms
    assert not trace.gaps and not trace.counts
    assert np.all(np.diff(trace.t_ns) > 0)
    assert np.median(np.diff(trace.t_ns)) == pytest.approx(channel.reading.period_ns, abs=1e3)
    late = np.diff(trace.anchors, axis=1)[:, 0] - here.start_ns
    assert len(late) > 20 and late.min() + 20_000_000 >= 0 and late.max() - late.min() < 320_000_000


def test_the_elogs_period_is_what_it_says_not_what_was_asked_for() -> None:
    here = stand("n6705", update_s=0.001)
    trace = here.read(*steps(2.0))
    assert here.info is not None
    assert here.info.channels[0].reading.period_ns == 1_003_520  # 49 x 20.48 us
    assert here.info.channels[0].reading.kind is ReadingKind.MEAN
    assert np.diff(trace.t_ns).tolist() == [1_003_520] * (len(trace) - 1)


def test_a_pause_that_the_fifo_survives_costs_nothing() -> None:
    here = stand("n6705")
    trace = here.read(*steps(3.0), 14.0, *(14.0 + t for t in steps(2.0)), at={14.0: here.asleep(11.0)})
    assert not trace.gaps and np.diff(trace.t_ns).max() == 1_003_520
    assert here.step_at_s(trace) == pytest.approx(STEP_S, abs=0.06)


def test_records_that_were_overwritten_end_the_run() -> None:
    here = stand("n6705")
    with pytest.raises(TransientError, match="overwritten"):
        here.read(*steps(3.0), 28.0, *(28.0 + t for t in steps(2.0)), at={28.0: here.asleep(25.0)})


def test_records_that_somebody_else_took_end_the_run() -> None:
    here = stand("n6705")
    sim: Any = here.sim
    with pytest.raises(TransientError, match="lags behind"):
        here.read(
            *steps(8.0), at={4.0: lambda: (here.asleep(0.4)(), sim.advance(here.clock.now_ns()), sim._records.clear())}
        )


@pytest.mark.parametrize("asleep_s", [0.6, 1.1, 2.3])
def test_lost_chunks_are_a_gap_of_whole_chunks_and_time_goes_on_right(asleep_s: float) -> None:
    here = stand("ngu")
    trace = here.read(*steps(3.0), 6.0, *(6.0 + t for t in steps(6.0)), at={6.0: here.asleep(asleep_s)})
    (gap,) = trace.gaps
    chunks = (gap.end_ns - gap.begin_ns) / 250_000_000
    assert chunks == round(chunks) and chunks in (int(asleep_s / 0.25) - 1, int(asleep_s / 0.25))
    assert gap.lost == chunks * 250 and "overwrote" in gap.reason
    assert not np.any((trace.t_ns > gap.begin_ns) & (trace.t_ns <= gap.end_ns))
    assert here.step_at_s(trace) == pytest.approx(STEP_S, abs=0.06)
    assert len(trace) + gap.lost == trace.t_ns[-1] / 1_000_000


def test_a_chunk_that_was_damaged_on_the_way_is_a_gap() -> None:
    blocks = iter(range(1000))

    def spoil(data: bytes) -> bytes:
        return data[:900] if data.startswith(b"#") and next(blocks) == 8 else data

    here = stand("ngu", spoil=spoil)
    trace = here.read(*steps(12.0))
    assert [(gap.begin_ns, gap.end_ns, gap.lost) for gap in trace.gaps] == [(2_000_000_000, 2_250_000_000, 250)]
    assert trace.counts["damaged_answers"] == 1
    assert here.step_at_s(trace) == pytest.approx(STEP_S, abs=0.06)


def test_a_damaged_answer_of_a_fifo_ends_the_run_since_nobody_knows_what_it_held() -> None:
    blocks = iter(range(1000))

    def spoil(data: bytes) -> bytes:
        return data[:-4] if data.startswith(b"#") and next(blocks) == 8 else data

    with pytest.raises(TransientError, match="no data"):
        stand("n6705", spoil=spoil).read(*steps(3.0))


def test_a_damaged_answer_about_readings_that_stay_is_asked_for_again() -> None:
    blocks = iter(range(1000))

    def spoil(data: bytes) -> bytes:
        return data[:-16] if data.startswith(b"#") and next(blocks) == 3 else data

    here = stand("dmm6500", spoil=spoil)
    trace = here.read(*steps(9.0))
    assert not trace.gaps and trace.counts == {"damaged_answers": 1}
    assert here.step_at_s(trace) == pytest.approx(STEP_S, abs=0.06)


def test_bytes_in_the_other_order_are_no_readings() -> None:
    here = stand("ngu", spoil=lambda data: _swapped(data) if data.startswith(b"#4") else data)
    with pytest.raises(TransientError, match=r"no data: a value of .* is the byte order little"):
        here.read(*steps(3.0))


def test_a_value_that_the_range_cannot_hold_is_no_reading() -> None:
    """25 A in the range of 10 A: one record of damaged bytes can be enough to spoil a whole run."""
    blocks = iter(range(1000))

    def spoil(data: bytes) -> bytes:
        if not data.startswith(b"#4") or next(blocks) != 8:
            return data
        return data[:-4] + np.array([25.0], "<f4").tobytes()

    here = stand("ngu", spoil=spoil)
    trace = here.read(*steps(6.0))
    assert [gap.lost for gap in trace.gaps] == [250] and trace.counts["damaged_answers"] == 1
    assert trace.power_w("power").max() < 3.0


def _swapped(data: bytes) -> bytes:
    return data[:6] + np.frombuffer(data[6:], "<f4").byteswap().tobytes()


def test_a_buffer_that_is_full_or_cleared_is_said() -> None:
    here = stand("dmm6500", readings=1000)
    with pytest.raises(DeviceError, match="is full with 1000"):
        here.read(*steps(3.0))
    here = stand("dmm6500")
    sim: Any = here.sim
    with pytest.raises(TransientError, match="was cleared"):
        here.read(*steps(3.0), at={2.0: lambda: sim._buffers["defbuffer1"].clear()})


@pytest.mark.parametrize(
    ("name", "seconds", "words"), [("dmm6500", 3.0, "is full with 1000"), ("n6705", 25.0, "overwritten")]
)
def test_what_is_found_out_only_when_readings_end_is_said_and_it_is_stopped(
    name: str, seconds: float, words: str
) -> None:
    here = stand(name, **({"readings": 1000} if name == "dmm6500" else {"update_s": 0.01}))
    here.meter.open()
    here.meter.start()
    here.meter.step(here.clock.now_ns() + NS_PER_S // 2)
    here.asleep(seconds)()
    with pytest.raises((DeviceError, TransientError), match=words):
        here.meter.stop()
    here.meter.close()
    sim: Any = here.sim
    sim.advance(here.clock.now_ns() + NS_PER_S)
    assert sim._state == "IDLE" if name == "n6705" else sim._running is None


def test_over_range_is_missing_with_its_reason() -> None:
    here = stand("dmm6500", current_range=0.1)  # 0.4 A, then 1 A
    trace = here.read(*steps(2.0))
    assert len(trace) == 0 and "over range" in trace.gaps[0].reason
    assert trace.counts["saturated_samples"] == sum(gap.lost for gap in trace.gaps) > 1900


def test_the_time_of_day_of_a_2281s_wraps() -> None:
    here = stand("2281s")
    sim: Any = here.sim
    reset = type(sim)._clear_rows

    def nearly_a_day(self: Any) -> None:
        reset(self)
        self._origin_ns -= (86_400 - 5) * NS_PER_S

    sim._clear_rows = nearly_a_day.__get__(sim)
    trace = here.read(*steps(12.0))
    assert not trace.gaps and len(trace) == pytest.approx(600, abs=4)
    assert np.diff(trace.t_ns) == pytest.approx(20_000_000, abs=20_000)


def test_a_pace_that_is_not_what_was_said_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"every 0.1 s, not every 0.02 s"):
        stand("2281s", plc=5).read(*steps(4.0))


def test_an_instrument_found_acquiring_is_stopped() -> None:
    for name in ("ngu", "2281s", "dmm6500"):
        here = stand(name)
        here.meter.open()
        here.meter.start()
        again = open_meter(here.meter._request, clock=here.clock)
        again.open()
        assert again.recovered, name
        again.close()


def test_ranges_must_be_given_and_the_limits_follow_them() -> None:
    with pytest.raises(SpecError, match="current_range"):
        stand("ngu", current_range="auto")
    offsets = []
    for size in (1, 10):
        info = stand("ngu", current_range=size).meter.open()
        assert info.channels[0].accuracy is not None
        offsets.append(info.channels[0].accuracy.offset_w)
    assert offsets == pytest.approx([0.004, 0.04])


@pytest.mark.parametrize("name", OPTIONS)
def test_the_self_test_finds_nothing_wrong(name: str) -> None:
    here = stand(name)
    here.meter.open()
    assert [item for item in here.meter.self_test() if not item.ok] == []
