"""An instrument that samples by itself as a meter: on its own clock, emptied before its memory overflows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace

from drivers.visa.buffered import Buffer, period_of
from drivers.visa.options import VisaOptions
from drivers.visa.ranging import fix_range
from drivers.visa.records import TraceRows
from drivers.visa.rows import calibration, channel_specs, channels_in_use, columns, items_of
from drivers.visa.sections import Buffered
from drivers.visa.talk import Talk
from harness.core.clock import meter_clock
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Block, ChannelSpec, MeterInfo, ReadingKind
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.visa_line import OpenLine
from harness.io.visa_pyvisa import open_pyvisa

TEST_S = 2.0


class BufferedVisa:
    """StreamingMeter and SelfTesting over one described instrument whose reading style is buffered."""

    def __init__(self, request: MeterRequest, options: VisaOptions, clock: WaitClock) -> None:
        section = options.described.instrument.reading
        assert isinstance(section, Buffered)
        self._request, self._options, self._clock, self._section = request, options, clock, section
        self._channels = channels_in_use(options, request.rails)
        self._talk: Talk | None = None
        self._period_s = 0.0
        self._sizes: dict[str, float] = {}
        self._buffer: Buffer | None = None
        self._rows: TraceRows | None = None
        self._pending: BenchError | None = None
        self._recovered = False
        self._next_ns = 0

    @property
    def buffer_s(self) -> float:
        """How long the instrument keeps what nobody fetches."""
        return self._section.holds_s

    @property
    def recovered(self) -> bool:
        """It was found acquiring when it was opened, and was stopped."""
        return self._recovered

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Identify, stop, configure. DeviceError naming what answered, or the command that was refused."""
        self.close()
        given: OpenLine | None = self._request.visa
        opener = open_pyvisa(self._options.backend) if given is None else given
        self._talk = talk = Talk(opener, self._options, self._clock, self._request.tap)
        try:
            said, before = talk.identify()
            self._recovered = self._acquires(talk)
            talk.run(self._options.commands(self._section.stop))
            talk.errors()  # it may not like to be stopped when it stands
            described = self._options.described.instrument
            talk.require(self._options.commands(described.configure))
            for name, size in self._options.ranges.items():
                assert size is not None  # buffered styles have no ranging pass
                fix_range(talk, name, described.ranges[name], size)
                self._sizes[name] = size
            self._period_s = period_of(talk, self._section)
        except BaseException:
            self.close()
            raise
        return self._describe(said, before)

    def _acquires(self, talk: Talk) -> bool:
        state = self._section.state
        if state is None:
            return False
        return re.match(state.running, talk.ask_text(self._options.text(state.query)), re.IGNORECASE) is not None

    def _describe(self, said: dict[str, str], before: Sequence[str]) -> MeterInfo:
        options, described = self._options, self._options.described
        items = items_of(described, self._channels)
        serial = said.get("serial", "") or "unknown"
        details = {
            "instrument": described.instrument.instrument,
            "description": described.name,
            "resource": options.resource,
            "period_s": f"{self._period_s:.9g}",
            "keeps_s": f"{self._section.holds_s:g}",
        }
        if self._request.visa is None:
            details["backend"] = options.backend
        for name, size in self._sizes.items():
            details[f"{name}_range"] = f"{size:g} {described.instrument.ranges[name].unit}"
        details |= {f"option:{name}": meant for name, (meant, _) in options.said.items()}
        if before:
            details["errors_before"] = "; ".join(before)
        return MeterInfo(
            driver="visa",
            model=said.get("model", "") or "unknown",
            serial=serial,
            firmware=said.get("firmware", "") or "unknown",
            clock=meter_clock(serial),
            columns=columns(described, items),
            channels=tuple(map(self._with_period, channel_specs(options, self._channels, self._sizes))),
            simulated=self._request.simulated,
            details=details,
        )

    def _with_period(self, channel: ChannelSpec) -> ChannelSpec:
        """The period that the instrument said, not the one that was asked for."""
        period_ns = round(self._period_s * NS_PER_S)
        reading = channel.reading
        window_ns = min(reading.window_ns, period_ns)
        if reading.kind is ReadingKind.MEAN:
            window_ns = period_ns
        return replace(channel, reading=replace(reading, period_ns=period_ns, window_ns=window_ns))

    def start(self) -> None:
        """The instrument begins to acquire; its time is 0 now."""
        if self._talk is None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is not open", hint="call open() before start()")
        if self._buffer is not None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is being read already", hint="stop it first")
        described = self._options.described
        items = items_of(described, self._channels)
        pieces = calibration(described, items)
        values = {name: self._options.number(described.instrument.items[name].constant) for name in items}
        constants = {name: value for name, value in values.items() if value is not None}
        rows = TraceRows(self._section.record, items, pieces, round(self._period_s * NS_PER_S), constants)
        buffer = Buffer(self._talk, self._section, rows, self._clock, period_s=self._period_s, sizes=self._sizes)
        buffer.start()
        self._buffer, self._rows, self._pending = buffer, rows, None
        self._next_ns = self._clock.now_ns()

    def step(self, until_ns: int) -> Block | None:
        """Fetch what comes until `until_ns` on the host clock -> what was read, or None."""
        self._raise_pending()
        buffer, rows = self._buffer, self._rows
        if buffer is None or rows is None:
            return None
        poll_ns = round((self._options.poll_s or self._section.poll_s) * NS_PER_S)
        try:
            while self._next_ns <= until_ns:
                self._clock.sleep_until(self._next_ns)
                buffer.look()
                self._next_ns = max(self._next_ns + poll_ns, self._clock.now_ns())
            self._clock.sleep_until(until_ns)
        except BenchError as error:
            self._pending = error
        block = rows.take()
        if block is None:
            self._raise_pending()
        return block

    def stop(self) -> Block | None:
        """The rest; the instrument stops. May be called twice."""
        self._raise_pending()
        buffer, rows = self._buffer, self._rows
        if buffer is None or rows is None:
            return None
        self._buffer, self._rows = None, None
        buffer.finish()
        return rows.finish()

    def close(self) -> None:
        """Stop it if it acquires, and leave it in local mode where the description says how."""
        buffer, self._buffer, self._rows = self._buffer, None, None
        talk, self._talk, self._pending, self._sizes = self._talk, None, None, {}
        if buffer is not None:
            with contextlib.suppress(BenchError):
                buffer.halt()
        if talk is not None:
            talk.close()

    def self_test(self) -> Sequence[CheckItem]:
        """Acquires for a moment: do readings come, as many as its period says, all valid, no error noted?"""
        if self._talk is None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is not open", hint="call open() first")
        self.start()
        begin_ns = self._clock.now_ns()
        blocks = [self.step(begin_ns + round(TEST_S * NS_PER_S)), self.stop()]
        count = sum(len(block) for block in blocks if block is not None)
        missing = sum(max(gap.lost, 0) for block in blocks if block is not None for gap in block.gaps)
        errors = sum(block.counts.get("instrument_errors", 0) for block in blocks if block is not None)
        expected = TEST_S / self._period_s
        come = count + missing >= 0.5 * expected
        return [
            CheckItem("readings", come, f"{count} in {TEST_S:g} s, one every {self._period_s:g} s",
                      "" if come else "is its output on? look at its display"),
            CheckItem("values", not missing, f"{missing} missing",
                      "" if not missing else "a larger range; joulebench meters read shows the reasons"),
            CheckItem("error queue", not errors, f"{errors} errors noted",
                      "" if not errors else "look up the error in its manual"),
        ]  # fmt: skip

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
