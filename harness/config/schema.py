"""What may stand in a campaign, bench, board or meter file: names, types and limits of every field.

Strict: an unknown key, a number in quotes or a fraction where a whole number belongs is an error.
Durations are numbers of seconds, as the suffix `_s` says. docs/campaign.md explains each field.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from harness.config.facts import BoardFacts, ChannelAccuracySection, ObserverSection, Plane, PlaneModelSection, Section


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _listed(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value,)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
Text = Annotated[str, StringConstraints(min_length=1)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=86400)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86400)]
OptionValue = str | int | float


class RuntimeSection(Section):
    """How the model is run; see RuntimeSpec."""

    name: Literal["onnxruntime", "torch", "command"] = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    spinning: Literal["off", "on"] = "off"
    optimisation: Literal["disabled", "basic", "extended", "all"] = "all"
    command: tuple[Text, ...] = ()
    start_pattern: Pattern = r"^start\b"
    stop_pattern: Pattern = r"^stop\b"
    version: Text | None = None


class ModelSection(Section):
    """One model: a reference, and what its dynamic axes and inputs are."""

    model: Text
    axes: dict[str, Count] = Field(default_factory=dict)
    inputs: Text | None = None


class ProtocolSection(Section):
    """A profile and the fields in which the campaign departs from it; see ProtocolSpec."""

    profile: Text = "quick"
    gap: Literal["back-to-back", "dithered"] | None = None
    starts: Annotated[int, Field(ge=1, le=1000)] | None = None
    inferences: Count | None = None
    measure_s: PositiveSeconds | None = None
    standby_s: PositiveSeconds | None = None
    settle_min_s: Seconds | None = None
    settle_max_s: Seconds | None = None
    warm_up_s: Seconds | None = None
    lead_in_s: Seconds | None = None
    lead_out_s: Seconds | None = None
    gap_max_s: Annotated[float, Field(gt=0, le=10)] | None = None
    probe_pauses: Annotated[int, Field(ge=0, le=10000)] | None = None
    probe_pause_s: Annotated[float, Field(gt=0, le=10)] | None = None
    marker_bits: Annotated[str, StringConstraints(pattern=r"^[01]{7,255}$")] | None = None
    marker_chip_s: Annotated[float, Field(ge=0.002, le=1)] | None = None
    output_tolerance_rel: Annotated[float, Field(gt=0, le=1)] | None = None
    dark: bool | None = None
    standby_state: Literal["active-idle", "deep-idle"] | None = None
    standby_model: Literal["line", "temperature"] | None = None
    layers: Literal["off", "profile", "instances"] | None = None
    profile_inferences: Annotated[int, Field(ge=2, le=500)] | None = None
    steady: Literal["report", "required"] | None = None
    telemetry_s: Annotated[float, Field(ge=0, le=60)] | None = None


def _model_section(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


def _protocol_section(value: Any) -> Any:
    return {"profile": value} if isinstance(value, str) else value


class CampaignFile(Section):
    """The request: models x batch sizes x runtimes on one bench or several, under one protocol, repeated."""

    bench: Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(_listed)]
    models: Annotated[
        tuple[Annotated[ModelSection, BeforeValidator(_model_section)], ...],
        Field(min_length=1),
        BeforeValidator(_listed),
    ]
    name: Name | None = None
    runtime: Annotated[tuple[RuntimeSection, ...], Field(min_length=1), BeforeValidator(_listed)] = (RuntimeSection(),)
    batch: Annotated[tuple[Count, ...], Field(min_length=1), BeforeValidator(_listed)] = (1,)
    protocol: Annotated[ProtocolSection, BeforeValidator(_protocol_section)] = ProtocolSection()
    repetitions: Annotated[int, Field(ge=1, le=10000)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    tags: dict[str, Text] = Field(default_factory=dict)


class AccuracySection(Section):
    """Limits of error of a meter's power, and where they are printed or who found them."""

    gain_rel: Annotated[float, Field(ge=0, le=1)]
    offset_w: Annotated[float, Field(ge=0)]
    source: Text
    calibrated: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None


class MeterEntry(Section):
    """A meter on a bench: which file describes it, which channel sees which rail."""

    name: Name
    meter: Text
    rails: Annotated[dict[str, Text], Field(min_length=1)]
    plane: Plane
    total: Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(_listed)]
    options: dict[str, OptionValue] = Field(default_factory=dict)
    accuracy: AccuracySection | None = None
    calibration: Text | None = None
    character: Text | None = None
    observer: ObserverSection | None = None


class BenchFile(Section):
    """Which meter sees which rail of which board. The first meter is the primary one."""

    board: Text
    meters: Annotated[tuple[MeterEntry, ...], Field(min_length=1)]
    description: Text | None = None
    marker_pin: Text | None = None
    plane_models: tuple[PlaneModelSection, ...] = ()


ClockRange = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]


class GpuSection(Section):
    """What the NVIDIA GPUs of a board are set to while it is measured; put back afterwards."""

    which: tuple[Annotated[str, BeforeValidator(str)], ...] = ()
    persistence: bool | None = None
    clocks_mhz: ClockRange | None = None
    memory_clocks_mhz: ClockRange | None = None
    applications_clocks_mhz: ClockRange | None = None
    power_limit_w: Annotated[float, Field(gt=0)] | None = None
    compute_mode: Literal["Default", "Exclusive_Process", "Prohibited"] | None = None
    mig: bool | None = None

    @model_validator(mode="after")
    def _ordered(self) -> GpuSection:
        for name in ("clocks_mhz", "memory_clocks_mhz"):
            low, high = getattr(self, name) or (0, 0)
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}]: the least clock comes first")
        return self


class BoardFile(Section):
    """A board, how it is reached, and the state it is put into while it is measured."""

    description: Text | None = None
    transport: Literal["local", "ssh"] = "local"
    address: Text | None = None
    python: Text | None = None
    governor: Text | None = None
    cpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    marker_pin: Text | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    directory: Text | None = None
    memory_limit_mib: Annotated[int, Field(ge=16)] | None = None
    cool_to_c: Annotated[float, Field(gt=0, lt=120)] | None = None
    cool_max_s: PositiveSeconds = 600.0
    warm_to_c: Annotated[float, Field(gt=0, lt=120)] | None = None
    warm_max_s: PositiveSeconds = 600.0
    gpu: GpuSection | None = None
    like: Text | None = None
    facts: BoardFacts | None = None


class ChannelFacts(Section):
    """A channel of a kind of meter: where it may tap, and its accuracy if the driver does not state it."""

    planes: Annotated[tuple[Plane, ...], Field(min_length=1)]
    accuracy: Annotated[tuple[ChannelAccuracySection, ...], BeforeValidator(_listed)] = ()


class MeterFile(Section):
    """A kind of meter: its driver, the options it is opened with, and its channels (names or `*` patterns)."""

    driver: Text
    channels: Annotated[dict[str, ChannelFacts], Field(min_length=1)]
    description: Text | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
