"""The simulated WT310 against what its manual says: headers, updates, ranges, integrator, errors, invalid values."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from drivers.simulated.visa import FunctionElectrical, constant, opener, simulator
from drivers.simulated.visa.instrument import Instrument
from harness.core.errors import DeviceError, TransientError
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.io.visa_line import LineSettings

USB = "USB0::0x0B21::0x0025::C2PH13047V::INSTR"


class Talk:
    """A line to a simulated instrument and its clock."""

    def __init__(self, name: str = "wt310", resource: str = USB, settings: LineSettings | None = None) -> None:
        self.clock = VirtualClock()
        source = constant(105.27, 230.0, self.clock.now_ns(), power_factor=0.6, frequency_hz=50.0)
        self.device: Instrument = simulator(name, source, begin_ns=self.clock.now_ns())
        self.line = opener(self.device, self.clock)(resource, settings or LineSettings())

    def say(self, *messages: str) -> None:
        for message in messages:
            self.line.write(message)

    def ask(self, message: str) -> bytes:
        self.line.write(message)
        return self.line.read()

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now_ns() + round(seconds * NS_PER_S))

    def errors(self) -> list[str]:
        found = []
        while not (entry := self.ask(":STAT:ERR?").decode()).startswith("0"):
            found.append(entry)
        return found


@pytest.fixture
def wt310() -> Talk:
    return Talk()


def test_headers_are_on_until_they_are_switched_off(wt310: Talk) -> None:
    assert wt310.ask(":RATE?") == b":RATE 250.0E-03"
    assert wt310.ask(":INTEG:MODE?") == b":INTEGRATE:MODE NORMAL"
    wt310.say(":COMM:VERB OFF")
    assert wt310.ask(":INTEG:MODE?") == b":INTEG:MODE NORM"
    wt310.say(":COMM:HEAD OFF")
    assert wt310.ask(":INTEG:MODE?;TIM?") == b"NORM;0,0,0"


def test_what_it_does_not_know_is_not_answered_but_noted(wt310: Talk) -> None:
    with pytest.raises(TransientError):
        wt310.ask(":NO:SUCH?")
    wt310.say(":RATE 3S", ":RATE")
    assert [entry[:4] for entry in wt310.errors()] == ["113,", "420,", "222,", "109,"]
    assert wt310.errors() == []


def test_a_response_that_nobody_read_is_lost_and_noted(wt310: Talk) -> None:
    wt310.say(":RATE?")
    wt310.wait(0.1)
    assert wt310.ask("*IDN?").startswith(b"YOKOGAWA,WT310,")
    assert wt310.errors() == ['410,"Query INTERRUPTED"']


def test_on_a_socket_nothing_is_interrupted_and_the_end_of_a_message_counts() -> None:
    talk = Talk(resource="TCPIP0::h::5025::SOCKET")
    talk.say(":COMM:HEAD OFF", ":RATE?", ":INP:CFAC?")
    assert (talk.line.read(), talk.line.read()) == (b"250.0E-03", b"3")
    deaf = Talk(resource="TCPIP0::h::5025::SOCKET", settings=LineSettings(write_end=b"\r"))
    with pytest.raises(TransientError):
        deaf.ask("*IDN?")


def test_waiting_for_an_update_ends_when_one_is_there(wt310: Talk) -> None:
    wt310.say(":RATE 100MS", ":STAT:FILT1 FALL")
    wt310.ask(":STAT:EESR?")
    ends = []
    for _ in range(5):
        wt310.say(":COMM:WAIT 1")
        assert wt310.ask(":STAT:EESR?") == b"1"
        ends.append(wt310.clock.now_ns())
    assert np.diff(ends) == pytest.approx(np.full(4, 1e8), rel=1e-3)
    assert wt310.ask(":STAT:EESR?") == b"0"
    for edge, updating in (("FALL", b"0"), ("RISE", b"1")):
        wt310.say(f":STAT:FILT1 {edge}")
        wt310.ask(":STAT:EESR?")
        assert wt310.ask(":COMM:WAIT 1;:STAT:COND?") == updating


def test_values_follow_the_load_and_a_range_change_gives_no_data(wt310: Talk) -> None:
    wt310.say(":COMM:HEAD OFF", ":NUM:NUM 3")
    wt310.wait(2.0)
    volts, amps, watts = (float(v) for v in wt310.ask(":NUM:NORM:VAL?").split(b","))
    assert (volts, amps, watts) == pytest.approx((230.0, 105.27 / 230 / 0.6, 105.27), rel=2e-3)
    wt310.say(":INP:CURR:RANG 2A")
    assert wt310.ask(":NUM:NORM:VAL?") == b"NAN,NAN,NAN"
    wt310.wait(0.6)
    assert float(wt310.ask(":NUM:NORM:VAL? 3")) == pytest.approx(105.27, rel=2e-3)
    wt310.say(":INP:CURR:RANG 0.2")
    wt310.wait(0.6)
    assert wt310.ask(":NUM:NORM:VAL?").endswith(b",INF,INF")


def test_floats_are_a_block_with_its_own_tokens(wt310: Talk) -> None:
    wt310.say(":NUM:NUM 10", ":NUM:FORM FLOAT")
    wt310.wait(2.0)
    reply = wt310.ask(":NUM:VAL?")
    assert reply[:4] == b"#240"
    assert struct.unpack(">f", reply[4:8])[0] == pytest.approx(230.0, rel=2e-3)
    assert reply[-4:] == bytes.fromhex("7e951bee")


def test_the_integrator_counts_what_flows_and_refuses_what_it_cannot(wt310: Talk) -> None:
    wt310.say(":COMM:HEAD OFF", ":NUM:NUM 1;ITEM1 WH,1", ":INP:VOLT:RANG 300", ":INP:CURR:RANG 2")
    assert wt310.ask(":NUM:VAL?") == b"NAN"
    wt310.wait(1.0)
    wt310.say(":INTEG:STAR")
    assert wt310.ask(":INTEG:STAT?") == b"START"
    wt310.wait(36.0)
    wt310.say(":INTEG:STAR", ":INTEG:RES", ":INTEG:STOP")
    assert [entry[:4] for entry in wt310.errors()] == ["841,", "843,"]
    assert float(wt310.ask(":NUM:VAL?")) == pytest.approx(105.27 * 36.0 / 3600, rel=2e-3)
    wt310.say(":INTEG:RES")
    assert wt310.ask(":INTEG:STAT?") == b"RESET"


def test_a_timer_ends_the_integral(wt310: Talk) -> None:
    wt310.say(":COMM:HEAD OFF", ":INTEG:TIM 0,0,5", ":NUM:NUM 2;ITEM1 WH,1;ITEM2 TIME,1")
    wt310.wait(2.0)
    wt310.say(":INTEG:STAR")
    wt310.wait(20.0)
    assert wt310.ask(":INTEG:STAT?") == b"TIMEUP"
    wh, seconds = (float(v) for v in wt310.ask(":NUM:VAL?").split(b","))
    assert (wh, seconds) == pytest.approx((105.27 * 5 / 3600, 5.0), rel=2e-3)


def test_left_in_the_command_mode_of_its_forerunner_it_knows_only_the_way_out(wt310: Talk) -> None:
    wt310.say(":SYST:COMM:COMM WT200")
    with pytest.raises(TransientError):
        wt310.ask(":NUM:VAL?")
    wt310.say(":SYST:COMM:COMM WT300", "*CLS")
    wt310.wait(2.0)
    assert wt310.ask(":NUM:VAL? 1").startswith(b"2")


def test_the_newer_model_leaves_a_small_range_by_itself() -> None:
    talk = Talk("wt310e")
    talk.say(":COMM:HEAD OFF", ":INP:CURR:RANG 0.2")
    talk.wait(2.0)
    assert talk.ask(":INP:CURR:RANG?;AUTO?") == b"1.000E+00;1"


def test_a_line_that_is_cut_is_a_device_error() -> None:
    clock = VirtualClock()
    device = simulator("wt310", constant(1.0, 5.0, clock.now_ns()), begin_ns=clock.now_ns())
    line = opener(device, clock, gone_at_ns=clock.now_ns() + NS_PER_S)(USB, LineSettings())
    clock.sleep_until(clock.now_ns() + NS_PER_S)
    with pytest.raises(DeviceError):
        line.write("*IDN?")


def stepped(begin_ns: int, energy: Callable[[np.ndarray], np.ndarray]) -> FunctionElectrical:
    return FunctionElectrical(energy, lambda t_s: np.full(len(t_s), 5.0), begin_ns)


def test_an_update_is_the_mean_of_its_window_and_no_more() -> None:
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    source = stepped(begin_ns, lambda t_s: 5.0 * np.maximum(t_s - 10.05, 0.0))
    device = simulator("wt310", source, begin_ns=begin_ns, seed=3)
    line = opener(device, clock)(USB, LineSettings())
    for message in (":RATE 100MS", ":INP:VOLT:RANG 15", ":INP:CURR:RANG 2", ":NUM:NUM 1;ITEM1 P,1"):
        line.write(message)
    seen = []
    clock.sleep_until(begin_ns + 9_800_000_000)
    line.write(":STAT:FILT1 FALL;EESR?")
    line.read()
    for _ in range(6):
        line.write(":COMM:WAIT 1;:STAT:EESR?;:NUM:VAL?")
        seen.append(float(line.read().split(b";")[1]))
    rising = [watts for watts in seen if 0.01 < watts < 4.9]
    assert len(rising) == 1, seen
    assert seen[-1] == pytest.approx(5.0, rel=2e-3)
