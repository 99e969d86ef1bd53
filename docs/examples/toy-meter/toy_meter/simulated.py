"""A Toy W1 on its serial line, what can go wrong with it, and what the conformance suite is run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene
from harness.testing.wires import serial_opener
from toy_meter.codec import PERIOD_NS
from toy_meter.meter import open_meter

FULL_W, NOISE_W = 20.0, 0.002
EnergyJ = Callable[[np.ndarray], np.ndarray]  # joules drawn until seconds (K,) since `begin_ns`
Spoil = Callable[[bytes, float], bytes]  # (line with its newline, second of the scene) -> what goes onto the wire


class ToyDevice:
    """The other end of the line. `gain`: of a unit that reads wrongly; `spoil`: damage on the way."""

    def __init__(
        self, energy_j: EnergyJ, begin_ns: int, *, gain: float = 1.0, spoil: Spoil = lambda line, t_s: line,
        restarts_s: float = np.inf, silent_s: float = np.inf,
    ) -> None:  # fmt: skip
        self._energy_j, self._begin_ns, self._gain, self._spoil = energy_j, begin_ns, gain, spoil
        self._restarts_s, self._silent_s = restarts_s, silent_s
        self._start_ns: int | None = None
        self._sent = 0
        self._out = b""
        self._rng = np.random.default_rng(4711)

    def receive(self, data: bytes, now_ns: int) -> None:
        for command in data.decode("ascii", "replace"):
            if command == "?":
                self._out += b"# TOY W1 fw 1.0 sn 4711\r\n"
            elif command == "s":
                self._start_ns, self._sent = now_ns, 0
            elif command == "x":
                self._start_ns = None

    def advance(self, now_ns: int) -> None:
        if self._start_ns is None:
            return
        due = (now_ns - self._start_ns) // PERIOD_NS
        since_s = (self._start_ns - self._begin_ns) * 1e-9
        edge_s = since_s + np.arange(self._sent, due + 1) * (PERIOD_NS * 1e-9)
        power_w = np.diff(self._energy_j(edge_s)) / (PERIOD_NS * 1e-9) * self._gain
        power_w += NOISE_W * self._rng.standard_normal(len(power_w))
        for number, (t_s, watt) in enumerate(zip(edge_s[1:], power_w, strict=True), self._sent):
            if t_s < self._silent_s:
                self._out += self._spoil(line_of(number, float(watt)), float(t_s))
        self._sent = max(self._sent, due)
        if (now_ns - self._begin_ns) * 1e-9 > self._restarts_s:
            self._restarts_s, self._start_ns = np.inf, None
            self._out += b"# TOY W1 fw 1.0 sn 4711\r\n"

    def transmit(self, now_ns: int) -> bytes:
        out, self._out = self._out, b""
        return out


def line_of(number: int, power_w: float) -> bytes:
    """As the data sheet, section 2, says; a capture in tests/data pins it."""
    power = b"------" if power_w > FULL_W else b"%06d" % round(power_w * 1e3)
    told = b"%05d %s " % (number % 65_536, power)
    return b"%s%02x\r\n" % (told, sum(told) % 256)


def simulator(name: str, seed: int, energy_j: EnergyJ, begin_ns: int) -> ToyDevice:
    """The entry point `joulebench.simulators`."""
    return ToyDevice(energy_j, begin_ns)


@contextmanager
def subject() -> Iterator[Subject]:
    """The entry point `joulebench.subjects`: a unit that sees 3 W."""
    clock = VirtualClock()
    device = ToyDevice(lambda t_s: 3.0 * t_s, clock.now_ns())
    request = MeterRequest("toy", serial_port=serial_opener(device, clock), simulated=True)
    yield Subject(lambda: open_meter(request, clock=clock), clock)


def record(scene: Scene, *, gone_s: float | None = None, **device: object) -> Recorded:
    """The whole scene through the driver; unplugged at `gone_s`."""
    clock = VirtualClock(BEGIN_NS)
    unit = ToyDevice(scene.energy_j, BEGIN_NS, **device)  # type: ignore[arg-type]
    gone_ns = None if gone_s is None else BEGIN_NS + round(gone_s * 1e9)
    meter = open_meter(MeterRequest("toy", serial_port=serial_opener(unit, clock, gone_at_ns=gone_ns)), clock=clock)
    blocks: list[Block | None] = []
    try:
        info = meter.open()
        meter.start()
        while (left_ns := BEGIN_NS + round(scene.duration_s * 1e9) - clock.now_ns()) > 0:
            blocks.append(meter.step(clock.now_ns() + min(left_ns, 100_000_000)))
        blocks.append(meter.stop())
    finally:
        meter.close()
    return Recorded(info, [b for b in blocks if b is not None], "main")


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, *, constant_scale: bool = False, **how: object) -> FaultTrial:
        return FaultTrial("toy", fault, what, lambda scene: record(scene, **how), constant_scale=constant_scale)  # type: ignore[arg-type]

    rng = np.random.default_rng(1)

    def flip(line: bytes, t_s: float) -> bytes:
        if rng.random() > 0.02:
            return line
        at = int(rng.integers(len(line)))
        return line[:at] + bytes([line[at] ^ 1 << int(rng.integers(8))]) + line[at + 1 :]

    return (
        trial("none", "nothing goes wrong"),
        trial("bit_flip", "one line in 50 has one bit flipped", spoil=flip),
        trial(
            "lost_bytes", "one line in 20 loses its tail", spoil=lambda b, t: b[:9] if round(t * 100) % 20 == 0 else b
        ),
        trial("lost_lines", "a second of the work is lost", spoil=lambda b, t: b"" if 8 < t < 9 else b),
        trial("repeated_lines", "every line comes twice", spoil=lambda b, t: b + b),
        trial("over_range", "half of the work is beyond 20 W", spoil=over_range),
        trial("unplug", "the cable comes out during the work", gone_s=9.0),
        trial("restart", "the meter's supply fails for a moment", restarts_s=9.0),
        trial("silent", "the meter sends no more", silent_s=9.0),
        trial("wrong_shunt", "another shunt than the meter believes: 7 % too much", gain=1.07, constant_scale=True),
    )


def over_range(line: bytes, t_s: float) -> bytes:
    return line_of(int(line[:5]), 21.0) if 6 < t_s < 12 else line
