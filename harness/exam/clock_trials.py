"""How well are clocks tied together? One trial: a board in virtual time, a meter beside it, and the hidden truth.

Nothing is judged by whole runs here, since a thousand trials are needed: the shipped board carries out the shipped
program, its stamps lay the rig's load, and a meter's means of it are made directly. What is handed to the analysis
has the form of any run: a trace with anchors, pings, stamps.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import cont2discrete, lfilter

from analysis.readings.curve import build_curve
from analysis.timing.clocks import fit_host_to_board, fit_meter_to_host
from analysis.timing.lag import find_lag, with_marks
from drivers.simulated.rig.clocks import NS, BoardClock, DeviceClock
from drivers.simulated.rig.physics_load import Kind, Laid, LoadCurve
from drivers.simulated.rig.physics_rest import Standby
from drivers.simulated.rig.ranges import Ranges, load_ranges
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.workload import Workload, workload
from drivers.simulated.rig.world import MeterWorld, World, draw
from harness.bench.program import standby_program, start_program
from harness.config.profiles import MARKER_BITS as PROFILE_BITS
from harness.core.clock import ClockMap, FloatArray, Int64Array, meter_clock
from harness.core.spec import ProtocolSpec
from harness.core.timeline import Phase, Timeline
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_protocol, exam_spec

CELL_S = 25e-6  # of the grid on which the load is filtered, around markers
COARSE_S = 1e-3  # of the grid elsewhere, where nothing is filtered: only the search sees it
AROUND_S = 0.4  # before and after a marker that are on the fine grid; many time constants of any filter
RUN_UP_S = 3.0
PINGS = 50
SCALE_W = 1e-5
ANCHOR_NS = 20_000_000
OFFSET_S = 10.0  # the host may have stamped what arrives this much too early or too late


@dataclass(frozen=True)
class ClockTrial:
    """One trial: `error_ns` float64 (K,), estimated minus true lag of the power behind stamps at K times within the
    measured stretches, empty where the analysis refused or states no offset; `u_ns` (K,) what it states; `away_s`:
    how far the lag used for energies is off, at most; `contrast_w`: drop of the load at the end of a marker's chip;
    `onset_ns`: found and true mean delay of the onset; `reason`: why there is no lag; `refused`: why no offset is said
    though there is one; `bound_ns`: the least u that the readings' noise allows."""

    seed: int
    period_ns: int
    contrast_w: float
    slewed: bool
    filter_s: float
    noise_w: float
    reason: str
    error_ns: FloatArray
    u_ns: FloatArray
    away_s: float
    onset_ns: tuple[float, float]
    refused: str = ""
    bound_ns: float = float("nan")


class _Stage:
    """What a virtual board needs of a rig: it lays the load, and nothing is played."""

    def __init__(self, world: World, now_ns: int) -> None:
        self.world = world
        self.origin_ns = now_ns - round(RUN_UP_S * NS)
        self.load = LoadCurve(world, workload(world, None))
        self._process = 0

    def announce(self, spec: dict[str, object], kernels: object = None) -> Workload:
        self.load.announce(workload(self.world, spec))
        return self.load.workload

    def begin_process(self, t_ns: int) -> None:
        self._process += 1
        self.load.begin_process(self._process)

    def expect_duration(self, mean_ns: float) -> None:
        pass

    def stalls_s(self, n: int) -> FloatArray:
        return self.load.stalls_s(n)

    def throttled_at(self, t_ns: int) -> bool:
        return False

    def stretches(
        self, begin_ns: Int64Array, end_ns: Int64Array, kind: Kind, stalls_s: FloatArray | None = None
    ) -> Laid | None:
        if len(begin_ns) == 0:
            return None
        begin, end = (begin_ns - self.origin_ns) / NS, (end_ns - self.origin_ns) / NS
        return self.load.add(begin, end, np.full(len(begin), int(kind)), stalls_s)


@cache
def _ranges() -> Ranges:
    return load_ranges()


def trial_world(seed: int, *, contrast_w: float | None = None) -> World:
    """A default world whose load may be small. A marker's spin ends when its end is stamped (no `late_end_s`)."""
    world = draw(seed, _ranges())
    rng = np.random.default_rng([seed, 71])
    power_w = 0.5 * 20 ** rng.random() if contrast_w is None else contrast_w
    load = dataclasses.replace(world.load, dynamic_w=power_w, late_end_s=0.0)
    heat = dataclasses.replace(world.heat, throttle_drop=0.0)
    return dataclasses.replace(
        world, load=load, heat=heat, board=dataclasses.replace(world.board, step_s=0.0, inference_s=0.015)
    )


