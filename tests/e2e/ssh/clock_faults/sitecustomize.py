"""A board whose clocks are wrong: on PYTHONPATH of the agent, below the shipped code, it bends Python's clocks.

JOULEBENCH_CLOCK_RATE: how much faster the monotonic clock runs than it should (2e-4: 200 ppm). JOULEBENCH_CLOCK_STEP: a
file; once it exists, the clock that it names ("monotonic" or "realtime") is ahead by an hour.
"""

import os
import pathlib
import time

RATE = float(os.environ.get("JOULEBENCH_CLOCK_RATE", "0"))
STEP = os.environ.get("JOULEBENCH_CLOCK_STEP", "")
HOUR_NS = 3600 * 10**9
LOOK_NS = 2 * 10**7

_monotonic_ns, _time = time.monotonic_ns, time.time
_origin = _monotonic_ns()
_looked = [0, ""]


def _stepped(now_ns: int) -> str:
    if not STEP:
        return ""
    if now_ns - _looked[0] > LOOK_NS and not _looked[1]:  # asking the file system each time would be the slower clock
        _looked[0] = now_ns
        try:
            with pathlib.Path(STEP).open(encoding="ascii") as told:
                _looked[1] = told.read().strip()
        except OSError:
            pass
    return str(_looked[1])


def monotonic_ns() -> int:
    now = _monotonic_ns()
    ahead = HOUR_NS if _stepped(now) == "monotonic" else 0
    return now + int((now - _origin) * RATE) + ahead


def wall() -> float:
    return _time() + (3600.0 if _stepped(_monotonic_ns()) == "realtime" else 0.0)


time.monotonic_ns = monotonic_ns
time.time = wall
