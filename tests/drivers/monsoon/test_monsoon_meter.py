"""The shipped meter on a simulated unit in virtual time: what it measures, time, loss, faults, recovery."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import usb.core
import usb.util

from drivers.monsoon.fields import PERIOD_NS
from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import HvpmFaults, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import MeterRequest, StreamingMeter, VoltageOutput
from harness.core.trace import Trace

Bench = Callable[..., Any]
QUIET = HvpmUnit(noise_counts=0.0, voltage_noise_counts=0.0, zero_walk=0.0, invalid_rate=0.0)


def covered_slots(trace: Trace) -> int:
    """Rows, and the holes that calibration and invalid samples leave, and what gaps lost or withdrew."""
    names = ("zero_cal_samples", "ref_cal_samples", "invalid_samples", "dropped_samples", "unplaced_samples")
    return len(trace) + sum(trace.counts.get(name, 0) for name in (*names, "missing_samples_estimated"))


def test_it_offers_both_capabilities(bench: Bench) -> None:
    meter = bench().meter
    assert isinstance(meter, StreamingMeter)
    assert isinstance(meter, VoltageOutput)
    assert meter.buffer_s == pytest.approx(0.0032)


@pytest.mark.parametrize("current_a", [0.010, 0.050, 0.250, 2.5])
def test_mean_power_is_that_of_the_source(bench: Bench, current_a: float) -> None:
    one = bench(current_a=current_a, unit=QUIET)
    one.begin()
    one.run(2.0)
    trace = one.finish()
    power_w = trace.power_w("main")
    lsb_w = 5.0 * (0.5e-6 if current_a < 0.06 else 0.12e-3)
    assert np.count_nonzero(np.isnan(power_w)) == 0
    assert float(power_w.mean()) == pytest.approx(5.0 * current_a, abs=lsb_w)
    assert covered_slots(trace) == 10_000


def test_energy_of_a_varying_load_in_an_ordinary_unit(bench: Bench) -> None:
    """Drawn unit, both ranges, sagging supply: the mean of v*i within 0.1 %."""
    shape = {
        "current_a": lambda t: np.where(t % 0.020 < 0.010, 0.8, 0.02),
        "voltage_v": lambda t: 5.0 - 0.1 * (t % 0.020 < 0.010),
    }
    one = bench(**shape, unit=HvpmUnit.draw(11))
    one.begin()
    one.run(4.0)
    trace = one.finish()
    assert float(trace.power_w("main").mean()) == pytest.approx((4.9 * 0.8 + 5.0 * 0.02) / 2, rel=1e-3)
    assert set(trace.columns["main_range"].tolist()) == {0, 1}


def test_identity_scales_and_mark_of_simulation(bench: Bench) -> None:
    one = bench(
        unit=dataclasses.replace(QUIET, serial=31_415, zero_offset={"main": (-7, 9), "usb": (0, 0), "aux": (0, 0)})
    )
    info = one.meter.open()
    assert (info.driver, info.model, info.serial, info.firmware) == ("monsoon", "HVPM", "31415", "32")
    assert info.clock == "meter:31415"
    assert info.simulated
    assert info.details["main_zero"] == "-7/9"
    assert info.details["run_limit_raw"] == "35428"
    assert info.channel("main").columns == ("main_current_raw", "main_voltage_raw")
    accuracy = info.channel("main").accuracy
    assert accuracy is not None
    assert "unverified" in accuracy.source


def test_device_time_counts_every_slot_and_anchors_tie_it_to_the_host(bench: Bench) -> None:
    one = bench(unit=QUIET, rate_ppm=200.0)
    one.begin()
    begin_ns = one.clock.now_ns()
    one.run(20.0)
    trace = one.finish()
    assert trace.t_ns[-1] == pytest.approx(20e9 * (1 + 200e-6), abs=2 * PERIOD_NS)
    assert len(trace.anchors) <= 20 * 20 + 1
    meter_s, host_s = (trace.anchors[:, k] * 1e-9 for k in (0, 1))
    assert np.polyfit(meter_s, host_s - begin_ns * 1e-9, 1)[0] == pytest.approx(1 - 200e-6, abs=2e-6)
    steps = np.diff(trace.t_ns) // PERIOD_NS
    assert set(steps.tolist()) == {1, 3}  # a pair of calibration samples leaves a hole of two slots
    assert trace.gaps == ()


def test_overflow_in_virtual_time_is_a_gap_and_never_zero(bench: Bench) -> None:
    """A host that reads every 20 ms from a FIFO of 3.2 ms loses 84 of 100 samples."""
    one = bench(unit=QUIET, host_queue_s=0.0)
    one.begin()
    one.run(1.0, every_ms=20)
    trace = one.finish()
    before_first_packet = 84  # the first packet's counter is the baseline
    assert trace.counts["dropped_samples"] == one.device.samples_dropped - before_first_packet
    assert one.device.samples_dropped == pytest.approx(0.84 * 5000, rel=0.05)
    assert len(trace.gaps) >= 48
    assert covered_slots(trace) <= 5000
    power_w = trace.power_w("main")
    assert np.nanmin(power_w) > 2.4
    uncovered = sum(g.end_ns - g.begin_ns for g in trace.gaps)
    assert uncovered >= 0.8e9


def test_fast_host_loses_nothing_without_a_queue(bench: Bench) -> None:
    one = bench(unit=QUIET, host_queue_s=0.0)
    one.begin()
    one.run(1.0, every_ms=2)
    trace = one.finish()
    assert trace.gaps == ()
    assert covered_slots(trace) == 5000


def test_host_queue_bridges_a_pause(bench: Bench) -> None:
    one = bench(unit=QUIET, host_queue_s=1.0)
    one.begin()
    one.run(0.1)
    one.run(0.9, every_ms=900)
    one.run(0.1)
    assert one.finish().gaps == ()


def test_a_pause_longer_than_the_queue_dates_what_follows_rightly(bench: Bench) -> None:
    """The current steps up in the middle of the loss: every row must carry the level of its own time."""
    one = bench(unit=QUIET, current_a=lambda t: np.where(t < 1.0, 0.5, 1.0), host_queue_s=0.1)
    one.begin()
    one.run(0.5)
    one.run(1.0, every_ms=1000)
    one.run(0.5)
    trace = one.finish()
    t_s = trace.t_ns * 1e-9
    level_a = trace.values("main_current_raw")
    assert trace.counts["unplaced_samples"] == 16
    assert np.allclose(level_a, np.where(t_s <= 1.0, 0.5, 1.0), atol=1e-3)
    assert covered_slots(trace) == 10_000


def test_lost_packets_are_gaps_of_unknown_count(bench: Bench) -> None:
    one = bench(unit=QUIET, faults=HvpmFaults(lost_packet_rate=0.01))
    one.begin()
    one.run(4.0)
    trace = one.finish()
    assert trace.counts["missing_packets"] > 20
    assert {g.lost for g in trace.gaps} == {-1}
    assert covered_slots(trace) == pytest.approx(20_000, abs=60)


def test_short_packets_are_counted(bench: Bench) -> None:
    one = bench(unit=QUIET, faults=HvpmFaults(short_packet_rate=0.02))
    one.begin()
    one.run(2.0)
    trace = one.finish()
    assert trace.counts["short_packets"] > 10
    assert covered_slots(trace) == 10_000


def test_disconnect_keeps_what_was_read_and_fails_the_next_step(bench: Bench) -> None:
    one = bench(unit=QUIET, faults=HvpmFaults(disconnect_at_slot=2400))
    one.begin()
    with pytest.raises(DeviceError, match="disconnected while sampling"):
        one.run(2.0)
    assert covered_slots(one.trace()) == 2400
    one.meter.close()
    one.meter.close()


def test_a_unit_that_falls_silent_is_noticed(bench: Bench) -> None:
    one = bench(unit=QUIET, faults=HvpmFaults(silent_at_slot=1000))
    one.begin()
    with pytest.raises(TransientError, match=r"sent nothing for 1\.\d s"):
        one.run(3.0)
    assert covered_slots(one.trace()) == 1000


def test_overcurrent_is_an_error_after_what_was_read(bench: Bench) -> None:
    one = bench(unit=QUIET, current_a=lambda t: np.where(t < 0.5, 1.0, 9.0))
    one.begin()
    with pytest.raises(DeviceError, match="switched its output off"):
        one.run(1.0)
    assert covered_slots(one.trace()) >= 2500
    assert one.device.output_v == 0.0


def test_voltage_lost_is_counted(bench: Bench) -> None:
    one = bench(unit=QUIET, voltage_v=lambda t: np.where(t < 0.5, 5.0, 3.0))
    one.begin()
    one.run(1.0)
    assert one.finish().counts["not_at_voltage_packets"] > 700


def test_unit_without_calibration_samples_is_an_error(bench: Bench) -> None:
    silent = dict.fromkeys(("main", "usb", "aux"), (0.0, 0.0))
    one = bench(unit=dataclasses.replace(QUIET, zero_code=silent))
    one.begin()
    with pytest.raises(DeviceError, match="too few samples for main fine, main coarse"):
        one.run(15.0)
    assert np.isnan(one.trace().power_w("main")).all()


@pytest.mark.parametrize("firmware", [25, 32])
def test_unit_left_sampling_is_stopped_drained_and_read_again(bench: Bench, firmware: int) -> None:
    """Also before firmware 26, whose status has no sample bit: then the error word tells."""
    one = bench(unit=dataclasses.replace(QUIET, firmware=firmware))
    one.begin()
    one.run(0.1)
    one.device.detach()  # the first host is killed
    one.clock.sleep_until(one.clock.now_ns() + 3_000_000_000)
    assert one.device.sampling

    second = open_meter(MeterRequest("supply", usb_backend=InProcessUsbBackend([one.device])), clock=one.clock)
    info = second.open()
    assert second.recovered
    assert not one.device.sampling
    assert (info.serial, info.details["main_scale"]) == ("20123", "36500/6400")
    second.start()
    one.clock.sleep_until(one.clock.now_ns() + 500_000_000)
    block = second.step(one.clock.now_ns())
    second.close()
    assert block is not None
    assert block.gaps == []  # nothing of the run before, nor of its drop counter
    assert "dropped_samples" not in block.counts
    assert block.t_ns[-1] == 500_000_000


def test_ordinary_opening_is_no_recovery(bench: Bench) -> None:
    one = bench()
    one.meter.open()
    assert not one.meter.recovered


def test_stop_returns_what_is_under_way_and_close_leaves_the_unit_idle(bench: Bench) -> None:
    one = bench(unit=QUIET)
    one.begin()
    one.clock.sleep_until(one.clock.now_ns() + 100_000_000)
    block = one.meter.stop()
    assert block is not None
    assert len(block) == 500 - 10
    assert not one.device.sampling
    assert one.meter.stop() is None
    one.meter.close()


def test_close_in_the_middle_stops_the_unit(bench: Bench) -> None:
    one = bench()
    one.begin()
    one.meter.close()
    assert not one.device.sampling
    assert one.device.output_v == 5.0


def test_second_start_goes_on_in_time(bench: Bench) -> None:
    one = bench(unit=QUIET)
    one.begin()
    one.run(0.2)
    one._keep(one.meter.stop())
    one.clock.sleep_until(one.clock.now_ns() + 1_000_000_000)
    one.meter.start()
    one.run(0.2)
    trace = one.finish()
    assert np.all(np.diff(trace.t_ns) > 0)
    assert trace.t_ns[-1] == pytest.approx(1.4e9, abs=PERIOD_NS)
    assert not np.isnan(trace.power_w("main")).any()


def test_step_before_open_and_start_twice(bench: Bench) -> None:
    one = bench()
    with pytest.raises(DeviceError, match="not open"):
        one.meter.step(0)
    one.begin()
    with pytest.raises(DeviceError, match="sampling already"):
        one.meter.start()


def test_packets_that_another_program_left_do_not_enter_the_run(bench: Bench) -> None:
    """A foreign program started and stopped the unit between our open and our start: 16 samples are in its FIFO."""
    one = bench(unit=QUIET, host_queue_s=0.0)
    one.info = one.meter.open()
    foreign = usb.core.find(backend=InProcessUsbBackend([one.device]))
    foreign.ctrl_transfer(0x40, 0x02, 1250, 0, b"\xff\xff\xff\xff")
    one.clock.sleep_until(one.clock.now_ns() + 50_000_000)
    foreign.ctrl_transfer(0x40, 0x03, 0, 0)
    usb.util.dispose_resources(foreign)
    one.meter.start()
    one.run(0.1, every_ms=2)
    assert covered_slots(one.finish()) == 500
