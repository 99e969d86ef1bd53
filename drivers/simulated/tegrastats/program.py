"""The program `tegrastats` of the simulated Jetson: its options, pace, slow first line, and half line at the end.

Standard library only, so that it starts quickly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from drivers.simulated.tegrastats.profiles import PROFILES, Profile

FIRST_S = 0.3  # the first line comes so much later


def main(folder: str, argv: Sequence[str]) -> None:
    """`tegrastats [--interval ms] [--logfile f] [--start|--stop] [--readall] [--verbose]`, until it is ended."""
    parser = argparse.ArgumentParser("tegrastats", allow_abbrev=False)
    parser.add_argument("--interval", type=int, default=1000)
    parser.add_argument("--logfile", type=Path)
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--readall", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(argv)
    home = Path(folder)
    note = home / "pid"
    if options.stop:
        os.kill(int(note.read_text("ascii")), signal.SIGTERM)
        return
    if options.start:
        if os.fork():
            return
        os.setsid()
        note.write_text(str(os.getpid()), "ascii")
    out = options.logfile.open("a", encoding="ascii") if options.logfile else sys.stdout
    Printer(home, out, options.interval / 1000).run()


class Printer:
    """Prints lines on a grid of `interval_s`."""

    def __init__(self, home: Path, out: IO[str], interval_s: float) -> None:
        self._home, self._out, self._interval_s = home, out, interval_s
        self._profile: Profile = PROFILES[(home / "profile").read_text("ascii")]
        self._sums: dict[str, int] = {}
        self._count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def run(self) -> None:
        due = time.monotonic() + FIRST_S
        while True:
            due += self._interval_s
            time.sleep(max(0.0, due - time.monotonic()) + random.expovariate(1 / 0.0005))
            try:
                self._out.write(self._line() + "\n")
                self._out.flush()
            except BrokenPipeError:
                os._exit(0)

    def _line(self) -> str:
        now: dict[str, int] = json.loads((self._home / "power.json").read_bytes())
        self._count += 1
        self._sums = {name: self._sums.get(name, 0) + value for name, value in now.items()}
        mean = {name: value // self._count for name, value in self._sums.items()}
        return self._profile.line(now, mean, time.strftime("%m-%d-%Y %H:%M:%S"))

    def _end(self, number: int, frame: Any) -> NoReturn:
        """It dies in the middle of a line."""
        line = self._line()
        with contextlib.suppress(OSError):
            os.write(self._out.fileno(), line[: len(line) - 20].encode("ascii"))
        os._exit(0)
