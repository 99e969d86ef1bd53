"""Fields of what is known of meters, calibrations, planes and boards: facts with a source, no settings.

Every limit names where it is printed, and what is not known is left out rather than guessed. docs/campaign.md and
docs/boards-people-own.md explain each field.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator


class Section(BaseModel):
    """Base of everything that is read from YAML."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Text = Annotated[str, StringConstraints(min_length=1)]
Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Plane = Literal["wall", "dc_input", "rail", "package"]
Relative = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class ChannelAccuracySection(Section):
    """Limits of error of a channel, in one range or in all; offsets in W, A and V add up.

    `when`: only where the meter's options say so; `shunt_tolerance_rel` is added to the gain.
    """

    when: dict[str, str | int | float] = {}
    range: Annotated[int, Field(ge=0)] | None = None
    gain_rel: Relative
    offset_w: NotNegative | None = None
    offset_a: NotNegative | None = None
    offset_v: NotNegative | None = None
    voltage_v: Positive | None = None
    shunt_ohm: Positive | None = None
    shunt_tolerance_rel: Relative | None = None
    noise_w: NotNegative = 0.0
    bandwidth_hz: Positive | None = None
    window_s: Positive | None = None
    update_s: Positive | None = None
    source: Text

    @model_validator(mode="after")
    def _has_an_offset(self) -> ChannelAccuracySection:
        if self.offset_w is None and self.offset_a is None and self.offset_v is None:
            raise ValueError("needs a limit of the zero: offset_w, offset_a or offset_v")
        return self


class CalibratedChannelSection(Section):
    """What a calibration found for one channel: it reads gain x true power + offset."""

    channel: Text
    gain: Annotated[float, Field(gt=0.01, lt=100)]
    gain_u95: NotNegative
    offset_w: float
    offset_u95_w: NotNegative
    residuals_w: tuple[float, ...] = ()


class CalibrationFile(Section):
    """A calibration of one unit, as `joulebench meters calibrate` writes it."""

    serial: str
    date: Date
    by: Text
    channels: Annotated[tuple[CalibratedChannelSection, ...], Field(min_length=1)]
    method: str = ""
    valid_days: Annotated[int, Field(ge=1, le=3650)] = 365


class PlaneModelSection(Section):
    """How what the upstream meter sees follows from what the downstream meter sees."""

    upstream: Text
    downstream: Text
    same: Literal[True] | None = None
    efficiency: tuple[float, float] | None = None
    constant_w: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _is_a_model(self) -> PlaneModelSection:
        if self.same:
            if self.efficiency is not None or self.constant_w is not None:
                raise ValueError("says `same: true` and a model: keep one of them")
            return self
        if self.efficiency is None:
            raise ValueError("needs `same: true` or an `efficiency: [lowest, highest]`")
        low, high = self.efficiency
        if not 0 < low <= high <= 1:
            raise ValueError(f"needs an efficiency with 0 < lowest <= highest <= 1, not [{low:g}, {high:g}]")
        if self.constant_w is not None and self.constant_w[0] > self.constant_w[1]:
            raise ValueError("needs a constant_w with lowest <= highest")
        return self


class ObserverSection(Section):
    """What sampling the meter costs its board, as `joulebench boards cost` found it."""

    power_w: float
    half_width_w: NotNegative
    source: Text


class RailSection(Section):
    """A rail of a board: what it feeds, and of which other rail it is a part."""

    feeds: Text
    part_of: Text | None = None


class TotalSection(Section):
    """Which rails make the total of the board, as a meter at a plane sees them; declared, with a source."""

    meter: Text
    plane: Plane
    rails: Annotated[tuple[Text, ...], Field(min_length=1)]
    source: Text


class IdleSection(Section):
    """What such a board draws at rest at a plane, and how sure that is."""

    plane: Plane
    low_w: NotNegative
    high_w: Positive
    rails: tuple[Text, ...] = ()
    source: Text
    sure: Literal["vendor", "measured", "estimated"]

    @model_validator(mode="after")
    def _is_a_range(self) -> IdleSection:
        if self.low_w >= self.high_w:
            raise ValueError("needs low_w below high_w")
        return self


class BoardFacts(Section):
    """What is known of a kind of board."""

    vendor_page: Text | None = None
    rails: dict[str, RailSection] = {}
    totals: tuple[TotalSection, ...] = ()
    idle: tuple[IdleSection, ...] = ()
    wiring: tuple[Text, ...] = ()
    switch_on: tuple[Text, ...] = ()
    unknown: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> BoardFacts:
        for name, rail in self.rails.items():
            if rail.part_of is not None and rail.part_of not in self.rails:
                raise ValueError(f"says that rail {name} is part of {rail.part_of}, which is none of its rails")
        for total in self.totals:
            for one in total.rails:
                if one not in self.rails:
                    raise ValueError(f"has a total with the rail {one}, which is none of its rails")
                if (whole := self.rails[one].part_of) in total.rails:
                    raise ValueError(
                        f"has a total with {one} and {whole}, of which it is a part: that energy would count twice"
                    )
        return self
