"""The fake libnvidia-ml.so.1 as the unmodified binding of NVIDIA (nvidia-ml-py) sees it."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import GpuSpec, MigSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors

pytestmark = pytest.mark.skipif(missing() != "", reason=f"needs {missing()}")
pynvml: Any = pytest.importorskip("pynvml", reason="needs nvidia-ml-py")


def square_j(t_s: float) -> float:
    """100 W for half a second, 300 W for half a second."""
    whole, rest = divmod(t_s, 1.0)
    return 200 * whole + 100 * rest + 200 * max(0.0, rest - 0.5)


STILL = Errors(phase=0.0)


class Nvml:
    """pynvml on one machine's library; its functions by their names without `nvml`."""

    def __init__(self, machine: NvidiaMachine) -> None:
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml.nvmlLib = ctypes.CDLL(str(machine.library))

    def __getattr__(self, name: str) -> Any:
        return getattr(pynvml, f"nvml{name}")

    def code(self, name: str, *args: Any) -> int:
        try:
            getattr(self, name)(*args)
        except pynvml.NVMLError as error:
            return int(error.value)
        return 0


@pytest.fixture(autouse=True)
def _leave_pynvml_alone() -> Iterator[None]:
    yield
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = None


def _machine(tmp_path: Path, *products: str, **how: Any) -> tuple[NvidiaMachine, Nvml]:
    specs = [GpuSpec(product, square_j, STILL, **how) for product in products or ("a100",)]
    machine = NvidiaMachine(tmp_path, specs, epoch_s=1_000_000.0)
    nvml = Nvml(machine)
    return machine, nvml


def test_what_there_is(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, "rtx3090", "a100")
    assert nvml.code("DeviceGetCount") == 1  # not started
    nvml.Init()
    assert nvml.SystemGetDriverVersion() == "550.54.14"
    assert nvml.DeviceGetCount() == 2
    first = nvml.DeviceGetHandleByIndex(0)
    assert nvml.DeviceGetName(first) == "NVIDIA GeForce RTX 3090"
    assert nvml.DeviceGetUUID(first) == machine.gpus[0].uuid
    assert nvml.DeviceGetArchitecture(first) == pynvml.NVML_DEVICE_ARCH_AMPERE
    assert nvml.DeviceGetCudaComputeCapability(first) == (8, 6)
    second = nvml.DeviceGetHandleByUUID(machine.gpus[1].uuid)
    assert nvml.DeviceGetIndex(second) == 1
    assert nvml.DeviceGetPciInfo(second).busId == "00000000:02:00.0"
    assert nvml.DeviceGetIndex(nvml.DeviceGetHandleByPciBusId("0000:02:00.0")) == 1
    assert nvml.code("DeviceGetHandleByIndex", 2) == 2
    assert nvml.code("DeviceGetHandleByUUID", "GPU-of-another") == 6
    assert nvml.DeviceGetMemoryInfo(first).total == 24 << 30
    assert nvml.DeviceGetMemoryInfo(first, pynvml.nvmlMemory_v2).reserved == 512 << 20
    assert nvml.DeviceGetTemperature(first, 0) == nvml.DeviceGetTemperatureV(first, 0) == 41
    assert nvml.DeviceGetComputeRunningProcesses(first) == []
    nvml.Shutdown()
    assert nvml.code("Shutdown") == 1


def test_order_of_the_bus(tmp_path: Path) -> None:
    specs = [GpuSpec("t4", square_j, bus=0x81), GpuSpec("a100", square_j, bus=0x07)]
    nvml = Nvml(NvidiaMachine(tmp_path, specs))
    nvml.Init()
    assert [nvml.DeviceGetName(nvml.DeviceGetHandleByIndex(k))[-8:] for k in (0, 1)] == ["XM4-40GB", "Tesla T4"]


def test_a_quarter_of_the_time_is_seen(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path)
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    machine.advance(0.499)  # the last window ended at 0.4
    assert nvml.DeviceGetPowerUsage(gpu) == 100_000
    machine.advance(0.599)  # ended at 0.5, when the step came
    assert nvml.DeviceGetPowerUsage(gpu) == 100_000
    machine.advance(0.6)
    assert nvml.DeviceGetPowerUsage(gpu) == 300_000
    machine.advance(1.0)  # nearly: floating point
    values = nvml.DeviceGetFieldValues(gpu, [185, 186, 83, (186, 1)])
    assert [v.nvmlReturn for v in values] == [3, 0, 0, 3]
    assert values[1].value.uiVal == 300_000
    assert values[1].timestamp == pytest.approx(1_000_001_000_000, abs=1)


