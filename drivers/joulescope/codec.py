"""Statistics of a Joulescope to rows: its energy accumulator at the ends of its windows. Pure: no device, no clock.

A message of the topic `s/stats/value` is a dict of the package pyjoulescope_driver: `time.samples` (first and last
sample of the window), `time.sample_freq`, `time.accum_samples` (since when the accumulators count),
`accumulators.energy` with the whole number `int_value` and its `int_scale` in joule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.errors import DeviceError
from harness.core.trace import Gap
from harness.core.waiting import NS_PER_S

AGREE_REL, AGREE_J = 1e-6, 1e-6


@dataclass(frozen=True)
class Row:
    """The accumulator at the end of a window: `t_ns` on the instrument's clock, `raw` counts of `scale_j` joule."""

    t_ns: int
    raw: int
    scale_j: float


class StatisticsCodec:
    """Feeds on messages in order. `gaps` and `counts` since the last `take`."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._since: int | None = None
        self._scale_j: float | None = None  # of all rows: their calibration is told once
        self._gaps: list[Gap] = []
        self._counts: dict[str, int] = {}

    def feed(self, value: Mapping[str, Any]) -> Row | None:
        """The row, or None for what is no news or no number. DeviceError if the message is none that we know."""
        try:
            begin, end = value["time"]["samples"]["value"]
            rate_hz = float(value["time"]["sample_freq"]["value"])
            since = int(value["time"]["accum_samples"]["value"][0])
            energy = value["accumulators"]["energy"]
            raw, scale_j, joule = int(energy["int_value"]), float(energy["int_scale"]), float(energy["value"])
            power_w = float(value["signals"]["power"]["avg"]["value"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DeviceError(
                f"statistics of the Joulescope lack {error}: another version of its package",
                hint="pip install 'joulebench[joulescope]', which names a version that this driver knows",
            ) from error
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise DeviceError(
                f"the Joulescope states a sample rate of {rate_hz} Hz", hint="plug it in again, run again"
            )
        t_ns, begin_ns = round(end * NS_PER_S / rate_hz), round(begin * NS_PER_S / rate_hz)
        if self._last_ns is not None and t_ns <= self._last_ns:
            self._count("repeats")
            return None
        if not (math.isfinite(power_w) and math.isfinite(joule)):
            self._missing(t_ns, begin_ns, "samples missing: not a number")
            return None
        if abs(raw * scale_j - joule) > AGREE_J + AGREE_REL * abs(joule):
            raise DeviceError(
                f"the Joulescope's energy is {joule} J in one field and {raw * scale_j} J in another",
                hint="report the versions of its package and firmware; do not use these figures",
            )
        if self._scale_j not in (None, scale_j):
            raise DeviceError(
                f"the Joulescope counts energy in {scale_j} J now, in {self._scale_j} J before",
                hint="report the versions of its package and firmware; do not use these figures",
            )
        self._scale_j = scale_j
        if self._since is not None and since != self._since and self._last_ns is not None:
            self._gaps.append(Gap(self._last_ns, t_ns, -1, "reset: the accumulators were cleared"))
            self._count("resets")
        self._since, self._last_ns = since, t_ns
        return Row(t_ns, raw, scale_j)

    def take(self) -> tuple[list[Gap], dict[str, int]]:
        """What went missing, and how often, since the last call."""
        taken = self._gaps, self._counts
        self._gaps, self._counts = [], {}
        return taken

    def _missing(self, t_ns: int, begin_ns: int, reason: str) -> None:
        """The accumulator goes on only over samples that it saw: what lies across this window is no energy."""
        begin = self._last_ns if self._last_ns is not None else begin_ns
        if t_ns > begin:
            self._gaps.append(Gap(begin, t_ns, -1, f"reset: {reason}"))
        self._last_ns = t_ns
        self._count("windows_with_missing_samples")

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1