def trial_protocol(seed: int, *, starts: int = 5) -> ProtocolSpec:
    """Half of the trials play the exam's marker (16 chips of 50 ms), half that of the profiles (31 of 20 ms)."""
    protocol = dataclasses.replace(exam_protocol(), starts=starts, measure_s=4.0, standby_s=4.0, warm_up_s=0.5)
    if seed % 2:
        return protocol
    return dataclasses.replace(protocol, marker_bits=PROFILE_BITS, marker_chip_s=0.02)


@dataclass(frozen=True)
class _Played:
    stage: _Stage
    board: BoardClock
    timeline: Timeline
    pings: Int64Array
    end_ns: int


def _played(world: World, protocol: ProtocolSpec, seed: int) -> _Played:
    """The whole run on the board's side, in the order of the runner."""
    clock = VirtualClock()
    stage = _Stage(world, clock.now_ns())
    board = VirtualBoard(stage, clock=clock)  # type: ignore[arg-type]
    spec = exam_spec(seed, protocol=protocol)
    parts: list[Timeline] = []
    pings: list[Int64Array] = []
    for start in range(protocol.starts):
        agent = board.start_agent(spec, start)
        pings.append(agent.ping(PINGS))
        parts.append(agent.load(spec, start).timeline)
        if start == 0:
            clock.sleep_until(clock.now_ns() + 2 * NS)
            parts.append(agent.perform(standby_program(Phase.STANDBY_BEFORE, protocol.standby_s), start, seed=seed))
        parts.append(agent.perform(start_program(protocol), start, seed=seed + 7919 * start))
        if start == protocol.starts - 1:
            clock.sleep_until(clock.now_ns() + 2 * NS)
            parts.append(agent.perform(standby_program(Phase.STANDBY_AFTER, protocol.standby_s), start, seed=seed))
        pings.append(agent.ping(PINGS))
        agent.close()
    columns = (np.concatenate([getattr(p, n) for p in parts]) for n in ("start", "phase", "begin_ns", "end_ns"))
    timeline = Timeline(board.clock, tuple(s for p in parts for s in p.spans), *columns)
    return _Played(stage, board.board_clock, timeline, np.concatenate(pings), clock.now_ns() + NS)


def _supply_j(played: _Played, world: World) -> tuple[FloatArray, FloatArray]:
    """(host times of boundaries in ns, cumulative energy at the meter's terminals at them, J)."""
    origin_ns = played.stage.origin_ns
    cells = math.ceil((played.end_ns - origin_ns) / NS / COARSE_S)
    finer = round(COARSE_S / CELL_S)
    fine = np.zeros(cells, bool)
    begin, end = played.timeline.rows(Phase.MARKER)
    for a, b in zip(played.board.host_ns(begin), played.board.host_ns(end), strict=True):
        first, last = ((np.array([a, b]) - origin_ns) / NS + [-AROUND_S, AROUND_S]) / COARSE_S
        fine[max(int(first), 0) : int(last)] = True
    size = np.where(fine, finer, 1)
    per = np.repeat(COARSE_S / size, size)  # length of each cell
    t_s = np.r_[0.0, np.cumsum(per)]
    rest = np.repeat(Standby(world).power_w(0, cells, COARSE_S), size)
    power = np.diff(played.stage.load.cumulative(t_s)) / per + rest
    tau, q = world.supply.filter_tau_s, world.supply.filter_q
    numerator, denominator, _ = cont2discrete(([1.0], [tau * tau, tau / q, 1.0]), CELL_S, method="zoh")
    edges = np.flatnonzero(np.diff(np.r_[False, np.repeat(fine, size), False]))
    for a, b in edges.reshape(-1, 2):
        level = power[a]
        at = lfilter(numerator[0], denominator, power[a:b] - level) + level  # at the begin of each cell
        power[a:b] = 0.5 * (at + np.r_[at[1:], at[-1:]])
    return origin_ns + t_s * NS, np.r_[0.0, np.cumsum(power * per)]


