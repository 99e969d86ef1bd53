"""The machine with GPUs that all peers read at once: our libnvidia-ml.so.1 over a model of the sensors."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.peers.powercap_world import SCENE
from drivers.simulated.nvidia.machine import GpuSpec, MigSpec, NvidiaMachine
from drivers.simulated.nvidia.products import PRODUCTS, Figure
from drivers.simulated.nvidia.sensor import Errors

SCALE_W = 50.0  # 100 W in standby, 250 W at work
FEED_S = 0.004
MIDDLE_S = sum(SCENE.edges_s) / 2


@dataclass
class NvmlWorld:
    """Context manager: GPUs of `products` whose power is `shares` of the scene's. `environment()` is for the peers."""

    products: Sequence[str] = ("a100",)
    shares: Sequence[float] = (1.0,)
    total: Sequence[int] | None = None  # GPUs whose energy is asked for; None: all
    mig: bool = False
    also_instant: bool = False  # cards that show `instant` where the simulator's product does not
    events: Sequence[tuple[float, Callable[[NvmlWorld], None]]] = ()
    prepare: Sequence[Callable[[NvmlWorld], None]] = ()
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="joulebench-peers-gpu-")))

    def __enter__(self) -> NvmlWorld:
        self.root.chmod(0o755)
        self._begin_s, self._go_s = time.monotonic(), float("inf")
        mig = (MigSpec(), MigSpec()) if self.mig else ()
        specs = [
            GpuSpec(product, self._energy_of(share), Errors(noise_mw=500.0), mig=mig, figures=self._figures(product))
            for product, share in zip(self.products, self.shares, strict=True)
        ]
        self.machine = NvidiaMachine(self.root, specs)
        for act in self.prepare:
            act(self)
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._feeder.join()
        self.machine.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _figures(self, product: str) -> dict[str, Figure | None]:
        return {"instant": PRODUCTS[product].power} if self.also_instant else {}

    def environment(self) -> dict[str, str]:
        return self.machine.environment()

    def go(self) -> float:
        """The scene begins now; CLOCK_MONOTONIC in seconds."""
        self._go_s = time.monotonic()
        return self._go_s

    def energy_j(self, begin_s: float, end_s: float) -> float:
        """True energy of the GPUs asked for between two times of CLOCK_MONOTONIC."""
        chosen = range(len(self.shares)) if self.total is None else self.total
        of_one = self._energy_of(1.0)
        return (of_one(end_s - self._begin_s) - of_one(begin_s - self._begin_s)) * sum(self.shares[k] for k in chosen)

    def _energy_of(self, share: float) -> Callable[[float], float]:
        def energy_j(t_s: float) -> float:
            before_s = min(t_s, self._go_s - self._begin_s)
            scene_j = float(SCENE.energy_j(np.array(t_s - before_s)))
            return share * SCALE_W * (SCENE.idle_w * before_s + scene_j)

        return energy_j

    def _feed(self) -> None:
        waiting = sorted(self.events, key=lambda event: event[0])
        while not self._stop.wait(FEED_S):
            now_s = time.monotonic()
            self.machine.advance(now_s - self._begin_s)
            while waiting and waiting[0][0] <= now_s - self._go_s:
                waiting.pop(0)[1](self)
