"""`lease`: who has this board for himself, and until when. The board keeps it; whether a holder lives, the host judges.

There is one lease a machine, whatever users and directories the harnesses that come over work with. It runs out on
the board's CLOCK_MONOTONIC, which nobody can set, and is void after the board has restarted.
"""

import contextlib
import fcntl
import glob
import json
import os
import time

from .basics import NS, AgentError, answer, now_ns

ENVIRONMENT = "JOULEBENCH_LEASES"
DIRECTORY = "/tmp/joulebench-leases"
LEASE = "board.json"
LONGEST = 1 << 16


def lease(options):
    """--take for --seconds (again: renews it), --release, or neither: says who has it.

    Taken where it is free, has run out, is the caller's own, or belongs to the very owner that the caller knows to be
    dead (--dead); --force takes or releases it whoever has it.
    """
    owner, dead = json.loads(options.owner), json.loads(options.dead)

    def work():
        if not options.take and not options.release:
            return {"holder": current()}
        with alone() as handle:
            found = _read(handle)
            free = found is None or same_owner(found["owner"], owner) or options.force
            if options.release:
                if free:
                    _write(handle, b"")
                return {"released": free, "holder": None if free else found}
            if not free and not (dead and same_owner(found["owner"], dead)):
                return {"taken": False, "holder": found}
            _nobody_local()
            renews = found is not None and same_owner(found["owner"], owner)
            _write(handle, _record(owner, options.seconds, found["since"] if renews else None))
            return {"taken": True, "holder": _read(handle)}

    return answer(work)


def _nobody_local():
    """Whoever measures on this machine itself holds the lock `board local` of harness.bench.campaigns.leases."""
    for path in glob.glob(os.path.join(os.path.dirname(_path()), "board_local-*.lease")):
        with open(path, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                continue
            except OSError:
                pass
            try:
                notice = json.loads(lock.read().decode("utf-8"))
                who = "process {pid} of {user} on the board itself".format(**notice)
                end = ", or end it there: kill {pid}".format(**notice)
            except (ValueError, KeyError, TypeError):
                who, end = "a process on the board itself", ""
            raise AgentError("held", "{} measures with it".format(who), "wait for it" + end)


def release_own(owner):
    """Give the lease back if it is `owner`'s."""
    with alone() as handle:
        found = _read(handle)
        if found is not None and same_owner(found["owner"], owner):
            _write(handle, b"")


def current():
    """The lease in force: owner, `left_s` and `held_s`; None if nobody has the board."""
    try:
        handle = os.open(_path(), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # not in the middle of a change
        return _read(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone():
    """A handle of the lease's file, which nobody else changes meanwhile."""
    path = _path()
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_still(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


def _path():
    return os.path.join(os.environ.get(ENVIRONMENT) or DIRECTORY, LEASE)


def _open(path):
    """All users of the board share the file. In a sticky directory theirs cannot be opened with O_CREAT."""
    try:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            os.makedirs(directory, exist_ok=True)
            os.chmod(directory, 0o1777)
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(handle, 0o666)  # whatever the umask says
            return handle
        except FileExistsError:  # somebody was faster
            return os.open(path, flags)
    except OSError as error:
        raise AgentError(
            "device",
            "{} cannot be written: {}".format(path, error.strerror),
            "ls -ld {}*".format(os.path.dirname(path)),
        )


def _is_still(handle, path):
    """Somebody who tidies up may have removed the file between our opening and locking it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _read(handle):
    try:
        known = json.loads(os.pread(handle, LONGEST, 0).decode("utf-8"))
        left_ns = int(known["until_ns"]) - now_ns()
        if known["boot_id"] != boot_id() or left_ns <= 0:
            return None
        since = int(known["since"])
        held_s = (now_ns() - since) / 1e9
        return {"owner": known["owner"], "left_s": left_ns / 1e9, "held_s": held_s, "since": since}
    except (ValueError, KeyError, TypeError):
        return None  # empty: given back; damaged: by a power cut, which voids it


def _record(owner, seconds, since):
    kept = {
        "owner": owner, "boot_id": boot_id(), "since": now_ns() if since is None else since,
        "until_ns": now_ns() + int(seconds * NS), "written_unix_s": time.time(),
    }  # fmt: skip
    return json.dumps(kept).encode("utf-8")


def _write(handle, data):
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, data, 0)
    except OSError as error:
        raise AgentError("device", "{} cannot be written: {}".format(_path(), error.strerror), "df -h " + _path())


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
