"""The pictures of docs/howto/error-bar.md: whole runs of the pipeline on simulated worlds, in virtual time.

    python benchmarks/picture_error_bar.py [--out docs/images] [--only starts,parts,standby,reliability]

All worlds are drawn by seed: the pictures are the same each time until pipeline or worlds change. Nothing here judges.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.analyse import analyse_run
from harness.core.timeline import Phase
from harness.exam.campaign import exam_scenario
from harness.exam.row import ExamRow
from harness.exam.scenario import Scenario, load_scenario
from harness.store.run_reader import RunReader

STARTS = (3, 5, 10, 20)
SEEDS = tuple(range(66_601, 66_607))
PARTS_SEED, STANDBY_SEED, FIRST_SEED = 66_611, 66_623, 66_700
METERS = ("supply", "counter", "ina219-shunt")
LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
INK, GREY = "#222222", "#8A8A8A"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999", "#000000")
WIDTH_IN, DPI = 8.4, 110
DRIFTING = "standby:\n  ambient_w_rel: 0.03\n  ambient_period_s: 500\nload:\n  dynamic_w: 1.2\n"


def starts(out: Path) -> str:
    """Six worlds, each measured with 3, 5, 10 and 20 process starts of 2 s: interval about its truth, in percent."""
    scenario = load_scenario(meters=("supply",))
    figure, axes = _figure(3.6)
    said = []
    for column, count in enumerate(STARTS):
        protocol = replace(scenario.protocol, starts=count, measure_s=2.0)
        halves = []
        for k, seed in enumerate(SEEDS):
            row = exam_scenario(seed, replace(scenario, protocol=protocol))[0]
            if row.interval_j is None or row.measured_j is None:
                said.append(f"seed {seed}, {count} starts: {row.reason}")
                continue
            true = row.truth.expected_j
            low, mid, high = (100 * (e / true - 1) for e in (row.interval_j[0], row.measured_j, row.interval_j[1]))
            at = column + (k - (len(SEEDS) - 1) / 2) * 0.12
            colour = COLOURS[0] if low <= 0 <= high else COLOURS[5]
            axes.plot([at, at], [low, high], color=colour, lw=2.2, solid_capstyle="butt")
            axes.plot(at, mid, "o", color=colour, ms=4.5)
            halves.append((high - low) / 2)
        axes.annotate(f"± {np.median(halves):.1f} %", (column, 0.96), xycoords=("data", "axes fraction"), ha="center",
                      va="top", color=INK, fontsize=10)  # fmt: skip
        said.append(f"{count} starts: median half width {np.median(halves):.2f} %")
    axes.axhline(0, color=INK, lw=1)
    axes.set_xticks(range(len(STARTS)), [f"{n} starts" for n in STARTS])
    axes.set_ylabel("distance from the truth (%)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.18 * (high - low))
    axes.set_title("Six simulated benches, each measured four times: dot = figure, bar = 95 % interval", loc="left",
                   fontsize=10)  # fmt: skip
    _save(figure, out / "error-bar-starts.png")
    return "\n".join(said)


def parts(out: Path) -> str:
    """One world seen by three meters at once: which part is how large, as half widths in percent of the figure."""
    rows = exam_scenario(PARTS_SEED, load_scenario(meters=METERS))
    names: dict[str, str] = {}
    for row in rows:
        for part in sorted(row.parts, key=lambda p: -p.u_j):
            if part.u_j**2 > 0.01 * sum(p.u_j**2 for p in row.parts):
                names.setdefault(part.name, COLOURS[len(names) % len(COLOURS)])
    figure, axes = _figure(3.4)
    said = []
    for at, row in enumerate(rows[::-1]):
        if row.measured_j is None or row.interval_j is None:
            said.append(f"{row.meter}: {row.reason}")
            continue
        shown = [p for p in sorted(row.parts, key=lambda p: -p.u_j) if p.name in names]
        total = sum(p.u_j**2 for p in row.parts)
        half = 50 * (row.interval_j[1] - row.interval_j[0]) / row.measured_j
        left = 0.0
        for part in shown:
            width = half * part.u_j**2 / total
            axes.barh(at, width, left=left, color=names[part.name], edgecolor="white", height=0.6)
            left += width
        axes.annotate(f" ± {half:.1f} %", (left, at), va="center", fontsize=10, color=INK)
        largest = ", ".join(f"{p.name} {p.u_j**2 / total:.0%}" for p in shown[:3])
        said.append(f"{row.meter}: half {half:.2f} %; {largest}")
    axes.set_yticks(range(len(rows)), [row.meter for row in rows[::-1]])
    axes.set_xlabel("half width of the 95 % interval (% of the figure), divided by shares of the variance")
    axes.set_xlim(0, 1.15 * axes.get_xlim()[1])
    handles = [axes.barh(0, 0, color=colour) for colour in names.values()]
    axes.legend(handles, names, frameon=False, fontsize=8, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.24))
    axes.set_title("One simulated bench, three meters on it: what their intervals are made of", loc="left", fontsize=10)
    _save(figure, out / "error-bar-parts.png")
    return "\n".join(said)


def standby(out: Path) -> str:
    """A run whose standby drifts: the power, both brackets and what lies between them."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "drifting.yaml"
        file.write_text(DRIFTING, encoding="utf-8")
        row = exam_scenario(STANDBY_SEED, load_scenario(file, meters=("supply",)), keep=Path(scratch) / "runs")[0]
        run = RunReader.open(next(p for p in (Path(scratch) / "runs").iterdir() if p.is_dir()))
        analysis = analyse_run(run)
        view, timeline = analysis.views[0], run.timeline()
    assert view is not None and view.lag is not None
    curve = view.channel.curve
    shift = int(np.median([*view.lag.lag_ns.values()])) if view.lag.lag_ns else 0
    edge = np.arange(curve.edge_ns[0], curve.edge_ns[-1], 250_000_000)
    power = np.diff(curve.energy_between(np.full(len(edge), edge[0]), edge)) / 0.25
    figure, (above, axes) = _figure(4.4, rows=2)
    origin = edge[0]
    seconds = (edge[:-1] - origin) * 1e-9 + 0.125
    for panel in (above, axes):
        panel.plot(seconds, power, color="#9CC9E8", lw=0.8)
    means: list[tuple[float, float]] = []
    for phase in (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER):
        for span in timeline.spans_of(phase):
            a, b = span.begin_ns + shift, span.end_ns + shift
            level = float(curve.energy_between(a, b)) / ((b - a) * 1e-9)
            axes.plot([(a - origin) * 1e-9, (b - origin) * 1e-9], [level, level], color=COLOURS[2], lw=4,
                      solid_capstyle="butt")  # fmt: skip
            means.append((((a + b) / 2 - origin) * 1e-9, level))
    axes.plot(*zip(*means, strict=True), color=COLOURS[2], lw=1.2, ls="--", label="standby, from bracket to bracket")
    axes.axhline(means[0][1], color=COLOURS[5], lw=1.2, ls=":", label="standby, if only the first bracket were taken")
    work = timeline.spans_of(Phase.MEASURED)
    for k, span in enumerate(work):
        for panel in (above, axes):
            panel.axvspan((span.begin_ns + shift - origin) * 1e-9, (span.end_ns + shift - origin) * 1e-9,
                          color=COLOURS[1], alpha=0.18, lw=0, label=None if k else "measured inferences")  # fmt: skip
    levels = [level for _, level in means]
    room = max(levels) - min(levels)
    axes.set_ylim(min(levels) - 0.8 * room, max(levels) + 1.6 * room)
    above.set_ylim(0, 1.1 * float(np.quantile(power, 0.98)))
    above.set_xticklabels([])
    axes.set_xlabel("time (s)")
    above.set_ylabel("power (W)")
    axes.set_ylabel("the same, near standby")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(0, -0.25), ncols=3)
    above.set_title("A simulated bench whose standby drifts while it works (means of 0.25 s)", loc="left", fontsize=10)
    _save(figure, out / "error-bar-standby.png")
    return (
        f"{row.status} {row.reason or ''}: brackets {[round(level, 4) for level in levels]} W, moved by "
        f"{room * 1e3:.1f} mW, leverage {row.leverage}, flags {row.flags}"
    )


