"""The other end of inas/1: a microcontroller with its own clock that polls the chip, and what can befall it.

It follows docs/meters/inas-1.md; the encoders it shares with the driver are pinned by the vectors of that page. It has
no thread: whoever holds it calls `advance` with the host's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drivers.chips.ina219 import Config
from drivers.ina219.checksum import crc16
from drivers.ina219.messages import Samples, line, line_frame, samples_frame
from drivers.simulated.ina219.chip import Ina219Chip
from drivers.simulated.ina219.line import SerialLine
from drivers.simulated.ina219.requested import Requested

POLL_NS = 250_000  # from one look at CNVR to the next, at 400 kHz I2C
CHECK_NS = 50_000_000
ECHO_NS = 1_000_000_000
NACK_EVERY_NS = 100_000_000
BOOT_NS = 1_700_000_000
BOOT_TEXT = b"\xf0\x00\xffoptiboot?\r\nets Jun  8 2016 00:22:57\r\n"
FRAME_NS = 100_000_000


@dataclass(frozen=True)
class McuUnit:
    """One specimen: clock rate (relative), a warm-up that adds `warm_rel` with time constant `warm_s`, where its clock
    begins, and what it says it is."""

    clock_rel: float = 0.0
    warm_rel: float = 0.0
    warm_s: float = 30.0
    first_us: int = 0
    uid: str = "3f9a01"
    version: str = "inas/1"


@dataclass(frozen=True)
class Mishap:
    """Something that befalls the device at a host time. `kind`: reset, brownout, nack, hang, duplicate, wrong_config,
    lost_hello_reset."""

    at_ns: int
    kind: str
    duration_ns: int = 0


@dataclass
class _Counts:
    sent: int = 0
    ovr: int = 0
    i2c: int = 0
    late: int = 0
    bo: int = 0


@dataclass
class _Frame:
    t_us: list[int] = field(default_factory=list)
    shunt: list[int] = field(default_factory=list)
    bus: list[int] = field(default_factory=list)
    seq: int = 0
    begun_ns: int = 0


class Streamer:
    """The firmware, in Python. `receive` and `advance` want host times that never run back."""

    def __init__(
        self, chip: Ina219Chip, out: SerialLine, *, begin_ns: int, unit: McuUnit | None = None,
        mishaps: Sequence[Mishap] = (), seed: int = 0,
    ) -> None:  # fmt: skip
        self.chip, self.line, self.unit = chip, out, unit or McuUnit()
        self.running = False
        self._mishaps = sorted(mishaps, key=lambda m: m.at_ns)
        self._rng = np.random.default_rng([seed, 328])
        self._heard = bytearray()
        self._boot_ns, self._first_us = begin_ns, self.unit.first_us
        self._deaf_until_ns = begin_ns
        self._hello_due = True
        self._epoch = self._seq = 0
        self._config: Requested | None = None
        self._counts = _Counts()
        self._frame = _Frame()
        self._nack_until_ns = self._hang_until_ns = 0
        self._nack_said_ns = self._check_ns = self._echo_ns = self._due_us = 0
        self._duplicate = False
        self._last_us: int | None = None

    # --- time -------------------------------------------------------------------------------------

    def micros(self, host_ns: float) -> int:
        """The microcontroller's clock, not wrapped."""
        s = (host_ns - self._boot_ns) * 1e-9
        unit = self.unit
        warm = unit.warm_rel * unit.warm_s * -math.expm1(-s / unit.warm_s)
        return self._first_us + math.floor((s * (1 + unit.clock_rel) + warm) * 1e6)

    def advance(self, now_ns: int) -> None:
        """Live until `now_ns`."""
        while self._mishaps and self._mishaps[0].at_ns <= now_ns:
            mishap = self._mishaps.pop(0)
            self._live(mishap.at_ns)
            self._befall(mishap)
        self._live(now_ns)

    def _live(self, until_ns: int) -> None:
        if self._hello_due and until_ns >= self._deaf_until_ns:
            self._hello_due = False
            self._send(b"\r\n", self._deaf_until_ns)
            self._say(self._hello(), self._deaf_until_ns)
        if self.running:
            self._sample(until_ns)

    def reset(self, now_ns: int, *, boot_ns: int = BOOT_NS, mute: bool = False) -> None:
        """The reset button, or DTR: the boot loader talks, then the firmware begins anew with its clock at 0."""
        self.line.cut(now_ns)
        self._send(BOOT_TEXT, now_ns)
        self.running, self._config, self._epoch = False, None, 0
        self._heard.clear()
        self._boot_ns, self._first_us, self._deaf_until_ns = now_ns + boot_ns, 0, now_ns + boot_ns
        self._hello_due = not mute
        self._last_us = None

    def _befall(self, mishap: Mishap) -> None:
        at_ns, until_ns = mishap.at_ns, mishap.at_ns + mishap.duration_ns
        match mishap.kind:
            case "reset" | "lost_hello_reset":
                self.reset(at_ns, boot_ns=mishap.duration_ns or 20_000_000, mute=mishap.kind != "reset")
            case "brownout":
                self.chip.lose_supply(at_ns)
            case "nack":
                self._nack_until_ns = until_ns
            case "hang":
                self._hang_until_ns = until_ns
            case "duplicate":
                self._duplicate = True
            case "wrong_config":
                self.chip.config ^= 0x1000
                if self._config is not None:
                    self._config.cfg ^= 0x1000
                self._new_epoch(at_ns)
            case _:
                raise ValueError(f"unknown mishap {mishap.kind!r}")

    # --- sampling ---------------------------------------------------------------------------------

    def _sample(self, until_ns: int) -> None:
        """Walk through the chip's cycles in short strides, since a check in between may change them."""
        at_ns = max(self._check_ns - CHECK_NS, until_ns - 2_000_000_000)
        while at_ns < until_ns and self.running:
            at_ns = min(max(at_ns + 1, self._check_ns), until_ns)
            found = self.chip.convert(at_ns)
            polls = self._rng.integers(0, POLL_NS, len(found.ready_ns))
            for ready_ns, shunt, bus, poll in zip(
                found.ready_ns.tolist(), found.shunt_raw.tolist(), found.bus_raw.tolist(), polls.tolist(), strict=True
            ):
                self._take(ready_ns + poll, shunt, bus)
            if at_ns >= self._check_ns:
                self._check(at_ns)
                self._check_ns = at_ns + CHECK_NS

    def _take(self, at_ns: int, shunt: int, bus: int) -> None:
        config = self._config
        if config is None or at_ns < self._hang_until_ns:
            return
        if at_ns < self._nack_until_ns:
            self._nack(at_ns)
            return
        t_us = self.micros(at_ns)
        if config.per_us:
            if t_us < self._due_us:
                return
            missed = (t_us - self._due_us) // config.per_us
            self._counts.late += missed
            self._due_us += (missed + 1) * config.per_us
        elif self._last_us is not None and t_us - self._last_us > 1.5 * Config.of(config.cfg).cycle_us * 1.1:
            self._counts.late += 1
        self._last_us = t_us
        seq, self._seq = self._seq, (self._seq + 1) & 0xFFFF
        if config.fmt == "b":
            self._collect(seq, t_us, shunt, bus, at_ns)
        elif self.line.room(39, at_ns):
            body = f"S,{seq},{t_us & 0xFFFFFFFF},{shunt},{bus}"
            for _ in range(2 if self._duplicate else 1):
                self._say(body, at_ns)
            self._duplicate = False
            self._counts.sent += 1
        else:
            self._counts.ovr += 1
        if at_ns - self._echo_ns >= ECHO_NS:
            self._echo(at_ns)

    def _collect(self, seq: int, t_us: int, shunt: int, bus: int, at_ns: int) -> None:
        frame = self._frame
        if len(frame.t_us) >= 2:
            usual, this = frame.t_us[-1] - frame.t_us[-2], t_us - frame.t_us[-1]
            if abs(this - usual) > usual / 4 + POLL_NS // 500 or this > 0xFFFF:
                self._flush(at_ns)
        if not frame.t_us:
            frame.seq, frame.begun_ns = seq, at_ns
        frame.t_us.append(t_us)
        frame.shunt.append(shunt)
        frame.bus.append(bus)
        if len(frame.t_us) == 16 or at_ns - frame.begun_ns >= FRAME_NS:
            self._flush(at_ns)

    def _flush(self, at_ns: int) -> None:
        frame = self._frame
        count = len(frame.t_us)
        if not count:
            return
        if self.line.room(79, at_ns):
            dt_us = round((frame.t_us[-1] - frame.t_us[0]) / (count - 1)) if count > 1 else 0
            columns = [np.array(c, np.int64) for c in (frame.t_us, frame.shunt, frame.bus)]
            columns[0] &= 0xFFFFFFFF
            taken = Samples(frame.seq, columns[0], columns[1], columns[2], self._epoch)
            self._send(samples_frame(taken, dt_us=dt_us), at_ns)
            self._counts.sent += count
        else:
            self._counts.ovr += count
        frame.t_us.clear()
        frame.shunt.clear()
        frame.bus.clear()

    def _nack(self, at_ns: int) -> None:
        self._counts.i2c += 1
        self._check_ns = self._nack_until_ns
        if at_ns - self._nack_said_ns >= NACK_EVERY_NS:
            self._nack_said_ns = at_ns
            self._flush(at_ns)
            self._say(f"E,i2c_nack,n={self._counts.i2c},t={self.micros(at_ns) & 0xFFFFFFFF}", at_ns)

    def _check(self, at_ns: int) -> None:
        """Calibration register against what it should be: 0 after a brown-out."""
        config = self._config
        if config is None or at_ns < self._hang_until_ns or self.chip.calibration == config.cal & 0xFFFE:
            return
        self._flush(at_ns)
        self._counts.bo += 1
        self._say(f"E,brownout,n={self._counts.bo},t={self.micros(at_ns) & 0xFFFFFFFF}", at_ns)
        self.chip.write(config.cfg, config.cal, at_ns)
        self._last_us = None
        self._new_epoch(at_ns)

    def _new_epoch(self, at_ns: int) -> None:
        self._flush(at_ns)
        self._epoch = self._epoch % 255 + 1
        self._echo(at_ns)

    # --- talking ----------------------------------------------------------------------------------

    def transmit(self, now_ns: int) -> bytes:
        """Bytes that have arrived at the host by `now_ns`."""
        return self.line.receive(now_ns)

    def receive(self, data: bytes, now_ns: int) -> None:
        """Bytes from the host. A board that boots does not hear them."""
        self.advance(now_ns)
        if now_ns < max(self._deaf_until_ns, self._hang_until_ns):
            return
        for byte in data:
            if byte == 0x3E:
                self._heard.clear()
            self._heard.append(byte)
            if byte == 0x0A:
                text, self._heard = bytes(self._heard), bytearray()
                self._obey(text.strip(), now_ns + round(len(text) * self.line.byte_ns))

    def _obey(self, text: bytes, at_ns: int) -> None:
        if not text.startswith(b">"):
            return
        body, star, digits = text[1:].rpartition(b"*")
        if not star or digits != b"%04X" % crc16(body):
            self._say("E,refused,cmd=-,why=crc", at_ns)
            return
        name, *arguments = body.decode("ascii", "replace").split(" ")
        match name:
            case "HELLO":
                self._say(self._hello(), at_ns)
            case "PING" if len(arguments) == 1:
                self._say(f"T,{arguments[0]},{self.micros(at_ns) & 0xFFFFFFFF}", at_ns)
            case "PING":
                self._say("E,refused,cmd=PING,why=field", at_ns)
            case "STAT":
                self._say(self._statistics(), at_ns)
            case "STOP":
                self._stop(at_ns)
            case "CFG":
                self._configure(dict(a.partition("=")[::2] for a in arguments), at_ns)
            case "START":
                self._start(at_ns)
            case _:
                self._say(f"E,refused,cmd={name[:12] or '-'},why=unknown", at_ns)

    def _configure(self, keys: dict[str, str], at_ns: int) -> None:
        if self.running:
            self._say("E,refused,cmd=CFG,why=running", at_ns)
            return
        wanted, refusal = Requested.parse(keys)
        if wanted is None:
            self._say(refusal, at_ns)
            return
        period = max(wanted.per_us, math.floor(Config.of(wanted.cfg).cycle_us))
        least = self.least_period_us(wanted.fmt)
        if period < least:
            self._say(f"E,rate,per={period},min={least}", at_ns)
            return
        if at_ns < self._nack_until_ns:
            self._say(f"E,i2c_nack,n=1,t={self.micros(at_ns) & 0xFFFFFFFF}", at_ns)
            return
        self.chip.write(wanted.cfg, wanted.cal, at_ns)
        self._config = wanted
        self._new_epoch(at_ns)

    def least_period_us(self, fmt: str) -> int:
        """What the line can carry, rounded up."""
        if fmt == "a":
            return math.ceil(39 * self.line.byte_ns / 1e5) * 100
        return max(math.ceil(79 / 16 * self.line.byte_ns / 1e4) * 10, 400)

    def _start(self, at_ns: int) -> None:
        if self.running or self._config is None:
            self._say(f"E,refused,cmd=START,why={'running' if self.running else 'unconfigured'}", at_ns)
            return
        self.chip.write(self._config.cfg, self._config.cal, at_ns)
        self._counts, self._seq, self._last_us = _Counts(), 0, None
        self._echo(at_ns)
        if self._config.fmt == "b":
            self._send(b"\0", at_ns)
        self._frame = _Frame()
        self._due_us = self.micros(at_ns)
        self._check_ns = at_ns + CHECK_NS
        self.running = True

    def _stop(self, at_ns: int) -> None:
        if self.running and self._config is not None and self._config.fmt == "b":
            self._flush(at_ns)
            self._send(b"\0", at_ns)
        self.running = False
        self._say(self._statistics(), at_ns)

    def _echo(self, at_ns: int) -> None:
        config = self._config
        if config is None:
            return
        self._echo_ns = at_ns
        self._say(
            f"C,{self._epoch},cfg={self.chip.config:04X},cal={self.chip.calibration:04X},rs_uohm={config.rs_uohm},"
            f"per_us={config.per_us},fmt={config.fmt}",
            at_ns,
        )

    def _hello(self) -> str:
        baud = round(10e9 / self.line.byte_ns)
        return (
            f"H,{self.unit.version},fw=sim,mcu=simulated,chip=ina219,addr=40,uid={self.unit.uid},tick=us32,baud={baud}"
        )

    def _statistics(self) -> str:
        return "Q," + ",".join(f"{key}={value}" for key, value in vars(self._counts).items())

    def _say(self, body: str, at_ns: int) -> None:
        binary = self.running and self._config is not None and self._config.fmt == "b"
        self._send(line_frame(body) if binary else line(body), at_ns)

    def _send(self, data: bytes, at_ns: int) -> None:
        self.line.send(data, at_ns)
