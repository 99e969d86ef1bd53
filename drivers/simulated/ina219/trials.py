"""What can go wrong with an INA219 on a serial line: faults played on the wire in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.ina219.description import CHANNEL
from drivers.ina219.meter import open_meter
from drivers.ina219.text_meter import open_meter as open_text_meter
from drivers.simulated.ina219.chip import ChipUnit, EnergySource, Ina219Chip
from drivers.simulated.ina219.line import LineFaults, SerialLine
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.ina219.sketch import Sketch
from drivers.simulated.ina219.streamer import McuUnit, Mishap
from drivers.simulated.ina219.wired import opener, simulator
from harness.core.ports import Meter, MeterRequest
from harness.core.trace import Block
from harness.core.waiting import VirtualClock
from harness.io.serial_port import OpenPort
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

SCALE = 0.5  # 12 s
STEP_NS = 20_000_000
LEAD_NS = 12_000_000_000  # the device is switched on before the scene begins; opening takes some of that
CHIP = ChipUnit.draw(17)
Options = dict[str, str | int | float]


def _at(scene: Scene, share: float) -> int:
    """Host time at a share of the scene's work."""
    begin, end = scene.edges_s
    return BEGIN_NS + round((begin + share * (end - begin)) * 1e9)


def _source(scene: Scene, lead_ohm: float = 0.0) -> EnergySource:
    return EnergySource(scene.energy_j, BEGIN_NS, scene.supply_v, lead_ohm)


def _record(meter: Meter, clock: VirtualClock, scene: Scene, stall: tuple[int, int] | None = None) -> Recorded:
    """Open, wait for the scene, acquire all of it; the host does not come to read between the times of `stall`."""
    end_ns = BEGIN_NS + round(scene.duration_s * 1e9)
    blocks: list[Block] = []
    try:
        info = meter.open()
        clock.sleep_until(BEGIN_NS - STEP_NS)
        meter.start()
        while (now_ns := clock.now_ns()) < end_ns + 5 * STEP_NS:
            clock.sleep_until(now_ns + STEP_NS)
            if stall is not None and stall[0] <= now_ns < stall[1]:
                continue
            block = meter.step(clock.now_ns())
            if block is not None:
                blocks.append(block)
        rest = meter.stop()
        return Recorded(info, blocks if rest is None else [*blocks, rest], CHANNEL)
    finally:
        meter.close()


@dataclass
class Stream:
    """A streamer that meters the scene. `mishaps` and `line` are made for the scene."""

    options: Options = field(default_factory=dict)
    mishaps: Callable[[Scene], Sequence[Mishap]] = lambda scene: ()
    line: Callable[[Scene], LineFaults] = lambda scene: LineFaults()
    chip: ChipUnit = CHIP
    mcu: McuUnit = field(default_factory=McuUnit)
    device: dict[str, Any] = field(default_factory=dict)
    port: Callable[[Scene], dict[str, Any]] = lambda scene: {}
    stall: tuple[float, float] | None = None
    left_sampling: bool = False
    lead_ohm: float = 0.0

    def __call__(self, scene: Scene) -> Recorded:
        clock = VirtualClock(BEGIN_NS - LEAD_NS)
        device = simulator(
            _source(scene, self.lead_ohm), begin_ns=clock.now_ns(), chip=self.chip, mcu=self.mcu, line=self.line(scene),
            mishaps=self.mishaps(scene), seed=5, **self.device,
        )  # fmt: skip
        open_port = opener(device, clock, **self.port(scene))
        request = MeterRequest("trial", {"port": "sim", **self.options}, serial_port=open_port, simulated=True)
        if self.left_sampling:
            earlier = open_meter(request, clock=clock)
            earlier.open()
            earlier.start()
            clock.sleep_until(clock.now_ns() + 31_001_234)  # killed without a word: the next one comes in mid-line
        stall = None if self.stall is None else (_at(scene, self.stall[0]), _at(scene, self.stall[1]))
        return _record(open_meter(request, clock=clock), clock, scene, stall)


