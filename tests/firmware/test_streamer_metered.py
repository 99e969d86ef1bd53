"""The shipped driver on the real firmware: the energy it reads of a trace that was played, within what it states."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from drivers.ina219.meter import Ina219, open_meter
from drivers.simulated.avr.host import AvrStreamer, PlayedTrace
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, Trace, join_blocks
from tests.firmware.conftest import Start

pytestmark = pytest.mark.realtime

SECONDS = 3.0
# bursts of inference on a board: steps from 0.4 ms to 120 ms, none in step with any conversion
_PIECES = ((0.0137, 1.9, 4.93), (0.0004, 0.2, 5.02), (0.121, 0.42, 5.01), (0.0333, 1.2, 4.96), (0.0071, 2.6, 4.89))
LOAD = PlayedTrace.of_steps(list(itertools.chain.from_iterable(itertools.repeat(_PIECES, 80))))


def meter_of(streamer: AvrStreamer, options: dict[str, str | int | float]) -> Ina219:
    return open_meter(MeterRequest("ina", {"port": streamer.pty, **options}))


def record(meter: Ina219, seconds: float = SECONDS) -> Trace:
    info = meter.open()
    meter.start()
    blocks: list[Block] = []
    end_ns = time.monotonic_ns() + round(seconds * 1e9)
    while time.monotonic_ns() < end_ns:
        block = meter.step(time.monotonic_ns() + 50_000_000)
        if block is not None:
            blocks.append(block)
    rest = meter.stop()
    meter.close()
    return join_blocks(info, blocks if rest is None else [*blocks, rest])


def true_times_s(trace: Trace, streamer: AvrStreamer, crystal_ppm: float) -> np.ndarray:
    """Ends of the readings on the played trace's time. The crystal's rate is what was asked of the simulator, and only
    the most prompt anchor counts: a simulator that falls behind real time on a busy machine makes the others late."""
    device, host = trace.anchors[:, 0] / (1 + crystal_ppm * 1e-6), trace.anchors[:, 1].astype(float)
    return (trace.t_ns / (1 + crystal_ppm * 1e-6) + np.min(host - device) - streamer.origin_ns) * 1e-9


def energies_j(trace: Trace, streamer: AvrStreamer, crystal_ppm: float = 0.0) -> tuple[float, float, float]:
    """Measured between the first and the last reading, played between the same times, and the stated limit of error."""
    ends_s = true_times_s(trace, streamer, crystal_ppm)
    power_w, spans_s = trace.power_w("load")[1:], np.diff(ends_s)
    accuracy = trace.info.channel("load").accuracy
    assert accuracy is not None
    measured_j = float(np.dot(power_w, spans_s))
    limit_j = accuracy.gain_rel * measured_j + accuracy.offset_w * float(spans_s.sum())
    return measured_j, streamer.trace.energy_j(ends_s[0], ends_s[-1]), limit_j


MODES: list[dict[str, str | int | float]] = [
    {"mode": "shunt", "averaging": 8, "supply_v": 5.0, "supply_tolerance_rel": 0.03},
    {"mode": "shunt", "averaging": 1, "format": "binary", "supply_v": 5.0, "supply_tolerance_rel": 0.03},
    {"mode": "both", "averaging": 8},
    {"mode": "both", "averaging": 1, "format": "binary"},
]


@pytest.mark.parametrize("options", MODES, ids=lambda o: f"{o['mode']}-{o['averaging']}-{o.get('format', 'text')}")
def test_energy_is_within_what_the_meter_states(start: Start, options: dict[str, str | int | float]) -> None:
    """A specimen with errors of its own: shunt +0.6 %, chip +0.2 %, bus -0.3 %, zero +40 uV, converter 5 % slow, noise,
    crystal 0.4 % off."""
    streamer = start(
        LOAD, shunt_ohm=0.1006, shunt_gain_error=0.002, bus_gain_error=-0.003, shunt_offset_v=40e-6,
        conversion_error=0.05, noise_v=15e-6, crystal_ppm=4000,
    )  # fmt: skip
    trace = record(meter_of(streamer, options))
    measured_j, played_j, limit_j = energies_j(trace, streamer, 4000)
    error, stated = measured_j / played_j - 1, limit_j / measured_j
    print(f"{options}: {measured_j:.4f} J of {played_j:.4f} J played: {error:+.3%}, stated {stated:.2%}")
    assert abs(measured_j - played_j) <= limit_j
    assert not trace.gaps
    assert len(trace) > 0.95 * SECONDS / (trace.info.channel("load").reading.period_ns * 1e-9) / 1.1


@pytest.mark.parametrize("options", MODES, ids=lambda o: f"{o['mode']}-{o['averaging']}-{o.get('format', 'text')}")
def test_energy_of_a_perfect_specimen(start: Start, options: dict[str, str | int | float]) -> None:
    """What the method itself costs: nothing of the device is wrong, so only time, windows and steps of the converter
    are. Shunt mode takes the voltage as constant; the trace's own sags by 2 %."""
    streamer = start(LOAD)
    trace = record(meter_of(streamer, options))
    measured_j, played_j, _ = energies_j(trace, streamer)
    print(f"{options}: {measured_j / played_j - 1:+.3%}")
    assert measured_j == pytest.approx(played_j, rel=0.035 if options["mode"] == "shunt" else 0.02)


