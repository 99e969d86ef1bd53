"""The simulated machine: its files below a folder, its GPUs, and what befalls them.

    machine = NvidiaMachine(root, [GpuSpec("a100", energy_j)])
    machine.advance(t_s)                    # what the GPUs show from now on; as often as you like

`machine.library` goes to a driver as `MeterRequest.nvml_library`, or its folder into LD_LIBRARY_PATH; `machine.program`
is its nvidia-smi. Other processes may use both while somebody advances the machine (`Feeder` does it in real time).
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drivers.simulated.nvidia.build import LIBRARY, library
from drivers.simulated.nvidia.layout import FEATURE, FEATURES, MAX_MIG, RING, Gpu, State
from drivers.simulated.nvidia.products import PRODUCTS, Figure, Product
from drivers.simulated.nvidia.sensor import Counter, Energy, Errors, Shown
from drivers.simulated.nvidia.state import NAME, SharedState

NOT_SUPPORTED, NO_PERMISSION, GPU_IS_LOST, UNKNOWN = 3, 4, 15, 999
PROGRAM = """#!{python} -SE
import sys
sys.path.insert(0, {source!r})
from drivers.simulated.nvidia.smi.program import main
main({state!r}, sys.argv[1:])
"""
DRIVER = "550.54.14"
HERE = Path(__file__).resolve().parents[3]
FEED_S = 0.004


@dataclass(frozen=True)
class MigSpec:
    """A MIG device: `profile` as nvidia-smi calls it, its share of seven slices, its memory."""

    profile: str = "1g.5gb"
    slices: int = 1
    memory_bytes: int = 4864 << 20


@dataclass(frozen=True)
class GpuSpec:
    """`product`: a key of PRODUCTS; `energy_j`: the board's true energy over time; `bus`: of PCI; `figures`: sensors
    other than the product's, by name; `counter_mj`: what the energy counter shows at first; `module_energy_j`,
    `memory_energy_j`: of the module around it and of its memory, where the product shows them."""

    product: str = "a100"
    energy_j: Energy = field(default=lambda t_s: 0.0)
    errors: Errors = field(default_factory=Errors)
    bus: int | None = None
    uuid: str = ""
    mig: Sequence[MigSpec] = ()
    counter_mj: int = 86_400_123
    figures: dict[str, Figure | None] = field(default_factory=dict)
    energy_s: float | None = None
    module_energy_j: Energy | None = None
    memory_energy_j: Energy | None = None


class SimulatedGpu:
    """One GPU of a machine: its sensors, and its place in the shared state."""

    def __init__(self, shared: SharedState, index: int, spec: GpuSpec, *, seed: int, epoch_us: int) -> None:
        self._shared, self.index, self.spec, self._epoch_us = shared, index, spec, epoch_us
        self.product: Product = PRODUCTS[spec.product]
        self._rng = random.Random(f"{seed} {index}")
        self.phase = self._rng.random() if spec.errors.phase is None else spec.errors.phase
        self.figures = self._figures()
        period_s = spec.energy_s if spec.energy_s is not None else self.product.energy_s
        self._counter = (
            None if period_s is None
            else Counter(period_s, spec.energy_j, spec.errors, self.phase, begin_mj=spec.counter_mj)
        )  # fmt: skip
        self.frozen: set[str] = set()
        self._t_s = 0.0

    @property
    def now(self) -> Gpu:
        """Its part of the state, in place."""
        here: Gpu = self._shared.now.gpus[self.index]
        return here

    @property
    def uuid(self) -> str:
        return bytes(self.now.uuid).decode("ascii")

    def _figures(self) -> dict[str, Shown]:
        product, spec = self.product, self.spec
        gpu_j = spec.energy_j
        module_j = spec.module_energy_j or (lambda t_s: 1.2 * gpu_j(t_s))
        memory_j = spec.memory_energy_j or (lambda t_s: 0.2 * gpu_j(t_s))
        table: dict[str, tuple[Figure | None, Energy]] = {
            "power": (product.power, gpu_j), "average": (product.average, gpu_j), "instant": (product.instant, gpu_j),
            "module_average": (product.module, module_j), "module_instant": (product.module, module_j),
            "memory_average": (product.memory, memory_j), "memory_instant": (product.memory, memory_j),
        }  # fmt: skip
        shown = {}
        for name, (figure, energy_j) in table.items():
            chosen = spec.figures.get(name, figure)
            if chosen is not None:
                shown[name] = Shown(chosen, energy_j, spec.errors, self._rng, self.phase)
        return shown

    def advance(self, t_s: float) -> None:
        """Show what the sensors show at `t_s`. Called within `writing`."""
        self._t_s = t_s
        now = self.now
        for name, shown in self.figures.items():
            renewals = shown.renewals(t_s)
            if not renewals or name in self.frozen:
                continue
            setattr(now, f"{name}_mw", renewals[-1][1])
            if name == "power":
                now.stamp_us = self._epoch_us + round(renewals[-1][0] * 1e6)
                for at_s, power_mw in renewals:
                    sample = now.samples[now.sample_count % RING]
                    sample.t_us, sample.power_mw = self._epoch_us + round(at_s * 1e6), power_mw
                    now.sample_count += 1
        if self._counter is not None and "energy" not in self.frozen:
            now.energy_mj = self._counter.shown_mj(t_s)

    # --- what befalls it --------------------------------------------------------------------------------

    def fail(self, feature: str, code: int = NOT_SUPPORTED, *, every: int = 0) -> None:
        """`feature` (of layout.FEATURES) gives `code`, each time or each `every`th."""
        with self._shared.writing():
            self.now.ret[FEATURE[feature]], self.now.every[FEATURE[feature]] = code, every

    def mend(self, feature: str) -> None:
        self.fail(feature, 0)

    def lose(self) -> None:
        """It falls off the bus: everything that is asked of it fails."""
        self.fail("all", GPU_IS_LOST)

    def vanish(self) -> None:
        """It is gone from the list as well."""
        with self._shared.writing():
            self.now.listed = 0

    def come_back(self) -> None:
        with self._shared.writing():
            self.now.listed = 1
            self.now.ret[FEATURE["all"]] = 0

    def freeze(self, *names: str) -> None:
        """Figures (or `energy`) that are renewed no more; without names all of them."""
        self.frozen |= set(names or (*self.figures, "energy"))

    def thaw(self) -> None:
        self.frozen.clear()

    def reload(self) -> None:
        """The driver is loaded anew: the counter starts from 0, what a user had set is gone."""
        with self._shared.writing():
            if self._counter is not None:
                self._counter.reload(self._t_s)
            self.now.energy_mj = 0
            _default_settings(self.now, self.product)


class NvidiaMachine:
    """A machine with GPUs below `root`, in the order of their PCI addresses. At time 0 until it is advanced."""

    def __init__(
        self,
        root: Path,
        gpus: Sequence[GpuSpec],
        *,
        seed: int = 1,
        driver_version: str = DRIVER,
        epoch_s: float | None = None,
    ) -> None:
        self.root = root.resolve()
        self.library = self.root / "usr/lib" / LIBRARY
        self.program = self.root / "usr/bin/nvidia-smi"
        epoch_us = round((time.time() if epoch_s is None else epoch_s) * 1e6)
        self._epoch_us = epoch_us
        self.shared = SharedState.create(self.library.parent / NAME)
        self.shared.now.init_ret = 0
        shutil.copyfile(library(), self.library)  # one of its own: a library is known by its file
        self.program.parent.mkdir(parents=True, exist_ok=True)
        text = PROGRAM.format(python=sys.executable, source=str(HERE), state=str(self.shared.path))
        self.program.write_text(text, "utf-8")
        self.program.chmod(0o755)
        self._rng = random.Random(seed)
        ordered = sorted(enumerate(gpus), key=lambda item: item[0] + 1 if item[1].bus is None else item[1].bus)
        with self.shared.writing() as state:
            state.any_user, state.cuda_version = 1, 12040
            state.driver_version = driver_version.encode("ascii")
            state.nvml_version = f"12.{driver_version}".encode("ascii")
            state.gpu_count, state.now_us = len(ordered), epoch_us
            for index, (given, spec) in enumerate(ordered):
                bus = given + 1 if spec.bus is None else spec.bus
                _describe(state.gpus[index], spec, bus=bus, minor=index, rng=self._rng)
        self.gpus = [
            SimulatedGpu(self.shared, index, spec, seed=seed, epoch_us=epoch_us)
            for index, (_, spec) in enumerate(ordered)
        ]
        self.advance(0.0)

    @property
    def state(self) -> State:
        return self.shared.now

    def environment(self) -> dict[str, str]:
        """Variables by which any program finds this machine's library and nvidia-smi; PATH goes before the usual."""
        return {"LD_LIBRARY_PATH": str(self.library.parent), "PATH": str(self.program.parent)}

    def advance(self, t_s: float) -> None:
        """Show what all GPUs show at `t_s` seconds after the machine was made."""
        with self.shared.writing() as state:
            state.now_us = self._epoch_us + round(t_s * 1e6)
            for gpu in self.gpus:
                gpu.advance(t_s)

    def refuse_to_start(self, code: int) -> None:
        """What starting the library gives: 9 no driver, 18 another version than the kernel's, 999 in a container."""
        with self.shared.writing() as state:
            state.init_ret = code

    def close(self) -> None:
        """Its files stay."""
        self.gpus.clear()
        self.shared.close()


