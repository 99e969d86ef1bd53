"""nvidia-smi against an external meter on published captures: what its readings are, and its energy before and after.

    python benchmarks/stat_paired_captures.py FOLDER [CAPTURE ...]

FOLDER is `gpu-power-benchmark` (github.com/JimZeyuYang/GPU_Power_Benchmark, MIT): `5050` holds square waves of load,
`Transient_Response` one step each, with PMD-USB recordings of slot and cables beside nvidia-smi's CSV. Both sums of
channels are shown: 1, 2, 4, and with the third, which the set calls the processor's cable. Then the energy of the loads
by nvidia-smi alone, with intervals: as tools integrate it, and by the shipped importer and analysis.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from analysis.characterise.corrected_energy import table
from analysis.characterise.identify import NotTold
from harness.testing import paired_energy
from harness.testing.paired_captures import CAPTURES, fields_of, judged
from harness.testing.paired_energy import CARDS, judge_card


def main() -> None:
    root, captures = Path(sys.argv[1]), sys.argv[2:] or CAPTURES
    print(table([]))
    for capture in captures:
        for channels in (("1", "2", "4"), ("1", "2", "3", "4")):
            for field in fields_of(root / capture):
                name = f"{capture.split('/')[-1]} {field.removeprefix('power.')} ch {''.join(channels)}"
                try:
                    row = table([(name, *judged(root / capture, channels, field))]).splitlines()[-1]
                except NotTold as error:
                    row = f"{name}: {error}"
                print(row, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for card in CARDS
            for field in ("power.draw", "power.draw.instant")
            for row in judge_card(root, card, field, Path(folder))
        ]
    print(paired_energy.table(rows))


if __name__ == "__main__":
    main()
