"""A power monitor, HVPM or LVPM by its unit, as a state machine behind USB: controls, FIFO, loss, trips, faults.

It never waits: every transfer first advances it to the present, so real and virtual time are the same to
it. Samples go FIFO (16 deep) -> packets of 1 to 3 -> host. `host_queue_s` stands for the transfers that a
good host keeps queued: packets up to that age are taken off the FIFO while a host is attached. What fits
nowhere is dropped, newest first, and counted. A packet shows the counter of the moment it was made.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.monsoon.control import (
    IN,
    OUT,
    BadTransfer,
    Setup,
    parse_set,
    parse_start,
    raw_to_volts,
    volts_to_raw,
)
from drivers.monsoon.fields import (
    AT_VOLTAGE_BIT,
    BULK_IN,
    ERROR_WORD,
    FIFO_DEPTH,
    FIRMWARE_WITH_SAMPLE_BIT,
    HEADER_BYTES,
    MAX_OBS,
    NO_LIMIT,
    OBS_BYTES,
    OVERCURRENT_BIT,
    PACKET_BYTES,
    PRODUCT_ID,
    SAMPLE_MODE_BIT,
    SEQUENCE_MASK,
    VENDOR_ID,
    Opcode,
    Request,
)
from drivers.simulated.monsoon.converter import SLOTS_PER_S, Converter
from drivers.simulated.monsoon.sources import SampleSource
from drivers.simulated.monsoon.unit import HvpmUnit
from drivers.simulated.usb_device import UsbFault
from harness.core.clock import FloatArray
from harness.io.usb_wire import EndpointDescription, UsbDescription

_AT_VOLTAGE_REL = 0.05
_ANSWERED_WHILE_SAMPLING = (Opcode.FIRMWARE, Opcode.STATUS)


@dataclass
class HvpmFaults:
    """What goes wrong. Slots count from the start of sampling; rates are per packet.

    `dropped_before`: where the count of dropped samples stands when the unit is plugged in; `eeprom`: words by opcode
    that say something else than the converters do.
    """

    disconnect_at_slot: int | None = None
    silent_at_slot: int | None = None  # samples no more, without a word
    lost_packet_rate: float = 0.0  # between unit and host: the sequence jumps
    short_packet_rate: float = 0.0
    access_denied: bool = False
    dropped_before: int = 0
    eeprom: Mapping[int, int] = field(default_factory=dict)


class HvpmDevice:
    """A unit on the bus. `source` is what flows; `now_ns` the host's clock; `feeds` the channel that sees it."""

    def __init__(
        self,
        source: SampleSource,
        *,
        now_ns: Callable[[], int],
        unit: HvpmUnit | None = None,
        host_queue_s: float = 1.0,
        faults: HvpmFaults | None = None,
        seed: int = 0,
        feeds: str = "main",
    ) -> None:
        self.unit = unit or HvpmUnit()
        self.faults = faults or HvpmFaults()
        self.present = True
        self.sampling = False
        self.samples_made = 0  # slots since the first start, for tests
        self.samples_dropped = 0
        self._source, self._now_ns = source, now_ns
        self._queue_obs = round(host_queue_s * SLOTS_PER_S)
        self._converter = Converter(self.unit, seed=seed, feeds=feeds)
        self._rng = np.random.default_rng([seed, 0xB0B])
        self._registers = {**self.unit.eeprom(), **self.faults.eeprom}
        self._limit_a = self.unit.limit_a(self.unit.run_limit_raw)
        self.output_v = self.unit.output_v
        self.tripped = False
        self._attached = False
        self._slot = self._end_slot = self._cal_ms = 0
        self._counter, self._sequence = self.faults.dropped_before, 0
        self._fifo = np.empty((0, OBS_BYTES), np.uint8)
        self._fifo_flags = np.empty(0, np.uint8)
        self._ready: deque[bytes] = deque()
        self._ready_obs = 0

    # --- the bus ----------------------------------------------------------------------------------

    @property
    def description(self) -> UsbDescription:
        return UsbDescription(
            VENDOR_ID, PRODUCT_ID, str(self.unit.serial), "Monsoon Solutions", "Power Monitor",
            endpoints=(EndpointDescription(0x01, PACKET_BYTES), EndpointDescription(BULK_IN, PACKET_BYTES)),
        )  # fmt: skip

    def open(self) -> None:
        if self.faults.access_denied:
            raise UsbFault(errno.EACCES)

    def attach(self) -> None:
        self.advance()
        self._attached = True

    def detach(self) -> None:
        """The host's queue goes with the host; the unit goes on sampling into its FIFO."""
        self.advance()
        self._attached = False
        self._ready.clear()
        self._ready_obs = 0

    def reset(self) -> None:
        self._ready.clear()
        self._ready_obs = 0

    def replug(self) -> None:
        """Plugged in again after a disconnect: idle, and with an empty FIFO."""
        self.present, self.sampling, self._attached = True, False, False
        self.reset()
        self._fifo, self._fifo_flags = self._fifo[:0], self._fifo_flags[:0]

    def control(self, setup: tuple[int, int, int, int], data: bytes, length: int) -> bytes:
        self.advance()
        if not self.present:
            raise UsbFault(errno.ENODEV)
        request = Setup(*setup, data, length)
        try:
            if request.request_type == IN and request.request == Request.VALUE:
                return self._get(request.index & 0xFF)[:length]
            if request.request_type == OUT:
                self._command(request)
                return b""
        except BadTransfer:
            pass
        raise UsbFault(errno.EPIPE)

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        """Packets ready now. After a disconnect what had reached the host is still handed out."""
        if endpoint != BULK_IN:
            raise UsbFault(errno.EPIPE)
        self.advance()
        if len(self._ready) < max_packets:
            self._pack(self._fifo, self._fifo_flags)
            self._fifo, self._fifo_flags = self._fifo[:0], self._fifo_flags[:0]
        if len(self._ready) <= max_packets:
            packets = list(self._ready)
            self._ready.clear()
            self._ready_obs = 0
        else:
            packets = [self._ready.popleft() for _ in range(max_packets)]
            self._ready_obs -= sum(packet[3] for packet in packets)
        if not packets and not self.present:
            raise UsbFault(errno.ENODEV)
        return packets

    # --- controls ---------------------------------------------------------------------------------

    def _get(self, opcode: int) -> bytes:
        if self.sampling and opcode not in _ANSWERED_WHILE_SAMPLING:
            return ERROR_WORD
        if opcode == Opcode.STATUS:
            knows = self.unit.firmware >= FIRMWARE_WITH_SAMPLE_BIT
            return (SAMPLE_MODE_BIT if self.sampling and knows else 0).to_bytes(4, "little")
        if opcode == Opcode.MAIN_VOLTAGE:
            return volts_to_raw(self.output_v).to_bytes(4, "little")
        if opcode not in self._registers:
            raise BadTransfer(f"unknown opcode {opcode:#04x}")
        return self._registers[opcode].to_bytes(4, "little")

    def _command(self, request: Setup) -> None:
        if request.request == Request.START:
            self._cal_ms, self._end_slot = parse_start(request)
            self._slot, self.sampling = 0, True
            if self.unit.counter_restarts:
                self._counter = 0
        elif request.request == Request.STOP:
            self.sampling = False
        elif request.request == Request.BOOTLOADER:
            self._unplug()
        elif request.request == Request.VALUE:
            opcode, value = parse_set(request)
            if not self.sampling:
                self._set(opcode, value)
        else:
            raise BadTransfer(f"unknown request {request.request:#04x}")

    def _set(self, opcode: int, value: int) -> None:
        if opcode == Opcode.RESET:
            self._unplug()
        elif opcode == Opcode.MAIN_VOLTAGE:
            voltage_v = raw_to_volts(value)
            low_v, high_v = self.unit.output_range_v
            if voltage_v == 0 or low_v <= voltage_v <= high_v:
                self.output_v, self.tripped = voltage_v, False
        elif opcode in self._registers:
            self._registers[opcode] = value
            self._limit_a = self.unit.limit_a(self._registers[Opcode.RUN_LIMIT])
        elif opcode != Opcode.CALIBRATE_VOLTAGE:
            raise BadTransfer(f"unknown opcode {opcode:#04x}")

    def _unplug(self) -> None:
        self.present = self.sampling = False

    # --- sampling ---------------------------------------------------------------------------------

    def advance(self) -> None:
        """Take what the source has up to now; sample it if in sample mode, else it passes by."""
        current_a, voltage_v = self._source.take(self._now_ns())
        count = len(current_a)
        if not count:
            return
        current_a, voltage_v, flags = self._supply(current_a, voltage_v)
        if not self.sampling:
            return
        if self._end_slot != NO_LIMIT:
            count = min(count, self._end_slot - self._slot)
        fault_slots = (self.faults.silent_at_slot, self.faults.disconnect_at_slot)
        for at in fault_slots:
            if at is not None:
                count = min(count, max(0, at - self._slot))
        if count:
            kind = self._converter.kinds(self._slot, count, self._cal_ms)
            obs = self._converter.measure(current_a[:count], voltage_v[:count], kind, self.samples_made)
            self._slot += count
            self.samples_made += count
            self._admit(obs, flags[:count])
        if self._slot == self._end_slot:
            self.sampling = False
        if self.faults.disconnect_at_slot is not None and self._slot >= self.faults.disconnect_at_slot:
            self._unplug()

    def _supply(
        self, current_a: FloatArray, voltage_v: FloatArray
    ) -> tuple[FloatArray, FloatArray, npt.NDArray[np.uint8]]:
        """What the output really delivers, slot by slot, and the packet flags that go with it."""
        setpoint_v = self.output_v
        on = np.full(len(current_a), setpoint_v > 0 and not self.tripped)
        over = np.flatnonzero(on & (current_a > self._limit_a))
        if len(over):
            on[over[0] :] = False
            self.tripped, self.output_v = True, 0.0
        near = np.abs(voltage_v - setpoint_v) <= _AT_VOLTAGE_REL * setpoint_v
        flags = np.where(on & near, AT_VOLTAGE_BIT, 0).astype(np.uint8)
        if self.tripped:
            flags[~on] |= OVERCURRENT_BIT
        return np.where(on, current_a, 0.0), np.where(on, voltage_v, 0.0), flags

    def _admit(self, obs: npt.NDArray[np.uint8], flags: npt.NDArray[np.uint8]) -> None:
        """New samples behind those in the FIFO: as many as the host's queue takes, then 16, the rest is dropped."""
        obs, flags = np.concatenate([self._fifo, obs]), np.concatenate([self._fifo_flags, flags])
        taken = max(0, self._queue_obs - self._ready_obs) if self._attached else 0
        self._pack(obs[:taken], flags[:taken])
        self._fifo, self._fifo_flags = obs[taken : taken + FIFO_DEPTH], flags[taken : taken + FIFO_DEPTH]
        lost = max(0, len(obs) - taken - FIFO_DEPTH)
        self._counter += lost
        self.samples_dropped += lost

    def _pack(self, obs: npt.NDArray[np.uint8], flags: npt.NDArray[np.uint8]) -> None:
        """Make packets of 1 to 3 samples, in order, all with the present counter."""
        total = len(obs)
        if not total:
            return
        sizes = self._rng.integers(1, MAX_OBS + 1, total)
        ends = np.cumsum(sizes)
        packets = int(np.searchsorted(ends, total)) + 1
        first = np.concatenate([[0], ends[: packets - 1]])
        sizes = np.diff(np.append(first, total))
        slots = np.zeros((packets, PACKET_BYTES), np.uint8)
        sequence = (self._sequence + np.arange(packets)) & SEQUENCE_MASK
        slots[:, 0], slots[:, 1] = self._counter & 0xFF, self._counter >> 8 & 0xFF
        slots[:, 2] = sequence | flags[first]
        slots[:, 3] = sizes
        present = np.arange(MAX_OBS) < sizes[:, None]
        body = np.zeros((packets, MAX_OBS, OBS_BYTES), np.uint8)
        body[present] = obs
        slots[:, HEADER_BYTES : HEADER_BYTES + MAX_OBS * OBS_BYTES] = body.reshape(packets, -1)
        self._sequence = int(sequence[-1]) + 1 & SEQUENCE_MASK
        self._enqueue(slots, HEADER_BYTES + OBS_BYTES * sizes)

    def _enqueue(self, slots: npt.NDArray[np.uint8], lengths: npt.NDArray[np.int64]) -> None:
        raw, faults = slots.tobytes(), self.faults
        if faults.short_packet_rate:
            short = self._rng.random(len(slots)) < faults.short_packet_rate
            lengths = np.where(short, self._rng.integers(HEADER_BYTES, lengths), lengths)
        begins = np.arange(0, len(raw), PACKET_BYTES)
        if faults.lost_packet_rate:
            kept = self._rng.random(len(slots)) >= faults.lost_packet_rate
            slots, begins, lengths = slots[kept], begins[kept], lengths[kept]
        self._ready_obs += int(slots[:, 3].sum())
        self._ready.extend([raw[a:b] for a, b in zip(begins.tolist(), (begins + lengths).tolist(), strict=True)])
