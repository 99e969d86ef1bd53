"""What a bench file may say to a replay, checked before a file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.trace import ReadingKind

TEXTS = ("run", "meter", "file", "at_end", "kind")
NUMBERS = ("period_s", "window_s")
AT_END = ("gap", "error")
KINDS = (ReadingKind.POINT, ReadingKind.MEAN, ReadingKind.PART_TIME)


@dataclass(frozen=True)
class ReplayOptions:
    """`run` (a run directory) and `meter` (of it; None: the first), or `file` (a CSV export); `at_end`: "gap", or
    "error". Of a CSV, which does not say it: `kind` of its readings, `period_s` (None: usual spacing), `window_s`."""

    run: Path | None = None
    meter: str | None = None
    file: Path | None = None
    at_end: str = "gap"
    kind: ReadingKind = ReadingKind.POINT
    period_s: float | None = None
    window_s: float | None = None

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> ReplayOptions:
        """SpecError for an unknown option, a wrong type, or for nothing (or two things) to replay."""
        if unknown := sorted(set(options) - {*TEXTS, *NUMBERS}):
            raise SpecError(f"replay has no option {unknown[0]!r}", hint=f"its options are {[*TEXTS, *NUMBERS]}")
        texts = {name: options[name] for name in TEXTS if name in options}
        for name, value in texts.items():
            if not isinstance(value, str) or not value:
                raise SpecError(f"replay option {name} is {value!r}", hint="give text, in quotes")
        for name in NUMBERS:
            value = options.get(name, 1.0)
            if isinstance(value, bool | str) or not 0 < value < 86400:
                raise SpecError(f"replay option {name} is {value!r}", hint="give a positive number of seconds")
        run, file = (Path(str(texts[n])).expanduser() if n in texts else None for n in ("run", "file"))
        if run is not None and file is not None:
            raise SpecError("replay has both options run and file", hint="give the one that is to be played")
        at_end, kind = str(texts.get("at_end", "gap")), str(texts.get("kind", ReadingKind.POINT))
        if at_end not in AT_END:
            raise SpecError(f"replay option at_end is {at_end!r}", hint=f"give one of {list(AT_END)}")
        if kind not in KINDS:
            raise SpecError(f"replay option kind is {kind!r}", hint=f"give one of {[str(k) for k in KINDS]}")
        return cls(
            run, str(texts["meter"]) if "meter" in texts else None, file, at_end, ReadingKind(kind),
            _number(options, "period_s"), _number(options, "window_s"),
        )  # fmt: skip


def _number(options: Mapping[str, str | int | float], name: str) -> float | None:
    return float(options[name]) if name in options else None
