"""What can go wrong with a Monsoon: each fault played on the simulated cable in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.monsoon.fields import HEADER_BYTES, OBS_BYTES, PACKET_BYTES, PERIOD_NS, Opcode
from drivers.monsoon.meter import Monsoon, open_meter
from drivers.simulated.monsoon.device import HvpmDevice, HvpmFaults
from drivers.simulated.monsoon.sources import FunctionSource
from drivers.simulated.monsoon.unit import HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.clock import FloatArray
from harness.core.errors import BenchError
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

SCALE = 0.5  # 12 s of the meter's 5 kHz
STEP_NS = 100_000_000
UNIT = HvpmUnit.draw(17)
Spoil = Callable[[bytes, int], Sequence[bytes]]  # (packet, its number) -> what arrives instead


class SpoiledCable(InProcessUsbBackend):
    """A cable on which `spoil` decides what becomes of each packet."""

    def __init__(self, devices: Sequence[HvpmDevice], spoil: Spoil) -> None:
        super().__init__(devices)
        self._spoil = spoil
        self._number = 0
        self._arrived: deque[bytes] = deque()

    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes:
        while not self._arrived:
            packet = super().next_packet(index, endpoint, timeout_ms)
            self._arrived.extend(self._spoil(packet, self._number))
            self._number += 1
        return self._arrived.popleft()


@dataclass
class Bench:
    """A unit that supplies the scene, and the shipped meter on its cable."""

    scene: Scene
    unit: HvpmUnit = UNIT
    faults: HvpmFaults = field(default_factory=HvpmFaults)
    options: dict[str, str | int | float] = field(default_factory=dict)
    spoil: Spoil | None = None
    volts: Callable[[FloatArray], FloatArray] | None = None
    current: Callable[[FloatArray], FloatArray] | None = None
    rate_ppm: float = 0.0
    device: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(BEGIN_NS)
        volts = self.volts or (lambda t_s: np.full(len(t_s), self.scene.supply_v))
        current = self.current or (lambda t_s: self.scene.power_w(t_s) / volts(t_s))
        source = FunctionSource(current, volts, begin_ns=BEGIN_NS, rate_ppm=self.rate_ppm)
        self.hvpm = HvpmDevice(
            source, now_ns=self.clock.now_ns, unit=self.unit, faults=self.faults, seed=5, **self.device
        )
        self.backend = InProcessUsbBackend([self.hvpm]) if self.spoil is None else SpoiledCable([self.hvpm], self.spoil)

    def meter(self) -> Monsoon:
        request = MeterRequest("trial", options=self.options, usb_backend=self.backend, simulated=True)
        return open_meter(request, clock=self.clock)

    def record(self, *, stall_s: tuple[float, float] | None = None, step_ns: int = STEP_NS) -> Recorded:
        """Acquire the whole scene; the host does not come to read between the two times of `stall_s`."""
        meter = self.meter()
        blocks: list[Block | None] = []
        try:
            info = meter.open()
            meter.start()
            end_ns = BEGIN_NS + round(self.scene.duration_s * 1e9)
            while (now_ns := self.clock.now_ns()) < end_ns:
                until_ns = min(end_ns, now_ns + step_ns)
                if stall_s is not None and stall_s[0] <= (now_ns - BEGIN_NS) * 1e-9 < stall_s[1]:
                    until_ns = BEGIN_NS + round(stall_s[1] * 1e9)
                self.clock.sleep_until(until_ns)
                blocks.append(meter.step(until_ns))
            blocks.append(meter.stop())
        finally:
            meter.close()
        return Recorded(info, [b for b in blocks if b is not None], "main")


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, play: Callable[[Scene], Recorded], **more: Any) -> FaultTrial:
        return FaultTrial("monsoon", fault, what, play, **({"scale": SCALE} | more))

    return (
        trial("none", "nothing goes wrong", lambda s: Bench(s).record()),
        # --- samples that do not arrive
        trial("unit_drops_samples", "a host without a queue reads every 20 ms from a FIFO of 3.2 ms", _drops),
        trial("drop_counter_wraps", "the 16-bit count of dropped samples passes 65535 during the work", _counter_wraps),
        trial("host_stalls", "the host does not read for 2 s at the begin of the work; its queue holds 0.5 s", _stall),
        trial("burst", "the host does not read for 0.8 s, then gets all at once", _burst),
        trial(
            "packets_lost", "one packet in 200 is lost on the way: the sequence jumps", _rate(lost_packet_rate=0.005)
        ),
        trial("sixteen_packets_lost", "16 packets are lost at once: the 4-bit sequence shows nothing", _hole(16)),
        trial("long_unseen_loss", "1600 packets are lost at once: the 4-bit sequence shows nothing", _hole(1600)),
        trial("short_packets", "one packet in 50 is cut short", _rate(short_packet_rate=5e-4)),
        # --- packets that are not what was sent
        trial("bit_flip", "one packet in 1000 has one bit flipped, anywhere", _spoiled(flip(range(8 * PACKET_BYTES)))),
        trial(
            "bit_flip_in_drop_counter", "a bit flips in a packet's count of dropped samples", _spoiled(flip(range(16)))
        ),
        trial(
            "bit_flip_in_sample_type",
            "a bit flips that makes a measurement a calibration sample",
            _spoiled(flip([8 * (HEADER_BYTES + OBS_BYTES - 1) + 4, 8 * (HEADER_BYTES + OBS_BYTES - 1) + 5], 5e-4)),
        ),
        trial("stale_packet", "one packet in 500 is handed on twice", _spoiled(handed_on_twice)),
        trial("stale_stretch", "the same packet again and again for a second of the work", _spoiled(_stuck)),
        trial("zeroed_packets", "one packet in 200 comes as zeros", _spoiled(_zeroed)),
        # --- the unit itself
        trial("unplug", "the cable comes out during the work", _faulty(disconnect=1.0)),
        trial("replug", "the cable comes out, goes in again, and the harness measures anew", _replug),
        trial("silent", "the unit sends no more, without a word", _faulty(silent=1.0)),
        trial("over_current", "the board draws more than the unit's limit and is switched off", _trip),
        trial("found_sampling", "another program was killed and left the unit sampling", _found_sampling),
        trial("not_permitted", "the system does not let us open the device", lambda s: _with(s, access_denied=True)),
        trial("wrong_output", "the output is set to 4 V, the bench says 5 V", _wrong_output),
        trial("dac_guard", "the DAC's factory words are out of tolerance and a voltage is asked for", _dac_guard),
        # --- what it reads
        trial("voltage_droop", "the supply sags by 8 % while the board works", _droop),
        trial("calibration_drifts", "the converters' zeros wander twenty times more than usual", _drift),
        trial("no_reference", "calibration samples are missing", _no_reference, scale=1.0),
        trial("saturation", "the work is beyond the coarse range: codes stand at 65535", _saturation),
        trial("clock_fast", "the unit's clock runs 300 ppm fast", lambda s: Bench(s, rate_ppm=300.0).record()),
        trial("wrong_scale", "the EEPROM says 8 % more current than flows", _wrong_scale, constant_scale=True),
    )


def _drops(scene: Scene) -> Recorded:
    return Bench(scene, device={"host_queue_s": 0.0}).record(step_ns=20_000_000)


def _counter_wraps(scene: Scene) -> Recorded:
    bench = Bench(scene, faults=HvpmFaults(dropped_before=65_536 - 4000), device={"host_queue_s": 0.5})
    begin_s = scene.edges_s[0]
    return bench.record(stall_s=(begin_s + 0.5, begin_s + 2.5))


def _stall(scene: Scene) -> Recorded:
    begin_s = scene.edges_s[0]
    return Bench(scene, device={"host_queue_s": 0.5}).record(stall_s=(begin_s - 0.5, begin_s + 1.5))


def _burst(scene: Scene) -> Recorded:
    begin_s = scene.edges_s[0]
    return Bench(scene).record(stall_s=(begin_s - 0.2, begin_s + 0.6))


def _rate(**faults: Any) -> Callable[[Scene], Recorded]:
    return lambda scene: _with(scene, **faults)


def _with(scene: Scene, **faults: Any) -> Recorded:
    return Bench(scene, faults=HvpmFaults(**faults)).record()


def _faulty(*, disconnect: float | None = None, silent: float | None = None) -> Callable[[Scene], Recorded]:
    """So many seconds after the work begins."""

    def play(scene: Scene) -> Recorded:
        begin_s = scene.edges_s[0]
        return _with(
            scene,
            disconnect_at_slot=None if disconnect is None else slot_of(begin_s + disconnect),
            silent_at_slot=None if silent is None else slot_of(begin_s + silent),
        )

    return play


def _replug(scene: Scene) -> Recorded:
    """The first run ends with an error; the second one, on the same cable, is the trial's."""
    bench = Bench(scene)
    first = bench.meter()
    first.open()
    first.start()
    bench.hvpm.present = False
    try:
        first.step(bench.clock.now_ns())
        raise AssertionError("an unplugged unit went unnoticed")
    except BenchError:
        first.close()
    bench.hvpm.replug()
    return bench.record()


