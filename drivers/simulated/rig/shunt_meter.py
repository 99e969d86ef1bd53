"""ShuntMeter: a cheap 1 kHz power monitor in virtual time: 12-bit power register, 4 mW a count, one range.

It stands for the small shunt monitors that are soldered beside a supply (INA219 datasheet SBOS448G: 12 bits, with
the usual 0.1 ohm some 0.8 mA a count). What it multiplies are means of current and voltage over its period.
"""

from __future__ import annotations

import numpy as np

from drivers.simulated.rig.front import FrontSpec
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.trace_meter import TraceMeter, UInt16Array
from harness.core.clock import FloatArray, meter_clock
from harness.core.trace import Accuracy, CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.core.waiting import WaitClock

LSB_W = 0.004
LARGEST_CODE = 4095
SHUNT_FRONT = FrontSpec(
    period_ns=1_000_000, gain_rel=0.005, offset_w=0.008, full_scale_a=3.2, fine_limit_a=0.0, ranged=True
)


def lsb_for(peak_w: float) -> float:
    """Watt a count of the shunt that suits a board which draws up to `peak_w`: 4 mW, doubled as often as needed."""
    lsb_w = LSB_W
    while LARGEST_CODE * lsb_w < peak_w:
        lsb_w *= 2
    return lsb_w


class ShuntMeter(TraceMeter):
    """Implements StreamingMeter. `lsb_w`: of the shunt that is fitted; its sheet states gain, zero and noise."""

    def __init__(self, rig: Rig, name: str, *, clock: WaitClock, lsb_w: float = LSB_W) -> None:
        super().__init__(rig, name, clock=clock, spec=SHUNT_FRONT)
        self._lsb_w = lsb_w

    def open(self) -> MeterInfo:
        spec = self._spec
        reading = Reading(ReadingKind.MEAN, spec.period_ns, spec.period_ns)
        zero_w = spec.offset_w * self._lsb_w / LSB_W
        accuracy = Accuracy(spec.gain_rel, zero_w, noise_w=0.01, source="rig: limits of the simulated shunt monitor")
        channel = ChannelSpec(
            "main", "power_w", ("power",), reading, accuracy, max_power_w=LARGEST_CODE * self._lsb_w
        )  # fmt: skip
        serial = f"shunt-{self._name}"
        return MeterInfo(
            "shunt", "rig shunt monitor", serial, "1", meter_clock(serial), (ColumnSpec("power", "W"),), (channel,),
            simulated=True,
        )  # fmt: skip

    def _converted(self, current_a: FloatArray, voltage_v: FloatArray) -> dict[str, UInt16Array]:
        counts = np.rint(current_a * voltage_v / self._lsb_w)
        return {"power": np.clip(counts, 0, LARGEST_CODE).astype(np.uint16)}

    def _calibration(self) -> tuple[CalibrationPiece, ...]:
        return (CalibrationPiece(0, "power", 0, self._lsb_w, 0.0),)
