"""`lease`: who has this board for himself, and until when. The board keeps it; whether a holder lives, the host judges.

It runs out on the board's CLOCK_MONOTONIC, which nobody can set, and is void after the board has restarted.
"""

import contextlib
import fcntl
import json
import os
import time

from .basics import NS, AgentError, answer, now_ns
from .files import keep_file, remove_file

LEASE = "lease.json"


def lease(options):
    """--take for --seconds (again: renews it), --release, or neither: says who has it.

    Taken where it is free, has run out, is the caller's own, or belongs to the very owner that the caller knows to be
    dead (--dead); --force takes or releases it whoever has it.
    """
    root = os.path.abspath(options.root)
    owner, dead = json.loads(options.owner), json.loads(options.dead)

    def work():
        with alone(root):
            found = current(root)
            if not options.take and not options.release:
                return {"holder": found}
            free = found is None or same_owner(found["owner"], owner) or options.force
            if options.release:
                if free:
                    remove_file(os.path.join(root, LEASE))
                return {"released": free, "holder": None if free else found}
            if not free and not (dead and same_owner(found["owner"], dead)):
                return {"taken": False, "holder": found}
            renews = found is not None and same_owner(found["owner"], owner)
            _write(root, owner, options.seconds, found["since"] if renews else None)
            return {"taken": True, "holder": current(root), "from": None if renews else found}

    return answer(work)


@contextlib.contextmanager
def alone(root):
    """Nobody else changes the lease meanwhile."""
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        handle = os.open(os.path.join(root, "lease.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AgentError(
            "device", "{} cannot be written: {}".format(root, error.strerror), "df -h {0}; ls -ld {0}".format(root)
        )
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def current(root):
    """The lease in force: owner, `left_s` and `held_s`; None if nobody has the board."""
    try:
        with open(os.path.join(root, LEASE), "rb") as kept:
            known = json.loads(kept.read().decode("utf-8"))
        left_ns = int(known["until_ns"]) - now_ns()
        if known["boot_id"] != boot_id() or left_ns <= 0:
            return None
        since = known["since"]
        held_s = (now_ns() - int(since)) / 1e9
        return {"owner": known["owner"], "left_s": left_ns / 1e9, "held_s": held_s, "since": since}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is written in one piece: what cannot be read is no lease of ours


def _write(root, owner, seconds, since):
    kept = {
        "owner": owner, "boot_id": boot_id(), "since": now_ns() if since is None else since,
        "until_ns": now_ns() + int(seconds * NS), "written_unix_s": time.time(),
    }  # fmt: skip
    keep_file(os.path.join(root, LEASE), json.dumps(kept).encode("utf-8"))


def same_owner(one, other):
    """Process and machine, whatever else the records say."""
    if not one or not other:
        return False
    return all(one.get(key) == other.get(key) for key in ("pid", "identity", "pid_namespace"))


def boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return boot.read().strip()
    except OSError:
        return None
