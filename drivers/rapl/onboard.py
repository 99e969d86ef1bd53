"""RAPL of a board that is not this machine: the agent's sampler reads the counters there, this decodes them here.

What a channel is called, what is refused, and what becomes a gap are the same as for the meter that polls: both
look through the tree with `zones` and judge with `readings`. Only the stamps are of the board's clock.
"""

from __future__ import annotations

import errno
import glob
from collections.abc import Sequence

from drivers.rapl import codec
from drivers.rapl.description import check_poll, describe
from drivers.rapl.options import RaplOptions
from drivers.rapl.readings import GONE, PASS_TRIES, SLOW_PASS_NS, Readings
from drivers.rapl.zones import POWERCAP, Counter, open_counters
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo
from harness.io.snapshot import Snapshot
from harness.io.sysfs import Sysfs

ZONE_FILES = ("name", "max_energy_range_uj", "energy_uj")
MACHINE_FILES = ("proc/cpuinfo", "proc/sys/kernel/osrelease")
COUNT_NAMES = {"late_passes": "late_polls"}  # as the polling meter calls it


def open_on_board(request: MeterRequest) -> OnBoardRapl:
    """The host's half of a RAPL meter on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardRapl(request)


class OnBoardRapl:
    """OnBoardMeter over the powercap tree under `request.sysfs_root` of the board.

    A pass longer than the counters' own period says too little about when it was: it is left out, but never more
    than two in a row. A pass with a failed read is part of a gap, as in `Readings`.
    """

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = RaplOptions.from_request(request.options)
        self._counters: list[Counter] = []
        self._readings: Readings | None = None
        self._slow = 0  # slow passes in a row that were left out
        self._end_ns = 0

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """Looks through the board's tree in one question. Raises DeviceError or SpecError as Rapl.open does."""
        root = self._request.sysfs_root
        prefix = glob.escape(str(root).rstrip("/"))
        patterns = [f"{prefix}/{POWERCAP}/*/{name}" for name in ZONE_FILES]
        sysfs = Sysfs(root, files=Snapshot(files, [*patterns, *(f"{prefix}/{name}" for name in MACHINE_FILES)]))
        self._counters, left_out = open_counters(sysfs, {channel for channel, _ in self._request.rails})
        check_poll(self._counters, self._options)
        self._readings = None
        info = describe(sysfs, self._counters, left_out, self._options, clock=clock, simulated=self._request.simulated)
        paths = tuple(counter.attribute.path for counter in self._counters)
        return info, SamplerPlan(files=paths, period_s=self._options.poll_s)

    def decode(self, samples: RawSamples) -> Block | None:
        """Passes in order -> rows, gaps and counts; None while there is no row."""
        readings = self._started(samples)
        if readings is None:
            return None
        for name, count in samples.counts.items():
            readings.count(COUNT_NAMES.get(name, name), count)
        middle_ns = samples.begin_ns + (samples.end_ns - samples.begin_ns) // 2
        slow = (samples.end_ns - samples.begin_ns) > SLOW_PASS_NS
        for t_ns, is_slow, entries in zip(middle_ns.tolist(), slow.tolist(), samples.data, strict=True):
            self._pass(readings, t_ns, entries, slow=is_slow)
        if len(samples.end_ns):
            self._end_ns = int(samples.end_ns[-1])
        return readings.take()

    def finish(self) -> Block | None:
        """What waited for a row that never came; an open gap ends with the last pass."""
        return self._readings.finish(self._end_ns) if self._readings is not None else None

    def _started(self, samples: RawSamples) -> Readings | None:
        if not self._counters:
            raise DeviceError(f"rapl meter {self._request.name!r} is not prepared", hint="call prepare() first")
        if self._readings is None and len(samples.begin_ns):
            begin_ns = int(samples.begin_ns[0])
            self._readings = Readings(self._counters, max_power_w=self._options.max_power_w, begin_ns=begin_ns)
        return self._readings

    def _pass(self, readings: Readings, t_ns: int, entries: Sequence[bytes | int], *, slow: bool) -> None:
        values = []
        for counter, entry in zip(self._counters, entries, strict=True):
            name = counter.zone.channel
            if isinstance(entry, int):
                why = f"{name}: {errno.errorcode.get(entry, str(entry))}"
                readings.lose(why, gone=name if entry in GONE else "")
                return
            try:
                values.append(codec.parse_energy_uj(entry))
            except ValueError as error:
                readings.lose(f"{name}: {error}")
                return
        if slow:
            readings.count("slow_passes")
            self._slow += 1
            if self._slow < PASS_TRIES:
                return
        self._slow = 0
        readings.add(t_ns, values)
