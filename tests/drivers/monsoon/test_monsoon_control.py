"""Control transfers against bytes observed on the wire and in the vendor's code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.monsoon import control
from drivers.monsoon.control import BadTransfer, Setup
from drivers.monsoon.fields import Opcode


def test_setting_four_volts_is_what_the_official_library_sends() -> None:
    setup = control.set_value(Opcode.MAIN_VOLTAGE, control.volts_to_raw(4.0))
    assert (setup.request_type, setup.request, setup.value, setup.index) == (0x40, 0x01, 0x0000, 0x4041)
    assert setup.data == bytes.fromhex("00004000")


def test_start_is_what_the_official_library_sends() -> None:
    setup = control.start(cal_ms=1250)
    assert (setup.request_type, setup.request, setup.value, setup.index) == (0x40, 0x02, 0x04E2, 0)
    assert setup.data == b"\xff\xff\xff\xff"


def test_stop_has_no_data_stage() -> None:
    assert control.stop() == Setup(0x40, 0x03, 0, 0, b"", 0)


def test_get_asks_for_four_bytes_with_the_opcode_in_the_index() -> None:
    assert control.get_value(Opcode.MODEL) == Setup(0xC0, 0x01, 0, 0x45, b"", 4)


@pytest.mark.parametrize(
    ("opcode", "number"),
    [  # the vendor's printed table is shifted by one row from here on: it says 0x42 and 0xC1 for these
        (Opcode.MAIN_FINE_ZERO, 0x25),
        (Opcode.MODEL, 0x45),
        (Opcode.SERIAL, 0x42),
        (Opcode.PROTOCOL, 0xC1),
        (Opcode.STATUS, 0xC4),
    ],
)
def test_opcodes_are_those_of_the_code_not_of_the_shifted_table(opcode: Opcode, number: int) -> None:
    assert opcode == number


def test_error_word_is_recognised_by_all_four_bytes() -> None:
    assert control.parse_value(bytes.fromhex("feffffff"), size=2) is None
    assert control.parse_value(bytes.fromhex("feff0000"), size=2) == 65534  # what the official library returns for both
    assert control.parse_value(bytes.fromhex("f1ff0000"), size=2, signed=True) == -15


def test_reply_of_another_length_is_refused() -> None:
    with pytest.raises(BadTransfer, match="2 bytes"):
        control.parse_value(b"\x01\x02", size=2)


@given(st.sampled_from(list(Opcode)), st.integers(0, 0xFFFFFFFF))
def test_set_survives_the_round_trip(opcode: Opcode, value: int) -> None:
    assert control.parse_set(control.set_value(opcode, value)) == (opcode, value)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFF))
def test_set_that_contradicts_its_data_is_refused(value: int, w_value: int, high: int) -> None:
    setup = Setup(0x40, 0x01, w_value, Opcode.MAIN_VOLTAGE | high << 8, value.to_bytes(4, "little"))
    if (w_value, high) == (value & 0xFFFF, value >> 16 & 0xFF):
        assert control.parse_set(setup) == (Opcode.MAIN_VOLTAGE, value)
    else:
        with pytest.raises(BadTransfer, match="contradict"):
            control.parse_set(setup)


def test_current_limit_follows_the_code_not_the_manual() -> None:
    assert control.limit_raw_to_amps(3840) == 0.0
    assert control.limit_raw_to_amps(65535) == pytest.approx(15.625)  # the manual's formula gives 0 here
