"""Published captures of nvidia-smi beside an external meter: read, told what its readings are, and judged by energy.

github.com/JimZeyuYang/GPU_Power_Benchmark (SC'24, arXiv 2312.02741), MIT: PMD-USB at slot and cables beside a CSV of
nvidia-smi in local time, one hour ahead of UTC. `5050` holds square waves of load, `Transient_Response` a step each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.characterise.corrected_energy import Compared, compare
from analysis.characterise.identify import SensorCharacter, identify
from analysis.characterise.level_energy import compare_levels
from analysis.characterise.load import Load
from harness.imports import nvidia_smi, pmd_usb
from harness.imports.source import read_source

UTC_AHEAD_S = 3600.0
CAPTURES = ("5050/3090", "Transient_Response/3090_TR", "5050/A100", "Transient_Response/A100_TR")
STEP_S = 0.001
GUARD_S = 0.9  # standby before and after the load, as much as the external meter recorded
LAGS_S = (-0.5, 1.5)


def load_of(folder: Path, channels: tuple[str, ...]) -> Load:
    """Power of the external meter, means over a millisecond; the origin is 1970 + its first sample."""
    t_ns, values, _ = pmd_usb.parse(read_source(folder / "PMD_data.bin.gz"))
    first_ns = pmd_usb.start_ns("", read_source(folder / "PMD_start_ts.txt")) - pmd_usb.EARLY_NS
    power = sum(
        values[:, 2 * k] * pmd_usb.VOLT[name] * values[:, 2 * k + 1] * pmd_usb.AMPERE
        for k, name in enumerate(pmd_usb.CHANNELS)
        if name in channels
    )
    t = t_ns * 1e-9
    total = np.r_[0.0, np.cumsum(np.diff(t) * np.asarray(power)[1:])]
    knot = np.arange(0.0, t[-1], STEP_S)
    level = np.diff(np.interp(knot, t, total)) / STEP_S
    return Load.of_levels(first_ns, knot, level, watt=True)


def judged(folder: Path, channels: tuple[str, ...], field: str) -> tuple[SensorCharacter, Compared]:
    """What the field's readings are, and its energy over the load's pattern with standby at both ends."""
    load = load_of(folder, channels)
    log = nvidia_smi.parse(read_source(folder / "gpudata.csv.gz"), field=field, utc_offset_s=UTC_AHEAD_S, gpu=None)
    t_s = load.at(log.unix_ns)
    inside = (t_s > 0) & (t_s < load.knot_s[-1])
    found = identify(load, log.unix_ns[inside], log.power_w[inside], raw=None, lags_s=LAGS_S, rate=False)
    marks = load.at(np.loadtxt(folder / "timestamps.csv", skiprows=1, dtype=np.int64) * 1000)
    begin, end = float(marks[0]) - GUARD_S, min(float(marks[-1]) + GUARD_S, float(load.knot_s[-1]))
    return found, compare(load, t_s, log.power_w, found, begin_s=begin, end_s=end)


def levelled(folder: Path, channels: tuple[str, ...], field: str) -> Compared:
    """Energy over the same stretch from levels under the load's own marks, which go on, off, on, ..."""
    seen = load_of(folder, channels)
    log = nvidia_smi.parse(read_source(folder / "gpudata.csv.gz"), field=field, utc_offset_s=UTC_AHEAD_S, gpu=None)
    marks = np.unique(np.loadtxt(folder / "timestamps.csv", skiprows=1, dtype=np.int64)) * 1000
    pairs = len(marks) // 2 * 2
    stamped = Load.of_stamps(marks[0:pairs:2], marks[1:pairs:2])
    end = min(stamped.at(marks[-1:])[0] + GUARD_S, float(seen.knot_s[-1]) + (seen.origin_ns - stamped.origin_ns) * 1e-9)
    t_s = stamped.at(log.unix_ns)
    return compare_levels(seen, stamped, t_s, log.power_w, begin_s=-GUARD_S, end_s=float(end))


def fields_of(folder: Path) -> list[str]:
    head = read_source(folder / "gpudata.csv.gz").lines()[0]
    return [part.split("[")[0].strip() for part in head.split(",") if "power.draw" in part]
