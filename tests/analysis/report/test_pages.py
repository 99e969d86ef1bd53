"""Pages of runs of every kind: complete, self-contained, small enough, and honest about what is missing."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.report.campaign import load_campaign, write_campaign_report
from analysis.report.layer_section import operator_classes
from analysis.report.material import Material, load_material
from analysis.report.methods import methods
from analysis.report.run_page import run_page
from analysis.report.write import write_run_report
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.source import Source
from harness.imports.table import ColumnMap, build

MakeMaterial = Callable[..., Material]
VOID = {"meta", "link", "img", "rect", "line", "circle", "br"}


class Reader(HTMLParser):
    """Text outside scripts, attributes that fetch, and tags that are left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetches: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.fetches += [str(v) for k, v in attrs if k in ("src", "href", "srcset", "action", "data") and v]
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag in ("img", "canvas") or given.get("role") == "img":
            self.images.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def checked(page: bytes) -> Reader:
    text = page.decode()
    reader = Reader(text)
    assert reader.open == []
    assert all(f.startswith(("data:", "#")) or not re.match(r"\w+:|//|/", f) for f in reader.fetches), reader.fetches
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|import\(", text)
    assert len(set(reader.ids)) == len(reader.ids)
    assert all(image.get("alt") or image.get("aria-label") for image in reader.images)
    assert "nan" not in reader.text.lower().split()
    assert "None" not in reader.text.replace("None: nothing was noticed", "")
    return reader


def test_a_valid_run_says_figure_interval_claim_and_method(material: MakeMaterial) -> None:
    found = material()
    page = run_page(found, picture=b"\x89PNG")
    text = checked(page).text
    assert len(page) < 3_000_000
    assert "SIMULATED" in text
    assert "95 % interval" in text
    assert found.result.measurand in text
    assert "Improve first" in text
    assert found.analysis.manifest_sha256 in text
    assert "layers: profile" in text  # how to get layers
    for fact in ("small", "made up", "back to back", "JCGM 100:2008", "360 inferences", "3 process starts"):
        assert fact in methods(found), fact


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("standby_missing", {"bracket_s": 0.3}),
    ("coverage", {"lose": 0.6}),
    ("no_inferences", {"n": 0}),
    ("clocks", {"active_w": 2.0, "gap_w": 2.0}),
    ("output_mismatch", {"documents": {"outputs_check": {"ok": False, "max_rel_error": 0.5, "tolerance": 1e-3}}}),
]


@pytest.mark.parametrize(("reason", "settings"), REFUSED, ids=[r for r, _ in REFUSED])
def test_a_refused_run_says_why_and_what_to_do(reason: str, settings: dict[str, Any], material: MakeMaterial) -> None:
    found = material(**settings)
    assert found.result.reason == reason
    text = checked(run_page(found)).text
    assert "No figure" in text
    assert "What to do" in text
    assert reason in text
    assert not re.search(r"\b0(\.0+)? [mµn]?J per inference", text)


def test_layers_are_listed_grouped_and_closed(material: MakeMaterial) -> None:
    found = material(layers=70, group=9)
    page = run_page(found)
    text = checked(page).text
    assert len(page) < 3_000_000
    assert "closes" in text
    assert re.search(r"layer_0/Conv .. layer_8/\w+ group", text)
    assert "shares of" not in text
    report = found.result.layers
    assert report is not None
    for layer in report.layers:
        assert layer.name in text
    classes = operator_classes(report, found.features)
    assert sum(c.energy_j for c in classes) == pytest.approx(report.sum_j)
    assert sum(c.layers for c in classes) == 70
    assert {c.name for c in classes} >= {"several classes", "convolution", "unknown"}


def test_layers_that_do_not_close_or_failed_are_said_to(material: MakeMaterial) -> None:
    found = material(layers=5)
    report = found.result.layers
    assert report is not None

    def with_report(**changes: Any) -> Material:
        result = dataclasses.replace(found.result, layers=dataclasses.replace(report, **changes))
        return dataclasses.replace(found, analysis=dataclasses.replace(found.analysis, results=(result,)))

    assert "does not close" in checked(run_page(with_report(closes=False))).text
    text = checked(run_page(with_report(layers=(), sum_j=None, problem="the profile has another graph"))).text
    assert "the profile has another graph" in text


def test_a_gross_figure_claims_no_dynamic_energy(material: MakeMaterial) -> None:
    found = material()
    result = dataclasses.replace(
        found.result, energy_per_inference_j=None, u_j=None, interval_95_j=None, standby_w=None, standby_u_w=None,
        gap_energy_per_inference_j=None, leverage=None, measurand="gross energy of one inference",
    )  # fmt: skip
    gross = dataclasses.replace(found, analysis=dataclasses.replace(found.analysis, results=(result,)))
    text = checked(run_page(gross)).text
    assert "standby included" in text
    assert "No figure" not in text
    assert "Dynamic energy is E" not in text


