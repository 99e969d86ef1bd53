"""The real firmware in simavr, spoken to over its pseudo-terminal: every command, its reply, and what a sample is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from drivers.ina219.messages import Configured, Counted, Event, Hello, Pong, Samples
from drivers.simulated.avr.host import PlayedTrace
from tests.firmware.conftest import Start, Talk, joined

pytestmark = pytest.mark.realtime


def test_hello_at_boot_and_on_request(start: Start) -> None:
    talk = Talk(start(boot_s=0.0).pty)
    (hello,) = [m for m in talk.ask("HELLO", Hello) if isinstance(m, Hello)][-1:]
    assert (hello.version, hello.keys["mcu"], hello.keys["addr"], hello.keys["uid"], hello.keys["baud"]) == (
        "inas/1", "atmega328p", "40", "3f9a01", "115200",
    )  # fmt: skip
    assert not talk.decoder.counts


def test_what_is_configured_is_what_the_chip_holds(start: Start) -> None:
    streamer = start()
    talk = Talk(streamer.pty)
    found = talk.ask("CFG cfg=19E7 cal=7FFF per=0 rs=50000", Configured)[-1]
    assert found == Configured(1, 0x19E7, 0x7FFE, 50000, 0, "a")  # bit 0 of the calibration does not exist
    status = streamer.status()
    assert (status["config"], status["calibration"]) == (0x19E7, 0x7FFE)


@pytest.mark.parametrize(
    "body, kind, keys",
    [
        ("CFG cfg=399F cal=1000 per=0", "rate", {"per": "1064", "min": "3400"}),
        ("CFG cfg=199D cal=1000 per=0", "rate", {"per": "532", "min": "3400"}),
        ("CFG cfg=1985 cal=1000 per=0 fmt=b", "rate", {"per": "84", "min": "480"}),
        ("CFG cfg=399B cal=1000 per=4000", "cfg", {"why": "mode"}),
        ("CFG cfg=B99F cal=1000 per=4000", "cfg", {"why": "reset"}),
        ("CFG cfg=399F cal=0000 per=4000", "cfg", {"why": "cal"}),
        ("CFG cfg=399F cal=1000 per=4000 fmt=x", "cfg", {"why": "fmt"}),
        ("CFG cfg=399F", "refused", {"cmd": "CFG", "why": "field"}),
        ("START", "refused", {"cmd": "START", "why": "unconfigured"}),
        ("SING", "refused", {"cmd": "SING", "why": "unknown"}),
    ],
)  # fmt: skip
def test_refusals_say_why_and_change_nothing(start: Start, body: str, kind: str, keys: dict[str, str]) -> None:
    streamer = start()
    found = Talk(streamer.pty).ask(body, Event)[-1]
    assert isinstance(found, Event)
    assert found.kind == kind
    assert keys.items() <= found.keys.items()
    assert streamer.status()["writes"] == 0


def test_a_line_with_a_bad_checksum_does_nothing_but_say_so(start: Start) -> None:
    talk = Talk(start().pty)
    talk.hear(0.1)
    talk.port.write(b"\x00\xffgarbage>HELLO*0000\n")
    (event,) = talk.hear(0.3)
    assert event == Event("refused", {"cmd": "-", "why": "crc"})


@pytest.mark.parametrize("form", ["a", "b"])
def test_samples_are_the_chips_registers(start: Start, form: str) -> None:
    """-12.34 mV and 4.004 V across the chip: shunt -1234, bus (1001 << 3) with CNVR."""
    streamer = start(PlayedTrace.of_steps([(1.0, -0.1234, 4.004)]))
    talk = Talk(streamer.pty)
    talk.ask(f"CFG cfg={'199F' if form == 'b' else '19DF'} cal=1000 per=0 fmt={form}", Configured)
    begun = talk.ask("START", Configured)
    heard = begun + talk.hear(0.6) + talk.ask("STOP", Counted)
    seq, t_us, shunt, bus = joined(heard)
    np.testing.assert_array_equal(seq, np.arange(len(seq)))
    assert set(shunt.tolist()) == {-1234}
    assert set(bus.tolist()) == {1001 << 3 | 2}
    counted = heard[-1]
    assert isinstance(counted, Counted)
    assert counted.counts == {"sent": len(seq), "ovr": 0, "i2c": 0, "late": 0, "bo": 0}
    assert np.all(np.diff(t_us) > 0)
    assert not talk.decoder.counts
    assert talk.ask("HELLO", Hello)  # text again after STOP


def test_commands_are_answered_while_samples_flow(start: Start) -> None:
    for form in "ab":
        talk = Talk(start().pty)
        talk.ask(f"CFG cfg=19DF cal=1000 per=0 fmt={form}", Configured)
        talk.ask("START", Configured)
        talk.hear(0.2)
        assert any(m.nonce == "7f31" for m in talk.ask("PING 7f31", Pong) if isinstance(m, Pong))
        assert talk.ask("STAT", Counted)
        assert talk.ask("HELLO", Hello)
        assert any(m.kind == "refused" for m in talk.ask("START", Event) if isinstance(m, Event))
        assert any(isinstance(m, Samples) for m in talk.hear(0.2))


def test_the_ping_shows_how_far_the_crystal_is_off(start: Start) -> None:
    """5000 ppm, the tolerance of a ceramic resonator, seen within the jitter of a round trip over two seconds."""
    streamer = start(crystal_ppm=5000)
    talk = Talk(streamer.pty)
    talk.hear(0.2)
    pongs: list[tuple[int, int]] = []
    for _ in range(2):
        times = []
        for _ in range(15):
            before = streamer.status()["true_s"]
            (pong,) = talk.ask("PING 1", Pong)
            after = streamer.status()["true_s"]
            times.append((after - before, pong.t_us, (before + after) / 2))  # type: ignore[union-attr]
        pongs.append(min(times)[1:])  # type: ignore[arg-type]
        talk.hear(1.0)
    (device_a, true_a), (device_b, true_b) = pongs
    assert (device_b - device_a) * 1e-6 / (true_b - true_a) - 1 == pytest.approx(5e-3, abs=3e-3)


def test_a_grid_of_periods_is_kept(start: Start) -> None:
    talk = Talk(start().pty)
    talk.ask("CFG cfg=399F cal=1000 per=20000", Configured)
    _, t_us, _, _ = joined(talk.ask("START", Configured) + talk.hear(1.0) + talk.ask("STOP", Counted))
    assert len(t_us) >= 45
    assert np.diff(t_us).mean() == pytest.approx(20_000, rel=2e-3)
    assert np.abs(np.diff(t_us) - 20_000).max() < 2_500  # the conversion under way when a point is reached, and a poll


def test_windows_are_the_chips_not_the_reading_times(start: Start) -> None:
    """A slow average over a square wave: every sample is the mean over the 34 ms before its time, within a poll."""
    pieces = list(itertools.chain.from_iterable([(0.05, 0.2, 5.0), (0.05, 1.0, 5.0)] for _ in range(40)))
    trace = PlayedTrace.of_steps(pieces)
    talk = Talk(start(trace, conversion_error=0.06).pty)
    talk.ask("CFG cfg=19F5 cal=1000 per=0", Configured)
    _, t_us, shunt, _ = joined(talk.ask("START", Configured) + talk.hear(1.5) + talk.ask("STOP", Counted))
    window_s = 34.05e-3 * 1.06
    step_raw = 0.8 * 0.1 / 10e-6

    def worst_raw(begun_s: float) -> float:
        """With a clock that began so long after the reset: memory is cleared first."""
        means_a = [trace.charge_c(end - window_s, end) / window_s for end in t_us * 1e-6 + begun_s]
        return float(np.abs(shunt - np.array(means_a) * 0.1 / 10e-6).max())

    assert np.ptp(shunt) > step_raw / 2
    assert min(worst_raw(begun_s) for begun_s in np.arange(0.0, 1e-3, 5e-5)) < 0.2e-3 / window_s * step_raw
