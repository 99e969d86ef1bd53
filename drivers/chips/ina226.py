"""INA226 (INA230 and INA231 alike): 16 bits, 2.5 uV and 1.25 mV a count, averages shunt and bus in turns.

Datasheet SBOS547 (rev. B): Electrical Characteristics (limits, conversion times), 6.3.1 Basic ADC Functions (shunt and
bus are converted in turns, and the registers change when all averages are done).
"""

from __future__ import annotations

from drivers.chips.monitor import MonitorSheet

SHUNT_LSB_V = 2.5e-6
BUS_LSB_V = 1.25e-3
SHUNT_FULL_V = 0.0819175  # 32767 counts: 0.8 A with the 0.1 ohm of an INA219 breakout
POWER_LSB_FACTOR = 25  # one count of power is so many counts of current x 1 V
CONVERSION_S = (140e-6, 204e-6, 332e-6, 588e-6, 1.1e-3, 2.116e-3, 4.156e-3, 8.244e-3)
AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)

SHEET = MonitorSheet(
    name="INA226",
    shunt_lsb_v=SHUNT_LSB_V,
    bus_lsb_v=BUS_LSB_V,
    shunt_full_v=SHUNT_FULL_V,
    shunt_offset_v=10e-6,
    shunt_gain_rel=0.001,
    bus_offset_v=7.5e-3,
    bus_gain_rel=0.001,
    conversion_s=1.1e-3,
    interleaved=True,
    source="INA226 datasheet SBOS547B, Electrical Characteristics",
)
