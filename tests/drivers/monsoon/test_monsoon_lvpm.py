"""The LVPM over USB: signed words, scales by resistors, its own voltages and limits; the vendor's package as oracle."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import PacketDecoder
from drivers.monsoon.control import lvpm_limit_raw_to_amps
from drivers.monsoon.meter import open_meter
from drivers.monsoon.models import LVPM_MODEL, lvpm_scale
from drivers.monsoon.split import to_slots
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, LvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.trace import join_blocks
from tests.drivers.monsoon import official
from tests.drivers.monsoon.packets import REFERENCE, ZERO, packet
from tests.drivers.monsoon.test_monsoon_codec import trace_of
from tests.drivers.monsoon.test_monsoon_official import Ticking

Bench = Callable[..., Any]
QUIET = LvpmUnit(noise_counts=0.0, voltage_noise_counts=0.0, zero_walk=0.0, invalid_rate=0.0)


def signed(coarse: int, fine: int, volt: int, *, kind: int = 0) -> bytes:
    """18 bytes of an LVPM: currents are s16, voltages u16, all big endian."""
    return struct.pack(">6h2H2B", coarse, fine, coarse, fine, coarse, fine, volt, 0, 0x0F, 0x01 | kind)


def calibrating() -> list[bytes]:
    """Rings full of zero (coarse -60, fine 90) and reference (coarse 17000, fine 21000)."""
    pair = [signed(-60, 90, 0, kind=ZERO), signed(17_000, 21_000, 0, kind=REFERENCE)]
    return [packet([pair[k % 2]], sequence=k) for k in range(10)]


def decoded(*observations: bytes, offsets: tuple[int, int] = (0, 0)) -> Any:
    scales = RangeScales({"main": lvpm_scale(*offsets)}, {"main": (0, 0)})
    decoder = PacketDecoder(["main"], scales, model=LVPM_MODEL)
    packets = [*calibrating(), *(packet([o], sequence=10 + k) for k, o in enumerate(observations))]
    return decoder.decode(*to_slots(packets)).block


def test_conversion_by_hand() -> None:
    """Nominal resistors: 10 mA fine is 90 + 10/35.946 x 20910 counts; 1 A coarse is -60 + 1/3.1034 x 17060; 4.2 V is
    33600 counts of 125 uV, which a signed word could not hold."""
    trace = trace_of(decoded(signed(-5, 5907, 33_600), signed(5437, 32_767, 33_600)))
    assert trace.columns["main_range"].tolist() == [0, 1]
    assert trace.values("main_current_raw") == pytest.approx([10e-3, 1.0], rel=1e-4)
    assert trace.values("main_voltage_raw").tolist() == [4.2, 4.2]


def test_small_negative_currents_are_negative_not_huge() -> None:
    trace = trace_of(decoded(signed(-61, -119, 33_600)))
    assert trace.columns["main_range"].tolist() == [0]
    assert trace.values("main_current_raw") == pytest.approx([-0.3593e-3], rel=1e-3)


@pytest.mark.parametrize(("offset", "ohm"), [(41, 0.0541), (-12, 0.0488), (127, 0.0627), (-128, 0.0372)])
def test_a_scale_falls_as_its_resistor_grows(offset: int, ohm: float) -> None:
    assert lvpm_scale(offset, offset) == pytest.approx((35_946.0 * 0.05 / ohm, 3_103.4 * 0.05 / ohm))


@pytest.mark.parametrize(("fine", "range_code"), [(29_999, 0), (30_000, 1), (-32_767, 0)])
def test_range_changes_at_30000(fine: int, range_code: int) -> None:
    assert decoded(signed(777, fine, 0)).columns["main_range"].tolist() == [range_code]


@pytest.mark.parametrize("codes", [(32_767, 32_767), (0, -32_768)])
def test_both_ends_of_a_signed_word_are_saturation(codes: tuple[int, int]) -> None:
    assert decoded(signed(*codes, 33_600)).counts["saturated_samples"] == 1


def test_limits_are_coded_downwards() -> None:
    assert lvpm_limit_raw_to_amps(1023) == 0.0
    assert lvpm_limit_raw_to_amps(0) == 8.0
    assert lvpm_limit_raw_to_amps(256) == pytest.approx(5.998, abs=1e-3)


# --- the shipped meter on a simulated unit ------------------------------------------------------------


@pytest.mark.parametrize("current_a", [-0.002, 0.010, 0.045, 0.4, 2.5])
def test_mean_power_is_that_of_the_source(bench: Bench, current_a: float) -> None:
    one = bench(current_a=current_a, voltage_v=4.2, unit=QUIET)
    one.begin()
    one.run(1.0)
    lsb_w = 4.2 * (2e-6 if current_a < 0.05 else 0.2e-3)
    assert float(one.finish().power_w("main").mean()) == pytest.approx(4.2 * current_a, abs=lsb_w)
    assert one.info.model == "LVPM"


def test_usb_channel_has_resistors_of_its_own(bench: Bench) -> None:
    one = bench(current_a=0.3, voltage_v=5.0, unit=QUIET, feeds="usb", options={"channels": "usb"})
    one.begin()
    one.run(0.5)
    assert float(one.finish().power_w("usb").mean()) == pytest.approx(1.5, rel=1e-3)


def test_identity_holds_scales_and_limits(bench: Bench) -> None:
    info = bench(voltage_v=4.2, unit=QUIET).meter.open()
    assert info.details["main_resistor_offset"] == "41/38"
    assert info.details["usb_resistor_offset"] == "-12/7"
    assert float(info.details["run_limit_a"]) == pytest.approx(5.998, abs=1e-3)
    assert info.details["main_scale"].split("/")[0] == f"{35_946.0 * 0.05 / 0.0541:.10g}"


def test_aux_is_refused_with_the_reason(bench: Bench) -> None:
    with pytest.raises(SpecError, match="factor of a million") as caught:
        bench(unit=QUIET, options={"channels": "aux"}).meter.open()
    assert caught.value.hint == "use main or usb"


def test_a_bench_may_insist_on_a_model(bench: Bench) -> None:
    assert bench(unit=QUIET, options={"model": "lvpm"}).meter.open().model == "LVPM"
    with pytest.raises(DeviceError, match=r"is an LVPM .white case., the bench says model: hvpm"):
        bench(unit=QUIET, options={"model": "hvpm"}).meter.open()
    with pytest.raises(SpecError, match="model is 'lv'"):
        open_meter(MeterRequest("supply", options={"model": "lv"}))


@pytest.mark.parametrize("voltage_v", [2.0, 4.56, 5.0, float("nan")])
def test_voltages_beyond_the_model_are_refused(bench: Bench, voltage_v: float) -> None:
    one = bench(unit=QUIET)
    one.meter.open()
    with pytest.raises(SpecError, match=r"outside 2\.01-4\.55 V of the LVPM"):
        one.meter.set_voltage(voltage_v)


def test_voltage_is_set_without_the_guard_of_the_other_model(bench: Bench) -> None:
    """The DAC words that make an HVPM dangerous mean nothing on an LVPM."""
    one = bench(unit=dataclasses.replace(QUIET, dac_cal_high=0x0123, dac_cal_low=0x0456))
    one.meter.open()
    one.meter.set_voltage(3.7)
    assert one.device.output_v == pytest.approx(3.7, abs=1e-6)


@pytest.mark.filterwarnings(official.QUIETLY)
@pytest.mark.parametrize("current_a", [0.012, 0.4])
def test_the_vendors_package_reads_the_same_current(monkeypatch: pytest.MonkeyPatch, current_a: float) -> None:
    """With resistors above nominal, since it reads their offsets unsigned."""
    clock = Ticking()
    unit = LvpmUnit(noise_counts=0.7, resistor_offset={"main": (41, 38), "usb": (12, 7), "aux": (0, 0)})
    device = HvpmDevice(FunctionSource(current_a, 4.2, begin_ns=0), now_ns=clock.now_ns, unit=unit)
    backend = InProcessUsbBackend([device])
    theirs, voltage_v = official.read(monkeypatch, backend, 2000, "LVPM")

    meter = open_meter(MeterRequest("supply", usb_backend=backend), clock=clock)
    info = meter.open()
    meter.start()
    blocks = []
    while sum(len(b) for b in blocks) < 2000:
        clock.sleep_until(clock.now_ns() + 20_000_000)
        if (block := meter.step(clock.now_ns())) is not None:
            blocks.append(block)
    meter.close()
    ours = join_blocks(info, blocks).values("main_current_raw")
    assert ours.mean() == pytest.approx(float(np.mean(theirs)), rel=1e-3)
    assert ours.mean() == pytest.approx(current_a, rel=1e-3)
    assert voltage_v.mean() == pytest.approx(4.2, rel=1e-4)
