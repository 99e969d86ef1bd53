"""Reads the marker FIFO and stamps its edges at once; a process of its own, so that no physics delays a stamp.

    python -m drivers.simulated.rig.pin_listener FIFO      records go to standard output

Nothing heavy may be imported here. It ends when its output is closed.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import sys
import time

RECORD = struct.Struct("<qB")  # CLOCK_MONOTONIC ns; 0 or 1: level of the pin, NEW_WRITER: another process opened it
NEW_WRITER = 2
MERGED = 3  # several edges came in one read: the times of all but the last are a guess
_LOW, _HIGH = ord("0"), ord("1")
_WAIT_S = 0.01  # between looks while nobody has the FIFO open; an agent opens it long before it works
_GAP_NS = 10_000  # between the end of one stretch and the begin of the next, back to back
_LATE_NS = 5_000_000  # a listener that is woken later than this is not believed to be


def spread(levels: list[int], last_ns: int, now_ns: int) -> list[int]:
    """Times of edges that came in one read: the newest is now, the others where back-to-back work puts them.

    The ends (lows) are spaced evenly after the edge before, `last_ns`; a begin follows its end at once.
    """
    ends = levels.count(0)
    end_ns = now_ns - (_GAP_NS if levels[-1] == 1 and ends else 0)
    first_ns = min(max(last_ns, now_ns - _LATE_NS), end_ns)
    times: list[int] = []
    at, done = first_ns, 0
    for level in levels:
        if level == 0:
            done += 1
            at = first_ns + (end_ns - first_ns) * done // ends
            times.append(at)
        else:
            times.append(min(at + _GAP_NS, now_ns))
    times[-1] = now_ns
    return times


def listen(fifo: str, out: int) -> None:
    """Forward edges from `fifo` to the file descriptor `out` until that is closed."""
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.register(out, 0)  # POLLERR when the reader of our records is gone
    level, known_writer, last_ns = 0, False, 0
    while True:
        events = poller.poll()
        t_ns = time.monotonic_ns()
        if any(descriptor == out for descriptor, _ in events):
            return
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            continue
        records = []
        if data and not known_writer:
            records.append(RECORD.pack(t_ns, NEW_WRITER))
            known_writer = True
        if not data:
            if level:  # the writer died at work
                records.append(RECORD.pack(t_ns, 0))
            level, known_writer = 0, False
        levels = []
        for byte in data:
            if byte in (_LOW, _HIGH) and byte - _LOW != level:
                level = byte - _LOW
                levels.append(level)
        if levels:
            records += [RECORD.pack(t, v) for t, v in zip(spread(levels, last_ns, t_ns), levels, strict=True)]
            last_ns = t_ns
        if len(levels) > 2:
            records.append(RECORD.pack(t_ns, MERGED))
        if records:
            try:
                os.write(out, b"".join(records))
            except BrokenPipeError:
                return
        if not data:
            time.sleep(_WAIT_S)


def main() -> None:
    """Real-time priority where the system allows it, then listen."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    with contextlib.suppress(KeyboardInterrupt):
        listen(sys.argv[1], sys.stdout.fileno())


if __name__ == "__main__":
    main()
