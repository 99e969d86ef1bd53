"""How often the stated uncertainty of a sensor's character covers the truth: simulated sensors over many seeds.

    python benchmarks/stat_characterise.py [SEEDS] [FIRST SEED]

Prints, for each sensor and figure: bias, scatter and mean half width of the 95 % interval, the share of intervals that
hold the truth, and which kinds were named how often.
"""

from __future__ import annotations

import collections
import sys

import numpy as np

from analysis.characterise.identify import NotTold
from harness.testing.coded_sensors import SENSORS, found


def main() -> None:
    given = [int(v) for v in sys.argv[1:3]]
    seeds, first = given + [20, 67_100][len(given) :]
    for name, case in SENSORS.items():
        characters, refused = [], 0
        for seed in range(first, first + seeds):
            try:
                characters.append(found(case, seed))
            except NotTold:
                refused += 1
        kinds = collections.Counter(" or ".join(sorted(c.kinds)) for c in characters)
        print(f"{name}: {dict(kinds)}, {refused} refused")
        for field, truth in case.truth.items():
            error = np.array([getattr(c, field).value - truth for c in characters])
            half = np.array([getattr(c, field).half_95 for c in characters])
            print(
                f"  {field:7s} {truth:.6g} s: bias {error.mean():+.2g}, scatter {error.std():.2g}, "
                f"half width {half.mean():.2g}, covered {np.mean(np.abs(error) <= half):.3f}"
            )


if __name__ == "__main__":
    main()
