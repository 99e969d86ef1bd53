"""What `joulebench import` does with a foreign measurement: write the run, analyse it, print what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.readings.bursts.heal import heal
from analysis.readings.curve import build_curve, remembered_ns
from analysis.timing.chain import board_map
from harness.cli.format import engineering, headline
from harness.cli.results import console, print_json, stored_result
from harness.core.errors import SpecError
from harness.core.timeline import Phase
from harness.imports import nvidia_smi, pmd_usb
from harness.imports.foreign import ForeignRun, write_once
from harness.imports.marks import marks_of
from harness.imports.meter import Declared
from harness.imports.nvidia_smi import SmiOptions
from harness.imports.ptdaemon import PowerRun
from harness.imports.source import Source, read_source
from harness.store.run_reader import RunReader

ROOT = Path("runs/imported")
LEAST_READINGS = 3  # in a window whose energy is read off the curve


def import_run(run: ForeignRun, *, root: Path | None, as_json: bool) -> Path:
    """Write and analyse one foreign measurement; the same data, read the same way, are shown, not written again."""
    path, new = write_once(root or ROOT, run)
    document = document_of(path, new=new)
    if as_json:
        print_json(document)
        return path
    out = console()
    result = document["result"]
    out.print(f"[bold]{document['run']}[/]{'' if new else '  (is there already)'}", highlight=False)
    for note in document["notes"]:
        out.print(f"  [yellow]{note}[/]", highlight=False)
    for window in document["windows"][:20]:
        energies = ", ".join(
            f"{name} {'-' if e is None else engineering(e, 'J', digits=6)}"
            for name, e in window["energy_by_channel_j"].items()
        )
        hole = f" ({window['coverage']:.1%} covered)" if (window["coverage"] or 0.0) < 0.999 else ""
        out.print(f"  {window['t0_s']:.6f} s to {window['t1_s']:.6f} s: {energies}{hole}", highlight=False)
    if len(document["windows"]) > 20:
        out.print(f"  ... {len(document['windows']) - 20} more windows (--json prints all)")
    for one in result["meters"]:
        figure = headline(one) if one["status"] == "valid" else f"invalid: {one['reason']}"
        out.print(f"  {one['meter']}: [bold]{figure}[/]; {one['measurand']}", highlight=False)
        if one["flags"]:
            out.print(f"    flags: {', '.join(one['flags'])}", highlight=False)
    out.print(f"  {path}", highlight=False, soft_wrap=True)
    return path


def document_of(path: Path, *, new: bool) -> dict[str, Any]:
    """What `import --json` prints: the run, its windows with their energies, and the result of its analysis."""
    reader = RunReader.open(path)
    result = stored_result(path)
    told = reader.json("import")
    said: dict[str, Any] = dict(told) if isinstance(told, dict) else {}
    return {
        "run": reader.run_id,
        "path": str(path),
        "already_there": not new,
        "format": said.get("format"),
        "notes": said.get("notes", []),
        "sample_rate_hz": said.get("sample_rate_hz"),
        "windows": window_energies(reader),
        "result": result,
    }


def window_energies(reader: RunReader) -> list[dict[str, Any]]:
    """Energy of every marked window, read off the same energy curve that the analysis uses.

    `energy_j` is that of the primary meter's declared total, in the part of the window that readings cover; None where
    they cover none of it, and where the window is shorter than three of them: cut out of readings that hold its
    neighbourhood as well it would be wrong. `coverage`: that part (0..1), of the rail that is covered least.
    """
    timeline = reader.timeline()
    spans = timeline.spans_of(Phase.MEASURED)
    rows: list[dict[str, Any]] = [
        {
            "t0_s": s.begin_ns / 1e9,
            "t1_s": s.end_ns / 1e9,
            "energy_j": None,
            "coverage": None,
            "energy_by_channel_j": {},
        }
        for s in spans
    ]
    for index, binding in enumerate(m for m in reader.spec.meters if m.name in reader.meters()):
        trace = heal(reader.trace(binding.name)).trace
        to_board = board_map(trace, reader, timeline)
        rails = dict(binding.rails)
        sums: list[float | None] = [0.0] * len(spans)
        for channel in trace.info.channels:
            found = build_curve(trace, channel.name, to_board)
            curve = found.curve
            for k, span in enumerate(spans):
                energy = float(curve.energy_between(span.begin_ns, span.end_ns))
                covered = curve.coverage(span.begin_ns, span.end_ns)
                known = covered > 0 and span.end_ns - span.begin_ns >= LEAST_READINGS * remembered_ns(found.reading)
                if index == 0:
                    least = rows[k]["coverage"]
                    rows[k]["coverage"] = covered if least is None else min(least, covered)
                rows[k]["energy_by_channel_j"][f"{binding.name}.{channel.name}"] = energy if known else None
                if rails.get(channel.name) in binding.total_rails:
                    total = sums[k]
                    sums[k] = total + energy if known and total is not None else None
        if index == 0:
            for row, total in zip(rows, sums, strict=True):
                row["energy_j"] = total
    return rows


def power_run(file: Path, detail: Path | None) -> PowerRun:
    """The files of an MLPerf power run: spl.txt (or the folder that holds it) and what lies beside it.

    The zones' files are in the same folder, or in `power/` beside it, as submissions have them.
    """
    folder = file if file.is_dir() else file.parent
    power = beside(folder, "spl.txt") if file.is_dir() else read_source(file)
    log = beside(folder, "mlperf_log_detail.txt") if detail is None else read_source(detail)
    if power is None or log is None:
        raise SpecError(
            f"{folder} has no {'spl.txt' if power is None else 'mlperf_log_detail.txt'}, packed or not",
            hint="give spl.txt, and LoadGen's log with --detail FILE",
        )
    near = folder if detail is None else detail.parent
    client, server = (
        beside(folder, name) or beside(folder.parent / "power", name) for name in ("client.json", "server.json")
    )
    return PowerRun(power, log, beside(near, "mlperf_log_summary.txt"), client, server)


def beside(folder: Path, name: str) -> Source | None:
    """The file `name` in `folder`, packed or not; None if it is not there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return read_source(path)
    return None


def smi_run(
    file: Path, marks: str, inferences: str | None, options: SmiOptions, declared: Declared,
    *, pmd: Path | None, pmd_start: str | None, rails: Sequence[str],
) -> ForeignRun:  # fmt: skip
    """An nvidia-smi CSV with the PMD-USB recording beside it, if there is one, as a second meter."""
    given, marks_source = marks_of(marks)
    others = [] if marks_source is None else [marks_source]
    log = read_source(file)
    if pmd is None:
        return nvidia_smi.build(log, given, inferences, options, declared, others=others)
    if pmd_start is None:
        raise SpecError("--pmd without --pmd-start", hint="give PMD_start_ts.txt, or microseconds since 1970")
    stamp = read_source(Path(pmd_start)) if Path(pmd_start).is_file() else None
    begin = pmd_usb.start_ns(pmd_start, stamp)
    recording = read_source(pmd)
    origin = begin - pmd_usb.EARLY_NS
    meter, notes = pmd_usb.pmd_meter(recording, begin, origin, rails)
    more = [*others, recording, *([stamp] if stamp else [])]
    run = nvidia_smi.build(
        log, given, inferences, options, declared, others=more, second=[meter], second_origin_ns=origin
    )
    told = dict(run.documents["import"])
    told["notes"] = [*told["notes"], *notes]
    return replace(run, documents={**run.documents, "import": told})
