"""Several runs as one report: each is read, drawn coarsely and let go, so that a hundred traces need no memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.report.campaign_figures import campaign_figures
from analysis.report.campaign_page import campaign_page
from analysis.report.material import Material, load_material
from analysis.report.trace_data import trace_json
from analysis.report.write import PAGE, Written, write_files
from harness.core.errors import BenchError, SpecError


@dataclass(frozen=True)
class Campaign:
    """Runs in order of time. `materials` are without views; `traces`: coarse trace of each, None if there is none;
    `failed`: runs that could not be read, with what was said."""

    materials: tuple[Material, ...]
    traces: tuple[dict[str, Any] | None, ...]
    failed: tuple[tuple[Path, str], ...]


def load_campaign(runs: Sequence[Path]) -> Campaign:
    """SpecError if none of the runs can be read."""
    materials, traces, failed = [], [], []
    for run in runs:
        try:
            material = load_material(run)
            trace = trace_json(material, coarse=True)
        except Exception as error:  # noqa: BLE001 - one run must not hide the others
            told = isinstance(error, BenchError)
            failed.append((run, str(error).splitlines()[0] if told else f"its analysis failed: {error!r}"))
            continue
        traces.append(trace)
        without = dataclasses.replace(material.analysis, views=tuple(None for _ in material.analysis.views))
        materials.append(dataclasses.replace(material, analysis=without, stamps=None))
    if not materials:
        raise SpecError(f"none of {len(runs)} runs can be read: {failed[0][1]}", hint="joulebench show lists the runs")
    return Campaign(tuple(materials), tuple(traces), tuple(failed))


def write_campaign_report(campaign: Campaign, *, out: Path) -> Written:
    """`report.html` and its figures in the folder `out`."""
    links = [_link(material, out) for material in campaign.materials]
    page = campaign_page(campaign.materials, campaign.traces, links, campaign.failed)
    figures = {f"report-{name}": png for name, png in campaign_figures(campaign.materials).items()}
    paths = write_files(out, {PAGE: page, **figures})
    return Written(paths[0], tuple(paths[1:]), None)


def _link(material: Material, out: Path) -> str | None:
    """Where the run's own report lies, relative to `out`, if there is one."""
    for own in (material.path / "derived" / PAGE, out / f"{material.run_id}.html"):
        if own.exists():
            return os.path.relpath(own.resolve(), out.resolve())
    return None