def reliability(out: Path, scenarios: int) -> str:
    """Nominal against actual coverage of an exam: the share of intervals that hold the truth they were made for."""
    scenario: Scenario = load_scenario(meters=("supply", "ina219-shunt"))
    rows: list[ExamRow] = []
    for seed in range(FIRST_SEED, FIRST_SEED + scenarios):
        rows += [row for row in exam_scenario(seed, scenario) if row.valid]
    held = {level: [_holds(row, level) for row in rows] for level in LEVELS}
    figure, axes = _figure(4.4, width=5.6)
    axes.plot([45, 100], [45, 100], color=GREY, lw=1)
    for level in LEVELS:
        n, k = len(held[level]), sum(held[level])
        low, high = _wilson(k, n)
        axes.plot([100 * level] * 2, [100 * low, 100 * high], color=COLOURS[0], lw=2)
        axes.plot(100 * level, 100 * k / n, "o", color=COLOURS[0], ms=6)
    axes.set_xlabel("what the interval promises (%)")
    axes.set_ylabel("intervals that hold the truth (%)")
    axes.set_title(f"{len(rows)} results of {scenarios} simulated benches, two meters each", loc="left", fontsize=10)
    axes.annotate("honest", (70, 70), xytext=(4, -10), textcoords="offset points", color=GREY)
    _save(figure, out / "error-bar-reliability.png")
    return "\n".join(f"{level:.0%}: {sum(held[level])} of {len(rows)}" for level in LEVELS)


def _holds(row: ExamRow, level: float) -> bool:
    low, high = row.levels[f"{level:.2f}"]
    return low <= row.truth.expected_j <= high


def _wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    centre = (k + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return float(centre - half), float(centre + half)


def _figure(height_in: float, *, width: float = WIDTH_IN, rows: int = 1) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY}
    mpl.rcParams.update(style)
    return pyplot.subplots(rows, figsize=(width, height_in), dpi=DPI)


def _save(figure: Any, path: Path) -> None:
    figure.text(0.995, 0.005, "SIMULATED", ha="right", va="bottom", fontsize=8, color=GREY)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": "joulebench"})
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--only", default="starts,parts,standby,reliability")
    parser.add_argument("--scenarios", type=int, default=40)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.only.split(","):
        if name == "reliability":
            print(reliability(asked.out, asked.scenarios))
        else:
            print({"starts": starts, "parts": parts, "standby": standby}[name](asked.out))


if __name__ == "__main__":
    main()
