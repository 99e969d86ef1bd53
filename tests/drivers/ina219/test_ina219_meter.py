"""The shipped driver on the wire simulator: energy against the scene, what chip and board suffer, what is refused."""

import numpy as np
import pytest

from drivers.chips.ina219 import RESET_CALIBRATION, RESET_CONFIG
from drivers.ina219.meter import Ina219, open_meter
from drivers.simulated.ina219 import (
    ChipUnit,
    EnergySource,
    LineFaults,
    McuUnit,
    Mishap,
    Streamer,
    opener,
    simulator,
    steady,
)
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest, SelfTesting, StreamingMeter
from harness.core.trace import Block, ReadingKind, Trace, join_blocks
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, Scene

LEAD_NS = 10_000_000_000
STEP_NS = 20_000_000
IDEAL = ChipUnit(slow_factor=1.04)


class Bench:
    """A streamer that meters a scene of 12 s, and the driver on it."""

    def __init__(self, options: dict[str, object] | None = None, *, dtr_reset: bool = False, **device: object) -> None:
        self.scene = Scene(scale=0.5)
        self.clock = VirtualClock(BEGIN_NS - LEAD_NS)
        source = device.pop("source", None) or EnergySource(self.scene.energy_j, BEGIN_NS, self.scene.supply_v)
        self.device: Streamer = simulator(source, begin_ns=self.clock.now_ns(), **({"chip": IDEAL} | device))  # type: ignore[arg-type]
        self.crossed: list[tuple[str, bytes]] = []
        self.request = MeterRequest(
            "ina",
            {"port": "sim", **(options or {})},  # type: ignore[dict-item]
            serial_port=opener(self.device, self.clock, dtr_reset=dtr_reset),
            tap=lambda way, data: self.crossed.append((way, data)),
            simulated=True,
        )
        self.meter: Ina219 = open_meter(self.request, clock=self.clock)

    def record(self, until_s: float | None = None) -> Trace:
        info = self.meter.open()
        self.clock.sleep_until(BEGIN_NS)
        self.meter.start()
        blocks: list[Block] = []
        end_ns = BEGIN_NS + round((until_s or self.scene.duration_s) * 1e9)
        while self.clock.now_ns() < end_ns:
            self.clock.sleep_until(self.clock.now_ns() + STEP_NS)
            block = self.meter.step(self.clock.now_ns())
            if block is not None:
                blocks.append(block)
        rest = self.meter.stop()
        self.meter.close()
        return join_blocks(info, blocks if rest is None else [*blocks, rest])


def mean_w(trace: Trace, begin_s: float, end_s: float) -> float:
    """Mean power between two times of the scene (the simulated clock is the host's, but for where it began)."""
    origin = trace.anchors[0, 0] - (trace.anchors[0, 1] - BEGIN_NS)
    t = (trace.t_ns - origin) * 1e-9
    return float(np.mean(trace.power_w("load")[(t > begin_s) & (t < end_s)]))


def test_it_is_what_the_kit_and_the_bench_ask_for() -> None:
    meter = Bench().meter
    assert isinstance(meter, StreamingMeter)
    assert isinstance(meter, SelfTesting)


# --- energy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "both"}, {"mode": "shunt"}, {"mode": "shunt", "format": "binary", "averaging": 1},
        {"mode": "both", "averaging": 64},
    ],
    ids=lambda o: "-".join(map(str, o.values())),
)  # fmt: skip
def test_power_is_the_scenes_in_every_mode(options: dict[str, object]) -> None:
    bench = Bench(options)
    trace = bench.record()
    begin, end = bench.scene.edges_s
    assert mean_w(trace, begin + 0.2, end - 0.2) == pytest.approx(bench.scene.busy_w, rel=2e-3)
    assert mean_w(trace, 0.2, begin - 0.2) == pytest.approx(bench.scene.idle_w, rel=3e-3)
    assert not trace.gaps
    assert trace.counts.get("lost_samples", 0) == 0


