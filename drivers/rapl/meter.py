"""RAPL as a polled meter: the machine's own energy counters, one channel a zone, on the host's clock."""

from __future__ import annotations

import contextlib

from drivers.rapl.acquisition import Acquisition
from drivers.rapl.description import check_poll, describe
from drivers.rapl.options import RaplOptions
from drivers.rapl.zones import Counter, open_counters
from harness.core.clock import HOST
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import RealClock, WaitClock
from harness.io.sysfs import FileCalls, Sysfs


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
            check_poll(self._counters, self._options)
            return describe(
                self._sysfs, self._counters, left_out, self._options, clock=HOST, simulated=self._request.simulated
            )
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        if not self._counters:
            raise DeviceError(f"rapl meter {self._request.name!r} is not open", hint="call open() before start()")
        self._acquisition = Acquisition(self._counters, self._clock, self._options.max_power_w)
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
        for counter in counters:
            with contextlib.suppress(OSError):
                counter.attribute.close()
