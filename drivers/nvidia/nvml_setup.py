"""What both halves of the driver `nvml` decide alike: which registers of which GPUs, how often, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.nvidia.description import Channel, beat_of, channels_of, describe, kernel_of, lead_first
from drivers.nvidia.gpus import Machine, Visible, visible, wanted_channels
from drivers.nvidia.nvml_library import FIELDS
from drivers.nvidia.options import NvidiaOptions
from drivers.nvidia.readings import Readings
from drivers.nvidia.timing import Timing
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import MeterInfo

SHORTEST_MS = 4.0  # a pass over a few registers takes some tens of microseconds of the driver each


@dataclass(frozen=True)
class Setup:
    """The registers of a meter, in the order of its rows, and the beat at which they are read."""

    machine: Machine
    chosen: tuple[Visible, ...]
    channels: tuple[Channel, ...]
    timing: Timing
    options: NvidiaOptions

    @property
    def registers(self) -> tuple[tuple[str, int, int], ...]:
        """(UUID, field id, scope) of each channel."""
        return tuple((channel.gpu.uuid, *FIELDS[channel.field]) for channel in self.channels)

    def info(self, *, clock: str, simulated: bool) -> MeterInfo:
        return describe(
            "nvml", self.machine, self.chosen, self.channels, self.timing, clock=clock, simulated=simulated
        )  # fmt: skip

    def readings(self, begin_ns: int) -> Readings:
        registers = [channel.register for channel in self.channels]
        return Readings(registers, self.timing, frozen_s=self.options.frozen_s, begin_ns=begin_ns)


def setup_of(machine: Machine, request: MeterRequest, options: NvidiaOptions) -> Setup:
    """SpecError or DeviceError if the bench asks for what this machine does not have."""
    chosen = visible(machine, options.visible, options.cuda_order)
    wanted = wanted_channels(chosen, [channel for channel, _ in request.rails], tuple(FIELDS))
    channels = lead_first(channels_of(wanted, options))
    timing = beat_of(channels, options, driver="nvml", option="poll_ms", shortest_ms=SHORTEST_MS)
    return Setup(machine, chosen, channels, timing, options)


def checks(setup: Setup) -> list[CheckItem]:
    """What can be told of the sensors without reading them."""
    found = []
    for channel in setup.channels:
        if channel.sensor is None:
            continue
        kind = kernel_of(channel, setup.timing)
        said = f"{kind.kind}: {channel.sensor.window_ms:g} ms of every {channel.sensor.update_ms:g} ms"
        mend = (
            ""
            if channel.sensor.known
            else "joulebench meters characterise finds window and period (docs/meters/nvml.md)"
        )
        found.append(
            CheckItem(f"sensor {channel.name}", channel.sensor.known, f"{said} ({channel.sensor.source})", mend)
        )
    return found + persistence(setup.chosen)


def persistence(chosen: Sequence[Visible]) -> list[CheckItem]:
    """Without persistence mode the driver unloads when nobody uses the GPU: its energy counter begins anew."""
    return [
        CheckItem(
            f"persistence {seen.gpu.label}",
            seen.gpu.persistent,
            "on" if seen.gpu.persistent else "off: the driver may unload between runs, and its counters begin anew",
            "" if seen.gpu.persistent else f"sudo nvidia-smi -pm 1 -i {seen.gpu.index}",
        )
        for seen in chosen
        if seen.gpu.persistent is not None
    ]
