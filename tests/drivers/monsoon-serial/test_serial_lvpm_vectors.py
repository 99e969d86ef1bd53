"""Frames, status and data packets of the old serial firmware against published bytes and hand-made packets."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from drivers.monsoon.serial_codec import DataDecoder, Layout
from drivers.monsoon.serial_frames import (
    BEFORE_START,
    START,
    STATUS_REQUEST,
    STOP,
    FrameSplitter,
    data_packet,
    frame,
    set_voltage,
)
from drivers.monsoon.serial_layout import Trial, decide
from drivers.monsoon.serial_options import SerialOptions
from drivers.monsoon.serial_status import FIELDS, LAYOUT, Status
from harness.core.errors import DeviceError
from harness.core.trace import Block

PERIOD = 200_000
SCALE_A = (0.0332, 2.88)
ZERO = [(100, 0, 0, 0), (-40, 0, 0, 0)]
REFERENCE = [(20_100, 0, 0, 0), (16_960, 0, 0, 0)]
OPTIONS = SerialOptions("/dev/ttyACM0")


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (STATUS_REQUEST, "04 01 00 00 05"),
        (STOP, "03 03 00 06"),
        (BEFORE_START, "04 01 1b 01 21"),
        (START, "08 02 ff ff ff ff 03 e8 f1"),
        (set_voltage(3.70), "04 01 01 aa b0"),
        (set_voltage(4.55), "04 01 01 ff 05"),
        (set_voltage(0), "04 01 01 00 06"),
    ],
)
def test_commands_are_the_published_frames(payload: bytes, line: str) -> None:
    assert frame(payload) == bytes.fromhex(line)


def status(**fields: int) -> Status:
    usual = dict.fromkeys(FIELDS, 0) | {
        "packet_type": 0x10, "serial": 4711, "sample_rate": 5, "output_setting": 220, "main_fine_resistor": 41,
        "main_coarse_resistor": 38, "run_limit": 256, "firmware": 20, "protocol": 17, "hardware_revision": 2,
    }  # fmt: skip
    parsed = Status.parse(LAYOUT.pack(*(usual | fields).values()))
    assert parsed is not None
    return parsed


def test_status_fields_lie_where_they_are_published() -> None:
    """Offsets counted by hand from the published struct: one pad byte behind `status`."""
    raw = bytearray(58)
    raw[0], raw[1], raw[2] = 0x10, 20, 17
    raw[19] = 170  # output setting: 3.70 V
    raw[24] = 0xF4  # main fine resistor: -12
    raw[25:27] = struct.pack(">H", 4711)
    raw[27] = 5
    found = Status.parse(bytes(raw))
    assert found is not None
    assert (found.raw["firmware"], found.raw["protocol"], found.serial) == (20, 17, 4711)
    assert found.raw["main_fine_resistor"] == -12
    assert found.output_v == pytest.approx(3.70)
    assert found.samples_per_s == 5000
    assert Status.parse(bytes(raw[:-1])) is None
    assert Status.parse(bytes([0x11]) + bytes(raw[1:])) is None


def test_an_output_setting_of_zero_is_off_not_two_volts() -> None:
    assert status(output_setting=0).output_v == 0.0


def decode(*payloads: bytes, layout: Layout | None = None) -> Block:
    decoder = DataDecoder(layout or Layout(trailing=False, period_ns=PERIOD, scale_a=SCALE_A, volt_per_count=125e-6))
    return decoder.decode(payloads, np.arange(len(payloads), dtype=np.int64)).block


def calibrated(*records: tuple[int, int, int, int]) -> Block:
    return decode(data_packet(0, 1, ZERO), data_packet(1, 2, REFERENCE), data_packet(2, 0, records))


def value(block: Block, row: int) -> tuple[float, float]:
    """Ampere and volt of a row, by the pieces of its range."""
    code = int(block.columns["main_range"][row])
    pieces = {p.code: p for p in block.calibration if p.column == "main_current_raw"}
    volts = next(p for p in block.calibration if p.column == "main_voltage_raw")
    raw = int(block.columns["main_current_raw"][row])
    return (raw - pieces[code].offset_raw) * pieces[code].scale, int(
        block.columns["main_voltage_raw"][row]
    ) * volts.scale


def test_conversion_by_hand() -> None:
    """10 mA fine: 100 + 10/33.2 x 20000 = 6124; 1 A coarse: -40 + 1/2.88 x 17000 = 5862, marked by its lowest bit;
    4.2 V is 33600, beyond a signed word, with two marks in its lowest bits."""
    block = calibrated((6124, 0, 0, 33_600 | 3), (5862 | 1, 0, 0, 33_600 | 2))
    assert block.columns["main_range"].tolist() == [0, 1]
    assert value(block, 0) == (pytest.approx(10e-3, rel=1e-4), pytest.approx(4.2))
    assert value(block, 1) == (pytest.approx(1.0, rel=3e-4), pytest.approx(4.2))


def test_calibration_packets_take_time_and_rows_before_them_have_none() -> None:
    rows = [(200, 0, 0, 33_600)] * 3
    early, zero = data_packet(0, 0, rows), data_packet(1, 1, ZERO)
    block = decode(early, zero, data_packet(2, 2, REFERENCE), data_packet(3, 0, rows))
    assert (block.t_ns // PERIOD).tolist() == [1, 2, 3, 8, 9, 10]
    assert block.counts == {"uncalibrated_samples": 3, "zero_cal_samples": 2, "ref_cal_samples": 2}
    assert {p.first_row for p in block.calibration if p.column == "main_current_raw"} == {3}


def test_a_jump_of_the_sequence_is_a_gap_of_unknown_size() -> None:
    rows = [(200, 0, 0, 33_600)] * 7
    block = decode(data_packet(14, 0, rows), data_packet(2, 0, rows))
    (gap,) = block.gaps
    assert (gap.begin_ns, gap.end_ns, gap.lost) == (7 * PERIOD, 28 * PERIOD, -1)
    assert block.counts["missing_packets"] == 3
    assert block.t_ns[7] == 29 * PERIOD


def test_the_last_eight_bytes_are_left_out_when_they_are_no_record() -> None:
    payload = data_packet(0, 0, [(200, 0, 0, 33_600)] * 7, trailing=bytes(8))
    layout = Layout(trailing=True, period_ns=PERIOD, scale_a=SCALE_A, volt_per_count=125e-6)
    assert len(decode(payload, layout=layout)) == 7
    assert len(decode(payload)) == 8


def test_a_reference_below_its_zero_is_an_error_not_a_current() -> None:
    with pytest.raises(DeviceError, match="its reference reads 100"):
        decode(data_packet(0, 1, REFERENCE), data_packet(1, 2, ZERO), data_packet(2, 0, [(200, 0, 0, 0)]))


@pytest.mark.parametrize("word", [32_767, -32_768])
def test_both_ends_of_a_word_are_saturation(word: int) -> None:
    assert calibrated((word, 0, 0, 33_600)).counts["saturated_samples"] == 1


# --- what a trial stretch tells -----------------------------------------------------------------------


def trial(records: int, *, trailing: bool, volts: int = 33_600, seconds: float = 2.0) -> Trial:
    packets, arrival_ns, made = [], [], 0
    while made < 5000 * seconds:
        packets.append(data_packet(len(packets), 0, [(200, 0, 0, volts)] * records, bytes(8) if trailing else b""))
        made += records
        arrival_ns.append(made * PERIOD)
    return Trial(packets, arrival_ns)


@pytest.mark.parametrize("trailing", [False, True])
@pytest.mark.parametrize("records", [2, 7, 29])
def test_the_rate_tells_whether_a_packet_ends_with_a_record(records: int, *, trailing: bool) -> None:
    layout, _, details = decide(status(), trial(records, trailing=trailing), OPTIONS)
    assert layout.trailing is trailing
    assert "the status says 5000" in details["packet_layout"]


def test_a_rate_that_neither_reading_gives_is_an_error() -> None:
    with pytest.raises(DeviceError, match="samples/s"):
        decide(status(sample_rate=4), trial(7, trailing=False), OPTIONS)


@pytest.mark.parametrize(("volts", "lsb_v"), [(33_600, 125e-6), (33_000, 125e-6)])
def test_the_voltage_word_is_told_by_the_output(volts: int, lsb_v: float) -> None:
    layout, _, _ = decide(status(hardware_revision=1), trial(7, trailing=True, volts=volts), OPTIONS)
    assert layout.volt_per_count == lsb_v
    halved = status(output_setting=5)  # 2.05 V
    assert decide(halved, trial(7, trailing=True, volts=32_800), OPTIONS)[0].volt_per_count == 62.5e-6


def test_a_voltage_that_fits_neither_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"3\.000 V or 1\.500 V at its main output, which is set to 4\.20 V"):
        decide(status(), trial(7, trailing=True, volts=24_000), OPTIONS)


def test_the_scale_follows_the_resistors_and_the_limits_cover_the_other_reading() -> None:
    """0.0541 ohm: 35.946 mA x 0.05/0.0541 = 33.22 mA, 0.1 % from the published constant."""
    layout, accuracy, _ = decide(status(), trial(7, trailing=True), OPTIONS)
    assert layout.scale_a == (pytest.approx(0.033222, rel=1e-4), pytest.approx(2.88420, rel=1e-4))
    assert accuracy.gain_rel == pytest.approx(0.01 + 0.00146, abs=1e-4)
    far, wide, _ = decide(status(main_fine_resistor=-12), trial(7, trailing=True), OPTIONS)
    assert far.scale_a[0] == pytest.approx(0.036830, rel=1e-4)
    assert wide.gain_rel == pytest.approx(0.01 + 0.0986, abs=1e-3)
    fixed, told, _ = decide(status(), trial(7, trailing=True), SerialOptions("x", scale="fixed"))
    assert (fixed.scale_a, told.gain_rel) == (SCALE_A, 0.01)


def test_resistors_that_no_unit_has_are_an_error() -> None:
    with pytest.raises(DeviceError, match=r"resistor of 0\.0372 ohm"):
        decide(status(main_coarse_resistor=-128), trial(7, trailing=True), OPTIONS)


# --- the line -----------------------------------------------------------------------------------------


def stream() -> tuple[bytes, list[bytes]]:
    rng = np.random.default_rng(4)
    payloads = [
        data_packet(k, 0, [tuple(int(x) for x in rng.integers(0, 30_000, 4)) for _ in range(7)])
        for k in range(40)  # type: ignore[misc]
    ]
    return b"".join(frame(p) for p in payloads), payloads


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 10_000])
def test_any_chunking_gives_the_same_frames(size: int) -> None:
    line, payloads = stream()
    splitter = FrameSplitter()
    found = [p for at in range(0, len(line), size) for p in splitter.feed(line[at : at + size])]
    assert found == payloads
    assert splitter.take_bad() == {}


@pytest.mark.parametrize("seed", range(30))
def test_damage_costs_a_few_packets_and_never_makes_one_up(seed: int) -> None:
    line, payloads = stream()
    rng = np.random.default_rng(seed)
    spoilt = bytearray(line)
    at = int(rng.integers(0, len(line) - 200))
    if seed % 3 == 0:
        spoilt[at] ^= 1 << int(rng.integers(0, 8))
    elif seed % 3 == 1:
        del spoilt[at : at + int(rng.integers(1, 100))]
    else:
        spoilt[at:at] = rng.integers(0, 256, int(rng.integers(1, 100)), np.uint8).tobytes()
    splitter = FrameSplitter()
    found = splitter.feed(bytes(spoilt))
    assert set(found) <= set(payloads)
    assert len(found) >= len(payloads) - 5
    assert found[-1] == payloads[-1]
