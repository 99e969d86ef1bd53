"""The budget of uncertainty as bars, and in words what to improve first."""

from __future__ import annotations

from analysis.report.bars import Axis, bar
from analysis.report.headline import is_gross
from analysis.report.improve_section import improve_table, improvements_of
from analysis.report.material import Material
from analysis.report.quantities import esc, percent, si
from analysis.uncertainty.part_words import Words, of_part
from harness.core.result import BudgetPart, EnergyResult


def shares(result: EnergyResult) -> list[tuple[BudgetPart, float, float]]:
    """(part, u in J, share of the variance) of the figure that is claimed, the largest first."""
    gross = is_gross(result)
    found = [(p, p.gross_u_j if gross else p.u_j) for p in result.budget]
    total = sum(u * u for _, u in found)
    rows = [(p, u, u * u / total if total > 0 else 0.0) for p, u in found]
    return sorted(rows, key=lambda row: -row[1])


def budget_section(material: Material) -> str:
    result = material.result
    head = '<section aria-labelledby="b"><h2 id="b">Where the uncertainty comes from</h2>'
    rows = shares(result)
    if not rows:
        return f"{head}<p>There is no figure, so there is no budget.</p></section>"
    axis = Axis.over([u for _, u, _ in rows])
    body = "".join(_row(part, u, share, axis) for part, u, share in rows)
    whole = result.gross_u_j if is_gross(result) else result.u_j
    dof = result.details.get("effective_dof")
    free = f", {dof:.1f} effective degrees of freedom" if isinstance(dof, int | float) else ""
    return (
        f"{head}{advice(result)}"
        '<div class="scroll"><table><thead><tr><th>part</th><th>type</th><th class="n">u</th><th></th><th '
        f'class="n">share of variance</th><th class="wide">is</th></tr></thead><tbody>{body}<tr '
        f'class="whole"><td>together</td><td></td><td class="n">{si(whole, "J", digits=2)}</td><td></td><td '
        f'class="n">100 %</td><td class="wide">combined standard uncertainty{free}</td></tr></tbody>'
        "</table></div><figcaption>Standard uncertainties of energy per inference (J), combined as root of the sum "
        "of squares. Type A: from scatter seen in this run; type B: from other knowledge. Parts marked "
        "<em>common</em> are the same for all runs of the bench and cancel in their ratios. Manifest "
        f"{esc(material.short_hash)}.</figcaption>{improve_table(result)}</section>"
    )


def _row(part: BudgetPart, u_j: float, share: float, axis: Axis) -> str:
    common = " <small>common</small>" if part.common else ""
    colour = "var(--sky)" if part.type == "A" else "var(--orange)"
    drawn = bar(axis, u_j, label=f"{part.name}: u = {si(u_j, 'J', digits=2)}, {percent(share)}", colour=colour)
    return (
        f"<tr><td>{esc(part.name)}{common}</td><td>{esc(part.type)}</td><td "
        f'class="n">{si(u_j, "J", digits=2)}</td><td class="draw">{drawn}</td><td '
        f'class="n">{percent(share) if share >= 5e-4 else "&lt; 0.05 %"}</td><td '
        f'class="wide"><small>{esc(of_part(part.name).says)}</small></td></tr>'
    )


def advice(result: EnergyResult) -> str:
    """What to improve first: the largest part, and the next if it matters as well."""
    rows = [row for row in shares(result) if row[2] > 0]
    if not rows:
        return ""
    (part, _, share), rest = rows[0], rows[1:]
    said = of_part(part.name)
    bought = next((row for row in improvements_of(result) if row["part"] == part.name), None)
    if bought is not None:
        without = bought["half_without_j"] / bought["half_now_j"]
        said = Words(said.says, str(bought["do"]))
    else:
        without = (1 - share) ** 0.5
    text = (
        f"<strong>Improve first: {esc(part.name)}</strong>, {percent(share)} of the variance ({esc(said.says)}). "
        f"{esc(said.do[:1].upper() + said.do[1:])}. Without it the interval would be {percent(without)} as wide "
        "as it is."
    )
    if rest and rest[0][2] > 0.2:
        follow = of_part(rest[0][0].name)
        text += f" Then: {esc(rest[0][0].name)} ({percent(rest[0][2])}); {esc(follow.do)}."
    return f"<p>{text}</p>"
