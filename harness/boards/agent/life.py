"""How an agent ends, and how a process is named for ever."""

import os
import sys

from .basics import AgentError


def end_self(pin, why):
    """Ends the process from any thread, with the pin low and without a pid file."""
    sys.stderr.write(why + "\n")
    sys.stderr.flush()
    try:
        pin.low()
    except AgentError:
        pass
    for name in ("agent.json", "socket"):
        try:
            os.unlink(name)
        except OSError:
            pass
    os._exit(0)  # a command under way dies with us (die_with_parent)


def identity(pid):
    """[boot id, start time in clock ticks]: with the pid, names a process for ever; None if there is none."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as text:
            fields = text.read().rsplit(b")", 1)[1].split()
        if fields[0] == b"Z":
            return None
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return [boot.read().strip(), int(fields[19])]
    except (OSError, IndexError, ValueError):
        return None
