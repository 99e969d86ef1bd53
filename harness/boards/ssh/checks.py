"""What can be said about the way to a board: is it reached, by which key, how fast, and what waits to spoil a run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from harness.boards.ssh.transport import SshTransport
from harness.core.errors import BenchError, TransientError
from harness.core.ports import CheckItem

ROUND_TRIPS = 7
SLOW_S = 0.5
_ANSWER_S = 10.0

# Does the login manager end what a user leaves running, and is this user exempt?
_LOGIND = (
    'u=$(id -un); echo "$(id -u)"; loginctl show-user -p KillUserProcesses --value 2>/dev/null || echo unknown; '
    '[ -e "/var/lib/systemd/linger/$u" ] && echo linger || echo none; echo "$u"'
)


def check_link(transport: SshTransport) -> tuple[CheckItem, ...]:
    """Findings about the connection; without one a single finding: `connection` (may pass) or `access` (will not)."""
    begun = time.monotonic()
    try:
        transport.connect()
        connect_s = time.monotonic() - begun
        return (
            CheckItem("connection", True, f"{_way(transport)}, connected in {connect_s:.2g} s"),
            CheckItem("host key", True, f"{transport.host_key()}, as known"),
            _round_trip(transport),
            _login_shell(transport),
            *_login_manager(transport),
        )
    except BenchError as error:
        name = "connection" if isinstance(error, TransientError) else "access"
        return (CheckItem(name, False, error.message, error.hint),)


def _way(transport: SshTransport) -> str:
    *before, last = transport.route()
    port = "" if last.port == 22 else f" port {last.port}"
    through = f" through {', '.join(hop.name for hop in before)}" if before else ""
    return f"{last.user}@{last.host}{port}{through}"


def _round_trip(transport: SshTransport) -> CheckItem:
    seconds = []
    for _ in range(ROUND_TRIPS):
        begun = time.monotonic()
        transport.run(["true"], timeout_s=_ANSWER_S)
        seconds.append(time.monotonic() - begun)
    typical_s = statistics.median(seconds)
    mend = "" if typical_s < SLOW_S else "is the board busy, or the radio weak? a cable is faster"
    return CheckItem("round trip", True, f"{1000 * typical_s:.0f} ms a command", mend)


def _login_shell(transport: SshTransport) -> CheckItem:
    if transport.noise_bytes == 0:
        return CheckItem("login shell", True, "prints nothing of its own")
    return CheckItem(
        "login shell",
        True,
        f"prints {transport.noise_bytes} bytes before each command, which is ignored",
        "in ~/.bashrc there, print only in interactive shells: [[ $- == *i* ]] || return",
    )


def _login_manager(transport: SshTransport) -> Sequence[CheckItem]:
    done = transport.run(["sh", "-c", _LOGIND], timeout_s=_ANSWER_S)
    lines = done.stdout.split()
    if len(lines) != 4:
        return ()
    uid, kills, linger, user = lines
    if kills != "yes" or uid == "0" or linger == "linger":  # root is exempt unless somebody changed that
        return ()
    return (
        CheckItem(
            "login manager",
            False,
            "ends what a user leaves running when the link is cut (KillUserProcesses=yes)",
            f"sudo loginctl enable-linger {user}   # on the board",
        ),
    )
