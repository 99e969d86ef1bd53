"""What can go wrong with a Power Profiler Kit II: faults played on the wire in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from drivers.ppk2.meter import CHANNEL, open_meter
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.ppk2.device import Lost, Ppk2Device, Ppk2Faults, Ppk2Unit, seconds
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, STEP_NS, FaultTrial, Recorded, Scene, record_scene

METER = "ppk2"
SCALE = 0.25
LEAD_NS = 2_000_000_000
Options = dict[str, str | int | float]


@dataclass
class Play:
    """A kit that supplies the scene's board. Faults are made for the scene; `change`: how the current differs."""

    faults: Callable[[Scene], Ppk2Faults] = lambda scene: Ppk2Faults()
    unit: Ppk2Unit = field(default_factory=lambda: Ppk2Unit(clock_rel=40e-6))
    options: Options = field(default_factory=dict)
    change: Callable[[FloatArray, FloatArray], FloatArray] = lambda t_s, amps: amps
    gone_share: float | None = None
    left_sampling: bool = False

    def __call__(self, scene: Scene) -> Recorded:
        clock = VirtualClock(BEGIN_NS - LEAD_NS)

        def current_a(t_ns: FloatArray) -> FloatArray:
            t_s = (t_ns - BEGIN_NS) * 1e-9
            return self.change(t_s, scene.power_w(t_s) / scene.supply_v)

        device = Ppk2Device(current_a, begin_ns=clock.now_ns(), unit=self.unit, faults=self.faults(scene), seed=5)
        gone_ns = None if self.gone_share is None else BEGIN_NS + round(self.gone_share * scene.duration_s * 1e9)
        request = MeterRequest(
            "trial", self.options, simulated=True,
            serial_port=lambda path, baud: InProcessPort(device, clock, path=path, gone_at_ns=gone_ns),
        )  # fmt: skip
        if self.left_sampling:
            device.receive(bytes([6]), clock.now_ns())
            clock.sleep_until(clock.now_ns() + STEP_NS)
        return record_scene(open_meter(request, clock=clock), clock, scene, CHANNEL)


def _lost(*stretches: tuple[float, int]) -> Callable[[Scene], Ppk2Faults]:
    """Words lost at shares of the scene: (share, how many)."""
    return lambda scene: Ppk2Faults(
        drop=Lost([(seconds(share * scene.duration_s) + 7, count) for share, count in stretches])
    )


def _at(share: float, change: Callable[[bytes], bytes]) -> Callable[[Scene], Ppk2Faults]:
    """The first bytes after a share of the scene are changed, once."""

    def faults(scene: Scene) -> Ppk2Faults:
        done: list[int] = []

        def spoil(data: bytes, now_ns: int) -> bytes:
            if done or now_ns < BEGIN_NS + share * scene.duration_s * 1e9 or len(data) < 640:
                return data
            done.append(now_ns)
            return change(data)

        return Ppk2Faults(spoil=spoil)

    return faults


def _silent(scene: Scene) -> Ppk2Faults:
    """The last two bytes before the silence are missing."""
    from_ns = BEGIN_NS + round(0.5 * scene.duration_s * 1e9)
    return Ppk2Faults(silent_from_ns=from_ns, spoil=lambda data, now_ns: data[:-2] if now_ns >= from_ns else data)


def _saying(change: Callable[[bytes], bytes]) -> Callable[[Scene], Ppk2Faults]:
    return lambda scene: Ppk2Faults(answer=change)


def _once(change: Callable[[bytes], bytes]) -> Callable[[Scene], Ppk2Faults]:
    """Only the first answer is changed."""

    def faults(scene: Scene) -> Ppk2Faults:
        first = [True]

        def answer(said: bytes) -> bytes:
            spoilt = first.pop() if first else False
            return change(said) if spoilt else said

        return Ppk2Faults(answer=answer)

    return faults


def _sleeping(t_s: FloatArray, amps: FloatArray) -> FloatArray:
    """The board's standby swings over the border of two ranges, and back below its hysteresis, each millisecond."""
    return np.where(amps < 0.6, amps + 0.12 * np.sin(2 * np.pi * 1000 * t_s), amps)


def _peaks(t_s: FloatArray, amps: FloatArray) -> FloatArray:
    return np.where((amps > 0.8) & (np.mod(t_s, 0.25) < 0.05), 1.6, amps)


def trials() -> Sequence[FaultTrial]:
    """All named faults of the kit."""
    many = tuple((0.3 + 0.004 * k, 16) for k in range(100))
    table: Sequence[tuple[str, str, Play]] = (
        ("none", "no fault", Play()),
        ("lost_packets", "a hundred packets of 16 samples are lost", Play(_lost(*many))),
        ("lost_64", "64 samples are lost: the counter shows nothing", Play(_lost((0.5, 64)))),
        ("lost_long", "0.2 s of samples are lost, a multiple of what the counter tells", Play(_lost((0.5, 20_032)))),
        ("byte_lost", "a byte is lost: words are out of step", Play(_at(0.5, lambda data: data[:101] + data[102:]))),
        ("bit_flip", "bits of a word are turned", Play(_at(0.5, lambda d: d[:8] + bytes([d[8] ^ 0xFF]) + d[9:]))),
        ("duplicate", "a packet comes twice", Play(_at(0.5, lambda data: data[:64] + data))),
        ("half_word", "the stream breaks off within a word", Play(_silent)),
        ("unplug", "the plug is pulled", Play(gone_share=0.5)),
        ("left_sampling", "somebody left it sampling", Play(left_sampling=True)),
        ("deaf", "it does not stop", Play(lambda s: Ppk2Faults(deaf=True), left_sampling=True)),
        ("calibration_cut", "its calibration breaks off", Play(_saying(lambda said: said[: len(said) // 2]))),
        ("calibration_late", "the first answer is spoilt", Play(_once(lambda said: said.replace(b"R4", b"R\xff")))),
        ("shunt_zero", "its calibration has a shunt of 0", Play(_saying(lambda s: s.replace(b"R4: 0.0564", b"R4: 0")))),
        ("no_answer", "another device on the port", Play(_saying(lambda said: b""))),
        ("wrong_voltage", "its regulator is set to another voltage", Play(options={"supply_v": 3.3})),
        ("no_voltage", "an ampere meter whose supply nobody declared", Play(unit=Ppk2Unit(mode=1))),
        (
            "range_changes",
            "the range changes to and fro",
            Play(change=_sleeping, unit=Ppk2Unit(full_a=(50e-6, 500e-6, 5e-3, 0.41))),
        ),
        ("saturation", "peaks above what the kit stands", Play(change=_peaks)),
        ("clock_off", "its clock is 300 ppm slow", Play(unit=Ppk2Unit(clock_rel=300e-6))),
    )
    made = [FaultTrial(METER, fault, what, play, scale=SCALE) for fault, what, play in table]
    low = Play(unit=Ppk2Unit(gain=0.8))
    return [*made, FaultTrial(METER, "wrong_scale", "currents 20 % low", low, scale=SCALE, constant_scale=True)]
