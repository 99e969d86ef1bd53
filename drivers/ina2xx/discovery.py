"""Which INA monitors a board has, for `joulebench meters list`."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.ina2xx import tree
from drivers.ina2xx.kernel import generation_of
from drivers.ina2xx.rails import rail_of, spots
from harness.core.errors import BenchError
from harness.core.ports import BoardFiles, FoundMeter, MeterRequest
from harness.io.sysfs import reason


def find_on_board(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """One meter a chip, usable if its files can be read and its shunt is known."""
    sysfs = tree.look(files, surroundings.sysfs_root)
    generation = generation_of(tree.release(sysfs))
    chips = tree.chips(sysfs)
    everywhere = spots(sysfs, chips)
    found = []
    for chip in chips:
        here = [spot for spot in everywhere if spot.chip == chip]
        trouble = mend = ""
        for spot in here:
            try:
                rail_of(sysfs, spot, generation, declared_ohm=None, kernel_ohm=None)
            except BenchError as error:
                trouble, mend = error.message, error.hint
            except OSError as error:
                trouble, mend = f"{spot.channel}: {reason(error)}", "look at `dmesg | grep -i ina`"
            except ValueError as error:
                trouble = str(error)
        found.append(
            FoundMeter(
                driver="ina2xx",
                where=f"{chip.layout}, I2C {chip.place}",
                options={"chip": chip.place},
                model=chip.kind.sheet.name,
                channels=tuple(spot.channel for spot in here),
                usable=not trouble and bool(here),
                trouble=trouble,
                mend=mend,
            )
        )
    return found