def test_a_drawn_unit_stays_within_the_stated_accuracy() -> None:
    for seed in range(6):
        bench = Bench({"mode": "both"}, chip=ChipUnit.draw(seed))
        trace = bench.record(until_s=5.0)
        accuracy = trace.info.channel("load").accuracy
        assert accuracy is not None
        limit_w = accuracy.gain_rel * 5.0 + accuracy.offset_w
        assert abs(mean_w(trace, 3.3, 4.9) - 5.0) < limit_w
        assert limit_w < 0.25


def test_the_supply_side_includes_what_the_shunt_burns() -> None:
    board = mean_w(Bench({"mode": "both"}).record(), 4.0, 8.0)
    supply = mean_w(Bench({"mode": "both", "load_side": 0}).record(), 4.0, 8.0)
    ampere = (5.0 - np.sqrt(25.0 - 4 * 0.1 * 5.0)) / 0.2
    assert supply - board == pytest.approx(0.1 * ampere**2, rel=0.05)


def test_shunt_only_is_contiguous_and_both_is_part_time() -> None:
    shunt = Bench({"mode": "shunt"}).record(until_s=0.5).info.channel("load").reading
    both = Bench({"mode": "both"}).record(until_s=0.5).info.channel("load").reading
    slow = Bench({"mode": "shunt", "period_us": 20_000}).record(until_s=0.5).info.channel("load").reading
    assert (shunt.kind, shunt.period_ns, shunt.window_ns) == (ReadingKind.MEAN, 4_260_000, 4_260_000)
    assert (both.kind, both.period_ns, both.window_ns) == (ReadingKind.PART_TIME, 4_792_000, 4_260_000)
    assert (slow.kind, slow.period_ns, slow.window_ns) == (ReadingKind.PART_TIME, 20_000_000, 4_260_000)


def test_a_grid_slower_than_the_conversions_is_kept() -> None:
    trace = Bench({"mode": "shunt", "period_us": 20_000}).record()
    assert np.mean(np.diff(trace.t_ns)) == pytest.approx(20e6, rel=0.01)
    assert not trace.gaps


def test_a_slow_chip_scales_no_energy() -> None:
    """The chip's clock may be 10 % slow and is not the microcontroller's: times are the latter's."""
    trace = Bench({"mode": "shunt"}, chip=ChipUnit(slow_factor=1.1)).record()
    assert np.median(np.diff(trace.t_ns)) == pytest.approx(1.1 * 4.26e6, rel=1e-2)
    assert mean_w(trace, 4.0, 8.0) == pytest.approx(5.0, rel=2e-3)


def test_negative_currents_are_readings() -> None:
    trace = Bench({"mode": "both"}, chip=ChipUnit(leads_reversed=True)).record(until_s=1.0)
    assert mean_w(trace, 0.1, 0.9) == pytest.approx(-2.0 * 5.0 / 4.96, rel=0.03)
    assert trace.columns["shunt_raw"].max() < 0


def test_anchors_follow_a_clock_that_is_off_and_warms_up() -> None:
    trace = Bench({"mode": "shunt"}, mcu=McuUnit(clock_rel=5e-3, warm_rel=2e-3)).record()
    meter_s, host_s = (np.ptp(trace.anchors[:, k]) * 1e-9 for k in (0, 1))
    assert meter_s / host_s - 1 == pytest.approx(6.5e-3, abs=5e-4)


# --- what chip and board suffer ---------------------------------------------------------------------


def test_after_a_brown_out_the_raw_registers_are_still_right() -> None:
    """Calibration 0 makes the chip's own current and power read 0 for ever; we read neither, and configure anew."""
    for mode in ("both", "shunt"):
        bench = Bench({"mode": mode}, mishaps=[Mishap(BEGIN_NS + 5_000_000_000, "brownout")])
        trace = bench.record()
        assert (bench.device.chip.config, bench.device.chip.calibration) != (RESET_CONFIG, RESET_CALIBRATION)
        assert mean_w(trace, 3.2, 8.8) == pytest.approx(5.0, rel=2e-3)
        assert trace.columns["shunt_raw"].min() > 0
        assert any("lost its supply" in gap.reason for gap in trace.gaps)
        assert len([p for p in trace.calibration if p.column == "voltage_raw"]) >= 2