@dataclass
class Text:
    """A sketch that prints the scene."""

    form: str = "five"
    options: Options = field(default_factory=dict)
    mishaps: Callable[[Scene], Sequence[Mishap]] = lambda scene: ()
    line: Callable[[Scene], LineFaults] = lambda scene: LineFaults()
    gone: Callable[[Scene], int | None] = lambda scene: None
    device: dict[str, Any] = field(default_factory=dict)

    def __call__(self, scene: Scene) -> Recorded:
        clock = VirtualClock(BEGIN_NS - LEAD_NS)
        chip = Ina219Chip(_source(scene), CHIP, begin_ns=clock.now_ns(), seed=5)
        device = Sketch(
            chip, SerialLine(115200, self.line(scene), seed=5), begin_ns=clock.now_ns(), form=self.form,
            mishaps=self.mishaps(scene), **self.device,
        )  # fmt: skip
        gone_ns = self.gone(scene)

        def open_port(path: str, baud: int) -> InProcessPort:
            return InProcessPort(device, clock, path=path, gone_at_ns=gone_ns)

        port: OpenPort = open_port
        request = MeterRequest("trial", {"port": "sim", **self.options}, serial_port=port, simulated=True)
        return _record(open_text_meter(request, clock=clock), clock, scene)


def _during(kind: str, share: float = 0.5, seconds: float = 0.0) -> Callable[[Scene], Sequence[Mishap]]:
    return lambda scene: [Mishap(_at(scene, share), kind, round(seconds * 1e9))]


def _damaged(lost: float = 0.0, flipped: float = 0.0) -> Callable[[Scene], LineFaults]:
    return lambda scene: LineFaults(lost_byte=lost, flipped_byte=flipped)


SHUNT: Options = {"mode": "shunt"}
BINARY: Options = {"mode": "shunt", "format": "binary", "averaging": 1}
NEAR_WRAP_US = (1 << 32) - round((LEAD_NS * 1e-9 + 5.0) * 1e6)
NEAR_WRAP_MS = (1 << 32) - round(LEAD_NS * 1e-6 + 5000)
BURSTS: Callable[[Scene], LineFaults] = lambda scene: LineFaults(burst_ns=16_000_000)  # noqa: E731

STREAMED: tuple[tuple[str, str, Stream], ...] = (
    ("none", "nothing goes wrong, shunt and bus in turn", Stream()),
    ("none_shunt_only", "nothing goes wrong, contiguous shunt readings", Stream(SHUNT)),
    ("none_binary", "nothing goes wrong, 1880 readings a second in binary frames", Stream(BINARY)),
    ("left_sampling", "a killed host left it sampling; the next opens in mid-line", Stream(left_sampling=True)),
    ("reset_by_dtr", "opening the port resets the board", Stream(port=lambda s: {"dtr_reset": True})),
    ("lost_bytes", "one byte of 500 is lost", Stream(line=_damaged(lost=2e-3))),
    ("flipped_bits", "one byte of 500 has a flipped bit", Stream(line=_damaged(flipped=2e-3))),
    ("flipped_bits_binary", "the same in binary frames", Stream(BINARY, line=_damaged(flipped=2e-3))),
    ("bad_cable", "one byte of 20 is damaged", Stream(line=_damaged(flipped=0.05))),
    ("usb_bursts", "the adapter hands on bytes every 16 ms", Stream(line=BURSTS)),
    ("clock_off", "its clock is 0.5 % fast and warms up", Stream(SHUNT, mcu=McuUnit(clock_rel=5e-3, warm_rel=2e-3))),
    ("micros_wrap", "the microsecond clock wraps", Stream(mcu=McuUnit(first_us=NEAR_WRAP_US))),
    ("mcu_reset", "the microcontroller is reset while sampling", Stream(mishaps=_during("reset", 0.5, 0.1))),
    ("mcu_reset_unheard", "it is reset, and its hello is lost", Stream(mishaps=_during("lost_hello_reset", 0.5, 0.1))),
    ("chip_brownout", "the chip loses its supply and its registers", Stream(mishaps=_during("brownout"))),
    ("chip_brownout_shunt_only", "the same in shunt-only mode", Stream(SHUNT, mishaps=_during("brownout"))),
    ("i2c_nack", "the chip does not answer for 0.3 s", Stream(mishaps=_during("nack", 0.5, 0.3))),
    ("i2c_dead", "the chip never answers again", Stream(mishaps=_during("nack", 0.5, 3600.0))),
    ("hang", "the microcontroller hangs", Stream(mishaps=_during("hang", 0.1, 3600.0))),
    ("duplicate_line", "a line arrives twice", Stream(mishaps=_during("duplicate"))),
    ("config_changed", "another range appears in the chip", Stream(mishaps=_during("wrong_config"))),
    ("saturation", "the load exceeds the chosen range", Stream({"range_mv": 80})),
    ("leads_reversed", "VIN+ and VIN- are swapped", Stream(chip=ChipUnit(leads_reversed=True))),
    ("wrong_shunt", "the shunt is 20 % larger than declared", Stream(chip=ChipUnit(shunt_ohm=0.12))),
    ("slow_chip", "the chip's own clock is 10 % slow", Stream(SHUNT, chip=ChipUnit(slow_factor=1.1))),
    ("supply_sags", "the supply gives 8 % under load; both are measured", Stream(lead_ohm=0.65)),
    ("supply_sags_shunt_only", "it gives 2 %, as was declared, and is not measured", Stream(SHUNT, lead_ohm=0.16)),
    ("host_stall", "the host does not come to read for 0.9 s", Stream(stall=(0.4, 0.55))),
    ("unplug", "the plug is pulled", Stream(port=lambda s: {"gone_at_ns": _at(s, 0.5)})),
    ("wrong_version", "the device speaks inas/2", Stream(mcu=McuUnit(version="inas/2"))),
    ("too_fast", "more samples are asked for than the line carries", Stream({"averaging": 1})),
)  # fmt: skip

