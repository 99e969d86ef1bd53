"""Had the work settled when it was measured? Classes of E. Barrett et al., "Virtual machine warmup blows hot and cold",
OOPSLA 2017, for each process start: by change points of the time and of the energy of an inference.

Nothing is cut away: warming up is what the protocol's `warm_up_s` is for, and the figure is the mean over all that was
declared to be measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from analysis.energy.solve import Solution, StartEnergy
from analysis.timing.windows import StartWindow
from analysis.verdict.change_points import LEAST_POINTS, drawn_in, scatter_of, segments
from harness.core.clock import FloatArray
from harness.core.timeline import Phase, Timeline

SAME_REL = 0.005  # neighbouring levels nearer than this are one
STEADY_SHARE = 0.25  # of a start's measured time that the last level must have lasted
MATTERS_REL = 0.02  # changes of level below this are in the scatter of blocks, which the budget counts
DROP_REL = 0.08  # of power in one start, where the others tell which level is usual: they differ by 0.5 to 3 %
SLICES, SLICE = 60, 3  # of a start's inferences the median of each slice is a point; inferences in one, if there are
LEAST_SD_REL = 5e-4

LEAST_SHARE = 0.125  # of a start's points in a stretch
BURST_S, OUTLIER_S = 2.0, 0.5  # power is up for so long when housekeeping runs, and now and then for the shorter time


class Course(StrEnum):
    """How a series went in one process start."""

    FLAT = "flat"
    WARM_UP = "warm_up"  # the last level is the lowest, and had lasted
    SLOW_DOWN = "slow_down"  # the last level had lasted, but there was a lower one; of power: or it was taken away
    NO_STEADY_STATE = "no_steady_state"  # the last level had not lasted
    UNKNOWN = "unknown"  # too few points


@dataclass(frozen=True)
class StartCourse:
    """One series (`what`: "time" or "power") of one process start.

    `levels`: of each stretch, relative to the median of the start; `from_s`: when each begins, since the first measured
    inference; `steady_from_s`: begin of the last level, None if there is no steady state; `median`: of the start, s or
    W; `matters`: worth a flag.
    """

    start: int
    what: str
    course: Course
    levels: tuple[float, ...]
    from_s: tuple[float, ...]
    steady_from_s: float | None
    median: float = math.nan
    matters: bool = False

    @property
    def changed(self) -> bool:
        return self.course not in (Course.FLAT, Course.UNKNOWN) and self.change_rel >= MATTERS_REL

    @property
    def change_rel(self) -> float:
        """How far the level that is farthest from the last one lies from it, relative."""
        return max((abs(level / self.levels[-1] - 1) for level in self.levels), default=0.0) if self.levels else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "start": self.start, "of": self.what, "course": str(self.course), "change_rel": self.change_rel,
            "matters": self.matters, "levels_rel": list(self.levels), "from_s": list(self.from_s),
            "steady_from_s": self.steady_from_s,
        }  # fmt: skip


@dataclass(frozen=True)
class Steadiness:
    """All series of all starts. `warm_up_s`: work before the first measured inference, by start."""

    courses: tuple[StartCourse, ...]
    warm_up_s: dict[int, float]

    @property
    def found(self) -> frozenset[Course]:
        """Courses of changes that matter."""
        return frozenset(c.course for c in self.courses if c.matters)

    @property
    def problem(self) -> str:
        """The largest change that matters, in words; empty if there is none."""
        worst = max((c for c in self.courses if c.matters), key=lambda c: c.change_rel, default=None)
        if worst is None:
            return ""
        went = {
            Course.WARM_UP: "was still warming up", Course.SLOW_DOWN: "slowed down",
            Course.NO_STEADY_STATE: "reached no steady state",
        }[worst.course]  # fmt: skip
        return (
            f"process start {worst.start + 1} {went}: the {worst.what} of an inference changed by "
            f"{worst.change_rel:.1%} within the measured time"
        )

    def to_json(self) -> dict[str, Any]:
        warming = [c for c in self.courses if c.matters and c.course is Course.WARM_UP and c.steady_from_s is not None]
        needed = max((self.warm_up_s.get(c.start, 0.0) + (c.steady_from_s or 0.0) for c in warming), default=None)
        return {
            "courses": [c.to_json() for c in self.courses if c.course is not Course.FLAT],
            "flat": sum(c.course is Course.FLAT for c in self.courses),
            "warm_up_needed_s": needed,
        }


def steadiness(timeline: Timeline, solution: Solution) -> Steadiness:
    """Courses of the time of an inference (from stamps) and of its dynamic power (by block) in every process start.

    Energy is the product of the two. Apart, the outliers of times do not hide in it what power does.
    """
    windows = [s.window for s in solution.starts]
    times = [] if any(w.by_time for w in windows) else _courses("time", [_times(timeline, w) for w in windows])
    powers = _powers_judged([_powers(s) for s in solution.starts])
    powers = [_with_its_time(c, next((t for t in times if t.start == c.start), None)) for c in powers]
    return Steadiness((*times, *powers), {w.start: _work_before_s(timeline, w) for w in windows})


@dataclass(frozen=True)
class _Series:
    """Points (N,) in any unit, when each begins (s since the first measured inference), and when the last one ends.

    `burst_s`, `outlier_s`: what lasts no longer is no level of its own; a point that lasts no longer is drawn in.
    """

    start: int
    value: FloatArray
    from_s: FloatArray
    end_s: float
    burst_s: float = 0.0
    outlier_s: float = 0.0

    def points(self, seconds: float) -> int:
        """How many points last so long, at least."""
        return math.ceil(seconds / self.end_s * len(self.value))

    @property
    def least(self) -> int:
        return max(2, round(LEAST_SHARE * len(self.value)), self.points(self.burst_s))

    @property
    def known(self) -> bool:
        return len(self.value) >= max(LEAST_POINTS, 2 * self.least) and float(np.median(self.value)) > 0


def _times(timeline: Timeline, window: StartWindow) -> _Series:
    """Medians of the durations of equally many neighbouring inferences: deaf to outliers."""
    begin, end = timeline.rows(Phase.MEASURED, window.start)
    each = max(min(SLICE, len(begin) // LEAST_POINTS), len(begin) // SLICES, 1)
    each -= each > 1 and each % 2 == 0  # the median of an odd number is one of them
    count = len(begin) // each
    value = np.median((end - begin)[: count * each].reshape(count, each).astype(np.float64), axis=1)
    from_s = (begin[: count * each : each] - begin[0]) * 1e-9
    return _Series(window.start, value, np.asarray(from_s, np.float64), float(end[-1] - begin[0]) * 1e-9)


def block_powers_w(start: StartEnergy) -> FloatArray:
    """Mean dynamic power (W) within the inferences of each block."""
    window, blocks = start.window, len(start.block_j)
    busy_s = (np.diff(window.cut_ns) - window.gap_ns) * 1e-9 / window.count  # of one inference
    if len(busy_s) != blocks:  # some blocks had no readings: which ones is not kept
        busy_s = np.full(blocks, window.busy_s / window.n)
    return np.asarray(start.block_j / busy_s, np.float64)


def _powers(start: StartEnergy) -> _Series:
    window, value = start.window, block_powers_w(start)
    from_s = np.linspace(0.0, window.seconds, len(value), endpoint=False)
    return _Series(window.start, value, from_s, window.seconds, BURST_S, OUTLIER_S)


def _work_before_s(timeline: Timeline, window: StartWindow) -> float:
    begins = [timeline.rows(phase, window.start)[0] for phase in (Phase.WARM_UP, Phase.LEAD_IN)]
    first = min((int(b.min()) for b in begins if len(b)), default=window.begin_ns)
    return max(0.0, (window.begin_ns - first) * 1e-9)


def _courses(what: str, series: Sequence[_Series]) -> list[StartCourse]:
    """`series`: one a start; their scatter is that of all starts together."""
    known = [s for s in series if s.known]
    sd_rel = max(scatter_of([s.value / np.median(s.value) for s in known]), LEAST_SD_REL)
    unknown = (Course.UNKNOWN, (), (), None)
    found = [_course(what, s, sd_rel) if s.known else StartCourse(s.start, what, *unknown) for s in series]
    return [replace(course, matters=course.changed) for course in found]


def _powers_judged(series: Sequence[_Series]) -> list[StartCourse]:
    """Changes of power matter where housekeeping does not explain them: it adds power for a while, in some start or
    other, and the scatter of blocks and starts counts it. What returns in most starts is the work's own course; what
    takes power away, against what the starts usually draw, is the board's."""
    courses = _courses("power", series)
    known = [c for c in courses if c.course is not Course.UNKNOWN]
    usual = float(np.median([c.median for c in known])) if known else math.nan
    often = {one for one in Course if 2 * sum(c.changed and c.course is one for c in known) > len(known)}
    return [
        replace(c, matters=True, course=_fallen(c.course)) if c.changed and c.course not in often and _is_drop(c, usual)
        else replace(c, matters=c.changed and c.course in often)
        for c in courses
    ]  # fmt: skip


