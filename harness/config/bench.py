"""From a bench file, and the board and meter files it names, to the specs that a run carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.config.accuracy import resolve_accuracy
from harness.config.board_facts import facts_of, idle_ranges, total_of
from harness.config.calibration import load_calibration
from harness.config.character import load_character
from harness.config.complain import did_you_mean, validated
from harness.config.facts import BoardFacts
from harness.config.lookup import config_dirs, find_config
from harness.config.schema import BenchFile, BoardFile, ChannelFacts, GpuSection, MeterEntry, MeterFile
from harness.config.yaml_lines import Document, Location, load_yaml
from harness.core.bench_facts import Calibration, ChannelAccuracy, Observer, PlaneModel
from harness.core.character import Characterisation
from harness.core.spec import BoardSpec, GpuSettings, MeterBinding
from harness.registry import METERS, ON_BOARD, registered


@dataclass(frozen=True)
class Bench:
    """A bench with everything looked up; `tags` say where overriding accuracies come from."""

    name: str
    board: BoardSpec
    meters: tuple[MeterBinding, ...]
    tags: tuple[tuple[str, str], ...] = ()
    plane_models: tuple[PlaneModel, ...] = ()


def load_board(path: Path, dirs: Sequence[Path] = ()) -> BoardSpec:
    """A board file; the board is named after it. The board that it is `like` is looked up in `dirs`."""
    return _board(path, dirs)[0]


def _board(path: Path, dirs: Sequence[Path]) -> tuple[BoardSpec, BoardFacts | None]:
    document = load_yaml(path)
    file = validated(document, BoardFile, "the board")
    if file.transport == "ssh" and file.address is None:
        raise document.error(
            "a board that is reached by ssh needs an address", ("transport",), hint="add `address: user@host`"
        )
    if file.directory is not None and not file.directory.startswith(("/", "~/")):
        raise document.error(
            f"the directory {file.directory!r} is not absolute", ("directory",), hint="begin it with / or ~/"
        )
    if file.cool_to_c is not None and file.warm_to_c is not None and file.cool_to_c <= file.warm_to_c:
        raise document.error(
            f"cool_to_c {file.cool_to_c:g} is not above warm_to_c {file.warm_to_c:g}: no board is ever both",
            ("warm_to_c",),
            hint="runs begin below cool_to_c, process starts are measured above warm_to_c: leave a few degrees between",
        )
    facts = facts_of(document, file, dirs or config_dirs(start=path.resolve().parent))
    rest = file.model_dump(exclude={"description", "environment", "like", "facts", "gpu"})
    environment = tuple(sorted(file.environment.items()))
    gpu = _gpu(file.gpu) if file.gpu else None
    return BoardSpec(name=path.stem, environment=environment, idle=idle_ranges(facts), gpu=gpu, **rest), facts


def _gpu(section: GpuSection) -> GpuSettings:
    return GpuSettings(**{name: value for name, value in section.model_dump().items() if value is not None})


def load_meter(path: Path) -> tuple[Document, MeterFile]:
    """A meter file. SpecError if its driver is not installed."""
    document = load_yaml(path)
    file = validated(document, MeterFile, "the meter")
    drivers = registered(METERS) | registered(ON_BOARD)
    if file.driver not in drivers:
        raise document.error(
            f"no meter driver named {file.driver!r} is installed (there are {', '.join(sorted(drivers))})",
            ("driver",),
            hint=did_you_mean(file.driver, drivers),
        )
    return document, file


def load_bench(path: Path, dirs: Sequence[Path]) -> Bench:
    """A bench file with its board and meters, looked up in `dirs`; SpecError with file and line."""
    document = load_yaml(path)
    file = validated(document, BenchFile, "the bench")
    with document.blame(("board",)):
        board_path = find_config("boards", file.board, dirs, beside=path.parent)
    board, facts = _board(board_path, dirs)
    if file.marker_pin is not None:
        board = BoardSpec(**{**vars(board), "marker_pin": file.marker_pin})
    names = [entry.name for entry in file.meters]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise document.error(f"two meters are called {name!r}", ("meters", index, "name"), hint="rename one")
    known = _Known(document, dirs, facts, board.name)
    bound = [_bound(known, entry, index) for index, entry in enumerate(file.meters)]
    tags = tuple(tag for _, source in bound for tag in source)
    return Bench(path.stem, board, tuple(binding for binding, _ in bound), tags, _plane_models(document, file))


@dataclass(frozen=True)
class _Known:
    """What the entries of a bench file have in common."""

    document: Document
    dirs: Sequence[Path]
    facts: BoardFacts | None
    board: str


def _plane_models(document: Document, file: BenchFile) -> tuple[PlaneModel, ...]:
    """What lies between the meters; SpecError for a meter that is not there, or two models of one pair."""
    names = [entry.name for entry in file.meters]
    found: list[PlaneModel] = []
    for index, section in enumerate(file.plane_models):
        at: Location = ("plane_models", index)
        for key, name in (("upstream", section.upstream), ("downstream", section.downstream)):
            if name not in names:
                raise document.error(
                    f"the bench has no meter called {name!r}", (*at, key), hint=did_you_mean(name, names)
                )
        pair = {section.upstream, section.downstream}
        if len(pair) < 2:
            raise document.error("a plane model is between two meters", at, hint="name two different meters")
        if any({model.upstream, model.downstream} == pair for model in found):
            raise document.error(
                f"two plane models are between {section.upstream} and {section.downstream}", at, hint="keep one"
            )
        low, high = section.efficiency or (1.0, 1.0)
        least, most = section.constant_w or (0.0, 0.0)
        found.append(
            PlaneModel(section.upstream, section.downstream, (float(low), float(high)), (float(least), float(most)))
        )
    return tuple(found)


def _bound(known: _Known, entry: MeterEntry, index: int) -> tuple[MeterBinding, tuple[tuple[str, str], ...]]:
    document, at = known.document, ("meters", index)
    with document.blame((*at, "meter")):
        path = find_config("meters", entry.meter, known.dirs, beside=document.path.parent)
    meter_document, meter = load_meter(path)
    total = total_of(document, entry, at, known.facts, known.board)
    _refuse_rails(document, entry, at, total)
    options = meter.options | entry.options
    limits: list[ChannelAccuracy] = []
    for channel in entry.rails:
        pattern, facts = _channel_facts(document, entry, at, channel, meter)
        limits += resolve_accuracy(channel, facts.accuracy, options, meter_document, ("channels", pattern, "accuracy"))
    own = entry.accuracy
    binding = MeterBinding(
        name=entry.name,
        driver=meter.driver,
        rails=tuple(entry.rails.items()),
        plane=entry.plane,
        total_rails=total,
        options=tuple(sorted(options.items())),
        accuracy_rel=float(own.gain_rel) if own else None,
        accuracy_offset_w=float(own.offset_w) if own else None,
        accuracy=tuple(limits),
        calibration=_calibration(document, entry, at),
        observer=Observer(**entry.observer.model_dump()) if entry.observer else None,
        character=_character(document, entry, at),
    )
    return binding, _sources(entry)


def _refuse_rails(document: Document, entry: MeterEntry, at: Location, total: tuple[str, ...]) -> None:
    for position, rail in enumerate(total):
        if rail not in entry.rails.values():
            raise document.error(
                f"the total of {entry.name} counts the rail {rail!r}, which none of its channels sees",
                (*at, "total", position),
                hint=did_you_mean(rail, entry.rails.values()),
            )
    for what, rails in (("rails", list(entry.rails.values())), ("total", list(total))):
        if doubled := sorted({r for r in rails if rails.count(r) > 1}):
            raise document.error(
                f"the rail {doubled[0]!r} stands twice in {what} of {entry.name}",
                (*at, what),
                hint="a rail counted twice doubles its energy: leave one out",
            )


def _calibration(document: Document, entry: MeterEntry, at: Location) -> Calibration | None:
    """The calibration that the bench names, beside it; SpecError if it is of other channels."""
    if entry.calibration is None:
        return None
    with document.blame((*at, "calibration")):
        calibration = load_calibration(document.path.parent / Path(entry.calibration).expanduser())
    if entry.accuracy is not None:
        raise document.error(
            f"{entry.name} has an accuracy and a calibration, which are two answers to one question",
            (*at, "accuracy"),
            hint="keep the calibration: it corrects the readings and states how well",
        )
    for channel in entry.rails:
        if calibration.channel(channel) is None:
            raise document.error(
                f"the calibration has no channel {channel!r}, which {entry.name} binds",
                (*at, "calibration"),
                hint=did_you_mean(channel, [c.channel for c in calibration.channels]),
            )
    return calibration


def _character(document: Document, entry: MeterEntry, at: Location) -> Characterisation | None:
    """The characterisation that the bench names, beside it; SpecError if it is of none of the entry's channels."""
    if entry.character is None:
        return None
    with document.blame((*at, "character")):
        character = load_character(document.path.parent / Path(entry.character).expanduser())
    names = [c.channel for c in character.channels]
    if not set(names) & set(entry.rails):
        raise document.error(
            f"the characterisation is of {', '.join(names)}, none of which {entry.name} binds",
            (*at, "character"),
            hint=did_you_mean(names[0], entry.rails),
        )
    return character


def _channel_facts(
    document: Document, entry: MeterEntry, at: Location, channel: str, meter: MeterFile
) -> tuple[str, ChannelFacts]:
    """What the meter file says of a channel, and under which name: its own, else the first pattern that fits."""
    named = channel if channel in meter.channels else next((p for p in meter.channels if fnmatchcase(channel, p)), None)
    if named is None:
        raise document.error(
            f"the meter {entry.meter} has no channel {channel!r}",
            (*at, "rails", channel),
            hint=did_you_mean(channel, meter.channels),
        )
    facts = meter.channels[named]
    if entry.plane not in facts.planes:
        raise document.error(
            f"channel {channel!r} of {entry.meter} cannot tap the plane {entry.plane!r}",
            (*at, "plane"),
            hint=did_you_mean(entry.plane, facts.planes),
        )
    return named, facts


def _sources(entry: MeterEntry) -> tuple[tuple[str, str], ...]:
    """An accuracy of the very unit on the bench is part of a run's identity."""
    if entry.accuracy is None:
        return ()
    date = f", {entry.accuracy.calibrated}" if entry.accuracy.calibrated else ""
    return ((f"accuracy:{entry.name}", entry.accuracy.source + date),)
