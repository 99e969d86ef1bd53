"""GPUs that draw a share of the rig's load, through both of their drivers: `nvml` and `nvidia-smi`.

A thread follows the load and shows what the GPUs' sensors make of it: library and program are those of any simulated
machine. Which GPU it is follows from the channels that the bench names.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from drivers.simulated.nvidia.build import LIBRARY, missing
from drivers.simulated.nvidia.machine import GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Energy, Errors
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root, reached_by_files
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding
from harness.core.waiting import NS_PER_S

UPDATE_S = 0.004
CELL_NS = 500_000  # between these times the load is taken as even
KEPT_S = 1.4  # longer than the longest window
GAIN_REL = 0.05
NOISE_REL = 0.002  # of the power at rest, one reading
SHARE = 0.8  # of the load: all GPUs of the machine together
BESIDE = {"module": 1.15, "memory": 0.2}  # of a GPU's power
PRODUCTS = (
    ("a100", {"power", "instant", "energy"}),
    ("rtx3090", {"power", "average", "instant", "energy"}),
    ("gh200", {"power", "average", "instant", "energy", "module", "module-average", "memory", "memory-average"}),
)


class Load:
    """The load's energy over the last KEPT_S, asked for at any time in it."""

    def __init__(self, rig: Rig) -> None:
        self.begin_ns = time.monotonic_ns()
        first_ns = self.begin_ns - round(KEPT_S * NS_PER_S)
        self._tap = rig.tap(first_ns)
        self._t_ns = [first_ns]
        self._energy_j = self._tap.energy_at(np.array([float(first_ns)]), at_load=True).tolist()
        self.follow(self.begin_ns)
        self._start_j = self._energy_j[-1]

    def follow(self, now_ns: int) -> None:
        """Look at what was drawn up to `now_ns`. Let go is what lies KEPT_S before the last look: however late this one
        comes, what was written since looks back no further."""
        old = bisect.bisect_left(self._t_ns, self._t_ns[-1] - round(KEPT_S * NS_PER_S)) - 1
        if old > len(self._t_ns) // 2:
            del self._t_ns[:old], self._energy_j[:old]
        ends = np.arange(self._t_ns[-1] + CELL_NS, now_ns + 1, CELL_NS)
        if len(ends) == 0:
            return
        self._t_ns += ends.tolist()
        self._energy_j += self._tap.energy_at(ends.astype(np.float64), at_load=True).tolist()
        self._tap.done(self._t_ns[-1])

    def energy_j(self, t_s: float) -> float:
        """J drawn since the beginning up to `t_s` seconds after it."""
        t_ns = self.begin_ns + t_s * 1e9
        k = min(max(bisect.bisect_right(self._t_ns, t_ns), 1), len(self._t_ns) - 1)
        a, b = self._t_ns[k - 1], self._t_ns[k]
        before, after = self._energy_j[k - 1], self._energy_j[k]
        return float(before + (after - before) * (t_ns - a) / (b - a) - self._start_j)

    def close(self) -> None:
        self._tap.close()


class ServedGpus:
    """The machine, and the thread that moves it."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        if lacking := missing():
            raise SpecError(f"meter {binding.name!r}: simulated GPUs need a C compiler", hint=f"install {lacking}")
        product, count = machine_for(binding)
        self._load = Load(rig)
        self.truth: dict[str, Any] = {
            "plane": "load",
            "shares": {channel: _share(channel, count) for channel, _ in binding.rails},
        }
        noise_mw = NOISE_REL * rig.world.standby.idle_w * SHARE / count * 1000
        specs = [self._gpu(rig, binding, product, k, count, noise_mw) for k in range(count)]
        self._machine = NvidiaMachine(files_root(binding, folder), specs, seed=rig.world.seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"GPUs {binding.name}", daemon=True)
        self._thread.start()

    def _gpu(self, rig: Rig, binding: MeterBinding, product: str, index: int, count: int, noise_mw: float) -> GpuSpec:
        world = rig.world.meter(f"{binding.name}/gpu{index}")
        errors = Errors(gain=1 + GAIN_REL * world.gain_over_spec, noise_mw=noise_mw)
        return GpuSpec(
            product, self._part(SHARE / count), errors,
            module_energy_j=self._part(_share(f"gpu{index}/module", count)),
            memory_energy_j=self._part(_share(f"gpu{index}/memory", count)),
        )  # fmt: skip

    def _part(self, share: float) -> Energy:
        return lambda t_s: share * self._load.energy_j(t_s)

    def _move(self) -> None:
        while not self._stop.wait(UPDATE_S):
            now_ns = time.monotonic_ns()
            self._load.follow(now_ns)
            self._machine.advance((now_ns - self._load.begin_ns) * 1e-9)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._machine.close()
        self._load.close()


def machine_for(binding: MeterBinding) -> tuple[str, int]:
    """(product, how many of them): the first that shows all that the binding names. SpecError if there is none."""
    channels = [channel.partition("/") for channel, _ in binding.rails]
    fields = {field for _, _, field in channels}
    numbers = [int(gpu[3:]) if gpu.startswith("gpu") and gpu[3:].isdigit() else -1 for gpu, _, _ in channels]
    for product, shown in PRODUCTS:
        if fields <= shown and min(numbers, default=0) >= 0 and max(numbers, default=0) < 4:
            return product, max(numbers, default=0) + 1
    raise SpecError(
        f"no simulated machine has all GPU channels of meter {binding.name!r}: "
        f"{', '.join(sorted(channel for channel, _ in binding.rails))}",
        hint="name gpu0/power, gpu0/instant, gpu0/average or gpu0/energy in its rails; at most four GPUs",
    )


def _share(channel: str, count: int) -> float:
    """Of the load's power that a channel shows."""
    field = channel.partition("/")[2].removesuffix("-average")
    return SHARE / count * BESIDE.get(field, 1.0)


def _reach_library(binding: MeterBinding, folder: Path) -> MeterRequest:
    request = reached_by_files(binding, folder)
    return dataclasses.replace(request, nvml_library=request.sysfs_root / "usr/lib" / LIBRARY)


def _reach_program(binding: MeterBinding, folder: Path) -> MeterRequest:
    return reached_by_files(binding, folder, command=str(files_root(binding, folder) / "usr/bin/nvidia-smi"))


NVML_KIND = Kind(ServedGpus, _reach_library)
SMI_KIND = Kind(ServedGpus, _reach_program)
