"""How a simulated instrument reads program messages: IEEE 488.2 and SCPI, with their errors."""

from __future__ import annotations

import pytest

from drivers.simulated.visa.grammar import (
    ScpiError,
    Unit,
    block,
    boolean,
    channels,
    choice,
    indefinite,
    number,
    parsed,
    pattern,
    string,
)


def headers(message: str) -> list[str]:
    return [unit.header for unit in parsed(message) if isinstance(unit, Unit)]


def test_a_path_goes_on_until_a_colon_begins_a_new_one() -> None:
    assert headers(":NUM:NORM:ITEM1 U,1;ITEM2 I,1") == [":NUM:NORM:ITEM1", ":NUM:NORM:ITEM2"]
    assert headers(":INP:FILT:LINE OFF;*CLS;FREQ ON;:RATE 1S") == [
        ":INP:FILT:LINE", "*CLS", ":INP:FILT:FREQ", ":RATE",
    ]  # fmt: skip
    assert headers("FORM REAL;BORD NORM") == [":FORM", ":BORD"]  # which is no header: FORM is at the root


def test_parameters_may_hold_what_separates_messages() -> None:
    (unit,) = parsed('TRAC:DATA? 1,3,"a;b,c",READ')
    assert unit == Unit(":TRAC:DATA", True, ("1", "3", '"a;b,c"', "READ"))
    (unit,) = parsed("FETC:ELOG? 10,(@1,3)")
    assert isinstance(unit, Unit)
    assert unit.args == ("10", "(@1,3)")


@pytest.mark.parametrize("message", ["12:FOO", ":A::B 1", "FOO 1,,2", "*TOOLONG?"])
def test_what_is_no_command_is_a_syntax_error(message: str) -> None:
    assert [unit.code for unit in parsed(message) if isinstance(unit, ScpiError)] == [-102]


def test_short_and_long_forms_and_optional_nodes() -> None:
    found = pattern(":NUMeric[:NORMal]:ITEM<x>")
    assert found.match(":NUM:ITEM3") == found.match(":NUMERIC:NORMAL:ITEM3") == (3,)
    assert found.match(":NUM:NORM:ITEM") == (1,)
    assert found.match(":NUME:ITEM1") is None and found.match(":NUM:NORMA:ITEM1") is None
    assert found.spoken((3,), long=True) == ":NUMERIC:NORMAL:ITEM3"
    assert found.spoken((3,), long=False) == ":NUM:NORM:ITEM3"


@pytest.mark.parametrize(
    ("raw", "unit", "value"),
    [
        ("5MV", "V", 0.005), ("100MS", "S", 0.1), ("2 s", "S", 2.0), ("500mA", "A", 0.5), ("1MAV", "V", 1e6),
        ("3E-3", "A", 0.003), ("1MHZ", "HZ", 1e6), ("#HFE", "", 254.0), ("#B1010", "", 10.0), ("-.5", "", -0.5),
    ],
)  # fmt: skip
def test_numbers_with_units(raw: str, unit: str, value: float) -> None:
    assert number(raw, unit) == pytest.approx(value)


@pytest.mark.parametrize(("raw", "unit", "code"), [("5X", "V", -131), ("five", "V", -104), ("5V", "A", -131)])
def test_numbers_that_are_none(raw: str, unit: str, code: int) -> None:
    with pytest.raises(ScpiError) as caught:
        number(raw, unit)
    assert caught.value.code == code


def test_other_parameters() -> None:
    assert boolean("on") and boolean("1") and not boolean("OFF")
    assert choice("cont", ("NORMal", "CONTinuous")) == "CONTinuous"
    assert string('"a""b"') == 'a"b'
    assert channels("(@1,3:4)", 4) == (1, 3, 4)
    for bad in ("(@5)", "1"):
        with pytest.raises(ScpiError):
            channels(bad, 4)


def test_blocks_have_the_form_that_the_standard_says() -> None:
    assert block(b"\n" * 12) == b"#212" + b"\n" * 12
    assert block(b"AB", digits=8) == b"#800000002AB"
    assert indefinite(b"AB") == b"#0AB"
