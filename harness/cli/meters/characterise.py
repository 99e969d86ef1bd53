"""`joulebench meters characterise`: what a meter's readings mean, from a coded load that the board plays."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.bench.campaigns.leases import board_resource, hold, meter_resource
from harness.bench.characterising import record_coded_load
from harness.bench.coded_load import CodedLoad, coded_load
from harness.bench.recorder import AnyOpener, readers_ready
from harness.cli import compose
from harness.cli.format import engineering
from harness.cli.meters.choose import OptionValue, options_from
from harness.cli.results import console, print_json
from harness.config.bench import load_bench, load_board
from harness.config.character import write_character
from harness.config.lookup import config_dirs, find_config
from harness.config.profiles import QUICK
from harness.core.character import Characterisation
from harness.core.errors import SpecError
from harness.core.events import EventStream
from harness.core.ports import Board, LeasedBoard
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec
from harness.core.waiting import RealClock
from harness.store.run_reader import RunReader

if TYPE_CHECKING:
    from analysis.characterise.identify import Estimate
    from analysis.characterise.run import Found

SPIN = "spin"
ROOT = Path("runs/characterise")


@dataclass(frozen=True)
class Asked:
    """Which meter, against which other one, under which load."""

    meter: str
    against: str | None = None
    channel: str | None = None
    model: str = SPIN
    memory_s: float = 1.0
    latest_s: float = 6.0
    repeats: int = 1


def characterise(
    asked: Asked, *, options: Sequence[str], board: str | None, world: Path | None, configs: Path | None, root: Path,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Play, record, tell, print, and write `out` if it is given. `world`: of the simulated bench, or None.

    Errors: SpecError, DeviceError, TransientError.
    """
    if out is not None and out.exists():
        raise SpecError(f"{out} exists already", hint="give another file name; nothing is overwritten")
    if out is not None and not out.absolute().parent.is_dir():
        raise SpecError(f"cannot write {out}: there is no folder {out.parent}", hint="give --out a file in one")
    load = coded_load(memory_s=asked.memory_s, repeats=asked.repeats)
    spec, name = _planned(asked, load, options_from(options), board, configs, simulated=world is not None)
    print(f"a coded load of {load.seconds:.0f} s on board {spec.board.name}", file=sys.stderr, flush=True)
    path = _recorded(spec, load, world, root, asked)
    tell(path, name, asked, out=out, as_json=as_json)


def characterise_recorded(path: Path, asked: Asked, *, out: Path | None, as_json: bool) -> None:
    """The same from a run that was recorded before, or imported."""
    tell(path, asked.meter, asked, out=out, as_json=as_json)


def tell(path: Path, meter: str, asked: Asked, *, out: Path | None, as_json: bool) -> None:
    """Print what the run tells of the meter's readings, and write it where a bench can name it."""
    from analysis.characterise.run import characterise_run

    reader = RunReader.open(path)
    lags = (-1.0, asked.latest_s)
    found = characterise_run(reader, meter, channel=asked.channel, against=asked.against, lags_s=lags)
    about = Characterisation(
        found[0].serial, datetime.date.today().isoformat(), f"{reader.spec.model.name} of {path.name}",
        tuple(f.facts for f in found), asked.against or "",
    )  # fmt: skip
    if out is not None:
        write_character(about, out)
    if as_json:
        rows = [{**dataclasses.asdict(f.facts), **_more(f)} for f in found]
        print_json({
            "run": str(path), "meter": meter, "serial": about.serial, "against": asked.against,
            "simulated": reader.simulated, "file": None if out is None else str(out), "channels": rows,
        })  # fmt: skip
        return
    for one in found:
        print_found(one, simulated=reader.simulated, against=asked.against)
    screen = console()
    screen.print(f"kept: {path}", soft_wrap=True)
    if out is not None:
        screen.print(f"{out}: name it in the bench file, in the meter's entry: character: {out.name}", soft_wrap=True)


def _more(found: Found) -> dict[str, Any]:
    character, declared = found.character, found.declared
    return {
        "told": character.kind is not None,
        "lag_s": character.lag.value, "lag_u95_s": character.lag.half_95,
        "contrast_w": None if character.contrast is None else character.contrast.value,
        "rest_w": None if character.rest is None else character.rest.value,
        "explained": character.explained, "noise_w": character.noise_w, "readings": character.readings,
        "repeated": character.repeated, "regular": character.regular, "polled_s": character.polled_s,
        "memory_s": character.memory_s, "rivals": [list(row) for row in character.rivals],
        "stated": {
            "kind": str(declared.kind), "period_s": declared.period_ns * 1e-9, "window_s": declared.window_ns * 1e-9,
            "tau_s": declared.tau_ns * 1e-9,
        },
    }  # fmt: skip


# --- recording --------------------------------------------------------------------------------------


