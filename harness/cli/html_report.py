"""`joulebench report`: which runs are meant, and where the pages go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cli.look import roots_of
from harness.cli.results import print_json
from harness.core.errors import SpecError
from harness.store.find import RunStatus, find_run, list_runs


def report_runs(
    selectors: Sequence[str], *, out: Path | None, perfetto: Path | None, root: Path | None, as_json: bool
) -> None:
    """A page for one run, or one page for several (a campaign file, a folder of runs, or a list)."""
    runs, folder = _meant(selectors, root)
    if len(runs) == 1 and folder is None:
        _one(runs[0], out=out, perfetto=perfetto, as_json=as_json)
        return
    if perfetto is not None:
        raise SpecError("--perfetto is for one run", hint="give one run, or leave it out")
    _several(runs, folder or runs[0].resolve().parent, out=out, as_json=as_json)


def _meant(selectors: Sequence[str], root: Path | None) -> tuple[list[Path], Path | None]:
    """Runs, each once, and the folder that was named if it was one."""
    runs: list[Path] = []
    folder: Path | None = None
    for selector in selectors:
        below = _folder(Path(selector), root)
        if below is None:
            runs.append(find_run(selector, roots_of(root)))
            continue
        found = [e.path for e in list_runs(below) if e.status is RunStatus.FINISHED]
        if not found:
            raise SpecError(f"{below} holds no finished run", hint=f"measure them: joulebench run {selector}")
        folder = folder or below
        runs += found
    return list({run.resolve(): run for run in runs}.values()), folder


def _folder(given: Path, root: Path | None) -> Path | None:
    """The folder of runs that `given` means: itself, or of a campaign file the one beside it; None if it is a run."""
    if given.is_file() and given.suffix in (".yaml", ".yml"):
        from harness.config.resolve import load_campaign

        return root or given.resolve().parent / load_campaign(given).name
    if given.is_dir() and not (given / "raw").is_dir():
        return given
    return None


def _one(run: Path, *, out: Path | None, perfetto: Path | None, as_json: bool) -> None:
    from analysis.report.material import load_material
    from analysis.report.write import write_run_report

    material = load_material(run)
    written = write_run_report(material, out=out, perfetto=perfetto)
    if as_json:
        result = material.result
        print_json({
            "run_id": material.run_id, "status": str(result.status), "reason": result.reason, "html": str(written.html),
            "figures": [str(path) for path in written.figures],
            "perfetto": str(written.perfetto) if written.perfetto else None,
        })  # fmt: skip
        return
    print(written.html)
    if written.perfetto:
        print(f"for ui.perfetto.dev: {written.perfetto}")


def _several(runs: Sequence[Path], folder: Path, *, out: Path | None, as_json: bool) -> None:
    from analysis.report.campaign import load_campaign, write_campaign_report

    campaign = load_campaign(runs)
    written = write_campaign_report(campaign, out=out or folder)
    if as_json:
        document: dict[str, Any] = {
            "html": str(written.html), "figures": [str(path) for path in written.figures],
            "runs": [
                {"run_id": m.run_id, "status": str(m.result.status), "reason": m.result.reason, "path": str(m.path)}
                for m in campaign.materials
            ],
            "failed": [{"path": str(path), "error": text} for path, text in campaign.failed],
        }  # fmt: skip
        print_json(document)
        return
    print(written.html)
    for path, text in campaign.failed:
        print(f"not in it: {path}: {text}")
