"""How often do intervals of a network that draws nothing hold 0? Many worlds in virtual time (docs/exam.md).

python benchmarks/stat_null.py --scenarios 400 --seed 69500 --meters supply,shunt
"""

from __future__ import annotations

import argparse
import sys
import time

from harness.exam.null import null_intervals, null_scenario
from harness.exam.shares import maybe_share


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--scenarios", type=int, default=100)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--meters", default="supply,shunt")
    asked.add_argument("--minutes", type=float, default=60.0, help="count what was done by then")
    given = asked.parse_args()
    until_s = time.monotonic() + 60 * given.minutes
    scenario = null_scenario(given.meters.split(","))
    held: dict[str, list[tuple[bool, str]]] = {}
    refused = 0
    for world, meter, interval in null_intervals(range(given.seed, given.seed + given.scenarios), scenario):
        if time.monotonic() > until_s:
            break
        if interval is None:
            refused += 1
            continue
        holds = (interval[0] <= 0 <= interval[1], world)
        held.setdefault(meter, []).append(holds)
        held.setdefault("all", []).append(holds)
        print(f"\r{world}", end="", file=sys.stderr)
    print(file=sys.stderr)
    for meter in sorted(held):
        share = maybe_share([h for h, _ in held[meter]], [w for _, w in held[meter]])
        if share is not None:
            print(f"{meter:<14} {share.count} of {share.of}: {share.share:.1%} ({share.low:.1%} to {share.high:.1%})")
    print(f"no clock could be tied: {refused}")


if __name__ == "__main__":
    main()
