"""INA260: an INA226 with 2 mohm inside. Current 1.25 mA, bus 1.25 mV, power 10 mW a count; 15 A.

Datasheet SBOS656C, 7.5 Electrical Characteristics: system gain error of the current 0.15 % with the shunt, offset 5 mA;
bus 0.1 % and 7.5 mV.
"""

from __future__ import annotations

from drivers.chips.monitor import MonitorSheet

SHUNT_OHM = 0.002
CURRENT_LSB_A = 1.25e-3
POWER_LSB_W = 10e-3

SHEET = MonitorSheet(
    name="INA260",
    shunt_lsb_v=CURRENT_LSB_A * SHUNT_OHM,
    bus_lsb_v=1.25e-3,
    shunt_full_v=15.0 * SHUNT_OHM,
    shunt_offset_v=5e-3 * SHUNT_OHM,
    shunt_gain_rel=0.0015,
    bus_offset_v=7.5e-3,
    bus_gain_rel=0.001,
    conversion_s=1.1e-3,
    interleaved=True,
    source="INA260 datasheet SBOS656C, 7.5 Electrical Characteristics",
)
