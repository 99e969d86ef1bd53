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
Rule = Annotated[
    str,
    typer.Option(
        "--rule",
        help="How marks bound windows: `pairs`, `steps` (on, off, on, ...), `span`, or `pattern` (a span of steps).",
    ),
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


@import_app.command("nvidia-smi")
def nvidia_smi(
    file: File,
    marks: Annotated[str, typer.Option("--marks", help="Times of the load, T0,T1,..., or a file of them.")],
    marks_unit: Annotated[
        str, typer.Option("--marks-unit", help="`s` from the first row, `unix-s` or `unix-us`.")
    ] = "s",
    rule: Rule = "pairs",
    field: Annotated[
        str, typer.Option("--field", help="Which power field, such as power.draw.instant.")
    ] = "power.draw",
    kind: Annotated[
        str, typer.Option("--kind", help="What a value is: unknown, point, mean, overlapping or part_time.")
    ] = "unknown",
    window: Annotated[float | None, typer.Option("--window", help="Averaging window of a value in seconds.")] = None,
    utc_offset: Annotated[
        float, typer.Option("--utc-offset", help="Hours that the file's local time is ahead of UTC.")
    ] = 0.0,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Which card, by index, bus id or uuid.")] = None,
    pmd: Annotated[Path | None, typer.Option("--pmd", help="PMD-USB recording of the same card: PMD_data.bin.")] = None,
    pmd_start: Annotated[
        str | None, typer.Option("--pmd-start", help="PMD_start_ts.txt, or its number: microseconds since 1970.")
    ] = None,
    pmd_rails: Annotated[str, typer.Option("--pmd-rails", help="Channels that are the card; 3 is not.")] = "1,2,4",
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
    """A CSV of nvidia-smi, alone or beside an external meter of the same card."""
    from harness.cli.importing import import_run, smi_run
    from harness.imports.meter import Declared
    from harness.imports.nvidia_smi import SmiOptions

    declared = Declared(name, board, plane, meter_model, gain_rel, offset_w, accuracy_source, origin, marks_u, batch)
    options = SmiOptions(
        field=field,
        kind=kind,
        window_s=window,
        utc_offset_s=utc_offset * 3600,
        gpu=gpu,
        marks_unit=marks_unit,
        rule=rule,
    )
    run = smi_run(file, marks, inferences, options, declared, pmd=pmd, pmd_start=pmd_start, rails=pmd_rails.split(","))
    import_run(run, root=root, as_json=as_json)


@import_app.command("csv")
def csv_table(
    file: File,
    time: Annotated[str, typer.Option("--time", help="Column of times, COL:unit (s, ms, us, ns, min, h).")],
    marks: Annotated[str, typer.Option("--marks", help="Begin and end of every window in seconds, or a file of them.")],
    power: Annotated[str | None, typer.Option("--power", help="Column of power, COL:unit (W, mW, uW, kW).")] = None,
    current: Annotated[str | None, typer.Option("--current", help="Column of current, COL:unit (A, mA, uA).")] = None,
    voltage: Annotated[str | None, typer.Option("--voltage", help="Column of voltage, COL:unit (V, mV).")] = None,
    volts: Annotated[float | None, typer.Option("--volts", help="Voltage, where it is no column.")] = None,
    energy: Annotated[
        str | None, typer.Option("--energy", help="Column of an energy counter, COL:unit (J, mJ, uJ, Wh, ...).")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="What a reading is: mean, point, counter, overlapping or filtered.")
    ] = None,
    window: Annotated[float | None, typer.Option("--window", help="Averaging window of a reading in seconds.")] = None,
    delimiter: Annotated[str, typer.Option("--delimiter", help="What is between columns.")] = ",",
    standby: Annotated[
        str | None, typer.Option("--standby", help="Idle brackets in seconds, T0,T1[,T2,T3]: energy above them.")
    ] = None,
    rule: Rule = "pairs",
    align: Annotated[
        str,
        typer.Option("--align", help="`declared`: marks are on the file's time axis; `search` the lag of the power."),
    ] = "declared",
    stamps: Annotated[
        str,
        typer.Option("--stamps", help="Times are the meter's `own`, or a host's as `bursts` of samples came in."),
    ] = "own",
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
    """Any CSV of readings, by a map of its columns; units are stated, never guessed."""
    from harness.cli.importing import import_run
    from harness.imports.marks import marks_of, pairs_of
    from harness.imports.meter import Declared
    from harness.imports.source import read_source
    from harness.imports.table import ColumnMap, build

    declared = Declared(name, board, plane, meter_model, gain_rel, offset_w, accuracy_source, origin, marks_u, batch)
    columns = ColumnMap(
        time=time, power=power, current=current, voltage=voltage, energy=energy, volts=volts, kind=kind,
        window_s=window, delimiter=delimiter,
    )  # fmt: skip
    given, marks_source = marks_of(marks)
    idle = [] if standby is None else pairs_of(marks_of(standby)[0])
    run = build(
        read_source(file), columns, given, inferences, idle, declared,
        rule=rule, align=align, others=[] if marks_source is None else [marks_source], stamps=stamps,
    )  # fmt: skip
    import_run(run, root=root, as_json=as_json)
