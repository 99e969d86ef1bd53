"""Bench instruments that speak SCPI, simulated: a parser, a state machine with a clock, a file for each instrument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.simulated.visa.electrical import Electrical, Front, FunctionElectrical, constant
from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.lines import InProcessLine, Wire, opener
from drivers.simulated.visa.personalities.hmc8015 import Hmc8015
from drivers.simulated.visa.personalities.keithley import K2281S, Dmm6500
from drivers.simulated.visa.personalities.n6705 import N6705
from drivers.simulated.visa.personalities.ngu import Ngu
from drivers.simulated.visa.personalities.pa1000 import Pa1000
from drivers.simulated.visa.personalities.sdm3055 import Sdm3055
from drivers.simulated.visa.personalities.supplies import Dp832A, Spd3303X
from drivers.simulated.visa.personalities.wt300 import Wt300, Wt310E, Wt333
from drivers.simulated.visa.personalities.wt5000 import Wt5000
from drivers.simulated.visa.servers import TcpServer
from drivers.simulated.visa.units import Sheet, drawn

__all__ = [
    "INSTRUMENTS",
    "Electrical",
    "Front",
    "FunctionElectrical",
    "InProcessLine",
    "Instrument",
    "TcpServer",
    "Wire",
    "constant",
    "opener",
    "simulator",
]

INSTRUMENTS: Mapping[str, tuple[type[Instrument], Sheet]] = {
    "wt310": (Wt300, Sheet(gain_rel=0.001)),
    "wt310e": (Wt310E, Sheet(gain_rel=0.001)),
    "wt333": (Wt333, Sheet(gain_rel=0.001)),
    "wt5000": (Wt5000, Sheet(gain_rel=0.0003)),
    "pa1000": (Pa1000, Sheet(gain_rel=0.0005)),
    "hmc8015": (Hmc8015, Sheet(gain_rel=0.0005)),
    "ngu": (Ngu, Sheet(gain_rel=0.0004, zero_a=2e-4)),
    "n6705": (N6705, Sheet(gain_rel=0.0006, zero_a=2.5e-4)),
    "dmm6500": (Dmm6500, Sheet(gain_rel=0.001, zero_a=1e-4)),
    "2281s": (K2281S, Sheet(gain_rel=0.001, zero_a=2e-4)),
    "dp800": (Dp832A, Sheet(gain_rel=0.002, zero_a=2e-3)),
    "spd3303x": (Spd3303X, Sheet(gain_rel=0.005, zero_a=5e-3)),
    "sdm3055": (Sdm3055, Sheet(gain_rel=0.001, zero_a=2e-4)),
}
"""Simulated instruments by name, and what their sheets allow."""


def simulator(
    name: str, source: Electrical, *, begin_ns: int, seed: int = 1, front: Front | None = None, **more: Any
) -> Instrument:
    """The instrument of that name, switched on at host time `begin_ns` with `source` at its terminals.

    `front`: its converters; else a unit drawn by `seed` within half its sheet's limits. `more`: fields of Instrument.
    """
    kind, sheet = INSTRUMENTS[name]
    first = front if front is not None else drawn(source, sheet, seed)
    return kind.of(first, begin_ns=begin_ns, **more)
