"""What can go wrong with an LVPM on its old serial firmware, and every reading of what nobody has published, as trials.

Only how a fault is played stands here (in virtual time, at 4.2 V); harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.monsoon.serial_meter import open_meter
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.monsoon.lvpm_trials import SUPPLY_V, WANDERING
from drivers.simulated.monsoon.serial_unit import SerialFaults, SerialLvpm, SerialLvpmUnit, SerialQuirks
from drivers.simulated.monsoon.sources import FunctionSource
from drivers.simulated.monsoon.trials import SCALE, STEP_NS, slot_of
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.core.waiting import VirtualClock
from harness.io.serial_port import SerialPort
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

LEAD_NS = 8_000_000_000  # switched on so long before the scene begins; opening takes some of that
LEAD_S = LEAD_NS * 1e-9
UNIT = SerialLvpmUnit.draw(17, output_v=SUPPLY_V)
Options = dict[str, str | int | float]


def _nothing(scene: Scene) -> SerialFaults:
    return SerialFaults()


@dataclass
class Line:
    """A unit that supplies the scene, and the shipped meter on its port. `gone`, `stall`: shares of the work."""

    unit: SerialLvpmUnit = UNIT
    quirks: SerialQuirks = field(default_factory=SerialQuirks)
    faults: Callable[[Scene], SerialFaults] = _nothing
    options: Options = field(default_factory=dict)
    current: Callable[[Scene, FloatArray], FloatArray] | None = None
    volts: Callable[[Scene, FloatArray], FloatArray] | None = None
    rate_ppm: float = 0.0
    gone: float | None = None
    stall: tuple[float, float] | None = None
    left_sampling: bool = False
    device: dict[str, Any] = field(default_factory=dict)

    def __call__(self, scene: Scene) -> Recorded:
        clock = VirtualClock(BEGIN_NS - LEAD_NS)
        unit = SerialLvpm(
            self._source(scene), unit=self.unit, quirks=self.quirks, faults=self.faults(scene), seed=5, **self.device
        )
        gone_ns = None if self.gone is None else _at(scene, self.gone)

        def open_port(path: str, baud: int) -> SerialPort:
            return InProcessPort(unit, clock, path=path, gone_at_ns=gone_ns)

        request = MeterRequest("trial", {"port": "/dev/ttyACM0", **self.options}, serial_port=open_port, simulated=True)
        if self.left_sampling:
            killed = open_meter(request, clock=clock)
            killed.open()
            killed.start()
            clock.sleep_until(clock.now_ns() + 31_001_234)  # without a word
        return self._record(open_meter(request, clock=clock), clock, scene)

    def _source(self, scene: Scene) -> FunctionSource:
        def volts(t_s: FloatArray) -> FloatArray:
            return np.full(len(t_s), SUPPLY_V) if self.volts is None else self.volts(scene, t_s - LEAD_S)

        def current(t_s: FloatArray) -> FloatArray:
            if self.current is not None:
                return self.current(scene, t_s - LEAD_S)
            return scene.power_w(t_s - LEAD_S) / volts(t_s)

        return FunctionSource(current, volts, begin_ns=BEGIN_NS - LEAD_NS, rate_ppm=self.rate_ppm)

    def _record(self, meter: Any, clock: VirtualClock, scene: Scene) -> Recorded:
        end_ns = BEGIN_NS + round(scene.duration_s * 1e9)
        stall = None if self.stall is None else tuple(_at(scene, share) for share in self.stall)
        blocks: list[Block | None] = []
        try:
            info = meter.open()
            clock.sleep_until(BEGIN_NS - STEP_NS)
            meter.start()
            while (now_ns := clock.now_ns()) < end_ns:
                until_ns = min(end_ns, now_ns + STEP_NS)
                if stall is not None and stall[0] <= now_ns < stall[1]:
                    until_ns = stall[1]
                clock.sleep_until(until_ns)
                blocks.append(meter.step(until_ns))
            blocks.append(meter.stop())
        finally:
            meter.close()
        return Recorded(info, [b for b in blocks if b is not None], "main")


def _at(scene: Scene, share: float) -> int:
    """Host time at a share of the scene's work."""
    begin, end = scene.edges_s
    return BEGIN_NS + round((begin + share * (end - begin)) * 1e9)


def _slot(scene: Scene, share: float) -> int:
    """Slots since the start of sampling, at a share of the scene's work."""
    return slot_of((_at(scene, share) - BEGIN_NS + STEP_NS) * 1e-9)


def _with(**faults: Any) -> Callable[[Scene], SerialFaults]:
    return lambda scene: SerialFaults(**faults)


def _handed_on_twice(payload: bytes, number: int) -> list[bytes]:
    return [payload, payload] if number % 500 == 250 else [payload]


def _zeroed(payload: bytes, number: int) -> list[bytes]:
    return [bytes(len(payload))] if number % 200 == 100 else [payload]


@dataclass
class _Stuck:
    """The same packet again and again, from one number on."""

    first: int
    kept: bytes = b""

    def __call__(self, payload: bytes, number: int) -> list[bytes]:
        if number < self.first:
            return [payload]
        self.kept = self.kept or payload
        return [self.kept]


def _number(scene: Scene, share: float) -> int:
    """Packets made until then: those of the trial stretch, then those since the start."""
    return 1450 + _slot(scene, share) // 7


def _stuck(scene: Scene) -> SerialFaults:
    return SerialFaults(spoil=_Stuck(_number(scene, 0.3)))


