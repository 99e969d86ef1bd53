"""What a CFG command asks of the simulated streamer, and which requests the protocol refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.chips.ina219 import BOTH_CONTINUOUS, RST_BIT, SHUNT_CONTINUOUS


@dataclass
class Requested:
    """A configuration as it was asked for."""

    cfg: int
    cal: int
    per_us: int
    rs_uohm: int = 100000
    fmt: str = "a"

    @classmethod
    def parse(cls, keys: Mapping[str, str]) -> tuple[Requested | None, str]:
        """(request, "") or (None, the event that refuses it)."""
        try:
            wanted = cls(
                int(keys["cfg"], 16),
                int(keys["cal"], 16),
                int(keys["per"]),
                int(keys.get("rs", "100000")),
                keys.get("fmt", "a"),
            )
        except (KeyError, ValueError):
            return None, "E,refused,cmd=CFG,why=field"
        why = ""
        if wanted.cfg & RST_BIT:
            why = "reset"
        elif wanted.cfg & 0x7 not in (SHUNT_CONTINUOUS, BOTH_CONTINUOUS):
            why = "mode"
        elif not wanted.cal & 0xFFFE:
            why = "cal"
        elif wanted.fmt not in ("a", "b"):
            why = "fmt"
        return (None, f"E,cfg,why={why}") if why else (wanted, "")
