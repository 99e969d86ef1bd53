"""Boards and meters are held exclusively on this machine: two campaigns on one meter would both measure nonsense.

A lease is a flock on a file: the kernel frees it when its process dies, however it dies. The file's content is only
a notice that names the holder. Leases among several machines lie on the board: harness.boards.ownership.lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from harness.boards.agent.lease import current
from harness.boards.ownership.lease import held
from harness.boards.ownership.owner import DEAD, fate_of
from harness.core.errors import DeviceError, HeldError
from harness.core.spec import BoardSpec, MeterBinding, RunSpec
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

ENVIRONMENT = "JOULEBENCH_LEASES"
DIRECTORY = "/tmp/joulebench-leases"
THIS_MACHINE = "board local"
LOOK_AGAIN_S = 0.2
SIMULATED_METER = "simulated meter"
IDENTIFYING = ("serial", "address", "host", "port", "device", "path", "resource", "bus", "root", "index", "uuid")


def resources_of(spec: RunSpec, *, on_board: Container[str] = ()) -> tuple[str, ...]:
    """Names of what a run must have for itself: its board and its meters, sorted.

    `on_board`: drivers whose meters are part of the board that they measure (they are held with it). Runs that
    share a name cannot be measured at the same time. Simulated meters are one a bench process: only runs of one
    campaign can share them.
    """
    names = {board_resource(spec.board, simulated=spec.simulated)}
    for binding in spec.meters:
        if binding.driver not in on_board:
            names.add(meter_resource(binding, simulated=spec.simulated))
    return tuple(sorted(names))


def board_resource(board: BoardSpec, *, simulated: bool = False) -> str:
    """The board's name among leases: its address. All local boards are one machine, unless they are simulated."""
    if board.transport == "local":
        return f"board {board.name} of {getpass.getuser()}, simulated" if simulated else THIS_MACHINE
    host = (board.address or board.name).rpartition("@")[2].lower().removesuffix(":22")
    return f"board {host}"


def meter_resource(binding: MeterBinding, *, simulated: bool = False) -> str:
    """The meter's name among leases: its driver and what tells it from others; without that all of the driver."""
    told = [f"{key}={value}" for key, value in sorted(binding.options) if key in IDENTIFYING]
    if simulated:
        return f"{SIMULATED_METER} {binding.driver} {' '.join(told) or binding.name}"
    return " ".join(["meter", binding.driver, *told])


@contextlib.contextmanager
def hold(
    resources: Iterable[str], *, wait_s: float = 0.0, campaign: str = "", clock: WaitClock | None = None
) -> Iterator[None]:
    """Hold all `resources` while the context lasts; those of simulated meters need none.

    Waits at most `wait_s` for each. Errors: HeldError naming the holder, DeviceError if the directory of
    leases ($JOULEBENCH_LEASES, else /tmp/joulebench-leases) cannot be used.
    """
    directory = _directory()
    clock = clock or RealClock()
    with contextlib.ExitStack() as taken:
        for resource in sorted(set(resources)):  # one order for everybody: nobody waits in a ring
            if not resource.startswith(SIMULATED_METER):
                taken.callback(os.close, _take(directory, resource, wait_s, campaign, clock))
            if resource == THIS_MACHINE:
                _nobody_from_elsewhere()
        yield


def _nobody_from_elsewhere() -> None:
    """Somebody may be measuring with this machine over SSH: then it is held by the lease that lies on it."""
    holder = current()
    if holder is not None and fate_of(holder["owner"]) != DEAD:
        held(THIS_MACHINE.removeprefix("board "), holder)


def holders(resources: Sequence[str]) -> dict[str, str]:
    """Who holds which of `resources` now, in words; those that are free are left out."""
    found = {}
    for resource in resources:
        path = _path(_directory(), resource)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found[resource] = _holder(path)[0]
        finally:
            os.close(handle)
    return found


def _directory() -> Path:
    directory = Path(os.environ.get(ENVIRONMENT) or DIRECTORY)
    try:
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o1777)  # every user of this machine shares its meters
    except OSError as error:
        raise DeviceError(
            f"the directory of leases {directory} cannot be made: {error.strerror}",
            hint=f"set {ENVIRONMENT} to a directory that all users of this machine's meters share",
        ) from error
    return directory


def _path(directory: Path, resource: str) -> Path:
    plain = re.sub(r"[^A-Za-z0-9_.=-]+", "_", resource)[:80]
    return directory / f"{plain}-{hashlib.sha256(resource.encode()).hexdigest()[:8]}.lease"


def _take(directory: Path, resource: str, wait_s: float, campaign: str, clock: WaitClock) -> int:
    path = _path(directory, resource)
    until_ns = clock.now_ns() + int(wait_s * NS_PER_S)
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(handle, path):
                _leave_notice(handle, campaign)
                return handle
        except BlockingIOError:
            if clock.now_ns() >= until_ns:
                os.close(handle)
                raise _taken(resource, path) from None
            clock.sleep_until(min(until_ns, clock.now_ns() + int(LOOK_AGAIN_S * NS_PER_S)))
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open(path: Path) -> int:
    """A handle that can be locked. Files of other users in a sticky directory cannot be opened with O_CREAT."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    for more in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR, os.O_RDONLY):
        try:
            handle = os.open(path, flags | more, 0o666)
        except OSError as error:
            last = error
            continue
        if more & os.O_CREAT:
            os.fchmod(handle, 0o666)  # whatever the umask says: the next holder may be another user
        return handle
    raise DeviceError(
        f"the lease {path} cannot be opened: {last.strerror}", hint=f"ls -l {path}; or set {ENVIRONMENT}"
    ) from last


def _is_still(handle: int, path: Path) -> bool:
    """Somebody who tidies up may have removed the file between our opening and locking it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _leave_notice(handle: int, campaign: str) -> None:
    notice = {
        "pid": os.getpid(), "host": socket.gethostname(), "user": getpass.getuser(), "since_unix_s": time.time(),
        "campaign": campaign,
    }  # fmt: skip
    with contextlib.suppress(OSError):  # a file of another user that we may lock, not write
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(notice).encode(), 0)


def _taken(resource: str, path: Path) -> HeldError:
    holder, pid = _holder(path)
    end = f", or end it: kill {pid}" if pid else f"; it holds {path}"
    return HeldError(f"{resource} is held by {holder}", hint=f"wait for it{end}")


def _holder(path: Path) -> tuple[str, int | None]:
    try:
        notice = json.loads(path.read_text("utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(notice["since_unix_s"]))
        campaign = f" (campaign {notice['campaign']})" if notice.get("campaign") else ""
        words = f"process {notice['pid']} of {notice['user']} on {notice['host']}{campaign} since {since}"
        return words, int(notice["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another process", None
