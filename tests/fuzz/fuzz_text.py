"""Feeds damaged lines to every text parser: `make fuzz`, or `python -m tests.fuzz.fuzz_text --count 1000000 --seed 1`.

Held of every input: no accident (only errors of ours, or those that the parser documents), no value that is not in the
input, no half of a row. Outside the normal test run, which does a small share of it (test_fuzz.py).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Target

KEPT = 5


@dataclass
class Tally:
    """`findings`: (input, words) of the first few inputs that broke something."""

    target: str
    inputs: int = 0
    taken: int = 0
    broken: int = 0
    seconds: float = 0.0
    findings: list[tuple[bytes, str]] = field(default_factory=list)


def fuzz(target: Target, *, count: int, seed: int) -> Tally:
    """`count` mutated inputs; the same seed gives the same inputs."""
    rng = random.Random(f"{seed} {target.name}")
    tally = Tally(target.name)
    begin = time.perf_counter()
    for _ in range(count):
        data = mutated(rng, target.samples)
        tally.inputs += 1
        try:
            tally.taken += target.run(data)
        except Exception as error:  # noqa: BLE001  # accidents are what is looked for
            tally.broken += 1
            if len(tally.findings) < KEPT:
                tally.findings.append((data, f"{type(error).__name__}: {error}"))
    tally.seconds = time.perf_counter() - begin
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs over all parsers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one parser")
    given = parser.parse_args(argv)
    targets = [make() for make in TARGETS]
    targets = [t for t in targets if given.only in (None, t.name)]
    share = -(-given.count // len(targets))
    tallies = []
    for target in targets:
        tallies.append(fuzz(target, count=share, seed=given.seed))
        report(tallies[-1:])
    inputs, broken = sum(t.inputs for t in tallies), sum(t.broken for t in tallies)
    print(f"{inputs} inputs, seed {given.seed}, {sum(t.seconds for t in tallies):.0f} s: {broken} broke something")
    return 1 if broken else 0


def report(tallies: Iterable[Tally]) -> None:
    for t in tallies:
        print(
            f"{t.target:12s} {t.inputs:8d} inputs, {t.taken:7d} taken, {t.broken:4d} broken, {t.seconds:6.1f} s",
            flush=True,
        )
        for data, words in t.findings:
            print(f"    {words}\n    {data!r}")


if __name__ == "__main__":
    sys.exit(main())
