"""The top of a report: the figure in large type and what it claims, or why there is none; then the warnings."""

from __future__ import annotations

from analysis.figures import interval
from analysis.report import words
from analysis.report.material import Material
from analysis.report.quantities import DASH, esc, percent, plus_minus, si
from harness.core.result import EnergyResult, Status

Figure = tuple[float, tuple[float, float]]


def figure_of(result: EnergyResult) -> Figure | None:
    """(J per inference, its 95 % interval): dynamic energy, or gross where only that is claimed; None if invalid."""
    if result.status is not Status.VALID:
        return None
    if result.energy_per_inference_j is not None and result.interval_95_j is not None:
        return result.energy_per_inference_j, result.interval_95_j
    if result.gross_energy_per_inference_j is not None and result.gross_interval_95_j is not None:
        return result.gross_energy_per_inference_j, result.gross_interval_95_j
    return None


def is_gross(result: EnergyResult) -> bool:
    """A valid figure that includes standby, since there was none to subtract."""
    return result.status is Status.VALID and result.energy_per_inference_j is None


def figure_text(result: EnergyResult) -> str:
    """`12.3 ± 0.4 mJ`, or `no figure (reason)`."""
    found = figure_of(result)
    return f"no figure ({result.reason or 'not given'})" if found is None else plus_minus(*found, "J")


def banner(material: Material) -> str:
    """Across the page: no meter saw this."""
    if not material.simulated:
        return ""
    return (
        '<div class="simulated" role="note"><strong>SIMULATED</strong> The meter is a simulated one on a simulated '
        "bench: these joules were drawn by nothing.</div>"
    )


def headline(material: Material) -> str:
    result = material.result
    body = _figure(material) if figure_of(result) is not None else _no_figure(result)
    state = "valid" if figure_of(result) is not None else "invalid"
    return f'<div class="result {state}">{body}{_tiles(material)}</div>'


def _figure(material: Material) -> str:
    result, unit = material.result, material.unit
    found = figure_of(result)
    assert found is not None
    value, limits = found
    kind = f"of gross energy per {unit}, standby included" if is_gross(result) else f"of dynamic energy per {unit}"
    sim = ' <span class="badge sim">SIMULATED</span>' if result.simulated else ""
    return (
        f'<div class="figure">{plus_minus(value, limits, "J")} <span class="per">{kind}</span></div><p '
        f'class="interval"><span class="badge valid">valid</span>{sim} 95 % interval '
        f"<strong>{interval(*limits, 'J')}</strong>; ± is half of it.</p><p>What it claims: {esc(result.measurand)}, "
        f"mean of {result.n} {unit}s in {_starts(result.starts)}.</p>"
    )


def _no_figure(result: EnergyResult) -> str:
    said = words.of_reason(result.reason)
    detail = str(result.details.get("invalid", ""))
    sim = ' <span class="badge sim">SIMULATED</span>' if result.simulated else ""
    return (
        f'<div class="figure">No figure</div><p class="interval"><span class="badge invalid">invalid</span>{sim} '
        f"<strong>{esc(said.says)}</strong></p>"
        + (f"<p>In numbers: {esc(detail)}.</p>" if detail else "")
        + f'<p class="todo">What to do: {esc(said.do)} <code>{esc(result.reason)}</code></p>'
        f'<p class="note">It would have claimed: {esc(result.measurand)}. Nothing is 0 here: it is not known.</p>'
    )


def _tiles(material: Material) -> str:
    result, unit = material.result, material.unit
    details = result.details
    rows = [
        (f"gross energy per {unit}", plus_minus(result.gross_energy_per_inference_j, result.gross_interval_95_j, "J"),
         "standby included"),
        ("standby power", _with_u(result.standby_w, result.standby_u_w, "W"), "active idle; ± is u"),
        ("energy of a gap", si(result.gap_energy_per_inference_j, "J"), "above standby, not billed"),
        (f"duration of one {unit}", si(details.get("mean_inference_s"), "s"), "mean"),
        ("power meanwhile", si(details.get("active_power_w"), "W"), "standby included"),
        ("coverage", percent(result.coverage, digits=4), "of the measured time"),
        ("measured", f"{result.n}", f"{unit}s in {_starts(result.starts)}"),
        ("leverage of standby", _ratio(result.leverage), "standby / dynamic power"),
    ]  # fmt: skip
    if is_gross(result):  # it is the headline already
        rows = rows[1:]
    known = [(name, value, note) for name, value, note in rows if value != DASH]
    tiles = "".join(f"<div><dt>{n}</dt><dd>{esc(v)} <small>{note}</small></dd></div>" for n, v, note in known)
    return f'<dl class="tiles">{tiles}</dl>'


def _with_u(value: float | None, u: float | None, unit: str) -> str:
    if value is None:
        return DASH
    return si(value, unit) if u is None else plus_minus(value, (value - u, value + u), unit)


def _ratio(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _starts(count: int) -> str:
    return f"{count} process start{'' if count == 1 else 's'}"


def warnings(result: EnergyResult) -> str:
    """One sentence each and what to do; a calm line where nothing was noticed."""
    if not result.flags:
        head = '<section aria-labelledby="w"><h2 id="w">Warnings</h2>'
        return f"{head}<p>None: nothing was noticed that a reader must know.</p></section>"
    items = []
    for flag in result.flags:
        said = words.of_flag(flag)
        items.append(f"<li>{esc(said.says)} <strong>{esc(said.do)}</strong> <code>{esc(flag)}</code></li>")
    count = len(result.flags)
    return (
        f'<section aria-labelledby="w"><h2 id="w">{count} warning{"" if count == 1 else "s"}</h2><ul '
        f'class="warnings">{"".join(items)}</ul></section>'
    )