def test_a_reset_microcontroller_is_configured_and_started_again() -> None:
    trace = Bench({"mode": "shunt"}, mishaps=[Mishap(BEGIN_NS + 5_000_000_000, "reset", 1_700_000_000)]).record()
    (gap,) = trace.gaps
    assert "reset" in gap.reason
    assert (gap.end_ns - gap.begin_ns) * 1e-9 == pytest.approx(1.75, abs=0.1)
    assert np.all(np.diff(trace.t_ns) > 0)
    delay = trace.anchors[:, 1] - trace.anchors[:, 0]
    assert np.ptp(delay) < 20e6  # time goes on where it would have been


def test_a_board_that_resets_at_every_opening_is_waited_for() -> None:
    trace = Bench({"mode": "shunt"}, dtr_reset=True).record(until_s=1.0)
    assert len(trace) > 200


def test_one_left_sampling_in_the_middle_of_a_line_is_taken_over() -> None:
    bench = Bench({"mode": "both"})
    bench.meter.open()
    bench.meter.start()
    bench.clock.sleep_until(bench.clock.now_ns() + 31_001_234)
    second = open_meter(bench.request, clock=bench.clock)
    second.open()
    assert second.recovered
    second.close()


def test_damaged_lines_are_gaps_and_counts_and_nothing_else() -> None:
    bench = Bench({"mode": "shunt"}, line=LineFaults(lost_byte=1e-3, flipped_byte=1e-3))
    trace = bench.record()
    whole = Bench({"mode": "shunt"}).record()
    assert trace.counts["bad_lines"] > 20
    lost = sum(gap.lost for gap in trace.gaps if gap.lost > 0)
    assert len(trace) + lost == pytest.approx(len(whole), abs=3)
    assert mean_w(trace, 4.0, 8.0) == pytest.approx(5.0, rel=2e-3)


def test_saturation_is_marked_and_reaches_the_declared_maximum() -> None:
    trace = Bench({"mode": "both", "range_mv": 80}).record()
    spec = trace.info.channel("load")
    assert trace.counts["saturated_samples"] > 500
    clipped = trace.columns["clip"] == 1
    assert np.all(trace.power_w("load")[clipped] >= spec.max_power_w)


def test_a_full_line_drops_samples_and_says_so() -> None:
    bench = Bench({"mode": "shunt", "averaging": 8}, room_bytes=45)
    trace = bench.record()
    assert trace.counts["device_dropped"] == trace.counts["lost_samples"] > 0


# --- what is refused --------------------------------------------------------------------------------


def refused(bench: Bench) -> BenchError:
    with pytest.raises(BenchError) as caught:
        bench.record(until_s=8.0)
    bench.meter.close()
    return caught.value


def test_another_major_version_is_refused() -> None:
    error = refused(Bench(mcu=McuUnit(version="inas/2")))
    assert isinstance(error, DeviceError)
    assert "inas/2" in error.message


def test_more_than_the_line_carries_is_refused_with_the_limit() -> None:
    error = refused(Bench({"averaging": 1}))
    assert isinstance(error, SpecError)
    assert "1064 us" in error.message
    assert "3400 us" in error.message


def test_a_chip_that_does_not_answer_is_a_device_error() -> None:
    error = refused(Bench(mishaps=[Mishap(BEGIN_NS - LEAD_NS, "nack", 10**13)]))
    assert isinstance(error, DeviceError)
    assert "SDA" in error.hint


def test_no_supply_is_an_error_and_not_zero_watt() -> None:
    error = refused(Bench(source=steady(0.0, BEGIN_NS - LEAD_NS, voltage_v=0.0)))
    assert isinstance(error, DeviceError)
    assert "0.00 V" in error.message


def test_a_silent_device_is_given_up() -> None:
    error = refused(Bench(mishaps=[Mishap(BEGIN_NS + 1_000_000_000, "hang", 10**13)]))
    assert isinstance(error, TransientError)