def _fallen(course: Course) -> Course:
    """Power that was taken away is no warming up."""
    return Course.SLOW_DOWN if course is Course.WARM_UP else course


def _with_its_time(power: StartCourse, time: StartCourse | None) -> StartCourse:
    """Power that falls while inferences slow down is the same event: no warming up."""
    slowed = time is not None and time.matters and time.course in (Course.SLOW_DOWN, Course.NO_STEADY_STATE)
    return replace(power, course=_fallen(power.course)) if slowed else power


def _is_drop(course: StartCourse, usual: float) -> bool:
    """The low level is farther from what is usual than the high one."""
    below, above = usual - min(course.levels) * course.median, max(course.levels) * course.median - usual
    return course.change_rel >= DROP_REL and below > above


def _course(what: str, series: _Series, sd_rel: float) -> StartCourse:
    middle = float(np.median(series.value))
    x = drawn_in(series.value / middle, sd_rel, reach=max(2, series.points(series.outlier_s)))
    pieces = _merged(x, segments(x, sd_rel, least=series.least))
    levels = tuple(float(np.median(x[a:b])) for a, b in pieces)
    from_s = tuple(float(series.from_s[a]) for a, _ in pieces)
    if len(pieces) == 1:
        return StartCourse(series.start, what, Course.FLAT, levels, from_s, 0.0, middle)
    if series.end_s - from_s[-1] < STEADY_SHARE * series.end_s:
        return StartCourse(series.start, what, Course.NO_STEADY_STATE, levels, from_s, None, middle)
    lowest = levels[-1] <= min(levels) * (1 + SAME_REL)
    course = Course.WARM_UP if lowest else Course.SLOW_DOWN
    return StartCourse(series.start, what, course, levels, from_s, from_s[-1], middle)


def _merged(x: FloatArray, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours whose levels differ by less than SAME_REL become one, the most alike first. A level is a median: a
    burst of power does not make one."""
    pieces = list(pieces)
    while len(pieces) > 1:
        levels = np.array([np.median(x[a:b]) for a, b in pieces])
        apart = np.abs(np.diff(levels)) / np.abs(levels[:-1])
        k = int(np.argmin(apart))
        if apart[k] >= SAME_REL:
            break
        pieces[k : k + 2] = [(pieces[k][0], pieces[k + 1][1])]
    return pieces
