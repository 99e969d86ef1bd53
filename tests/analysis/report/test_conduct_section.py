"""The report's part on how the board conducted itself: telemetry on the axis of the power, courses in words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.report.conduct_section import HEIGHT, LEFT, WIDTH, conduct_section
from analysis.report.material import Material
from analysis.report.painting import extent, shifted
from analysis.report.run_page import run_page
from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind
from harness.core.timeline import Phase

MakeMaterial = Callable[..., Material]
CHANNELS = (
    TelemetryChannel(TelemetryKind.TEMPERATURE_C, "thermal_zone0 <cpu>"),
    TelemetryChannel(TelemetryKind.FREQUENCY_HZ, "policy0"),
)


def telling(material: Material, *, gap: bool = False) -> Material:
    """The run with telemetry every 0.1 s: warmer by 10 degrees from the first measured inference on."""
    timeline = material.view.timeline if material.view else pytest.fail("no view")
    spans = timeline.spans
    t_ns = np.arange(spans[0].begin_ns, spans[-1].end_ns, 100_000_000, dtype=np.int64)
    warm = np.where(t_ns >= timeline.spans_of(Phase.MEASURED)[0].begin_ns, 50.0, 40.0)
    if gap:
        warm[len(warm) // 2] = np.nan
    values = np.stack([warm, np.full(len(warm), 1.5e9)], axis=1)
    return dataclasses.replace(material, telemetry=Telemetry(timeline.clock, t_ns, CHANNELS, values))


def with_courses(material: Material, *courses: dict[str, Any]) -> Material:
    steady = {"courses": list(courses), "flat": 3, "warm_up_needed_s": 2.5 if courses else None}
    primary = dataclasses.replace(material.result, details={**material.result.details, "steady": steady})
    analysis = dataclasses.replace(material.analysis, results=(primary, *material.analysis.results[1:]))
    return dataclasses.replace(material, analysis=analysis)


def test_temperature_steps_where_the_measured_window_begins(material: MakeMaterial) -> None:
    made = telling(material())
    section = conduct_section(made)
    paths = re.findall(r'<path d="([^"]+)"', section)
    assert len(paths) == 3  # power, temperature, frequency
    points = np.array([[float(n) for n in p.split(" ")] for p in re.split("[ML]", paths[1]) if p])
    step = int(np.argmax(np.abs(np.diff(points[:, 1]))))
    assert made.view is not None
    moved = shifted(made.view)
    begin, end = extent(made.view, moved)
    window = moved.timeline.spans_of(Phase.MEASURED)[0]
    at = LEFT + (WIDTH - LEFT) * (window.begin_ns + moved.lag_of(window.start) - begin) / (end - begin)
    one_reading = (WIDTH - LEFT) * 1e8 / (end - begin)
    assert points[step, 0] <= at + 0.2 and points[step + 1, 0] <= at + one_reading + 0.2
    assert points[step + 1, 1] < points[step, 1] - 0.8 * HEIGHT  # warmer is higher
    assert "thermal_zone0 &lt;cpu&gt;" in section and "frequency (MHz)" in section


def test_a_missing_reading_is_a_break_in_the_line(material: MakeMaterial) -> None:
    whole, broken = (
        re.findall(r'<path d="([^"]+)"', conduct_section(telling(material(), gap=g)))[1] for g in (False, True)
    )
    assert (whole.count("M"), broken.count("M")) == (1, 2)


def test_courses_are_said_in_words(material: MakeMaterial) -> None:
    course = {
        "start": 1, "of": "time", "course": "warm_up", "change_rel": 0.08, "matters": True, "levels_rel": [1.08, 1.0],
        "from_s": [0.0, 1.5], "steady_from_s": 1.5,
    }  # fmt: skip
    section = conduct_section(with_courses(material(), course))
    assert "Process start 2 was still warming up: the time of an inference went 108.0 % → 100.0 %" in section
    assert "The warm-up would have had to last 2.5 s." in section
    assert "one level in every process start" in conduct_section(with_courses(material()))


def test_a_board_that_tells_nothing_is_said_to(material: MakeMaterial) -> None:
    page = run_page(material()).decode()
    assert "The board told nothing of its temperature or frequency." in page
    assert "The board told nothing" not in run_page(telling(material())).decode()
