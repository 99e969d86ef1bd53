"""The joulebench command. Only signatures live here; every body imports what it needs when it is called.

`joulebench --help` must answer at once, so nothing heavier than typer is imported at the top.
Exit codes: 0 done, 2 the request is wrong, 3 a device is, 4 something passing, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.import_commands import import_app
from harness.cli.meter_commands import meters_app

app = typer.Typer(
    name="joulebench",
    help="Measures what a neural network costs in joules on a real device, with an error bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
boards_app = typer.Typer(help="Boards: what works, what is missing, the command that mends it.", no_args_is_help=True)
sim_app = typer.Typer(help="The simulated bench: a process of its own that outlives the harness.", no_args_is_help=True)
dataset_app = typer.Typer(help="Datasets: energies of layers and networks with their features.", no_args_is_help=True)
app.add_typer(boards_app, name="boards")
app.add_typer(meters_app, name="meters")
app.add_typer(sim_app, name="sim")
app.add_typer(dataset_app, name="dataset")
app.add_typer(import_app, name="import")

Campaign = Annotated[Path, typer.Argument(help="Campaign file, such as runs/demo.yaml.")]
Configs = Annotated[Path | None, typer.Option("--configs", help="Folder of device configurations.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of run directories; default: beside the campaign.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Sim = Annotated[bool, typer.Option("--sim", help="Replace the bench's meters by simulated ones on their real wire.")]
World = Annotated[
    str | None,
    typer.Option("--world", help="World of the simulated bench: a scenario file, or the name of a shipped one."),
]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", help="A difference between runs that is meant; repeatable.")
]
Runs = Annotated[list[str] | None, typer.Argument(help="Run directory, unique prefix of a run id, or `last`.")]
ShowRun = Annotated[str | None, typer.Argument(help="Run directory, unique prefix of a run id, or `last`.")]


@app.command()
def plan(
    campaign: Campaign,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show what a campaign would measure and how long it would take. Touches no hardware."""
    from harness.cli.measure import plan_campaign

    plan_campaign(campaign, simulated=sim, world=world, configs=configs, root=root, as_json=as_json)


@app.command()
def run(
    campaign: Campaign,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Measure a campaign. The same command again goes on where it stopped; finished runs are never repeated."""
    from harness.cli.measure import measure_campaign

    measure_campaign(campaign, simulated=sim, world=world, configs=configs, root=root, as_json=as_json)


@app.command()
def show(
    run: ShowRun = None,
    layers: Annotated[bool, typer.Option("--layers", help="All layers of the run, not only the largest.")] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show one run's result with its budget, or (without RUN) a table of all runs."""
    from harness.cli.look import show_all, show_run

    if run is None:
        show_all(root=root, as_json=as_json)
    else:
        show_run(run, root=root, as_json=as_json, every_layer=layers)


@app.command()
def analyse(
    runs: Runs = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the stored result instead of replacing it.")
    ] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Analyse finished runs again from their raw data. Touches no hardware."""
    from harness.cli.look import analyse_runs

    analyse_runs(runs or ["last"], check=check, root=root, as_json=as_json)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Run directory, unique prefix of a run id, or `last`.")],
    output: Annotated[Path, typer.Argument(help="CSV file to write; must not exist.")],
    meter: Annotated[str | None, typer.Option("--meter", help="Which meter; default: the run's first.")] = None,
    root: Root = None,
) -> None:
    """Write a run's power trace as CSV, units in the column names."""
    from harness.cli.look import export_run

    export_run(run, output, meter=meter, root=root)


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run, or several; a campaign file, or a folder of runs. Default: last.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; default: the run's derived/, or beside the runs.")
    ] = None,
    perfetto: Annotated[
        Path | None, typer.Option("--perfetto", help="Where the trace events go; default: beside the page.")
    ] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Write a page to look at: figure, trace, layers, budget, methods; one HTML file that needs no network."""
    from harness.cli.html_report import report_runs

    report_runs(runs or ["last"], out=out, perfetto=perfetto, root=root, as_json=as_json)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more; the first is what the others are held against.")],
    mix_simulated: Annotated[
        bool, typer.Option("--mix-simulated", help="Simulated and measured runs together.")
    ] = False,
    allow: Allow = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Ratio and difference of runs with intervals, without what their meter shares; refuses what is not comparable."""
    from harness.cli.compare import compare_runs

    compare_runs(runs, allow=allow or [], mix_simulated=mix_simulated, root=root, as_json=as_json)


