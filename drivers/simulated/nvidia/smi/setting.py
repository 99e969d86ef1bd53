"""What the fake nvidia-smi sets on a GPU, and what it says of it."""

from __future__ import annotations

import os
from collections.abc import Callable

from drivers.simulated.nvidia.layout import Gpu, State
from drivers.simulated.nvidia.smi.fields import COMPUTE_MODES, Seen
from drivers.simulated.nvidia.state import failing

INVALID, NOT_PERMITTED, OTHER = 2, 4, 255
SAID = {
    "persistence_mode": "persistence mode", "power_limit": "power management limit", "lock_gpu_clocks": "GPU clocks",
    "reset_gpu_clocks": "GPU clocks", "lock_memory_clocks": "memory clocks", "reset_memory_clocks": "memory clocks",
    "applications_clocks": "applications clocks", "reset_applications_clocks": "applications clocks",
    "compute_mode": "compute mode", "multi_instance_gpu": "MIG mode",
}  # fmt: skip


class _Refused(Exception):
    """Words and code."""


class _Unsupported(Exception):
    pass


def change(state: State, seen: Seen, name: str, value: str) -> tuple[int, str]:
    """Set it; (exit code, what is printed)."""
    gpu, bus = seen.live, bytes(seen.now.bus_id).decode("ascii")
    code = failing(gpu, "settings")
    if code == 0 and not state.any_user and os.geteuid() != 0:
        code = NOT_PERMITTED
    if code == NOT_PERMITTED:
        return code, f"The current user does not have permission to change {SAID[name]} for GPU {bus}."
    if code not in (0, 3):
        return code if code == 15 else OTHER, f"Unable to change {SAID[name]} for GPU {bus}: Unknown Error"
    try:
        if code == 3:
            raise _Unsupported
        return 0, SETTINGS[name](gpu, value, bus)
    except _Unsupported:
        words = f"Changing {SAID[name]} is not supported for GPU: {bus}.\nTreating as warning and moving on."
        return 0, words
    except (_Refused, ValueError) as error:
        return INVALID, str(error)


def _persistence(gpu: Gpu, value: str, bus: str) -> str:
    wanted = {"0": 0, "DISABLED": 0, "1": 1, "ENABLED": 1}.get(value.upper())
    if wanted is None:
        raise _Refused(f'Persistence mode "{value}" is not valid')
    if wanted == gpu.settings.persistence:
        return f"Persistence mode is already {'Enabled' if wanted else 'Disabled'} for GPU {bus}."
    gpu.settings.persistence = wanted
    return f"{'Enabled' if wanted else 'Disabled'} persistence mode for GPU {bus}."


def _power_limit(gpu: Gpu, value: str, bus: str) -> str:
    if gpu.limit_max_mw == 0:
        raise _Unsupported
    wanted_mw = round(float(value) * 1000)
    if not gpu.limit_min_mw <= wanted_mw <= gpu.limit_max_mw:
        raise _Refused(
            f"Provided power limit {wanted_mw / 1000:.2f} W is not a valid power limit which should be between "
            f"{gpu.limit_min_mw / 1000:.2f} W and {gpu.limit_max_mw / 1000:.2f} W for GPU {bus}"
        )
    before_w, gpu.settings.limit_mw = gpu.settings.limit_mw / 1000, wanted_mw
    return f"Power limit for GPU {bus} was set to {wanted_mw / 1000:.2f} W from {before_w:.2f} W."


def _pair(value: str) -> tuple[int, int]:
    first, _, second = value.partition(",")
    low = int(first)
    return low, int(second) if second else low


def _lock_gpu(gpu: Gpu, value: str, bus: str) -> str:
    if gpu.architecture < 5:
        raise _Unsupported
    low, high = _pair(value)
    if low > high:
        raise _Refused(f'Invalid clocks "{value}"')
    gpu.settings.lock_min, gpu.settings.lock_max = low, high
    return f'GPU clocks set to "(gpuClkMin {low}, gpuClkMax {high})" for GPU {bus}'


def _lock_memory(gpu: Gpu, value: str, bus: str) -> str:
    if gpu.architecture < 7:
        raise _Unsupported
    low, high = _pair(value)
    gpu.settings.memory_lock_min, gpu.settings.memory_lock_max = low, high
    return f'Memory clocks set to "(memClkMin {low}, memClkMax {high})" for GPU {bus}'


def _unlock_gpu(gpu: Gpu, value: str, bus: str) -> str:
    gpu.settings.lock_min = gpu.settings.lock_max = 0
    return f"All GPU clocks were reset to default for GPU {bus}"


def _unlock_memory(gpu: Gpu, value: str, bus: str) -> str:
    gpu.settings.memory_lock_min = gpu.settings.memory_lock_max = 0
    return f"All memory clocks were reset to default for GPU {bus}"


def _applications(gpu: Gpu, value: str, bus: str) -> str:
    if gpu.clock_default[1] == 0:
        raise _Unsupported
    memory, sm = _pair(value)
    if memory > gpu.clock_max[2] or sm > gpu.clock_max[1]:
        raise _Refused(f'Specified clock combination "(MEM {memory}, SM {sm})" is not supported for GPU {bus}')
    gpu.settings.app_memory, gpu.settings.app_sm = memory, sm
    return f'Applications clocks set to "(MEM {memory}, SM {sm})" for GPU {bus}'


def _default_applications(gpu: Gpu, value: str, bus: str) -> str:
    gpu.settings.app_memory = gpu.settings.app_sm = 0
    return f"All applications clocks were reset to default for GPU {bus}"


def _compute_mode(gpu: Gpu, value: str, bus: str) -> str:
    names = {name.upper(): k for k, name in enumerate(COMPUTE_MODES)} | {str(k): k for k in range(4)}
    if value.upper() not in names:
        raise _Refused(f'Compute mode "{value}" is not valid')
    gpu.settings.compute_mode = names[value.upper()]
    return f"Set compute mode to {COMPUTE_MODES[gpu.settings.compute_mode].upper()} for GPU {bus}."


def _mig(gpu: Gpu, value: str, bus: str) -> str:
    if failing(gpu, "mig"):
        raise _Unsupported
    gpu.settings.mig_mode = gpu.settings.mig_pending = int(value)
    return f"{'Enabled' if int(value) else 'Disabled'} MIG Mode for GPU {bus}"


SETTINGS: dict[str, Callable[[Gpu, str, str], str]] = {
    "persistence_mode": _persistence, "power_limit": _power_limit, "lock_gpu_clocks": _lock_gpu,
    "reset_gpu_clocks": _unlock_gpu, "lock_memory_clocks": _lock_memory, "reset_memory_clocks": _unlock_memory,
    "applications_clocks": _applications, "reset_applications_clocks": _default_applications,
    "compute_mode": _compute_mode, "multi_instance_gpu": _mig,
}  # fmt: skip
