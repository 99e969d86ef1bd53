"""Numbers and blocks as instruments send them: the manuals' examples, every token for a missing value, damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.visa.blocks import BIG, LITTLE, Form, payload, readings, text
from drivers.visa.numbers import (
    NO_DATA,
    NOT_A_NUMBER,
    OVER_RANGE,
    UNDER_RANGE,
    Values,
    numbers,
    to_pico,
    without_header,
)

INVALID = {
    b"NAN": NOT_A_NUMBER,
    b"nan": NOT_A_NUMBER,
    b"9.91E+37": NOT_A_NUMBER,
    b"+9.910000E+37": NOT_A_NUMBER,
    b"------": NO_DATA,
    b"INF": OVER_RANGE,
    b"9.9E37": OVER_RANGE,
    b"+9.900000E+37": OVER_RANGE,
    b"-9.9E+37": UNDER_RANGE,
    b"1E400": OVER_RANGE,
    b"--OL--": OVER_RANGE,
    b"-INF": UNDER_RANGE,
}


def listed(message: bytes) -> Values:
    return numbers(text(message))


@pytest.mark.parametrize(("token", "why"), INVALID.items())
def test_a_token_for_no_value_is_missing_and_never_a_number(token: bytes, why: int) -> None:
    found = listed(b"1.5," + token + b",2.5")
    np.testing.assert_array_equal(found.value, [1.5, np.nan, 2.5])
    assert found.why.tolist() == [0, why, 0]


def test_an_empty_field_is_missing_and_an_empty_list_is_empty() -> None:
    assert listed(b"1.0,,2.0").why.tolist() == [0, NO_DATA, 0]
    assert len(readings(b"", Form.ASCII)) == 0


@pytest.mark.parametrize(
    ("message", "values"),
    [
        (b"103.79E+00,1.0143E+00,105.27E+00", [103.79, 1.0143, 105.27]),  # Yokogawa, ASCII
        (b":NUMERIC:NORMAL:VALUE 103.79E+00,1.0143E+00", [103.79, 1.0143]),
        (b"+8.034562E-03, +4.01,+4.430876E+00s", [8.034562e-3, 4.01, 4.430876]),  # Keithley 2281S
        (b"5.0114,0.0000,0.000", [5.0114, 0.0, 0.0]),  # Rigol DP832A
        (b" -.5 ,1.,12.5 V", [-0.5, 1.0, 12.5]),
    ],
)
def test_a_list_gives_what_is_written(message: bytes, values: list[float]) -> None:
    found = listed(message)
    assert found.value.tolist() == values
    assert not found.why.any()


@pytest.mark.parametrize(
    "message", [b"1_000", b"0x10", b"Command error", b"1.0,5.2.1", b".", b"1e", b"CV", b"5.2mA", b"1 2", b"\xb2"]
)
def test_what_is_not_understood_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"no number|unknown unit|no text"):
        listed(message)


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (":NUMERIC:NORMAL:VALUE 103.79E+00,1.0143E+00", "103.79E+00,1.0143E+00"),
        (":INTEGRATE:MODE NORMAL", "NORMAL"),
        ("VOLT 5.0", "5.0"),
        (":NUM:NORM:VAL NAN", "NAN"),
        ("CV", "CV"),
        ("NO ERROR", "NO ERROR"),
        ('0,"No error"', '0,"No error"'),
        ("RIGOL TECHNOLOGIES,DP832A,X,1", "RIGOL TECHNOLOGIES,DP832A,X,1"),
    ],
)
def test_headers_on_or_off_give_the_same_data(reply: str, data: str) -> None:
    assert without_header(reply) == data


def test_values_are_kept_to_the_picounit_and_a_missing_one_is_not_kept_as_a_number() -> None:
    assert to_pico(np.array([103.79, -1e-12, 0.0])).tolist() == [103_790_000_000_000, -1, 0]
    for bad in (np.nan, 1e7, np.inf):
        with pytest.raises(ValueError, match="beyond"):
            to_pico(np.array([bad]))


# --- blocks ---------------------------------------------------------------------------------------


def test_the_manuals_block_has_a_length_of_eight_digits() -> None:
    assert payload(b"#800000010ABCDEFGHIJ") == b"ABCDEFGHIJ"  # IM WT310E-17EN p. 5-7
    assert payload(b":NUM:NORM:VAL #800000010ABCDE\nGHIJ") == b"ABCDE\nGHIJ"
    assert payload(b"#0AB\nC") == b"AB\nC"


def test_yokogawas_floats_for_no_data_and_infinite_are_missing() -> None:
    values = readings(b"#18" + bytes.fromhex("7E951BEE7E94F56A"), Form.REAL32)  # IM WT3001E-17EN p. 6-97
    assert values.why.tolist() == [NOT_A_NUMBER, OVER_RANGE]
    true = readings(b"#18" + bytes.fromhex("7FC000007F800000"), Form.REAL32)
    assert true.why.tolist() == [NOT_A_NUMBER, OVER_RANGE]


@pytest.mark.parametrize(("order", "sign"), [(BIG, ">"), (LITTLE, "<")])
@pytest.mark.parametrize(("form", "letter"), [(Form.REAL32, "f"), (Form.REAL64, "d")])
def test_floats_of_either_order_and_width(form: Form, letter: str, order: str, sign: str) -> None:
    data = struct.pack(f"{sign}3{letter}", 1.5, -0.25, float("nan"))
    values = readings(b"#%d%d" % (len(str(len(data))), len(data)) + data, form, order=order)
    np.testing.assert_array_equal(values.value, [1.5, -0.25, np.nan])
    assert values.why.tolist() == [0, 0, NOT_A_NUMBER]


def test_the_wrong_byte_order_is_no_reading() -> None:
    block = b"#216" + struct.pack("<4f", 0.5, 0.25, 5.0, 5.1)
    with pytest.raises(ValueError, match="byte order"):
        readings(block, Form.REAL32, order=BIG)


@pytest.mark.parametrize(
    "message",
    [
        b"#212" + bytes(8),  # cut
        b"#18" + bytes(8) + b"x",  # more than it says
        b"#1",
        b"#9",
        b"#2x2ab",
        b"#17" + bytes(7),  # not whole numbers
        b"1.0,2.0",
        b"",
    ],
)
def test_a_damaged_block_gives_no_readings(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"block|bytes"):
        readings(message, Form.REAL32)


def test_only_whole_records_are_taken() -> None:
    with pytest.raises(ValueError, match="whole records of 2"):
        readings(b"1.0,2.0,3.0", Form.ASCII, multiple=2)


@given(st.lists(st.floats(width=32, allow_nan=False, min_value=-1000, max_value=1000), max_size=50), st.booleans())
def test_a_block_gives_the_floats_that_were_put_in(values: list[float], definite: bool) -> None:
    kept = [v if abs(v) > 1e-20 else 0.0 for v in values]
    data = struct.pack(f">{len(kept)}f", *kept)
    head = b"#%d%d" % (len(str(len(data))), len(data)) if definite else b"#0"
    assert readings(head + data, Form.REAL32).value.tolist() == kept


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_give_readings_or_a_refusal(data: bytes) -> None:
    for form in Form:
        try:
            values = readings(b"#" + data, form)
        except ValueError:
            continue
        assert np.array_equal(np.isnan(values.value), values.why != 0)
