"""A sketch that prints an INA219's readings, a meter of lower quality: no checksum, no loss count, no raw registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from drivers.chips import ina219 as chip
from drivers.ina219.options import BREAKOUT_OHM, Given
from drivers.ina219.text_codec import LineSplitter, TextDecoder
from drivers.ina219.text_fields import CURRENT, POWER
from drivers.ina219.text_formats import Record, TextFormat, given_columns, recognise
from drivers.ina219.text_rows import NANO_SI, Recipe, TextRows
from drivers.ina219.text_sanity import Sanity
from harness.core.clock import HOST, meter_clock
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Accuracy, Block, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.serial_port import SerialPort, open_pyserial

CHANNEL = "load"
READ_S = 0.02
DETECT_S = 20.0
WAKE_S = 3.0  # a sketch that says nothing for so long may wait for a byte
LEAST_RECORDS = 12
SILENT_S = 5.0


@dataclass(frozen=True)
class TextOptions:
    """What the sketch does not say of itself.

    `columns`: what unnamed columns are; `shunt_ohm`: of the board, for limits and proof; `supply_v`: for a sketch that
    prints no voltage; `load_side`: the board's voltage, not the supply's.
    """

    port: str
    baud: int = 115200
    columns: str = ""
    shunt_ohm: float = BREAKOUT_OHM
    shunt_tolerance_rel: float = 0.01
    supply_v: float | None = None
    supply_tolerance_rel: float = 0.02
    load_side: bool = True

    @classmethod
    def parse(cls, request: MeterRequest) -> TextOptions:
        """SpecError for what is unknown, of the wrong type or out of bounds."""
        given = Given(request.name, "ina219-text", request.options, tuple(cls.__dataclass_fields__))
        options = cls(
            port=given.text("port", ""),
            baud=given.whole("baud", 115200, 300, 2_000_000),
            columns=given.text("columns", ""),
            shunt_ohm=given.number("shunt_ohm", BREAKOUT_OHM, 1e-5, 1000.0),
            shunt_tolerance_rel=given.number("shunt_tolerance_rel", 0.01, 1e-6, 0.5),
            supply_v=given.number("supply_v", 5.0, 0.5, chip.INPUT_MAX_V) if "supply_v" in request.options else None,
            supply_tolerance_rel=given.number("supply_tolerance_rel", 0.02, 1e-6, 0.5),
            load_side=bool(given.whole("load_side", 1, 0, 1)),
        )
        given.must("port", options.port != "", "is missing", "give the serial port, such as /dev/ttyUSB0")
        if options.columns:
            try:
                given_columns(options.columns)
            except ValueError as error:
                raise SpecError(
                    f"meter {request.name!r}: columns has {str(error)!r}, which names no quantity with its unit",
                    hint="use millis, micros, bus_v, shunt_mv, load_v, voltage_v, current_ma, power_mw, or -",
                ) from None
        return options


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Ina219Text:
    """The entry point of this driver. Raises SpecError for options it does not know (see TextOptions)."""
    return Ina219Text(request, clock or RealClock())


class Ina219Text:
    """StreamingMeter and SelfTesting over what a sketch prints. A sketch cannot be stopped: `stop` stops listening."""

    buffer_s = 0.3
    recovered = False

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._options = TextOptions.parse(request)
        self._port: SerialPort | None = None
        self._decoder: TextDecoder | None = None
        self._rows: TextRows | None = None
        self._sampling = False
        self._heard_ns = 0
        self._pending: BenchError | None = None

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Listen until the format and the rate are known. SpecError where the format could only be guessed."""
        self.close()
        opener = self._request.serial_port or open_pyserial
        self._port = opener(self._options.port, self._options.baud)
        for _ in range(100):  # what waited for us has no arrival time; its first line is cut anyway
            if not self._read(0.0):
                break
        try:
            form, decoder, seen = self._detect()
            self._decoder = decoder
            return self._describe(form, seen)
        except BaseException:
            self.close()
            raise

    def _detect(self) -> tuple[TextFormat, TextDecoder, list[tuple[Record, int]]]:
        options = self._options
        splitter = LineSplitter()
        lines: list[tuple[str, int]] = []
        begin_ns = self._clock.now_ns()
        end_ns = begin_ns + round(DETECT_S * NS_PER_S)
        form: TextFormat | None = given_columns(options.columns) if options.columns else None
        decoder, seen, woken = None, [], False
        done = 0
        while (now_ns := self._clock.now_ns()) < end_ns:
            chunk = self._read(0.1)
            lines += [(line, self._clock.now_ns()) for line in splitter.feed(chunk)]
            if not lines and not woken and now_ns - begin_ns > WAKE_S * NS_PER_S:
                self._write(b"\n")  # the commonest logger waits for one byte
                woken = True
            if form is None:
                form = recognise([line for line, _ in lines], shunt_ohm=options.shunt_ohm)
            if form is None:
                continue
            decoder = decoder or TextDecoder(form, splitter, Sanity(options.shunt_ohm))
            for line, arrival_ns in lines[done:]:
                seen += [(record, arrival_ns) for record in decoder.line(line)]
            done = len(lines)
            self._require_readable(decoder)
            if len(seen) >= LEAST_RECORDS:
                return form, decoder, seen
        sample = next((line for line, _ in reversed(lines) if line), "")
        found = f"{len(lines)} lines, the last {sample[:60]!r}" if lines else "nothing"
        raise DeviceError(
            f"no measurements can be read from {options.port} at {options.baud} baud: {found} in {DETECT_S:g} s",
            hint='check port and baud; name the columns, for example columns: "millis,bus_v,current_ma"',
        )

    def _describe(self, form: TextFormat, seen: Sequence[tuple[Record, int]]) -> MeterInfo:
        options = self._options
        quantities = frozenset(seen[-1][0].values)
        recipe = Recipe.of(
            quantities, load_side=options.load_side, supply_v=options.supply_v, shunt_ohm=options.shunt_ohm
        )
        times = np.array(
            [r.time_us * 1000 if form.has_time and r.time_us is not None else a for r, a in seen], np.int64
        )
        steps = np.diff(times)
        usual = steps[steps > 0]
        if not len(usual):
            raise DeviceError(
                f"all lines from {options.port} came at once", hint="run again; if it stays so, use another cable"
            )
        period_ns = int(np.median(usual)) if form.has_time else int((times[-1] - times[0]) / (len(times) - 1))
        period_ns = _about(period_ns)
        self._rows = TextRows(recipe, wrap_us=form.wrap_us if form.has_time else None, period_ns=period_ns)
        name = PurePath(options.port).name
        details = {
            "quality": "plain text: no checksum, losses are not counted, the averaging window is not known",
            "port": options.port,
            "format": form.name,
            "time": "the sketch's own clock" if form.has_time else "host-clock: arrival here, late by an unknown time",
            "power_from": recipe.words,
            "resolution": ", ".join(
                f"{quantity} {value.digit_nano * NANO_SI:g}" for quantity, value in sorted(seen[-1][0].values.items())
            ),
        }
        spec = ChannelSpec(
            CHANNEL,
            "power_w",
            tuple(column for column, _ in recipe.columns),
            Reading(ReadingKind.POINT, period_ns, 0),
            _accuracy(options, recipe, seen),
        )
        return MeterInfo(
            driver="ina219-text",
            model="ina219 (sketch)",
            serial=name,
            firmware="unknown",
            clock=meter_clock(name) if form.has_time else HOST,
            columns=tuple(ColumnSpec(column, unit) for column, unit in recipe.columns),
            channels=(spec,),
            simulated=self._request.simulated,
            details=details,
        )

    def start(self) -> None:
        """Begin to keep what is printed from now on."""
        if self._port is None or self._rows is None:
            raise DeviceError(f"the sketch on {self._options.port} is not open", hint="call open() first")
        if self._sampling:
            raise DeviceError(f"the sketch on {self._options.port} is being read already", hint="stop it first")
        while chunk := self._read(0.0):  # what was printed before is not of this acquisition
            self._decoded(chunk)
        self._sampling, self._pending, self._heard_ns = True, None, self._clock.now_ns()
        self._rows.pause(self._heard_ns)

    def step(self, until_ns: int) -> Block | None:
        """Read until host time `until_ns` (virtual time: what has arrived)."""
        self._raise_pending()
        rows = self._rows
        if not self._sampling or rows is None:
            return None
        try:
            self._keep(until_ns, rows)
            if self._decoder is not None:
                self._require_readable(self._decoder)
            silent_s = (self._clock.now_ns() - self._heard_ns) / NS_PER_S
            if silent_s > max(SILENT_S, 20 * rows.period_ns / NS_PER_S):
                raise TransientError(
                    f"the sketch on {self._options.port} has printed nothing readable for {silent_s:.1f} s",
                    hint="look at cable and supply of the board, then run again",
                )
        except BenchError as error:
            self._pending = error
        return self._block(rows, last=False)

    def stop(self) -> Block | None:
        """Stop listening; the sketch goes on by itself."""
        self._raise_pending()
        rows = self._rows
        if not self._sampling or rows is None:
            return None
        self._sampling = False
        self._keep(self._clock.now_ns(), rows)
        return self._block(rows, last=True)

    def close(self) -> None:
        port, self._port = self._port, None
        self._sampling, self._rows, self._decoder = False, None, None
        if port is not None:
            port.close()

    def self_test(self) -> Sequence[CheckItem]:
        """What could be read when it was opened; a sketch answers no questions."""
        if self._decoder is None or self._rows is None:
            raise DeviceError(f"the sketch on {self._options.port} is not open", hint="call open() first")
        stamped = self._decoder.form.has_time
        return [
            CheckItem("format", True, self._decoder.form.name),
            CheckItem(
                "clock", stamped, "the sketch stamps its lines" if stamped else "lines carry no time: arrival is used",
                "" if stamped else "print millis() first on each line, or flash the streamer (docs/firmware.md)",
            ),
        ]  # fmt: skip

    # --- reading ----------------------------------------------------------------------------------

    def _keep(self, until_ns: int, rows: TextRows) -> None:
        while True:
            left_ns = until_ns - self._clock.now_ns()
            chunk = self._read(0.0 if self._clock.virtual else max(0.0, min(READ_S, left_ns / NS_PER_S)))
            arrival_ns = self._clock.now_ns()
            records = self._decoded(chunk)
            if records:
                rows.add_all(records, arrival_ns)
                self._heard_ns = arrival_ns
            if (not chunk) if self._clock.virtual else (left_ns <= 0):
                return

    def _block(self, rows: TextRows, *, last: bool) -> Block | None:
        block = rows.take({"bad_lines": self._decoder.take_bad() if self._decoder else 0}, last=last)
        if block is None:
            self._raise_pending()
        return block

    def _decoded(self, chunk: bytes) -> list[Record]:
        return self._decoder.feed(chunk) if self._decoder is not None else []

    def _require_readable(self, decoder: TextDecoder) -> None:
        share = decoder.too_bad
        if share is not None:
            raise DeviceError(
                f"{share:.0%} of the newest lines from {self._options.port} are not {decoder.form.name}",
                hint="check baud and cable; if the sketch prints something else, name it in columns",
            )

    def _read(self, timeout_s: float) -> bytes:
        assert self._port is not None
        chunk = self._port.read(timeout_s)
        if chunk and self._request.tap is not None:
            self._request.tap("in", chunk)
        return chunk

    def _write(self, data: bytes) -> None:
        assert self._port is not None
        if self._request.tap is not None:
            self._request.tap("out", data)
        self._port.write(data)

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error


