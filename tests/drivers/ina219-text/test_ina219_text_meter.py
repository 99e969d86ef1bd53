"""The shipped reader of sketches on the sketch simulator: every format's energy, its clock, and what it refuses."""

import numpy as np
import pytest

from drivers.ina219.text_meter import open_meter
from drivers.simulated.ina219 import ChipUnit, EnergySource, Ina219Chip, InProcessPort, LineFaults, SerialLine, Sketch
from harness.core.clock import HOST
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, SelfTesting, StreamingMeter
from harness.core.trace import Block, ReadingKind, Trace, join_blocks
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, Scene

LEAD_NS = 12_000_000_000
STEP_NS = 10_000_000


def record(form: str, options: dict[str, object] | None = None, **device: object) -> Trace:
    scene = Scene(scale=0.5)
    clock = VirtualClock(BEGIN_NS - LEAD_NS)
    line = device.pop("line", LineFaults())
    chip = Ina219Chip(EnergySource(scene.energy_j, BEGIN_NS), ChipUnit(), begin_ns=clock.now_ns())
    sketch = Sketch(chip, SerialLine(115200, line), begin_ns=clock.now_ns(), form=form, **device)  # type: ignore[arg-type]
    request = MeterRequest(
        "ina",
        {"port": "/dev/ttyUSB0", **(options or {})},  # type: ignore[dict-item]
        serial_port=lambda path, baud: InProcessPort(sketch, clock, path=path),
        simulated=True,
    )
    meter = open_meter(request, clock=clock)
    assert isinstance(meter, StreamingMeter)
    assert isinstance(meter, SelfTesting)
    try:
        info = meter.open()
        assert meter.self_test()[0].ok
        clock.sleep_until(BEGIN_NS)
        meter.start()
        blocks: list[Block] = []
        while clock.now_ns() < BEGIN_NS + 9_000_000_000:
            clock.sleep_until(clock.now_ns() + STEP_NS)
            block = meter.step(clock.now_ns())
            if block is not None:
                blocks.append(block)
        rest = meter.stop()
        return join_blocks(info, blocks if rest is None else [*blocks, rest])
    finally:
        meter.close()


def busy_w(trace: Trace) -> float:
    power = trace.power_w("load")
    return float(np.median(power[power > 3.5]))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("five", {}), ("four", {}), ("header", {}), ("adafruit", {}), ("esp", {}), ("json", {}),
        ("csv", {"columns": "millis,load_v,current_ma"}), ("blanks", {"columns": "millis,current_ma,power_mw"}),
    ],
)  # fmt: skip
def test_power_is_the_scenes_in_every_format(form: str, options: dict[str, object]) -> None:
    trace = record(form, options)
    assert busy_w(trace) == pytest.approx(5.0, rel=4e-3)
    accuracy = trace.info.channel("load").accuracy
    assert accuracy is not None
    assert accuracy.noise_w > 0
    assert trace.info.channel("load").reading.kind is ReadingKind.POINT
    stamped = form in ("five", "json", "csv", "blanks")
    assert trace.info.clock == ("meter:ttyUSB0" if stamped else HOST)
    assert trace.info.details["time"].startswith("the sketch" if stamped else "host-clock")


def test_the_sketchs_rate_is_found() -> None:
    for form in ("five", "adafruit"):
        trace = record(form, period_ns=50_000_000)
        assert trace.info.channel("load").reading.period_ns == pytest.approx(50e6, rel=0.1)


def test_a_sketch_that_waits_for_a_byte_is_woken() -> None:
    assert len(record("csv", {"columns": "millis,load_v,current_ma"}, waits=True)) > 400


def test_the_supply_side_can_be_asked_for() -> None:
    load, supply = busy_w(record("five")), busy_w(record("five", {"load_side": 0}))
    assert supply - load == pytest.approx(0.1 * 1.0208**2, rel=0.1)


def test_unnamed_columns_are_a_spec_error_that_shows_them() -> None:
    with pytest.raises(SpecError, match="3 columns"):
        record("csv")


def test_more_than_a_fifth_of_bad_lines_is_an_error() -> None:
    with pytest.raises(DeviceError, match="newest lines"):
        record("five", {"columns": "millis,bus_v,shunt_mv,load_v,current_ma"}, line=LineFaults(flipped_byte=0.03))


def test_text_of_something_else_is_a_device_error() -> None:
    with pytest.raises((DeviceError, SpecError)):
        record("esp", {"columns": "millis,load_v,current_ma"})


@pytest.mark.parametrize(
    "options",
    [{"columns": "time,volts"}, {"columns": "current"}, {"port": ""}, {"baud": 1}, {"speed": 1}, {"shunt_ohm": -1}],
    ids=str,
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="ina"):
        record("five", options)
