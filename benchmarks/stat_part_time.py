"""Do intervals of part-time, plain and running means hold, whatever period, window, phase and load?

    python benchmarks/stat_part_time.py [SEEDS] [FIRST SEED] [WORD OF A SENSOR'S NAME]

Made-up cards through the shipped importer and analysis (`harness/testing/part_time_worlds.py`); each row by three rules
of what the marks say: nothing of the load inside (`span`), its on-stretches inside one window (`pattern`), or windows
that are its on-stretches (`steps`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from harness.testing.part_time_worlds import KINDS_OF_WORLDS, Drawn, judged, world


def row(name: str, drawn: Drawn, rule: str, seeds: range) -> str:
    held, half, refused = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            result, true_j = judged(world(seed, drawn), Path(folder) / str(seed), rule=rule)
            if result.gross_interval_95_j is None:
                refused += 1
                continue
            low, high = result.gross_interval_95_j
            held.append(low <= true_j <= high)
            half.append((high - low) / 2 / true_j)
    said = f"{100 * np.mean(held):.0f} % | {100 * np.median(half):.1f} %" if held else "- | -"
    return f"| {name} | {rule} | {len(held)} | {refused} | {said} |"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    print("| Sensor, load | Rule | Figures | Refused | Intervals that hold | Median half width |")
    print("|---|---|---|---|---|---|")
    for name, drawn in ((n, d) for n, d in KINDS_OF_WORLDS.items() if word in n):
        for rule in ("span", "pattern", "steps"):
            print(row(name, drawn, rule, range(first, first + count)), flush=True)


if __name__ == "__main__":
    main()