def _trip(scene: Scene) -> Recorded:
    begin_s = scene.edges_s[0]
    return Bench(scene, current=lambda t_s: np.where(t_s > begin_s + 2, 9.0, scene.power_w(t_s) / 5.0)).record()


def _found_sampling(scene: Scene) -> Recorded:
    bench = Bench(scene)
    killed = bench.meter()
    killed.open()
    killed.start()
    bench.hvpm.detach()
    return bench.record()


def _wrong_output(scene: Scene) -> Recorded:
    return Bench(scene, unit=dataclasses.replace(UNIT, output_v=4.0), options={"voltage_v": 5.0}).record()


def _dac_guard(scene: Scene) -> Recorded:
    bench = Bench(scene, unit=dataclasses.replace(UNIT, dac_cal_high=0xFFFF))
    meter = bench.meter()
    try:
        meter.open()
        meter.set_voltage(scene.supply_v)
    finally:
        meter.close()
    return bench.record()


def _droop(scene: Scene) -> Recorded:
    """The energy is that of the lower voltage and the higher current: reading either alone would not do."""
    begin_s, end_s = scene.edges_s

    def volts(t_s: FloatArray) -> FloatArray:
        return np.where((t_s >= begin_s) & (t_s < end_s), 0.92, 1.0) * scene.supply_v

    return Bench(scene, volts=volts).record()


