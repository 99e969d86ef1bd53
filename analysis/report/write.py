"""Writing a report down: the page, its figures as PNG, and the trace for Perfetto, as one set of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.picture import picture_png
from analysis.report.figures import run_figures
from analysis.report.material import Material
from analysis.report.perfetto import trace_events
from analysis.report.run_page import run_page
from harness.core.errors import SpecError
from harness.store.derived import replace_derived

PAGE, PERFETTO = "report.html", "perfetto.json"


@dataclass(frozen=True)
class Written:
    """Where the files of a report are. `perfetto`: None where there is no trace."""

    html: Path
    figures: tuple[Path, ...]
    perfetto: Path | None


def write_run_report(material: Material, *, out: Path | None, perfetto: Path | None = None) -> Written:
    """Files of one run, in its `derived/`, or in the folder `out` under names that begin with the run's id.

    `perfetto`: another place for the trace events. Raises SpecError if a place cannot be written to.
    """
    picture = picture_png(material.analysis)
    files = {PAGE: run_page(material, picture=picture), **{f"report-{n}": p for n, p in run_figures(material).items()}}
    events = trace_events(material)
    if out is not None:
        files["report-trace.png"] = picture
    elsewhere = None
    if events is not None and perfetto is None:
        files[PERFETTO] = events.to_bytes()
    elif events is not None and perfetto is not None:
        elsewhere = _write(perfetto.parent, {perfetto.name: events.to_bytes()})[0]
    if out is None:
        try:
            replace_derived(material.path, files)
        except OSError as error:
            raise SpecError(f"{material.path} cannot be written to: {error}", hint="give a folder: --out DIR") from None
        paths = {name: material.path / "derived" / name for name in files}
    else:
        named = {name: _named(material.run_id, name) for name in files}
        _write(out, {named[name]: content for name, content in files.items()})
        paths = {name: out / named[name] for name in files}
    figures = tuple(path for name, path in paths.items() if name.endswith(".png"))
    return Written(paths[PAGE], figures, elsewhere or paths.get(PERFETTO))


def _named(run_id: str, name: str) -> str:
    if name == PAGE:
        return f"{run_id}.html"
    return f"{run_id}-{name.removeprefix('report-')}" if name.endswith(".png") else f"{run_id}.{name}"


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Each file whole or not at all. SpecError if the folder cannot be written to."""
    return _write(out, files)


def _write(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    done = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, scratch = tempfile.mkstemp(prefix=".report-", dir=out)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(out / name)
            done.append(out / name)
    except OSError as error:
        raise SpecError(f"{out} cannot be written to: {error}", hint="give another folder with --out") from None
    return done
