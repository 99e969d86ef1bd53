"""A Nordic Power Profiler Kit II as a meter of the bench: thin, over the codec and the link.

It measures current only. Which voltage the board has is declared (`supply_v`), or is that of the kit's own regulator
where it is a source meter; how well it is known is part of the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.ppk2.codec import LIMIT_A, NANO, SAMPLE_NS, Ppk2Codec, Readings
from drivers.ppk2.link import Ppk2Link, attached
from drivers.ppk2.metadata import SOURCE_METER, Metadata
from drivers.ppk2.options import Ppk2Options
from harness.core.clock import meter_clock
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.ports import FoundMeter, MeterRequest
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

CHANNEL = "out"
READ_S = 0.02
SILENT_NS = NS_PER_S
LAG_NS = 40_000_000  # by which the kit's time may fall behind the host's before samples count as lost
DRIFT = 500e-6  # by which its clock may be slow
GAIN_REL, OFFSET_A = 0.10, 1e-6
ASSUMED = (
    "assumed: +-10 % and 1 uA; no accuracy of the kit was checked here. Override with a calibration of your own "
    "(joulebench meters calibrate)"
)


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Ppk2:
    """The entry point of this driver. Raises SpecError for options it does not know (see Ppk2Options)."""
    return Ppk2(request, clock or RealClock())


def find_attached(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """Kits that are plugged in (`joulebench.discovery`); none if ppk2-api is not installed."""
    if surroundings.serial_port is not None:
        return [FoundMeter("ppk2", "the port of the simulator", {"port": "sim"}, channels=(CHANNEL,))]
    try:
        ports = attached()
    except BenchError:
        return []
    return [
        FoundMeter("ppk2", f"{port} (Power Profiler Kit II)", {"port": port}, channels=(CHANNEL,)) for port in ports
    ]


class Ppk2:
    """StreamingMeter."""

    buffer_s = 0.15  # about 64 KiB of the terminal driver at 400 kB/s

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._options = Ppk2Options.parse(request)
        self._link: Ppk2Link | None = None
        self._metadata: Metadata | None = None
        self._codec: Ppk2Codec | None = None
        self._voltage_v = 0.0
        self._begun_ns = self._heard_ns = 0
        self._first_ns: int | None = None
        self._least_lag_ns: float | None = None
        self._recent: list[tuple[int, float]] = []
        self._sampling = self._calibrated = False
        self._pending: BenchError | None = None
        self.recovered = False

    def open(self) -> MeterInfo:
        """Find it, stop it if it samples, read its calibration. Touches neither voltage nor output."""
        self.close()
        port = self._options.port if self._options.port != "auto" else self._only()
        self._link = link = Ppk2Link(self._request, port, self._clock)
        try:
            self.recovered = link.settle()
            self._metadata = link.metadata()
            self._voltage_v = self._voltage(self._metadata)
            self._first_ns = None
            return self._info(self._metadata, port)
        except BaseException:
            self.close()
            raise

    def _only(self) -> str:
        if self._request.serial_port is not None:
            return "sim"
        found = attached()
        if len(found) != 1:
            raise DeviceError(
                f"{len(found)} PPK2 are plugged in ({', '.join(found) or 'none'})",
                hint="plug one in, or name its port in the bench file: port: /dev/ttyACM0",
            )
        return found[0]

    def _voltage(self, metadata: Metadata) -> float:
        """DeviceError where the declared voltage is not what the regulator is set to, or none is known."""
        declared, regulated = self._options.supply_v, metadata.vdd_mv * 1e-3
        if metadata.mode == SOURCE_METER:
            if declared is not None and abs(declared - regulated) > self._options.supply_tolerance_rel * declared:
                raise DeviceError(
                    f"the PPK2's regulator is set to {regulated:.3f} V, the bench says supply_v: {declared:g}",
                    hint="set it with nRF Connect with the board disconnected, or correct supply_v",
                )
            return regulated
        if declared is None:
            raise DeviceError(
                "the PPK2 is an ampere meter now and does not measure the voltage",
                hint="declare the board's supply in the bench file: supply_v: 3.3",
            )
        return declared

    def _info(self, metadata: Metadata, port: str) -> MeterInfo:
        options = self._options
        period = SAMPLE_NS * options.average
        gain = GAIN_REL + options.supply_tolerance_rel
        accuracy = Accuracy(
            gain, OFFSET_A * self._voltage_v,
            source=f"{ASSUMED}; voltage declared or set within +-{options.supply_tolerance_rel:.1%}",
        )  # fmt: skip
        channel = ChannelSpec(
            CHANNEL, "power_w", ("current_raw", "supply_raw"), Reading(ReadingKind.MEAN, period, period), accuracy,
            max_power_w=LIMIT_A * self._voltage_v,
        )  # fmt: skip
        return MeterInfo(
            driver="ppk2", model="Power Profiler Kit II", serial=port.rsplit("/", 1)[-1],
            firmware=metadata.rest.get("HW", "unknown"), clock=meter_clock(port.rsplit("/", 1)[-1]),
            columns=(ColumnSpec("current_raw", "A", "range"), ColumnSpec("supply_raw", "V")), channels=(channel,),
            simulated=self._request.simulated,
            details=metadata.details() | {
                "port": port, "samples_a_reading": str(options.average), "supply_v": f"{self._voltage_v:g}",
                "voltage_source": "regulator" if metadata.mode == SOURCE_METER else "declared: supply_v",
            },
        )  # fmt: skip

    def start(self) -> None:
        """Begin to sample; time goes on from the first start."""
        link, metadata = self._opened()
        if self._sampling:
            raise DeviceError(f"the PPK2 on {link.port} is sampling already", hint="stop it before starting again")
        now_ns = self._clock.now_ns()
        if self._first_ns is None:
            self._first_ns = now_ns
        slot = max((now_ns - self._first_ns) // SAMPLE_NS, self._codec.slot if self._codec and self._calibrated else 0)
        self._codec = Ppk2Codec(metadata, vdd_v=self._voltage_v, average=self._options.average, first_slot=int(slot))
        self._begun_ns = now_ns - int(slot) * SAMPLE_NS  # the host's time at which slot 0 would have begun
        self._heard_ns, self._least_lag_ns = now_ns, None
        self._recent.clear()
        self._sampling, self._pending, self._calibrated = True, None, False
        link.start()

    def step(self, until_ns: int) -> Block | None:
        """Read until host time `until_ns` (virtual time: what has arrived). What came before a failure is returned
        and the failure raised by the next call."""
        self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        block = self._gather(until_ns)
        if block is None:
            self._raise_pending()
        return block

    def stop(self) -> Block | None:
        """Stop sampling and return what was still under way."""
        link, _ = self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        self._sampling = False
        block = self._gather(self._clock.now_ns())
        link.settle()
        return block

    def close(self) -> None:
        """Stop sampling if that is still possible, and let go of the port."""
        link, self._link = self._link, None
        if link is None:
            return
        try:
            if self._sampling:
                link.stop()
        except BenchError:
            pass  # unplugged: the next open settles it
        finally:
            self._sampling = False
            link.close()

    # --- reading ----------------------------------------------------------------------------------

    def _gather(self, until_ns: int) -> Block | None:
        link, _ = self._opened()
        codec = self._codec
        assert codec is not None
        parts: list[Readings] = []
        anchor: tuple[int, int] | None = None
        try:
            while True:
                left_ns = until_ns - self._clock.now_ns()
                data = link.read(0.0 if self._clock.virtual else max(0.0, min(READ_S, left_ns / NS_PER_S)))
                now_ns = self._clock.now_ns()
                if data:
                    self._heard_ns = now_ns
                    parts.append(codec.feed(data))
                    self._watch(codec, now_ns)
                    anchor = (codec.slot * SAMPLE_NS, now_ns)
                if (not data and self._clock.virtual) or (not self._clock.virtual and left_ns <= 0):
                    break
            if now_ns - self._heard_ns > SILENT_NS:
                raise TransientError(
                    f"the PPK2 on {link.port} has sent nothing for {(now_ns - self._heard_ns) * 1e-9:.1f} s",
                    hint="plug it in again, run again",
                )
        except BenchError as error:
            self._pending = error
        return self._block(parts, anchor)

    def _watch(self, codec: Ppk2Codec, now_ns: int) -> None:
        """The counter cannot tell 64 lost samples from none; the kit's time falling behind the host's for good can."""
        lag_ns = float(now_ns - self._begun_ns - codec.slot * SAMPLE_NS)
        allowed = DRIFT * (now_ns - self._begun_ns)
        self._recent = [(t, lag) for t, lag in self._recent if now_ns - t < NS_PER_S] + [(now_ns, lag_ns)]
        settled = min(lag for _, lag in self._recent)
        if self._least_lag_ns is None or settled < self._least_lag_ns:
            self._least_lag_ns = settled
        full = now_ns - self._recent[0][0] > NS_PER_S // 2
        behind = settled - self._least_lag_ns
        if full and behind > LAG_NS + allowed:
            codec.lose(round(behind / (64 * SAMPLE_NS)) * 64)
            self._recent.clear()

    def _block(self, parts: list[Readings], anchor: tuple[int, int] | None) -> Block | None:
        if not parts:
            return None
        end = np.concatenate([p.end_slot for p in parts])
        counts: dict[str, int] = {}
        for part in parts:
            for name, number in part.counts.items():
                counts[name] = counts.get(name, 0) + number
        gaps: list[Gap] = [gap for part in parts for gap in part.gaps]
        if not len(end) and not counts and not gaps:
            return None
        pieces: list[CalibrationPiece] = []
        if not self._calibrated and len(end):
            self._calibrated = True
            pieces = [CalibrationPiece(0, "current_raw", code, 1 / NANO, 0.0) for code in range(5)]
            pieces.append(CalibrationPiece(0, "supply_raw", 0, 1e-3, 0.0))
        return Block(
            t_ns=end * SAMPLE_NS,
            columns={
                "current_raw": np.concatenate([p.current_raw for p in parts]),
                "range": np.concatenate([p.code for p in parts]),
                "supply_raw": np.full(len(end), round(self._voltage_v * 1e3), np.int16),
            },
            calibration=pieces, gaps=gaps, counts=counts,
            anchors=np.array([anchor], np.int64) if anchor else np.empty((0, 2), np.int64),
        )  # fmt: skip

    def _opened(self) -> tuple[Ppk2Link, Metadata]:
        if self._link is None or self._metadata is None:
            raise DeviceError("the PPK2 is not open", hint="call open() first")
        return self._link, self._metadata

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
