"""An LVPM with the old serial firmware as a state machine behind a serial line: status, settings, data packets.

Written from the published protocol, not from the driver. It lives in host time and never waits. What publications leave
open is a field of `SerialQuirks`, so that a driver can be shown every reading of them.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.simulated.monsoon.converter import SLOTS_PER_S, Converter
from drivers.simulated.monsoon.lvpm_unit import LvpmUnit
from drivers.simulated.monsoon.sources import SampleSource
from harness.core.clock import FloatArray

STATUS_FORMAT = ">BBBhhhHhhhHBBBxBbHBHHHHBbbHHBBBbbbbbbbbbBH"
FIXED_LEVEL_A = (0.0332, 2.88)
FINE_LIMIT = 30_000  # above, the unit hands on its coarse range
OBS_WORDS = np.dtype([("main_coarse", ">i2"), ("main_fine", ">i2"), ("rest", "V8"), ("voltage", ">u2"), ("tail", "V4")])


@dataclass(frozen=True)
class SerialLvpmUnit(LvpmUnit):
    """`fixed_level`: the current at the reference is that of published hosts, whatever the resistors."""

    fixed_level: bool = False

    def level_a(self, channel: str, code: int) -> float:
        return FIXED_LEVEL_A[code] if self.fixed_level else super().level_a(channel, code)


@dataclass(frozen=True)
class SerialQuirks:
    """What is not published. `records`: of a packet; `trailing`: 8 bytes that are no record behind them;
    `calibration_slots`: sample periods that a calibration packet takes; `volt_lsb_v`; `hardware_revision`."""

    records: int = 7
    trailing: bool = True
    calibration_slots: int = 7
    volt_lsb_v: float = 125e-6
    hardware_revision: int = 2


@dataclass
class SerialFaults:
    """What goes wrong. Slots count from the start of sampling; `lost_packet_share` is of packets, `flipped_byte` and
    `lost_byte` of bytes. `hole`: first packet that is lost, and how many; `spoil`: what arrives instead of a packet."""

    lost_packet_share: float = 0.0
    flipped_byte: float = 0.0
    lost_byte: float = 0.0
    silent_at_slot: int | None = None
    hole: tuple[int, int] | None = None
    deaf: bool = False  # answers nothing
    no_reference: bool = False
    spoil: Callable[[bytes, int], list[bytes]] | None = None
    echo: bytes = b""  # sent when plugged in: boot text, another device's chatter
    resistor_words: dict[int, int] = field(default_factory=dict)  # range code -> what the status says instead


class SerialLvpm:
    """A `Device` of drivers.simulated.ina219.ports: bytes come and go on the host's clock. `queue_bytes`: what port
    and host keep for a reader who does not come; packets that do not fit are lost, and their sequence passes."""

    def __init__(
        self, source: SampleSource, *, unit: SerialLvpmUnit | None = None, quirks: SerialQuirks | None = None,
        faults: SerialFaults | None = None, seed: int = 0, queue_bytes: int = 65_536, cal_ms: int = 1000,
    ) -> None:  # fmt: skip
        self.unit, self.quirks = unit or SerialLvpmUnit(), quirks or SerialQuirks()
        self.faults = faults or SerialFaults()
        self.output_v = self.unit.output_v
        self.tripped = self.sampling = False
        self.lost_packets = self.packets = 0
        self._source, self._queue_bytes, self._cal_ms = source, queue_bytes, cal_ms
        self._limit_raw = self.unit.run_limit_raw
        self._usb_passthrough = 2
        self._converter = Converter(self.unit, seed=seed)
        self._rng = np.random.default_rng([seed, 0xACE])
        self._out: deque[bytes] = deque([self.faults.echo] if self.faults.echo else [])
        self._out_bytes = len(self.faults.echo)
        self._in = b""
        self._current, self._voltage = np.empty(0), np.empty(0)  # slots not yet in a packet
        self._slot = self._made = self._sequence = 0
        self._next_cal = 0
        self._owed: list[int] = []  # calibration packets due: 1 zero, 2 reference

    # --- the line ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        self.advance(now_ns)
        self._in += data
        while self._in and len(self._in) > self._in[0]:
            length = self._in[0]
            payload, check = self._in[1:length], self._in[length]
            self._in = self._in[length + 1 :]
            if length >= 2 and (length + sum(payload)) & 0xFF == check and not self.faults.deaf:
                self._command(payload)

    def transmit(self, now_ns: int) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        faults = self.faults
        if faults.flipped_byte or faults.lost_byte:
            raw = np.frombuffer(data, np.uint8).copy()
            luck = self._rng.random(len(raw))
            flip = luck < faults.flipped_byte
            raw[flip] ^= np.left_shift(1, self._rng.integers(0, 8, int(flip.sum()))).astype(np.uint8)
            data = raw[luck < 1 - faults.lost_byte].tobytes()
        return data

    # --- commands ---------------------------------------------------------------------------------

    def _command(self, payload: bytes) -> None:
        if payload[:1] == b"\x02" and len(payload) == 7:
            self.sampling = True
            self._slot = self._next_cal = 0
            self._current, self._voltage = np.empty(0), np.empty(0)
        elif payload == b"\x03\x00":
            self.sampling = False
            self._owed.clear()
        elif payload == b"\x01\x00\x00":
            self._send(self._status())
        elif payload[:1] == b"\x01" and len(payload) == 3:
            self._set(payload[1], payload[2])

    def _set(self, register: int, value: int) -> None:
        if register == 0x01:
            self.output_v, self.tripped = (2.0 + value / 100 if value else 0.0), False
        elif register == 0x0A:
            self._limit_raw = self._limit_raw & 0x300 | value
        elif register == 0x0B:
            self._limit_raw = self._limit_raw & 0xFF | (value & 3) << 8
        elif register == 0x10:
            self._usb_passthrough = value

    def _status(self) -> bytes:
        unit = self.unit
        fine, coarse = (self.faults.resistor_words.get(c, unit.resistor_offset["main"][c]) for c in (0, 1))
        setting = 0 if self.output_v == 0 else round((self.output_v - 2.0) * 100)
        volts = round(self.output_v / 125e-6)
        return struct.pack(
            STATUS_FORMAT, 0x10, 20, 17, 0, 0, 0, volts, 0, 0, 0, 0, setting, 35, 0x80 if self.sampling else 0, 0, fine,
            unit.serial, SLOTS_PER_S // 1000, 0, 0, unit.power_up_limit_raw, self._limit_raw, 20,
            unit.resistor_offset["usb"][0], 0, 0, 0, self.quirks.hardware_revision, 60, self._usb_passthrough, coarse,
            unit.resistor_offset["usb"][1], 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip

    # --- sampling ---------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        current_a, voltage_v = self._source.take(now_ns)
        if not self.sampling or not len(current_a):
            return
        current_a, voltage_v = self._supply(current_a, voltage_v)
        self._current = np.concatenate([self._current, current_a])
        self._voltage = np.concatenate([self._voltage, voltage_v])
        while self._packet():
            pass

    def _supply(self, current_a: FloatArray, voltage_v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the output delivers: nothing once the limit was passed."""
        on = np.full(len(current_a), self.output_v > 0 and not self.tripped)
        over = np.flatnonzero(on & (current_a > self.unit.limit_a(self._limit_raw)))
        if len(over):
            on[over[0] :] = False
            self.tripped = True
        return np.where(on, current_a, 0.0), np.where(on, voltage_v, 0.0)

    def _packet(self) -> bool:
        """Make the next packet, if its samples are complete."""
        quirks, faults = self.quirks, self.faults
        if faults.silent_at_slot is not None and self._slot >= faults.silent_at_slot:
            self._current, self._voltage = self._current[:0], self._voltage[:0]
            return False
        if not self._owed and self._slot >= self._next_cal:
            self._owed = [1] if faults.no_reference else [1, 2]
            self._next_cal += self._cal_ms * SLOTS_PER_S // 1000
        kind = self._owed[0] if self._owed else 0
        slots = quirks.calibration_slots if kind else quirks.records
        if len(self._current) < slots:
            return False
        current, self._current = self._current[:slots], self._current[slots:]
        volts, self._voltage = self._voltage[:slots], self._voltage[slots:]
        words = self._calibration(kind) if kind else self._measured(current, volts)
        if kind:
            del self._owed[0]
        self._slot += slots
        self._made += slots
        body = words.astype(">u2").tobytes() + (bytes(8) if quirks.trailing else b"")
        payload = bytes([0x20 | self._sequence, kind, 0, 0]) + body
        self._sequence = self._sequence + 1 & 0x0F
        self._hand_on(payload)
        return True

    def _observe(self, current: FloatArray, volts: FloatArray, kind: int) -> Any:
        kinds = np.full(len(current), {0: 0x00, 1: 0x10, 2: 0x30}[kind], np.uint8)
        return self._converter.measure(current, volts, kinds, self._made).view(OBS_WORDS)[:, 0]

    def _measured(self, current: FloatArray, volts: FloatArray) -> Any:
        """Records (M, 4): the lowest bit of main says coarse, that of a fine word is 0; marks lie in the voltage."""
        obs = self._observe(current, volts, 0)
        fine, coarse = obs["main_fine"].astype(np.int32), obs["main_coarse"].astype(np.int32)
        main = np.where(np.abs(fine) < FINE_LIMIT, fine & ~1, coarse | 1)
        noise = self.unit.voltage_noise_counts * self._rng.standard_normal(len(volts))
        word = np.clip(np.rint(volts / self.quirks.volt_lsb_v + noise * (volts != 0)), 0, 65_535).astype(np.int32)
        marks = np.arange(len(word)) & 3
        zeros = np.zeros(len(word), np.int32)
        return np.stack([main, zeros, zeros, word & ~3 | marks], axis=1) & 0xFFFF

    def _calibration(self, kind: int) -> Any:
        """Fine in the first record's main word, coarse in the second's; the rest is of no meaning."""
        obs = self._observe(np.zeros(2), np.zeros(2), kind)
        words = np.zeros((max(2, self.quirks.records), 4), np.int32)
        words[0, 0], words[1, 0] = obs["main_fine"][0], obs["main_coarse"][1]
        return words & 0xFFFF

    def _hand_on(self, payload: bytes) -> None:
        number, faults = self.packets, self.faults
        self.packets += 1
        in_hole = faults.hole is not None and faults.hole[0] <= number < sum(faults.hole)
        if in_hole or self._rng.random() < faults.lost_packet_share:
            return
        for part in [payload] if faults.spoil is None else faults.spoil(payload, number):
            self._send(part)

    def _send(self, payload: bytes) -> None:
        length = len(payload) + 1
        data = bytes([length, *payload, (length + sum(payload)) & 0xFF])
        if self._out_bytes + len(data) > self._queue_bytes:
            self.lost_packets += 1
            return
        self._out.append(data)
        self._out_bytes += len(data)


def serial_simulator(source: SampleSource, *, seed: int, output_v: float = 4.2) -> SerialLvpm:
    """The entry point `joulebench.simulators`: an ordinary unit that `seed` draws, and with it what is not published.

    Put it behind a PtyServer (real time) or `harness.testing.wires.serial_opener` (virtual time).
    """
    rng = np.random.default_rng([seed, 0x0DD])
    quirks = SerialQuirks(records=int(rng.integers(4, 15)), trailing=bool(rng.integers(0, 2)))
    return SerialLvpm(source, unit=SerialLvpmUnit.draw(seed, output_v=output_v), quirks=quirks, seed=seed)
