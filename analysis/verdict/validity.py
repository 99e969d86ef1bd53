"""When a run yields no figure (typed reason), and what a reader of a figure must be told (flags).

The limits stand here in one place and in docs/method.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.energy.sampling import SPARSE, Phases
from analysis.energy.solve import Solution
from analysis.energy.standby import Standby
from analysis.readings.curve import ChannelCurve, remembered_ns
from analysis.readings.ranges import RangeShares
from analysis.timing.lag import Lag
from analysis.timing.windows import StartWindow
from analysis.uncertainty.first_order import Combined
from analysis.verdict.standby_moved import standby_flags, standby_moved
from analysis.verdict.throttling import gpu_clocks_free, maybe_throttled, throttled_for_sure, undervoltage
from harness.core.result import InvalidReason
from harness.core.timeline import Phase, Timeline
from harness.core.trace import ReadingKind

MIN_COVERAGE = 0.80  # of the measured time, else no figure
LOW_COVERAGE = 0.98  # below this, a flag
TIMES_VARY = 0.1  # relative, of the mean time of an inference between process starts
OVER_RANGE_LIMIT = 1e-3  # share of readings at the channel's largest power
STILL_S = 2.0  # raw readings that stand still for this long ...
STILL_ROWS = 200  # ... and this many rows are a stuck register
CLIPPED_LIMIT = 0.01  # share of measured readings in a pile at the largest code
COUNTER_STILL_S = 1.0
MIN_READINGS = 10.0  # over all measured time
OPAQUE = (ReadingKind.OVERLAPPING, ReadingKind.FILTERED)
LONG_GUARDS = 10  # memories of the meter in a declared window that needs no lead-in
LOCKED = 0.5  # resultant length of sampling phases above which readings see few phases of the inferences
LOCKED_TOGETHER = 0.8  # the same of all starts together, if there are ...
STARTS_SHOW = 3  # ... this many at least, so that their scatter shows what starts of other phases miss


@dataclass(frozen=True)
class Problem:
    """Why there is no figure, and the numbers behind it in words."""

    reason: InvalidReason
    detail: str


def problem_before_solving(
    channel: ChannelCurve, timeline: Timeline, lag: Lag, windows: tuple[StartWindow, ...], *, by_overlap: bool = False
) -> Problem | None:
    """What can be seen without an energy: readings missing, stuck, over range, clocks apart, too slow. `by_overlap`:
    levels under marks say themselves what readings they need."""
    if channel.rows and channel.uncalibrated >= channel.rows:
        return Problem(InvalidReason.NOT_CALIBRATED, "no reading is covered by a calibration")
    if channel.rows < 2 or channel.curve.covered_ns[-1] <= 0:
        return Problem(InvalidReason.NO_READINGS, f"the meter yielded {channel.rows} readings, none usable")
    if channel.over_range > OVER_RANGE_LIMIT * channel.rows:
        return Problem(InvalidReason.SATURATED, f"{channel.over_range} readings at or above the largest power")
    stuck = _stuck(channel)
    if stuck is not None and _while_working(channel, timeline, lag):
        return Problem(InvalidReason.STUCK, stuck)
    if lag.reason:
        detail = f"{lag.reason} (correlation {lag.correlation:.2f}, second peak {lag.second:.2f})"
        return Problem(InvalidReason.CLOCKS, detail)
    return _uncovered(channel, lag, windows) or (None if by_overlap else _too_slow(channel, timeline, lag, windows))


def _uncovered(channel: ChannelCurve, lag: Lag, windows: tuple[StartWindow, ...]) -> Problem | None:
    """Before standby is looked at: where readings are lost everywhere, brackets are not what is wrong."""
    seconds = sum(w.seconds for w in windows)
    shifted = [(w, w.begin_ns + lag.lag_ns[w.start], w.end_ns + lag.lag_ns[w.start]) for w in windows]
    covered = sum(channel.curve.coverage(begin, end) * w.seconds for w, begin, end in shifted)
    if covered >= MIN_COVERAGE * seconds:
        return None
    return Problem(
        InvalidReason.COVERAGE,
        f"readings cover {covered / seconds:.1%} of the measured time, {MIN_COVERAGE:.0%} needed",
    )


def _stuck(channel: ChannelCurve) -> str | None:
    seconds = (channel.still_ns[1] - channel.still_ns[0]) * 1e-9
    if channel.reading.kind is ReadingKind.COUNTER:
        if seconds > max(COUNTER_STILL_S, 50 * channel.reading.period_ns * 1e-9):
            return f"the counter stood still for {seconds:.1f} s"
        return None
    if seconds > STILL_S and channel.still_rows >= STILL_ROWS:
        return f"{channel.still_rows} readings in a row ({seconds:.1f} s) are identical"
    return None


def _while_working(channel: ChannelCurve, timeline: Timeline, lag: Lag) -> bool:
    """Whether the board worked during the stretch that stands still (with the lag, where it is known)."""
    shift = int(np.median([*lag.lag_ns.values()])) if lag.lag_ns else 0
    begin, end = channel.still_ns[0] - shift, channel.still_ns[1] - shift
    return bool(np.any((timeline.begin_ns < end) & (timeline.end_ns > begin)))


def _too_slow(channel: ChannelCurve, timeline: Timeline, lag: Lag, windows: tuple[StartWindow, ...]) -> Problem | None:
    reading = channel.reading
    readings = sum(w.seconds for w in windows) * 1e9 / remembered_ns(reading)
    if readings < MIN_READINGS:
        return Problem(
            InvalidReason.BELOW_RESOLUTION,
            f"{readings:.1f} readings in the measured time, {MIN_READINGS:.0f} needed: measure longer",
        )
    if reading.kind not in SPARSE and reading.kind not in OPAQUE:
        return None
    reach_ns = channel.guard_ns + (
        0 if lag.declared else round(lag.u_ns)
    )  # where a reading belongs is doubtful as well
    for window in windows:
        if lag.declared and (reading.kind in SPARSE or window.seconds * 1e9 >= LONG_GUARDS * channel.guard_ns):
            continue  # the memory is part of the clock's uncertainty at both edges
        steady_ns = min(_steady_before(timeline, window), _steady_after(timeline, window))
        if steady_ns < reach_ns:
            return Problem(
                InvalidReason.BELOW_RESOLUTION,
                f"a reading reaches {reach_ns * 1e-9:.2f} s, but only {steady_ns * 1e-9:.2f} s "
                "of inferences lie before or after the measured ones: lengthen lead_in_s and lead_out_s",
            )
    return None


def _steady_before(timeline: Timeline, window: StartWindow) -> int:
    begin, _ = timeline.rows(Phase.LEAD_IN, window.start)
    return window.begin_ns - int(begin.min()) if len(begin) else 0


def _steady_after(timeline: Timeline, window: StartWindow) -> int:
    _, end = timeline.rows(Phase.LEAD_OUT, window.start)
    return int(end.max()) - window.end_ns if len(end) else 0


def problem_of_sampling(phases: Phases) -> Problem | None:
    """Points and part-time windows must fall on all phases of an inference, in some start or other; where every start
    was looked at in the same phase, nothing tells what the others drew. A few starts do not show by their scatter what
    each of them missed."""
    few = len(phases.starts) < STARTS_SHOW
    found = phases.worst if few else phases.common
    if found > (LOCKED if few else LOCKED_TOGETHER):
        return Problem(
            InvalidReason.BELOW_RESOLUTION,
            f"sampling is locked to the inferences (phases agree to {found:.2f}): use the dithered gap protocol",
        )
    return None


def problem_of_standby(standby: Standby) -> Problem | None:
    if standby.problem:
        return Problem(InvalidReason.STANDBY_MISSING, standby.problem)
    return None


def problem_of_clipping(share: float) -> Problem | None:
    if share > CLIPPED_LIMIT:
        return Problem(InvalidReason.SATURATED, f"{share:.1%} of the measured readings are cut off at the largest code")
    return None


def problem_of_solution(solution: Solution, dynamic: Combined) -> Problem | None:
    """Sampling in step with the inferences, standby that moved, and an interval that holds 0."""
    if locked := problem_of_sampling(solution.phases):
        return locked
    if solution.levels is None and len(solution.starts) == 1 and len(solution.starts[0].block_j) < 2:
        return Problem(
            InvalidReason.BELOW_RESOLUTION,
            "one process start with a single block of readings shows no scatter: measure more inferences or starts",
        )
    power = solution.dynamic_j / (solution.busy_s / solution.n)
    if solution.dynamic_j > 0 and (moved := standby_moved(solution.standby, power)):
        return Problem(InvalidReason.STANDBY_MOVED, moved)
    if not solution.standby.brackets and solution.gross_j - dynamic.half_j <= 0:
        return Problem(
            InvalidReason.BELOW_RESOLUTION,
            f"gross energy of {solution.gross_j:.3g} J with a 95 % half width of {dynamic.half_j:.3g} J includes 0: "
            "power varies too much within what was marked",
        )
    if solution.dynamic_j - dynamic.half_j <= 0:
        return Problem(
            InvalidReason.BELOW_STANDBY,
            f"{solution.dynamic_j:.3g} J per inference with a 95 % half width of {dynamic.half_j:.3g} J includes 0",
        )
    return None


def problem_of_board(documents: Mapping[str, Any]) -> Problem | None:
    """What the board and the host reference said: `outputs_check` and `board_state`."""
    check = documents.get("outputs_check")
    if isinstance(check, Mapping) and check.get("ok") is False:
        return Problem(
            InvalidReason.OUTPUT_MISMATCH,
            f"outputs differ from the host reference by {check.get('max_rel_error')} (relative), "
            f"tolerance {check.get('tolerance')}",
        )
    worse = throttled_for_sure(documents.get("board_state"))
    if worse:
        return Problem(InvalidReason.THROTTLED, f"the board slowed itself down: {', '.join(worse)}")
    return None


def _only_edges(solution: Solution, told: Any) -> bool:
    """Nobody said when the load worked within its windows, and so not whether readings keep step with it: levels of
    short windows do not know it either."""
    marked = isinstance(told, Mapping) and told.get("marks") == "load edges"
    return not marked and any(s.window.by_time for s in solution.starts)


def _times_vary(solution: Solution) -> bool:
    """The mean time of an inference differs between process starts by more than TIMES_VARY: other work ran too."""
    means = [s.window.busy_s / s.window.n for s in solution.starts]
    return max(means) - min(means) > TIMES_VARY * min(means)


def flags_of(
    channel: ChannelCurve, solution: Solution, lag: Lag, ranges: RangeShares, documents: Mapping[str, Any],
    *, accuracy_known: bool, clipped: float, counts: Mapping[str, int],
) -> tuple[str, ...]:  # fmt: skip
    """Snake-case flags, in a fixed order."""
    power = abs(solution.dynamic_j) / (solution.busy_s / solution.n)
    said = {
        "single_start": len(solution.starts) == 1,
        "no_standby": not solution.standby.brackets,
        "single_bracket": len(solution.standby.brackets) == 1,
        "alignment_declared": lag.declared,
        **standby_flags(solution.standby, power),
        "low_coverage": solution.coverage < LOW_COVERAGE,
        "range_switching": ranges.switches,
        "uncalibrated_rows": channel.uncalibrated > 0,
        "time_went_backwards": channel.backwards > 0,
        "counter_resets": channel.resets > 0,
        "clipped_readings": clipped > 0,
        "over_range_readings": channel.over_range > 0,
        "gap_power_bounded": not solution.gap.seen and solution.gap_s > 0,
        "end_stamps_doubtful": solution.gap.late_ns > 0,
        "lag_coarse_only": lag.fall is None and not lag.declared,
        "meter_accuracy_unknown": not accuracy_known,
        "part_time_sampling": channel.reading.kind in SPARSE,
        "phases_unknown": channel.reading.kind in SPARSE and _only_edges(solution, documents.get("import")),
        "sampling_in_step": solution.phases.worst > LOCKED,
        "outputs_not_checked": not isinstance(documents.get("outputs_check"), Mapping),
        "readings_lost": any(
            v > 0 for k, v in counts.items() if any(word in k for word in ("lost", "drop", "missing"))
        ),
        "inference_times_vary": _times_vary(solution),
        "throttled": maybe_throttled(documents.get("board_state")),
        "undervoltage": undervoltage(documents.get("board_state")),
        "gpu_clocks_not_locked": gpu_clocks_free(documents.get("board_state"), channel.name),
        "standby_not_settled": any(
            isinstance(told := documents.get(name), Mapping) and told.get("ok") is False
            for name in ("settle_before", "settle_after")
        ),
    }
    return tuple(name for name, true in said.items() if true)
