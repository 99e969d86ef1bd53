"""Marks of others: which stretches of a trace were measured, and the timeline that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.clock import Int64Array
from harness.core.errors import SpecError
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.imports.source import Source, read_source

MAX_ROWS = 2_000_000
RULES = ("pairs", "steps", "span", "pattern")


@dataclass(frozen=True)
class Window:
    """One measured stretch on the timeline's clock; `inferences`: how many it holds, None if nobody says."""

    begin_ns: int
    end_ns: int
    inferences: int | None = None


def windows_timeline(
    clock: str, windows: Sequence[Window], brackets: Sequence[tuple[Phase, int, int]] = ()
) -> tuple[Timeline, dict[str, Any]]:
    """Windows as process starts of their own, and what the document "import" must say about them.

    Only the edges of windows are known. Inferences, if their number is, are spread evenly: the analysis is told
    ("window edges") and draws nothing from the places between. If it is not, a window is one row.
    """
    known = all(w.inferences is not None for w in windows)
    begin, end, start = [], [], []
    for k, window in enumerate(windows):
        n = (window.inferences or 1) if known else 1
        if n > MAX_ROWS:
            raise SpecError(
                f"{n} inferences in one window are more than {MAX_ROWS}",
                hint="give --batch B and --inferences N/B: the figure is then that of a batch",
            )
        cut = np.linspace(0, window.end_ns - window.begin_ns, n + 1).astype(np.int64) + window.begin_ns
        begin.append(cut[:-1])
        end.append(cut[1:])
        start.append(np.full(n, k))
    rows = np.concatenate(start).astype(np.int64)
    spans = [Span(k, Phase.MEASURED, w.begin_ns, w.end_ns) for k, w in enumerate(windows)]
    spans += [Span(0, phase, a, b) for phase, a, b in brackets]
    code = np.full(len(rows), PHASE_CODE[Phase.MEASURED], np.int64)
    told = {
        "stamps": "window edges",
        "unit": "inference" if known else "marked window",
        "flags": ["stamps_nominal"] if known else ["window_count_unknown"],
    }
    timeline = Timeline(clock, tuple(spans), rows, code, np.concatenate(begin), np.concatenate(end))
    return timeline, told


def inferences_timeline(
    clock: str, begin_ns: Int64Array, end_ns: Int64Array, brackets: Sequence[tuple[Phase, int, int]] = ()
) -> tuple[Timeline, dict[str, Any]]:
    """Inferences with stamps of their own, one process start."""
    n = len(begin_ns)
    spans = (Span(0, Phase.MEASURED, int(begin_ns[0]), int(end_ns[-1])), *(Span(0, p, a, b) for p, a, b in brackets))
    code = np.full(n, PHASE_CODE[Phase.MEASURED], np.int64)
    return Timeline(clock, spans, np.zeros(n, np.int64), code, begin_ns, end_ns), {"stamps": "recorded"}


def marks_of(text: str, *, unit_s: float = 1.0) -> tuple[list[float], Source | None]:
    """Marks in seconds from `T0,T1,...`, or from a file: a JSON list, or one number a line (a heading may be above)."""
    if Path(text).is_file():
        source = read_source(Path(text))
        return [m * unit_s for m in _from_file(source)], source
    try:
        return [float(part) * unit_s for part in text.split(",") if part.strip()], None
    except ValueError:
        raise SpecError(
            f"--marks {text!r} is neither a file nor numbers",
            hint="type seconds from the start of the trace, in pairs: --marks 9.077,9.181,17.282,17.386",
        ) from None


def _from_file(source: Source) -> list[float]:
    if source.data.lstrip().startswith((b"[", b"{")):
        found = source.json()
        if not isinstance(found, list) or not all(isinstance(v, int | float) for v in found):
            raise source.wrong("expected a JSON list of numbers (seconds)")
        return [float(v) for v in found]
    marks = []
    for line, text in enumerate(source.lines(), 1):
        if not text.strip():
            continue
        try:
            marks.append(float(text))
        except ValueError:
            if line > 1:
                raise source.wrong(f"mark is {text.strip()!r}, not a number", line=line) from None
    return marks


def pairs_of(marks: Sequence[float], *, rule: str = "pairs") -> list[tuple[float, float]]:
    """(begin, end) in seconds of the measured stretches.

    `pairs`: marks 0-1, 2-3, ...; `steps`: the moments at which a load is switched on, off, on, ... (written once or
    twice), the stretches in which it is on; `span`: all from the first mark to the last; `pattern`: the same, with
    marks in between that are those of `steps` (`load_told`).
    """
    if rule not in RULES:
        raise SpecError(f"--rule {rule!r} is unknown", hint=f"use one of {', '.join(RULES)}")
    back = next((k for k in range(1, len(marks)) if marks[k] < marks[k - 1]), None) if rule == "pattern" else None
    if back is not None:
        raise SpecError(
            f"mark {back + 1} of {len(marks)} ({marks[back]:g} s) lies before the one above it ({marks[back - 1]:g} s)",
            hint="a pattern's marks go forward in time: on, off, on, ...",
        )
    if rule in ("span", "pattern"):
        pairs = [(marks[0], marks[-1])] if len(marks) > 1 else []
    elif rule == "steps":
        moments = sorted(set(marks))
        pairs = [(moments[k], moments[k + 1]) for k in range(0, len(moments) - 1, 2)]
    elif len(marks) % 2:
        raise SpecError(
            f"{len(marks)} marks do not make pairs", hint="give an even number: begin and end of every window"
        )
    else:
        pairs = [(marks[k], marks[k + 1]) for k in range(0, len(marks), 2)]
    if not pairs:
        raise SpecError(f"{len(marks)} marks bound no window", hint="give at least two: begin and end")
    last = -np.inf
    for a, b in pairs:
        if not b > a >= last:
            raise SpecError(
                f"window {a:g} s to {b:g} s does not follow the one before, or has no length",
                hint="marks go forward in time; check that begins and ends are not shifted by one",
            )
        last = b
    return pairs


def load_told(marks: Sequence[float], *, rule: str) -> dict[str, Any]:
    """What the document "import" says of marks (s): "windows"; "load span", where they bound the load, but not what it
    did meanwhile; or "load edges", where they are all its own, with [on, off] of its stretches within a `pattern` in
    `load_ns`."""
    if rule in ("pairs", "span"):
        return {"marks": "windows" if rule == "pairs" else "load span"}
    on = pairs_of(marks, rule="steps") if rule == "pattern" else []
    stretches = [[round(a * 1e9), round(b * 1e9)] for a, b in on]
    return {"marks": "load edges", **({"load_ns": stretches} if stretches else {})}


def counts_of(text: str | None, windows: int) -> list[int | None]:
    """`N` for all windows or `N1,N2,...` one each -> numbers of inferences, None where nothing was said."""
    if text is None:
        return [None] * windows
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or len(counts) not in (1, windows):
        raise SpecError(
            f"--inferences {text!r} fits no {windows} windows", hint="one whole number for all windows, or one for each"
        )
    return list(counts * windows if len(counts) == 1 else counts)
