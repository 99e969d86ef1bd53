"""What a reading of a GPU's power is: window, update period and duty by class of GPU and field, with the source.

NVIDIA states one thing only: "average power draw over 1 sec" on Ampere (except GA100) and newer, "instantaneous" before
(help text of nvidia-smi, nvml.h at nvmlDeviceGetPowerUsage). The rest was found by others, or by us in their captures:

- "Part-time Power Measurements", arXiv 2312.02741: A100 and H100 sample 25 % of the time (abstract);
- its authors' data (github.com/JimZeyuYang/GPU_Power_Benchmark, MIT): a 3090's `power.draw.instant` is written every
  100 ms and fits a window of 101 ms best, an A100's every 101 ms and 27 ms (files `gpudata.csv`, `loss_func`).

A row that no source states is marked `assumed`. A class or field that no row has is unknown: it is taken as the worst
of what is known, a window of 25 ms somewhere in 100 ms, and said to be unknown in every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.nvidia.products import GA100, GP100, UNKNOWN
from harness.core.trace import Reading, ReadingKind

POWER, AVERAGE, INSTANT = "power", "average", "instant"
ENERGY = "energy"
MS = 1_000_000
TOUCH = 0.1  # windows whose length is this near to the period touch each other


@dataclass(frozen=True)
class Sensor:
    """How a register of power is written: every `update_ms`, the mean over `window_ms`, after a filter of `tau_ms`
    (0: none). `known`: False if the class or field stands in no row; `source`: who says so."""

    update_ms: float
    window_ms: float
    tau_ms: float = 0.0
    known: bool = True
    source: str = ""

    @property
    def duty(self) -> float:
        """Share of the time that its windows see."""
        return min(1.0, self.window_ms / self.update_ms)


_HELP = "1 s: help text of nvidia-smi; update period: captures of a 3090 (2312.02741), assumed for others"
_SECOND = Sensor(100.0, 1000.0, source=_HELP)
_WHOLE = Sensor(100.0, 100.0, source="captures of a 3090 (2312.02741: written every 100 ms, window 101 ms)")
_WHOLE_ASSUMED = Sensor(100.0, 100.0, source="assumed, as a 3090")
_QUARTER = Sensor(
    100.0, 25.0, source="captures of an A100 (2312.02741: written every 101 ms, 25 % of the time sampled)"
)
_QUARTER_HOPPER = Sensor(
    100.0, 25.0, source="2312.02741: 25 % of an H100's time is sampled; 100 ms assumed, as an A100"
)
_HALF = Sensor(20.0, 10.0, source="assumed: 10 ms of every 20 ms")
_LAGGING = Sensor(100.0, 0.0, tau_ms=500.0, source="assumed: a register that follows slowly; characterise it")

SENSORS: Mapping[tuple[str, str], Sensor] = {
    ("kepler", INSTANT): _LAGGING,
    ("maxwell", INSTANT): _LAGGING,
    ("pascal", INSTANT): _HALF,
    (GP100, INSTANT): _HALF,
    ("volta", INSTANT): _HALF,
    ("turing", INSTANT): _WHOLE_ASSUMED,
    (GA100, INSTANT): _QUARTER,
    ("ampere", INSTANT): _WHOLE,
    ("ampere", AVERAGE): _SECOND,
    ("ada", INSTANT): _WHOLE_ASSUMED,
    ("ada", AVERAGE): _SECOND,
    ("hopper", INSTANT): _QUARTER_HOPPER,
    ("hopper", AVERAGE): _SECOND,
}
"""By class of GPU and field; `power` is looked up by what it is an average or an instant of (`field_behind`)."""

_UNKNOWN = Sensor(100.0, 25.0, known=False, source="not known for this kind of GPU and field: taken as 25 ms in 100 ms")
_AVERAGES = ("ampere", "ada", "hopper", "blackwell")
COUNTER_MS: Mapping[str, float] = {"volta": 20.0}
"""How often the energy counter is written, where it is not COUNTER_USUAL_MS (assumed, as are all of these)."""
COUNTER_USUAL_MS = 100.0


def field_behind(kind: str, field: str) -> str:
    """`average` or `instant`: what `power` (power.draw, nvmlDeviceGetPowerUsage) is on this class of GPU."""
    if field != POWER:
        return field
    return AVERAGE if kind in _AVERAGES else INSTANT


def sensor_of(kind: str, field: str) -> Sensor:
    """The row of a class of GPU (products.gpu_class) and a field; one that is not `known` where there is none.

    Fields of the module or memory (`module`, `memory-average`, ...) stand in no row: nobody has published any.
    """
    if kind == UNKNOWN:
        return _UNKNOWN
    if kind == "blackwell" and field_behind(kind, field) == AVERAGE:
        return Sensor(100.0, 1000.0, source="1 s: help text of nvidia-smi; update period assumed")
    return SENSORS.get((kind, field_behind(kind, field)), _UNKNOWN)


def counter_update_ms(kind: str) -> float:
    """How often the energy counter moves, ms (assumed)."""
    return COUNTER_MS.get(kind, COUNTER_USUAL_MS)


def reading_of(sensor: Sensor, *, period_ns: int, follows: bool) -> Reading:
    """The kernel of a row, of which there is one every `period_ns`. `follows`: of every update of the slowest sensor;
    of one that is written oftener some updates are never read, and what they held is not seen."""
    window, tau = round(sensor.window_ms * MS), round(sensor.tau_ms * MS)
    if tau:
        return Reading(ReadingKind.FILTERED, period_ns, window, tau_ns=tau)
    if window > period_ns * (1 + TOUCH):
        return Reading(ReadingKind.OVERLAPPING, period_ns, window)
    if follows and window >= period_ns * (1 - TOUCH):
        return Reading(ReadingKind.MEAN, period_ns, period_ns)
    return Reading(ReadingKind.PART_TIME, period_ns, min(window, period_ns))