def _drift(scene: Scene) -> Recorded:
    return Bench(scene, unit=dataclasses.replace(UNIT, zero_walk=20 * UNIT.zero_walk)).record()


def _no_reference(scene: Scene) -> Recorded:
    none = dict.fromkeys(("main", "usb", "aux"), (0.0, 0.0))
    return Bench(scene, unit=dataclasses.replace(UNIT, reference_code=none, noise_counts=0.0)).record()


def _saturation(scene: Scene) -> Recorded:
    """A unit whose coarse range ends at 0.8 A."""
    scale = {**UNIT.scale, "main": (UNIT.scale["main"][0], 350)}
    return Bench(scene, unit=dataclasses.replace(UNIT, scale=scale)).record()


def _wrong_scale(scene: Scene) -> Recorded:
    fine, coarse = (round(1.08 * word) for word in UNIT.scale["main"])
    return _with(scene, eeprom={Opcode.MAIN_FINE_SCALE: fine, Opcode.MAIN_COARSE_SCALE: coarse})


def _spoiled(spoil: Callable[[Scene], Spoil]) -> Callable[[Scene], Recorded]:
    return lambda scene: Bench(scene, spoil=spoil(scene)).record()


def flip(bits: Sequence[int], share: float = 1e-3) -> Callable[[Scene], Spoil]:
    """One bit of `bits`, in that share of the packets."""

    def make(scene: Scene) -> Spoil:
        rng = np.random.default_rng(3)

        def spoil(packet: bytes, number: int) -> Sequence[bytes]:
            if rng.random() >= share:
                return [packet]
            bit = int(rng.choice(bits)) % (8 * len(packet))
            spoilt = bytearray(packet)
            spoilt[bit // 8] ^= 1 << bit % 8
            return [bytes(spoilt)]

        return spoil

    return make


def handed_on_twice(scene: Scene) -> Spoil:
    return lambda packet, number: [packet, packet] if number % 500 == 250 else [packet]


def _zeroed(scene: Scene) -> Spoil:
    return lambda packet, number: [bytes(len(packet))] if number % 200 == 100 else [packet]


def _stuck(scene: Scene) -> Spoil:
    """The packet at which the work is half a second old stands for those of a second."""
    return _Stuck(slot_of(scene.edges_s[0] - 0.5), slot_of(scene.edges_s[0] + 0.5)).spoil


@dataclass
class _Stuck:
    first_slot: int
    last_slot: int
    slot: int = 0
    kept: bytes = b""

    def spoil(self, packet: bytes, number: int) -> Sequence[bytes]:
        self.slot += packet[3]
        if not self.first_slot <= self.slot < self.last_slot:
            return [packet]
        self.kept = self.kept or packet
        return [self.kept]


def _hole(packets: int) -> Callable[[Scene], Recorded]:
    """So many packets in a row are lost, half a second before the work."""

    def make(scene: Scene) -> Spoil:
        lost = _Hole(slot_of(scene.edges_s[0] - 0.5), packets)
        return lost.spoil

    return _spoiled(make)


@dataclass
class _Hole:
    first_slot: int
    left: int
    slot: int = 0

    def spoil(self, packet: bytes, number: int) -> Sequence[bytes]:
        self.slot += packet[3]
        if self.slot < self.first_slot or not self.left:
            return [packet]
        self.left -= 1
        return []


def slot_of(t_s: float) -> int:
    return round(t_s * 1e9) // PERIOD_NS
