"""What of an update is kept: whole picounits of the items that the channels in use need, or why there is nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drivers.visa.description import Described
from drivers.visa.numbers import MOST, OVER_RANGE, PICO, REASONS, UNDER_RANGE, VALID, Number
from drivers.visa.options import VisaOptions
from harness.core.errors import SpecError
from harness.core.trace import Accuracy, CalibrationPiece, ChannelSpec, ColumnSpec, Reading, ReadingKind
from harness.core.waiting import NS_PER_S

J_PER_WH = 3600.0
COUNTER_MODULUS = 1 << 62  # never reached: an integrator on board does not wrap, it stops
LOST_COUNT = "reset: "
"""How the reason of a gap begins across which a counter's difference is no energy."""
ANY_POWER_W = 1e5
SAME_RANGE_REL = 0.02
STILL_UPDATES, STILL_REL = 20, 2e-3  # a counter of five digits hides 1e-4 of what it shows, at most


def channels_in_use(options: VisaOptions, rails: Sequence[tuple[str, str]]) -> list[str]:
    """Names of the bound channels, or of all (counters only with option energy). SpecError for unknown ones."""
    channels = options.described.instrument.channels
    for name, _ in rails:
        if name not in channels:
            raise SpecError(
                f"{options.described.instrument.instrument} has no channel {name!r}",
                hint=f"its channels are {', '.join(channels)}",
            )
    bound = {name for name, _ in rails}
    return [
        name
        for name, channel in channels.items()
        if (name in bound if bound else channel.kind != "counter" or options.energy)
    ]


def items_of(described: Described, channels: Sequence[str]) -> list[str]:
    """Items that these channels are made of, each once."""
    return list(dict.fromkeys(item for name in channels for item in described.instrument.channels[name].of))


def column_of(item: str) -> str:
    return f"{item}_raw"


def columns(described: Described, items: Sequence[str]) -> tuple[ColumnSpec, ...]:
    units = {name: described.instrument.items[name].unit for name in items}
    return tuple(ColumnSpec(column_of(name), "J" if unit == "Wh" else unit) for name, unit in units.items())


def calibration(described: Described, items: Sequence[str]) -> list[CalibrationPiece]:
    scales = {name: J_PER_WH if described.instrument.items[name].unit == "Wh" else 1.0 for name in items}
    return [CalibrationPiece(0, column_of(name), 0, PICO * scale, 0.0) for name, scale in scales.items()]


class Judge:
    """Tells readings from what is none. `sizes`: the ranges in force."""

    def __init__(
        self, described: Described, channels: Sequence[str], sizes: Mapping[str, float], update_s: float
    ) -> None:
        self._update_s = update_s
        self.items = items_of(described, channels)
        self._sizes = sizes
        self._sections = sections = described.instrument.items
        self._kept = {name: item.must_be for name, item in sections.items() if item.must_be is not None}
        self._counters = [k for k, name in enumerate(self.items) if sections[name].unit in ("J", "Wh")]
        self._scales = [piece.scale for piece in calibration(described, self.items)]
        self._last: list[int] | None = None
        self._unmoved = 0

    def moved(self, values: Mapping[str, Number]) -> str:
        """Which range is no longer the one that was fixed; empty if none."""
        for name, range_name in self._kept.items():
            found, size = values.get(name), self._sizes.get(range_name)
            if found is not None and found.why == VALID and size and abs(found.value / size - 1) > SAME_RANGE_REL:
                return f"the {range_name} range is {found.value:g}, it was fixed at {size:g}"
        return ""

    def row(self, values: Mapping[str, Number], odd: str) -> tuple[list[int], str, bool]:
        """(whole picounits by column, why they cannot be kept or "", whether for being over range)."""
        raw: list[int] = []
        for name in self.items:
            found = values[name]
            if found.why != VALID:
                return [], odd or f"{name}: {REASONS[found.why]}", found.why in (OVER_RANGE, UNDER_RANGE)
            if abs(found.value) > MOST:
                return [], f"{name}: {found.value:g} is beyond what an instrument reads", False
            raw.append(round(found.value / PICO))
        return raw, "", False

    def stands_still(self, raw: Sequence[int], values: Mapping[str, Number]) -> str:
        """Why a counter says nothing any more, although the instrument sees power; empty if it moves.

        Judged against what one update is worth and what the last digits of the counter may hide.
        """
        power = max((abs(found.value) for name, found in values.items() if self._is_power(name, found)), default=0.0)
        if self._last is None or not power or any(raw[k] != self._last[k] for k in self._counters):
            self._unmoved = 0
            return ""
        self._unmoved += 1
        for k in self._counters:
            hidden_j = power * self._update_s * self._unmoved
            if hidden_j > max(STILL_UPDATES * power * self._update_s, STILL_REL * raw[k] * self._scales[k]):
                return f"{LOST_COUNT}{self.items[k]} stands still at {power:.4g} W"
        return ""

    def _is_power(self, name: str, found: Number) -> bool:
        return found.why == VALID and self._sections[name].unit == "W"

    def fell(self, raw: Sequence[int]) -> str:
        """Why the counters' difference to the last row is no energy; empty if it is. To be asked of every row kept."""
        last, self._last = self._last, list(raw)
        if last is None:
            return ""
        fallen = [self.items[k] for k in self._counters if raw[k] < last[k]]
        return f"{LOST_COUNT}{fallen[0]} went back" if fallen else ""

    def begin(self) -> None:
        """A new acquisition."""
        self._last, self._unmoved = None, 0


