"""How long does the command take to answer? Against the bare interpreter and against importing typer alone."""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 9
CASES = {
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "joulebench --help": ["-m", "harness", "--help"],
    "joulebench run --help": ["-m", "harness", "run", "--help"],
    "import numpy": ["-c", "import numpy"],
}


def best_s(argv: list[str]) -> float:
    """Shortest of some rounds: the others were interrupted."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    bare = best_s(CASES["python -c pass"])
    print(f"{'command':<24}{'best of ' + str(ROUNDS):>12}{'x bare python':>16}")
    for name, argv in CASES.items():
        seconds = best_s(argv)
        print(f"{name:<24}{seconds * 1e3:>9.0f} ms{seconds / bare:>16.1f}")


if __name__ == "__main__":
    main()