def simulator(root: Path, *products: str, energy_j: Energy = lambda t_s: 100.0 * t_s, seed: int = 1) -> NvidiaMachine:
    """A machine below `root` with these GPUs (keys of PRODUCTS; one A100 if none is named), each drawing `energy_j`."""
    return NvidiaMachine(root, [GpuSpec(product, energy_j) for product in products or ("a100",)], seed=seed)


class Feeder:
    """Advances a machine in real time, from a thread, until closed. Time 0 is when it is made."""

    def __init__(self, machine: NvidiaMachine, *, every_s: float = FEED_S) -> None:
        self._machine, self._every_s = machine, every_s
        self._begin_ns = time.monotonic_ns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated GPUs", daemon=True)
        self._thread.start()

    @property
    def t_s(self) -> float:
        return (time.monotonic_ns() - self._begin_ns) * 1e-9

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._machine.advance(self.t_s)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


def _describe(gpu: Gpu, spec: GpuSpec, *, bus: int, minor: int, rng: random.Random) -> None:
    product = PRODUCTS[spec.product]
    identity = uuid.UUID(int=rng.getrandbits(128), version=4)
    gpu.name, gpu.uuid = product.name.encode("ascii"), (spec.uuid or f"GPU-{identity}").encode("ascii")
    gpu.product, gpu.vbios = product.board.encode("ascii"), b"92.00.36.00.02"
    gpu.serial = b"" if product.board == "GeForce" else str(1320221000000 + rng.randrange(10**6)).encode("ascii")
    gpu.bus_id = f"00000000:{bus:02X}:00.0".encode("ascii")
    gpu.bus, gpu.minor, gpu.listed = bus, minor, 1
    gpu.pci_device_id, gpu.pci_subsystem_id = product.pci_device_id, 0x134F10DE
    gpu.architecture, gpu.brand, gpu.cores = product.architecture, product.brand, product.cores
    gpu.cc_major, gpu.cc_minor = product.compute
    if product.limits_w is not None:
        default_w, least_w, most_w = product.limits_w
        gpu.limit_default_mw = round(default_w * 1000)
        gpu.limit_min_mw, gpu.limit_max_mw = round(least_w * 1000), round(most_w * 1000)
    for k, mhz in enumerate(product.clocks):
        gpu.clock_max[k] = mhz
        gpu.clock_default[k] = mhz if product.app_clocks else 0
        gpu.clock[k] = round(mhz * 0.9)
    gpu.temperature_c, gpu.memory_temperature_c, gpu.fan, gpu.pstate = 41, 46, 30, 0
    gpu.utilization_gpu, gpu.utilization_memory = 87, 34
    gpu.memory_total, gpu.memory_reserved = product.memory_bytes, 512 << 20
    gpu.memory_used = 2 << 30
    missing = [name for name in ("power", "average", "instant") if _figure(spec, product, name) is None]
    missing += [f"module_{kind}" for kind in ("average", "instant") if _figure(spec, product, "module") is None]
    missing += [f"memory_{kind}" for kind in ("average", "instant") if _figure(spec, product, "memory") is None]
    missing += ["samples"] if product.power is None else []
    missing += ["energy"] if product.energy_s is None and spec.energy_s is None else []
    missing += ["limits"] if product.limits_w is None else []
    missing += ["mig"] if not product.mig else []
    missing += ["fan"] if not product.fan else []
    assert set(missing) <= set(FEATURES)
    for name in (*missing, "mig_power"):
        gpu.ret[FEATURE[name]] = NOT_SUPPORTED
    _default_settings(gpu, product)
    for k, mig in enumerate(spec.mig):
        assert k < MAX_MIG and product.mig, "no room for so many MIG devices"
        there = gpu.mig[k]
        there.present, there.gi, there.ci, there.slices = 1, k + 7, 0, mig.slices
        there.multiprocessors, there.memory_bytes = 14 * mig.slices, mig.memory_bytes
        there.uuid = f"MIG-{uuid.UUID(int=rng.getrandbits(128), version=4)}".encode("ascii")
        there.profile = mig.profile.encode("ascii")
    if spec.mig:
        gpu.settings.mig_mode = gpu.settings.mig_pending = 1


def _figure(spec: GpuSpec, product: Product, name: str) -> Figure | None:
    given: Figure | None = getattr(product, name)
    return spec.figures.get(name, given)


def _default_settings(gpu: Gpu, product: Product) -> None:
    mig = gpu.settings.mig_mode
    gpu.settings = type(gpu.settings)()
    gpu.settings.limit_mw = gpu.limit_default_mw
    gpu.settings.ecc = 1 if product.ecc else 2
    gpu.settings.mig_mode = gpu.settings.mig_pending = mig
