"""RAPL as a polled meter: the machine's own energy counters, one channel a domain, on the host's clock."""

from __future__ import annotations

import contextlib

from drivers.rapl import access
from drivers.rapl.acquisition import Acquisition, OpenCounter
from drivers.rapl.counters import Found
from drivers.rapl.description import check_poll, describe
from drivers.rapl.devices import DeviceCalls, ThisMachine
from drivers.rapl.health import check, moving
from drivers.rapl.interfaces import find, none_counts
from drivers.rapl.options import RaplOptions
from harness.core.clock import HOST
from harness.core.errors import DeviceError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.sysfs import FileCalls, reason

STILL_S = 1.0  # a platform that draws 1 W moves a counter of 1 J by then; all others move in milliseconds


def open_meter(
    request: MeterRequest,
    *,
    clock: WaitClock | None = None,
    files: FileCalls | None = None,
    calls: DeviceCalls | None = None,
) -> Rapl:
    """An unopened RAPL meter. `files`, `calls` stand in for the kernel's calls; SpecError for wrong options."""
    return Rapl(request, clock=clock if clock is not None else RealClock(), files=files, calls=calls)


class Rapl:
    """PolledMeter over the RAPL counters of the machine under `request.sysfs_root`.

    Reads the channels that `request.rails` names, or all there are. A reading is one pass over these
    counters, stamped at its middle. A pass in which any of them failed is no reading: it becomes part of
    a gap. The reason of a gap begins with `reset:` where the counters' difference across it is no energy.
    """

    def __init__(
        self,
        request: MeterRequest,
        *,
        clock: WaitClock,
        files: FileCalls | None = None,
        calls: DeviceCalls | None = None,
    ) -> None:
        self._request = request
        self._options = RaplOptions.from_request(request.options)
        self._clock = clock
        self._machine = ThisMachine(request.sysfs_root, files=files, calls=calls)
        self._counters: list[OpenCounter] = []
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
        found = find(self._machine, self._options.interface, {channel for channel, _ in self._request.rails})
        check_poll(found.counters, self._options)
        try:
            for counter in found.counters:
                try:
                    self._counters.append(OpenCounter(counter, self._machine.open(counter)))
                except OSError as error:  # it could be read a moment ago
                    raise DeviceError(f"{counter.where} cannot be opened ({reason(error)})") from error
            if found.interface == "perf":  # it shows what it has counted since it was opened, also where nothing counts
                self._require_movement(found)
        except BaseException:
            self.close()
            raise
        return describe(found, self._options, clock=HOST, simulated=self._request.simulated)

    def _require_movement(self, found: Found) -> None:
        whole = [c for c in self._counters if c.counter.kind in ("package", "psys")]
        if whole and not any(moving(whole, self._clock, round(STILL_S * NS_PER_S), enough=1).values()):
            raise none_counts(found, access.stands_still([c.counter.where for c in whole], STILL_S))

    def start(self) -> None:
        if not self._counters:
            raise DeviceError(f"rapl meter {self._request.name!r} is not open", hint="call open() before start()")
        self._acquisition = Acquisition(self._counters, self._clock, self._options)
        self._acquisition.read()
        self._next_ns = self._clock.now_ns() + self._options.poll_ns

    def step(self, until_ns: int) -> Block | None:
        """Polls until `until_ns` on the host clock -> what was read, or None."""
        if self._acquisition is None:
            return None
        while self._next_ns <= until_ns:
            self._clock.sleep_until(self._next_ns)
            self._acquisition.read()
            self._next_ns += self._options.poll_ns
            if (late_ns := self._clock.now_ns() - self._next_ns) > 0:  # the process was held up: keep the beat
                missed = late_ns // self._options.poll_ns + 1
                self._acquisition.count("late_polls", missed)
                self._next_ns += missed * self._options.poll_ns
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
        for opened in counters:
            with contextlib.suppress(OSError):
                opened.reader.close()

    def self_test(self) -> list[CheckItem]:
        """Whether the counters can be read, move, and how often; takes about a second. The meter must be open."""
        return check(self._counters, self._clock)
