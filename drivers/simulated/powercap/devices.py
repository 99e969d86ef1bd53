"""Registers and perf events of a simulated processor: the system calls below the `rapl` driver, and the files beside.

Tests run as root, on machines with other processors; so what the kernel would answer is answered here, errors included.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.rapl.counters import Event
from drivers.simulated.powercap.processors import PROCESSORS, SimulatedDomain, SimulatedProcessor

JUNK = 0xDEAD_BEEF << 32
PMU_TYPES = {"power": 9, "power_core": 10}
Key = tuple[str, int]  # domain kind, lowest CPU of what it counts


@dataclass
class _State:
    """One counter in the silicon: its domain, and its energy in J since the machine was made."""

    domain: SimulatedDomain
    energy_j: float = 0.0
    offset: int = 0
    jump: int = 0
    stuck: bool = False


@dataclass(frozen=True)
class _Open:
    """An open file or event: of `path`, or counting `key` from the count `origin` on, since `begin_ns`."""

    path: str = ""
    cpu: int = 0
    key: Key = ("", 0)
    origin: int = 0
    begin_ns: int = 0


class SimulatedDevices:
    """DeviceCalls of a processor below `root`, whose `set_energy_j` moves a channel called as the driver calls it.

    `create` writes cpuinfo, topology and the PMUs' folders. Faults: `deny` (errno of every open), `fail` (errno of a
    channel's reads), `reset`, `stick`, `idle_ns` (time in which events were not counted), `kinds_gone`.
    """

    def __init__(
        self, root: Path, layout: str | SimulatedProcessor = "client", *, now_ns: Callable[[], int] = lambda: 0
    ) -> None:
        self.root = root
        self.layout = PROCESSORS[layout] if isinstance(layout, str) else layout
        self.junk = JUNK
        self.deny = self.idle_ns = 0
        self.absent = self.hypervisor = False
        self._now_ns = now_ns
        self._fds: dict[int, _Open] = {}
        self._register_files: dict[int, int] = {}
        self._failing: dict[str, int] = {}
        self._states: dict[Key, _State] = {}
        self._channels: dict[str, Key] = {}
        for domain in self.layout.domains:
            for cpu in self._leads(domain):
                self._states[domain.kind, cpu] = _State(domain)
                self._channels[self._channel(domain, cpu)] = domain.kind, cpu

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._channels)

    # --- what moves it ----------------------------------------------------------------------------------

    def set_energy_j(self, channel: str, energy_j: float) -> None:
        """The channel has used so much since it was made; KeyError for one that is not there."""
        state = self._states[self._channels[channel]]
        if not state.stuck:
            state.energy_j = energy_j

    def reset(self, channel: str) -> None:
        """The register begins at 0 again, as after suspend; the kernel, which adds up events, takes it for a wrap."""
        state = self._states[self._channels[channel]]
        shown = state.domain.start + state.offset + self._counts(state)
        state.jump += -shown % (1 << 32)
        state.offset -= shown

    def stick(self, channel: str) -> None:
        self._states[self._channels[channel]].stuck = True

    def fail(self, channel: str, code: int) -> None:
        self._failing[channel] = code

    def mend(self, channel: str) -> None:
        self._failing.pop(channel, None)

    # --- files ------------------------------------------------------------------------------------------

    def create(self, *, pmus: bool = True) -> SimulatedDevices:
        """Writes what the kernel shows in files."""
        for part in ("sys", "proc", "dev"):
            shutil.rmtree(self.root / part, ignore_errors=True)
        (self.root / "proc/sys/kernel").mkdir(parents=True)
        (self.root / "proc/sys/kernel/osrelease").write_text("6.8.0-simulated\n", encoding="ascii")
        words = {"vendor_id": self.layout.vendor, "cpu family": self.layout.family, "model": self.layout.model,
                 "model name": self.layout.name}  # fmt: skip
        block = "".join(f"{key}\t: {value}\n" for key, value in words.items())
        text = "".join(f"processor\t: {cpu}\n{block}\n" for cpu in range(len(self.layout.cpus)))
        (self.root / "proc/cpuinfo").write_text(text, encoding="ascii")
        for cpu, place in enumerate(self.layout.cpus):
            folder = self.root / f"sys/devices/system/cpu/cpu{cpu}/topology"
            folder.mkdir(parents=True)
            for name, number in zip(("physical_package_id", "die_id", "core_id"), place, strict=True):
                (folder / name).write_text(f"{number}\n", encoding="ascii")
        if pmus:
            self._write_pmu("power", [d for d in self.layout.domains if not d.per_core])
            self._write_pmu("power_core", [d for d in self.layout.domains if d.per_core])
        return self

    def _write_pmu(self, pmu: str, domains: list[SimulatedDomain]) -> None:
        if not domains:
            return
        folder = self.root / "sys/bus/event_source/devices" / pmu
        (folder / "events").mkdir(parents=True)
        (folder / "format").mkdir()
        leads = self._leads(domains[0])
        for name, text in {
            "type": str(PMU_TYPES[pmu]), "cpumask": ",".join(map(str, leads)), "format/event": "config:0-7",
            **{f"events/{d.event}": f"event=0x{d.config:02x}" for d in domains},
            **{f"events/{d.event}.scale": "2.3283064365386962890625e-10" for d in domains},
            **{f"events/{d.event}.unit": "Joules" for d in domains},
        }.items():  # fmt: skip
            (folder / name).write_text(text + "\n", encoding="ascii")

    def write_registers(self) -> None:
        """The registers as they stand, in sparse files that any process can read at an offset; call it again to move
        them, and `close_registers` in the end.

        Intel only: AMD's registers have numbers one apart and 8 bytes each, which no file can hold.
        """
        if not self._register_files:
            for cpu in dict.fromkeys(cpu for _, cpu in self._states):
                path = self.root / f"dev/cpu/{cpu}/msr"
                path.parent.mkdir(parents=True, exist_ok=True)
                self._register_files[cpu] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                number = self.layout.units_register
                os.pwrite(self._register_files[cpu], self._register(cpu, number), number)
        for (_, cpu), state in self._states.items():
            number = state.domain.register
            os.pwrite(self._register_files[cpu], self._register(cpu, number), number)

    def close_registers(self) -> None:
        """May be called twice; the files stay."""
        while self._register_files:
            os.close(self._register_files.popitem()[1])

    # --- DeviceCalls ------------------------------------------------------------------------------------

    def open_register(self, path: str) -> int:
        cpu = int(Path(path).parent.name)
        if self.absent:
            raise _error(errno.ENOENT, path)
        if self.deny:
            raise _error(self.deny, path)
        if cpu >= len(self.layout.cpus):
            raise _error(errno.ENXIO, path)
        return self._opened(_Open(path=path, cpu=cpu))

    def read_register(self, fd: int, number: int) -> bytes:
        return self._register(self._fds[fd].cpu, number)

    def open_event(self, event: Event) -> int:
        if self.deny:
            raise _error(self.deny)
        pmu = next((name for name, number in PMU_TYPES.items() if number == event.pmu_type), None)
        if pmu is None:
            raise _error(errno.ENOENT)
        for domain in self.layout.domains:
            if domain.config == event.config and domain.per_core == (pmu == "power_core"):
                key = self._key(domain, event.cpu)
                if key in self._states:
                    origin = self._counts(self._states[key]) + self._states[key].jump
                    return self._opened(_Open("", event.cpu, key, origin, self._now_ns()))
        raise _error(errno.EINVAL)

    def read_event(self, fd: int) -> bytes:
        opened = self._fds[fd]
        state = self._states[opened.key]
        self._raise_if_failing(opened.key)
        enabled_ns = self._now_ns() - opened.begin_ns
        count = (self._counts(state) + state.jump - opened.origin) << (32 - state.domain.unit_bits)
        return struct.pack("<QQQ", 0 if self.hypervisor else count, enabled_ns, enabled_ns - self.idle_ns)

    def close(self, fd: int) -> None:
        del self._fds[fd]

    @property
    def open_count(self) -> int:
        return len(self._fds)

    # --- inside -----------------------------------------------------------------------------------------

    def _opened(self, what: _Open) -> int:
        fd = max(self._fds, default=99) + 1
        self._fds[fd] = what
        return fd

    def _register(self, cpu: int, number: int) -> bytes:
        if self.hypervisor:
            return bytes(8)  # a guest whose host answers 0 for every register that it does not know
        if number == self.layout.units_register:
            return struct.pack("<Q", 0x000A0003 | self.layout.unit_bits << 8)
        for domain in self.layout.domains:
            key = self._key(domain, cpu)
            if domain.register == number and key in self._states:
                self._raise_if_failing(key)
                state = self._states[key]
                value = (domain.start + state.offset + self._counts(state)) % (1 << 32)
                return struct.pack("<Q", self.junk | value)
        raise _error(errno.EIO)

    def _raise_if_failing(self, key: Key) -> None:
        for channel, code in self._failing.items():
            if self._channels[channel] == key:
                raise _error(code)

    @staticmethod
    def _counts(state: _State) -> int:
        return int(state.energy_j * (1 << state.domain.unit_bits))

    def _leads(self, domain: SimulatedDomain) -> list[int]:
        keys = dict.fromkeys(self._key(domain, cpu)[1] for cpu in range(len(self.layout.cpus)))
        return list(keys)[:1] if domain.first_package_only else list(keys)

    def _key(self, domain: SimulatedDomain, cpu: int) -> Key:
        """Kind and lowest CPU of the package, die or core that the CPU belongs to."""

        def scope(place: tuple[int, int, int]) -> tuple[int, ...]:
            if domain.per_core:
                return place
            return place[:2] if self.layout.scope == "die" else place[:1]

        mine = scope(self.layout.cpus[cpu])
        return domain.kind, next(c for c, place in enumerate(self.layout.cpus) if scope(place) == mine)

    def _channel(self, domain: SimulatedDomain, cpu: int) -> str:
        package, die, core = self.layout.cpus[cpu]
        name = f"package-{package}-die-{die}" if self.layout.scope == "die" else f"package-{package}"
        if domain.kind == "psys":
            return "psys"
        if domain.per_core:
            return f"{name}/core-{core}"
        return name if domain.kind == "package" else f"{name}/{domain.kind}"


def _error(code: int, path: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), path)
