"""What one --query-gpu asks for, and the lines of one pass over the GPUs: of the program, and in virtual time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.simulated.nvidia.layout import State
from drivers.simulated.nvidia.smi.fields import Seen, header, known, row
from drivers.simulated.nvidia.state import SharedState

STABLE = ("timestamp", "index", "name", "uuid", "pci.bus_id", "driver_version", "count", "serial")


class WrongQuery(Exception):
    """What the program prints then."""


@dataclass(frozen=True)
class Query:
    """`names`: as the program prints them; `units`: beside values; `headed`: whether the header is printed."""

    names: tuple[str, ...]
    units: bool = True
    headed: bool = True

    @classmethod
    def of(cls, asked: str, form: str, driver: int) -> Query:
        """WrongQuery for a field that this driver does not have, or another format than CSV."""
        words = form.split(",")
        if "csv" not in words:
            raise WrongQuery('"--format=" switch is missing. Currently the only supported format is "csv".')
        names = []
        for name in asked.split(","):
            full = known(name, driver)
            if full is None:
                raise WrongQuery(f'Field "{name.strip()}" is not a valid field to query.\n')
            names.append(full)
        return cls(tuple(names), units="nounits" not in words, headed="noheader" not in words)

    def header(self) -> str:
        return header(list(self.names))

    def rows(self, looks: Sequence[Seen], *, broken: bool = False) -> list[str]:
        """One line a GPU; `broken`: those of the loop defect: what is measured is an error, what the GPU is stays."""
        lines = [row(seen, list(self.names), units=self.units) for seen in looks]
        return [self._broken(line) for line in lines] if broken else lines

    def _broken(self, line: str) -> str:
        words = line.split(", ")
        pairs = zip(self.names, words, strict=True)
        return ", ".join(word if name in STABLE else "[Unknown Error]" for name, word in pairs)


def driver_of(state: State) -> int:
    """Major version of the machine's driver."""
    return int(bytes(state.driver_version).split(b".")[0])


def looks(shared: SharedState, wanted: str, now_s: float) -> list[Seen]:
    """The GPUs that are asked for by index, UUID or PCI address (empty: all), in order; [] where there is none."""
    stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now_s)) + f".{int(now_s * 1000) % 1000:03d}"
    seen = shared.copy()
    listed = [k for k in range(seen.gpu_count) if seen.gpus[k].listed]
    found = [Seen(seen, seen.gpus[k], shared.now.gpus[k], i, stamp) for i, k in enumerate(listed)]
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    return [look for look in found if not words or any(_is(look, word) for word in words)]


def _is(seen: Seen, word: str) -> bool:
    if ":" in word:
        return bytes(seen.now.bus_id).decode("ascii").lower().endswith(word.lower()[-12:])
    return word in (str(seen.index), bytes(seen.now.uuid).decode("ascii"))
