"""What can go wrong with an LVPM over USB: the faults whose course depends on its signed words and its resistors.

The rest of the protocol is the HVPM's, and so are its trials; these play in virtual time at 4.2 V.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from drivers.simulated.monsoon.device import HvpmFaults
from drivers.simulated.monsoon.lvpm_unit import LvpmUnit
from drivers.simulated.monsoon.trials import SCALE, Bench, Spoil, flip, handed_on_twice, slot_of
from harness.core.clock import FloatArray
from harness.testing.faults import FaultTrial, Recorded, Scene

SUPPLY_V = 4.2
UNIT = LvpmUnit.draw(17, output_v=SUPPLY_V)
WANDERING = 20 * 0.3  # counts in a second: twenty times what the worst unit drawn has; the one here has 0.02
OPTIONS: dict[str, str | int | float] = {"model": "lvpm"}


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, play: Callable[[Scene], Recorded], **more: Any) -> FaultTrial:
        return FaultTrial("monsoon-lvpm", fault, what, play, **({"scale": SCALE} | more))

    return (
        trial("none", "nothing goes wrong", lambda s: bench(s).record()),
        trial("packets_lost", "one packet in 200 is lost on the way", _faults(lost_packet_rate=0.005)),
        trial("unit_drops_samples", "a host without a queue reads every 20 ms from a FIFO of 3.2 ms", _drops),
        trial("bit_flip", "one packet in 1000 has one bit flipped, anywhere", _spoiled(flip(range(8 * 22)))),
        trial("stale_packet", "one packet in 500 is handed on twice", _spoiled(handed_on_twice)),
        trial("unplug", "the cable comes out during the work", _unplug),
        trial("found_sampling", "another program was killed and left the unit sampling", _found_sampling),
        trial("over_current", "the board draws more than the limit of 6 A and is switched off", _trip),
        trial("saturation", "the work is beyond the coarse range: signed codes stand at 32767", _saturation),
        trial(
            "zeros_below_zero",
            "its zeros read negative codes, and wander twenty times more than the worst unit's",
            _drift,
        ),
        trial("wrong_model", "an LVPM is connected, the bench says an HVPM", _wrong_model),
        trial(
            "wrong_resistor", "the EEPROM names resistors that are 8 % too small", _wrong_resistor, constant_scale=True
        ),
    )


def bench(scene: Scene, **more: Any) -> Bench:
    """An LVPM at 4.2 V that supplies the scene's power."""
    volts = more.pop("volts", lambda t_s: np.full(len(t_s), SUPPLY_V))
    return Bench(scene, **({"unit": UNIT, "volts": volts, "options": OPTIONS} | more))


def _faults(**faults: Any) -> Callable[[Scene], Recorded]:
    return lambda scene: bench(scene, faults=HvpmFaults(**faults)).record()


def _spoiled(spoil: Callable[[Scene], Spoil]) -> Callable[[Scene], Recorded]:
    return lambda scene: bench(scene, spoil=spoil(scene)).record()


def _drops(scene: Scene) -> Recorded:
    return bench(scene, device={"host_queue_s": 0.0}).record(step_ns=20_000_000)


def _unplug(scene: Scene) -> Recorded:
    return bench(scene, faults=HvpmFaults(disconnect_at_slot=slot_of(scene.edges_s[0] + 1.0))).record()


def _found_sampling(scene: Scene) -> Recorded:
    one = bench(scene)
    killed = one.meter()
    killed.open()
    killed.start()
    one.hvpm.detach()
    return one.record()


def _trip(scene: Scene) -> Recorded:
    begin_s = scene.edges_s[0]

    def current(t_s: FloatArray) -> FloatArray:
        return np.where(t_s > begin_s + 2, 7.0, scene.power_w(t_s) / SUPPLY_V)

    return bench(scene, current=current).record()


def _saturation(scene: Scene) -> Recorded:
    """A unit whose coarse range ends at about 1 A: its reference is not far above its zero in ampere."""
    references = {name: (fine, 3.1 * 32_000.0) for name, (fine, _) in UNIT.reference_code.items()}
    return bench(scene, unit=dataclasses.replace(UNIT, reference_code=references)).record()


def _drift(scene: Scene) -> Recorded:
    zeros = dict.fromkeys(("main", "usb", "aux"), (-140.0, -95.0))
    return bench(scene, unit=dataclasses.replace(UNIT, zero_code=zeros, zero_walk=WANDERING)).record()


def _wrong_model(scene: Scene) -> Recorded:
    return bench(scene, options={"model": "hvpm"}).record()


def _wrong_resistor(scene: Scene) -> Recorded:
    """The words say 40 counts (4 mohm, 8 % of nominal) less than the resistors are."""
    fine, coarse = UNIT.resistor_offset["main"]
    words = {0x02: (fine - 40) & 0xFF, 0x11: (coarse - 40) & 0xFF}
    return bench(scene, faults=HvpmFaults(eeprom=words)).record()
