"""From a bench file, and the board and meter files it names, to the specs that a run carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.config.complain import did_you_mean, validated
from harness.config.lookup import find_config
from harness.config.schema import AccuracySection, BenchFile, BoardFile, ChannelFacts, MeterEntry, MeterFile
from harness.config.yaml_lines import Document, Location, load_yaml
from harness.core.spec import BoardSpec, MeterBinding
from harness.registry import METERS, ON_BOARD, registered


@dataclass(frozen=True)
class Bench:
    """A bench with everything looked up; `tags` say where overriding accuracies come from."""

    name: str
    board: BoardSpec
    meters: tuple[MeterBinding, ...]
    tags: tuple[tuple[str, str], ...] = ()


def load_board(path: Path) -> BoardSpec:
    """A board file; the board is named after it."""
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
    rest = file.model_dump(exclude={"description", "environment"})
    return BoardSpec(name=path.stem, environment=tuple(sorted(file.environment.items())), **rest)


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
    board = load_board(board_path)
    if file.marker_pin is not None:
        board = BoardSpec(**{**vars(board), "marker_pin": file.marker_pin})
    names = [entry.name for entry in file.meters]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise document.error(f"two meters are called {name!r}", ("meters", index, "name"), hint="rename one")
    bound = [_bound(document, entry, index, dirs) for index, entry in enumerate(file.meters)]
    tags = tuple(tag for _, source in bound for tag in source)
    return Bench(path.stem, board, tuple(binding for binding, _ in bound), tags)


def _bound(
    document: Document, entry: MeterEntry, index: int, dirs: Sequence[Path]
) -> tuple[MeterBinding, tuple[tuple[str, str], ...]]:
    at: Location = ("meters", index)
    with document.blame((*at, "meter")):
        path = find_config("meters", entry.meter, dirs, beside=document.path.parent)
    _, meter = load_meter(path)
    facts = [_channel_facts(document, entry, at, channel, meter) for channel in entry.rails]
    for position, rail in enumerate(entry.total):
        if rail not in entry.rails.values():
            raise document.error(
                f"the total of {entry.name} counts the rail {rail!r}, which none of its channels sees",
                (*at, "total", position),
                hint=did_you_mean(rail, entry.rails.values()),
            )
    for what, rails in (("rails", list(entry.rails.values())), ("total", list(entry.total))):
        if doubled := sorted({r for r in rails if rails.count(r) > 1}):
            raise document.error(
                f"the rail {doubled[0]!r} stands twice in {what} of {entry.name}",
                (*at, what),
                hint="a rail counted twice doubles its energy: leave one out",
            )
    accuracy = entry.accuracy or _coarsest([f.accuracy for f in facts if f.accuracy is not None])
    binding = MeterBinding(
        name=entry.name,
        driver=meter.driver,
        rails=tuple(entry.rails.items()),
        plane=entry.plane,
        total_rails=entry.total,
        options=tuple(sorted((meter.options | entry.options).items())),
        accuracy_rel=float(accuracy.gain_rel) if accuracy else None,
        accuracy_offset_w=float(accuracy.offset_w) if accuracy else None,
    )
    return binding, _sources(entry)


def _channel_facts(document: Document, entry: MeterEntry, at: Location, channel: str, meter: MeterFile) -> ChannelFacts:
    """What the meter file says of a channel: by its name, else by the first pattern that fits."""
    facts = meter.channels.get(channel)
    for pattern, candidate in meter.channels.items():
        if facts is None and fnmatchcase(channel, pattern):
            facts = candidate
    if facts is None:
        raise document.error(
            f"the meter {entry.meter} has no channel {channel!r}",
            (*at, "rails", channel),
            hint=did_you_mean(channel, meter.channels),
        )
    if entry.plane not in facts.planes:
        raise document.error(
            f"channel {channel!r} of {entry.meter} cannot tap the plane {entry.plane!r}",
            (*at, "plane"),
            hint=did_you_mean(entry.plane, facts.planes),
        )
    return facts


def _coarsest(accuracies: Sequence[AccuracySection]) -> AccuracySection | None:
    """One figure a meter: the widest limits of its bound channels; None leaves it to the driver, channel by channel."""
    if not accuracies:
        return None
    return AccuracySection(
        gain_rel=max(a.gain_rel for a in accuracies),
        offset_w=max(a.offset_w for a in accuracies),
        source="; ".join(dict.fromkeys(a.source for a in accuracies)),
    )


def _sources(entry: MeterEntry) -> tuple[tuple[str, str], ...]:
    """A calibration of the very unit on the bench is part of a run's identity."""
    if entry.accuracy is None:
        return ()
    date = f", {entry.accuracy.calibrated}" if entry.accuracy.calibrated else ""
    return ((f"accuracy:{entry.name}", entry.accuracy.source + date),)