CSV: Options = {"columns": "millis,load_v,current_ma"}
PRINTED: tuple[tuple[str, str, Text], ...] = (
    ("none", "nothing goes wrong, five columns that prove themselves", Text()),
    ("none_adafruit", "nothing goes wrong, groups of named lines without time", Text("adafruit")),
    ("none_json", "nothing goes wrong, JSON lines", Text("json")),
    ("unnamed_columns", "three columns that nobody named", Text("csv")),
    ("wrong_columns", "columns named in the wrong order", Text("csv", {"columns": "millis,current_ma,load_v"})),
    ("lost_bytes", "one byte of 1000 is lost, unprotected text", Text("csv", CSV, line=_damaged(lost=1e-3))),
    ("flipped_bits", "one byte of 1000 has a flipped bit", Text(line=_damaged(flipped=1e-3))),
    ("bad_cable", "one byte of 20 is damaged", Text(line=_damaged(flipped=0.05))),
    ("millis_wrap", "the millisecond clock wraps", Text(device={"first_ms": NEAR_WRAP_MS})),
    ("mcu_reset", "the board is reset: the clock begins at 0", Text(mishaps=_during("reset", 0.5, 0.5))),
    ("format_changes", "the sketch prints something else from then on", Text(mishaps=_during("other_format"))),
    ("nan", "the library prints nan for 0.3 s", Text(mishaps=_during("nan", 0.5, 0.3))),
    ("mute", "the sketch prints nothing for 0.5 s", Text(mishaps=_during("mute", 0.5, 0.5))),
    ("usb_bursts", "the adapter hands on bytes every 16 ms, and lines carry no time", Text("adafruit", line=BURSTS)),
    ("clock_off", "the sketch's clock is 0.5 % fast", Text(device={"clock_rel": 5e-3})),
    ("unplug", "the plug is pulled", Text(gone=lambda s: _at(s, 0.5))),
)  # fmt: skip


def trials() -> Sequence[FaultTrial]:
    """Faults of the streamer."""
    return [
        FaultTrial(
            "ina219", f, w, p, SCALE, constant_scale=f == "wrong_shunt", within_stated=f == "supply_sags_shunt_only"
        )
        for f, w, p in STREAMED
    ]


def text_trials() -> Sequence[FaultTrial]:
    """Faults of sketches."""
    return [FaultTrial("ina219-text", f, w, p, SCALE) for f, w, p in PRINTED]
