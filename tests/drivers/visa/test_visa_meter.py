"""The shipped driver against simulated power analysers that were written from their manuals by somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.simulated.visa import Instrument, opener
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.trace import ReadingKind
from harness.io.visa_line import VisaLine
from harness.testing.faults import Scene

MakeBench = Callable[..., Any]
FIXED: dict[str, dict[str, float]] = {
    "wt310": {"voltage_range": 300, "current_range": 1},
    "wt5000": {"voltage_range": 300, "current_range": 1},
    "pa1000": {"voltage_range": 500, "current_range": 2},
    "hmc8015": {"voltage_range": 300, "current_range": 1},
}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_each_reading_is_the_mean_of_its_update(bench: MakeBench, name: str) -> None:
    here = bench(name)
    info, trace = here.read(here.meter(**FIXED[name]), 12.0)
    (channel,) = info.channels
    assert channel.reading.kind is ReadingKind.MEAN and channel.name == "power"
    update_s = channel.reading.period_ns * 1e-9
    expected = here.true_mean_w(trace.t_ns, update_s)
    steady = np.abs(expected - here.true_mean_w(trace.t_ns + round(update_s * 1e9), update_s)) < 1e-6
    steady &= np.abs(expected - here.true_mean_w(trace.t_ns - round(update_s * 1e9), update_s)) < 1e-6
    assert trace.power_w("power")[steady] == pytest.approx(expected[steady], rel=1e-3)
    assert len(trace) == pytest.approx(12.0 / update_s, abs=2)  # each update once
    assert np.abs(np.diff(trace.t_ns) * 1e-9 - update_s).max() < 0.2 * update_s
    assert not trace.gaps and not trace.counts


def test_a_reading_is_stamped_when_its_update_was(bench: MakeBench) -> None:
    """The update in which the load changes tells how well: 30 W x (half a poll and the time on the line) / 0.25 s."""
    here = bench("wt310")
    _, trace = here.read(here.meter(**FIXED["wt310"], poll_s=0.02), 14.0)
    wrong = np.abs(trace.power_w("power") - here.true_mean_w(trace.t_ns, 0.25))
    assert wrong.max() < 30.0 * 0.015 / 0.25


@pytest.mark.parametrize("poll_s", [0.005, 0.02, 0.1])
def test_an_update_is_one_reading_however_often_it_is_polled(bench: MakeBench, poll_s: float) -> None:
    here = bench("wt310")
    _, trace = here.read(here.meter(**FIXED["wt310"], update_s=0.5, poll_s=poll_s), 10.0)
    assert len(trace) in (19, 20) and not trace.gaps


@pytest.mark.parametrize("name", sorted(FIXED))
def test_energy_on_board_is_the_energy(bench: MakeBench, name: str) -> None:
    here = bench(name)
    info, trace = here.read(here.meter((("energy", "mains"),), **FIXED[name]), 20.0)
    (channel,) = info.channels
    assert channel.quantity == "energy_j" and channel.reading.kind is ReadingKind.COUNTER
    (column,) = channel.columns
    joules = trace.values(column)
    t_s = (trace.t_ns - trace.t_ns[0]) * 1e-9 + (trace.t_ns[0] - 1_000_000_000_000) * 1e-9
    true_j = here.scene.energy_j(t_s)
    assert joules[-1] - joules[0] == pytest.approx(true_j[-1] - true_j[0], rel=0.01)
    assert np.all(np.diff(joules) >= 0) and not trace.gaps


def test_power_and_energy_come_from_the_same_updates(bench: MakeBench) -> None:
    here = bench("wt310")
    info, trace = here.read(here.meter(**FIXED["wt310"], energy=1), 6.0)
    assert [channel.name for channel in info.channels] == ["power", "energy"]
    assert set(trace.columns) == {"p_raw", "wh_raw"}
    assert here.sim.updates.integrator.state == "STOP"  # it was left as it was found, not running


# --- ranges -----------------------------------------------------------------------------------------


def test_the_ranging_pass_leaves_room_and_then_holds_still(bench: MakeBench) -> None:
    here = bench("wt310")
    info, _ = here.read(here.meter(), 6.0)
    assert info.details["voltage_range"].startswith("300 V (a pass of 3 s saw 230")
    assert info.details["current_range"].startswith("0.5 A (a pass of 3 s saw 0.0966")  # 20 W at 230 V and 0.9, times 4
    element = here.sim.updates.elements[0]
    assert not element.volts.auto and not element.amps.auto
    assert (element.volts.fixed, element.amps.fixed) == (300.0, 0.5)
    assert info.channels[0].accuracy.offset_w == pytest.approx(0.0005 * 300 * 0.5)


def test_a_larger_headroom_takes_a_larger_range(bench: MakeBench) -> None:
    here = bench("wt310")
    meter = here.meter(current_headroom=30, voltage_range=300)
    assert meter.open().details["current_range"].startswith("5 A")
    meter.close()


def test_without_a_valid_level_there_is_no_range(bench: MakeBench) -> None:
    here = bench("wt310", scene=Scene(idle_w=20.0, busy_w=50.0))
    here.spoil = lambda reply: b"NAN,NAN,NAN,NAN,300.0E+00,1.000E+00" if reply.count(b",") == 5 else reply
    with pytest.raises(DeviceError, match=r"no valid [ui] in 3 s of ranging") as caught:
        here.meter().open()
    assert "voltage_range" in caught.value.hint


def test_a_load_beyond_the_range_is_no_reading(bench: MakeBench) -> None:
    here = bench("wt310", scene=Scene(scale=0.5, idle_w=20.0, busy_w=120.0))
    _, trace = here.read(here.meter(voltage_range=300, current_range=0.2), 8.0)
    assert trace.counts["saturated_samples"] > 15
    assert all(gap.reason == "p: the instrument says over range" for gap in trace.gaps)
    assert trace.power_w("power").max() < 60.0  # never a number for what was not seen


def test_a_range_that_the_instrument_left_by_itself_is_an_error_that_says_so(bench: MakeBench) -> None:
    here = bench("wt310", scene=Scene(scale=10.0, idle_w=20.0, busy_w=50.0))
    element = here.sim.updates.elements[0]

    def left() -> None:
        element.amps.auto, element.amps.fixed = True, 1.0

    meter = here.meter(voltage_range=300, current_range=0.2)
    with pytest.raises(DeviceError, match=r"the current range is 0\.1, it was fixed at 0\.2") as caught:
        here.read(meter, 20.0, at={3.0: left})
    assert "current_range" in caught.value.hint
    meter.close()


# --- who answers, and what it refuses ---------------------------------------------------------------


def test_another_instrument_is_named_with_its_description(bench: MakeBench) -> None:
    here = bench("wt310", instrument="hmc8015")
    with pytest.raises(DeviceError, match=r"YOKOGAWA,WT310.*no Rohde & Schwarz HMC8015") as caught:
        here.meter().open()
    assert caught.value.hint == "set instrument: wt310"


def test_a_refused_command_is_an_error_with_the_instruments_words(bench: MakeBench) -> None:
    here = bench("wt310")
    with pytest.raises(DeviceError, match=r"refused ':NUM:NORM:ITEM1 U,3'.*OUT OF RANGE|refused ':NUM:NORM:ITEM1 U,3'"):
        here.meter(element=3).open()  # a WT310 has one element


def test_headers_and_old_errors_do_not_disturb(bench: MakeBench) -> None:
    here = bench("wt310")
    here.sim.hear(b":NO:SUCH:THING 1", here.clock.now_ns())
    assert here.sim.value("header") and here.sim.value("verbose")  # as after power-up
    info, trace = here.read(here.meter(**FIXED["wt310"]), 3.0)
    assert len(trace) == 12 and info.model == "WT310"
    assert info.details["errors_before"].startswith("113,")
    again = bench("wt310")
    again.spoil = lambda reply: b":NUMERIC:NORMAL:VALUE " + reply if reply.count(b",") == 5 else reply
    _, with_headers = again.read(again.meter(**FIXED["wt310"]), 3.0)
    assert np.array_equal(with_headers.power_w("power"), trace.power_w("power"))


def test_a_wt310_that_was_left_speaking_as_a_wt210_is_brought_back(bench: MakeBench) -> None:
    here = bench("wt310")
    here.sim.values["grammar", ()] = "WT200"
    _, trace = here.read(here.meter(**FIXED["wt310"]), 3.0)
    assert len(trace) == 12 and here.sim.value("grammar") == "WT300"


def test_an_unplugged_instrument_is_a_device_error(bench: MakeBench) -> None:
    here = bench("wt310")
    here.line = opener(here.sim, here.clock, gone_at_ns=here.clock.now_ns() + 5_000_000_000)
    with pytest.raises(DeviceError, match="gone"):
        here.read(here.meter(**FIXED["wt310"]), 10.0)


def test_wrong_options_are_refused_before_anything_is_opened(bench: MakeBench) -> None:
    here = bench("wt310")
    for options, words in (
        ({"update_s": 0.3}, "give one of 0.1, 0.25, 0.5, 1, 2, 5"),
        ({"current_range": 3}, "give one of 0.005,"),
        ({"speed": 1}, "its options are"),
        ({"poll_s": "fast"}, "give a number"),
    ):
        with pytest.raises(SpecError) as caught:
            here.meter(**options)
        assert words in caught.value.hint
    with pytest.raises(SpecError, match="no channel 'amps'"):
        here.meter((("amps", "mains"),))
    assert not here.wire


# --- what happens meanwhile -------------------------------------------------------------------------


def hold(sim: Instrument) -> None:
    sim.updates.stuck = True
    sim.updates.falls = lambda: None


def test_an_instrument_on_hold_is_given_up(bench: MakeBench) -> None:
    here = bench("wt310")
    with pytest.raises(TransientError, match="has not renewed its values for 5") as caught:
        here.read(here.meter(**FIXED["wt310"]), 20.0, at={5.0: lambda: hold(here.sim)})
    assert "hold" in caught.value.hint


def test_a_lost_answer_costs_its_update_and_no_more(bench: MakeBench) -> None:
    here = bench("wt310")
    lost: list[bytes] = []

    def spoil(reply: bytes) -> bytes | None:
        if reply.count(b",") == 5 and len(here.sent()) > 30 and not lost and here.clock.now_ns() > 1_003_000_000_000:
            lost.append(reply)
            return None
        return reply

    here.spoil = spoil
    _, trace = here.read(here.meter(**FIXED["wt310"]), 10.0)
    assert lost and trace.counts["no_answers"] == 1
    (gap,) = trace.gaps
    assert gap.lost == trace.counts["missed_updates"] >= 7  # two seconds of waiting for it
    expected = here.true_mean_w(trace.t_ns, 0.25)
    assert np.median(np.abs(trace.power_w("power") - expected)) < 0.05


@pytest.mark.parametrize("at_s", [3.0, 9.9])
def test_what_somebody_changes_at_the_front_panel_ends_the_readings(bench: MakeBench, at_s: float) -> None:
    """Its numbers look right, but are apparent power: said within seconds, or at the latest when readings end."""
    here = bench("wt310")
    change = lambda: here.sim.hear(b":NUM:NORM:ITEM3 S,1", here.clock.now_ns())  # noqa: E731
    with pytest.raises(TransientError, match=r"somebody changed .*:NUM:NORM:ITEM3\? was 'P,1', is 'S,1'") as caught:
        here.read(here.meter(**FIXED["wt310"]), 10.0, at={at_s: change})
    assert "lock its front panel" in caught.value.hint
    assert here.clock.now_ns() < 1_000_000_000_000 + (at_s + 9) * 1e9


def test_a_damaged_answer_about_a_setting_is_no_change(bench: MakeBench) -> None:
    here = bench("wt310")
    cut: list[bytes] = []

    def spoil(reply: bytes) -> bytes:
        if here.sent()[-1] == ":INP:MODE?" and here.clock.now_ns() > 1_004_000_000_000 and not cut:
            cut.append(reply)
            return reply[:1]
        return reply

    here.spoil = spoil
    _, trace = here.read(here.meter(**FIXED["wt310"]), 6.0)
    assert cut and len(trace) >= 23 and not trace.gaps


@pytest.mark.parametrize(("name", "message"), [("wt5000", b":INP:CURR:RANG:ELEM1 20"), ("pa1000", b":RNG:AMP:FIX 10")])
def test_a_range_that_comes_with_no_reading_is_asked_for(bench: MakeBench, name: str, message: bytes) -> None:
    """The numbers stay right, but the limits that were stated are those of the smaller range."""
    here = bench(name)
    change = lambda: here.sim.hear(message, here.clock.now_ns())  # noqa: E731
    with pytest.raises(TransientError, match=r"somebody changed .*(RNG:AMP|:CURR:RANG)"):
        here.read(here.meter(**FIXED[name]), 10.0, at={5.0: change})


def test_an_integrator_that_somebody_stops_is_no_standstill_of_the_power(bench: MakeBench) -> None:
    here = bench("wt310")
    sim = here.sim
    stop = lambda: sim.updates.stop(here.clock.now_ns())  # noqa: E731
    info, trace = here.read(here.meter((("energy", "mains"),), **FIXED["wt310"]), 12.0, at={5.0: stop})
    assert trace.counts["integrator_stops"] == 1
    assert any(gap.reason.startswith("reset: the integrator stood still (STOP)") for gap in trace.gaps)
    from analysis.readings.counter import counter_steps

    steps = counter_steps(trace, info.channels[0])
    watts = steps.energy_j[steps.plausible] / (np.diff(steps.t_ns) * 1e-9)[steps.plausible]
    assert watts.min() > 19.0 and 1 <= (~steps.plausible).sum() <= 2


def test_an_answer_that_comes_late_is_not_taken_for_that_of_the_next_question(bench: MakeBench) -> None:
    """Later than the time-out, and later than what the line reads away: the register's answer, for the values."""
    here = bench("wt310")
    meant = opener(here.sim, here.clock)

    class Late:
        def __init__(self, line: VisaLine) -> None:
            self._line, self._kept, self._drained, self._last = line, b"", False, ""

        def write(self, message: str) -> None:
            self._last = message
            self._line.write(message)

        def read(self, timeout_s: float | None = None) -> bytes:
            found = self._line.read(timeout_s)
            if self._last == ":NUM:NORM:VAL?" and not self._drained and here.clock.now_ns() > 1_003_000_000_000:
                self._kept, self._drained = found, True
                raise TransientError("no response came")
            if self._kept:
                self._kept, found = found, self._kept  # all answers are one behind from here on
            return found

        def drain(self) -> int:
            if self._drained and self._last == "*IDN?":
                self._kept = b""
            return self._line.drain()

        def close(self) -> None:
            self._line.close()

    here.line = lambda resource, settings: Late(meant(resource, settings))
    _, trace = here.read(here.meter(**FIXED["wt310"]), 10.0)
    assert trace.counts["no_answers"] == 1 and len(trace.gaps) <= 1
    assert np.abs(trace.power_w("power") - 20.0).max() < 0.1
