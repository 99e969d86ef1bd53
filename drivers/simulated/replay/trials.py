"""What can go wrong with a replay: files that are damaged, too short or incomplete (`joulebench.faults`)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drivers.replay.meter import open_meter
from drivers.simulated.replay.recording import Recording
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER = "replay"
STEP_NS = 250_000_000
Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class Play:
    """A recording of the scene, `spoil`ed on disk, and the shipped driver on it for the whole scene.

    `as_csv`: of the exported form; `share`: of the scene that was recorded; `gap_s`: lost when it was recorded.
    """

    as_csv: bool = False
    spoil: Spoil | None = None
    share: float = 1.02
    gap_s: tuple[float, float] | None = None
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    def __call__(self, scene: Scene) -> Recorded:
        with tempfile.TemporaryDirectory(prefix="joulebench-replay-") as folder:
            return self._played(scene, Path(folder))

    def _played(self, scene: Scene, folder: Path) -> Recorded:
        recording = Recording(scene.energy_j, self.share * scene.duration_s, self.gap_s)
        path = recording.write_csv(folder / "power.csv") if self.as_csv else recording.write_run(folder)
        if self.spoil is not None:
            self.spoil(path)
        clock = VirtualClock(BEGIN_NS)
        options: dict[str, str | int | float] = {"file" if self.as_csv else "run": str(path), **self.options}
        if self.as_csv:
            options.setdefault("kind", "mean")
        meter = open_meter(MeterRequest(METER, options, (("main", "board"),)), clock=clock)
        info = meter.open()
        meter.start()
        blocks: list[Block | None] = []
        end_ns = BEGIN_NS + round(scene.duration_s * NS_PER_S)
        while clock.now_ns() < end_ns:
            blocks.append(meter.step(clock.now_ns() + STEP_NS))
        blocks.append(meter.stop())
        meter.close()
        return Recorded(info, [block for block in blocks if block is not None], "main")


def _cut(name: str, share: float) -> Spoil:
    """The file (or, for "", the path itself) ends early."""

    def spoil(path: Path) -> None:
        file = path / name if name else path
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return spoil


def _flip(path: Path) -> None:
    file = path / "raw/scope.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(bytes(data))


def _remove(name: str) -> Spoil:
    return lambda path: (path / name).unlink()


def _half_line(path: Path) -> None:
    text = path.read_text("utf-8")
    path.write_text(text[:-4], "utf-8")


def _swapped(path: Path) -> None:
    lines = path.read_text("utf-8").split("\n")
    lines[900], lines[1100] = lines[1100], lines[900]
    path.write_text("\n".join(lines), "utf-8")


def trials() -> Sequence[FaultTrial]:
    """All faults of this meter."""
    lost = (10.0, 10.8)
    no_calibration = _remove("raw/scope.calibration.parquet")

    def trial(fault: str, what: str, play: Play) -> FaultTrial:
        return FaultTrial(METER, fault, what, play)

    return (
        trial("none", "a run directory, played on its own clock", Play()),
        trial("none-csv", "a CSV export", Play(as_csv=True)),
        trial("truncated", "the trace's file was cut off", Play(spoil=_cut("raw/scope.parquet", 0.7))),
        trial("bit-flip", "one bit of the trace's file is another", Play(spoil=_flip)),
        trial("no-calibration", "the calibration's file is missing", Play(spoil=no_calibration)),
        trial("no-manifest", "a directory without its manifest", Play(spoil=_remove("manifest.json"))),
        trial("half-line", "the CSV ends in the middle of a number", Play(as_csv=True, spoil=_half_line)),
        trial("rows-out-of-order", "times of the CSV run backwards", Play(as_csv=True, spoil=_swapped)),
        trial("recorded-gap", "readings were lost when it was recorded", Play(gap_s=lost)),
        trial("recorded-gap-csv", "rows and a field of the CSV are empty", Play(as_csv=True, gap_s=lost)),
        trial("ends-early", "the trace ends amid the work", Play(share=0.5)),
        trial("ends-early-error", "the same, and it shall be an error", Play(share=0.5, options={"at_end": "error"})),
        trial("ends-in-standby", "the trace ends in the last standby", Play(share=0.97)),
    )  # fmt: skip
