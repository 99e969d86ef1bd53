"""The shipped meter on a simulated unit with the old serial firmware, in virtual time and over a pseudo-terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from drivers.monsoon.discovery import find_serial
from drivers.monsoon.serial_meter import SerialMonsoon, open_meter
from drivers.monsoon.serial_watch import LagWatch
from drivers.simulated.ina219.ports import InProcessPort, PtyServer
from drivers.simulated.monsoon.serial_unit import SerialFaults, SerialLvpm, SerialLvpmUnit, SerialQuirks
from drivers.simulated.monsoon.sources import FunctionSource
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest, SelfTesting, StreamingMeter, VoltageOutput
from harness.core.trace import Block, Trace, join_blocks
from harness.core.waiting import VirtualClock

QUIET = SerialLvpmUnit(noise_counts=0.0, voltage_noise_counts=0.0, zero_walk=0.0)
MS = 1_000_000


@dataclass
class Bench:
    clock: VirtualClock
    device: SerialLvpm
    meter: SerialMonsoon

    def run(self, seconds: float) -> Trace:
        info = self.meter.open()
        self.meter.start()
        blocks: list[Block | None] = []
        for _ in range(round(seconds * 50)):
            self.clock.sleep_until(self.clock.now_ns() + 20 * MS)
            blocks.append(self.meter.step(self.clock.now_ns()))
        blocks.append(self.meter.stop())
        self.meter.close()
        return join_blocks(info, [b for b in blocks if b is not None])


def bench(
    current_a: Any = 0.5, volts: float = 4.2, options: dict[str, str | int | float] | None = None, **device: Any
) -> Bench:
    clock = VirtualClock()
    unit = SerialLvpm(
        FunctionSource(current_a, volts, begin_ns=clock.now_ns()), **({"unit": QUIET, "cal_ms": 500} | device)
    )
    request = MeterRequest(
        "supply", {"port": "/dev/ttyACM0"} | (options or {}),
        serial_port=lambda path, baud: InProcessPort(unit, clock, path=path), simulated=True,
    )  # fmt: skip
    return Bench(clock, unit, open_meter(request, clock=clock))


def test_it_offers_its_capabilities() -> None:
    meter = bench().meter
    assert isinstance(meter, StreamingMeter)
    assert isinstance(meter, VoltageOutput)
    assert isinstance(meter, SelfTesting)


@pytest.mark.parametrize("quirks", [SerialQuirks(), SerialQuirks(records=15, trailing=False)], ids=["mobly", "whole"])
@pytest.mark.parametrize("current_a", [0.012, 0.4, 2.5])
def test_mean_power_is_that_of_the_source(current_a: float, quirks: SerialQuirks) -> None:
    """Fine words lose their lowest bit, voltages their two lowest: less than a count on average."""
    trace = bench(current_a, quirks=quirks).run(1.5)
    lsb_w = 4.2 * (2e-6 if current_a < 0.05 else 0.2e-3)
    assert float(np.nanmean(trace.power_w("main"))) == pytest.approx(4.2 * current_a, abs=lsb_w, rel=1e-4)
    assert trace.gaps == ()


def test_every_slot_is_accounted_for() -> None:
    trace = bench().run(2.0)
    counted = len(trace) + trace.counts["zero_cal_samples"] + trace.counts["ref_cal_samples"]
    assert counted == pytest.approx(10_000, abs=7)
    assert trace.t_ns[-1] == pytest.approx(2e9, abs=2e6)
    assert len(trace.anchors) >= 30


def test_identity_says_what_was_decided_and_how() -> None:
    info = bench().meter.open()
    assert (info.driver, info.model, info.clock) == ("monsoon-serial", "LVPM", "meter:20123")
    assert info.details["packet_layout"].startswith("the last 8 bytes of a packet are no record")
    assert info.details["voltage_lsb"].startswith("125 uV: 4.2")
    assert "fixed would be 0.1% apart" in info.details["scale"]
    assert float(info.details["run_limit_a"]) == pytest.approx(5.998, abs=1e-3)


def test_self_test_advises_to_settle_the_scale() -> None:
    one = bench()
    one.meter.open()
    items = {item.name: item for item in one.meter.self_test()}
    assert items["output"].found == "set to 4.20 V"
    assert "resistors or fixed" in items["scale"].mend


def test_voltage_is_set_in_steps_and_read_back() -> None:
    one = bench(volts=4.2)
    one.meter.open()
    one.meter.set_voltage(3.7)
    assert one.device.output_v == pytest.approx(3.7)
    one.meter.set_voltage(0)
    assert one.meter.voltage_v() == 0.0
    for voltage_v in (2.0, 4.56, float("nan")):
        with pytest.raises(SpecError, match=r"outside 2\.01-4\.55"):
            one.meter.set_voltage(voltage_v)


def test_voltage_is_left_alone_by_a_run() -> None:
    one = bench()
    one.meter.open()
    one.meter.start()
    with pytest.raises(DeviceError, match="while the Monsoon samples"):
        one.meter.set_voltage(3.7)
    one.meter.close()
    assert one.device.output_v == 4.2
    assert not one.device.sampling


def test_one_that_still_samples_is_stopped_and_said() -> None:
    one = bench()
    one.meter.open()
    one.meter.start()
    one.clock.sleep_until(one.clock.now_ns() + 33 * MS)
    one.meter._link = None  # killed
    again = open_meter(one.meter._request, clock=one.clock)
    again.open()
    assert again.recovered


@pytest.mark.parametrize(
    ("options", "rails", "message"),
    [
        ({"prt": "x"}, (), "unknown option 'prt'"),
        ({"port": ""}, (), "port is missing"),
        ({"scale": "guess"}, (), "scale is 'guess'"),
        ({"volt_lsb_uv": 100.0}, (), "volt_lsb_uv is 100"),
        ({"voltage_v": "4"}, (), "voltage_v is '4'"),
        ({}, (("aux", "board"),), "no channel 'aux'"),
        ({}, (("usb", "board"),), "no channel 'usb'"),
    ],
)
def test_bad_options_are_spec_errors(options: dict[str, Any], rails: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        open_meter(MeterRequest("supply", {"port": "x"} | options, rails=rails))


def test_arrivals_that_are_late_for_good_tell_of_lost_packets() -> None:
    """A host that is late for a second is nothing; 16 x 50 packets that are not there are."""
    second = np.arange(0, 1_000_000_000, 1_400_000, np.int64)

    def see(watch: LagWatch, number: int, late_ns: int) -> None:
        end_ns = second + number * 1_000_000_000
        watch.see(end_ns, end_ns + 3_000_000 + late_ns)

    calm, lost = LagWatch(), LagWatch()
    for number in range(8):
        see(calm, number, 400_000_000 if number == 4 else number * 2_000_000)
    with pytest.raises(TransientError, match="lost beyond counting"):
        for number in range(8):
            see(lost, number, 300_000_000 if number >= 4 else 0)


def test_discovery_knows_it_without_opening() -> None:
    @dataclass
    class Port:
        device: str
        description: str
        vid: int | None
        pid: int | None

    ports = [Port("/dev/ttyUSB0", "CH340", 0x1A86, 0x7523), Port("/dev/null", "n/a", 0x2AB9, 0x0001)]
    (found,) = find_serial(MeterRequest(""), list_ports=lambda: ports)
    assert (found.driver, dict(found.options), found.usable) == ("monsoon-serial", {"port": "/dev/null"}, True)


@pytest.mark.realtime
def test_over_a_pseudo_terminal() -> None:
    """The shipped serial port, in real time: the same layout, the same power, no loss."""
    source = FunctionSource(0.5, 4.2, begin_ns=time.monotonic_ns())
    server = PtyServer(SerialLvpm(source, unit=QUIET, quirks=SerialQuirks(records=7, trailing=False), cal_ms=300))
    meter = open_meter(MeterRequest("supply", {"port": server.path}))
    try:
        info = meter.open()
        meter.start()
        blocks = [meter.step(time.monotonic_ns() + 100 * MS) for _ in range(12)]
        blocks.append(meter.stop())
    finally:
        meter.close()
        server.close()
    trace = join_blocks(info, [b for b in blocks if b is not None])
    assert info.details["packet_layout"].startswith("records to the end")
    assert trace.gaps == ()
    assert float(np.nanmean(trace.power_w("main"))) == pytest.approx(2.1, rel=1e-3)


def test_faults_say_what_is_wrong() -> None:
    with pytest.raises(DeviceError, match="no status packet came from /dev/ttyACM0") as caught:
        bench(faults=SerialFaults(deaf=True)).meter.open()
    assert "USB firmware has driver monsoon" in caught.value.hint
    make: Callable[[], Bench] = lambda: bench(options={"voltage_v": 3.7})  # noqa: E731
    with pytest.raises(DeviceError, match=r"is set to 4\.20 V, the bench says voltage_v: 3\.7"):
        make().meter.open()
