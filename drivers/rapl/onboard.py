"""RAPL of a board that is not this machine: the agent's sampler reads the counters there, this decodes them here.

What a channel is called, what is refused, and what becomes a gap are the same as for the meter that polls: both
look through the machine with `interfaces` and judge with `readings`. Only the stamps are of the board's clock.
"""

from __future__ import annotations

import errno
import glob
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from drivers.rapl import codec, topology
from drivers.rapl.counters import Counter, Event, Found, Register, ZoneFile
from drivers.rapl.description import check_poll, describe
from drivers.rapl.health import LOOK_AT_LOG, WATCH_NS, finding
from drivers.rapl.interfaces import find
from drivers.rapl.options import RaplOptions
from drivers.rapl.readings import GONE, PASS_TRIES, SLOW_PASS_NS, Readings
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock
from harness.io.snapshot import Snapshot
from harness.io.sysfs import Sysfs

LOOKS = 5
COUNT_NAMES = {"late_passes": "late_polls"}  # as the polling meter calls it


def open_on_board(request: MeterRequest) -> OnBoardRapl:
    """The host's half of a RAPL meter on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardRapl(request)


class BoardMachine:
    """Machine behind a board's files: each look and each probe is one question."""

    def __init__(self, root: Path, files: BoardFiles) -> None:
        self.root, self._files = root, files

    def look(self, patterns: Sequence[str]) -> Sysfs:
        prefix = glob.escape(str(self.root).rstrip("/"))
        return Sysfs(self.root, files=Snapshot(self._files, [f"{prefix}/{pattern}" for pattern in patterns]))

    def values(self, found: Found) -> list[bytes | int]:
        """What each counter shows now, or its errno."""
        registers = [counter.target for counter in found.counters if not isinstance(counter.target, ZoneFile)]
        if registers:
            return self.probe(registers)
        paths = [counter.target.path for counter in found.counters if isinstance(counter.target, ZoneFile)]
        content = self._files.read([glob.escape(path) for path in paths])
        return [content.get(path, errno.EIO) for path in paths]

    def probe(self, targets: Sequence[Register | Event]) -> list[bytes | int]:
        questions = [_question(target) for target in targets]
        answers = self._files.read(questions)
        return [_answer(answers.get(question, b"")) for question in questions]


def _question(target: Register | Event) -> str:
    if isinstance(target, Register):
        return f"agent:at {target.number} {codec.REGISTER_BYTES} {target.path}"
    return f"agent:event {target.pmu_type} {target.config} {target.cpu}"


def _answer(said: bytes) -> bytes | int:
    try:
        answer = json.loads(said)
        return answer if isinstance(answer, int) else bytes.fromhex(answer)
    except (ValueError, TypeError):
        return errno.ENOSYS  # an agent that does not know the question


def _judged(counter: Counter, answer: bytes | int) -> int | str:
    if isinstance(answer, int):
        return errno.errorcode.get(answer, str(answer))
    try:
        return counter.decode(answer)
    except ValueError as error:
        return str(error)


def plan_for(counters: Sequence[Counter], options: RaplOptions) -> SamplerPlan:
    """What the sampler reads for counters of one interface, in their order."""
    targets = [counter.target for counter in counters]
    return SamplerPlan(
        files=tuple(t.path for t in targets if isinstance(t, ZoneFile)),
        registers=tuple((t.path, t.number, codec.REGISTER_BYTES) for t in targets if isinstance(t, Register)),
        events=tuple((t.pmu_type, t.config, t.cpu) for t in targets if isinstance(t, Event)),
        period_s=options.poll_s,
        edge_s=options.edge_s,
    )


