"""Which meter a command is about: a driver with options, or a meter of a bench, real or simulated.

`rapl`, `ina219 -o port=/dev/ttyUSB0`, or `raspberry-pi-4-ina219/ina` (BENCH/METER; BENCH alone is its first meter).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import registry
from harness.bench.recorder import AnyOpener
from harness.cli import compose
from harness.config.bench import load_bench, load_board
from harness.config.complain import did_you_mean
from harness.config.lookup import config_dirs, find_config
from harness.core.errors import SpecError
from harness.core.ports import Board, MeterRequest
from harness.core.spec import BoardSpec, MeterBinding

OptionValue = str | int | float
Tap = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Chosen:
    """A meter that a command is about, and how it is opened. `board` is needed if it is part of one."""

    driver: str
    name: str
    request: MeterRequest
    board: BoardSpec

    @property
    def on_board(self) -> bool:
        return registry.is_sampled(self.driver, on_this_machine=self.board.transport == "local")

    def opener(self, tap: Tap | None = None) -> AnyOpener:
        """How it is opened; `tap` sees what crosses its wire."""
        request = self.request if tap is None else replace(self.request, tap=tap)
        return compose.opener(self.driver, request, self.board)


def options_from(texts: Sequence[str]) -> dict[str, OptionValue]:
    """`key=value` pairs; numbers are numbers. SpecError for anything else."""
    options: dict[str, OptionValue] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SpecError(f"the option {text!r} is not of the form key=value", hint="such as -o shunt_ohm=0.1")
        options[key] = _scalar(value)
    return options


def _scalar(text: str) -> OptionValue:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@contextlib.contextmanager
def chosen(
    name: str, options: Sequence[str], *, board: str | None, simulated: bool, world: str | None, configs: Path | None
) -> Iterator[Chosen]:
    """The meter called `name`. SpecError if there is none, or if what was said does not fit together."""
    given = options_from(options)
    drivers = registry.registered(registry.METERS) | registry.registered(registry.ON_BOARD)
    if name in drivers:
        if simulated:
            raise SpecError(
                f"{name} is a driver; the simulated bench has the meters of a bench",
                hint="name a bench: joulebench meters read demo --sim",
            )
        spec = _board(board, configs)
        yield Chosen(name, name, MeterRequest(name, given), spec)
        return
    bench_name, _, meter_name = name.partition("/")
    dirs = config_dirs(configs)
    try:
        path = find_config("benches", bench_name, dirs)
    except SpecError as error:
        raise SpecError(
            f"{name!r} is neither a meter driver nor a bench (drivers: {', '.join(sorted(drivers))})",
            hint=did_you_mean(name, drivers) or error.hint,
        ) from None
    bench = load_bench(path, dirs)
    binding = _meter_of(bench.meters, meter_name, bench_name)
    if given:
        merged = tuple(sorted((dict(binding.options) | given).items()))
        binding = replace(binding, options=merged)
    spec = bench.board if board is None else _board(board, configs)
    if not simulated:
        request = MeterRequest(binding.name, dict(binding.options), binding.rails)
        yield Chosen(binding.driver, f"{bench_name}/{binding.name}", request, spec)
        return
    from drivers.simulated.rig.client import SimulatedBench

    world_path = compose.world_file(world, configs=configs)
    with contextlib.closing(SimulatedBench.attach(world=world_path, meters=(binding,))) as bench_process:
        yield Chosen(binding.driver, f"{bench_name}/{binding.name}", bench_process.meter_request(binding), spec)


def _board(board: str | None, configs: Path | None) -> BoardSpec:
    return BoardSpec("local") if board is None else load_board(find_config("boards", board, config_dirs(configs)))


def _meter_of(meters: Sequence[MeterBinding], name: str, bench: str) -> MeterBinding:
    if not name:
        return meters[0]
    for binding in meters:
        if binding.name == name:
            return binding
    raise SpecError(
        f"the bench {bench} has no meter {name!r}; it has {', '.join(m.name for m in meters)}",
        hint=did_you_mean(name, [m.name for m in meters]),
    )


@contextlib.contextmanager
def board_for(meter: Chosen) -> Iterator[Board | None]:
    """The board that samples `meter`, or None for a meter that this machine opens."""
    if not meter.on_board:
        yield None
        return
    with contextlib.closing(compose.open_board(meter.board)) as board:
        yield board
