"""What real instruments are on record as having answered, and the examples that their manuals print.

`103.79E+00,1.0143E+00,105.27E+00`: an answer to :NUM:NORM:VAL? (IM WT310E-17EN, chapter 5). `YOKOGAWA,WT310,...` and
"Bad volts reading nan": the log of an SPEC PTDaemon with a WT310 (MLCommons power-dev). `:INTEGRATE:MODE NORMAL`:
headers on (IM WT5000-17EN p. 4-4). `5.0114,0.0000,0.000`: a Rigol DP832A.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.visa.description import find_description, shipped
from drivers.visa.meter import open_meter
from drivers.visa.numbers import OVER_RANGE, VALID, number, without_header
from drivers.visa.options import VisaOptions
from drivers.visa.polled import Poller
from drivers.visa.rows import Judge, channel_specs
from drivers.visa.talk import Talk
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock

IDENTITIES = {
    "YOKOGAWA,WT310,C2PH13047V,F1.03": ("wt310", "WT310", "C2PH13047V", "F1.03"),
    "YOKOGAWA,WT333E,C3UB06018V,F1.04": ("wt310", "WT333E", "C3UB06018V", "F1.04"),
    "Rohde&Schwarz,HMC8015,012345678,00.011": ("hmc8015", "HMC8015", "012345678", "00.011"),
    "Tektronix, PA1000, B010169, 1.000.000": ("pa1000", "PA1000", "B010169", "1.000.000"),
}


def talk(instrument: str, line: Any, clock: VirtualClock) -> Talk:
    given: dict[str, str | int | float] = {"resource": "TCPIP0::10.0.0.9::inst0::INSTR", "instrument": instrument}
    for name, section in find_description(instrument=instrument).instrument.ranges.items():
        given[f"{name}_range"] = section.steps[0][0]
    return Talk(line, VisaOptions.parse(MeterRequest("wall", given)), clock, None)


@pytest.mark.parametrize("answer", IDENTITIES)
def test_identities_on_record_are_recognised_by_one_description_alone(answer: str, scripted: Any) -> None:
    name, model, serial, firmware = IDENTITIES[answer]
    clock = VirtualClock()
    for other in shipped():
        section = find_description(instrument=other).instrument
        none = {} if section.errors is None else {section.errors.query: [b'0,"NO ERROR"']}
        line = scripted({"*IDN?": [answer.encode()], **none}, clock)
        if other == name:
            said, before = talk(other, line, clock).identify()
            assert (said["model"], said["serial"], said["firmware"]) == (model, serial, firmware) and not before
        else:
            with pytest.raises(DeviceError, match="which is no"):
                talk(other, line, clock).identify()


def look(scripted: Any, values: bytes, clock: VirtualClock) -> Any:
    answers = {":STAT:EESR?": [b"0", b"1", b"0"], ":NUM:NORM:VAL?": [values]}
    poller = Poller(talk("wt310", scripted(answers, clock), clock), clock)
    poller.arm()
    return poller.poll()


def test_the_manuals_numbers_are_read_exactly(scripted: Any) -> None:
    clock = VirtualClock()
    found = look(scripted, b"103.79E+00,1.0143E+00,105.27E+00,NAN,150.0E+00,2.000E+00", clock)
    judge = Judge(find_description(instrument="wt310"), ["power"], {"voltage": 150.0, "current": 2.0}, 0.25)
    assert judge.row(found.values, found.odd) == ([105_270_000_000_000], "", False)
    assert not judge.moved(found.values)


def test_a_reading_on_demand_is_stamped_when_it_came_not_when_its_range_had_been_asked_for(scripted: Any) -> None:
    clock = VirtualClock()
    line = scripted({"READ?": [b"+1.0E-04"], "CURR:DC:RANG?": [b"+2.0E-04"]}, clock)
    begin_ns = clock.now_ns()
    found = Poller(talk("sdm3055", line, clock), clock).poll()
    assert found is not None and found.t_ns - begin_ns == 1_000_000 < clock.now_ns() - begin_ns


def test_a_number_in_another_unit_is_none(scripted: Any) -> None:
    """105 VA are not 105 W; a unit that fits, in any case of letters, is none to stumble over."""
    judge = Judge(find_description(instrument="wt310"), ["power"], {"voltage": 150.0, "current": 2.0}, 0.25)
    for said, raw, odd in ((b"W", [105_000_000_000_000], ""), (b"VA", [], ":NUM:NORM:VAL?: p came in VA, not in W")):
        found = look(scripted, b"100V,1A,105.0" + said + b",0.5Wh,150V,2A", VirtualClock())
        assert judge.row(found.values, found.odd) == (raw, odd, False)
        assert not judge.moved(found.values)


def test_values_that_were_renewed_while_they_were_read_are_read_again(scripted: Any) -> None:
    clock = VirtualClock()
    old, new = b"1,1,20.00E+00,NAN,1,1", b"1,1,50.00E+00,NAN,1,1"
    answers = {":STAT:EESR?": [b"0", b"1", b"1", b"0"], ":NUM:NORM:VAL?": [old, new]}
    poller = Poller(talk("wt310", scripted(answers, clock), clock), clock)
    poller.arm()
    found = poller.poll()
    assert found is not None and found.values["p"].value == 50.0 and poller.torn == 1


@pytest.mark.parametrize(
    ("token", "over"),
    [
        (b"NAN", False), (b"INF", True), (b"9.91E+37", False), (b"9.9E+37", True), (b"------", False),
        (b"--OL--", True), (b"", False), (b"Command error", False),
    ],
)  # fmt: skip
def test_no_data_is_no_reading_and_never_nought(scripted: Any, token: bytes, over: bool) -> None:
    found = look(scripted, b"103.79E+00,1.0143E+00," + token + b",NAN,150.0E+00,2.000E+00", VirtualClock())
    judge = Judge(find_description(instrument="wt310"), ["power"], {}, 0.25)
    raw, why, was_over = judge.row(found.values, found.odd)
    assert raw == [] and why and was_over is over


def test_an_answer_with_too_few_values_is_none(scripted: Any) -> None:
    found = look(scripted, b"103.79E+00,1.0143E+00,105.27E+00", VirtualClock())
    raw, why, _ = Judge(find_description(instrument="wt310"), ["power"], {}, 0.25).row(found.values, found.odd)
    assert raw == [] and "3 values, not 6" in why


def test_headers_are_taken_off() -> None:
    assert without_header(":INTEGRATE:MODE NORMAL") == "NORMAL"
    assert without_header(":NUMERIC:NORMAL:VALUE 103.79E+00,NAN") == "103.79E+00,NAN"
    assert without_header('113,"Undefined header"') == '113,"Undefined header"'
    assert [number(t).value for t in ("5.0114", "0.0000", "0.000")] == [5.0114, 0.0, 0.0]
    assert number("INF").why == OVER_RANGE and number("0.0000").why == VALID


def test_limits_are_those_of_the_ranges_in_force() -> None:
    """WT310E, 50/60 Hz: 0.1 % of reading + 0.05 % of range; 300 V x 1 A."""
    options = VisaOptions.parse(MeterRequest("wall", {"resource": "X", "instrument": "wt310"}))
    (power,) = channel_specs(options, ["power"], {"voltage": 300.0, "current": 1.0})
    assert power.accuracy is not None
    assert power.accuracy.gain_rel == 0.001 and power.accuracy.offset_w == pytest.approx(0.15)
    direct = VisaOptions.parse(MeterRequest("wall", {"resource": "X", "instrument": "wt310", "coupling": "DC"}))
    (power,) = channel_specs(direct, ["power"], {"voltage": 15.0, "current": 2.0})
    assert power.accuracy is not None and power.accuracy.offset_w == pytest.approx(0.06)


def test_the_same_answer_again_is_a_new_update_only_when_one_was_due(scripted: Any) -> None:
    """An instrument without a register: ten polls an update, values that change every 0.1 s, then stay."""
    clock = VirtualClock()
    rows = [f"230.0,0.1,{20 + k % 7},300,1".encode() for k in range(20)]
    answers = {"CHAN1:MEAS:DATA?": [row for row in rows for _ in range(10)]}
    poller = Poller(talk("hmc8015", scripted(answers, clock), clock), clock)
    poller.arm()
    found = []
    for _ in range(300):
        at = poller.poll()
        found += [] if at is None else [at]
        clock.sleep_until(clock.now_ns() + 9_000_000)  # and 1 ms for the query
    steps = np.diff([one.t_ns for one in found]) / NS_PER_S
    assert len(found) == pytest.approx(29, abs=1)
    assert np.all(np.abs(steps - 0.1) < 0.011)


def test_nobody_there_is_said_once_and_clearly(scripted: Any) -> None:
    clock = VirtualClock()
    request = MeterRequest(
        "wall", {"resource": "TCPIP0::10.0.0.9::inst0::INSTR", "instrument": "wt310"}, visa=scripted({}, clock)
    )
    meter = open_meter(request, clock=clock)
    with pytest.raises(DeviceError, match=r"does not answer \*IDN\?") as caught:
        meter.open()
    assert "is it on" in caught.value.hint and isinstance(caught.value.__cause__, TransientError)
