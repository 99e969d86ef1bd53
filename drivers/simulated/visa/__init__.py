"""Bench instruments that speak SCPI, simulated: a parser, a state machine with a clock, a file for each instrument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.simulated.visa.electrical import Electrical, Front, FunctionElectrical, constant
from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.lines import InProcessLine, Wire, opener
from drivers.simulated.visa.personalities.hmc8015 import Hmc8015
from drivers.simulated.visa.personalities.pa1000 import Pa1000
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
