"""Where the figures come from: ids, hashes, versions, files, all meters, and the command that does it again."""

from __future__ import annotations

import time

from analysis.report.headline import figure_text, is_gross
from analysis.report.material import Material, own_version
from analysis.report.quantities import esc, percent, plus_minus, si


def meters_section(material: Material) -> str:
    """All meters of the run; with two or more figures, how far each is from the first."""
    head = '<section aria-labelledby="m"><h2 id="m">Meters</h2>'
    first = material.result.energy_per_inference_j
    rows = []
    for result in material.analysis.results:
        info = material.meters.get(result.meter)
        model = f"{info.model} <small>{esc(info.driver)}, serial {esc(info.serial)}</small>" if info else "not recorded"
        binding = next(b for b in material.spec.meters if b.name == result.meter)
        energy, gross = result.energy_per_inference_j, plus_minus(
            result.gross_energy_per_inference_j, result.gross_interval_95_j, "J"
        )  # fmt: skip
        apart = percent(energy / first - 1) if energy is not None and first and result is not material.result else ""
        dynamic = "not claimed" if is_gross(result) else figure_text(result)
        rows.append(
            f"<tr><td>{esc(result.meter)} "
            f"<small>{esc(result.channel)}</small></td><td>{model}</td><td>{esc(binding.plane)}</td><td "
            f"class='n'>{esc(dynamic)}</td><td class='n'>{apart}</td><td class='n wide'>{gross}</td><td class='n "
            f"wide'>{si(result.standby_w, 'W')}</td><td class='n wide'>{percent(result.coverage, digits=4)}</td></tr>"
        )
    note = ""
    if len(rows) > 1:
        note = (
            "<figcaption>Each meter sees what lies behind its own plane: figures of different planes differ by what "
            "is lost or used between them, and need not agree. The first is the run's result.</figcaption>"
        )
    return (
        f'{head}<div class="scroll"><table><thead><tr><th>meter</th><th>is</th><th>plane</th><th class="n">dynamic '
        'energy</th><th class="n">against the first</th><th class="n wide">gross</th><th class="n '
        f'wide">standby</th><th class="n wide">coverage</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        f"</table></div>{note}</section>"
    )


def provenance_section(material: Material) -> str:
    manifest, spec = material.manifest, material.spec
    made = manifest.get("provenance", {})
    packages = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items())
    facts = [
        ("run", material.run_id),
        ("manifest SHA-256", material.analysis.manifest_sha256),
        ("model SHA-256", spec.model.sha256),
        ("campaign, bench, board", f"{spec.campaign}, {spec.bench}, {spec.board.name}"),
        ("measured", f"{_utc(manifest.get('begun_unix_s'))} to {_utc(manifest.get('finished_unix_s'))}"),
        ("measured with", f"{packages}; Python {made.get('python', '?')}; {made.get('system', '?')}"),
        ("analysed with", f"joulebench {own_version()}"),
        ("data", "simulated" if material.simulated else "measured"),
        *((f"tag {key}", value) for key, value in spec.tags),
    ]
    listed = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in facts)
    files = "".join(
        f"<tr><td>{esc(name)}</td><td class='n'>{entry['size']}</td><td><code>{esc(entry['sha256'])}</code></td></tr>"
        for name, entry in manifest.get("files", {}).items()
    )
    return (
        f'<section aria-labelledby="p"><h2 id="p">Provenance</h2><dl class="facts">{listed}</dl><p>The same figure '
        f"from the same raw data:</p><pre>joulebench analyse {esc(material.path)} --check</pre><details><summary>Raw "
        "files and their hashes</summary><div "
        'class="scroll"><table><thead><tr><th>file</th><th '
        f'class="n">bytes</th><th>SHA-256</th></tr></thead><tbody>{files}</tbody></table></div></details>'
        f"</section>"
    )


def _utc(unix_s: object) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s)) if isinstance(unix_s, int | float) else "?"