def test_a_second_is_averaged(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, "rtx3090")
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    machine.advance(5.0)
    assert nvml.DeviceGetPowerUsage(gpu) == 200_000
    average, instant = nvml.DeviceGetFieldValues(gpu, [185, 186])
    assert (average.value.uiVal, instant.value.uiVal) == (200_000, 300_000)


def test_counter_moves_by_steps_and_starts_anew(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, counter_mj=5_000)
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    seen = []
    for t_s in (0.0, 0.05, 0.099, 0.1, 0.15, 0.2):
        machine.advance(t_s)
        seen.append(nvml.DeviceGetTotalEnergyConsumption(gpu))
    assert seen == [5_000, 5_000, 5_000, 15_000, 15_000, 25_000]
    machine.gpus[0].reload()
    assert nvml.DeviceGetTotalEnergyConsumption(gpu) == 0
    machine.advance(0.5)
    assert nvml.DeviceGetTotalEnergyConsumption(gpu) == 30_000


def test_samples_recover_what_was_missed(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, "v100")
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    machine.advance(1.0)
    kind, samples = nvml.DeviceGetSamples(gpu, pynvml.NVML_TOTAL_POWER_SAMPLES, 0)
    assert kind == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    assert len(samples) == 51
    times = [s.timeStamp for s in samples]
    assert {b - a for a, b in itertools.pairwise(times)} <= {19_999, 20_000, 20_001}
    _, later = nvml.DeviceGetSamples(gpu, pynvml.NVML_TOTAL_POWER_SAMPLES, times[-3])
    assert [s.timeStamp for s in later] == times[-2:]
    machine.advance(60.0)
    assert len(nvml.DeviceGetSamples(gpu, pynvml.NVML_TOTAL_POWER_SAMPLES, 0)[1]) == 120


def test_what_a_product_lacks(tmp_path: Path) -> None:
    _, nvml = _machine(tmp_path, "k40", "gtx745", "gh200")
    nvml.Init()
    kepler, weak, grace = (nvml.DeviceGetHandleByIndex(k) for k in range(3))
    assert nvml.code("DeviceGetTotalEnergyConsumption", kepler) == 3
    assert nvml.code("DeviceGetPowerUsage", kepler) == 0
    assert nvml.code("DeviceGetPowerUsage", weak) == nvml.code("DeviceGetPowerManagementLimit", weak) == 3
    values = nvml.DeviceGetFieldValues(grace, [(185, 0), (185, 1), (185, 2)])
    assert [v.nvmlReturn for v in values] == [0, 0, 0]
    assert values[1].value.uiVal > values[0].value.uiVal > values[2].value.uiVal > 0


def test_mig(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, mig=[MigSpec("3g.20gb", 3, 20 << 30), MigSpec("1g.5gb")])
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    assert nvml.DeviceGetMigMode(gpu) == [1, 1]
    part = nvml.DeviceGetMigDeviceHandleByIndex(gpu, 0)
    uuid = nvml.DeviceGetUUID(part)
    assert uuid.startswith("MIG-")
    assert nvml.DeviceGetUUID(nvml.DeviceGetHandleByUUID(uuid)) == uuid
    assert nvml.DeviceIsMigDeviceHandle(part).value == 1
    assert nvml.DeviceGetIndex(nvml.DeviceGetDeviceHandleFromMigDeviceHandle(part)) == 0
    assert nvml.code("DeviceGetPowerUsage", part) == 3
    assert nvml.code("DeviceGetUtilizationRates", gpu) == 3
    assert nvml.code("DeviceGetMigDeviceHandleByIndex", gpu, 2) == 6
    machine.gpus[0].fail("mig_power", 0)
    machine.advance(3.0)
    assert nvml.DeviceGetPowerUsage(part) == nvml.DeviceGetPowerUsage(gpu)