def _about(period_ns: int) -> int:
    """Two significant digits: more is not known of a sketch's loop."""
    return int(float(f"{period_ns:.1e}"))


def _accuracy(options: TextOptions, recipe: Recipe, seen: Sequence[tuple[Record, int]]) -> Accuracy:
    """Limits: the chip's at its widest range (the sketch says none), the shunt's tolerance, the printed digits."""
    limits = chip.limits(320)
    raws = [raw for record, _ in seen if (raw := recipe.raw(record)) is not None]
    if not raws:
        raise DeviceError(f"no complete measurement came from {options.port}", hint="look at what the sketch prints")
    mean = np.mean(np.array(raws, np.float64), axis=0) * NANO_SI
    values = seen[-1][0].values
    gain = options.shunt_tolerance_rel + limits.shunt_gain_rel + limits.bus_gain_rel
    offset_a = limits.shunt_offset_v / options.shunt_ohm + chip.SELF_CURRENT_A
    if recipe.power:
        voltage_v = options.supply_v or 5.0
        step_w = max(values[POWER].digit_nano * NANO_SI, 20 * chip.SHUNT_LSB_V / options.shunt_ohm)
        note = f"assumed: {voltage_v:g} V for the zero (supply_v)"
    else:
        voltage_v = max(round(float(mean[1]), 1), 0.1)  # limits need no more, and are the same each time
        digit_v = 0.0 if recipe.voltage is None else values[recipe.voltage].digit_nano * NANO_SI
        gain += digit_v / 2 / voltage_v  # a steady voltage is rounded the same way every time
        gain += options.supply_tolerance_rel if recipe.voltage is None else 0.0
        step_a = max(values[CURRENT].digit_nano * NANO_SI, chip.SHUNT_LSB_V / options.shunt_ohm)
        step_w = float(np.hypot(step_a * voltage_v, digit_v * max(round(abs(float(mean[0])), 1), 0.1)))
        note = "printed digits as the resolution"
    return Accuracy(
        gain_rel=gain,
        offset_w=offset_a * voltage_v,
        noise_w=step_w / 12**0.5,
        source=f"shunt +-{options.shunt_tolerance_rel:.2%} (shunt_tolerance_rel); {limits.source}; {note}",
    )
