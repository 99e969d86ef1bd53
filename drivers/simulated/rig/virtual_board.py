"""A board in virtual time: it carries out the agent's programs with the world's durations and feeds the rig.

The edges of a whole program are laid before time passes over it; then the clock moves to its end, and
the meters are stepped on the way. A board that may be throttled asks the rig, as it goes, whether it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.clocks import NS, BoardClock
from drivers.simulated.rig.durations import Durations
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.telling import CHANNELS
from drivers.simulated.rig.virtual_profile import Profiler, StampedKernels
from drivers.simulated.rig.virtual_telemetry import RigTelemetry
from drivers.simulated.rig.workload import kernels_of
from harness.core.clock import Int64Array, board_clock
from harness.core.errors import SpecError
from harness.core.layers import LayerStamps
from harness.core.ports import AgentSession, CheckItem, LoadReport, ProfileReport, Step, TelemetrySource
from harness.core.spec import BoardSpec, RunSpec
from harness.core.telemetry import TelemetryKind
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.waiting import WaitClock

Outputs = Mapping[str, npt.NDArray[np.generic]]
_START_S = 0.4  # a process start: interpreter, runtime
_LOAD_S = 0.25
_CHUNK_S = 1.0  # inferences drawn at once
_ASK_S = 0.05  # the same where the board may be throttled meanwhile
_EMPTY = np.empty(0, np.int64)


class VirtualBoard:
    """Board port. `outputs`: what the agent's output check should see (none by default: no model runs).

    `kernels`: of the model, for runs that ask for layers; None: made up.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        clock: WaitClock,
        name: str = "virtual",
        outputs: Callable[[RunSpec], Outputs] | None = None,
        kernels: KernelList | None = None,
    ) -> None:
        self.rig, self.host = rig, clock
        self.name = name
        self.clock = board_clock(name)
        self.board_clock = BoardClock.of(rig.world.board, clock.now_ns())
        self.make_outputs = outputs
        self.kernels = kernels
        self._stamped: list[tuple[Int64Array, Int64Array]] = []  # board stamps and the host times they were made at

    def check(self, spec: RunSpec | None = None) -> Sequence[CheckItem]:
        return (CheckItem("virtual board", ok=True, found=f"world {self.rig.world.seed}"),)

    def state(self) -> Mapping[str, Any]:
        """How warm it is, as its telemetry says."""
        told = zip(CHANNELS, self.rig.told(np.array([self.host.now_ns()], np.int64))[0].tolist(), strict=True)
        warm = {c.name: value for c, value in told if c.kind is TelemetryKind.TEMPERATURE_C}
        return {"virtual": True, "temperature_c": warm}

    def configure(self, spec: RunSpec) -> Mapping[str, Any]:
        return {}

    def restore(self) -> Sequence[str]:
        return ()

    def end_orphans(self) -> Sequence[int]:
        return ()

    def stamp(self, host_ns: Int64Array) -> Int64Array:
        """Stamps of the board's clock at host times (K,), remembered for the examiner."""
        board_ns = self.board_clock.stamp(host_ns)
        self._stamped.append((board_ns, host_ns))
        return board_ns

    def host_ns(self, board_ns: Int64Array) -> Int64Array:
        """When these stamps (K,) were made, exactly; for the examiner only. KeyError if one never was."""
        board, host = (np.concatenate(x) for x in zip(*self._stamped, strict=True))
        order = np.argsort(board, kind="stable")
        row = np.minimum(np.searchsorted(board[order], board_ns), len(order) - 1)
        if np.any(board[order][row] != board_ns):
            raise KeyError("a stamp that this board never made")
        return np.asarray(host[order][row], np.int64)

    def start_agent(self, spec: RunSpec, start: int) -> AgentSession:
        self.host.sleep_until(self.host.now_ns() + int(_START_S * NS))
        return VirtualAgent(self)

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> TelemetrySource:
        return RigTelemetry(self, period_s)

    def close(self) -> None:
        pass


