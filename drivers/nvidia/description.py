"""What the GPUs of a machine are as a meter: channels, kernels of their readings, accuracy, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.nvidia.gpus import Gpu, Machine, Visible
from drivers.nvidia.options import NvidiaOptions
from drivers.nvidia.readings import Register
from drivers.nvidia.sensors import ENERGY, MS, Sensor, counter_update_ms, field_behind, reading_of, sensor_of
from drivers.nvidia.timing import Timing, timing_of
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

NEVER = 1 << 62  # 64 bits of mJ: it does not wrap
GAIN_REL, OFFSET_W = 0.1, 12.5
SOURCE = (
    "assumed: the worst of 19 cards held against a meter at their cables in the data of arXiv 2312.02741 (gain -9.5 to "
    "+6.4 %, zero -12.4 to +11.8 W); NVIDIA states 5 W (help text of nvidia-smi); override with a calibration of your "
    "own"
)


@dataclass(frozen=True)
class Channel:
    """One register to read: whose, which field, what is known of its sensor (None: an energy counter)."""

    gpu: Gpu
    field: str
    sensor: Sensor | None
    register: Register

    @property
    def name(self) -> str:
        return self.register.channel


def channels_of(wanted: Sequence[tuple[Gpu, str]], options: NvidiaOptions) -> tuple[Channel, ...]:
    """The channels of `wanted`, as the table and the options know their sensors."""
    found = []
    for gpu, field in wanted:
        counts = field == ENERGY
        update_ns = round(counter_update_ms(gpu.kind) * MS) if counts else 0
        register = Register(f"{gpu.label}/{field}", counts, options.most_w(gpu.limit_w), update_ns)
        sensor = None if counts else options.sensor.over(sensor_of(gpu.kind, field))
        found.append(Channel(gpu, field, sensor, register))
    return tuple(found)


def beat_of(
    channels: Sequence[Channel], options: NvidiaOptions, *, driver: str, option: str, shortest_ms: float
) -> Timing:
    """How often they are asked. SpecError for a beat that misses some updates and reads others twice."""
    sensors = [channel.sensor for channel in channels if channel.sensor is not None]
    return timing_of(sensors, options.poll_ms, driver=driver, option=option, shortest_ms=shortest_ms)


def lead_first(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """As readings want them: the slowest register of power first, whose changes make a row."""
    return tuple(sorted(channels, key=lambda c: -(c.sensor.update_ms if c.sensor else 0.0)))


def describe(
    driver: str,
    machine: Machine,
    chosen: Sequence[Visible],
    channels: Sequence[Channel],
    timing: Timing,
    *,
    clock: str,
    simulated: bool,
) -> MeterInfo:
    """The meter that reads `channels`, stamped on `clock`."""
    gpus = list(dict.fromkeys(channel.gpu for channel in channels))
    uuids = "+".join(gpu.uuid for gpu in gpus)
    return MeterInfo(
        driver=driver,
        model=", ".join(dict.fromkeys(gpu.name for gpu in gpus)),
        serial=uuids,
        firmware=machine.driver or "unknown",
        clock=clock,
        columns=tuple(ColumnSpec(channel.register.column, channel.register.unit) for channel in channels),
        channels=tuple(_channel(channel, timing) for channel in channels),
        simulated=simulated,
        details=_details(machine, chosen, channels, timing),
    )


def _channel(channel: Channel, timing: Timing) -> ChannelSpec:
    register = channel.register
    return ChannelSpec(
        name=channel.name,
        quantity="energy_j" if register.counts else "power_w",
        columns=(register.column,),
        reading=kernel_of(channel, timing),
        accuracy=Accuracy(GAIN_REL, OFFSET_W, source=SOURCE),
        modulus_raw=NEVER if register.counts else None,
        max_power_w=register.max_w,
    )


def kernel_of(channel: Channel, timing: Timing) -> Reading:
    """The kernel of a channel's rows."""
    if channel.sensor is None:
        period_ns = max(timing.period_ns, channel.register.update_ns)
        return Reading(ReadingKind.COUNTER, period_ns, period_ns)
    return reading_of(channel.sensor, period_ns=timing.period_ns, follows=timing.follows)


def _details(
    machine: Machine, chosen: Sequence[Visible], channels: Sequence[Channel], timing: Timing
) -> Mapping[str, str]:
    details = {"poll_ms": f"{timing.poll_ns / MS:g}", "follows": "yes" if timing.follows else "no"}
    for seen in chosen:
        gpu = seen.gpu
        details[f"gpu:{gpu.label}"] = f"{gpu.name}, {gpu.kind}, {gpu.uuid}, PCI {gpu.bus_id or 'unknown'}"
        if gpu.persistent is not None:
            details[f"persistence:{gpu.label}"] = "on" if gpu.persistent else "off"
        if gpu.mig or seen.instance:
            details[f"mig:{gpu.label}"] = (
                f"divided ({len(gpu.instances)} instances); the sensor is the whole GPU's, with what all instances draw"
            )
    names = {channel.name for channel in channels}
    for channel in channels:
        details |= _of_channel(channel, names)
    unknown = [channel.name for channel in channels if channel.sensor is not None and not channel.sensor.known]
    if unknown:
        details["sensor_unknown"] = ", ".join(unknown)
    details |= {f"left_out:{what}": why for what, why in machine.left_out.items()}
    return details


def _of_channel(channel: Channel, names: set[str]) -> Mapping[str, str]:
    label, name = channel.gpu.label, channel.name
    said: dict[str, str] = {}
    if channel.sensor is None:
        update_ms = channel.register.update_ns / MS
        said[f"sensor:{name}"] = f"counter in mJ since the driver was loaded, moves every {update_ms:g} ms (assumed)"
    else:
        s = channel.sensor
        what = f"filter of {s.tau_ms:g} ms" if s.tau_ms else f"{s.window_ms:g} ms of every {s.update_ms:g} ms"
        behind = field_behind(channel.gpu.kind, channel.field)
        said[f"sensor:{name}"] = f"{behind}: {what} ({s.source})" if behind != channel.field else f"{what} ({s.source})"
    whole = _whole(channel.field, label, names)
    if whole:
        said[f"part_of:{name}"] = whole
    return said


def _whole(field: str, label: str, names: set[str]) -> str:
    """The other channel that already holds this one's power: the module's holds the GPU's, which holds its memory's,
    and one power told in several ways is told once."""
    ranks = ("module", "module-average", "energy", "instant", "average", "power", "memory", "memory-average")
    before = ranks[: ranks.index(field)]
    return next((f"{label}/{other}" for other in before if f"{label}/{other}" in names), "")
