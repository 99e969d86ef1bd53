"""A streamer put together: chip, line and microcontroller, and the port at which a driver meets it."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.simulated.ina219.chip import ChipUnit, Ina219Chip, PowerSource
from drivers.simulated.ina219.line import LineFaults, SerialLine
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.ina219.streamer import McuUnit, Mishap, Streamer
from harness.core.waiting import WaitClock
from harness.io.serial_port import OpenPort, SerialPort


def simulator(
    source: PowerSource, *, begin_ns: int, baud: int = 115200, chip: ChipUnit | None = None, mcu: McuUnit | None = None,
    line: LineFaults | None = None, mishaps: Sequence[Mishap] = (), seed: int = 0, room_bytes: int = 256,
) -> Streamer:  # fmt: skip
    """A streamer that meters `source` from `begin_ns` on."""
    wire = SerialLine(baud, line or LineFaults(), seed=seed, room_bytes=room_bytes)
    part = Ina219Chip(source, chip or ChipUnit(), begin_ns=begin_ns, seed=seed)
    return Streamer(part, wire, begin_ns=begin_ns, unit=mcu, mishaps=mishaps, seed=seed)


def opener(device: Streamer, clock: WaitClock, *, dtr_reset: bool = False, gone_at_ns: int | None = None) -> OpenPort:
    """For `MeterRequest.serial_port`; `dtr_reset`: opening resets the board, as on most Arduinos."""

    def open_port(path: str, baud: int) -> SerialPort:
        if dtr_reset:
            device.advance(clock.now_ns())
            device.reset(clock.now_ns())
        return InProcessPort(device, clock, path=path, gone_at_ns=gone_at_ns)

    return open_port
