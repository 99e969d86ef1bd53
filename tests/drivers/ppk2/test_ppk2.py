"""The PPK2's codec against a real unit's calibration and against the unmodified package; the driver on its wire."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ppk2.codec import Ppk2Codec
from drivers.ppk2.link import attached
from drivers.ppk2.metadata import parse
from drivers.ppk2.meter import open_meter
from drivers.ppk2.options import Ppk2Options
from drivers.simulated.ina219.ports import PtyServer
from drivers.simulated.ppk2 import Ppk2Device, Ppk2Unit
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest
from harness.core.trace import join_blocks

package = pytest.importorskip("ppk2_api.ppk2_api", reason="needs the extra ppk2: pip install 'joulebench[ppk2]'")

TEXT = (Path(__file__).parent / "data/ppk2-hw9173-metadata.txt").read_text("utf-8")
REAL = parse(TEXT, "a file")


def words(adc: np.ndarray, code: np.ndarray, first: int = 0) -> bytes:
    counter = (first + np.arange(len(adc))) & 0x3F
    return bytes((adc | code << 14 | counter << 18).astype("<u4").tobytes())


def feed(data: bytes, *, average: int = 1, chunk: int = 0) -> tuple[np.ndarray, np.ndarray, list, dict]:
    codec = Ppk2Codec(REAL, vdd_v=3.0, average=average)
    parts = [codec.feed(data[k : k + (chunk or len(data))]) for k in range(0, len(data), chunk or len(data))]
    counts: dict[str, int] = {}
    for part in parts:
        for name, number in part.counts.items():
            counts[name] = counts.get(name, 0) + number
    ends, amps = (np.concatenate([getattr(p, name) for p in parts]) for name in ("end_slot", "current_raw"))
    return ends, amps * 1e-9, [gap for part in parts for gap in part.gaps], counts


def test_a_real_units_calibration_is_read() -> None:
    assert REAL.r[4] == 0.0564
    assert REAL.i[4] == -0.009388455
    assert (REAL.vdd_mv, REAL.mode, REAL.rest["IA"]) == (3000, 2, "56")


def test_currents_are_those_of_the_unmodified_package() -> None:
    api = package.PPK2_API(None)
    assert api._parse_metadata(TEXT)
    api.current_vdd = 3000
    rng = np.random.default_rng(3)
    for code in range(5):
        adc = rng.integers(200, (16384, 16384, 16384, 6000, 1000)[code], 300)  # below 1.05 A
        data = words(adc, np.full(300, code))
        theirs, _ = api.get_samples(data)
        ends, ours, gaps, _ = feed(data)
        skip = 4  # their running mean stands in for the first samples of a range
        assert len(ours) == 300
        assert not gaps
        assert ours[skip:] == pytest.approx(np.array(theirs[skip:]) * 1e-6, rel=1e-9, abs=6e-10)
        assert ends.tolist() == list(range(1, 301))


@settings(max_examples=30, deadline=None)
@given(chunk=st.integers(1, 97), average=st.sampled_from([1, 7, 20]), seed=st.integers(0, 99))
def test_readings_do_not_depend_on_how_bytes_are_cut(chunk: int, average: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    adc, code = rng.integers(100, 900, 400), np.repeat(rng.integers(2, 5, 8), 50)
    data = words(adc, code)
    data = data[:400] + data[480:]  # 20 samples are lost
    whole, cut = feed(data, average=average), feed(data, average=average, chunk=chunk)
    assert np.array_equal(whole[0], cut[0])
    assert np.array_equal(whole[1], cut[1])
    assert sum(g.end_ns - g.begin_ns for g in whole[2]) == sum(g.end_ns - g.begin_ns for g in cut[2])
    assert whole[3] == cut[3]
    assert whole[3]["lost_samples"] == 20


def test_a_mean_that_is_not_whole_is_a_gap() -> None:
    data = words(np.full(200, 500), np.full(200, 4))
    ends, _, gaps, counts = feed(data[: 4 * 45] + data[4 * 50 :], average=20)
    assert ends.tolist() == [20, 40, *range(80, 201, 20)]
    assert [(g.begin_ns, g.end_ns, g.lost, g.reason) for g in gaps] == [(400_000, 600_000, 5, "samples lost")]
    assert counts == {"lost_samples": 5}


def test_samples_after_a_change_of_range_are_left_out() -> None:
    adc = np.r_[np.full(20, 500), [16000, 16000, 16000], np.full(17, 500)]
    code = np.r_[np.full(20, 3), np.full(20, 4)]
    _, amps, gaps, counts = feed(words(adc, code), average=20)
    assert counts == {"settling_samples": 3}
    assert not gaps
    assert amps[1] == pytest.approx(float(REAL.current_a(np.array([500]), np.array([4]), 3.0)[0]), rel=1e-6)


def test_a_peak_beyond_the_kits_ampere_is_one_reading_that_is_cut_off_not_one_a_word() -> None:
    adc = np.full(200, 500)
    adc[25:37] = 4000
    ends, _, gaps, counts = feed(words(adc, np.full(200, 4)), average=20)
    assert counts == {"saturated_samples": 1}
    assert 40 not in ends
    assert [(g.begin_ns, g.end_ns, g.reason) for g in gaps] == [(200_000, 400_000, "saturated: above 1 A")]


def test_words_out_of_step_are_an_error() -> None:
    data = words(np.arange(400) + 300, np.full(400, 4))
    with pytest.raises(TransientError, match="do not follow"):
        feed(data[1:])


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda s: s.replace("END", ""), "end is missing"),
        (lambda s: s.replace("R3: 0.9636", "R3: 0"), "shunts"),
        (lambda s: s.replace("GI2: 0.9609\n", ""), "GI2 is missing"),
        (lambda s: s.replace("0.9519", "nan"), "GI3"),
        (lambda s: s.replace("mode: 2", "mode: 7"), "mode is 7"),
    ],
)
def test_a_calibration_that_is_not_whole_is_refused(spoil, what: str) -> None:
    with pytest.raises(DeviceError, match=what):
        parse(spoil(TEXT), "a file")


@pytest.mark.parametrize("options", [{"volts": 3}, {"supply_v": 12}, {"average": 0}, {"port": ""}, {"average": True}])
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(SpecError):
        Ppk2Options.parse(MeterRequest("kit", options))


@pytest.mark.parametrize("later", [False, True], ids=["names", "names with serial numbers"])
def test_a_kit_with_two_ports_is_one_kit(monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    """Its second port is a console; versions of the package differ in what they return."""
    ports = [
        SimpleNamespace(
            device=f"/dev/ttyACM{k}", product=product, serial_number=serial, location=f"1-{bus}:1.{2 * k % 4}"
        )
        for k, (product, serial, bus) in enumerate(
            [("PPK2", "E27A", 2), ("PPK2", "E27A", 2), ("PPK2", "F001", 1), ("PPK2", "F001", 1), ("Arduino", "77", 3)]
        )
    ]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    assert attached() == ["/dev/ttyACM0", "/dev/ttyACM2"]
    if later:
        found = [(p.device, p.serial_number) for p in ports if p.product == "PPK2"]
        monkeypatch.setattr(package.PPK2_API, "list_devices", staticmethod(lambda: found))
    assert attached() == ["/dev/ttyACM0", "/dev/ttyACM2"]
    ports[2:] = []
    meter = open_meter(MeterRequest("kit"))
    assert meter._only() == "/dev/ttyACM0"


@pytest.mark.realtime
def test_the_driver_and_the_package_read_the_same_kit_on_a_pseudo_terminal() -> None:
    device = Ppk2Device(lambda t_ns: np.full(len(t_ns), 0.2), begin_ns=time.monotonic_ns(), unit=Ppk2Unit(vdd_mv=3000))
    server = PtyServer(device)
    try:
        meter = open_meter(MeterRequest("kit", {"port": server.path}, simulated=True))
        info = meter.open()
        meter.start()
        blocks = [b for _ in range(10) if (b := meter.step(time.monotonic_ns() + 50_000_000)) is not None]
        meter.stop()
        meter.close()
        trace = join_blocks(info, blocks)
        assert len(trace) > 1000
        assert float(np.mean(trace.power_w("out"))) == pytest.approx(0.6, rel=1e-3)
        api = package.PPK2_API(server.path, timeout=1)
        assert api.get_modifiers()
        api.use_source_meter()
        api.set_source_voltage(3000)
        api.start_measuring()
        time.sleep(0.1)
        samples, _ = api.get_samples(api.get_data())
        api.stop_measuring()
        assert len(samples) > 1000
        assert float(np.mean(samples)) * 1e-6 == pytest.approx(0.2, rel=1e-3)
    finally:
        server.close()
