"""nvidia-smi's rows, one a GPU, put together to passes over all GPUs that are measured; pure.

The rows of a query come one after another, in the order of the GPUs; a GPU that vanished simply has none. A pass is
whole when all have come, and broken when one comes before that which does not lie behind the last: rows of two queries
are never put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.nvidia.csv_lines import Row
from drivers.nvidia.readings import Missing


@dataclass(frozen=True)
class Pass:
    """One query: when its last row came, power by UUID and field; `absent`: GPUs without a row."""

    t_ns: int
    power_mw: Mapping[tuple[str, str], int | Missing]
    absent: tuple[str, ...] = ()


class Passes:
    """Rows in order of arrival -> passes over the GPUs `uuids`, which are in the order of a query's rows."""

    def __init__(self, uuids: Sequence[str]) -> None:
        self._uuids = tuple(dict.fromkeys(uuids))
        self._place = {uuid: k for k, uuid in enumerate(self._uuids)}
        self._rows: dict[str, Row] = {}
        self._t_ns = 0

    def add(self, t_ns: int, row: Row) -> list[Pass]:
        """What this row completes: a broken pass, a whole one, both, or nothing. Other GPUs' rows are not for here."""
        found = self.broken() if any(self._place[row.uuid] <= self._place[uuid] for uuid in self._rows) else []
        self._rows[row.uuid], self._t_ns = row, t_ns
        if len(self._rows) == len(self._uuids):
            found.append(self._take(()))
        return found

    def broken(self) -> list[Pass]:
        """The pass that was under way, if any: nothing more of it will come."""
        if not self._rows:
            return []
        return [self._take(tuple(uuid for uuid in self._uuids if uuid not in self._rows))]

    def wants(self, uuid: str) -> bool:
        return uuid in self._place

    def _take(self, absent: tuple[str, ...]) -> Pass:
        rows, self._rows = self._rows, {}
        power = {(row.uuid, name): value for row in rows.values() for name, value in row.power_mw.items()}
        return Pass(self._t_ns, power, absent)
