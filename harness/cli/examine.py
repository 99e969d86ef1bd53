"""The commands around the simulated bench: grading against its hidden truth, finding and ending benches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.look import roots_of
from harness.cli.results import print_json
from harness.core.errors import SpecError
from harness.store.find import RunStatus, find_run, list_runs

if TYPE_CHECKING:
    from harness.exam.row import ExamRow


def examine_scenarios(
    count: int, *, depth: str, seed: int, file: str | None, jobs: int, runs: Sequence[str], as_json: bool,
    meters: Sequence[str] | None = None, html: Path | None = None, faults: float | None = None,
    keep: Path | None = None, minutes: float | None = None,
) -> None:  # fmt: skip
    """Draw `count` worlds, measure them in virtual time and grade them; what crashed is part of the answer.

    `meters`: names of the meters on their benches, the primary first; None: those of the scenario file.
    `faults`: share of the scenarios with a fault put in, None: the file's; `keep`: a file of what is done already;
    `minutes`: no scenario is begun later.
    """
    import time

    from harness.exam.campaign import exam_scenarios
    from harness.exam.examined import Examined
    from harness.exam.scenario import load_scenario

    if runs:
        raise SpecError(f"{runs[0]!r} is a run, but scenarios were asked for", hint="ask for one or the other")
    if count < 1:
        raise SpecError(f"{count} scenarios are none to examine", hint="give --scenarios a number from 1 on")
    if seed < 0:
        raise SpecError(f"--seed {seed} is negative", hint="give 0 or more")
    if jobs < 1:
        raise SpecError(f"--jobs {jobs} leaves nobody to work", hint="give at least 1")
    if meters is not None and not meters:
        raise SpecError("--meters names none", hint="give names with commas between them, or leave it out")
    if minutes is not None and not minutes > 0:
        raise SpecError(f"--minutes {minutes:g} leaves no time", hint="give more than 0, or leave it out")
    check_folder(html)
    scenario = load_scenario(file, depth=depth, meters=meters, faults=faults)
    begun_s, new = time.monotonic(), 0
    shown = sys.stderr.isatty()

    def progress(done: int, total: int, newest: Examined) -> None:
        nonlocal new
        new += 1
        if shown:
            per_minute = 60 * new / (time.monotonic() - begun_s)
            print(f"\r{done}/{total}, {per_minute:.0f} a minute", end="", file=sys.stderr, flush=True)

    examined = exam_scenarios(
        count, scenario, seed=seed, jobs=jobs, progress=progress, keep=keep,
        limit_s=None if minutes is None else 60 * minutes,
    )  # fmt: skip
    if shown:
        print(file=sys.stderr)
    about = {
        "seed": seed, "depth": depth, "scenario_file": scenario.ranges.name, "meters": list(scenario.meters),
        "meters_drawn": scenario.drawn, "faults": scenario.faults, "scenarios_asked": count,
        "errors": [crash for one in examined if (crash := one.crash_json()) is not None],
    }  # fmt: skip
    rows = [row for one in examined for row in one.rows]
    _print_exam(rows, scenarios=len(examined), about=about, as_json=as_json, html=html)
    if len(examined) < count:
        print(f"{len(examined)} of {count} scenarios: the time was up", file=sys.stderr)
    print(f"{60 * new / (time.monotonic() - begun_s):.0f} scenarios a minute", file=sys.stderr)


def check_folder(page: Path | None) -> None:
    """SpecError where no page can be written: said before an hour of exam, not after it."""
    if page is not None and (page.is_dir() or not page.absolute().parent.is_dir()):
        raise SpecError(f"cannot write the page {page}", hint="give --html a file in a folder that exists: exam.html")


def examine_runs(selectors: Sequence[str], *, root: Path | None, as_json: bool, html: Path | None = None) -> None:
    from analysis.analyse import analyse_run
    from drivers.simulated.rig.client import default_parent
    from harness.exam.join import join_run, truth_folder
    from harness.exam.layers import LayerExam, examine_stored_layers, layer_table, layers_json
    from harness.store.run_reader import RunReader

    check_folder(html)
    if selectors:
        runs = [find_run(s, roots_of(root)) for s in selectors]
    else:
        entries = {e.path.resolve(): e for r in roots_of(root) for e in list_runs(r)}
        runs = [e.path for e in entries.values() if e.status is RunStatus.FINISHED]
    rows: list[ExamRow] = []
    lost: dict[str, str] = {}
    layers: list[LayerExam] = []
    for run in runs:
        try:
            reader = RunReader.open(run)
            if not reader.simulated or truth_folder(reader.run_id, default_parent()) is None:
                continue
            analysis = analyse_run(reader)
            found = join_run(reader, analysis, default_parent())
            layers += examine_stored_layers(reader, analysis, default_parent())
        except SpecError as error:
            lost[run.name] = error.message
        else:
            rows += found
    if not rows and not lost:
        raise SpecError(
            "no simulated run whose truth is still kept", hint="measure one: joulebench run --sim runs/demo.yaml"
        )
    about = {"truth_not_found": lost, "layers": layers_json(layers)}
    _print_exam(rows, scenarios=len({row.run_id for row in rows}), about=about, as_json=as_json, html=html)
    if layers and not as_json:
        print(f"\n{layer_table(layers)}")


def _print_exam(
    rows: Sequence[ExamRow], *, scenarios: int, about: Mapping[str, Any], as_json: bool, html: Path | None
) -> None:
    """`about`: what else belongs to the answer. What crashed or lost its truth is said, never left out in silence."""
    from harness.exam.answer import graded_json
    from harness.exam.tables import exam_table

    if html is not None:
        from harness.exam.page import exam_page

        html.write_bytes(exam_page(rows, scenarios=scenarios, about=about))
        print(f"wrote {html}", file=sys.stderr)
    if as_json:
        print_json({**graded_json(rows, scenarios=scenarios), **about})
        return
    if rows:
        print(exam_table(rows, scenarios=scenarios))
    for crash in about.get("errors", ()):
        print(f"crashed: {crash['world']}: {crash['kind']}: {crash['message']} ({crash['where']})")
    for run_id, why in about.get("truth_not_found", {}).items():
        print(f"not graded: {run_id}: {why}")


def list_benches(*, as_json: bool) -> None:
    from drivers.simulated.rig.client import live_benches

    rows = []
    for bench in live_benches():
        rows.append({"folder": str(bench.folder), **bench.status()})
        bench.close()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['folder']}: pid {row['pid']}, world {row['world']}, seed {row['seed']}")
    if not rows:
        print("no simulated bench is alive")


def stop_benches() -> None:
    from drivers.simulated.rig.client import live_benches

    for bench in live_benches():
        bench.quit()
        print(f"ended {bench.folder}")
