"""What can go wrong with RAPL: each fault played on a simulated machine in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

import dataclasses
import errno
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from drivers.rapl.meter import Rapl, open_meter
from drivers.rapl.onboard import open_on_board
from drivers.simulated.powercap.devices import SimulatedDevices
from drivers.simulated.powercap.layouts import LAYOUTS, Layout, ZoneLayout
from drivers.simulated.powercap.processors import PROCESSORS, SimulatedProcessor
from drivers.simulated.powercap.tree import FaultyFiles, PowercapTree
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest, RawSamples
from harness.core.trace import Block
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

SCALE = 0.5  # 12 s
UPDATE_NS = 1_000_000
OTHERS = 0.4  # of the scene's power: what channels besides the recorded one draw
Options = dict[str, str | int | float]
At = Sequence[tuple[float, Callable[["Bench"], None]]]  # (share of the work, what happens then)


class Bench:
    """A machine whose `channel` draws the scene's power, and the shipped driver on it.

    `events` happen at shares of the work (0: its begin, 1: its end). `late_s(t_s)`: how long before t the counters were
    last renewed. `layout`: a powercap tree; `processor`: registers and perf events (`interface`) instead.
    """

    def __init__(
        self,
        scene: Scene,
        channel: str = "package-0",
        *,
        layout: str | Layout = "client",
        processor: str | SimulatedProcessor | None = None,
        interface: str = "powercap",
        also: tuple[str, ...] = (),
        options: Options | None = None,
        events: At = (),
        late_s: Callable[[float], float] = lambda t_s: 0.0,
        spoil: Callable[[Bench, bytes], bytes] | None = None,
    ) -> None:
        self.scene, self.channel, self._also, self._late_s = scene, channel, also, late_s
        self.clock = VirtualClock(BEGIN_NS)
        self._cleared = ExitStack()
        self.root = Path(self._cleared.enter_context(tempfile.TemporaryDirectory(prefix="joulebench-rapl-")))
        self.tree = PowercapTree(self.root, layout)
        self.devices = SimulatedDevices(self.root, processor or "client", now_ns=self.clock.now_ns)
        self.is_tree = processor is None
        if self.is_tree:
            self._cleared.callback(self.tree.create().close)
        else:
            self.devices.create()
        self.files = _Files(self, spoil)
        begin, end = scene.edges_s
        self._events = sorted((begin + share * (end - begin), k, act) for k, (share, act) in enumerate(events))
        self.options: Options = {"interface": interface, **(options or {})}
        self.clock.subscribe(self._move, period_ns=UPDATE_NS)

    @property
    def t_s(self) -> float:
        return (self.clock.now_ns() - BEGIN_NS) / NS_PER_S

    def _move(self, now_ns: int) -> None:
        t_s = (now_ns - BEGIN_NS) / NS_PER_S
        while self._events and self._events[0][0] <= t_s:
            self._events.pop(0)[2](self)
        energy_j = float(self.scene.energy_j(np.array(max(0.0, t_s - self._late_s(t_s)))))
        move = self.tree.set_energy_j if self.is_tree else self.devices.set_energy_j
        move(self.channel, energy_j)
        for channel in self._also:
            move(channel, OTHERS * energy_j)

    def request(self) -> MeterRequest:
        rails = tuple((channel, channel) for channel in (self.channel, *self._also))
        return MeterRequest("trial", options=self.options, rails=rails, sysfs_root=self.root, simulated=True)

    def record(self, *, stall_s: tuple[float, float] | None = None) -> Recorded:
        """Acquire the whole scene; nobody runs the driver between the two times of `stall_s`."""
        with self._cleared:
            meter: Rapl = open_meter(self.request(), clock=self.clock, files=self.files, calls=self.devices)
            blocks: list[Block | None] = []
            try:
                info = meter.open()
                meter.start()
                end_ns = BEGIN_NS + round(self.scene.duration_s * NS_PER_S)
                if stall_s is not None:
                    blocks.append(meter.step(BEGIN_NS + round(stall_s[0] * NS_PER_S)))
                    self.clock.sleep_until(BEGIN_NS + round(stall_s[1] * NS_PER_S))
                while self.clock.now_ns() < end_ns:
                    blocks.append(meter.step(min(end_ns, self.clock.now_ns() + NS_PER_S)))
                blocks.append(meter.stop())
            finally:
                meter.close()
            return Recorded(info, [b for b in blocks if b is not None], self.channel)

    def on_board(self, spoil: Callable[[int, float, bytes], bytes | int], *, ahead_ns: int = 0) -> Recorded:
        """The same tree sampled by a board's agent, whose clock runs `ahead_ns` before ours and 30 ppm fast.

        `spoil(k, t_s, data)` makes an entry of what pass k read.
        """
        with self._cleared:
            meter = open_on_board(self.request())
            info, plan = meter.prepare(LocalFiles(), clock="board:trial")
            begin: list[int] = []
            rows: list[tuple[bytes | int, ...]] = []
            for k in range(round(self.scene.duration_s / plan.period_s)):
                self.clock.sleep_until(BEGIN_NS + round(k * plan.period_s * NS_PER_S))
                begin.append(self.clock.now_ns())
                rows.append(tuple(spoil(k, self.t_s, Path(path).read_bytes()) for path in plan.files))
            here = np.array(begin, np.int64)
            there = here + ahead_ns + ((here - BEGIN_NS) * 30 // 1_000_000)
            blocks: list[Block | None] = []
            for part in np.array_split(np.arange(len(rows)), 5):
                data = tuple(rows[int(k)] for k in part)
                blocks.append(meter.decode(RawSamples(there[part], there[part] + 30_000, data)))
            blocks.append(meter.finish())
            some = np.linspace(0, len(here) - 1, 40).astype(int)
            pings = np.stack([here[some] - 40_000, there[some], here[some] + 40_000], axis=1)
            return Recorded(info, [b for b in blocks if b is not None], self.channel, pings)


class _Files(FaultyFiles):
    """The kernel's file calls with the tree's faults; `delay_ns` is what one read of a counter takes."""

    def __init__(self, bench: Bench, spoil: Callable[[Bench, bytes], bytes] | None) -> None:
        super().__init__(bench.tree)
        self._bench, self._spoil = bench, spoil
        self.delay_ns = 0
        self.reads = 0

    def read(self, fd: int) -> bytes:
        data = super().read(fd)
        if fd in self._zone_of_fd:
            self.reads += 1
            if self.delay_ns and self.reads % 7 == 0:
                self._bench.clock.sleep_until(self._bench.clock.now_ns() + self.delay_ns)
            if self._spoil is not None:
                data = self._spoil(self._bench, data)
        return data


# --- machines ----------------------------------------------------------------------------------------


def _near_its_end(left_uj: int) -> Layout:
    """A client whose package wraps when it has used so much."""
    client = LAYOUTS["client"]
    zones = (dataclasses.replace(client.zones[0], start_uj=262_143_328_850 - left_uj), *client.zones[1:])
    return dataclasses.replace(client, zones=zones)


SMALL = Layout("a counter that turns every 4.3 J", (ZoneLayout("intel-rapl:0", "package-0", unit=1),))
SMALL_OPTIONS: Options = {"max_power_w": 10.0}


def _unknown_server() -> SimulatedProcessor:
    """A server whose DRAM has a unit of its own, which nobody has told this driver yet."""
    return dataclasses.replace(PROCESSORS["server"], model=250, name="a server of the day after tomorrow")


# --- faults ------------------------------------------------------------------------------------------

Play = Callable[[Scene], Recorded]


def _on(*args: Any, **how: Any) -> Play:
    return lambda scene: Bench(scene, *args, **how).record()


def _devices(interface: str, *args: Any, processor: str | SimulatedProcessor = "client", **how: Any) -> Play:
    return _on(*args, processor=processor, interface=interface, **how)


def _files(channel: str, code: int, begin: float, end: float | None) -> At:
    """Reads of a counter fail between two shares of the work."""
    failing: At = [(begin, lambda b: b.files.fail(channel, code))]
    return failing if end is None else [*failing, (end, lambda b: b.files.mend(channel))]


def _gone(back: float | None) -> At:
    gone: list[tuple[float, Callable[[Bench], None]]] = [(0.4, lambda b: b.tree.vanish("package-0"))]
    if back is not None:
        gone += [(back, lambda b: b.tree.come_back("package-0")), (back, lambda b: b.tree.reset("package-0"))]
    return gone


def _stick(begin: float, end: float | None) -> At:
    stuck: list[tuple[float, Callable[[Bench], None]]] = [(begin, lambda b: b.tree.stick("package-0"))]
    if end is not None:
        stuck.append((end, lambda b: b.tree.stick("package-0", stuck=False)))
    return stuck


def _denied(scene: Scene) -> Recorded:
    bench = Bench(scene)
    bench.files.deny = True
    return bench.record()


def _denied_devices(interface: str) -> Play:
    def play(scene: Scene) -> Recorded:
        bench = Bench(scene, processor="client", interface=interface)
        bench.devices.deny = errno.EPERM
        return bench.record()

    return play


def _guest(interface: str) -> Play:
    def play(scene: Scene) -> Recorded:
        bench = Bench(scene, processor="client", interface=interface)
        bench.devices.hypervisor = True
        return bench.record()

    return play


def _slow(scene: Scene) -> Recorded:
    bench = Bench(scene)
    bench.files.delay_ns = 6_000_000
    return bench.record()


def _stalled(seconds: float, **how: Any) -> Play:
    def play(scene: Scene) -> Recorded:
        begin = scene.edges_s[0] + 0.3 * (scene.edges_s[1] - scene.edges_s[0])
        return Bench(scene, **how).record(stall_s=(begin, begin + seconds))

    return play


def _torn(bench: Bench, data: bytes) -> bytes:
    return data.strip()[:5] if bench.files.reads % 60 == 0 else data


def _wild(bench: Bench, data: bytes) -> bytes:
    return b"18446744073709551615\n" if bench.files.reads % 60 == 0 else data


def _empty(bench: Bench, data: bytes) -> bytes:
    return b"" if bench.files.reads % 60 == 0 else data


def _noisy(amount_s: float) -> Callable[[float], float]:
    """Renewals that come late by a changing amount, as the filter against side channels makes them."""
    return lambda t_s: amount_s * (0.5 + 0.5 * np.sin(1000.0 * t_s))


def _junk(b: Bench) -> None:
    b.devices.junk = 0x7777_0001 << 32


def _board_plain(k: int, t_s: float, data: bytes) -> bytes | int:
    return data


def _board_full(k: int, t_s: float, data: bytes) -> bytes | int:
    return errno.ENOBUFS if 200 <= k < 240 else data


def _board_gone(k: int, t_s: float, data: bytes) -> bytes | int:
    return errno.ENODEV if 200 <= k < 240 else data


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, play: Play, **more: Any) -> FaultTrial:
        return FaultTrial("rapl", fault, what, play, **({"scale": SCALE} | more))

    reset = [(0.5, lambda b: b.tree.reset("package-0"))]
    reset_device = [(0.5, lambda b: b.devices.reset("package-0"))]
    return (
        trial("none", "nothing goes wrong", _on()),
        # --- the counter
        trial("wrap", "the counter wraps in the middle of the work", _on(layout=_near_its_end(21_000_000))),
        trial("many_wraps", "a counter that turns every 0.9 s, read often enough",
              _on(layout=SMALL, options=SMALL_OPTIONS)),
        trial("double_wrap", "nobody reads for 2 s, in which the counter turns twice",
              _stalled(2.0, layout=SMALL, options=SMALL_OPTIONS)),
        trial("reset", "the counter starts again from 0, as after suspend", _on(events=reset)),
        trial("stuck", "the counter stands still from the middle of the work on", _on(events=_stick(0.5, None))),
        trial("stale_read", "the counter repeats one value for 0.6 s, then shows all of it",
              _on(events=_stick(0.4, 0.5))),
        trial("late_updates", "the counter is renewed up to 10 ms late", _on(late_s=_noisy(0.01))),
        trial("stuck_uncore", "a graphics domain that never moves is read beside the package",
              _on(also=("package-0/uncore",), events=[(-1.0, lambda b: b.tree.stick("package-0/uncore"))])),
        trial("one_joule_steps", "the platform's counter moves in steps of 1 J",
              _on("psys", layout="sapphire-rapids", also=("package-0",))),
        trial("dram_unit", "a server's DRAM counts in 15.3 uJ beside a package in 61 uJ",
              _on("package-0/dram", layout="server", also=("package-0", "package-1"))),
        trial("mmio_duplicate", "a second interface shows the same package", _on(layout="client", also=("psys",))),
        # --- its file
        trial("eio", "reads fail with EIO for 0.6 s of the work", _on(events=_files("package-0", errno.EIO, 0.4, 0.5))),
        trial("eio_for_good", "reads fail with EIO from the middle of the work on",
              _on(events=_files("package-0", errno.EIO, 0.5, None))),
        trial("permission", "only root may read the counters", _denied),
        trial("permission_lost", "reads are refused from the middle of the work on",
              _on(events=_files("package-0", errno.EACCES, 0.5, None))),
        trial("zone_vanishes", "the zone goes away and comes back as another device, counting from 0",
              _on(events=_gone(0.6))),
        trial("zone_stays_away", "the zone goes away for good", _on(events=_gone(None))),
        trial("torn_text", "one read in 60 gives the first five digits only", _on(spoil=_torn)),
        trial("wild_value", "one read in 60 gives 2^64 - 1", _on(spoil=_wild)),
        trial("empty_file", "one read in 60 gives nothing", _on(spoil=_empty)),
        # --- the reader
        trial("slow_pass", "one read in seven is interrupted for 6 ms", _slow),
        trial("reader_stalls", "nobody reads for 1.5 s of the work", _stalled(1.5)),
        # --- registers
        trial("msr_none", "nothing goes wrong; registers", _devices("msr")),
        trial("msr_wrap", "a 32-bit register wraps", _devices("msr", processor=_wrapping_soon())),
        trial("msr_junk", "what lies above the 32 bits changes", _devices("msr", events=[(0.5, _junk)])),
        trial("msr_reset", "a register starts again from 0", _devices("msr", events=reset_device)),
        trial("msr_eio", "a register cannot be read for half a second",
              _devices("msr", events=[(0.4, lambda b: b.devices.fail("package-0", errno.EIO)),
                                      (0.5, lambda b: b.devices.mend("package-0"))])),
        trial("msr_locked", "the kernel is locked down", _denied_devices("msr")),
        trial("msr_guest", "a virtual machine whose registers read 0", _guest("msr")),
        trial("msr_unknown_unit", "a new server's DRAM counts in a unit that its register of units does not tell",
              _devices("msr", "package-0/dram", processor=_unknown_server())),
        # --- perf events
        trial("perf_none", "nothing goes wrong; perf events", _devices("perf")),
        trial("perf_reset", "the processor starts anew, and the kernel takes it for a wrap",
              _devices("perf", events=reset_device)),
        trial("perf_paused", "the event is not counted for 5 ms",
              _devices("perf", events=[(0.5, lambda b: setattr(b.devices, "idle_ns", 5_000_000))])),
        trial("perf_paranoid", "perf_event_paranoid forbids it", _denied_devices("perf")),
        trial("perf_guest", "a virtual machine shows an event that counts nothing", _guest("perf")),
        # --- through a board's sampler
        trial("board_none", "sampled on a board whose clock is another", _board(_board_plain)),
        trial("board_full", "the sampler's memory was full for 0.8 s", _board(_board_full)),
        trial("board_gone", "the zone went away on the board for 0.8 s", _board(_board_gone)),
    )  # fmt: skip


def _board(spoil: Callable[[int, float, bytes], bytes | int]) -> Play:
    return lambda scene: Bench(scene).on_board(spoil, ahead_ns=7_000_000_000_000)


def _wrapping_soon() -> SimulatedProcessor:
    client = PROCESSORS["client"]
    soon = dataclasses.replace(client.domains[0], start=(1 << 32) - (21 << client.domains[0].unit_bits))
    return dataclasses.replace(client, domains=(soon, *client.domains[1:]))
