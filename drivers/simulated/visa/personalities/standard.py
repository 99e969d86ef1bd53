"""What instruments that keep to SCPI-99 share: the error queue of SYSTem, the version, and NR3 numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from drivers.simulated.visa.instrument import Answer, Call, Instrument, command

NOT_A_NUMBER, INFINITY = 9.91e37, 9.9e37  # SCPI-99, 7.2.1.4 and 7.2.1.5


def nr3(value: float, digits: int = 6) -> str:
    """`+2.300000E+02`; not-a-number and infinity as SCPI says them."""
    if math.isnan(value):
        value = NOT_A_NUMBER
    elif math.isinf(value):
        value = math.copysign(INFINITY, value)
    return f"{value:+.{digits}E}"


@dataclass
class Standard(Instrument):
    """SYSTem:ERRor and SYSTem:VERSion."""

    version: ClassVar[str] = "1999.0"

    @command(":SYSTem:ERRor[:NEXT]?")
    def _error(self, call: Call) -> Answer:
        return self.next_error()

    @command(":SYSTem:VERSion?")
    def _version(self, call: Call) -> Answer:
        return self.version