# --- what a channel is ----------------------------------------------------------------------------------


def channel_specs(options: VisaOptions, channels: Sequence[str], sizes: Mapping[str, float]) -> tuple[ChannelSpec, ...]:
    """The channels as the analysis knows them, with the ranges of `sizes` in force."""
    return tuple(_channel(options, name, sizes) for name in channels)


def _channel(options: VisaOptions, name: str, sizes: Mapping[str, float]) -> ChannelSpec:
    section = options.described.instrument.channels[name]
    kind = ReadingKind(section.kind)
    period_ns = round(options.update_s * NS_PER_S)
    window_s, tau_s = options.number(section.window_s), options.number(section.tau_s)
    window_ns = 0 if kind is ReadingKind.POINT else period_ns
    if window_s is not None and kind in (ReadingKind.PART_TIME, ReadingKind.FILTERED):
        window_ns = min(round(window_s * NS_PER_S), period_ns)
    counter = kind is ReadingKind.COUNTER
    return ChannelSpec(
        name=name,
        quantity="energy_j" if counter else "power_w",
        columns=tuple(column_of(item) for item in section.of),
        reading=Reading(kind, period_ns, window_ns, round((tau_s or 0.0) * NS_PER_S)),
        accuracy=_accuracy(options, name, sizes),
        modulus_raw=COUNTER_MODULUS if counter else None,
        max_power_w=_most_power_w(options, sizes) if counter else options.max_power_w,
    )


def _accuracy(options: VisaOptions, name: str, sizes: Mapping[str, float]) -> Accuracy:
    """Limits with the sizes of the ranges in them: share of reading, share of range x range, offsets at a voltage."""
    sections = options.described.instrument.channels[name].accuracy
    limits = next(section for section in sections if options.holds(section.when))
    at_v = options.number(limits.at_v) or sizes.get("voltage", 0.0)
    at_a = options.number(limits.at_a) or sizes.get("current", 0.0)
    return Accuracy(
        gain_rel=limits.reading_rel + (options.number(limits.more_rel) or 0.0),
        offset_w=limits.offset_w
        + limits.range_rel * sizes.get("voltage", at_v) * sizes.get("current", at_a)
        + limits.offset_a * at_v
        + limits.offset_v * at_a,
        noise_w=limits.noise_w,
        source=limits.source,
    )


def _most_power_w(options: VisaOptions, sizes: Mapping[str, float]) -> float:
    if options.max_power_w is not None:
        return options.max_power_w
    return 2 * math.prod(sizes.values()) if len(sizes) == 2 else ANY_POWER_W
