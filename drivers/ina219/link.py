"""A streamer at the other end of a serial port: ask and be answered, with what a serial line does to both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from drivers.ina219.codec import InasDecoder
from drivers.ina219.messages import MAJOR, Configured, Counted, Event, Hello, Message, Pong, Samples, command
from drivers.ina219.options import FORMATS, MARK_CALIBRATION, InaOptions
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.serial_port import SerialPort

BOOT_S = 3.0  # an Arduino boot loader takes up to 2 s after the reset that opening the port may cause
QUIET_S = 0.15
REPLY_S = 0.6
TRIES = 3
LOOK_SAMPLES = 16

M = TypeVar("M", Hello, Configured, Counted, Pong)


class InasLink:
    """`port`, its decoder and the host's clock. Messages that nobody waited for go to `overheard`."""

    def __init__(
        self, port: SerialPort, clock: WaitClock, options: InaOptions, tap: Callable[[str, bytes], None] | None = None
    ) -> None:
        self.decoder = InasDecoder()
        self.overheard: list[Message] = []
        self._port, self._clock, self._options, self._tap = port, clock, options, tap
        self._nonce = 0
        self.asked: dict[str, int] = {}  # pings under way: nonce -> when sent

    # --- bytes ------------------------------------------------------------------------------------

    def read(self, timeout_s: float) -> tuple[list[Message], int]:
        """Messages that have arrived, and the host time of their arrival."""
        chunk = self._port.read(timeout_s)
        arrival_ns = self._clock.now_ns()
        if chunk and self._tap is not None:
            self._tap("in", chunk)
        return self.decoder.feed(chunk) if chunk else [], arrival_ns

    def say(self, body: str) -> None:
        data = command(body)
        if self._tap is not None:
            self._tap("out", data)
        self._port.write(data)

    def ping(self) -> None:
        """Ask for the device's time; the reply is a Pong like any message."""
        self._nonce = self._nonce % 0xFFFF + 1
        nonce = f"{self._nonce:x}"
        if len(self.asked) > 8:
            self.asked.clear()
        self.asked[nonce] = self._clock.now_ns()
        self.say(f"PING {nonce}")

    def close(self) -> None:
        self._port.close()

    # --- conversation while nothing is sampled ----------------------------------------------------

    def ask(self, body: str, kind: type[M], *, timeout_s: float = REPLY_S, tries: int = TRIES) -> M:
        """The reply of this kind to a command that may be said again. Refusals are errors of ours."""
        refusal: BenchError | None = None
        for _ in range(tries):
            self.say(body)
            end_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
            while (left_ns := end_ns - self._clock.now_ns()) > 0:
                messages, _ = self.read(left_ns / NS_PER_S)
                for at, message in enumerate(messages):
                    if isinstance(message, kind):
                        self.overheard += messages[at + 1 :]
                        return message
                    if isinstance(message, Event):
                        refusal = self._refusal(message, body) or refusal
                    else:
                        self.overheard.append(message)
                if refusal is not None and not isinstance(refusal, TransientError):
                    raise refusal
        raise refusal or TransientError(
            f"the streamer on {self._options.port} does not answer {body.split()[0]} ({tries} times {timeout_s:g} s)",
            hint="look at cable and plug, press the board's reset button, then run again",
        )

    def _refusal(self, event: Event, body: str) -> BenchError | None:
        """An event that came instead of a reply, as an error; None if it says nothing about the command."""
        port, why = self._options.port, event.keys.get("why", "?")
        if event.kind == "rate":
            return SpecError(
                f"the streamer on {port} cannot send a sample every {event.keys.get('per', '?')} us "
                f"at {self._options.baud} baud; the least is {event.keys.get('min', '?')} us",
                hint="raise averaging or period_us, or set format: binary",
            )
        if event.kind == "cfg":
            return DeviceError(
                f"the streamer on {port} refused the configuration {self._options.word():04X}: {why}",
                hint="update its firmware: docs/firmware.md",
            )
        if event.kind == "i2c_nack":
            return DeviceError(
                f"the INA219 does not answer the microcontroller on {port}",
                hint="check the four wires VCC, GND, SDA, SCL and the chip's address",
            )
        if event.kind == "refused" and event.keys.get("cmd") in ("-", body.split()[0]):
            if why in ("crc", "long", "unknown", "running"):
                return TransientError(f"the streamer on {port} did not understand {body!r}: {why}", hint="run again")
            return DeviceError(f"the streamer on {port} refused {body!r}: {why}", hint="run again; or reset the board")
        return None

    def settle(self) -> bool:
        """Stop it and read away what it still sends; True if it was sampling."""
        sampling = False
        self.say("STOP")
        end_ns = self._clock.now_ns() + round(BOOT_S * NS_PER_S)
        while self._clock.now_ns() < end_ns:
            before = sum(self.decoder.counts.values())
            messages, _ = self.read(QUIET_S)
            sampling |= any(isinstance(message, Samples) for message in messages)
            if not messages and sum(self.decoder.counts.values()) == before:
                break
            if sampling and any(isinstance(message, Configured) for message in messages):
                self.say("STOP")  # it goes on after more than a second: the first one was lost
        self.overheard.clear()
        return sampling

    def hello(self) -> Hello:
        """Who is there, waiting for a board that reboots. DeviceError if nobody, or another protocol."""
        heard = sum(self.decoder.take_counts().values())
        try:
            said = self.ask("HELLO", Hello, timeout_s=1.0, tries=round(BOOT_S) + 1)
        except TransientError:
            heard += sum(self.decoder.counts.values())
            found = f"{heard} lines came that are none of inas/1" if heard else "nothing came"
            raise DeviceError(
                f"no inas/1 streamer answers on {self._options.port} at {self._options.baud} baud: {found}",
                hint="check port and baud; flash the firmware (docs/firmware.md); "
                "for a sketch that prints text use driver: ina219-text",
            ) from None
        if said.major != MAJOR:
            raise DeviceError(
                f"the device on {self._options.port} speaks {said.version!r}, this driver inas/{MAJOR}",
                hint="flash the firmware of this release (docs/firmware.md), or update joulebench",
            )
        while self.read(QUIET_S)[0]:  # the hello of its boot, and our own said again
            pass
        return said

    def configure(self, *, both: bool = False) -> Configured:
        """Configure and compare what was read back with what was asked for."""
        found = self.ask(self.cfg_command(both=both), Configured)
        self.require(found, both=both)
        return found

    def cfg_command(self, *, both: bool = False) -> str:
        options = self._options
        period_us = 0 if both and options.shunt_only else options.period_us
        return (
            f"CFG cfg={options.word(both=both):04X} cal={MARK_CALIBRATION:04X} per={period_us} "
            f"rs={round(options.shunt_ohm * 1e6)} fmt={FORMATS[options.format]}"
        )

    def require(self, found: Configured, *, both: bool = False) -> None:
        """DeviceError unless the chip holds what was asked for (bit 0 of the calibration does not exist)."""
        wanted, options = self._options.word(both=both), self._options
        if (found.cfg, found.cal & 0xFFFE, found.fmt) != (wanted, MARK_CALIBRATION, FORMATS[options.format]):
            raise DeviceError(
                f"the chip behind {options.port} holds cfg={found.cfg:04X} cal={found.cal:04X} fmt={found.fmt}, "
                f"asked for cfg={wanted:04X} cal={MARK_CALIBRATION:04X} fmt={FORMATS[options.format]}",
                hint="is it an INA219, and the only one at its address? check the wires, then run again",
            )

    def start(self, *, both: bool = False) -> Configured:
        found = self.ask("START", Configured, timeout_s=1.5)  # a lost reply is repeated within a second
        self.require(found, both=both)
        return found

    def stop(self) -> Counted:
        return self.ask("STOP", Counted)

    def look(self) -> Samples:
        """Some samples of shunt and bus, whatever the mode: configure, sample for a moment, stop."""
        self.configure(both=True)
        self.overheard.clear()
        self.start(both=True)
        end_ns = self._clock.now_ns() + 3 * NS_PER_S
        found = [m for m in self.overheard if isinstance(m, Samples)]
        while sum(len(m.t_us) for m in found) < LOOK_SAMPLES and self._clock.now_ns() < end_ns:
            found += [m for m in self.read(0.05)[0] if isinstance(m, Samples)]
        self.stop()
        self.overheard.clear()
        if not found:
            raise TransientError(
                f"the streamer on {self._options.port} sent no sample within 3 s",
                hint="press its reset button, run again",
            )
        t_us, shunt, bus = (
            np.concatenate([getattr(m, name) for m in found]) for name in ("t_us", "shunt_raw", "bus_raw")
        )
        return Samples(found[0].seq, t_us, shunt, bus)
