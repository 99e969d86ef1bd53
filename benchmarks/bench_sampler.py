"""CPU time of one pass of the board's sampler, against what people write to the same end.

    python benchmarks/bench_sampler.py [--files 1 2 8] [--period 0.02] [--seconds 2] [--rounds 5]

All read the same small files and keep bytes and stamps in memory; each is a process of its own, and they take turns.
`floor`: sleeps, and reads with files left open, and keeps nothing: what no sampler in Python can go below.
`plain`: the loop everybody writes: `open(path).read()` for each file, a list of tuples, `time.sleep(period)`.
`cat`: a shell loop of `cat` and `sleep` (CPU time of its children counted). Printed is the median over the rounds of
CPU microseconds a pass, and for the sampler what it takes beyond the floor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.boards.local import LocalBoard
from harness.core.ports import SamplerPlan

TIMED = """
import os, sys, time
period, seconds, paths = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
{setup}
passes, begin, cpu = 0, time.monotonic(), time.process_time()
while time.monotonic() - begin < seconds:
    {body}
    passes += 1
print((time.process_time() - cpu) / passes * 1e6)
"""
FLOOR = TIMED.format(
    setup="fds, pread, sleep = [os.open(path, os.O_RDONLY) for path in paths], os.pread, time.sleep",
    body="sleep(period); [pread(fd, 4096, 0) for fd in fds]",
)
PLAIN = TIMED.format(
    setup="rows = []",
    body="rows.append((time.time(), [open(path).read() for path in paths])); time.sleep(period)",
)
CAT = 'n=0; while [ $n -lt "$1" ]; do n=$((n+1)); cat $3 >> "$4"; sleep "$2"; done'


def in_python(script: str, period_s: float, seconds: float, paths: list[str]) -> float:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(period_s), str(seconds), *paths],
        capture_output=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def with_cat(period_s: float, seconds: float, paths: list[str], folder: Path) -> float:
    passes = max(10, int(seconds / (period_s + 0.005)))
    before = os.times()
    argv = ["sh", "-c", CAT, "sh", str(passes), str(period_s), " ".join(paths), str(folder / "kept")]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    spent_s = after.children_user + after.children_system - before.children_user - before.children_system
    return spent_s / passes * 1e6


def with_sampler(board: LocalBoard, period_s: float, seconds: float, paths: list[str]) -> float:
    sampler = board.agents.start_sampler(SamplerPlan(files=tuple(paths), period_s=period_s), lease_s=60.0)
    try:
        time.sleep(0.3)
        sampler.take()
        before = sampler.cost()
        time.sleep(seconds)
        after = sampler.cost()
        return (after["cpu_s"] - before["cpu_s"]) / len(sampler.stop().data) * 1e6
    finally:
        sampler.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--period", type=float, default=0.02)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        board = LocalBoard("bench", lambda spec: None, directory=folder / "board")  # type: ignore[arg-type,return-value]
        print(f"CPU us a pass, every {1e3 * options.period:g} ms, median of {options.rounds} rounds")
        print(f"{'files':>5} {'sampler':>9} {'floor':>9} {'beyond':>9} {'plain':>9} {'cat':>9}")
        for count in options.files:
            paths = [str(folder / f"f{k}") for k in range(count)]
            for path in paths:
                Path(path).write_text("262143328850\n", encoding="ascii")
            rounds: list[tuple[float, float, float, float]] = []
            for _ in range(options.rounds):
                rounds.append(
                    (
                        with_sampler(board, options.period, options.seconds, paths),
                        in_python(FLOOR, options.period, options.seconds, paths),
                        in_python(PLAIN, options.period, options.seconds, paths),
                        with_cat(options.period, options.seconds, paths, folder),
                    )
                )
            sampler, floor, plain, cat = (statistics.median(column) for column in zip(*rounds, strict=True))
            beyond = statistics.median(row[0] - row[1] for row in rounds)
            print(f"{count:>5} {sampler:>9.0f} {floor:>9.0f} {beyond:>9.0f} {plain:>9.0f} {cat:>9.0f}")
        board.close()


if __name__ == "__main__":
    main()