def test_a_chip_that_is_silent_for_a_while_is_a_gap(start: Start) -> None:
    streamer = start(LOAD, events=(("nack", 2.5, 0.3),))
    trace = record(meter_of(streamer, {"mode": "both"}))
    (gap,) = trace.gaps
    assert 0.28 < (gap.end_ns - gap.begin_ns) * 1e-9 < 0.35
    assert trace.power_w("load").min() > 0.5


def test_a_brown_out_is_no_gap_in_the_energy_and_no_zero(start: Start) -> None:
    streamer = start(LOAD, events=(("brownout", 2.5, 0.0),))
    trace = record(meter_of(streamer, {"mode": "both"}))
    assert trace.power_w("load").min() > 0.5
    measured_j, played_j, limit_j = energies_j(trace, streamer)
    assert abs(measured_j - played_j) <= limit_j + 0.05 * 8  # at most 50 ms of a few watts
    assert trace.gaps or trace.counts, "nothing says that anything happened"


def test_a_microcontroller_that_was_reset_ends_the_measurement_or_leaves_a_gap(start: Start) -> None:
    streamer = start(LOAD, events=(("reset", 2.5, 0.0),))
    try:
        trace = record(meter_of(streamer, {"mode": "both"}))
    except BenchError as error:
        assert "reset" in str(error).lower()
    else:
        assert trace.gaps


def test_the_wrap_of_the_clock_is_not_seen(start: Start) -> None:
    streamer = start(LOAD, build={"clock_start_us": 2**32 - 2_500_000})
    trace = record(meter_of(streamer, {"mode": "both"}))
    assert np.all(np.diff(trace.t_ns) > 0)
    measured_j, played_j, limit_j = energies_j(trace, streamer)
    assert abs(measured_j - played_j) <= limit_j
    assert not trace.gaps


def test_a_cable_that_is_pulled_is_a_device_error(start: Start) -> None:
    streamer = start(LOAD)
    meter = meter_of(streamer, {"mode": "both"})
    meter.open()
    meter.start()
    assert meter.step(time.monotonic_ns() + 200_000_000) is not None
    streamer.close()
    with pytest.raises(DeviceError):
        for _ in range(5):
            meter.step(time.monotonic_ns() + 100_000_000)
    meter.close()


def test_a_board_that_resets_when_the_port_is_opened_is_waited_for(start: Start) -> None:
    streamer = start(LOAD, reset_on_open=1, boot_s=1.7)
    trace = record(meter_of(streamer, {"mode": "both"}), 1.0)
    assert len(trace) > 150
