"""The vectors of docs/meters/inas-1.md and of the INA219's datasheet against the shipped code, both ways."""

import re
from pathlib import Path

import numpy as np
import pytest

from drivers.chips import ina219 as chip
from drivers.ina219.checksum import cobs_decode, cobs_encode, crc16
from drivers.ina219.codec import InasDecoder
from drivers.ina219.messages import (
    Configured,
    Counted,
    Event,
    Hello,
    Pong,
    Samples,
    command,
    frame,
    line,
    line_frame,
    samples_frame,
)

PAGE = Path(__file__).resolve().parents[3] / "docs/meters/inas-1.md"
PRINTED = re.findall(r"^    ([$>])(.+)\*([0-9A-F]{4})$", PAGE.read_text("utf-8"), re.MULTILINE)
FRAME = bytes.fromhex("0301010104f0430f0c032804b0041227fdff12270105102737ba00")


def test_the_checksum_is_ccitt_false() -> None:
    assert crc16(b"123456789") == 0x29B1


@pytest.mark.parametrize(("mark", "body", "crc"), PRINTED, ids=[f"{m}{b}" for m, b, _ in PRINTED])
def test_every_printed_line_has_its_checksum(mark: str, body: str, crc: str) -> None:
    assert f"{crc16(body.encode()):04X}" == crc
    wire = command(body) if mark == ">" else line(body)
    assert wire.strip() == f"{mark}{body}*{crc}".encode()


def test_the_page_prints_them_all() -> None:
    assert len(PRINTED) >= 20


def test_device_lines_say_what_the_page_says() -> None:
    wire = b"".join(line(body) for mark, body, _ in PRINTED if mark == "$")
    found = InasDecoder().feed(wire)
    hello = found[0]
    assert isinstance(hello, Hello)
    assert (hello.major, hello.keys["uid"], hello.keys["addr"]) == (1, "3f9a01", "40")
    configured = [m for m in found if isinstance(m, Configured)]
    assert configured[0] == Configured(1, 0x399F, 0x1000, 100000, 4000, "a")
    assert configured[1].fmt == "b"
    samples = [m for m in found if isinstance(m, Samples)]
    assert [(m.seq, *m.t_us, *m.shunt_raw, *m.bus_raw) for m in samples] == [
        (0, 1000432, 1200, 10002),
        (1, 1004432, 1203, 10002),
        (2, 1008436, -3, 10002),
    ]
    assert [m.kind for m in found if isinstance(m, Event)] == ["i2c_nack", "brownout", "rate", "cfg", "refused"]
    assert Pong("7f31", 1014500) in found
    assert Counted({"sent": 500, "ovr": 0, "i2c": 0, "late": 3}) in found


def test_the_printed_binary_frame_both_ways() -> None:
    data = cobs_decode(FRAME[:-1])
    assert data is not None
    assert crc16(data[:-2]) == 0xBA37
    decoder = InasDecoder()
    assert decoder.feed(b"\0") == []
    (samples,) = decoder.feed(FRAME)
    assert isinstance(samples, Samples)
    assert (samples.epoch, samples.seq) == (1, 0)
    assert samples.t_us.tolist() == [1000432, 1001496, 1002560]
    assert samples.shunt_raw.tolist() == [1200, -3, 0]
    assert samples.bus_raw.tolist() == [10002, 10002, 10000]
    assert samples_frame(samples, dt_us=1064) == FRAME


def test_the_printed_line_frame() -> None:
    body = "E,i2c_nack,n=1,t=1012440"
    assert crc16(b"$" + body.encode()) == 0x34BB
    assert line_frame(body) == cobs_encode(b"$" + body.encode() + b"\xbb\x34") + b"\0"
    assert frame(b"$" + body.encode()) == line_frame(body)


# --- the chip: datasheet SBOS448, register 00h, table 5, section 7.5 ---------------------------------


