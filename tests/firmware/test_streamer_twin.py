"""The streamer in Python, on which the driver's tests stand, gives the answers that the real firmware gives."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from drivers.ina219.messages import Counted, Event, Hello, Message, Pong, Samples
from drivers.simulated.ina219 import simulator, steady
from drivers.simulated.ina219.ports import PtyServer
from tests.firmware.conftest import Start, Talk

pytestmark = pytest.mark.realtime

CONVERSATION = [
    "HELLO", "PING 7f31", "START", "STAT", "CFG cfg=399F cal=1000 per=0", "CFG cfg=399F cal=1000 per=5000 rs=50000",
    "CFG cfg=1985 cal=1000 per=0 fmt=b", "CFG cfg=399B cal=1000 per=5000", "CFG cfg=B99F cal=1000 per=5000",
    "CFG cfg=399F cal=0001 per=5000", "CFG cfg=399F cal=1000 per=5000 fmt=z", "CFG cfg=399F", "CFG cfg=1 cal=2 per=x",
    "SING", "PING", "STOP", "START", "CFG cfg=399F cal=1000 per=5000", "START", "PING ab", "STAT", "HELLO", "STOP",
    "CFG cfg=19DF cal=7FFF per=0 fmt=b", "START", "PING 1", "STAT", "HELLO", "START", "STOP", "HELLO",
]  # fmt: skip
ANY = {
    "fw", "mcu", "baud", "tick", "min",  # what an implementation is, and its own limit
    "t", "n", "sent", "late",  # when, and how many by then
}  # fmt: skip


def shape(message: Message) -> str:
    """A message without what may differ between two devices."""
    match message:
        case Hello():
            keys = {key: "" if key in ANY else value for key, value in message.keys.items()}
            return f"H {message.version} {sorted(keys.items())}"
        case Event():
            keys = {key: "" if key in ANY else value for key, value in message.keys.items()}
            return f"E {message.kind} {sorted(keys.items())}"
        case Pong():
            return f"T {message.nonce}"
        case Counted():
            return f"Q {[(key, '' if key in ANY else value) for key, value in message.counts.items()]}"
        case _:
            return repr(message)


def converse(pty: str) -> list[str]:
    """What is said to each command, until its reply; and whether samples flow after it, as lines or as frames."""
    talk = Talk(pty)
    talk.hear(0.3)
    said = []
    for body in CONVERSATION:
        talk.say(body)
        replies: list[Message] = []
        flowing = set()
        end = time.monotonic() + 2.0
        while not replies and time.monotonic() < end:
            replies += [m for m in talk.hear(0.05) if not isinstance(m, Samples)]
        if body == "START":
            for message in talk.hear(0.3):
                if isinstance(message, Samples):
                    flowing.add("lines" if message.epoch is None else f"frames of epoch {message.epoch}")
                    assert (abs(message.shunt_raw - 5000) <= 50).all()
                    assert (abs((message.bus_raw >> 3) - 1250) <= 3).all()
                    assert (message.bus_raw & 6 == 2).all()
        said.append(f"{body} -> {[shape(message) for message in replies]} {sorted(flowing)}")
    assert not talk.decoder.counts
    talk.close()
    return said


@pytest.fixture
def python_pty() -> Iterator[str]:
    now_ns = time.monotonic_ns()
    server = PtyServer(simulator(steady(2.5, now_ns, 5.05), begin_ns=now_ns))
    yield server.path
    server.close()


def test_both_streamers_say_the_same(start: Start, python_pty: str) -> None:
    real = converse(start().pty)
    twin = converse(python_pty)
    assert [pair for pair in zip(twin, real, strict=True) if pair[0] != pair[1]] == []
    assert {how for line in real for how in ("lines", "frames") if how in line} == {"lines", "frames"}
