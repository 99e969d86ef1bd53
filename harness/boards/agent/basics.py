"""What every part of the agent shares: its version, its clock, its errors, and a few small readings of files."""

import ctypes
import hashlib
import json
import signal
import time

AGENT_VERSION = "3.0"
PROTOCOL_VERSION = 3
NS = 1000000000


def _clock_of_python_36():
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)


now_ns = getattr(time, "monotonic_ns", _clock_of_python_36)


class AgentError(Exception):
    """An error for the host: kind "spec", "device" or "transient", a message, and what to do next."""

    def __init__(self, kind, message, hint=""):
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        self.hint = hint


def sleep_until(until_ns):
    left = until_ns - now_ns()
    while left > 0:
        time.sleep(left / 1e9)
        left = until_ns - now_ns()


def sha256(path):
    with open(path, "rb") as data:
        return hashlib.sha256(data.read()).hexdigest()


def tail(path, characters=400):
    try:
        with open(path, "rb") as log:
            return log.read()[-characters:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


try:
    LIBC = ctypes.CDLL(None)
    LIBC.prctl  # musl and glibc have it
except (OSError, AttributeError):
    LIBC = None


def die_with_parent():
    """In a child before exec: SIGKILL when the agent dies (Linux), so that no command is left running."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGKILL)


def refusal(error):
    return {"ok": False, "kind": error.kind, "error": error.message, "hint": error.hint}


def answer(work):
    """A command's reply to the host: one line of JSON, what `work` returns or why it refused; the exit status."""
    try:
        reply = dict(work(), ok=True)
    except AgentError as error:
        reply = refusal(error)
    print(json.dumps(reply))
    return 0 if reply["ok"] else 1
