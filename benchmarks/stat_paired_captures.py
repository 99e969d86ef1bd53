"""nvidia-smi against an external meter on published captures: what its readings are, and its energy before and after.

    python benchmarks/stat_paired_captures.py FOLDER

FOLDER is `gpu-power-benchmark` (github.com/JimZeyuYang/GPU_Power_Benchmark, MIT): `5050` holds square waves of load,
`Transient_Response` one step each, with PMD-USB recordings of slot and cables beside nvidia-smi's CSV. Both sums of
channels are shown: 1, 2, 4, and with the third, which the set calls the processor's cable.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analysis.characterise.corrected_energy import Compared, table
from analysis.characterise.identify import NotTold, SensorCharacter
from harness.testing.paired_captures import CAPTURES, fields_of, judged


def main() -> None:
    root = Path(sys.argv[1])
    rows: list[tuple[str, SensorCharacter, Compared]] = []
    for capture in CAPTURES:
        for channels in (("1", "2", "4"), ("1", "2", "3", "4")):
            for field in fields_of(root / capture):
                name = f"{capture.split('/')[-1]} {field.removeprefix('power.')} ch {''.join(channels)}"
                try:
                    rows.append((name, *judged(root / capture, channels, field)))
                except NotTold as error:
                    print(f"{name}: {error}")
    print(table(rows))


if __name__ == "__main__":
    main()
