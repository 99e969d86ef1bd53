"""What a bench file may say to the drivers `nvml` and `nvidia-smi`, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from drivers.nvidia.gpus import FASTEST, PCI
from drivers.nvidia.sensors import Sensor
from harness.core.errors import SpecError

Value = str | int | float
LONGEST_MS = 60_000.0
DEFAULT_MAX_W = 3000.0
HEADROOM = 3.0  # peaks above the largest power limit that a GPU can be set to


@dataclass(frozen=True)
class SensorOptions:
    """What the user knows of the power sensors better than the table, in ms; None: as the table says."""

    update_ms: float | None = None
    window_ms: float | None = None
    tau_ms: float | None = None

    def over(self, sensor: Sensor) -> Sensor:
        """`sensor` with what was given; known by declaration if update and window (or filter) were."""
        given = {k: v for k, v in vars(self).items() if v is not None}
        if not given:
            return sensor
        whole = self.update_ms is not None and (self.window_ms is not None or self.tau_ms is not None)
        if whole and self.window_ms is None:
            given["window_ms"] = 0.0
        if whole and self.tau_ms is None:
            given["tau_ms"] = 0.0
        return replace(sensor, **given, known=sensor.known or whole, source="declared by options of this meter")


@dataclass(frozen=True)
class NvidiaOptions:
    """Both drivers'. `where`: the library or command; `poll_ms`: 0 chooses; `visible`, `cuda_order`: which GPUs;
    `max_power_w`: 0: from the power limit; `unit`: of numbers without one (nvidia-smi only)."""

    where: str
    poll_ms: float = 0.0
    visible: str = ""
    cuda_order: str = FASTEST
    frozen_s: float = 5.0
    max_power_w: float = 0.0
    unit: str = ""
    sensor: SensorOptions = SensorOptions()

    def most_w(self, limit_w: float) -> float:
        """More than a GPU whose power limit can be set to `limit_w` (0: not known) can draw."""
        return self.max_power_w or (HEADROOM * limit_w if limit_w else DEFAULT_MAX_W)


def nvml_options(options: Mapping[str, Value]) -> NvidiaOptions:
    """SpecError for an unknown option, or a value of another form or out of bounds."""
    return _options("nvml", options, where=("library", "libnvidia-ml.so.1"), beat=("poll_ms", 1.0))


def smi_options(options: Mapping[str, Value]) -> NvidiaOptions:
    """As `nvml_options`, for nvidia-smi."""
    return _options("nvidia-smi", options, where=("command", "nvidia-smi"), beat=("interval_ms", 5.0), units=("unit",))


def _options(
    driver: str,
    options: Mapping[str, Value],
    *,
    where: tuple[str, str],
    beat: tuple[str, float],
    units: tuple[str, ...] = (),
) -> NvidiaOptions:
    times = ("update_ms", "window_ms", "tau_ms")
    known = sorted({where[0], beat[0], "visible", "cuda_order", "frozen_s", "max_power_w", *times, *units})
    if unknown := sorted(set(options) - set(known)):
        raise SpecError(f"{driver} has no option {unknown[0]!r}", hint=f"its options are {', '.join(known)}")
    place = str(options.get(*where)).strip()
    if not place or not place.isprintable() or any(c.isspace() for c in place):
        raise SpecError(f"{driver} option {where[0]} is {place!r}", hint="give one path, without blanks")
    order = str(options.get("cuda_order", FASTEST))
    if order not in (FASTEST, PCI):
        raise SpecError(
            f"{driver} option cuda_order is {order!r}",
            hint=f"{PCI} if your programs run with CUDA_DEVICE_ORDER=PCI_BUS_ID, else {FASTEST}",
        )
    unit = str(options.get("unit", ""))
    if unit not in ("", "W", "mW"):
        raise SpecError(f"{driver} option unit is {unit!r}", hint="W or mW, for rows without units; leave it out else")
    poll_ms = _number(driver, options, beat[0], least=0.0, most=LONGEST_MS)
    if 0 < (poll_ms or 0) < beat[1]:
        raise SpecError(f"{driver} option {beat[0]} is {poll_ms:g}", hint=f"{beat[1]:g} or more, or 0 to choose")
    frozen_s = _number(driver, options, "frozen_s", least=0.1)
    return NvidiaOptions(
        where=place,
        poll_ms=poll_ms or 0.0,
        visible=str(options.get("visible", "")),
        cuda_order=order,
        frozen_s=frozen_s if frozen_s is not None else NvidiaOptions.frozen_s,
        max_power_w=_number(driver, options, "max_power_w", least=1.0) or 0.0,
        unit=unit,
        sensor=SensorOptions(
            _number(driver, options, "update_ms", least=1.0, most=LONGEST_MS),
            _number(driver, options, "window_ms", least=0.1, most=LONGEST_MS),
            _number(driver, options, "tau_ms", least=0.0, most=LONGEST_MS),
        ),
    )


def _number(
    driver: str, options: Mapping[str, Value], name: str, *, least: float, most: float = math.inf
) -> float | None:
    if name not in options:
        return None
    value = options[name]
    if isinstance(value, str | bool) or not math.isfinite(value) or not least <= value <= most:
        bound = f"a number of {least:g} or more" if most == math.inf else f"a number of {least:g} to {most:g}"
        raise SpecError(f"{driver} option {name} is {value!r}", hint=f"give {bound}")
    return float(value)
