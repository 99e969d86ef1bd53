"""The page says what holds the scale of its figure: a second meter, a catalogue, or nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from analysis.crosscheck.observers import observers
from analysis.report.beside import beside_section
from analysis.report.material import load_material
from analysis.report.run_page import run_page
from harness.core.bench_facts import Observer, PlaneModel
from harness.core.spec import MeterBinding
from tests.analysis.conftest import SmallWorld, run_spec


def test_one_meter_alone_is_said_to_be_unwatched(tmp_path: Path) -> None:
    material = load_material(SmallWorld(n=60, period_ns=1_000_000).run(tmp_path).path)
    page = run_page(material).decode()
    assert "Unobservable in this run" in page
    assert "main: any constant scale fault (wrong shunt, wrong unit, current that passes it by)" in page


def test_a_pair_that_cannot_be_compared_is_in_the_page(tmp_path: Path) -> None:
    material = load_material(SmallWorld(n=60, period_ns=1_000_000).run(tmp_path).path)
    other = MeterBinding("other", "small", (("main", "main"),), "package", ("main",))
    spec = dataclasses.replace(material.spec, meters=(*material.spec.meters, other))
    assert "main and other" in beside_section(dataclasses.replace(material, spec=spec))
    declared = dataclasses.replace(spec, plane_models=(PlaneModel("main", "other", (0.5, 1.0), (0.0, 1.0)),))
    assert "main and other" not in beside_section(dataclasses.replace(material, spec=declared))


def test_what_a_sampler_cost_is_told_with_the_power_that_was_measured(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    said = {"plan": {"files": ["/a", "/b"], "command": [], "period_s": 0.02}, "cost": {"cpu_s": 0.5, "wall_s": 50.0}}
    (tmp_path / "raw" / "main.sampler.json").write_text(json.dumps(said))
    (one,) = observers(tmp_path, run_spec(1))
    assert (one["cpu_share"], one["files"], one["power_w"]) == (0.01, 2, None)
    (known,) = observers(tmp_path, run_spec(1, observer=Observer(0.02, 0.005, "boards cost, 2026-03-01")))
    assert (known["power_w"], known["power_half_width_w"]) == (0.02, 0.005)
