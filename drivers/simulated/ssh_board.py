"""A simulated board: a real OpenSSH sshd of its own, with keys, a home, a clock, a cable, and processes that can die.

Without a network it listens on loopback and any user can run it. With a SimulatedNetwork (root) it has an address, and
a link that can be counted and cut. As root it may also have a monotonic clock and a boot id of its own, as any real
board has. What the harness needs to reach it is written to `client_home`/.ssh (config, known_hosts, key), where both
`HOME=client_home joulebench ...` and `ssh -F client_home/.ssh/config NAME` find it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from drivers.simulated.ssh_network import SimulatedNetwork, missing_for_networks

_MARK = "JOULEBENCH_SIMULATED_BOARD"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
_LOGIN_SHELL = """#!/bin/sh
# What a login shell that prints does to every command, and to the sftp server.
cat {noise}
cat {noise} >&2
exec {shell} -c "${{SSH_ORIGINAL_COMMAND:-true}}"
"""


def sshd_program() -> str | None:
    """Where sshd is, or None."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")


@functools.cache
def missing(*, networks: bool = False) -> str:
    """What lacks here to simulate a board (with a network of its own): a package's name, or an empty string."""
    if sshd_program() is None:
        return "openssh-server"
    if shutil.which("ssh-keygen") is None:
        return "openssh-client"
    return missing_for_networks() if networks else ""


