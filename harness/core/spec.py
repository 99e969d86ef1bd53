"""RunSpec: one planned measurement, fully resolved, frozen and hashable.

The configuration layer turns campaign files into RunSpecs; nothing later looks at a campaign file again.
A RunSpec's identity is the hash of its canonical JSON, so it depends on neither plan order nor tool version.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from harness.core.bench_facts import (
    Calibration,
    ChannelAccuracy,
    IdleRange,
    Observer,
    PlaneModel,
    calibration_from_json,
    idle_range_from_json,
    plane_model_from_json,
)
from harness.core.character import Characterisation, characterisation_from_json

LATER = MappingProxyType({"later": True})
"""Metadata of a field that was added after run directories were first written."""


def _without_later_defaults(part: Any) -> dict[str, Any]:
    values = dataclasses.asdict(part)
    for known in dataclasses.fields(part):
        if known.metadata.get("later") and values[known.name] == known.default:
            del values[known.name]
    return values


@dataclass(frozen=True)
class ModelSpec:
    """What is run. `source`: `zoo:NAME`, `gen:NAME` or an absolute path; `sha256` is of the model's bytes.

    `axes`: dynamic axis name -> size; `inputs_npz`: absolute path of given inputs, or None to generate them.
    """

    name: str
    source: str
    sha256: str
    batch: int
    axes: tuple[tuple[str, int], ...] = ()
    inputs_npz: str | None = None
    inputs_sha256: str | None = None


@dataclass(frozen=True)
class RuntimeSpec:
    """How it is run. Threads and spinning are explicit: spinning workers draw active power in gaps.

    `command`: argv of the `command` runtime (`{model}`, `{n}`, `{batch}` are replaced); its lines that
    match `start_pattern` / `stop_pattern` begin and end an inference.
    """

    name: str = "onnxruntime"
    threads: int = 1
    spinning: str = "off"  # "off" or "on"
    optimisation: str = "all"  # "disabled", "basic", "extended" or "all"
    command: tuple[str, ...] = ()
    start_pattern: str = r"^start\b"
    stop_pattern: str = r"^stop\b"
    version: str | None = None


@dataclass(frozen=True)
class ProtocolSpec:
    """How it is measured; every duration in seconds.

    One process start is: load, (first start: settle and standby bracket before), marker, lead-in,
    measured inferences, lead-out, gap probe, marker, (last start: settle and standby bracket after).
    `inferences`: measured inferences in total over all starts, or None to measure for `measure_s` a start.
    `gap`: "back-to-back", or "dithered": a pause U(0, gap_max_s) after every measured inference.
    `dark`: the link to the board is cut while a program runs, and the data are fetched afterwards.
    `layers`: "off"; "profile": after the last start a process of its own profiles `profile_inferences` inferences, and
    layers are scaled onto the measured ones; "instances": the measured inferences themselves are profiled, so every
    instance is stamped, and the profiler's cost is part of the figure.
    `standby_state`: what the brackets hold, and what dynamic energy is above: "active-idle" (the agent's process is
    alive, the model loaded, nothing spins) or "deep-idle" (no process has a model loaded). `standby_model`: "line":
    standby is what the board would draw had nothing been run; "temperature": what it would draw at the temperature that
    the work gave it, by regression on the board's own temperatures.
    `measurand`: "dynamic", or "gross" where there is no standby to subtract (imported traces).
    `alignment`: "search": the lag of the power behind the stamps is found in the data; "declared": stamps are on the
    meter's own time axis to within `alignment_u_s` (imported traces).
    `steady`: "report": inferences that were still changing are a flag; "required": they leave no figure.
    `telemetry_s`: how often the board's temperatures and frequencies are read while it is measured; 0: never.
    """

    profile: str
    gap: str
    starts: int
    inferences: int | None
    measure_s: float
    standby_s: float
    settle_min_s: float
    settle_max_s: float
    warm_up_s: float
    lead_in_s: float
    lead_out_s: float
    gap_max_s: float
    probe_pauses: int
    probe_pause_s: float
    marker_bits: str
    marker_chip_s: float
    output_tolerance_rel: float
    dark: bool = field(default=False, metadata=LATER)
    layers: str = field(default="off", metadata=LATER)
    profile_inferences: int = field(default=50, metadata=LATER)
    measurand: str = field(default="dynamic", metadata=LATER)
    alignment: str = field(default="search", metadata=LATER)
    alignment_u_s: float = field(default=0.0, metadata=LATER)
    standby_state: str = field(default="active-idle", metadata=LATER)
    standby_model: str = field(default="line", metadata=LATER)
    steady: str = field(default="report", metadata=LATER)
    telemetry_s: float = field(default=1.0, metadata=LATER)


@dataclass(frozen=True)
class MeterBinding:
    """A meter as the bench has it: which driver, at which address, which channel sees which rail.

    `rails`: (channel, rail) pairs; `plane`: where it taps ("dc_input", "wall", "rail", "package");
    `total_rails`: the rails whose sum is the board, declared, never guessed; `options` are for the driver.
    `accuracy_rel`, `accuracy_offset_w`: the bench's limits of error for this very unit, over all others; `accuracy`:
    limits by channel and range, over the driver's own; `calibration`: what corrects its readings in the analysis;
    `observer`: what sampling it costs the board; `character`: what a coded load showed of its readings.
    """

    name: str
    driver: str
    rails: tuple[tuple[str, str], ...]
    plane: str
    total_rails: tuple[str, ...]
    options: tuple[tuple[str, str | int | float], ...] = ()
    accuracy_rel: float | None = None
    accuracy_offset_w: float | None = None
    accuracy: tuple[ChannelAccuracy, ...] = field(default=(), metadata=LATER)
    calibration: Calibration | None = field(default=None, metadata=LATER)
    observer: Observer | None = field(default=None, metadata=LATER)
    character: Characterisation | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class GpuSettings:
    """What a board's NVIDIA GPUs are set to while it is measured (None, empty: left as found), and put back from.

    `which`: indices or UUIDs, empty for all; `clocks_mhz`, `memory_clocks_mhz`: least and most, locked;
    `applications_clocks_mhz`: memory and graphics; `mig`: what MIG mode must be (it is never changed). MHz and W are
    nvidia-smi's own units.
    """

    which: tuple[str, ...] = ()
    persistence: bool | None = None
    clocks_mhz: tuple[int, ...] = ()
    memory_clocks_mhz: tuple[int, ...] = ()
    applications_clocks_mhz: tuple[int, ...] = ()
    power_limit_w: float | None = None
    compute_mode: str | None = None
    mig: bool | None = None

    @property
    def locked(self) -> bool:
        """Whether this pins the graphics clock to one frequency."""
        return bool(self.clocks_mhz) and self.clocks_mhz[0] == self.clocks_mhz[-1]


@dataclass(frozen=True)
class BoardSpec:
    """A board: how it is reached, and the state it is asked to be in (None: left as found).

    `address`: for `ssh` anything ssh(1) takes (`host`, `user@host`, `user@host:port`, an alias of ~/.ssh/config).
    `directory`: where the harness keeps its files there; `environment`: of the agents; `memory_limit_mib`: of an
    agent; `cool_to_c`: no run begins while a zone is hotter, for at most `cool_max_s`; `warm_to_c`: no process start is
    measured before the hottest zone is this warm: it is warmed with inferences, for at most `warm_max_s`; `idle`: what
    such boards are known to draw at rest; `gpu`: what its GPUs are set to.
    """

    name: str
    transport: str = "local"
    address: str | None = None
    python: str | None = None
    governor: str | None = None
    cpus: tuple[int, ...] = ()
    marker_pin: str | None = None
    environment: tuple[tuple[str, str], ...] = field(default=(), metadata=LATER)
    directory: str | None = field(default=None, metadata=LATER)
    memory_limit_mib: int | None = field(default=None, metadata=LATER)
    cool_to_c: float | None = field(default=None, metadata=LATER)
    cool_max_s: float = field(default=600.0, metadata=LATER)
    warm_to_c: float | None = field(default=None, metadata=LATER)
    warm_max_s: float = field(default=600.0, metadata=LATER)
    idle: tuple[IdleRange, ...] = field(default=(), metadata=LATER)
    gpu: GpuSettings | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class RunSpec:
    """One planned measurement. The first meter is the primary one: its total is the run's result.

    `plane_models`: how what one meter sees follows from what another one sees.
    """

    campaign: str
    bench: str
    board: BoardSpec
    meters: tuple[MeterBinding, ...]
    model: ModelSpec
    runtime: RuntimeSpec
    protocol: ProtocolSpec
    repetition: int
    seed: int
    simulated: bool
    tags: tuple[tuple[str, str], ...] = field(default=())
    plane_models: tuple[PlaneModel, ...] = field(default=(), metadata=LATER)

    def to_json(self) -> dict[str, Any]:
        """Plain data. Fields that came later are left out at their default: an older run keeps its identity."""
        return {
            **_without_later_defaults(self),
            "meters": [_without_later_defaults(meter) for meter in self.meters],
            "board": _without_later_defaults(self.board),
            "protocol": _without_later_defaults(self.protocol),
        }

    def canonical(self) -> str:
        """Canonical JSON: sorted keys, no spaces, floats as Python's repr."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    @functools.cached_property
    def run_id(self) -> str:
        """`<model>-b<batch>-r<repetition>-<12 hex of the hash>`: unique and readable as a directory name."""
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()[:12]
        return f"{self.model.name}-b{self.model.batch}-r{self.repetition}-{digest}"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunSpec:
        """Inverse of `to_json`; raises KeyError or TypeError on data of another form."""

        def pairs(rows: Any) -> tuple[tuple[Any, Any], ...]:
            return tuple((k, v) for k, v in rows)

        model = dict(data["model"], axes=pairs(data["model"]["axes"]))
        runtime = dict(data["runtime"], command=tuple(data["runtime"]["command"]))
        board = dict(data["board"], cpus=tuple(data["board"]["cpus"]))
        if "environment" in board:
            board["environment"] = pairs(board["environment"])
        if "idle" in board:
            board["idle"] = tuple(idle_range_from_json(row) for row in board["idle"])
        if board.get("gpu") is not None:
            board["gpu"] = gpu_from_json(board["gpu"])
        meters = tuple(meter_from_json(m) for m in data["meters"])
        models = tuple(plane_model_from_json(m) for m in data.get("plane_models", ()))
        rest = {k: v for k, v in data.items() if k not in _PARTS}
        return cls(
            model=ModelSpec(**model),
            runtime=RuntimeSpec(**runtime),
            board=BoardSpec(**board),
            meters=meters,
            protocol=ProtocolSpec(**data["protocol"]),
            tags=pairs(data["tags"]),
            plane_models=models,
            **rest,
        )


_PARTS = ("model", "runtime", "board", "meters", "protocol", "tags", "plane_models")


def gpu_from_json(data: dict[str, Any]) -> GpuSettings:
    """Inverse of `dataclasses.asdict` over the settings of GPUs, after a trip through JSON."""
    told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return GpuSettings(**told)


def meter_from_json(data: dict[str, Any]) -> MeterBinding:
    """Inverse of `dataclasses.asdict` over a meter binding, after a trip through JSON."""
    told = dict(
        data,
        rails=tuple((c, r) for c, r in data["rails"]),
        total_rails=tuple(data["total_rails"]),
        options=tuple((k, v) for k, v in data["options"]),
    )
    if "accuracy" in told:
        told["accuracy"] = tuple(ChannelAccuracy(**row) for row in told["accuracy"])
    if told.get("calibration") is not None:
        told["calibration"] = calibration_from_json(told["calibration"])
    if told.get("character") is not None:
        told["character"] = characterisation_from_json(told["character"])
    if told.get("observer") is not None:
        told["observer"] = Observer(**told["observer"])
    return MeterBinding(**told)