@app.command()
def exam(
    runs: Runs = None,
    scenarios: Annotated[
        int, typer.Option("--scenarios", help="Examine this many drawn scenarios in virtual time.")
    ] = 0,
    worlds: Annotated[int, typer.Option("--worlds", hidden=True)] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first scenario.")] = 1,
    scenario_file: Annotated[
        str | None,
        typer.Option("--scenario-file", help="Ranges, protocol and meters: a file, or the name of a shipped world."),
    ] = None,
    depth: Annotated[str, typer.Option("--depth", help="`trace` (fast) or `wire` (through the drivers).")] = "trace",
    jobs: Annotated[int, typer.Option("--jobs", help="Processes that share the scenarios.")] = 1,
    meters: Annotated[
        str | None,
        typer.Option("--meters", help="Names of the meters on the benches, the primary first: a,b,c; any:2 draws two."),
    ] = None,
    faults: Annotated[
        float | None, typer.Option("--faults", help="Share of the scenarios that are measured again with a fault.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Keep each scenario in this file; what it holds already is not redone."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Begin no scenario later than this; grade those that were done.")
    ] = None,
    world: Annotated[
        Path | None, typer.Option("--world", help="Analyse the world that another program wrote in this folder.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the reliability diagram, too.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Grade the pipeline against the rig's hidden truth: finished simulated runs, or many drawn scenarios."""
    if world is not None:
        from harness.cli.examine_world import examine_world

        examine_world(world, runs=runs or [], scenarios=scenarios or worlds, root=root, as_json=as_json)
        return
    from harness.cli.examine import examine_runs, examine_scenarios

    count = scenarios or worlds
    drawn = (scenario_file, meters, faults, keep, minutes)
    if count or any(option is not None for option in drawn):
        examine_scenarios(
            count, depth=depth, seed=seed, file=scenario_file, jobs=jobs, runs=runs or [], as_json=as_json,
            meters=None if meters is None else [name.strip() for name in meters.split(",") if name.strip()], html=html,
            faults=faults, keep=keep, minutes=minutes,
        )  # fmt: skip
    else:
        examine_runs(runs or [], root=root, as_json=as_json, html=html)


@boards_app.command("list")
def boards_list(
    tried: Annotated[bool, typer.Option("--try", help="Connect to each.")] = False,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """List the boards that are described, and the benches that use them."""
    from harness.cli.boards import list_boards

    list_boards(tried=tried, configs=configs, as_json=as_json)


@boards_app.command("add")
def boards_add(
    name: Annotated[str, typer.Argument(help="What the board is called from now on.")],
    address: Annotated[str, typer.Argument(help="What ssh takes: host, user@host, user@host:port or an alias.")],
    python: Annotated[str | None, typer.Option("--python", help="Its Python for agents, an absolute path.")] = None,
    governor: Annotated[str | None, typer.Option("--governor", help="CPU governor while it is measured.")] = None,
    directory: Annotated[str | None, typer.Option("--directory", help="Where to keep our files there.")] = None,
    configs: Configs = None,
) -> None:
    """Describe a board that is reached over SSH, and say what works on it."""
    from harness.cli.boards import add_board

    given = {"python": python, "governor": governor, "directory": directory}
    add_board(name, address, given=given, configs=configs)


@boards_app.command("trust")
def boards_trust(
    host: Annotated[str, typer.Argument(help="Name of a board, or its address.")],
    yes: Annotated[bool, typer.Option("--yes", help="Take the key unseen: only on a network of your own.")] = False,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="The right one, SHA256:..., to be compared without asking.")
    ] = None,
    configs: Configs = None,
) -> None:
    """Show a host's key, ask whether it is the right one, and write it to known_hosts."""
    from harness.cli.boards import trust_board

    trust_board(host, yes=yes, fingerprint=fingerprint, configs=configs)


@boards_app.command("check")
def boards_check(
    name: Annotated[str, typer.Argument(help="Name of a bench or of a board, such as demo.")] = "demo",
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Say what works on a board, what is missing, and the command that mends it."""
    from harness.cli.boards import check_board

    check_board(name, configs=configs, as_json=as_json)


@boards_app.command("clean")
def boards_clean(
    name: Annotated[str, typer.Argument(help="Name of a bench or of a board.")],
    force: Annotated[bool, typer.Option("--force", help="Also where another machine holds the board.")] = False,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Remove from a board what we left there and nobody uses."""
    from harness.cli.boards import clean_board

    clean_board(name, force=force, configs=configs, as_json=as_json)


@boards_app.command("cost")
def boards_cost(
    name: Annotated[str, typer.Argument(help="Name of a bench (its on-board meter is sampled) or of a board.")],
    model: Annotated[str, typer.Option("--model", help="What the board infers meanwhile.")] = "gen:lstm",
    turns: Annotated[int, typer.Option("--turns", help="How often off, on, on, off; at least 3.")] = 8,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of each block.")] = 2.0,
    period_s: Annotated[float | None, typer.Option("--period", help="Sample every so many seconds.")] = None,
    file: Annotated[list[str] | None, typer.Option("--file", help="Sample this file of the board; repeatable.")] = None,
    sim: Sim = False,
    world: World = None,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Measure what sampling on a board costs it: inference period, CPU time, and power at rest if a meter can tell."""
    from harness.cli.board_cost import measure_cost
    from harness.cli.compose import world_file

    measure_cost(
        name, model=model, turns=turns, seconds=seconds, period_s=period_s, files=file or [], configs=configs,
        as_json=as_json, world=world_file(world, configs=configs) if sim else None,
    )  # fmt: skip


@boards_app.command("install")
def boards_install(
    name: Annotated[str, typer.Argument(help="Name of a board's file, such as local.")],
    packages: Annotated[
        list[str] | None,
        typer.Argument(help="Requirements or wheels, such as onnxruntime==1.20 or ./mine.whl; default: onnxruntime."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Add the `python:` line to the board's file.")] = False,
    configs: Configs = None,
    as_json: AsJson = False,
) -> None:
    """Put a runtime onto a board that may have no network: wheels are fetched here and installed there offline."""
    from harness.cli.board_install import install_packages

    install_packages(name, packages or [], write=write, configs=configs, as_json=as_json)


@dataset_app.command("build")
def dataset_build(
    runs: Annotated[
        list[str], typer.Argument(help="Runs, campaign files, or folders of runs; only finished runs count.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must be empty or not exist.")],
    mix_simulated: Annotated[
        bool, typer.Option("--mix-simulated", help="Simulated and measured runs together; each row says which.")
    ] = False,
    allow: Allow = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Write energies of layers and networks, features and conditions as Parquet and CSV, with a card."""
    from harness.cli.dataset import build

    build(runs, out=out, mix_simulated=mix_simulated, allow=allow or [], root=root, as_json=as_json)


@sim_app.command("status")
def sim_status(as_json: AsJson = False) -> None:
    """List the simulated benches that are alive."""
    from harness.cli.examine import list_benches

    list_benches(as_json=as_json)


@sim_app.command("stop")
def sim_stop() -> None:
    """End all simulated benches of this user."""
    from harness.cli.examine import stop_benches

    stop_benches()


def main() -> None:
    """Entry point: errors raised on purpose become one message on standard error and an exit code."""
    from harness.core.errors import BenchError

    try:
        app(standalone_mode=True)
    except BenchError as error:
        print(f"{error.kind} error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; nothing finished is lost, the same command goes on", file=sys.stderr)
        sys.exit(130)