def _hole(packets: int) -> Callable[[Scene], SerialFaults]:
    return lambda scene: SerialFaults(hole=(_number(scene, 0.3), packets))


def _over_limit(scene: Scene, t_s: FloatArray) -> FloatArray:
    return np.where(t_s > scene.edges_s[0] + 2, 7.0, scene.power_w(t_s) / SUPPLY_V)


def _sagging(scene: Scene, t_s: FloatArray) -> FloatArray:
    begin_s, end_s = scene.edges_s
    return np.where((t_s >= begin_s) & (t_s < end_s), 0.93, 1.0) * SUPPLY_V


SATURATING = {name: (fine, 3.1 * 32_000.0) for name, (fine, _) in UNIT.reference_code.items()}
EIGHT_PERCENT = {0: UNIT.resistor_offset["main"][0] - 43, 1: UNIT.resistor_offset["main"][1] - 43}

LINES: tuple[tuple[str, str, Line], ...] = (
    ("none", "nothing goes wrong", Line()),
    # --- what nobody has published
    ("whole_packets", "records go to the end of a packet", Line(quirks=SerialQuirks(trailing=False))),
    ("long_packets", "24 records a packet and 8 bytes that are none", Line(quirks=SerialQuirks(records=24))),
    ("free_calibration", "calibration packets take no time", Line(quirks=SerialQuirks(calibration_slots=0))),
    ("long_calibration", "calibration packets take 10 ms", Line(quirks=SerialQuirks(calibration_slots=50))),
    ("fine_volts", "a count of the voltage is 62.5 uV", Line(
        unit=dataclasses.replace(UNIT, output_v=2.05), volts=lambda s, t_s: np.full(len(t_s), 2.05),
        quirks=SerialQuirks(volt_lsb_v=62.5e-6, hardware_revision=1),
    )),
    ("fixed_scale", "the reference is that of published hosts, whatever the resistors", Line(
        unit=dataclasses.replace(UNIT, fixed_level=True)
    )),
    # --- the line
    ("packets_lost", "one packet in 200 is lost", Line(faults=_with(lost_packet_share=0.005))),
    ("flipped_bits", "one byte in 10000 has a flipped bit", Line(faults=_with(flipped_byte=1e-4))),
    ("lost_bytes", "one byte in 10000 is lost", Line(faults=_with(lost_byte=1e-4))),
    ("bad_cable", "one byte in 50 is damaged", Line(faults=_with(flipped_byte=0.02))),
    ("host_stalls", "the host does not read for 3 s of the work; 1.4 s are kept", Line(stall=(0.2, 0.7))),
    ("burst", "the host does not read for 0.6 s, then gets all at once", Line(stall=(-0.05, 0.05))),
    ("sixteen_packets_lost", "16 packets are lost at once: the 4-bit sequence shows nothing", Line(faults=_hole(16))),
    ("long_unseen_loss", "1600 packets are lost at once: the 4-bit sequence shows nothing", Line(faults=_hole(1600))),
    ("stale_packet", "one packet in 500 is handed on twice", Line(faults=_with(spoil=_handed_on_twice))),
    ("stale_stretch", "the same packet again and again", Line(faults=_stuck)),
    ("zeroed_packets", "one packet in 200 comes as zeros, with the right checksum", Line(faults=_with(spoil=_zeroed))),
    ("chatter", "something else spoke on the line before", Line(faults=_with(echo=b"\x10\x04\x22boot ok\r\n" * 9))),
    # --- the unit
    ("unplug", "the cable comes out during the work", Line(gone=0.3)),
    ("silent", "the unit sends no more, without a word", Line(
        faults=lambda s: SerialFaults(silent_at_slot=_slot(s, 0.3))
    )),
    ("deaf", "it answers nothing: another device, or USB firmware", Line(faults=_with(deaf=True))),
    ("found_sampling", "a killed program left it sampling", Line(left_sampling=True)),
    ("over_current", "the board draws more than the limit: the old packets have no flag for it", Line(
        current=_over_limit
    )),
    ("wrong_output", "the output is set to 4.2 V, the bench says 3.7 V", Line(options={"voltage_v": 3.7})),
    ("no_reference", "reference packets are missing", Line(faults=_with(no_reference=True))),
    # --- what it reads
    ("voltage_droop", "the supply sags by 7 % while the board works", Line(volts=_sagging)),
    ("calibration_drifts", "the converters' zeros wander twenty times more than the worst unit's", Line(
        unit=dataclasses.replace(UNIT, zero_walk=WANDERING)
    )),
    ("saturation", "the work is beyond the coarse range", Line(
        unit=dataclasses.replace(UNIT, reference_code=SATURATING)
    )),
    ("clock_fast", "the unit's clock runs 300 ppm fast", Line(rate_ppm=300.0)),
)  # fmt: skip


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""
    slow = {"no_reference": 1.0}
    played = [
        FaultTrial(
            "monsoon-serial", fault, what, play, scale=slow.get(fault, SCALE), within_stated=fault == "fixed_scale"
        )
        for fault, what, play in LINES
    ]
    wrong = Line(faults=_with(resistor_words=EIGHT_PERCENT), options={"scale": "resistors"})
    words = "the status names resistors that are 8 % too small"
    return [
        *played, FaultTrial("monsoon-serial", "wrong_resistor", words, wrong, scale=SCALE, constant_scale=True)
    ]  # fmt: skip
