"""The highest honest rate: every conversion of the chip becomes one sample, none is dropped, none is read twice.

The table of docs/firmware.md is what `test_the_highest_rates` prints (pytest -s).
"""

from __future__ import annotations

import numpy as np
import pytest

from drivers.ina219.messages import Configured, Counted, Event
from tests.firmware.conftest import Start, Talk, joined

pytestmark = pytest.mark.realtime

SECONDS = 1.5
# baud, format, the fastest configuration that is accepted, its conversions in us; the next faster one is refused
FASTEST = [
    (115200, "a", "19DD", 4260, "19D5"),
    (115200, "b", "199D", 532, "1995"),
    (250000, "a", "19D5", 2130, "19CD"),
    (500000, "a", "19CD", 1060, "199D"),
    (250000, "b", "199D", 532, "1995"),
    (500000, "b", "19CD", 1060, "199D"),
    (1000000, "a", "19CD", 1060, "199D"),
    (1000000, "b", "19CD", 1060, "199D"),
]


def measured(start: Start, baud: int, form: str, cfg: str, *, slow: float, **build: int) -> dict[str, float]:
    """Sample for a while; how many conversions the chip made meanwhile, and what became of them."""
    talk = Talk(start(build={"baud": baud} | build, conversion_error=slow).pty, baud)
    talk.ask(f"CFG cfg={cfg} cal=1000 per=0 fmt={form}", Configured)
    talk.decoder.take_counts()  # of a hello that was under way when the port was opened
    heard = talk.ask("START", Configured) + talk.hear(SECONDS) + talk.ask("STOP", Counted)
    seq, t_us, _, _ = joined(heard)
    counted = heard[-1]
    assert isinstance(counted, Counted)
    span_us = float(t_us[-1] - t_us[0])
    return counted.counts | {
        "holes": float((np.diff(seq) != 1).sum()),
        "period_us": span_us / (len(t_us) - 1),
        "samples": float(len(t_us)),
        "bad": float(sum(talk.decoder.counts.values())),
    }


@pytest.mark.parametrize("baud, form, cfg, conversion_us, refused", FASTEST)
@pytest.mark.parametrize("slow", [0.0, 0.1])
def test_the_highest_rates(
    start: Start, baud: int, form: str, cfg: str, conversion_us: int, refused: str, slow: float
) -> None:
    found = measured(start, baud, form, cfg, slow=slow)
    print(f"{baud} {form} chip {slow:+.0%}: {1e6 / found['period_us']:.0f} samples/s, {found}")
    assert (found["ovr"], found["late"], found["holes"], found["bad"]) == (0, 0, 0, 0)
    assert found["sent"] == found["samples"]
    # a lost conversion, or one read twice, would show: one of thousands moves the mean by more than its tolerance
    assert found["period_us"] == pytest.approx(conversion_us * (1 + slow), abs=300 / found["samples"])


def test_a_chip_that_is_faster_than_its_datasheet_loses_less_than_one_in_a_thousand(start: Start) -> None:
    """The datasheet says how slow it may be, not how fast."""
    found = measured(start, 115200, "b", "199D", slow=-0.03)
    assert (found["ovr"], found["holes"]) == (0, 0)
    assert found["period_us"] == pytest.approx(532 * 0.97, rel=1e-3)


@pytest.mark.parametrize("baud, form, cfg, conversion_us, refused", FASTEST)
def test_the_next_faster_configuration_is_refused(
    start: Start, baud: int, form: str, cfg: str, conversion_us: int, refused: str
) -> None:
    talk = Talk(start(build={"baud": baud}).pty, baud)
    (event,) = [m for m in talk.ask(f"CFG cfg={refused} cal=1000 per=0 fmt={form}", Event) if isinstance(m, Event)]
    assert event.kind == "rate"
    assert conversion_us >= int(event.keys["min"]) > int(event.keys["per"])


def test_a_firmware_without_the_limit_would_lose_conversions_and_count_them(start: Start) -> None:
    """What the limit is for: 9 bit conversions of 84 us cannot be read, whatever the line."""
    found = measured(start, 1000000, "b", "1985", slow=0.0, least_read_us=50)
    assert found["late"] > 0.9 * found["samples"]
    assert found["period_us"] > 400