def _trace(
    played: _Played, world: World, meter: MeterWorld, period_ns: int, rng: np.random.Generator, offset_ns: int
) -> tuple[Trace, DeviceClock, float]:
    edge_ns, energy = _supply_j(played, world)
    start_ns = played.stage.origin_ns + NS
    clock = DeviceClock.of(meter, start_ns)
    count = int((played.end_ns - start_ns) / period_ns / 1.01)
    t_ns = np.arange(count + 1, dtype=np.int64) * period_ns
    host = clock.host_ns(t_ns.astype(np.float64))
    inside = host < edge_ns[-1]
    t_ns, host = t_ns[inside], host[inside]
    at = np.interp(host - edge_ns[0], edge_ns - edge_ns[0], energy)
    power = np.diff(at) / np.diff(host) * NS
    omega = 2 * math.pi * world.standby.ripple_hz / NS
    phase = (host - start_ns) * omega
    ripple = world.standby.ripple_rel * world.standby.idle_w * -np.diff(np.cos(phase)) / np.diff(phase)
    noise_w = meter.noise_rel * world.standby.idle_w
    power = power + ripple + noise_w * rng.standard_normal(len(power))
    delay = 2e5 + meter.burst_s * NS * rng.random(len(power) // (ANCHOR_NS // period_ns))
    delay += np.where(rng.random(len(delay)) < meter.late_burst_p, meter.late_burst_s * NS, 0.0)
    rows = np.arange(1, len(delay) + 1) * (ANCHOR_NS // period_ns)
    anchors = np.stack([t_ns[rows], np.rint(host[rows] + delay).astype(np.int64) + offset_ns], 1)
    reading = Reading(ReadingKind.MEAN, period_ns, period_ns)
    info = MeterInfo(
        "trial", "means of a trial", "trial", "1", meter_clock("trial"), (ColumnSpec("power", "W"),),
        (ChannelSpec("main", "power_w", ("power",), reading),), simulated=True,
    )  # fmt: skip
    raw = np.rint(power / SCALE_W).astype(np.int32)
    pieces = (CalibrationPiece(0, "power", 0, SCALE_W, 0.0),)
    seen = float(np.hypot(noise_w, ripple.std()))
    return Trace(info, t_ns[1:], {"power": raw}, pieces, (), anchors, {}), clock, seen


def run_trial(seed: int, *, period_ns: int = 200_000, contrast_w: float | None = None, fit: bool = True) -> ClockTrial:
    """Draw, play, analyse, compare. `contrast_w`: mean power of the load instead of a drawn one; `fit`: False only
    searches, which is what wrong locks come from."""
    world = trial_world(seed, contrast_w=contrast_w)
    played = _played(world, trial_protocol(seed), seed)
    rng = np.random.default_rng([seed, 72])
    offset_ns = round(rng.uniform(-OFFSET_S, OFFSET_S) * NS)
    meter = world.meter("trial")
    trace, device, noise_w = _trace(played, world, meter, period_ns, rng, offset_ns)
    timeline = played.timeline
    to_host = fit_meter_to_host(trace.anchors, clock=trace.info.clock)
    to_board = to_host.then(fit_host_to_board(played.pings, clock=timeline.clock))
    channel = build_curve(trace, "main", to_board)
    lag = find_lag(channel, timeline)
    if fit:
        lag = with_marks(lag, channel, timeline)
    load, idle = world.load, world.standby.idle_w
    spin_w = played.stage.load.workload.dynamic_w * load.spin_factor
    held = max(load.gap_over_active * (idle + spin_w) - idle, 0.01 * spin_w)
    true_onset = load.onset_lag_s * math.exp(0.5 * math.log(load.onset_lag_factor) ** 2) * NS
    errors: list[FloatArray] = []
    stated: list[FloatArray] = []
    coarse_s = 0.0
    if not lag.reason:
        for start in timeline.starts:
            begin, end = timeline.rows(Phase.MEASURED, start)
            at = np.linspace(int(begin[0]), int(end[-1]), 3).astype(np.int64)
            true = _true_lag(at, played.board, device, to_board)
            coarse_s = max(coarse_s, float(np.max(np.abs(lag.lag_ns[start] - true))) * 1e-9)
            net, u = lag.clock_ns(at), lag.clock_u_ns(at)
            if net is not None and u is not None:
                errors.append(net - true)
                stated.append(u)
    slewed = bool(world.board.slew_rate)
    onset = (float("nan") if lag.onset_ns is None else lag.onset_ns, true_onset)
    unfitted = "the fit over markers finds nothing" if fit and not lag.reason else ""
    refused = unfitted if lag.offset is None else lag.offset.reason
    bound_ns = float("nan") if lag.offset is None else lag.offset.bound_s * 1e9
    return ClockTrial(
        seed, period_ns, spin_w - held, slewed, world.supply.filter_tau_s / world.supply.filter_q, noise_w, lag.reason,
        np.concatenate(errors) if errors else np.empty(0), np.concatenate(stated) if stated else np.empty(0), coarse_s,
        onset, refused, bound_ns,
    )  # fmt: skip


def _true_lag(board_ns: Int64Array, board: BoardClock, clock: DeviceClock, to_board: ClockMap) -> FloatArray:
    """When the meter's reading of a load edge stamped at `board_ns` appears, by the analysis' own map, minus that."""
    host = board.host_ns(board_ns).astype(np.float64)
    meter = host - clock.start_ns
    for _ in range(50):  # the clock's rate is near 1, so the inverse is a contraction
        step = host - clock.host_ns(meter)
        meter = meter + step
        if float(np.max(np.abs(step))) < 0.5:
            break
    return (to_board.apply(np.rint(meter).astype(np.int64)) - board_ns).astype(np.float64)
