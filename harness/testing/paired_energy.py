"""Energy of a published load by nvidia-smi alone, with the interval that goes with it, against an external meter.

Three ways: *naive*, as tools do it (polls are points, trapezoids, +-5 W as the tool's help says); by the *table*, the
shipped importer and analysis with kind and window of the driver's sensor table and the published limit of the gain
(+-5 %, arXiv 2312.02741); and *found*, with kernel, gain and zero that `identify` found on the other capture of the
same card. Nothing is fitted on the capture that is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.analyse import analyse_run
from analysis.characterise.corrected_energy import polled_energy_j
from analysis.characterise.identify import NotTold, SensorCharacter, identify
from drivers.nvidia.sensors import sensor_of
from harness.cli.importing import smi_run, window_energies
from harness.core.bench_facts import Calibration, ChannelCalibration
from harness.core.result import EnergyResult
from harness.core.trace import ReadingKind
from harness.imports import nvidia_smi
from harness.imports.foreign import ForeignRun, write_run
from harness.imports.meter import Declared
from harness.imports.nvidia_smi import SmiOptions
from harness.imports.source import read_source
from harness.store.run_reader import RunReader
from harness.testing.paired_captures import LAGS_S, UTC_AHEAD_S, load_of

CARDS = {"3090": ("ampere", "5050/3090", "Transient_Response/3090_TR"),
         "A100": ("ga100", "5050/A100", "Transient_Response/A100_TR")}  # fmt: skip
GAIN_REL, SOURCE = 0.05, "arXiv 2312.02741: about 5 %"
TOOL_W = 5.0  # "accurate to within +/- 5 watts", help of nvidia-smi
FOLLOWS = 0.2  # by which a channel's power must rise with the load to be the card's


@dataclass(frozen=True)
class Way:
    """One figure: J of all windows together, its 95 % interval; None: `refused` says why."""

    energy_j: float | None
    interval_j: tuple[float, float] | None
    refused: str = ""

    def holds(self, true_j: float) -> bool | None:
        """None: nothing was claimed."""
        return None if self.interval_j is None else self.interval_j[0] <= true_j <= self.interval_j[1]


@dataclass(frozen=True)
class Paired:
    """`rule`: of the importer, which windows; `true_j`: the external meter's energy of all of them."""

    capture: str
    field: str
    rule: str
    channels: tuple[str, ...]
    windows: int
    true_j: float
    naive: Way
    table: Way
    found: Way


def card_channels(folder: Path) -> tuple[str, ...]:
    """Slot and cables of the card; the one that the set calls the processor's counts if its power follows the load."""
    third = load_of(folder, ("3",))
    marks = third.at(_marks_ns(folder))
    pairs = len(marks) // 2 * 2
    on, off = marks[0:pairs:2], marks[1:pairs:2]
    working = float(np.sum(np.diff(third.integral(np.stack([on, off], axis=1)), axis=1)) / np.sum(off - on))
    before = float(third.integral(on[:1])[0] - third.integral(np.zeros(1))[0]) / float(on[0])
    return ("1", "2", "3", "4") if working > (1 + FOLLOWS) * before else ("1", "2", "4")


