"""What differs where others measured: stamps that are declared, standby that nobody took, flags the data came with.

Kept apart so that the order of the steps in `analyse` is the same for every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.energy.standby import NOTHING, Standby, find_standby
from analysis.energy.standby_course import Temperature
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.uncertainty.first_order import Combined
from harness.core.clock import ClockMap, Int64Array
from harness.core.result import BudgetPart, EnergyResult
from harness.core.spec import ProtocolSpec
from harness.core.telemetry import Telemetry
from harness.core.timeline import Timeline
from harness.core.trace import ReadingKind

DOCUMENT = "import"
OPAQUE = (ReadingKind.OVERLAPPING, ReadingKind.FILTERED)


@dataclass(frozen=True)
class Told:
    """What the importer said about its data.

    `unit`: of what the energies are ("inference", or "marked window" where nobody knows how many inferences it holds);
    `by_time`: only the edges of windows are stamps; `flags`: of the importer,
    about all meters or this one; `edges`: marks are those at which the load itself went on and off; `load_ns`: int64
    (K, 2), when it was on, where the windows hold several such stretches.
    """

    unit: str = "inference"
    by_time: bool = False
    flags: tuple[str, ...] = ()
    edges: bool = False
    load_ns: Int64Array | None = None

    @classmethod
    def of(cls, documents: Mapping[str, Any], meter: str) -> Told:
        said = documents.get(DOCUMENT)
        if not isinstance(said, Mapping):
            return cls()
        flags = (*said.get("flags", ()), *said.get("meter_flags", {}).get(meter, ()))
        edges = said.get("marks") in ("load edges", "load span")
        return cls(
            str(said.get("unit", "inference")), said.get("stamps") == "window edges", flags, edges, _stretches(said)
        )


def _stretches(said: Mapping[str, Any]) -> Int64Array | None:
    on = said.get("load_ns")
    return np.array(on, np.int64).reshape(-1, 2) if isinstance(on, list) and on else None


def declared_lag(protocol: ProtocolSpec, channel: ChannelCurve, timeline: Timeline, to_board: ClockMap) -> Lag | None:
    """No lag where the protocol declares the stamps to be on the meter's axis; None where it is to be searched.

    u: half a reading, or what is declared, whichever is larger; beside it what the clocks' map leaves open, and for a
    meter that remembers (overlapping, filtered) where in its memory a step lies.
    """
    if protocol.alignment != "declared":
        return None
    if not np.isfinite(to_board.u_offset_ns):
        return Lag(0, {}, np.inf, 0.0, 0.0, None, None, "nothing ties the meter's clock to the marks'", declared=True)
    first, last = int(timeline.begin_ns.min()), int(timeline.end_ns.max())
    if channel.rows and not channel.curve.covered_between(first, last) > 0:
        return Lag(0, {}, np.inf, 0.0, 0.0, None, None, "the trace and the marks do not overlap in time", declared=True)
    own = max(channel.reading.period_ns / 2 / np.sqrt(3), protocol.alignment_u_s * 1e9)
    memory = channel.guard_ns / np.sqrt(12) if channel.reading.kind in OPAQUE else 0.0
    u = float(np.sqrt(own**2 + to_board.u_offset_ns**2 + memory**2))
    return Lag(0, dict.fromkeys(timeline.starts, 0), u, 0.0, 0.0, None, None, declared=True)


def standby_of(
    protocol: ProtocolSpec, channel: ChannelCurve, timeline: Timeline, lag: Lag, told: Telemetry | None = None
) -> Standby:
    """The brackets; nothing where gross energy is asked for; one alone where the protocol had none. `told`: what the
    board says of its temperature, for `standby_model: temperature`."""
    if protocol.measurand == "gross":
        return NOTHING
    shift = int(np.median([*lag.lag_ns.values()]))
    temperature = None
    if protocol.standby_model == "temperature":
        if told is None or told.clock != timeline.clock or not np.isfinite(warm := told.hottest_c()).any():
            return Standby((), "the protocol follows the board's temperature (standby_model), and the board told none")
        known = np.isfinite(warm)
        temperature = Temperature(np.asarray(told.t_ns[known] + shift, np.float64), warm[known])
    return find_standby(
        channel, timeline, shift, one_will_do=protocol.standby_s == 0, temperature=temperature
    )  # fmt: skip


def gross_parts(parts: tuple[BudgetPart, ...]) -> tuple[BudgetPart, ...]:
    """The budget of gross energy, where that is the measurand."""
    return tuple(replace(part, u_j=part.gross_u_j) for part in parts)


def gross_result(result: EnergyResult, gross: Combined) -> EnergyResult:
    """The result without what needs a standby: dynamic energy, gap energy above standby, standby, leverage."""
    details = {k: v for k, v in result.details.items() if not k.startswith("standby")}
    details["effective_dof"] = gross.dof if np.isfinite(gross.dof) else None
    return replace(
        result, energy_per_inference_j=None, u_j=None, interval_95_j=None, gap_energy_per_inference_j=None,
        standby_w=None, standby_u_w=None, leverage=None, details=details,
    )  # fmt: skip


def measurand_text(protocol: ProtocolSpec, unit: str, batch: int, plane: str, *, accuracy_known: bool) -> str:
    """The measurand in words."""
    of = f"one {unit}" + (f" (batch of {batch})" if batch > 1 else "")
    if protocol.measurand == "gross":
        text = f"gross energy of {of} at {plane}, standby included, {protocol.gap}"
    else:
        warmth = "not included" if protocol.standby_model == "temperature" else "included"
        text = (
            f"dynamic energy of {of} above {protocol.standby_state} standby at {plane}, {protocol.gap}, "
            f"leakage by its own warmth {warmth}"
        )
    return text if accuracy_known else f"{text}, in joules as this meter reads them (nobody states its accuracy)"