class SshBoard:
    """One simulated board, running while the context lasts.

    `name`: its alias in `client_home`/.ssh/config. `via`: the board whose sshd is the jump host to this one (in the
    same network, this one then listens on that network's loopback only). `noise`: what its login shell prints before
    every command. `shell`: the login shell, such as `fish` (default: the user's). `sftp`: whether there is an sftp
    subsystem. `environment`: of its sessions. `clock_offset_s`: by how much its monotonic clock is ahead of the host's
    (root). `binds`: (source, target) mounts that only the board sees (root). `trusted`: its host key is written to
    known_hosts. `sshd_options`: lines put first in sshd_config.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "board",
        *,
        client_home: Path,
        network: SimulatedNetwork | None = None,
        via: SshBoard | None = None,
        noise: str = "",
        shell: str = "",
        sftp: bool = True,
        environment: Mapping[str, str] | None = None,
        clock_offset_s: int = 0,
        binds: Sequence[tuple[Path, str]] = (),
        trusted: bool = True,
        sshd_options: Sequence[str] = (),
    ) -> None:
        self.directory, self.name, self.network, self.via = directory.resolve(), name, network, via
        self.client_home = client_home.resolve()
        self.home = self.directory / "home"
        self.log = self.directory / "sshd.log"
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.clock_offset_s, self._binds = clock_offset_s, list(binds)
        self._token = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._left: set[int] = set()  # session processes that outlived their listener
        self.home.mkdir(parents=True)
        inner = network is not None and via is not None and via.network is network
        self.address = "127.0.0.1" if network is None or inner else network.address
        self.port = 22 if network is not None and not inner else _free_port()
        self._make_keys()
        self._write_config(noise, shell, environment or {}, sshd_options, sftp=sftp)
        self._write_client(trusted=trusted)

    # --- files ------------------------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """The ssh_config that knows this board by its name."""
        return self.client_home / ".ssh" / "config"

    @property
    def known_hosts(self) -> Path:
        return self.client_home / ".ssh" / "known_hosts"

    @property
    def user_key(self) -> Path:
        return self.client_home / ".ssh" / f"id_{self.name}"

    @property
    def host_key(self) -> Path:
        return self.directory / "host_ed25519"

    @property
    def known_name(self) -> str:
        """As known_hosts has it."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"

    def host_key_line(self) -> str:
        """The board's line of known_hosts."""
        kind, blob = self.host_key.with_suffix(".pub").read_text("ascii").split()[:2]
        return f"{self.known_name} {kind} {blob}"

    def new_host_key(self) -> None:
        """As if the board had been installed anew; takes effect at the next start of sshd."""
        for path in (self.host_key, self.host_key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        _keygen(self.host_key)

    def _make_keys(self) -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _keygen(self.host_key)
        _keygen(self.user_key)
        shutil.copy(self.user_key.with_suffix(".pub"), self.directory / "authorized_keys")

    def _write_config(
        self, noise: str, shell: str, environment: Mapping[str, str], options: Sequence[str], *, sftp: bool
    ) -> None:
        leases = str(self.directory / "leases")  # those of a machine of its own
        variables = {"HOME": str(self.home), _MARK: self._token, "JOULEBENCH_LEASES": leases, **environment}
        lines = [
            *options,
            f"ListenAddress {self.address}", f"Port {self.port}", f"HostKey {self.host_key}",
            f"PidFile {self.directory / 'sshd.pid'}", f"AuthorizedKeysFile {self.directory / 'authorized_keys'}",
            "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password", "PrintMotd no", "MaxStartups 100", "LogLevel VERBOSE",
            "SetEnv " + " ".join(f'"{key}={value}"' for key, value in variables.items()),
        ]  # fmt: skip
        if sftp:
            server = next((path for path in _SFTP_SERVERS if Path(path).exists()), "internal-sftp")
            lines.append(f"Subsystem sftp {server}")
        if noise or shell:
            (self.directory / "noise").write_text(noise, "utf-8")
            wrapper = self.directory / "login-shell"
            noise_file = shlex.quote(str(self.directory / "noise"))
            script = _LOGIN_SHELL.format(noise=noise_file, shell=shell or '"${SHELL:-/bin/sh}"')
            wrapper.write_text(script, "utf-8")
            wrapper.chmod(0o755)
            lines.append(f"ForceCommand {wrapper}")
        (self.directory / "sshd_config").write_text("\n".join(lines) + "\n", "utf-8")

    def _write_client(self, *, trusted: bool) -> None:
        lines = [
            f"Host {self.name}", f"    HostName {self.address}", f"    Port {self.port}", f"    User {self.user}",
            f"    IdentityFile {self.user_key}", "    IdentitiesOnly yes",
            f"    UserKnownHostsFile {self.known_hosts}", "    GlobalKnownHostsFile /dev/null",
        ]  # fmt: skip
        if self.via is not None:
            lines.append(f"    ProxyJump {self.via.name}")
        with self.config.open("a", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n\n")
        with self.known_hosts.open("a", encoding="utf-8") as out:
            out.write(self.host_key_line() + "\n" if trusted else "")

    # --- life -------------------------------------------------------------------------------------------

    def start_sshd(self) -> None:
        """Start listening; RuntimeError with sshd's complaint if it does not come up."""
        if self._process is not None:
            return
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = sshd_program()
        assert program is not None, "sshd is not installed: ask missing() first"
        pid_file = self.directory / "sshd.pid"
        pid_file.unlink(missing_ok=True)
        sshd = [program, "-D", "-e", "-f", str(self.directory / "sshd_config")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._wrapped(sshd), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 10.0
        while not (pid_file.exists() and pid_file.read_text("ascii").strip()):
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill_sshd()
                raise RuntimeError(f"sshd did not start: {self.log.read_text('utf-8', 'replace')[-800:]}")
            time.sleep(0.005)

    def _wrapped(self, sshd: Sequence[str]) -> list[str]:
        """The command in the board's namespaces: network, mounts, clock."""
        if os.geteuid() != 0:
            return list(sshd)
        mounts = "".join(f"mount --bind {shlex.quote(str(s))} {shlex.quote(t)} && " for s, t in self._all_binds())
        command = ["unshare", "--mount", "--propagation", "slave"]
        if self.clock_offset_s:
            offset = str(self.clock_offset_s)
            command += ["--time", "--monotonic", offset, "--boottime", offset, "--fork", "--kill-child"]
        command += ["sh", "-c", f'{mounts}exec "$@"', "sh", *sshd]
        return [*(["ip", "netns", "exec", self.network.namespace] if self.network else []), *command]

    def _all_binds(self) -> list[tuple[Path, str]]:
        boot_id = self.directory / "boot_id"
        if not boot_id.exists():
            boot_id.write_text(f"{uuid.uuid4()}\n", "ascii")
        return [(boot_id, _BOOT_ID), *self._binds]

    def kill_sshd(self, *, sessions: bool = False) -> None:
        """Kill the listener, and the sessions it serves if `sessions`; detached programs live on."""
        if self._process is None:
            return
        tree = _descendants(self._process.pid)
        daemons = {pid for pid in tree if _name_of(pid).startswith("sshd")}
        listener = self._listener_pid()
        self._left |= daemons - {listener}
        for pid in daemons if sessions else {listener} - {0}:
            _kill(pid)
        try:
            self._process.wait(timeout=2.0)  # unshare, if any, ends with its child
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _listener_pid(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.directory / "sshd.pid").read_text("ascii"))
        return 0

    def pids(self) -> tuple[int, ...]:
        """The programs that run on the board (not its sshd): found by their environment, detached or not."""
        mark = f"{_MARK}={self._token}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return tuple(found)

    def reboot(self, *, down_s: float = 0.0) -> None:
        """Power off without a word (every process is killed, the link is lost first), and on again after `down_s`."""
        if self.network is not None:
            self.network.link_down()
        self.power_off()
        time.sleep(down_s)
        (self.directory / "boot_id").unlink(missing_ok=True)
        if self.network is not None:
            self.network.link_up()
        self.start_sshd()

    def power_off(self) -> None:
        """Kill every process of the board."""
        self.kill_sshd(sessions=True)
        for pid in self._left:
            _kill(pid)
        self._left.clear()
        until = time.monotonic() + 5.0
        while (alive := self.pids()) and time.monotonic() < until:
            for pid in alive:
                _kill(pid)
            time.sleep(0.002)

    def link_down(self) -> None:
        self._cable().link_down()

    def link_up(self) -> None:
        self._cable().link_up()

    def packets(self) -> int:
        """Packets on the board's link so far."""
        return self._cable().packets()

    def _cable(self) -> SimulatedNetwork:
        assert self.network is not None, "this board was given no network of its own"
        return self.network

    def __enter__(self) -> SshBoard:
        self.start_sshd()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _descendants(root: int) -> set[int]:
    """`root` and everything below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_bytes().rsplit(b")", 1)[1].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
