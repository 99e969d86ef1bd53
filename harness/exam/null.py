"""Null networks: inferences that draw nothing above standby. Their intervals must hold 0 as often as they say.

A result of one is refused, mostly as `below_standby`, as it must be; what had been worked out before stands in its
details.
Markers and process starts draw power as ever, or no clock could be tied to the stamps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from analysis.analyse import Analysis, analyse_run
from harness.core.result import EnergyResult
from harness.core.spec import ProtocolSpec
from harness.exam.campaign import exam_scenario
from harness.exam.estimate import Interval
from harness.exam.scenario import Scenario, load_scenario, with_protocol
from harness.store.run_reader import RunReader

NOTHING_W = 1e-6  # above standby
MARKER_W = 3.0
CHANGED: dict[str, dict[str, float | str]] = {
    "load": {
        "dynamic_w": NOTHING_W,
        "spin_factor": MARKER_W / NOTHING_W,
        "late_end_s": 0,
        "gap_over_active": 0,
        "hold_s": 0.01,
    },
    "standby": {"context_w": 0},  # what the markers leave behind counts as an inference's
    "heat": {"leak_share": 0, "fan_w": 0, "throttle_drop": 0},  # warmth is in units of the dynamic power
    "board": {"step_s": 0},
    "meter": {"clip_share": 0, "loss_p": 0},
}


def null_scenario(meters: Sequence[str], protocol: ProtocolSpec | None = None) -> Scenario:
    """The worlds of `default` without faults, and with inferences that draw nothing."""
    scenario = load_scenario(None, meters=meters)
    groups = {name: {**keys, **CHANGED.get(name, {})} for name, keys in scenario.ranges.groups.items()}
    changed = dataclasses.replace(scenario, ranges=dataclasses.replace(scenario.ranges, name="null", groups=groups))
    return changed if protocol is None else with_protocol(changed, protocol)


def null_intervals(seeds: Sequence[int], scenario: Scenario) -> Iterator[tuple[str, str, Interval | None]]:
    """(world, meter, interval of dynamic energy in J) of each result; None where no clock could be tied."""
    for seed in seeds:
        results: list[EnergyResult] = []

        def analyse(run: RunReader, results: list[EnergyResult] = results) -> Analysis:
            found = analyse_run(run)
            results.extend(found.results)
            return found

        exam_scenario(seed, scenario, analyse=analyse)
        for result in results:
            yield f"null/{seed}", result.meter, interval_of(result)


def interval_of(result: EnergyResult) -> Interval | None:
    """The interval of a result, or the one that had been worked out before it was refused, for whatever reason."""
    if result.interval_95_j is not None:
        return result.interval_95_j
    pair = result.details.get("refused", {}).get("interval_95_j")
    return None if pair is None else (float(pair[0]), float(pair[1]))
