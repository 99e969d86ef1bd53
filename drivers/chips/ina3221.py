"""INA3221: three channels, 13 bits in bits 15..3 of a register, 40 uV and 8 mV a count; soldered on every Jetson.

Datasheet SBOS576: Electrical Characteristics (limits, conversion times), 7.4.2.2 Averaging and Conversion-Time
Considerations, register map (left-aligned values). Channels are converted one after the other, shunt then bus.
"""

from __future__ import annotations

import math

from drivers.chips.monitor import MonitorSheet

CHANNELS = 3
SHUNT_LSB_V = 40e-6
BUS_LSB_V = 8e-3
SHUNT_FULL_V = 0.1638

SHEET = MonitorSheet(
    name="INA3221",
    shunt_lsb_v=SHUNT_LSB_V,
    bus_lsb_v=BUS_LSB_V,
    shunt_full_v=SHUNT_FULL_V,
    shunt_offset_v=80e-6,
    shunt_gain_rel=0.0025,
    bus_offset_v=16e-3,
    bus_gain_rel=0.0025,
    conversion_s=1.1e-3,
    interleaved=False,  # its averages are a filter that moves at every round: filter_tau_s
    source="INA3221 datasheet SBOS576C, 6.5 Electrical Characteristics",
)


def filter_tau_s(round_s: float, samples: int) -> float:
    """Time constant (s) of the averages; 0 for one sample. `round_s`: all channels, shunt and bus.

    At every round the chip adds 1/samples of the difference between the new conversion and its register to the register
    (SBOS576, averaging function). So each round leaves (1 - 1/samples) of a step: an exponential, exactly.
    """
    return -round_s / math.log1p(-1 / samples) if samples > 1 else 0.0