def test_an_imported_trace_claims_only_what_it_holds(tmp_path: Path) -> None:
    t = np.arange(1, 3001) * 0.01
    power = np.where((t > 10) & (t <= 20), 1.5, 0.5) + np.random.default_rng(1).normal(0, 0.005, len(t))
    rows = "\n".join(f"{a:.9g},{b:.9g}" for a, b in zip(t, power, strict=True))
    source = Source(Path("t.csv"), f"time_s,power_w\n{rows}\n".encode(), "0" * 64)
    columns = ColumnMap(time="time_s", power="power_w", kind="mean")
    path = write_run(tmp_path, build(source, columns, (10.0, 20.0), None, (), Declared()))
    found = load_material(path)
    assert found.result.energy_per_inference_j is None
    assert found.result.gross_energy_per_inference_j == pytest.approx(15.0, rel=0.01)
    text = checked(run_page(found)).text
    assert "of gross energy per marked window" in text
    assert "No figure" not in text
    assert "SIMULATED" not in text
    said = methods(found)
    assert "a measurement that others made" in said
    assert "Dynamic energy is E" not in said
    assert "standby" not in said.replace("no_standby", "")


def test_names_cannot_break_out_of_the_page(material: MakeMaterial) -> None:
    found = material(layers=3)
    assert found.profile is not None
    evil = "</script><script>alert(1)</script>"
    kernels = (dataclasses.replace(found.profile.kernels[0], name=evil), *found.profile.kernels[1:])
    report = found.result.layers
    assert report is not None
    layers = (dataclasses.replace(report.layers[0], name=evil), *report.layers[1:])
    result = dataclasses.replace(found.result, layers=dataclasses.replace(report, layers=layers))
    bad = dataclasses.replace(
        found,
        profile=dataclasses.replace(found.profile, kernels=kernels),
        analysis=dataclasses.replace(found.analysis, results=(result,)),
    )
    page = run_page(bad)
    checked(page)
    assert b"<script>alert" not in page


@pytest.mark.slow
def test_files_are_written_beside_the_run_or_elsewhere(material: MakeMaterial, tmp_path: Path) -> None:
    found = material(layers=6)
    written = write_run_report(found, out=None)
    assert written.html == found.path / "derived" / "report.html"
    assert {p.name for p in written.figures} == {
        "report-budget.png",
        "report-improve.png",
        "report-layers.png",
        "report-classes.png",
    }
    assert all(p.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for p in written.figures)
    assert written.perfetto is not None
    assert json.loads(written.perfetto.read_text())["otherData"]["run_id"] == found.run_id
    away = write_run_report(found, out=tmp_path / "pages", perfetto=tmp_path / "elsewhere" / "t.json")
    assert away.html.name == f"{found.run_id}.html"
    assert away.perfetto == tmp_path / "elsewhere" / "t.json"
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(SpecError, match="cannot be written"):
        write_run_report(found, out=blocked / "below")


def test_a_campaign_has_every_run_with_its_reason(SmallWorld: Any, tmp_path: Path) -> None:
    settings = ({"seed": 1}, {"seed": 2, "active_w": 7.0, "n": 60}, {"seed": 3, "bracket_s": 0.3})
    paths = [SmallWorld(**given).run(tmp_path).path for given in settings]
    campaign = load_campaign([*paths, tmp_path / "not there"])
    assert [m.result.reason for m in campaign.materials] == [None, None, "standby_missing"]
    assert len(campaign.failed) == 1
    assert all(m.view is None for m in campaign.materials), "traces of a hundred runs would fill the memory"
    written = write_campaign_report(campaign, out=tmp_path / "page")
    reader = checked(written.html.read_bytes())
    assert "2 of 3" in reader.text
    assert "Energy against work" in reader.text
    assert "Power at rest was not recorded" in reader.text
    for m in campaign.materials:
        assert m.analysis.manifest_sha256 in reader.text
    assert {p.name for p in written.figures} == {"report-energy.png", "report-duration.png"}
    assert written.html.stat().st_size < 500_000


def test_a_campaign_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none of 1 runs"):
        load_campaign([tmp_path / "nothing"])


def test_two_meters_stand_side_by_side(material: MakeMaterial) -> None:
    found = material()
    first, view = found.result, found.view
    assert first.energy_per_inference_j is not None
    more = 1.1 * first.energy_per_inference_j
    second = dataclasses.replace(
        first, meter="wall", energy_per_inference_j=more, interval_95_j=(0.9 * more, 1.1 * more)
    )
    binding = dataclasses.replace(found.spec.meters[0], name="wall", plane="wall")
    both = dataclasses.replace(
        found,
        spec=dataclasses.replace(found.spec, meters=(*found.spec.meters, binding)),
        analysis=dataclasses.replace(found.analysis, results=(first, second), views=(view, view)),
    )
    text = checked(run_page(both)).text
    assert "10 %" in text
    assert "Each meter sees what lies behind its own plane" in text
    assert "Meter wall" in text
    assert "Beside it recorded wall" in methods(both)
