"""What befalls chip, board and line, on the real firmware: said, counted, and never a made-up sample."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.ina219.messages import Configured, Counted, Event, Hello, Message, Samples
from drivers.simulated.avr.host import AvrStreamer
from tests.firmware.conftest import Start, Talk, joined

pytestmark = pytest.mark.realtime

FORMS = pytest.mark.parametrize("form", ["a", "b"])
SHUNT_RAW = 5000  # of the steady trace: 0.5 A in 0.1 ohm


def begin(streamer: AvrStreamer, form: str, *, cfg: str = "39DF") -> Talk:
    talk = Talk(streamer.pty)
    talk.ask(f"CFG cfg={cfg} cal=1000 per=0 fmt={form}", Configured)
    talk.ask("START", Configured)
    return talk


def events(messages: list[Message], kind: str) -> list[Event]:
    return [m for m in messages if isinstance(m, Event) and m.kind == kind]


def counts(messages: list[Message]) -> dict[str, int]:
    return dict(next(m for m in reversed(messages) if isinstance(m, Counted)).counts)


@FORMS
def test_a_chip_that_does_not_answer_is_a_hole_in_time_not_a_zero(start: Start, form: str) -> None:
    streamer = start()
    talk = begin(streamer, form)
    heard = talk.hear(0.3)
    streamer.nack(0.25)
    heard += talk.hear(0.6) + talk.ask("STOP", Counted)
    seq, t_us, shunt, bus = joined(heard)
    assert set(shunt.tolist()) == {SHUNT_RAW}
    assert set((bus >> 3).tolist()) == {1250}
    np.testing.assert_array_equal(np.diff(seq), 1)  # nothing was taken, so nothing is missing
    assert 240_000 < np.diff(t_us).max() < 270_000
    said = events(heard, "i2c_nack")
    assert said[0].keys["n"] == "1"
    assert len(said) == 3  # at once, then every 100 ms
    assert counts(heard)["i2c"] > 50
    assert counts(heard)["bo"] == 0


@FORMS
def test_a_brown_out_is_said_and_begins_an_epoch(start: Start, form: str) -> None:
    streamer = start()
    talk = begin(streamer, form)
    heard = talk.hear(0.3)
    streamer.brown_out(0.0)
    heard += talk.hear(0.4) + talk.ask("STOP", Counted)
    (event,) = events(heard, "brownout")
    configured = [m.epoch for m in heard if isinstance(m, Configured)]
    assert configured == [2]
    at = heard.index(event)
    assert isinstance(heard[at + 1], Configured)
    _, t_before, _, _ = joined(heard[:at])
    assert int(event.keys["t"]) - t_before[-1] < 50_000
    _, _, shunt, bus = joined(heard)
    assert set(shunt.tolist()) == {SHUNT_RAW}
    assert set((bus >> 3).tolist()) == {1250}  # never what a chip without its pointer says: 0x399F, 7.4 V
    assert counts(heard) | {"sent": 0} == {"sent": 0, "ovr": 0, "i2c": 0, "late": 0, "bo": 1}
    status = streamer.status()
    assert (status["config"], status["calibration"]) == (0x39DF, 0x1000)


@pytest.mark.parametrize("offset_s", np.linspace(0.0, 4.8e-3, 4).tolist())
def test_no_moment_of_a_brown_out_makes_a_wrong_sample(start: Start, offset_s: float) -> None:
    """Whatever the firmware is doing on the bus when the supply fails."""
    moments = tuple(("brownout", 0.6 + 0.1 * k + offset_s + 7e-4 * k, 0.0) for k in range(7))
    talk = begin(start(events=moments), "b")
    heard = talk.hear(1.4) + talk.ask("STOP", Counted)
    assert counts(heard)["bo"] == len(events(heard, "brownout")) >= 6
    _, _, shunt, bus = joined(heard)
    assert set(shunt.tolist()) == {SHUNT_RAW}
    assert set((bus >> 3).tolist()) == {1250}


def test_a_supply_that_stays_away_is_both(start: Start) -> None:
    streamer = start()
    talk = begin(streamer, "a")
    talk.hear(0.2)
    streamer.brown_out(0.1)
    heard = talk.hear(0.5)
    assert events(heard, "i2c_nack")
    assert len(events(heard, "brownout")) == 1
    assert isinstance(heard[-1], Samples)


def test_a_reset_says_hello_and_samples_nothing(start: Start) -> None:
    streamer = start(boot_s=0.1)
    talk = begin(streamer, "b")
    talk.hear(0.3)
    streamer.reset()
    heard = talk.hear(0.6)
    at = next(i for i, message in enumerate(heard) if isinstance(message, Hello))
    assert not any(isinstance(message, Samples) for message in heard[at:])
    assert any(m.keys["cmd"] == "START" for m in talk.ask("START", Event) if isinstance(m, Event))
    found = talk.ask("CFG cfg=39DF cal=1000 per=0", Configured)[-1]
    assert isinstance(found, Configured)
    assert found.epoch == 1


@FORMS
def test_the_clock_wraps_while_it_samples(start: Start, form: str) -> None:
    streamer = start(build={"clock_start_us": 2**32 - 1_000_000})
    talk = begin(streamer, form)
    heard = talk.hear(1.2) + talk.ask("STOP", Counted)
    times = np.concatenate([m.t_us for m in heard if isinstance(m, Samples)])
    assert times.max() < 2**32
    assert int((np.diff(times.astype(np.int64)) < 0).sum()) == 1
    _, t_us, _, _ = joined(heard)
    assert np.diff(t_us).max() < 5_500  # and no stumble where it wraps
    assert counts(heard)["late"] == 0


def test_a_bus_that_is_held_low_does_not_hang_the_firmware(start: Start) -> None:
    streamer = start()
    talk = begin(streamer, "a")
    talk.hear(0.2)
    streamer.hold_bus(0.3)
    heard = talk.hear(0.2)
    assert talk.ask("PING 1", Message.__args__[4])  # type: ignore[attr-defined]
    heard += talk.hear(0.5)
    assert events(heard, "i2c_nack")
    assert not events(heard, "brownout")
    assert isinstance(heard[-1], Samples)


def test_a_shunt_beyond_its_range_stands_at_the_rail(start: Start) -> None:
    talk = begin(start(), "a", cfg="21DF")  # 40 mV; the trace drops 50 mV
    _, _, shunt, bus = joined(talk.hear(0.3))
    assert set(shunt.tolist()) == {4000}
    assert not (bus & 1).any()  # no flag says so


def test_a_board_that_resets_when_its_port_is_opened(start: Start) -> None:
    """As an Arduino's DTR does: the boot loader takes its time, then it says hello unasked."""
    talk = Talk(start(reset_on_open=1, boot_s=0.4).pty)
    talk.say("HELLO")  # nobody hears it
    assert not talk.hear(0.3)
    assert any(isinstance(message, Hello) for message in talk.hear(0.5, Hello))
