"""What to tell a user whose GPU does not say what it draws, and what NVML's return codes mean to a reading."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.nvidia.readings import Missing
from harness.core.errors import BenchError, DeviceError, TransientError

SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 0, 1, 2, 3, 4, 6
DRIVER_NOT_LOADED, TIMEOUT, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED = 9, 10, 12, 13, 15, 16
LIB_RM_VERSION_MISMATCH, IN_USE, NO_DATA, DEPRECATED, NOT_READY, GPU_NOT_FOUND, ERROR_UNKNOWN = (
    18,
    19,
    21,
    26,
    27,
    28,
    999,
)

WORDS: Mapping[int, str] = {
    UNINITIALIZED: "NVML is not initialised",
    INVALID_ARGUMENT: "invalid argument",
    NOT_SUPPORTED: "not supported",
    NO_PERMISSION: "no permission",
    NOT_FOUND: "not found",
    DRIVER_NOT_LOADED: "the driver is not loaded",
    TIMEOUT: "timeout",
    LIBRARY_NOT_FOUND: "the library was not found",
    FUNCTION_NOT_FOUND: "the library is too old for this",
    GPU_IS_LOST: "the GPU is lost",
    RESET_REQUIRED: "the GPU must be reset",
    LIB_RM_VERSION_MISMATCH: "driver and library are of different versions",
    IN_USE: "in use",
    NO_DATA: "no data",
    DEPRECATED: "deprecated",
    NOT_READY: "not ready",
    GPU_NOT_FOUND: "there is no such GPU",
    ERROR_UNKNOWN: "unknown error",
}
NEVER = (INVALID_ARGUMENT, NOT_SUPPORTED, FUNCTION_NOT_FOUND, DEPRECATED)
"""What a GPU answers for a field that it does not have."""
GONE = (
    UNINITIALIZED, DRIVER_NOT_LOADED, GPU_IS_LOST, RESET_REQUIRED, LIB_RM_VERSION_MISMATCH, GPU_NOT_FOUND, NOT_FOUND,
    ERROR_UNKNOWN,
)  # fmt: skip
"""After these a counter may have begun anew."""

INSTALL = "pip install 'joulebench[nvidia]'"
_LOOK = "look at `nvidia-smi` and `sudo dmesg | grep -i -e nvrm -e xid`"


def words(code: int) -> str:
    """NVML's return code in words."""
    return WORDS.get(code, f"error {code}")


def missing(code: int) -> Missing:
    """A register that answered with this return code."""
    return Missing(f"{words(code)} (NVML {code})", gone=code in GONE)


def no_binding() -> DeviceError:
    """The Python package is not installed."""
    return DeviceError("the driver nvml needs the package nvidia-ml-py, which is not installed", hint=f"`{INSTALL}`")


def failed(code: int, what: str, library: str) -> BenchError:
    """NVML refused `what` (such as "start"); the error that says what to do."""
    said = f"NVML ({library}): {what}: {words(code)} (NVML {code})"
    if code == LIBRARY_NOT_FOUND:
        return DeviceError(
            f"{library} cannot be loaded: this machine has no NVIDIA driver, or hides it",
            hint="install the driver (`nvidia-smi` must work); in a container run with `--gpus all` and the NVIDIA "
            "container toolkit; elsewhere set option library to its path",
        )
    if code == DRIVER_NOT_LOADED:
        return DeviceError(said, hint=f"`sudo modprobe nvidia`, then {_LOOK}; in a container pass the devices in")
    if code == LIB_RM_VERSION_MISMATCH:
        return DeviceError(
            said,
            hint="the driver was updated and the old one is still loaded: reboot, or `sudo rmmod nvidia`",
        )
    if code == NO_PERMISSION:
        return DeviceError(
            said, hint="`ls -l /dev/nvidia*` says who may; add yourself to its group (often `video`), or run as root"
        )
    if code in (GPU_IS_LOST, RESET_REQUIRED):
        return DeviceError(said, hint=f"`sudo nvidia-smi --gpu-reset -i N`, or reboot; {_LOOK}")
    if code in (TIMEOUT, IN_USE, NOT_READY, NO_DATA):
        return TransientError(said, hint="try again; if it stays, " + _LOOK)
    return DeviceError(said, hint=_LOOK)


def no_gpu(driver: str) -> DeviceError:
    """The driver works and has no GPU."""
    return DeviceError(f"{driver} finds no GPU on this machine", hint="`lspci | grep -i nvidia`, then " + _LOOK)


def no_command(command: str, said: str) -> DeviceError:
    """nvidia-smi could not be run, or printed no log."""
    lower = said.lower()
    if "driver/library version mismatch" in lower:
        return DeviceError(
            f"{command}: {said}", hint="the driver was updated and the old one is still loaded: reboot the board"
        )
    if "couldn't communicate" in lower or "failed to initialize nvml" in lower:
        return DeviceError(
            f"{command}: {said}",
            hint="`sudo modprobe nvidia`; in a container the devices went away when systemd reloaded: start it anew",
        )
    if "no devices were found" in lower:
        return no_gpu(command)
    return DeviceError(
        f"{command} gives no log on the board: {said or 'it cannot be run'}",
        hint="install the NVIDIA driver, or set option command to its path on the board (`command -v nvidia-smi`)",
    )
