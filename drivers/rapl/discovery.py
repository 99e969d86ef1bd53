"""RAPL among the meters that are found: what this machine or a board counts of itself, and why it may not be read."""

from __future__ import annotations

import dataclasses
import re

from drivers.rapl.access import NotThere
from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import open_on_board
from harness.core.errors import BenchError
from harness.core.ports import BoardFiles, FoundMeter, MeterRequest
from harness.core.trace import MeterInfo

HERE = "this machine's processor"
BOARD = "the board's processor"
_COMMAND = re.compile(r"`([^`]+)`")


def find_attached(surroundings: MeterRequest) -> list[FoundMeter]:
    """This machine's counters, whether they may be read, or nothing where it has none. It looks for a second at most
    (entry point `joulebench.discovery`)."""
    meter = open_meter(_bare(surroundings))
    try:
        return [_found(meter.open(), HERE)]
    except BenchError as error:
        return _refused(error, HERE)
    finally:
        meter.close()


def find_on_board(files: BoardFiles, surroundings: MeterRequest) -> list[FoundMeter]:
    """As above, of a board (entry point `joulebench.onboard_discovery`)."""
    meter = open_on_board(_bare(surroundings))
    try:
        info, _ = meter.prepare(files, clock="board:?")
    except BenchError as error:
        return _refused(error, BOARD)
    found = _found(info, BOARD)
    if info.details["interface"] != "powercap" and meter.is_guest():
        trouble = "a virtual machine, which shows counters that nothing counts"
        return [dataclasses.replace(found, usable=False, trouble=trouble)]
    return [found]


def _bare(surroundings: MeterRequest) -> MeterRequest:
    return dataclasses.replace(surroundings, options={}, rails=())


def _found(info: MeterInfo, where: str) -> FoundMeter:
    interface = info.details["interface"]
    channels = tuple(channel.name for channel in info.channels)
    return FoundMeter("rapl", f"{where}, through {interface}", {"interface": interface}, info.model, channels)


def _refused(error: BenchError, where: str) -> list[FoundMeter]:
    if isinstance(error, NotThere):
        return []
    command = _COMMAND.search(error.hint)
    return [FoundMeter("rapl", where, usable=False, trouble=error.message, mend=command[1] if command else "")]
