"""A network namespace with one cable to it: a simulated board has an address, a link, and a link that can fail.

The cable is a veth pair. IPv6 is off and neighbours are static, so that an idle link carries no packet at all. A link
that is `down` loses packets silently in both directions, as a radio does: each side then sends to a hardware address
that nobody has, and neither kernel reports an error.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_NOBODY = "02:00:00:00:ff:ff"
_PREFIX = "jbsim"
_OWNER = re.compile(rf"{_PREFIX}-(\d+)-\d+$")


@functools.cache
def missing_for_networks() -> str:
    """What lacks to make namespaces here, by the name of its package or right; empty if nothing does."""
    if os.geteuid() != 0:
        return "root (for network namespaces)"
    try:
        with SimulatedNetwork():
            return ""
    except FileNotFoundError:
        return "iproute2"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces ({error})"


def ip(*words: str) -> str:
    """Runs ip(8); CalledProcessError with its complaint in `stderr`."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, encoding="utf-8").stdout


class SimulatedNetwork:
    """A namespace reached over 10.213.<n>.0/30: `host` is this machine's end, `address` the board's. Needs root."""

    _made = 0

    def __init__(self) -> None:
        _sweep()
        type(self)._made += 1
        self.namespace = f"{_PREFIX}-{os.getpid()}-{self._made}"
        ip("netns", "add", self.namespace)
        try:
            self._lay_cable()
        except BaseException:
            self.close()
            raise

    def _lay_cable(self) -> None:
        for number in range(256):
            self.host_end, self.board_end = f"jb{number}h", f"jb{number}b"
            try:
                ip(
                    "link",
                    "add",
                    self.host_end,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    self.board_end,
                    "netns",
                    self.namespace,
                )
            except subprocess.CalledProcessError:
                if number == 255:
                    raise
                continue  # taken
            break
        self.host, self.address = f"10.213.{number}.1", f"10.213.{number}.2"
        self._quiet(["sysctl", "-qw", f"net.ipv6.conf.{self.host_end}.disable_ipv6=1"])
        inside = ["ip", "netns", "exec", self.namespace]
        self._quiet([*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
        ip("addr", "add", f"{self.host}/30", "dev", self.host_end)
        self.inside("addr", "add", f"{self.address}/30", "dev", self.board_end)
        ip("link", "set", self.host_end, "arp", "off", "up")
        self.inside("link", "set", self.board_end, "arp", "off", "up")
        self.inside("link", "set", "lo", "up")
        self._host_mac = _mac(ip("-o", "link", "show", self.host_end))
        self._board_mac = _mac(self.inside("-o", "link", "show", self.board_end))
        self.link_up()

    @staticmethod
    def _quiet(argv: Sequence[str]) -> None:
        subprocess.run(argv, check=True, capture_output=True)

    def inside(self, *words: str) -> str:
        """Runs ip(8) in the namespace."""
        return ip("-n", self.namespace, *words)

    def link_down(self) -> None:
        """From now on every packet is lost, in both directions, silently."""
        self._neighbours(_NOBODY, _NOBODY)

    def link_up(self) -> None:
        self._neighbours(self._board_mac, self._host_mac)

    def _neighbours(self, board_mac: str, host_mac: str) -> None:
        ip("neigh", "replace", self.address, "lladdr", board_mac, "dev", self.host_end, "nud", "permanent")
        self.inside("neigh", "replace", self.host, "lladdr", host_mac, "dev", self.board_end, "nud", "permanent")

    def packets(self) -> int:
        """Packets on the cable so far, both directions."""
        statistics = Path("/sys/class/net") / self.host_end / "statistics"
        return sum(int((statistics / name).read_text("ascii")) for name in ("rx_packets", "tx_packets"))

    def pids(self) -> tuple[int, ...]:
        """Every process in the namespace."""
        return tuple(int(word) for word in ip("netns", "pids", self.namespace).split())

    def close(self) -> None:
        """Ends what still runs inside and removes the namespace with its cable. May be called twice."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.inside("link", "del", self.board_end)  # at once; the namespace itself goes when it can
        _remove(self.namespace)

    def __enter__(self) -> SimulatedNetwork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _mac(link: str) -> str:
    found = re.search(r"link/ether (\S+)", link)
    assert found, link
    return found.group(1)


def _remove(namespace: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
        for pid in ip("netns", "pids", namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        ip("netns", "del", namespace)


def _sweep() -> None:
    """Removes namespaces whose maker is gone: a killed test run leaves nothing for ever."""
    for line in ip("netns", "list").splitlines():
        found = _OWNER.match(line.split()[0]) if line.strip() else None
        if found and not Path(f"/proc/{found.group(1)}").exists():
            _remove(found.group(0))
