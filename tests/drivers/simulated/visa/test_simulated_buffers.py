"""Simulated instruments with buffers, logs and slow read-backs, against what their manuals say."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from drivers.simulated.visa import Front, constant, opener, simulator
from drivers.simulated.visa.bench import At, Bench, Setup
from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.trials_dc import K2281S, N6705
from harness.core.errors import TransientError
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.io.visa_line import LineSettings
from harness.testing.faults import Scene

USB, SOCKET = "USB0::1::2::3::INSTR", "TCPIP0::h::5025::SOCKET"


class Talk:
    """An instrument without errors of its own that sees 1 A at 5 V."""

    def __init__(self, name: str, resource: str = USB, settings: LineSettings | None = None) -> None:
        self.clock = VirtualClock()
        now_ns = self.clock.now_ns()
        front = Front(constant(5.0, 5.0, now_ns))
        self.device: Instrument = simulator(name, front.source, begin_ns=now_ns, front=front)
        self.line = opener(self.device, self.clock)(resource, settings or LineSettings())

    def say(self, *messages: str) -> None:
        for message in messages:
            self.line.write(message)

    def ask(self, message: str) -> bytes:
        self.line.write(message)
        return self.line.read()

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now_ns() + round(seconds * NS_PER_S))
        self.device.advance(self.clock.now_ns())


def floats(reply: bytes, form: str) -> np.ndarray:
    head = 2 + int(reply[1:2])
    assert reply[:1] == b"#" and len(reply) - head == int(reply[2:head] or b"0")
    return np.frombuffer(reply[head:], form)


def test_fastlog_offers_a_chunk_every_250_ms_and_says_what_it_lost() -> None:
    ngu = Talk("ngu")
    ngu.say("FLOG:SRAT S001k;TARG SCPI", "STAT:OPER:INST:ISUM1:ENAB 4096", "STAT:OPER:INST:ENAB 2")
    ngu.say("STAT:OPER:ENAB 8192", "FLOG:STAT 1")
    ngu.wait(0.2)
    assert ngu.ask("*STB?") == b"0"
    ngu.wait(0.1)
    assert ngu.ask("*STB?") == b"128"
    values = floats(ngu.ask("FLOG:DATA?"), "<f4")
    assert len(values) == 2 * 250
    assert values[0::2] == pytest.approx(np.full(250, 5.0))
    assert values[1::2] == pytest.approx(np.full(250, 1.0))
    assert ngu.ask("FLOG:DATA?") == b"#10"
    assert ngu.ask("STAT:QUES:INST:ISUM1?") == b"0"
    ngu.wait(2.0)
    assert ngu.ask("STAT:QUES:INST:ISUM1?") == b"2048"
    ngu.say("FLOG:SRAT S100")
    assert ngu.ask("SYST:ERR?").startswith(b"-221")


def test_elog_rounds_its_period_and_overwrites_what_nobody_fetched() -> None:
    keysight = Talk("n6705")
    keysight.say("SENS:ELOG:FUNC:VOLT ON,(@1)", "SENS:ELOG:PER 0.001,(@1)", "FORM REAL;:FORM:BORD NORM")
    assert float(keysight.ask("SENS:ELOG:PER? (@1)")) == pytest.approx(49 * 20.48e-6)
    keysight.say("SENS:ELOG:PER 1E-5,(@1)")
    assert float(keysight.ask("SENS:ELOG:PER? (@1)")) == pytest.approx(204.8e-6)
    keysight.say("SENS:ELOG:PER 0.01,(@1)", "TRIG:ELOG (@1)")
    assert keysight.ask("SYST:ERR?").startswith(b"-211")
    keysight.say("INIT:ELOG (@1)", "TRIG:ELOG (@1)")
    keysight.wait(1.0)
    records = floats(keysight.ask("FETC:ELOG? 4096,(@1)"), ">f4").reshape(-1, 2)
    assert 98 <= len(records) <= 101
    assert records == pytest.approx(np.tile([1.0, 5.0], (len(records), 1)))
    keysight.wait(30.0)
    assert len(floats(keysight.ask("FETC:ELOG? 4096,(@1)"), ">f4")) == pytest.approx(2 * 2000, abs=8)


def test_the_multimeter_sends_blocks_without_a_length() -> None:
    keithley = Talk("dmm6500")
    keithley.say('DIG:FUNC "CURR"', "DIG:CURR:RANG 3;SRAT 1000", 'TRAC:MAKE "jb",2000', 'TRIG:BLOC:MDIG 1,"jb",INF')
    keithley.say("INIT", "FORM REAL")
    keithley.wait(1.0)
    assert 990 <= int(keithley.ask('TRAC:ACT? "jb"')) <= 1001
    reply = keithley.ask('TRAC:DATA? 1,3,"jb",READ,REL')
    assert reply[:2] == b"#0"
    assert struct.unpack("<6d", reply[2:]) == pytest.approx((1.0, 0.0, 1.0, 0.001, 1.0, 0.002))
    with pytest.raises(TransientError):
        keithley.ask('TRAC:DATA? 1,3,"jb",READ,UNIT')
    assert keithley.ask("SYST:ERR?").startswith(b"1133")
    keithley.wait(2.0)
    assert keithley.ask('TRAC:ACT? "jb"') == b"2000"


def test_the_supply_with_a_buffer_gives_each_reading_once() -> None:
    keithley = Talk("2281s")
    keithley.say(":SENS:NPLC 1", ":TRAC:FEED:CONT ALW", ":TRAC:CLE", ":INIT:CONT ON")
    keithley.wait(0.5)
    first = np.array(keithley.ask(':TRAC:DATA? "READ,SOUR,REL"').decode().split(","), float).reshape(-1, 3)
    assert len(first) in (24, 25)  # some milliseconds pass before it begins
    assert np.diff(first[:, 2]) == pytest.approx(0.02)
    keithley.wait(0.1)
    second = np.array(keithley.ask(':TRAC:DATA? "REL"').decode().split(","), float)
    assert second[0] == pytest.approx(first[-1, 2] + 0.02)


def test_supplies_and_the_meter_on_demand() -> None:
    rigol = Talk("dp800")
    rigol.wait(1.0)
    assert rigol.ask(":MEAS:ALL? CH1") == b"5.0000,1.0000,5.000"
    assert rigol.ask(":OUTP? CH2") == b"OFF"
    siglent = Talk("sdm3055", SOCKET)
    siglent.say("CONF:CURR:DC 2", "SENS:CURR:DC:NPLC 1", "SAMP:COUN 3")
    begin_ns = siglent.clock.now_ns()
    values = [float(value) for value in siglent.ask("READ?").split(b",")]
    assert values == pytest.approx([1.0] * 3)
    assert siglent.clock.now_ns() - begin_ns > 60_000_000
    siglent.say("CONF:CURR:DC 0.2")
    assert siglent.ask("READ?") == b"+9.90000000E+37,+9.90000000E+37,+9.90000000E+37"


def test_every_command_of_the_pa1000_is_answered() -> None:
    talk = Talk("pa1000", SOCKET, LineSettings(read_end=b"\r"))
    talk.say(":SEL:CLR")
    assert talk.line.read() == b""
    talk.say(":SEL:WAT;:SEL:VLT")
    assert talk.line.read() == b""  # one command a message: neither was obeyed
    assert talk.ask(":FRF?") == b""
    patient = Talk("pa1000", SOCKET, LineSettings(read_end=b"\r", answers_sets=True))
    patient.say(":SEL:CLR", ":SEL:WAT", ":DSE 2")
    patient.wait(2.2)  # auto range takes an update
    assert patient.ask(":DSR?") == b"2"
    assert float(patient.ask(":FRD?")) == pytest.approx(5.0)


def test_an_analyser_without_word_of_updates_holds_its_values_between_them() -> None:
    rohde = Talk("hmc8015")
    rohde.say("CHAN1:MEAS:FUNC P", "CHAN1:CURR:RANG 2", "CHAN1:VOLT:RANG 15")
    assert rohde.ask("CHAN1:MEAS:DATA?") == b"nan"
    rohde.wait(0.3)
    assert float(rohde.ask("CHAN1:MEAS:DATA?")) == pytest.approx(5.0)
    rohde.say("CHAN1:CURR:RANG 0.2")
    rohde.wait(0.3)
    assert rohde.ask("CHAN1:MEAS:DATA?") == b"9.90000000E+37"


@pytest.mark.parametrize(
    ("setup", "message"), [(N6705, ":FETC:ELOG? 1000,(@1)"), (K2281S, ':TRAC:DATA? "READ"')], ids=["n6705", "2281s"]
)
def test_what_another_program_takes_in_a_trial_is_gone(setup: Setup, message: str) -> None:
    """All that came since the driver's last message: nothing would be there if the instrument's time stood still."""

    def rows(events: At) -> int:
        return sum(map(len, Bench(Scene(scale=0.5), setup, events=events).record().blocks))

    theft = (0.3, lambda bench: bench.front_panel(message))
    assert rows(()) - rows([theft]) > 4
