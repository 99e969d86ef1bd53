"""The HTML around the sections: one file with its style and script inside, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import json
from importlib import resources
from typing import Any

from analysis.report.bars import legend
from analysis.report.material import own_version
from analysis.report.quantities import esc, si

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def document(*, title: str, above: str, heading: str, body: str, data: dict[str, Any]) -> bytes:
    """`above`: what comes before everything (a banner); `data`: id -> what scripts of that id find as JSON."""
    scripts = "".join(
        f'<script type="application/json" id="{esc(name)}">{_json(value)}</script>' for name, value in data.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}"><meta name="generator" content="joulebench '
        f'{esc(own_version())}"><title>{esc(title)}</title><link rel="icon" '
        f'href="data:,"><style>{_asset("page.css")}</style></head><body>{above}<header class="page"><div '
        f'class="brand">joulebench report</div><h1>{heading}</h1></header><main>'
        f"{body}</main><footer>Written by joulebench {esc(own_version())}. This file needs no "
        f"network.</footer>{scripts}<script>{_asset('trace.js')}</script><script>{_asset('page.js')}</script></body></html>\n"
    ).encode()


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files("analysis.report").joinpath("assets").joinpath(name).read_text("utf-8")


def trace_figure(
    source: str, data: dict[str, Any] | None, *, alt: str, hash_text: str, png: bytes | None = None, small: bool = False
) -> str:
    """A figure with its canvas; `png` is shown where scripts do not run."""
    if data is None:
        return "<p>There is no trace to show: the meter recorded nothing that could be placed in time.</p>"
    fallback = ""
    if png is not None:
        encoded = base64.b64encode(png).decode("ascii")
        fallback = (
            f'<noscript><img style="max-width:100%" alt="{esc(alt)}" src="data:image/png;base64,{encoded}"></noscript>'
        )
    buttons = [("all", "whole run"), ("in", "zoom in"), ("out", "zoom out"), ("left", "◀"), ("right", "▶")]
    if data["busy"]:
        buttons.append(("inference", "a measured inference"))
    buttons += [("standby", "standby")] if data["standby"] else []
    present = {span[1] for span in data["spans"]}
    buttons += [(name, text) for name, text in (("marker", "marker"), ("probe", "gap probe")) if name in present]
    names = {"left": ' aria-label="earlier"', "right": ' aria-label="later"'}
    controls = "".join(
        f'<button type="button" data-do="{do}"{names.get(do, "")}>{text}</button>' for do, text in buttons
    )
    idle = "Point at the trace to read it; wheel or pinch to zoom, drag to move, double-click to zoom in."
    keys = "keys: arrows, + and -, 0 whole run, i next measured inference, s standby, p gap probe"
    step = data["step_w"]
    rest = (
        f" Stamps are moved by the lag of the power behind them ({si(data['lag_s'], 's')})."
        if data["lag_known"]
        else " The lag of the power behind the stamps is not known: marks stand where the stamps are."
    )
    kept = ""
    if data["busy"] is None:
        kept = " At this level single readings and inferences are not carried; the run's own report has them."
    elif not _whole(data):
        kept = (
            " Single readings are kept around the middle of the measured inferences and the first pauses of each start."
        )
    return (
        f'<figure class="trace{" small" if small else ""}" data-source="{esc(source)}" data-hint="zoom in to see '
        f'single inferences">{fallback}<div class="bar">{controls}</div><canvas class="plot" tabindex="0" role="img" '
        f'aria-label="{esc(alt)} Interactive; {keys}."></canvas><canvas class="overview" role="img" aria-label="The '
        'whole run with the part shown above"></canvas><div class="readout" '
        f'data-idle="{idle}">{idle}</div>{_phases(present, layers=bool(data["kernels"]))}<figcaption><span '
        f'class="resolution"></span> Power in W, quantised to {_step(step)}; a break in the '
        f"line is time without readings.{rest}{kept} Keys: {keys[6:]}. Manifest "
        f"{esc(hash_text)}.</figcaption></figure>"
    )


def _whole(data: dict[str, Any]) -> bool:
    count = sum(len(s["power"]) * 3 / 8 for s in data["stretches"])
    return len(data["stretches"]) == 1 and count * data["period_s"] > 0.8 * data["seconds"]


def _step(step_w: float) -> str:
    return si(step_w, "W", digits=2)


def _phases(present: set[str], *, layers: bool) -> str:
    table = [
        ("standby_before", "var(--green)", "standby bracket"), ("marker", "var(--pink)", "marker"),
        ("measured", "var(--orange)", "measured inferences"), ("lead_in", "var(--sky)", "uncounted inferences"),
        ("probe", "var(--vermillion)", "gap probe"), ("load", "var(--grey)", "load"),
    ]  # fmt: skip
    entries = [("var(--envelope)", "lowest to highest reading"), ("var(--power)", "mean, or single readings")]
    entries += [(colour, text) for name, colour, text in table if name in present]
    more = (
        "<p class='note'>Beneath the inferences, when zoomed in: layers, coloured by class of operator.</p>"
        if layers
        else ""
    )
    return legend(entries) + more
