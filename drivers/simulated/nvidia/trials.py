"""What can go wrong with NVML: each fault played on a simulated machine in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, MigSpec
from drivers.simulated.nvidia.products import Figure
from drivers.simulated.nvidia.sensor import Errors
from drivers.simulated.nvidia.virtual import NOISE_MW, OTHERS, Act, Bench, Gpu
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest
from harness.testing.faults import FaultTrial, Recorded, Scene

METER = "nvml"
SCALE = 0.5  # 12 s
LOAD = 50.0  # 100 W at rest, 250 W at work
SLOW = 4.0  # for a figure that is an average of a second
COUNTER = "gpu0/energy"
Play = Callable[[Scene], Recorded]
At = Sequence[tuple[float, Act]]


def _on(*gpus: Gpu, stall: tuple[float, float] | None = None, **how: Any) -> Play:
    return lambda scene: Bench(scene, gpus or (Gpu(),), **how).record(stall=stall)


def _counted(*gpus: Gpu, **how: Any) -> Play:
    return _on(*gpus, channel=COUNTER, **how)


def _board(spoil: Callable[[Bench, int, bytes], bytes | int] | None = None, **how: Any) -> Play:
    return lambda scene: Bench(scene, **how).on_board(spoil)


def failing(feature: str, code: int, begin: float, end: float | None = None, *, every: int = 0, gpu: int = 0) -> At:
    """A feature fails between two shares of the work, or for good."""
    fails: At = [(begin, lambda b: b.machine.gpus[gpu].fail(feature, code, every=every))]
    return fails if end is None else [*fails, (end, lambda b: b.machine.gpus[gpu].mend(feature))]


def lost(begin: float, end: float | None) -> At:
    """Off the bus; when it comes back the driver has started it anew."""
    away: list[tuple[float, Act]] = [(begin, lambda b: b.machine.gpus[0].lose())]
    if end is not None:
        away += [(end, lambda b: b.machine.gpus[0].come_back()), (end, lambda b: b.machine.gpus[0].reload())]
    return away


def frozen(begin: float, end: float | None, *names: str) -> At:
    still: At = [(begin, lambda b: b.machine.gpus[0].freeze(*names))]
    return still if end is None else [*still, (end, lambda b: b.machine.gpus[0].thaw())]


def _refusing(code: int) -> Play:
    def play(scene: Scene) -> Recorded:
        bench = Bench(scene)
        bench.machine.refuse_to_start(code)
        return bench.record()

    return play


class _Elsewhere(Bench):
    """The library lies where nobody has put one."""

    def request(self, **more: Any) -> MeterRequest:
        given = super().request(**more)
        return MeterRequest(given.name, given.options, given.rails, nvml_library=self.root / "libnvidia-ml.so.1",
                            simulated=True)  # fmt: skip


def _without_library(scene: Scene) -> Recorded:
    return _Elsewhere(scene).record()


def _zero(begin: float, end: float) -> At:
    """The register reads 0 for a while: the sensor is off, the GPU is not."""

    def show(bench: Bench) -> None:
        bench.machine.gpus[0].freeze("power")
        bench.machine.gpus[0].now.power_mw = 0

    return [(begin, show), (end, lambda b: b.machine.gpus[0].thaw())]


def _wild(value_mj: int) -> At:
    """One reading of the counter is wild."""

    def show(bench: Bench) -> None:
        bench.machine.gpus[0].freeze("energy")
        bench.machine.gpus[0].now.energy_mj += value_mj

    return [(0.5, show), (0.515, lambda b: b.machine.gpus[0].thaw())]


def _loses_passes(bench: Bench, k: int, data: bytes) -> bytes | int:
    return errno.ENOBUFS if 150 <= k < 190 else data


def _torn(bench: Bench, k: int, data: bytes) -> bytes | int:
    return data[:7] if k % 50 == 0 else data


def _noisy(**more: Any) -> Errors:
    return Errors(noise_mw=NOISE_MW, **more)


MIG = (MigSpec("3g.20gb", 3, 20 << 30), MigSpec())


def _by_instance(scene: Scene) -> Recorded:
    """The bench names a MIG instance: its GPU's sensor is what there is."""
    bench = Bench(scene, (Gpu(more={"mig": MIG}),))
    instance = bytes(bench.machine.gpus[0].now.mig[1].uuid).decode("ascii")
    bench.options["visible"] = instance
    return bench.record()


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`; where there is no compiler each says so by a typed error."""

    def trial(fault: str, what: str, play: Play, **more: Any) -> FaultTrial:
        return FaultTrial(METER, fault, what, buildable(play), **({"scale": SCALE, "load_factor": LOAD} | more))

    return (
        trial("none", "nothing goes wrong; a quarter of the time is seen", _on()),
        trial("none_counter", "nothing goes wrong; the energy counter", _counted()),
        trial("none_mean", "nothing goes wrong; windows that touch", _on(Gpu("rtx3090"), channel="gpu0/instant")),
        trial("none_second", "nothing goes wrong; an average of a second ten times a second",
              _on(Gpu("rtx3090")), scale=SLOW),
        trial("none_20ms", "nothing goes wrong; 10 ms of every 20 ms", _on(Gpu("v100"))),
        # --- the GPU
        trial("lost", "the GPU falls off the bus in the middle of the work", _on(events=lost(0.5, None))),
        trial("lost_and_back", "it falls off the bus and is back after 0.9 s", _on(events=lost(0.4, 0.55))),
        trial("counter_lost_and_back", "it falls off the bus and is back, its counter from 0",
              _counted(events=lost(0.4, 0.55))),
        trial("vanishes", "it is gone from the list, and comes back",
              _on(events=[(0.4, lambda b: b.machine.gpus[0].vanish()),
                          (0.55, lambda b: b.machine.gpus[0].come_back())])),
        trial("index_moves", "the GPU before it is gone: what was index 1 is index 0",
              _on(Gpu("t4", share=OTHERS), Gpu(), channel="gpu1/power",
                  events=[(0.5, lambda b: b.machine.gpus[0].vanish())])),
        trial("unknown_error", "every seventh reading is an unknown error",
              _on(events=failing("power", UNKNOWN, -1.0, every=7))),
        trial("not_supported_any_more", "the register is not supported from the middle of the work on",
              _on(events=failing("power", NOT_SUPPORTED, 0.5))),
        trial("permission_lost", "reading is refused for 0.6 s", _on(events=failing("power", NO_PERMISSION, 0.4, 0.5))),
        trial("no_counter", "a GPU of before Volta is asked for its energy counter", _counted(Gpu("k40"))),
        trial("no_power", "a GPU without power management", _on(Gpu("gtx745"))),
        trial("no_average", "a GA100 is asked for its average", _on(channel="gpu0/average")),
        trial("unknown_gpu", "a GPU of an architecture that nobody knows", _on(Gpu("new"))),
        trial("instance", "a divided GPU, named by one of its MIG instances", _by_instance),
        # --- the counter
        trial("reload", "the driver is loaded anew: the counter starts from 0",
              _counted(events=[(0.5, lambda b: b.machine.gpus[0].reload())])),
        trial("reload_unseen", "that happens while nobody reads, and the counter has passed its old value",
              _counted(stall=(0.005, 0.2), events=[(-0.02, lambda b: b.machine.gpus[0].reload()),
                                                    (0.17, lambda b: b.machine.gpus[0].reload())])),
        trial("counter_stands", "the counter stands still from the middle of the work on",
              _counted(events=frozen(0.5, None, "energy"))),
        trial("counter_late", "the counter shows nothing new for 0.6 s, then all of it",
              _counted(events=frozen(0.4, 0.5, "energy"))),
        trial("counter_wild", "one update of the counter is 40 MJ more", _counted(events=_wild(40_000_000_000))),
        trial("counter_slow", "it moves once a second only", _counted(Gpu(more={"energy_s": 1.0}))),
        # --- the sensor
        trial("frozen", "the power is written no more from the middle of the work on",
              _on(events=frozen(0.5, None, "power")), scale=1.0),
        trial("frozen_standby", "it shows the last standby for the first half of the work",
              _on(events=frozen(-0.02, 0.5, "power")), scale=1.0),
        trial("zero", "it reads 0 for 0.6 s", _on(events=_zero(0.4, 0.5))),
        trial("other_sensor", "it averages over a second, where it is known to sample 25 ms",
              _on(Gpu(more={"figures": {"power": Figure(0.1, 1.0)}}))),
        trial("slow_sensor", "it is written every 700 ms", _on(Gpu(more={"figures": {"power": Figure(0.7, 0.025)}}))),
        trial("wrong_pace", "it is written every 112 ms by a clock of its own",
              _on(Gpu(errors=_noisy(period_ppm=120_000)))),
        trial("gain", "it shows 7 % too much, from the first reading to the last",
              _on(Gpu(errors=_noisy(gain=1.07))), constant_scale=True),
        # --- the library
        trial("no_library", "there is no such library", _without_library),
        trial("no_driver", "the driver is not loaded", _refusing(9)),
        trial("mismatch", "the library is of another version than the driver", _refusing(18)),
        trial("container", "the devices went away from the container", _refusing(999)),
        trial("reader_stalls", "nobody reads for 1.5 s of the work", _on(stall=(0.3, 0.55))),
        # --- through a board's sampler
        trial("board_none", "sampled on a board whose clock is another", _board()),
        trial("board_counter", "the counter, sampled on a board", _board(channel=COUNTER)),
        trial("board_full", "the sampler's memory was full for 0.8 s", _board(_loses_passes)),
        trial("board_torn", "one entry in 50 is cut", _board(_torn)),
        trial("board_lost", "the GPU falls off the bus and is back", _board(events=lost(0.4, 0.55))),
        trial("board_reload", "the driver is loaded anew on the board",
              _board(channel=COUNTER, events=[(0.5, lambda b: b.machine.gpus[0].reload())])),
    )  # fmt: skip


def buildable(play: Play) -> Play:
    def checked(scene: Scene) -> Recorded:
        if lacking := missing():
            raise DeviceError("the simulated GPUs' library cannot be built here", hint=f"install {lacking}")
        return play(scene)

    return checked
