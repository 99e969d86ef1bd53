"""`joulebench import FORMAT FILE ...`: one command a format. Only signatures; bodies import what they need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import_app = typer.Typer(
    help="Other people's measurements become run directories, analysed by the same code.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(help="The file to import; gzip is unpacked.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of run directories; default: runs/imported.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Name = Annotated[str | None, typer.Option("--name", help="What was measured: the model; default: the file's name.")]
Board = Annotated[str, typer.Option("--board", help="On what it ran.")]
Plane = Annotated[str | None, typer.Option("--plane", help="Where the meter taps: dc_input, wall, rail, package.")]
Model = Annotated[str | None, typer.Option("--meter-model", help="Which meter it was.")]
Gain = Annotated[float | None, typer.Option("--gain-rel", help="Relative limit of the meter's scale; 1 % is 0.01.")]
Offset = Annotated[float | None, typer.Option("--offset-w", help="Limit of the meter's zero in watt.")]
Sheet = Annotated[str, typer.Option("--accuracy-source", help="Where these limits are printed.")]
Origin = Annotated[str | None, typer.Option("--origin", help="Where the data are from, in words.")]
MarksU = Annotated[float | None, typer.Option("--marks-u", help="Standard uncertainty of the marks in seconds.")]
Batch = Annotated[int, typer.Option("--batch", help="Inputs in one inference.")]
Inferences = Annotated[
    str | None, typer.Option("--inferences", help="Inferences a window: one number, or one for each, N1,N2,...")
]
Marks = Annotated[
    str | None, typer.Option("--marks", help="Begin and end of every window in seconds, T0,T1,..., or a file of them.")
]


@import_app.command("energyrunner")
def energyrunner(
    file: File,
    marks: Marks = None,
    inferences: Inferences = None,
    name: Name = None,
    board: Board = "foreign",
    plane: Plane = None,
    meter_model: Model = None,
    gain_rel: Gain = None,
    offset_w: Offset = None,
    accuracy_source: Sheet = "",
    origin: Origin = None,
    marks_u: MarksU = None,
    batch: Batch = 1,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """An EEMBC EnergyRunner trace (MLPerf Tiny): <trace>-energy.bin with --marks, or a v1.3 results.json."""
    from harness.cli.importing import import_run
    from harness.imports.energyrunner import build
    from harness.imports.marks import marks_of
    from harness.imports.meter import Declared
    from harness.imports.source import read_source

    declared = Declared(name, board, plane, meter_model, gain_rel, offset_w, accuracy_source, origin, marks_u, batch)
    given = None if marks is None else marks_of(marks)[0]
    import_run(build(read_source(file), given, inferences, declared), root=root, as_json=as_json)


@import_app.command("ptdaemon")
def ptdaemon(
    file: Annotated[Path, typer.Argument(help="PTDaemon's spl.txt, or the folder of a run; gzip is unpacked.")],
    detail: Annotated[
        Path | None, typer.Option("--detail", help="LoadGen's mlperf_log_detail.txt; default: beside spl.txt.")
    ] = None,
    zone_offset: Annotated[
        float | None, typer.Option("--zone-offset", help="Seconds to add to LoadGen's stamps; default: from the zones.")
    ] = None,
    inferences: Inferences = None,
    name: Name = None,
    board: Board = "foreign",
    plane: Plane = None,
    meter_model: Model = None,
    gain_rel: Gain = None,
    offset_w: Offset = None,
    accuracy_source: Sheet = "",
    origin: Origin = None,
    marks_u: MarksU = None,
    batch: Batch = 1,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """A SPEC PTDaemon power log with MLPerf LoadGen's marks."""
    from harness.cli.importing import import_run, power_run
    from harness.imports.meter import Declared
    from harness.imports.ptdaemon import build

    declared = Declared(name, board, plane, meter_model, gain_rel, offset_w, accuracy_source, origin, marks_u, batch)
    import_run(build(power_run(file, detail), inferences, zone_offset, declared), root=root, as_json=as_json)


@import_app.command("monsoon-csv")
def monsoon_csv(
    file: File,
    inference_times: Annotated[
        Path | None, typer.Option("--inference-times", help="CSV with start_us and end_us of every inference.")
    ] = None,
    marks: Marks = None,
    inferences: Inferences = None,
    idle: Annotated[
        Path | None, typer.Option("--idle", help="A trace of the same device at rest: the one standby bracket.")
    ] = None,
    align: Annotated[
        str, typer.Option("--align", help="`search` the lag of the power behind the marks, or `declared`: none.")
    ] = "search",
    name: Name = None,
    board: Board = "foreign",
    plane: Plane = None,
    meter_model: Model = None,
    gain_rel: Gain = None,
    offset_w: Offset = None,
    accuracy_source: Sheet = "",
    origin: Origin = None,
    marks_u: MarksU = None,
    batch: Batch = 1,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """A Monsoon CSV, whose stamps come in USB bursts, with the stamps of inferences on the host's time."""
    from harness.cli.importing import import_run
    from harness.imports.marks import marks_of
    from harness.imports.meter import Declared
    from harness.imports.monsoon_csv import build
    from harness.imports.source import read_source

    declared = Declared(name, board, plane, meter_model, gain_rel, offset_w, accuracy_source, origin, marks_u, batch)
    times = None if inference_times is None else read_source(inference_times)
    given = None if marks is None else marks_of(marks)[0]
    rest = None if idle is None else read_source(idle)
    run = build(read_source(file), times, given, inferences, rest, declared, align=align)
    import_run(run, root=root, as_json=as_json)