class OnBoardRapl:
    """OnBoardMeter over the RAPL counters below `request.sysfs_root` of the board.

    A pass longer than the counters' own period says too little about when it was: it is left out, but never more
    than two in a row. A pass with a failed read is part of a gap, as in `Readings`.
    """

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = RaplOptions.from_request(request.options)
        self._found: Found | None = None
        self._machine: BoardMachine | None = None
        self._readings: Readings | None = None
        self._slow = 0  # slow passes in a row that were left out
        self._end_ns = 0

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """Looks through the board's files, one question an interface. DeviceError or SpecError as Rapl.open."""
        self._machine = BoardMachine(self._request.sysfs_root, files)
        wanted = {channel for channel, _ in self._request.rails}
        self._found = found = find(self._machine, self._options.interface, wanted)
        check_poll(found.counters, self._options)
        self._readings = None
        info = describe(found, self._options, clock=clock, simulated=self._request.simulated)
        return info, plan_for(found.counters, self._options)

    def decode(self, samples: RawSamples) -> Block | None:
        """Passes in order -> rows, gaps and counts; None while there is no row."""
        counters = self._prepared().counters
        readings = self._started(counters, samples)
        if readings is None:
            return None
        for name, count in samples.counts.items():
            readings.count(COUNT_NAMES.get(name, name), count)
        middle_ns = samples.begin_ns + (samples.end_ns - samples.begin_ns) // 2
        slow = (samples.end_ns - samples.begin_ns) > SLOW_PASS_NS
        for t_ns, is_slow, entries in zip(middle_ns.tolist(), slow.tolist(), samples.data, strict=True):
            self._pass(readings, counters, t_ns, entries, slow=is_slow)
        if len(samples.end_ns):
            self._end_ns = int(samples.end_ns[-1])
        return readings.take()

    def finish(self) -> Block | None:
        """What waited for a row that never came; an open gap ends with the last pass."""
        return self._readings.finish(self._end_ns) if self._readings is not None else None

    def is_guest(self) -> bool:
        """Whether the board says that it is a virtual machine."""
        return topology.is_guest(self._prepared().sysfs)

    def self_test(self) -> list[CheckItem]:
        """Whether the counters can be read and move: looks at them some times within a second."""
        found, machine = self._prepared(), self._machine
        assert machine is not None
        if any(isinstance(counter.target, Event) for counter in found.counters):
            words = "a guest: its events need not count" if self.is_guest() else "can be opened"
            return [CheckItem(f"events {c.channel}", ok=not self.is_guest(), found=words) for c in found.counters]
        clock = RealClock()
        looks = []
        begin_ns = clock.now_ns()
        for k in range(LOOKS):
            clock.sleep_until(begin_ns + k * WATCH_NS // LOOKS)
            looks.append([_judged(c, answer) for c, answer in zip(found.counters, machine.values(found), strict=True)])
        seconds = (clock.now_ns() - begin_ns) / NS_PER_S
        findings = []
        for counter, seen in zip(found.counters, zip(*looks, strict=True), strict=True):
            if trouble := next((value for value in seen if isinstance(value, str)), None):
                findings.append(CheckItem(f"readable {counter.channel}", ok=False, found=trouble, mend=LOOK_AT_LOG))
            else:
                changes = sum(a != b for a, b in itertools.pairwise(seen))
                findings.append(finding(counter.channel, changes, seconds, looks=LOOKS))
        return findings

    def _prepared(self) -> Found:
        if self._found is None:
            raise DeviceError(f"rapl meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._found

    def _started(self, counters: Sequence[Counter], samples: RawSamples) -> Readings | None:
        if self._readings is None and len(samples.begin_ns):
            begin_ns = int(samples.begin_ns[0])
            self._readings = Readings(counters, max_power_w=self._options.max_power_w, begin_ns=begin_ns)
        return self._readings

    def _pass(
        self, readings: Readings, counters: Sequence[Counter], t_ns: int, entries: Sequence[bytes | int], *, slow: bool
    ) -> None:
        values = []
        for counter, entry in zip(counters, entries, strict=True):
            name = counter.channel
            if isinstance(entry, int):
                why = f"{name}: {errno.errorcode.get(entry, str(entry))}"
                readings.lose(why, gone=name if entry in GONE else "")
                return
            try:
                values.append(counter.decode(entry))
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
