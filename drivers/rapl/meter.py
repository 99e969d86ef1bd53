"""RAPL as a polled meter: the machine's own energy counters, one channel a zone, on the host's clock."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.rapl import codec
from drivers.rapl.acquisition import Acquisition
from drivers.rapl.readings import UPDATE_NS, column_name
from drivers.rapl.zones import Counter, open_counters
from harness.core.clock import HOST
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.trace import Accuracy, Block, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.sysfs import FileCalls, Sysfs

READS_PER_WRAP = 4

ASSUMED_OFFSET_W = 0.5
ASSUMED_GAIN_REL = {"package": 0.05, "psys": 0.05, "core": 0.10, "uncore": 0.10, "dram": 0.20}
ASSUMED_SOURCE = (
    "assumed: no vendor states an accuracy for RAPL; limits are a judgement, see docs/meters/rapl.md; "
    "override with a calibration of your own"
)


@dataclass(frozen=True)
class RaplOptions:
    """`poll_s`: how often the counters are read; `max_power_w`: more than any zone can draw."""

    poll_s: float = 0.02
    max_power_w: float = 2000.0

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> RaplOptions:
        """SpecError for an unknown option, a value that is no number, or one out of bounds."""
        known = {"poll_s", "max_power_w"}
        if unknown := sorted(set(options) - known):
            raise SpecError(f"rapl has no option {unknown[0]!r}", hint=f"its options are {sorted(known)}")
        numbers: dict[str, float] = {}
        for name, value in options.items():
            if isinstance(value, bool | str) or not math.isfinite(value) or value <= 0:
                raise SpecError(f"rapl option {name} is {value!r}", hint="give a positive number")
            numbers[name] = float(value)
        if numbers.get("poll_s", 1.0) < UPDATE_NS / NS_PER_S:
            raise SpecError(
                f"rapl option poll_s is {numbers['poll_s']:g} s, but the counters change every 0.001 s only",
                hint="poll at 0.001 s or slower; the default is 0.02",
            )
        return cls(**numbers)


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None, files: FileCalls | None = None) -> Rapl:
    """An unopened RAPL meter. `files` stands in for the kernel's file calls; SpecError for wrong options."""
    return Rapl(request, clock=clock if clock is not None else RealClock(), files=files)


class Rapl:
    """PolledMeter over the powercap tree under `request.sysfs_root`.

    Reads the channels that `request.rails` names, or all there are. A reading is one pass over these
    counters, stamped at its middle. A pass in which any of them failed is no reading: it becomes part of
    a gap. The reason of a gap begins with `reset:` where the counters' difference across it is no energy.
    """

    def __init__(self, request: MeterRequest, *, clock: WaitClock, files: FileCalls | None = None) -> None:
        self._request = request
        self._options = RaplOptions.from_request(request.options)
        self._clock = clock
        self._sysfs = Sysfs(request.sysfs_root, files=files)
        self._counters: list[Counter] = []
        self._poll_ns = round(self._options.poll_s * NS_PER_S)
        self._acquisition: Acquisition | None = None
        self._next_ns = 0

    @property
    def recovered(self) -> bool:
        """Always False: a counter cannot be left sampling."""
        return False

    @property
    def poll_s(self) -> float:
        return self._options.poll_s

    def open(self) -> MeterInfo:
        """Finds and opens the counters. Raises DeviceError (none, not readable) or SpecError (polled too slowly)."""
        self.close()
        self._counters, left_out = open_counters(self._sysfs, {channel for channel, _ in self._request.rails})
        try:
            self._check_poll()
            return self._info(left_out)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        if not self._counters:
            raise DeviceError(f"rapl meter {self._request.name!r} is not open", hint="call open() before start()")
        self._acquisition = Acquisition(self._counters, self._clock, self._options.max_power_w)
        self._acquisition.read()
        self._next_ns = self._clock.now_ns() + self._poll_ns

    def step(self, until_ns: int) -> Block | None:
        """Polls until `until_ns` on the host clock -> what was read, or None."""
        if self._acquisition is None:
            return None
        while self._next_ns <= until_ns:
            self._clock.sleep_until(self._next_ns)
            self._acquisition.read()
            self._next_ns += self._poll_ns
            if (late_ns := self._clock.now_ns() - self._next_ns) > 0:  # the process was held up: keep the beat
                missed = late_ns // self._poll_ns + 1
                self._acquisition.count("late_polls", missed)
                self._next_ns += missed * self._poll_ns
        self._clock.sleep_until(until_ns)
        return self._acquisition.take()

    def stop(self) -> Block | None:
        """A last reading, and what was not yet handed on. May be called twice."""
        if self._acquisition is None:
            return None
        acquisition, self._acquisition = self._acquisition, None
        acquisition.read()
        return acquisition.finish()

    def close(self) -> None:
        self._acquisition = None
        counters, self._counters = self._counters, []
        for counter in counters:
            with contextlib.suppress(OSError):
                counter.attribute.close()

    def _check_poll(self) -> None:
        for counter in self._counters:
            longest_s = codec.wrap_s(counter.range_uj, self._options.max_power_w) / READS_PER_WRAP
            if self._options.poll_s > longest_s:
                raise SpecError(
                    f"rapl option poll_s is {self._options.poll_s:g} s, but {counter.zone.channel} can wrap in "
                    f"{longest_s * READS_PER_WRAP:.3g} s at {self._options.max_power_w:g} W, "
                    f"so it must be read every {longest_s:.3g} s",
                    hint=f"set poll_s to {longest_s:.3g} or less (the default is 0.02)",
                )

    def _info(self, left_out: Mapping[str, str]) -> MeterInfo:
        names = [counter.zone.channel for counter in self._counters]
        details = {"update_ns": str(UPDATE_NS)}
        for counter in self._counters:
            details[f"zone:{counter.zone.channel}"] = counter.zone.zone_id
            details[f"unit_uj:{counter.zone.channel}"] = f"{codec.unit_uj(counter.range_uj):g}"
            if whole := codec.contained_in(counter.zone.channel, names):
                details[f"part_of:{counter.zone.channel}"] = whole
        details |= {f"left_out:{channel}": why for channel, why in left_out.items()}
        return MeterInfo(
            driver="rapl",
            model=self._cpu_model(),
            serial=self._counters[0].zone.zone_id.split(":")[0],
            firmware=self._line("proc/sys/kernel/osrelease"),
            clock=HOST,
            columns=tuple(ColumnSpec(column_name(name), "J") for name in names),
            channels=tuple(self._channel(counter) for counter in self._counters),
            simulated=self._request.simulated,
            details=details,
        )

    def _channel(self, counter: Counter) -> ChannelSpec:
        kind = counter.zone.name.partition("-")[0]
        gain_rel = ASSUMED_GAIN_REL.get(kind, max(ASSUMED_GAIN_REL.values()))
        return ChannelSpec(
            name=counter.zone.channel,
            quantity="energy_j",
            columns=(column_name(counter.zone.channel),),
            reading=Reading(ReadingKind.COUNTER, period_ns=self._poll_ns, window_ns=self._poll_ns),
            accuracy=Accuracy(gain_rel, ASSUMED_OFFSET_W, source=ASSUMED_SOURCE),
            modulus_raw=counter.modulus,
            max_power_w=self._options.max_power_w,
        )

    def _cpu_model(self) -> str:
        for line in self._line("proc/cpuinfo").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
        return "unknown CPU"

    def _line(self, relative: str) -> str:
        try:
            return self._sysfs.text(relative)
        except OSError:
            return "unknown"