class VirtualAgent:
    """One agent process on a VirtualBoard: AgentSession and ProfilingSession in virtual time."""

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board
        self._rig = board.rig
        self._spec: RunSpec | None = None
        self._durations: Durations | None = None
        seed = [self._rig.world.seed, 41, board.host.now_ns() // NS]
        self._rng = np.random.default_rng(seed)
        self._stamped: StampedKernels | None = None
        self._stalled_s = 0.0  # by how much stalls of kernels lengthen an inference on average

    @property
    def clock(self) -> str:
        return self._board.clock

    @property
    def link_account(self) -> Sequence[Mapping[str, Any]]:
        """There is no link in virtual time."""
        return ()

    def hello(self) -> Mapping[str, Any]:
        return {"agent": "virtual", "python": "none", "pid": 0, "machine": self._board.name}

    def ping(self, count: int) -> Int64Array:
        """(count, 3) host before, board, host after; the answer is late on one side, by chance on either."""
        delays = 5e-5 + self._rig.world.board.ping_s * self._rng.exponential(size=(count, 2))
        late = np.rint(np.cumsum(delays, 1) * NS).astype(np.int64)  # of the board's stamp, and of the answer
        after = self._board.host.now_ns() + np.cumsum(late[:, 1])
        before = after - late[:, 1]
        board = self._board.board_clock.stamp(before + late[:, 0])
        if count:
            self._board.host.sleep_until(int(after[-1]))
        return np.stack([before, board, after], 1)

    def load(self, spec: RunSpec, start: int) -> LoadReport:
        now = self._board.host.now_ns()
        self._spec = spec
        kernels = self._prepared_layers(spec, start)
        work = self._rig.announce(spec.to_json(), kernels)
        self._rig.begin_process(now)
        self._durations = Durations(self._rig.world.board, work.time_s, self._rng)
        self._stalled_s = work.course.mean_stall_s if work.course is not None else 0.0
        begin, end = np.array([now + 1_000_000]), np.array([now + int(_LOAD_S * NS)])
        self._rig.stretches(begin, end, Kind.FLAT)
        self._rig.expect_duration((self._durations.mean_s + self._stalled_s) * NS)
        self._board.host.sleep_until(int(end[0]) + 1_000_000)
        made = _Laid(self._board, start)
        made.span(Phase.LOAD, int(begin[0]), int(end[0]), begin, end)
        return LoadReport({"runtime": "virtual", "version": "0", "model": spec.model.name}, made.timeline(self.clock))

    def _prepared_layers(self, spec: RunSpec, start: int) -> KernelList | None:
        """The kernels of what is measured: under the profiler where every instance is stamped."""
        if spec.protocol.layers == "off":
            return None
        world, profiler = self._rig.world, self._profiler_of(spec)
        if spec.protocol.layers != "instances":
            return profiler.plain
        seed = [world.seed, 43, start]
        self._stamped = StampedKernels(self._board.board_clock, world.board.kernel_stamp_s, seed, start=start)
        return profiler.profiled

    def _profiler_of(self, spec: RunSpec) -> Profiler:
        plain = self._board.kernels or kernels_of(self._rig.world, spec.to_json())
        return Profiler.of(self._rig.world, plain, spec.to_json())

    def profile(self, spec: RunSpec, *, count: int) -> ProfileReport:
        """`count` inferences with a profiler and as many without; the rig hears them as one busy stretch."""
        if spec.protocol.layers == "off":
            raise SpecError("a run without layers has no kernels to profile", hint="set `layers: profile`")
        profile = self._profiler_of(spec).profile(count, self._rng)
        begin = self._board.host.now_ns() + 1_000_000
        end = begin + int(profile.inference_ns.sum() + profile.plain_ns.sum())
        self._rig.stretches(np.array([begin]), np.array([end]), Kind.FLAT)
        self._board.host.sleep_until(end + 1_000_000)
        return ProfileReport(profile)

    def layer_stamps(self) -> LayerStamps | None:
        """Kernels of the measured inferences so far, on the board's clock; None unless the protocol asks for them."""
        return None if self._stamped is None else self._stamped.stamps()

    def perform(self, program: Sequence[Step], start: int, *, seed: int) -> Timeline:
        """Carry out the steps without a break; returns spans and stamps on the board's clock."""
        if self._durations is None and any(step.op == "infer" for step in program):
            raise SpecError("the virtual agent has no model loaded", hint="call load first")
        rng = np.random.default_rng([seed, start, self._rig.world.seed])
        made = _Laid(self._board, start)
        t = self._board.host.now_ns() + 200_000
        for step in program:
            begin, end, t_next = self._step(step, t, rng)
            made.span(step.phase, t, t_next, begin, end)
            t = t_next
        self._board.host.sleep_until(t + 500_000)
        return made.timeline(self.clock)

    def _step(self, step: Step, t: int, rng: np.random.Generator) -> tuple[Int64Array, Int64Array, int]:
        """Lay one step that begins at `t`: host times of its busy stretches, and when it ends."""
        if step.op == "idle":
            return _EMPTY, _EMPTY, t + round((step.seconds + float(self._overshoot(1)[0])) * NS)
        if step.op == "marker":
            grid = t + np.arange(len(step.bits) + 1, dtype=np.int64) * round(step.chip_s * NS)
            begin = grid[:-1] + np.rint(3e-6 * rng.exponential(size=len(step.bits)) * NS).astype(np.int64)
            late = np.rint(self._overshoot(len(step.bits)) * NS).astype(np.int64)
            asleep = np.array([False, *(bit == "0" for bit in step.bits[:-1])])
            begin[1:] += np.where(asleep[1:], late[:-1], 0)
            begin = np.maximum.accumulate(begin)  # who oversleeps a chip begins with what is left of the next ones
            ones = np.array([bit == "1" for bit in step.bits]) & (begin < grid[1:])
            self._rig.stretches(begin[ones], grid[1:][ones], Kind.CHIP)
            return begin[ones], grid[1:][ones], int(grid[-1])
        if step.op != "infer":
            raise SpecError(f"unknown step {step.op!r}; known: infer, idle, marker")
        return self._infer(step, t, rng)

    def _infer(self, step: Step, t: int, rng: np.random.Generator) -> tuple[Int64Array, Int64Array, int]:
        assert self._durations is not None
        chunk_s = _ASK_S if self._rig.world.heat.throttle_drop else _CHUNK_S
        overhead_s = self._rig.world.board.overhead_s
        begins, ends = [_EMPTY], [_EMPTY]
        left_s, count, at = step.seconds, step.count, t
        while (count > 0) if count is not None else (left_s > 0):
            slower = self._slower(at)
            mean_s = self._durations.mean_s * slower + overhead_s + (step.pause_min_s + step.pause_max_s) / 2
            most = math.ceil(chunk_s / mean_s)
            n = max(1, math.ceil(min(chunk_s, left_s) / mean_s)) if count is None else min(count, most)
            stalls = self._rig.stalls_s(n)
            busy = self._durations.draw(n) * slower + stalls.sum(1)
            pause = overhead_s * 1.3 ** rng.standard_normal(n)
            if step.pause_max_s > 0:
                pause += rng.uniform(step.pause_min_s, step.pause_max_s, n) + self._overshoot(n)
            cycle = np.rint((busy + pause) * NS).astype(np.int64)
            begin = at + np.cumsum(cycle) - cycle
            end = begin + np.rint(busy * NS).astype(np.int64)
            if count is None:
                inside = begin - t < round(step.seconds * NS)
                begin, end, cycle, stalls = begin[inside], end[inside], cycle[inside], stalls[inside]
            laid = self._rig.stretches(begin, end, Kind.INFERENCE, stalls)
            if self._stamped is not None and step.phase is Phase.MEASURED and laid is not None:
                self._stamped.add(begin, end, laid)
            begins.append(begin)
            ends.append(end)
            at = int(begin[-1] + cycle[-1]) if len(begin) else at
            left_s = step.seconds - (at - t) / NS if len(begin) == n else 0.0
            count = None if count is None else count - n
        return np.concatenate(begins), np.concatenate(ends), at

    def _slower(self, t: int) -> float:
        """How much longer an inference takes from host time `t` on; the rig is told which mean to expect."""
        assert self._durations is not None
        heat = self._rig.world.heat
        slower = heat.throttle_slower if heat.throttle_drop and self._rig.throttled_at(t) else 1.0
        self._rig.expect_duration((self._durations.mean_s * slower + self._stalled_s) * NS)
        return slower

    def _overshoot(self, n: int) -> npt.NDArray[np.float64]:
        """How much longer than asked a sleep lasts, s."""
        w = self._rig.world.board
        late = w.overshoot_s * w.overshoot_factor ** self._rng.standard_normal(n)
        return late + np.where(self._rng.random(n) < w.long_overshoot_p, self._rng.uniform(0.001, 0.01, n), 0.0)

    def outputs(self) -> Outputs:
        make = self._board.make_outputs
        return make(self._spec) if make is not None and self._spec is not None else {}

    def close(self) -> None:
        self._board.host.sleep_until(self._board.host.now_ns() + 20_000_000)


class _Laid:
    """Collects spans and stretches of one call and stamps them on the board's clock."""

    def __init__(self, board: VirtualBoard, start: int) -> None:
        self._board, self._start = board, start
        self._spans: list[Span] = []
        self._rows: list[tuple[Phase, Int64Array, Int64Array]] = []

    def span(self, phase: Phase, begin_ns: int, end_ns: int, begins: Int64Array, ends: Int64Array) -> None:
        edges = self._board.board_clock.stamp(np.array([begin_ns, end_ns]))
        self._spans.append(Span(self._start, phase, int(edges[0]), int(edges[1])))
        self._rows.append((phase, self._board.stamp(begins), self._board.board_clock.stamp(ends)))

    def timeline(self, clock: str) -> Timeline:
        phase = np.concatenate([np.full(len(b), PHASE_CODE[p], np.int64) for p, b, _ in self._rows])
        return Timeline(
            clock,
            tuple(self._spans),
            np.full(len(phase), self._start, np.int64),
            phase,
            np.concatenate([b for _, b, _ in self._rows]),
            np.concatenate([e for _, _, e in self._rows]),
        )
