"""GPUs among the meters that are found: by NVML and by nvidia-smi, on this machine and on a board."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from drivers.nvidia import nvml_onboard, smi_onboard
from drivers.nvidia.nvml_meter import open_meter
from drivers.nvidia.nvml_onboard import QUESTION
from drivers.nvidia.options import nvml_options, smi_options
from harness.core.errors import BenchError
from harness.core.ports import BoardFiles, FoundMeter, MeterRequest
from harness.core.trace import MeterInfo

_ABSENT = ("cannot be loaded", "needs the package", "it cannot be run", "does not know NVML")
_COMMAND = re.compile(r"`([^`]+)`")


def find_attached(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """This machine's GPUs through NVML, or nothing where there is no driver (entry point `joulebench.discovery`)."""
    meter = open_meter(_bare(surroundings))
    try:
        return _found("nvml", meter.open(), "this machine's GPUs")
    except BenchError as error:
        return _refused("nvml", error, "this machine's GPUs")
    finally:
        meter.close()


def find_nvml(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """A board's GPUs through NVML (entry point `joulebench.onboard_discovery`)."""
    library = nvml_options({}).where
    answers = files.read([QUESTION + library])  # asked once more by `prepare`; most boards have no such library
    if not answers:
        return []
    make = lambda: nvml_onboard.open_on_board(_bare(surroundings)).prepare(files, clock="board:?")[0]  # noqa: E731
    return _looked("nvml", make)


def find_smi(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """A board's GPUs through nvidia-smi."""
    if not files.read([smi_onboard.LOG + smi_options({}).where]):
        return []
    make = lambda: smi_onboard.open_on_board(_bare(surroundings)).prepare(files, clock="board:?")[0]  # noqa: E731
    return _looked("nvidia-smi", make)


def _looked(driver: str, describe: Callable[[], MeterInfo]) -> Sequence[FoundMeter]:
    try:
        return _found(driver, describe(), "the board's GPUs")
    except BenchError as error:
        return _refused(driver, error, "the board's GPUs")


def _bare(surroundings: MeterRequest) -> MeterRequest:
    return dataclasses.replace(surroundings, options={}, rails=())


def _found(driver: str, info: MeterInfo, where: str) -> list[FoundMeter]:
    channels = tuple(channel.name for channel in info.channels)
    return [FoundMeter(driver, f"{where}, driver {info.firmware}", {}, info.model, channels)]


def _refused(driver: str, error: BenchError, where: str) -> list[FoundMeter]:
    if any(words in error.message for words in _ABSENT):
        return []
    command = _COMMAND.search(error.hint)
    return [FoundMeter(driver, where, usable=False, trouble=error.message, mend=command[1] if command else "")]
