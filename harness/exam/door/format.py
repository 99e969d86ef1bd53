"""What may stand in the `world.json` of a foreign world: names, types and limits. docs/world-format.md explains each.

Strict, as every file a user writes: an unknown key, a number in quotes or a missing statement is an error with its
line. Times are seconds, energies joules, as the suffix of a name says.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from harness.config.facts import Section
from harness.config.schema import Count, Name, PositiveSeconds, Seconds, Text

FORMAT, VERSION = "joulebench-world", 1

Channel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_/-]*$", max_length=60)]
Watt = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Pair = Annotated[tuple[int, ...], Field(min_length=2, max_length=2)]
ReadingName = Literal["point", "mean", "overlapping", "filtered", "part_time", "counter"]


class AccuracySection(Section):
    """Limits of error as a datasheet states them, not standard uncertainties."""

    gain_rel: Annotated[float, Field(ge=0, lt=1)]
    offset_w: NotNegative
    noise_w: NotNegative = 0.0
    source: Text


class ReadingSection(Section):
    """What one reading says about the time up to its stamp."""

    kind: ReadingName
    period_s: PositiveSeconds
    window_s: Seconds | None = None
    tau_s: Seconds = 0.0

    @model_validator(mode="after")
    def _kernel_fits_its_kind(self) -> Self:
        window_s, period_s = self.window_s, self.period_s
        if self.kind in ("overlapping", "part_time") and not window_s:
            raise ValueError(f"is {self.kind} and needs window_s")
        if self.kind == "overlapping" and window_s and window_s <= period_s:
            raise ValueError(f"is overlapping, so window_s must be more than period_s ({period_s:g} s)")
        if self.kind == "part_time" and window_s and window_s >= period_s:
            raise ValueError(f"is part_time, so window_s must be less than period_s ({period_s:g} s)")
        if self.kind == "mean" and window_s is not None and abs(window_s - period_s) > 1e-3 * period_s:
            raise ValueError("is a mean whose windows touch, so window_s must equal period_s")
        if self.kind == "filtered" and not self.tau_s:
            raise ValueError("is filtered and needs tau_s")
        if self.kind in ("point", "counter") and window_s:
            raise ValueError(f"is a {self.kind} and has no window_s")
        return self


class RawScale(Section):
    """Integers to SI: value = (raw - offset_raw) * scale, for rows whose range code is `code`."""

    column: Text
    scale: float
    offset_raw: float = 0.0
    code: Annotated[int, Field(ge=0, le=255)] = 0


class SeriesSection(Section):
    """Readings as a table."""

    file: Text
    clock: Literal["own", "host", "board"]
    anchors: Text | None = None
    gaps: Text | None = None
    reading: ReadingSection
    max_power_w: Watt
    raw: tuple[RawScale, ...] = ()
    modulus_j: Positive | None = None
    modulus_raw: Count | None = None

    @model_validator(mode="after")
    def _clock_can_be_placed(self) -> Self:
        if self.clock == "own" and self.anchors is None:
            raise ValueError("has a clock of its own and needs `anchors`: nothing else ties it to the host")
        if self.clock != "own" and self.anchors is not None:
            raise ValueError(f"is stamped on the {self.clock}'s clock, so `anchors` mean nothing: leave them out")
        if self.reading.kind != "counter" and (self.modulus_j or self.modulus_raw):
            raise ValueError("is no counter, so it has no modulus")
        return self


class MonsoonSection(Section):
    """The packets of a Monsoon HVPM as they came over USB, and what the unit's EEPROM says."""

    packets: Text
    arrivals: Text
    serial: Name
    firmware: Count = 32
    output_v: Positive
    scale: dict[Literal["main", "usb", "aux"], Pair]
    zero_offset: dict[Literal["main", "usb", "aux"], Pair]


class ZoneSection(Section):
    """One zone of /sys/class/powercap as its files say."""

    name: Text
    max_energy_range_uj: Count


class PowercapSection(Section):
    """The counters of a powercap tree (RAPL), read again and again."""

    snapshots: Text
    clock: Literal["host", "board"]
    zones: Annotated[dict[Text, ZoneSection], Field(min_length=1)]
    poll_s: PositiveSeconds
    max_power_w: Watt = 2000.0


class MeterSection(Section):
    """A meter: where it taps, what its channels see, what is declared of its accuracy, and its data."""

    name: Name
    plane: Literal["dc_input", "wall", "rail", "package"]
    rails: Annotated[dict[Channel, Name], Field(min_length=1)]
    total: tuple[Name, ...]
    accuracy: AccuracySection | None
    series: SeriesSection | None = None
    monsoon_hvpm: MonsoonSection | None = None
    powercap: PowercapSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(part is not None for part in (self.series, self.monsoon_hvpm, self.powercap)) != 1:
            raise ValueError("needs exactly one of series, monsoon_hvpm, powercap")
        if strangers := [rail for rail in self.total if rail not in self.rails.values()]:
            raise ValueError(f"has the total {strangers[0]!r}, which is none of its rails {list(self.rails.values())}")
        return self


class BoardSection(Section):
    """What the board recorded. `clock`: its own, or the host's if the host stamped."""

    name: Name
    clock: Literal["own", "host"]
    stamps: Text
    spans: Text | None = None
    pings: Text | None = None
    idle_power_w: Annotated[tuple[Watt, ...], Field(min_length=2, max_length=2)] | None = None
    telemetry: Text | None = None


class MeasurementSection(Section):
    """What was measured, and what is claimed about it."""

    model: Name
    batch: Count = 1
    n: Count
    gap: Literal["back-to-back", "dithered"]
    standby: Text | None = None
    measurand: Literal["dynamic", "gross"] = "dynamic"
    alignment: Literal["search", "declared"] = "search"
    alignment_u_s: Seconds = 0.0

    @model_validator(mode="after")
    def _statements_agree(self) -> Self:
        if self.alignment == "declared" and self.alignment_u_s == 0:
            raise ValueError("declares its alignment and must say how well it is known: alignment_u_s")
        if self.measurand == "dynamic" and self.standby is None:
            raise ValueError("is dynamic and must say in `standby` what the board does in the standby brackets")
        return self


class LayersSection(Section):
    """Kernels of the network, a profile of their times, stamps of single inferences."""

    kernels: Text
    profile: Text
    inferences: Text
    stamps: Text | None = None


class OutputsSection(Section):
    """Whether the board's outputs were the reference's."""

    ok: bool
    max_rel_error: float | None = None
    tolerance: float | None = None


class WorldFile(Section):
    """The whole of `world.json`. The first meter is the primary one."""

    format: Literal["joulebench-world"]
    version: Literal[1]
    name: Name
    simulated: bool
    origin: Text
    measurement: MeasurementSection
    board: BoardSection
    meters: Annotated[tuple[MeterSection, ...], Field(min_length=1)]
    layers: LayersSection | None = None
    outputs_check: OutputsSection | None = None

    @model_validator(mode="after")
    def _meters_have_names_of_their_own(self) -> Self:
        names = [meter.name for meter in self.meters]
        if len(set(names)) < len(names):
            raise ValueError(f"has meters of the same name: {sorted(names)}")
        return self