def _planned(
    asked: Asked, load: CodedLoad, options: dict[str, OptionValue], board: str | None, configs: Path | None,
    *, simulated: bool,
) -> tuple[RunSpec, str]:  # fmt: skip
    """The run of a bench (`BENCH/METER`), or of a driver on this machine or on --board; and the meter's name in it."""
    dirs = config_dirs(configs)
    drivers = registry.registered(registry.METERS) | registry.registered(registry.ON_BOARD)
    bench_name, _, wanted = asked.meter.partition("/")
    if asked.meter in drivers:
        if simulated or asked.against:
            raise SpecError(
                f"{asked.meter} is a driver; --sim and --against are about the meters of a bench",
                hint="name a bench: joulebench meters characterise demo --sim",
            )
        place = BoardSpec("local") if board is None else load_board(find_config("boards", board, dirs), dirs)
        meters: tuple[MeterBinding, ...] = (
            MeterBinding(asked.meter, asked.meter, (), "dc_input", (), tuple(sorted(options.items()))),
        )
        bench_name, wanted = asked.meter, asked.meter
    else:
        bench = load_bench(find_config("benches", bench_name, dirs), dirs)
        place = bench.board if board is None else load_board(find_config("boards", board, dirs), dirs)
        wanted = wanted or bench.meters[0].name
        names = [wanted, *([asked.against] if asked.against else [])]
        known = {m.name: m for m in bench.meters}
        for one in names:
            if one not in known:
                raise SpecError(f"the bench {bench_name} has no meter {one!r}", hint=f"it has {', '.join(known)}")
        if asked.against == wanted:
            raise SpecError(f"{wanted} against itself tells nothing", hint="name another meter with --against")
        meters = tuple(dataclasses.replace(known[one], character=None) for one in dict.fromkeys(names))
        if options:
            merged = tuple(sorted((dict(meters[0].options) | options).items()))
            meters = (dataclasses.replace(meters[0], options=merged), *meters[1:])
    protocol = dataclasses.replace(
        QUICK, profile="coded-load", starts=1, standby_s=0.0, marker_bits=load.bits, marker_chip_s=load.chip_s
    )
    spec = RunSpec(
        "characterise", bench_name, place, meters, _model(asked, load), RuntimeSpec(), protocol, int(time.time()), 0,
        simulated,
    )  # fmt: skip
    return spec, wanted


def _model(asked: Asked, load: CodedLoad) -> ModelSpec:
    if asked.model != SPIN:
        from harness.models.resolve import resolve_model

        return resolve_model(asked.model, 1, {}, 0, Path.cwd())
    return ModelSpec("coded-load", "gen:spin", hashlib.sha256(load.bits.encode()).hexdigest(), 1)


def _recorded(spec: RunSpec, load: CodedLoad, world: Path | None, root: Path, asked: Asked) -> Path:
    board = compose.open_board(dataclasses.replace(spec.board, marker_pin=None))
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(board))
        resources = [board_resource(spec.board), *(meter_resource(meter) for meter in spec.meters)]
        stack.enter_context(hold(resources, campaign="meters characterise"))
        if isinstance(board, LeasedBoard):
            board.lease(120 + 2 * load.seconds)
            stack.callback(board.release)
        place, meters = _surroundings(board, spec, world, stack)
        with readers_ready(meters):
            return record_coded_load(
                spec, load, root=root, board=place, meters=meters, clock=RealClock(), events=EventStream(),
                with_model=asked.model != SPIN, late_s=asked.memory_s,
            )  # fmt: skip


def _surroundings(
    board: Board, spec: RunSpec, world: Path | None, stack: contextlib.ExitStack
) -> tuple[Board, Sequence[tuple[MeterBinding, AnyOpener]]]:
    if world is None:
        return board, compose.real_openers(spec)
    from drivers.simulated.rig.client import SimulatedBench

    simulated = stack.enter_context(contextlib.closing(SimulatedBench.attach(world=world, meters=spec.meters)))
    simulated.announce(spec)
    return compose.PinnedBoard(board, simulated), compose.simulated_openers(simulated, spec)


# --- what is said -----------------------------------------------------------------------------------


def print_found(found: Found, *, simulated: bool, against: str | None) -> None:
    """A table for people."""
    from rich.table import Table

    character, declared = found.character, found.declared
    mark = "  SIMULATED" if simulated else ""
    kinds = " or ".join(str(kind) for kind in character.kinds)
    told = "" if character.kind is not None else " (the load could not tell which)"
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"{found.meter} {found.channel} ({found.serial}){mark}: {kinds}{told}"
    for column in ("", "found", "95 %", "the driver says"):
        table.add_column(column, justify="left" if column == "" else "right")
    sheet = {"update": declared.period_ns, "window": declared.window_ns, "time constant": declared.tau_ns}
    rows: list[tuple[str, Estimate]] = [
        ("update", character.update), ("window", character.window), ("time constant", character.tau),
        ("delay of the stamp", character.delay), ("mean age", character.lag), ("rise 10-90 %", character.rise),
    ]  # fmt: skip
    for name, value in rows:
        says = "-" if name not in sheet else engineering(sheet[name] * 1e-9, "s", digits=3)
        half = f"± {engineering(value.half_95, 's', digits=2)}"
        table.add_row(name, engineering(value.value, "s", digits=4), half, says)
    table.add_row("duty", f"{100 * character.duty.value:.3g} %", f"± {100 * character.duty.half_95:.2g} %", "-")
    if character.gain is not None and character.zero is not None:
        table.add_row(f"gain against {against}", f"{character.gain.value:.5g}", f"± {character.gain.half_95:.2g}", "-")
        half = f"± {engineering(character.zero.half_95, 'W', digits=2)}"
        table.add_row("zero", engineering(character.zero.value, "W"), half, "-")
    if character.contrast is not None and character.rest is not None:
        half = f"± {engineering(character.contrast.half_95, 'W', digits=2)}"
        table.add_row("load's contrast", engineering(character.contrast.value, "W"), half, "-")
    screen = console()
    screen.print(table)
    rivals = ", ".join(f"{name} {worse:+.1f}" for name, worse in character.rivals[1:])
    screen.print(
        f"{character.readings} new readings in {character.seconds:.0f} s, {100 * character.repeated:.0f} % repeats; "
        f"kernel {character.rivals[0][0]} explains {100 * character.explained:.2f} % (worse by criterion: {rivals})",
        soft_wrap=True,
    )
    if character.gain is None:
        screen.print("gain and zero are not known: they need a second meter (--against)")
