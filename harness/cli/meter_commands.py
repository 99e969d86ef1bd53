"""`joulebench meters ...`: one command a question. Only signatures; bodies import what they need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

meters_app = typer.Typer(
    help="Meters: what is plugged in, what it reads, whether it is well, what can go wrong.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Configs = Annotated[Path | None, typer.Option("--configs", help="Folder of device configurations.")]
Meter = Annotated[str, typer.Argument(help="A driver, such as rapl, or a meter of a bench: BENCH/METER, or BENCH.")]
Options = Annotated[
    list[str] | None, typer.Option("-o", "--option", help="key=value for the driver, such as port=/dev/ttyUSB0.")
]
Board = Annotated[
    str | None, typer.Option("--board", help="The board that the meter is a part of; default: this machine.")
]
Seconds = Annotated[float, typer.Option("--seconds", min=0.1, max=86400, help="How long to read.")]
Sim = Annotated[bool, typer.Option("--sim", help="The bench's meter simulated on its real wire.")]
World = Annotated[
    str | None, typer.Option("--world", help="World of the simulated bench: a scenario file or a shipped name.")
]


@meters_app.command("list")
def meters_list(board: Board = None, configs: Configs = None, as_json: AsJson = False) -> None:
    """List the meter drivers and what is plugged in here, or built into --board."""
    from harness.cli.meters.listing import list_meters

    list_meters(board=board, configs=configs, as_json=as_json)


@meters_app.command("read")
def meters_read(
    meter: Meter,
    option: Options = None,
    seconds: Seconds = 2.0,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Read a meter for a few seconds: mean power of each channel, with the limit of its error."""
    from harness.cli.meters.choose import chosen
    from harness.cli.meters.reading import read_meter

    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        read_meter(one, seconds=seconds, as_json=as_json)


@meters_app.command("watch")
def meters_watch(
    meter: Meter,
    option: Options = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="End after so long.")] = None,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
) -> None:
    """A live line of watts, until Ctrl-C."""
    from harness.cli.meters.choose import chosen
    from harness.cli.meters.reading import watch_meter

    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        watch_meter(one, seconds=seconds)


@meters_app.command("selftest")
def meters_selftest(
    meter: Meter,
    option: Options = None,
    seconds: Seconds = 3.0,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a meter is well, what is wrong, and the command that mends it. Exit code 3 if it is not well."""
    from harness.cli.meters.choose import chosen
    from harness.cli.meters.health import test_meter

    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        well = test_meter(one, seconds=seconds, as_json=as_json)
    if not well:
        raise typer.Exit(3)


@meters_app.command("capture")
def meters_capture(
    meter: Meter,
    file: Annotated[Path, typer.Argument(help="File to write (JSON lines); must not exist.")],
    option: Options = None,
    seconds: Seconds = 5.0,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
) -> None:
    """Write what crosses a meter's wire to a file that can be sent, and fed to a test."""
    from harness.cli.meters.capture import capture_meter
    from harness.cli.meters.choose import chosen

    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        capture_meter(one, file, seconds=seconds)


@meters_app.command("characterise-lite")
def meters_characterise_lite(
    meter: Meter,
    option: Options = None,
    seconds: Seconds = 10.0,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """How a meter's readings behave: rate, changes, smallest step, noise, clock. Keep the board at rest meanwhile."""
    from harness.cli.meters.choose import chosen
    from harness.cli.meters.reading import characterise_meter

    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        characterise_meter(one, seconds=seconds, as_json=as_json)


@meters_app.command("faults")
def meters_faults(
    only: Annotated[str | None, typer.Option("--meter", help="Only this meter.")] = None,
    fault: Annotated[str | None, typer.Option("--fault", help="Only this fault.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play every named fault on the simulated meters and say what the shipped driver and analysis made of it."""
    from harness.cli.meters.faults import show_faults

    show_faults(meter=only, fault=fault, as_json=as_json)


@meters_app.command("calibrate")
def meters_calibrate(
    meter: Meter,
    out: Annotated[Path, typer.Option("--out", help="Calibration file to write; must not exist.")],
    by: Annotated[str, typer.Option("--by", help="Who calibrates; it stands in the file.")],
    level: Annotated[
        list[str],
        typer.Option("--level", help="A load: OHM:VOLT, open:VOLT, or 2.5W by a reference meter. At least three."),
    ],
    tolerance: Annotated[float, typer.Option("--tolerance", help="Limit of the resistors' error; 1 % is 0.01.")] = 0.01,
    volt_u: Annotated[
        float, typer.Option("--volt-u", help="Standard uncertainty of each voltage, V: its scatter and last digit.")
    ] = 0.005,
    watt_u: Annotated[
        float, typer.Option("--watt-u", help="Standard uncertainty of each power of a reference meter, W.")
    ] = 0.0,
    common_rel: Annotated[
        float, typer.Option("--common-rel", help="Standard relative uncertainty of the voltmeter's or meter's scale.")
    ] = 0.003,
    channel: Annotated[str | None, typer.Option("--channel", help="Which channel; default: the first.")] = None,
    option: Options = None,
    seconds: Seconds = 10.0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Ask before each load, or begin at once.")] = True,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Find gain and zero of a unit with known loads and write its calibration file, which a bench may name."""
    from harness.cli.meters.calibrating import References, calibrate_meter
    from harness.cli.meters.choose import chosen

    def ask(text: str) -> None:
        if wait:
            typer.prompt(f"{text}; then Enter", default="", show_default=False, err=True)

    known = References(tolerance, volt_u, watt_u, common_rel)
    with chosen(meter, option or [], board=board, simulated=sim, world=world, configs=configs) as one:
        calibrate_meter(
            one, levels=level, known=known, channel=channel, seconds=seconds, out=out, by=by, ask=ask, as_json=as_json
        )


@meters_app.command("drivers")
def meters_drivers(
    driver: Annotated[str | None, typer.Argument(help="Only this driver.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every driver: lines of code, what it was tested on, and the conformance suite run on it now."""
    from harness.cli.meters.drivers import show_drivers

    show_drivers(driver=driver, as_json=as_json)


@meters_app.command("characterise")
def meters_characterise(
    meter: Annotated[
        str, typer.Argument(help="A meter of a bench: BENCH/METER, or BENCH; a driver; with --run: a meter of the run.")
    ],
    against: Annotated[
        str | None, typer.Option("--against", help="A second meter, for gain and zero; of an imported run: its load.")
    ] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="Only this channel.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Characterisation file to write, which a bench may name.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="A run recorded before, or imported: nothing is played.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="What is busy work: `spin`, or a model to infer.")] = "spin",
    memory: Annotated[float, typer.Option("--memory", help="Longest window or filter looked for, s.")] = 1.0,
    latest: Annotated[float, typer.Option("--latest", help="Latest that a reading may show the load, s.")] = 6.0,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often the code is played.")] = 1,
    root: Annotated[Path | None, typer.Option("--root", help="Where the recording is kept.")] = None,
    option: Options = None,
    board: Board = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Play a coded load on the board; find update, window, delay, memory of a meter's readings, gain and zero."""
    from harness.cli.compose import world_file
    from harness.cli.meters.characterise import ROOT, Asked, characterise, characterise_recorded

    asked = Asked(meter, against, channel, model, memory, latest, repeats)
    if run is not None:
        characterise_recorded(run, asked, out=out, as_json=as_json)
        return
    characterise(
        asked, options=option or [], board=board, world=world_file(world, configs=configs) if sim else None,
        configs=configs, root=root or ROOT, out=out, as_json=as_json,
    )  # fmt: skip