def test_another_configuration_behind_our_back_is_refused() -> None:
    error = refused(Bench(mishaps=[Mishap(BEGIN_NS + 1_000_000_000, "wrong_config")]))
    assert isinstance(error, DeviceError)
    assert "cfg=" in error.message


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "bus"}, {"range_mv": 100}, {"averaging": 3}, {"bits": 10, "averaging": 8}, {"shunt_ohm": 0},
        {"shunt_ohm": "0.1"}, {"supply_v": 5.0}, {"speed": 1}, {"baud": 10}, {"port": ""}, {"load_side": 2},
        {"format": "c"}, {"mode": "shunt", "supply_v": 40.0}, {"grade": "C"}, {"bits": 10, "bus_averaging": 4},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="ina"):
        Bench(options)


# --- what it says of itself -------------------------------------------------------------------------


def test_the_burden_of_a_tenth_of_an_ohm_is_warned_about() -> None:
    bench = Bench()
    details = bench.meter.open().details
    assert details["burden_v_at_full_scale"] == "0.320"
    assert "Raspberry Pi browns out below 4.63 V" in details["warning_burden"]
    small = Bench({"shunt_ohm": 0.01}, chip=ChipUnit(shunt_ohm=0.01))
    assert "warning_burden" in small.meter.open().details  # 32 A would still
    fine = Bench({"shunt_ohm": 0.1, "range_mv": 40})
    assert "warning_burden" not in fine.meter.open().details


def test_a_healthy_meter_passes_its_own_test() -> None:
    bench = Bench()
    bench.meter.open()
    items = {item.name: item for item in bench.meter.self_test()}
    assert {"streamer", "bus voltage", "direction", "range", "burden", "line", "clock"} <= items.keys()
    assert all(item.ok for item in items.values()), items
    bench.meter.start()
    assert bench.meter.stop() is not None


def test_its_own_test_finds_what_is_wrong() -> None:
    reversed_leads = Bench(chip=ChipUnit(leads_reversed=True))
    reversed_leads.meter.open()
    assert not {i.name: i for i in reversed_leads.meter.self_test()}["direction"].ok
    fast = Bench(mcu=McuUnit(clock_rel=0.02))
    fast.meter.open()
    clock = {i.name: i for i in fast.meter.self_test()}["clock"]
    assert not clock.ok
    declared = Bench({"mode": "shunt", "supply_v": 5.6})
    declared.meter.open()
    item = {i.name: i for i in declared.meter.self_test()}["declared voltage"]
    assert not item.ok
    assert "5.00" in item.mend
    heavy = Bench(source=steady(13.0, BEGIN_NS - LEAD_NS))
    heavy.meter.open()
    burden = {i.name: i for i in heavy.meter.self_test()}["burden"]
    assert not burden.ok
    assert "browns out" in burden.found


def test_all_that_crosses_the_wire_can_be_kept() -> None:
    bench = Bench()
    bench.record(until_s=0.2)
    said = b"".join(data for way, data in bench.crossed if way == "out")
    heard = b"".join(data for way, data in bench.crossed if way == "in")
    assert said.startswith(b">STOP*AF2E\n>HELLO*49D6\n")
    assert b"$H,inas/1," in heard


def test_a_voltage_is_measured_when_none_is_declared() -> None:
    info = Bench({"mode": "shunt"}).meter.open()
    assert info.details["voltage_source"].startswith("bus register when opened: 5.00")
    accuracy = info.channel("load").accuracy
    assert accuracy is not None
    assert "supply_tolerance_rel" in accuracy.source
    declared = Bench({"mode": "shunt", "supply_v": 5.0}).meter.open().channel("load").accuracy
    assert declared is not None
    assert declared.gain_rel < accuracy.gain_rel


def test_a_chip_that_stays_away_is_given_up_though_the_device_talks() -> None:
    with pytest.raises(DeviceError, match="though the microcontroller answers"):
        Bench(mishaps=[Mishap(BEGIN_NS + 500_000_000, "nack", 10**13)]).record(until_s=12.0)


def test_a_supply_that_sags_is_followed_where_it_is_measured() -> None:
    bench = Bench({"mode": "both"})
    bench = Bench({"mode": "both"}, source=EnergySource(bench.scene.energy_j, BEGIN_NS, 5.0, lead_ohm=0.5))
    assert mean_w(bench.record(), 4.0, 8.0) == pytest.approx(5.0, rel=3e-3)