def _marks_ns(folder: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique(np.loadtxt(folder / "timestamps.csv", skiprows=1, dtype=np.int64)) * 1000


def found_in(folder: Path, channels: tuple[str, ...], field: str) -> SensorCharacter:
    """What the readings of a capture are, against the external meter's curve."""
    load = load_of(folder, channels)
    log = nvidia_smi.parse(read_source(folder / "gpudata.csv.gz"), field=field, utc_offset_s=UTC_AHEAD_S, gpu=None)
    t_s = load.at(log.unix_ns)
    inside = (t_s > 0) & (t_s < load.knot_s[-1])
    return identify(load, log.unix_ns[inside], log.power_w[inside], raw=None, lags_s=LAGS_S, rate=False)


def judge(
    data: Path, card: str, capture: str, field: str, rule: str, root: Path, found: SensorCharacter | None
) -> Paired:
    """One capture by all three ways; run directories below `root`. `found`: on the card's other capture."""
    folder = data / capture
    channels = card_channels(folder)
    sensor = sensor_of(CARDS[card][0], "instant" if field.endswith("instant") else "power")
    kind = "overlapping" if sensor.window_ms > sensor.update_ms else "mean" if sensor.duty > 0.9 else "part_time"
    plain = _run(folder, field, rule, kind, sensor.window_ms * 1e-3, channels)
    reader = RunReader.open(write_run(root / "table", plain))
    rows = window_energies(reader)
    true_j = float(sum(sum(row["energy_by_channel_j"][f"pmd.{c}"] for c in channels) for row in rows))
    table = _way(analyse_run(reader).primary, len(rows))
    calibrated = Way(None, None, "the other capture did not tell")
    if found is not None:
        name = str(found.kind) if found.kind in _KINDS else kind
        window_s = found.kernel.window_s if found.kind in _KINDS else sensor.window_ms * 1e-3
        run = _calibrated(_run(folder, field, rule, name, window_s, channels), found)
        calibrated = _way(analyse_run(RunReader.open(write_run(root / "found", run))).primary, len(rows))
    return Paired(
        capture, field, rule, channels, len(rows), true_j, _naive(folder, field, rows, reader), table, calibrated
    )


_KINDS = (ReadingKind.OVERLAPPING, ReadingKind.MEAN, ReadingKind.PART_TIME)


def _run(folder: Path, field: str, rule: str, kind: str, window_s: float, channels: tuple[str, ...]) -> ForeignRun:
    options = SmiOptions(
        field=field, kind=kind, window_s=window_s, utc_offset_s=UTC_AHEAD_S, marks_unit="unix-us", rule=rule
    )
    return smi_run(
        folder / "gpudata.csv.gz", str(folder / "timestamps.csv"), None, options,
        Declared(gain_rel=GAIN_REL, offset_w=0.0, accuracy_source=SOURCE), pmd=folder / "PMD_data.bin.gz",
        pmd_start=str(folder / "PMD_start_ts.txt"), rails=channels,
    )  # fmt: skip


def _calibrated(run: ForeignRun, found: SensorCharacter) -> ForeignRun:
    """The same with gain and zero of the other capture, as a calibration of the very card."""
    assert found.gain is not None and found.zero is not None
    smi = run.meters[0]
    known = ChannelCalibration("card", found.gain.value, found.gain.half_95, found.zero.value, found.zero.half_95)
    calibration = Calibration(smi.info.serial, "2023-07-08", "the other capture", (known,))
    binding = replace(smi.binding, calibration=calibration)
    return replace(run, meters=(replace(smi, binding=binding), *run.meters[1:]))


def _way(result: EnergyResult, windows: int) -> Way:
    if result.gross_energy_per_inference_j is None or result.gross_interval_95_j is None:
        return Way(None, None, f"{result.reason}: {result.details.get('invalid')}")
    low, high = result.gross_interval_95_j
    return Way(result.gross_energy_per_inference_j * windows, (low * windows, high * windows))


def _naive(folder: Path, field: str, rows: list[dict[str, Any]], reader: RunReader) -> Way:
    log = nvidia_smi.parse(read_source(folder / "gpudata.csv.gz"), field=field, utc_offset_s=UTC_AHEAD_S, gpu=None)
    told = reader.json("import")
    assert isinstance(told, dict)
    t_s = np.asarray((log.unix_ns - int(told["origin_unix_ns"])) * 1e-9, np.float64)
    parts = [polled_energy_j(t_s, log.power_w, (float(row["t0_s"]), float(row["t1_s"]))) for row in rows]
    energy = float(np.sum(parts))
    half = TOOL_W * sum(row["t1_s"] - row["t0_s"] for row in rows)
    return Way(energy, (energy - half, energy + half))


def judge_card(data: Path, card: str, field: str, root: Path, *, of: str | None = None) -> list[Paired]:
    """Both captures of a card by each rule that asks something of them, each with what the other one told; `of`: only
    this one. Windows are the whole pattern, and its on-stretches."""
    _, wave, step = CARDS[card]
    rows = []
    for capture, other in ((wave, step), (step, wave)):
        if of is not None and capture != of:
            continue
        try:
            found = found_in(data / other, card_channels(data / other), field)
        except NotTold:
            found = None
        for rule in ("pattern", "steps") if capture == wave else ("steps",):
            place = root / f"{card} {field} {capture.replace('/', ' ')} {rule}"
            rows.append(judge(data, card, capture, field, rule, place, found))
    return rows


def table(rows: list[Paired]) -> str:
    """Markdown: energies against the external meter, J and %, and whether intervals hold."""
    lines = [
        "| Capture, field | Windows | External meter | Naive | Sensor table | Found on the other capture |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        name = f"{r.capture.split('/')[-1].removesuffix('_TR')} {'wave' if '5050' in r.capture else 'step'}, {r.field}"
        ways = " | ".join(_said(w, r.true_j) for w in (r.naive, r.table, r.found))
        lines.append(f"| {name} | {r.rule}: {r.windows} | {r.true_j:.1f} J | {ways} |")
    return "\n".join(lines)


def _said(way: Way, true_j: float) -> str:
    if way.energy_j is None or way.interval_j is None:
        return f"refused ({way.refused.split(':')[0]})"
    low, high = (100 * (e / true_j - 1) for e in way.interval_j)
    word = "holds" if way.holds(true_j) else "**does not hold**"
    return f"{100 * (way.energy_j / true_j - 1):+.1f} % ({low:+.1f} to {high:+.1f} %), {word}"
