"""An LVPM with its old serial firmware as a meter of the bench: thin, over the pure codec and the link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from drivers.monsoon.codec import AnchorPicker
from drivers.monsoon.serial_codec import CURRENT, RANGE, VOLTAGE, DataDecoder, Layout
from drivers.monsoon.serial_frames import OUTPUT_MAX_V, OUTPUT_MIN_V, is_data, set_voltage
from drivers.monsoon.serial_layout import Trial, decide
from drivers.monsoon.serial_link import BAUD, WAIT_S, SerialLink
from drivers.monsoon.serial_options import CHANNEL, SerialOptions
from drivers.monsoon.serial_status import Status
from drivers.monsoon.serial_watch import DamageWatch, LagWatch
from harness.core.clock import meter_clock
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Accuracy, Block, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.serial_port import open_pyserial

TRIAL_S = 2.0
SILENT_NS = 1_000_000_000
CALIBRATED_WITHIN_NS = 10_000_000_000
REPEATS_LIMIT = 100
VOLTAGE_TOLERANCE_V = 0.01
OFF_SHARE = 0.5  # of the set voltage: below, the output is off
OFF_ROWS = 500


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> SerialMonsoon:
    """The entry point of this driver. Raises SpecError for options it does not know (see SerialOptions)."""
    return SerialMonsoon(request, clock or RealClock())


class SerialMonsoon:
    """StreamingMeter, VoltageOutput and SelfTesting. The output changes only when `set_voltage` is called."""

    buffer_s = 0.3
    recovered = False

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._options = SerialOptions.parse(request)
        self._link: SerialLink | None = None
        self._status: Status | None = None
        self._layout: Layout | None = None
        self._details: dict[str, str] = {}
        self._decoder: DataDecoder | None = None
        self._anchors, self._lag, self._damage = AnchorPicker(), LagWatch(), DamageWatch(self._options.port)
        self._sampling = False
        self._first_start_ns: int | None = None
        self._start_ns = self._heard_ns = 0
        self._pending: BenchError | None = None
        self._off_rows = 0  # the newest, at which the output was off

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Stop it if it samples, ask its status, verify the voltage, and tell the packets' layout from a trial."""
        self.close()
        options = self._options
        opener = self._request.serial_port or open_pyserial
        self._link = link = SerialLink(opener(options.port, BAUD), options.port, self._clock, self._request.tap)
        try:
            self.recovered = link.hush()
            self._status = status = link.status()
            self._verify_voltage(status)
            self._layout, accuracy, self._details = decide(status, self._trial(link), options)
            return self._info(status, self._layout, accuracy)
        except BaseException:
            self.close()
            raise

    def _trial(self, link: SerialLink) -> Trial:
        packets: list[bytes] = []
        arrival_ns: list[int] = []
        link.start()
        end_ns = self._clock.now_ns() + round(TRIAL_S * NS_PER_S)
        while self._clock.now_ns() < end_ns:
            data = [p for p in link.read(WAIT_S) if is_data(p)]
            packets += data
            arrival_ns += [self._clock.now_ns()] * len(data)
        link.hush()
        return Trial(packets, arrival_ns)

    def _info(self, status: Status, layout: Layout, accuracy: Accuracy) -> MeterInfo:
        serial = str(status.serial)
        reading = Reading(ReadingKind.MEAN, layout.period_ns, layout.period_ns)
        return MeterInfo(
            driver="monsoon-serial",
            model="LVPM",
            serial=serial,
            firmware=f"{status.raw['firmware']} (serial)",
            clock=meter_clock(serial),
            columns=(ColumnSpec(CURRENT, "A", RANGE), ColumnSpec(VOLTAGE, "V")),
            channels=(ChannelSpec(CHANNEL, "power_w", (CURRENT, VOLTAGE), reading, accuracy),),
            simulated=self._request.simulated,
            details={"port": self._options.port} | status.details() | self._details,
        )

    def start(self) -> None:
        """Begin to sample; time goes on from the first start."""
        link, layout = self._opened(), self._layout
        assert layout is not None
        if self._sampling:
            raise DeviceError(f"the Monsoon on {link.path} is sampling already", hint="stop it before starting again")
        link.hush()
        link.start()
        self._start_ns = self._heard_ns = self._clock.now_ns()
        if self._first_start_ns is None:
            self._first_start_ns = self._start_ns
        since_first = (self._start_ns - self._first_start_ns) // layout.period_ns
        before = self._decoder.slots if self._decoder is not None else 0
        self._decoder = DataDecoder(layout, first_slot=max(before, since_first))
        self._lag, self._damage = LagWatch(), DamageWatch(link.path)
        self._sampling, self._pending, self._off_rows = True, None, 0

    def step(self, until_ns: int) -> Block | None:
        """Read until host time `until_ns` (virtual time: what has arrived).

        When the unit fails in the middle, what came before is returned and the error raised by the next call.
        """
        self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        packets: list[bytes] = []
        arrival_ns: list[int] = []
        try:
            self._read(until_ns, packets, arrival_ns)
            self._require_heard(arrival_ns)
        except BenchError as error:
            self._pending = error
        block = self._decode(packets, arrival_ns, last=False)
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
        packets: list[bytes] = []
        arrival_ns: list[int] = []
        link.stop()
        try:
            self._read(self._clock.now_ns() + round(WAIT_S * NS_PER_S), packets, arrival_ns)
        except BenchError as error:
            self._pending = error
        block = self._decode(packets, arrival_ns, last=True)
        if block is None:
            self._raise_pending()
        return block

    def close(self) -> None:
        """Stop sampling if that is still possible and let go of the port; the output stays as it is."""
        link, self._link = self._link, None
        sampling, self._sampling = self._sampling, False
        if link is not None:
            link.close(stop=sampling)

    def self_test(self) -> Sequence[CheckItem]:
        """What the status and the trial stretch told."""
        link, status = self._opened(), self._status
        assert status is not None
        on = status.output_v > 0
        return [
            CheckItem("monsoon", True, f"LVPM {status.serial} answers on {link.path}"),
            CheckItem("output", on, f"set to {status.output_v:.2f} V", "" if on else "set_voltage, or the front panel"),
            CheckItem("packets", True, self._details["packet_layout"]),
            CheckItem("voltage word", True, self._details["voltage_lsb"]),
            CheckItem(
                "scale", bool(self._options.scale), self._details["scale"],
                "" if self._options.scale else "measure a known resistor, then set option scale: resistors or fixed",
            ),
        ]  # fmt: skip

    # --- output -----------------------------------------------------------------------------------

    def voltage_v(self) -> float:
        """The voltage the output is set to; 0 when off. Not while sampling."""
        self._require_idle("asked for")
        self._status = self._opened().status()
        return self._status.output_v

    def set_voltage(self, voltage_v: float) -> None:
        """Set the main output in steps of 10 mV (0 switches it off) and read it back."""
        self._require_idle("set")
        link = self._opened()
        if voltage_v != 0 and not OUTPUT_MIN_V <= voltage_v <= OUTPUT_MAX_V:
            raise SpecError(
                f"voltage {voltage_v} V is outside {OUTPUT_MIN_V}-{OUTPUT_MAX_V} V of the LVPM",
                hint="give a voltage within the range, or 0 to switch the output off",
            )
        link.send(set_voltage(voltage_v))
        found_v = self.voltage_v()
        if abs(found_v - voltage_v) > VOLTAGE_TOLERANCE_V:
            raise DeviceError(
                f"the Monsoon was told {voltage_v:g} V and says {found_v:.2f} V",
                hint="disconnect the board, then power-cycle the meter",
            )

    def _require_idle(self, what: str) -> None:
        if self._sampling:
            raise DeviceError(
                f"the output voltage cannot be {what} while the Monsoon samples", hint="stop the meter first"
            )

    def _verify_voltage(self, status: Status) -> None:
        wanted_v = self._options.voltage_v
        if wanted_v is not None and abs(status.output_v - wanted_v) > VOLTAGE_TOLERANCE_V:
            raise DeviceError(
                f"Monsoon {status.serial} is set to {status.output_v:.2f} V, the bench says voltage_v: {wanted_v:g}",
                hint="set the output yourself with the board disconnected, or correct voltage_v; "
                "a run never changes the voltage of a powered board",
            )

    # --- reading ----------------------------------------------------------------------------------

    def _opened(self) -> SerialLink:
        if self._link is None:
            raise DeviceError("the Monsoon is not open", hint="call open() first")
        return self._link

    def _read(self, until_ns: int, packets: list[bytes], arrival_ns: list[int]) -> None:
        link, virtual = self._opened(), self._clock.virtual
        while True:
            left_s = (until_ns - self._clock.now_ns()) / NS_PER_S
            data = [p for p in link.read(0.0 if virtual else max(0.0, min(WAIT_S, left_s))) if is_data(p)]
            packets += data
            arrival_ns += [self._clock.now_ns()] * len(data)
            if (virtual and not data) or (not virtual and left_s <= 0):
                return

    def _require_heard(self, arrival_ns: list[int]) -> None:
        if arrival_ns:
            self._heard_ns = arrival_ns[-1]
        silent_ns = self._clock.now_ns() - self._heard_ns
        if silent_ns > SILENT_NS:
            raise TransientError(
                f"the Monsoon has sent nothing that can be read for {silent_ns * 1e-9:.1f} s while sampling",
                hint="run again; if it stays so, power-cycle the meter",
            )

    def _decode(self, packets: list[bytes], arrival_ns: list[int], *, last: bool) -> Block | None:
        """What was read, as a block; complaints about the unit itself become pending."""
        decoder, link = self._decoder, self._opened()
        assert decoder is not None
        try:
            decoded = decoder.decode(packets, np.array(arrival_ns, np.int64))
        except BenchError as error:
            self._pending = self._pending or error
            return None
        anchors = self._anchors.pick(decoded.packet_end_ns, decoded.arrival_ns)
        if last:
            anchors = np.concatenate([anchors, self._anchors.flush()])
        received, bad = link.splitter.take_bytes(), link.splitter.take_bad()
        block = replace(decoded.block, anchors=anchors, counts={**decoded.block.counts, **bad})
        try:
            self._damage.see(received, bad.get("bad_bytes", 0))
            self._lag.see(decoded.packet_end_ns, decoded.arrival_ns)
            self._require_news(decoded.repeats)
            self._require_supplying(block)
            self._require_calibrated(decoder)
        except BenchError as error:
            self._pending = self._pending or error
        return block if len(block) or block.counts or block.gaps or len(anchors) else None

    def _require_news(self, repeats: int) -> None:
        if repeats >= REPEATS_LIMIT:
            raise TransientError(
                f"the same packet came {repeats + 1} times in a row: somebody hands on old data",
                hint="plug the meter into a port of its own, without a hub, and run again",
            )

    def _require_supplying(self, block: Block) -> None:
        """The old packets have no flag of overcurrent: a voltage that went away tells."""
        status, layout = self._status, self._layout
        assert status is not None
        assert layout is not None
        if not status.output_v or not len(block):
            return
        volts = block.columns[VOLTAGE] * layout.volt_per_count
        supplying = np.flatnonzero(volts >= OFF_SHARE * status.output_v)
        self._off_rows = self._off_rows + len(block) if not len(supplying) else len(block) - 1 - int(supplying[-1])
        if self._off_rows >= OFF_ROWS:
            raise DeviceError(
                f"the Monsoon's output is off: {float(volts[-1]):.2f} V, set to {status.output_v:.2f} V",
                hint="look for a short, compare the board's peak current with run_limit_a of `meters list`, "
                "then switch the output on again by hand",
            )

    def _require_calibrated(self, decoder: DataDecoder) -> None:
        waited_ns = self._clock.now_ns() - self._start_ns
        if not decoder.calibrated and waited_ns > CALIBRATED_WITHIN_NS:
            raise DeviceError(
                f"no complete calibration after {waited_ns * 1e-9:.0f} s: zero or reference packets are missing",
                hint="power-cycle the meter; if it stays so, the unit needs service",
            )

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
