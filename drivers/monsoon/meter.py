"""A Monsoon, HVPM or LVPM, as a meter of the bench: thin, over the pure codec and the USB link."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import AnchorPicker, PacketDecoder
from drivers.monsoon.control import raw_to_volts, volts_to_raw
from drivers.monsoon.fields import (
    DAC_CAL_HIGH_RANGE,
    DAC_CAL_LOW_RANGE,
    FIFO_DEPTH,
    PACKET_BYTES,
    PERIOD_NS,
    Opcode,
)
from drivers.monsoon.identity import identify, meter_info, read_scales, read_status, select_voltage_word
from drivers.monsoon.link import MonsoonLink
from drivers.monsoon.models import HVPM_MODEL
from drivers.monsoon.options import MonsoonOptions
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import RealClock, WaitClock

READ_MS = 20  # longest wait in one bulk read
DRAIN_LIMIT = 100_000  # packets; a unit that sends more after a stop does not obey
REPEATS_LIMIT = 100  # packets; 40 ms of samples
STEP_LIMIT = 65_536  # packets in one block
SILENT_NS = 1_000_000_000  # a sampling unit sends about every 0.4 ms
CALIBRATED_WITHIN_NS = 10_000_000_000
VOLTAGE_TOLERANCE_V = 0.01


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Monsoon:
    """The entry point of this driver. Raises SpecError for options it does not know (see MonsoonOptions)."""
    return Monsoon(request, clock or RealClock())


class Monsoon:
    """StreamingMeter and VoltageOutput. The output changes only when `set_voltage` is called."""

    buffer_s = FIFO_DEPTH * PERIOD_NS * 1e-9

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request = request
        self._options = MonsoonOptions.parse(request)
        self._clock = clock
        self._link: MonsoonLink | None = None
        self._scales, self._model = RangeScales(), HVPM_MODEL
        self._decoder = self._new_decoder(first_slot=0)
        self._anchors = AnchorPicker()
        self._raw = bytearray(STEP_LIMIT * PACKET_BYTES)
        self._arrivals: list[int] = []
        self._lengths: list[int] = []
        self._pending: BenchError | None = None
        self._sampling = self._calibrated = False
        self._first_start_ns: int | None = None
        self._start_ns = self._heard_ns = 0
        self.recovered = False

    def _new_decoder(self, *, first_slot: int, start_ns: int | None = None) -> PacketDecoder:
        options = self._options
        return PacketDecoder(
            options.channels, self._scales, aux_signed=options.aux_signed, first_slot=first_slot, start_ns=start_ns,
            model=self._model,
        )  # fmt: skip

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Find, stop if sampling, drain, identify, read scales and limits, verify the voltage."""
        options = self._options
        self._link = link = MonsoonLink.find(
            backend=self._request.usb_backend, serial=options.serial, tap=self._request.tap
        )
        try:
            if link.sampling():
                self.recovered = True
                link.stop()
            self.recovered |= self._drain() > 0
            self._model = model = identify(link, options)
            select_voltage_word(link, model, options.channels)
            self._scales = read_scales(link, model)
            status = read_status(link, model)
            self._verify_voltage()
            status |= {"cal_ms": str(options.cal_ms), "aux_coding": "s16" if options.aux_signed else "u16"}
            return meter_info(
                link.serial, options, self._scales, status, simulated=self._request.simulated, model=model
            )
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Begin to sample. Packets of an earlier run are drained first; time goes on from the first start."""
        link = self._opened()
        if self._sampling:
            raise DeviceError(f"Monsoon {link.serial} is sampling already", hint="stop it before starting again")
        self._drain()
        link.start(cal_ms=self._options.cal_ms)
        self._start_ns = self._heard_ns = self._clock.now_ns()
        if self._first_start_ns is None:
            self._first_start_ns = self._start_ns
        since_first = (self._start_ns - self._first_start_ns) // PERIOD_NS
        first_slot = max(self._decoder.slots, since_first)
        self._decoder = self._new_decoder(first_slot=first_slot, start_ns=self._start_ns)
        self._sampling, self._calibrated, self._pending = True, False, None

    def step(self, until_ns: int) -> Block | None:
        """Read until host time `until_ns` (virtual time: until nothing more is ready).

        When the unit fails in the middle, what came before is returned and the error raised by the next call.
        A block may hold no rows but counts, gaps or anchors.
        """
        self._opened()
        self._raise_pending()
        with self._errors_pending():
            self._read(until_ns)
            self._require_heard()
        block = self._decode(last=False)
        if block is None:
            self._raise_pending()
        return block

    def stop(self) -> Block | None:
        """Stop sampling and return what was still under way."""
        link = self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        self._sampling = False
        link.stop()
        with self._errors_pending():
            self._read(None)
        block = self._decode(last=True)
        if block is None:
            self._raise_pending()
        return block

    def close(self) -> None:
        """Stop sampling if that is still possible and let go of the unit; its output stays as it is."""
        link, self._link = self._link, None
        if link is None:
            return
        if self._sampling:
            self._sampling = False
            with contextlib.suppress(BenchError):  # if it does not answer, the next open stops and drains it
                link.stop()
        link.release()

    # --- output -----------------------------------------------------------------------------------

    def voltage_v(self) -> float:
        """The voltage the output is set to; 0 when off. Not while sampling (the trace holds the measured one)."""
        self._require_idle("asked for")
        return raw_to_volts(self._opened().get(Opcode.MAIN_VOLTAGE, size=4))

    def set_voltage(self, voltage_v: float) -> None:
        """Set the main output (0 switches it off). Refused while sampling, outside 0.8-13.5 V (LVPM: 2.01-4.55 V), and
        when an HVPM's DAC calibration is out of tolerance: then it may put out far more than asked."""
        self._require_idle("set")
        link, model = self._opened(), self._model
        if voltage_v != 0 and not model.output_min_v <= voltage_v <= model.output_max_v:
            raise SpecError(
                f"voltage {voltage_v} V is outside {model.output_min_v}-{model.output_max_v} V of the {model.name}",
                hint="give a voltage within the range, or 0 to switch the output off",
            )
        if voltage_v != 0 and model.guards_dac:
            _guard_dac(link)
        link.set(Opcode.MAIN_VOLTAGE, volts_to_raw(voltage_v))

    def _require_idle(self, what: str) -> None:
        if self._sampling:
            raise DeviceError(
                f"the output voltage cannot be {what} while the Monsoon samples", hint="stop the meter first"
            )

    def _verify_voltage(self) -> None:
        wanted_v = self._options.voltage_v
        if wanted_v is None:
            return
        found_v = self.voltage_v()
        if abs(found_v - wanted_v) > VOLTAGE_TOLERANCE_V:
            raise DeviceError(
                f"Monsoon {self._opened().serial} is set to {found_v:.3f} V, the bench says voltage_v: {wanted_v:g}",
                hint="set the output yourself with the board disconnected, or correct voltage_v; "
                "a run never changes the voltage of a powered board",
            )

    # --- reading ----------------------------------------------------------------------------------

    def _opened(self) -> MonsoonLink:
        if self._link is None:
            raise DeviceError("the Monsoon is not open", hint="call open() first")
        return self._link

    def _drain(self) -> int:
        """Read away what an earlier run left; the number of packets."""
        link = self._opened()
        for count in range(DRAIN_LIMIT):
            if link.read(READ_MS) is None:
                return count
        raise DeviceError(
            f"the Monsoon still sends after {DRAIN_LIMIT} packets although it was told to stop",
            hint="power-cycle the meter (this switches the board off)",
        )

    def _read(self, until_ns: int | None) -> None:
        """Packets into the buffer until host time `until_ns`; for None, and in virtual time, until a time-out."""
        link, now, raw = self._opened(), self._clock.now_ns, memoryview(self._raw)
        ends_on_time_out = until_ns is None or self._clock.virtual
        now_ns, at, wait_ms = now(), 0, READ_MS
        while at < len(raw):
            if until_ns is not None:
                wait_ms = max(1, min(READ_MS, (until_ns - now_ns) // 1_000_000))
            packet = link.read(wait_ms)
            now_ns = now()
            if packet is not None:
                length = len(packet)
                raw[at : at + length] = packet
                at += PACKET_BYTES
                self._lengths.append(length)
                self._arrivals.append(now_ns)
            elif ends_on_time_out:
                return
            if not ends_on_time_out and now_ns >= until_ns:  # type: ignore[operator]  # not None here
                return

    @contextlib.contextmanager
    def _errors_pending(self) -> Iterator[None]:
        """Keep an error for later, so that what was read before it can be handed on first."""
        try:
            yield
        except BenchError as error:
            self._pending = error

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error

    def _require_heard(self) -> None:
        if self._arrivals:
            self._heard_ns = self._arrivals[-1]
        silent_ns = self._clock.now_ns() - self._heard_ns
        if silent_ns > SILENT_NS:
            raise TransientError(
                f"the Monsoon has sent nothing for {silent_ns * 1e-9:.1f} s while sampling",
                hint="run again; if it stays so, power-cycle the meter",
            )

    def _decode(self, *, last: bool) -> Block | None:
        """What was read, as a block; complaints about the unit itself become pending."""
        lengths, arrivals = np.array(self._lengths, np.int64), np.array(self._arrivals, np.int64)
        self._lengths.clear()
        self._arrivals.clear()
        count = len(lengths)
        if not count and not last:
            return None
        slots = np.frombuffer(self._raw, np.uint8, count * PACKET_BYTES).reshape(count, PACKET_BYTES)
        with self._errors_pending():
            decoded = self._decoder.decode(slots, lengths, arrivals)
            good = decoded.well_formed
            anchors = self._anchors.pick(decoded.packet_end_ns[good], arrivals[good])
            if last:
                anchors = np.concatenate([anchors, self._anchors.flush()])
            block = replace(decoded.block, anchors=anchors)
            with self._errors_pending():
                self._require_supplying(overcurrent=decoded.overcurrent)
                _require_news(decoded.repeats)
                self._require_calibrated()
            return block if len(block) or block.counts or block.gaps or len(anchors) else None
        return None

    def _require_supplying(self, *, overcurrent: bool) -> None:
        if overcurrent:
            raise DeviceError(
                "the Monsoon switched its output off: overcurrent or overheating",
                hint="look for a short, compare the board's peak current with run_limit_a of `meters list`, "
                "then switch the output on again by hand",
            )

    def _require_calibrated(self) -> None:
        if self._calibrated:
            return
        missing = self._decoder.calibration.missing()
        self._calibrated = not missing
        waited_ns = self._clock.now_ns() - self._start_ns
        if missing and waited_ns > CALIBRATED_WITHIN_NS:
            raise DeviceError(
                f"calibration incomplete after {waited_ns * 1e-9:.0f} s: too few samples for {', '.join(missing)}",
                hint="power-cycle the meter; a channel that stays without needs service",
            )


def _require_news(repeats: int) -> None:
    """What samples go missing behind a packet that is handed on again and again is unknown."""
    if repeats >= REPEATS_LIMIT:
        raise TransientError(
            f"the same packet came {repeats + 1} times in a row: somebody hands on old data instead of the Monsoon's",
            hint="plug the meter into a port of its own, without a hub, and run again",
        )


def _guard_dac(link: MonsoonLink) -> None:
    """Refuse to set a voltage on a unit whose factory DAC words are wrong (a known over-voltage hazard)."""
    for opcode, (low, high) in ((Opcode.DAC_CAL_HIGH, DAC_CAL_HIGH_RANGE), (Opcode.DAC_CAL_LOW, DAC_CAL_LOW_RANGE)):
        value = link.get(opcode, size=2)
        if not low < value < high:
            raise DeviceError(
                f"{opcode.name} of the Monsoon is {value:#06x}, outside ({low:#06x}, {high:#06x}): "
                "its output may be far above the voltage asked for",
                hint="disconnect the board, update the firmware to 32 and run the vendor's voltage calibration",
            )