def test_the_reset_configuration_is_32_v_320_mv_12_bit_both_continuous() -> None:
    config = chip.Config.of(chip.RESET_CONFIG)
    assert (config.bus_range_v, config.range_mv, config.mode) == (32, 320, 7)
    assert (config.shunt.bits, config.bus.bits) == (12, 12)
    assert config.cycle_us == 1064.0
    assert config.full_scale_raw == 32000


@pytest.mark.parametrize(
    ("code", "bits", "averages", "typical_us", "slowest_us"),
    [
        (0, 9, 1, 84, 93), (1, 10, 1, 148, 163), (2, 11, 1, 276, 304), (3, 12, 1, 532, 586), (4, 9, 1, 84, 93),
        (8, 12, 1, 532, 586), (9, 12, 2, 1060, 1172), (10, 12, 4, 2130, 2344), (11, 12, 8, 4260, 4688),
        (12, 12, 16, 8510, 9376), (13, 12, 32, 17020, 18752), (14, 12, 64, 34050, 37504), (15, 12, 128, 68100, 75008),
    ],
)  # fmt: skip
def test_adc_codes(code: int, bits: int, averages: int, typical_us: float, slowest_us: float) -> None:
    mode = chip.adc_mode(code)
    assert (mode.bits, mode.averages, mode.typical_us, mode.slowest_us) == (bits, averages, typical_us, slowest_us)


def test_words_go_round() -> None:
    word = chip.config_word(range_mv=320, bus_range_v=32, sadc=3, badc=3)
    assert word == 0x399F
    for range_mv in chip.RANGES_MV:
        for averages in chip.AVERAGES:
            code = chip.adc_code(averages=averages)
            word = chip.config_word(range_mv=range_mv, bus_range_v=16, sadc=code, badc=8, mode=5)
            found = chip.Config.of(word)
            assert (found.range_mv, found.shunt.averages, found.shunt_only) == (range_mv, averages, True)


def test_registers_of_the_worked_example() -> None:
    """1200 is 12.00 mV; 10002 is 0x2712: 5.000 V, CNVR set, OVF clear."""
    assert pytest.approx(12.00e-3) == 1200 * chip.SHUNT_LSB_V
    assert chip.bus_code(np.array([10002]))[0] * chip.BUS_LSB_V == pytest.approx(5.0)
    assert 10002 & chip.CNVR_BIT
    assert not 10002 & chip.OVF_BIT


def test_the_flags_are_no_part_of_the_voltage() -> None:
    registers = np.array([0x2710, 0x2711, 0x2712, 0x2713, 0x2717])
    assert set(chip.bus_code(registers).tolist()) == {1250}


def test_the_shunt_clips_at_its_range_without_a_flag() -> None:
    for range_mv in chip.RANGES_MV:
        config = chip.Config.of(chip.config_word(range_mv=range_mv, bus_range_v=16, sadc=8, badc=8))
        volts = np.array([-1.0, -range_mv * 1e-3 + 2e-5, 0.0, range_mv * 1e-3 - 2e-5, 1.0])
        raw = chip.to_shunt_register(volts, config)
        assert raw.tolist() == [-range_mv * 100, -range_mv * 100 + 2, 0, range_mv * 100 - 2, range_mv * 100]
        assert chip.clipped(raw, config).tolist() == [2, 0, 0, 0, 1]


def test_offset_limits_of_both_grades() -> None:
    assert [chip.limits(r).shunt_offset_v for r in chip.RANGES_MV] == [100e-6, 125e-6, 150e-6, 200e-6]
    assert [chip.limits(r, grade="B").shunt_offset_v for r in chip.RANGES_MV] == [50e-6, 75e-6, 75e-6, 100e-6]
    assert chip.limits(40, over_temperature=False).shunt_gain_rel == 0.005
    assert chip.limits(40).shunt_gain_rel == 0.01


def test_a_tenth_of_an_ohm_takes_a_third_of_a_volt_at_three_ampere() -> None:
    assert chip.burden_v(3.0, 0.1) == pytest.approx(0.3)