def test_faults(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path, "a100", "t4")
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    machine.gpus[0].fail("power", 4)
    assert [nvml.code("DeviceGetPowerUsage", gpu), nvml.code("DeviceGetTotalEnergyConsumption", gpu)] == [4, 0]
    machine.gpus[0].fail("power", 999, every=3)
    assert sorted(nvml.code("DeviceGetPowerUsage", gpu) for _ in range(6)) == [0, 0, 0, 0, 999, 999]
    machine.gpus[0].lose()
    assert nvml.code("DeviceGetPowerUsage", gpu) == nvml.code("DeviceGetHandleByIndex", 0) == 15
    assert nvml.DeviceGetCount() == 2
    machine.gpus[0].vanish()
    assert nvml.DeviceGetCount() == 1
    assert nvml.DeviceGetName(nvml.DeviceGetHandleByIndex(0)) == "Tesla T4"
    machine.gpus[0].come_back()
    machine.gpus[0].mend("power")
    machine.gpus[0].freeze("power")
    before = nvml.DeviceGetPowerUsage(gpu)
    machine.advance(0.3)
    assert nvml.DeviceGetPowerUsage(gpu) == before
    assert nvml.DeviceGetFieldValues(gpu, [186])[0].value.uiVal != before


@pytest.mark.parametrize("code", [9, 18, 999])
def test_it_does_not_start(tmp_path: Path, code: int) -> None:
    machine, nvml = _machine(tmp_path)
    machine.refuse_to_start(code)
    assert nvml.code("Init") == code


def test_settings(tmp_path: Path) -> None:
    machine, nvml = _machine(tmp_path)
    nvml.Init()
    gpu = nvml.DeviceGetHandleByIndex(0)
    assert nvml.DeviceGetPowerManagementLimitConstraints(gpu) == [100_000, 400_000]
    nvml.DeviceSetPowerManagementLimit(gpu, 250_000)
    assert nvml.DeviceGetEnforcedPowerLimit(gpu) == 250_000
    assert nvml.code("DeviceSetPowerManagementLimit", gpu, 50_000) == 2
    nvml.DeviceSetGpuLockedClocks(gpu, 600, 705)
    assert nvml.DeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM) == 705
    nvml.DeviceResetGpuLockedClocks(gpu)
    assert nvml.DeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM) == 1269
    nvml.DeviceSetPersistenceMode(gpu, 1)
    assert nvml.DeviceGetPersistenceMode(gpu) == 1
    machine.gpus[0].fail("settings", 4)
    assert nvml.code("DeviceSetPersistenceMode", gpu, 0) == 4
    machine.gpus[0].reload()
    assert (nvml.DeviceGetPersistenceMode(gpu), nvml.DeviceGetEnforcedPowerLimit(gpu)) == (0, 400_000)


def test_found_by_the_loader_in_another_process(tmp_path: Path) -> None:
    machine, _ = _machine(tmp_path)
    words = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))"
    done = subprocess.run(
        [sys.executable, "-c", words], env={"LD_LIBRARY_PATH": machine.environment()["LD_LIBRARY_PATH"]},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "NVIDIA A100-SXM4-40GB", done.stderr


def test_two_machines_in_one_process(tmp_path: Path) -> None:
    _, first = _machine(tmp_path / "one", "a100")
    first.Init()
    a100 = first.DeviceGetHandleByIndex(0)
    _, second = _machine(tmp_path / "two", "t4")
    second.Init()
    assert second.DeviceGetName(second.DeviceGetHandleByIndex(0)) == "Tesla T4"
    assert a100


def test_it_never_stands_in_for_the_real_library(tmp_path: Path) -> None:
    """A library with a soname that was loaded by its path would be what a later load by the usual name gives."""
    machine, _ = _machine(tmp_path)
    words = (
        f"import ctypes; ctypes.CDLL({str(machine.library)!r})\n"
        "try: print(hasattr(ctypes.CDLL('libnvidia-ml.so.1'), 'nvmlInit_v2') and 'one is installed')\n"
        "except OSError: print('none is found')"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, env={})
    expected = "one is installed" if ctypes.util.find_library("nvidia-ml") else "none is found"
    assert done.stdout.strip() == expected, done.stderr
