"""The state of a Linux board that decides what it draws: read, checked, set on request, and put back.

Everything is read below an injected root, so that a test can give a tree of its own. What a board does not offer
is None, never 0: a temperature that cannot be read is not 0 degrees.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import DeviceError, SpecError
from harness.core.ports import CheckItem
from harness.core.spec import BoardSpec

CPU = "sys/devices/system/cpu"
HOT_C = 75.0
BUSY_PER_CPU = 0.3


class HostState:
    """State of the machine below `root`. `journal`: file that remembers what `configure` changed until `restore`."""

    def __init__(self, root: Path, *, journal: Path) -> None:
        self._root, self._journal = root, journal

    def read(self) -> dict[str, Any]:
        """Names of what is known about the board; None for what it does not offer (listed in `not_available`)."""
        state: dict[str, Any] = {
            "cpu_model": self._cpu_model(),
            "machine": platform.machine(),
            "kernel": self._text("proc/sys/kernel/osrelease"),
            "cpus_online": self._text(f"{CPU}/online"),
            "governor": self._of_policies("scaling_governor"),
            "frequency_hz": self._khz("scaling_cur_freq"),
            "frequency_min_hz": self._khz("scaling_min_freq"),
            "frequency_max_hz": self._khz("scaling_max_freq"),
            "turbo": self._turbo(),
            "temperature_c": self._temperatures(),
            "throttle_count": self._throttle_counts(),
            "load_1min": self._load(),
            "memory_total_bytes": self._memory("MemTotal"),
            "memory_available_bytes": self._memory("MemAvailable"),
        }
        state["not_available"] = sorted(name for name, value in state.items() if value is None)
        return state

    def configure(self, board: BoardSpec) -> dict[str, Any]:
        """Set what the board's specification asks for; the journal is on disk before the first change.

        Errors: SpecError for a governor that the board does not have, DeviceError where it may not be set.
        """
        if board.governor is None:
            return {}
        self.restore()
        policies = self._policies()
        if not policies:
            raise SpecError(
                f"board {board.name}: governor {board.governor!r} cannot be set, there is no cpufreq here",
                hint="leave governor out of the board's entry",
            )
        changes = []
        for policy in policies:
            known = (self._text(f"{CPU}/cpufreq/{policy}/scaling_available_governors") or "").split()
            if known and board.governor not in known:
                raise SpecError(
                    f"board {board.name} has no governor {board.governor!r}", hint=f"known: {', '.join(known)}"
                )
            path = f"{CPU}/cpufreq/{policy}/scaling_governor"
            before = self._text(path)
            if before is not None and before != board.governor:
                changes.append({"path": path, "before": before})
        if changes:
            self._remember(changes)
        for change in changes:
            self._set(change["path"], board.governor)
        return {"governor": board.governor, "changed": [change["path"] for change in changes]}

    def restore(self) -> tuple[str, ...]:
        """Put back what the journal says, also after a crash; paths that were put back. DeviceError if refused."""
        try:
            changes = json.loads(self._journal.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"the record of changed settings {self._journal} cannot be read: {error}",
                hint="check the governor by hand, then remove that file",
            ) from error
        for change in reversed(changes):
            self._set(change["path"], change["before"])
        self._journal.unlink()
        return tuple(change["path"] for change in changes)

    def check(self, board: BoardSpec | None) -> tuple[CheckItem, ...]:
        """Findings about the state. Those that only advise are `ok` and carry a `mend`."""
        return (*self._check_governor(board), self._check_cpus(board), self._check_load(), self._check_temperature())

    def _check_governor(self, board: BoardSpec | None) -> Sequence[CheckItem]:
        found = self._of_policies("scaling_governor")
        wanted = board.governor if board else None
        if found is None:
            ok = wanted is None
            return (
                CheckItem("governor", ok, "not available", "" if ok else "leave governor out of the board's entry"),
            )
        names = ", ".join(sorted(set(found.values())))
        if wanted is not None:
            path = self._root / CPU / "cpufreq" / self._policies()[0] / "scaling_governor"
            ok = set(found.values()) == {wanted} or os.access(path, os.W_OK)
            mend = "" if ok else f"echo {wanted} | sudo tee /{CPU}/cpufreq/policy*/scaling_governor"
            return (CheckItem("governor", ok, f"{names}; asked for {wanted}", mend),)
        steady = set(found.values()) <= {"performance", "userspace", "powersave"}
        mend = "" if steady else "set governor: performance in the board's entry, or know that frequencies move"
        return (CheckItem("governor", True, names, mend),)

    def _check_cpus(self, board: BoardSpec | None) -> CheckItem:
        allowed = os.sched_getaffinity(0)
        wanted = set(board.cpus) if board else set()
        absent = sorted(wanted - allowed)
        found = f"{len(allowed)} usable ({self._cpu_model() or 'model not available'})"
        if absent:
            return CheckItem("cpus", False, f"{found}; not {absent}", f"choose cpus from {sorted(allowed)}")
        return CheckItem("cpus", True, found)

    def _check_load(self) -> CheckItem:
        load = self._load()
        if load is None:
            return CheckItem("load", True, "not available")
        cpus = len(os.sched_getaffinity(0))
        busy = load > BUSY_PER_CPU * cpus
        return CheckItem(
            "load", True, f"{load:.2f} on {cpus} cpus", "top -o %CPU  # end what is not needed" if busy else ""
        )

    def _check_temperature(self) -> CheckItem:
        temperatures = self._temperatures()
        if not temperatures:
            return CheckItem("temperature", True, "not available")
        zone, hottest = max(temperatures.items(), key=lambda item: item[1])
        mend = "let it cool down, or improve its cooling" if hottest > HOT_C else ""
        return CheckItem("temperature", True, f"{hottest:.1f} C ({zone})", mend)

    def _text(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def _int(self, path: str) -> int | None:
        try:
            return int(self._text(path) or "")
        except ValueError:
            return None

    def _set(self, path: str, value: str) -> None:
        try:
            (self._root / path).write_text(value, encoding="utf-8")
        except OSError as error:
            raise DeviceError(
                f"/{path} cannot be set to {value!r}: {error.strerror}", hint=f"echo {value} | sudo tee /{path}"
            ) from error

    def _remember(self, changes: Sequence[Mapping[str, str]]) -> None:
        part = self._journal.with_suffix(".part")
        with part.open("w", encoding="utf-8") as out:
            json.dump(list(changes), out)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._journal)

    def _policies(self) -> list[str]:
        return sorted(p.name for p in (self._root / CPU / "cpufreq").glob("policy*"))

    def _of_policies(self, name: str) -> dict[str, str] | None:
        values = {p: self._text(f"{CPU}/cpufreq/{p}/{name}") for p in self._policies()}
        return {p: v for p, v in values.items() if v is not None} or None

    def _khz(self, name: str) -> dict[str, int] | None:
        values = {p: self._int(f"{CPU}/cpufreq/{p}/{name}") for p in self._policies()}
        return {p: 1000 * v for p, v in values.items() if v is not None} or None

    def _turbo(self) -> str | None:
        no_turbo, boost = self._int(f"{CPU}/intel_pstate/no_turbo"), self._int(f"{CPU}/cpufreq/boost")
        if no_turbo is not None:
            return "off" if no_turbo else "on"
        if boost is not None:
            return "on" if boost else "off"
        return None

    def _temperatures(self) -> dict[str, float] | None:
        found = {}
        for zone in sorted((self._root / "sys/class/thermal").glob("thermal_zone*")):
            relative = f"sys/class/thermal/{zone.name}"
            millidegrees = self._int(f"{relative}/temp")
            if millidegrees is not None:
                found[f"{zone.name} {self._text(f'{relative}/type') or ''}".strip()] = millidegrees / 1000.0
        return found or None

    def _throttle_counts(self) -> dict[str, int] | None:
        found = {}
        for path in sorted((self._root / CPU).glob("cpu*/thermal_throttle/*_throttle_count")):
            count = self._int(str(path.relative_to(self._root)))
            if count is not None:
                found[f"{path.parent.parent.name} {path.name}"] = count
        return found or None

    def _load(self) -> float | None:
        text = self._text("proc/loadavg")
        return float(text.split()[0]) if text else None

    def _memory(self, name: str) -> int | None:
        for line in (self._text("proc/meminfo") or "").splitlines():
            if line.startswith(name + ":"):
                return 1024 * int(line.split()[1])
        return None

    def _cpu_model(self) -> str | None:
        for line in (self._text("proc/cpuinfo") or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
        model = self._text("proc/device-tree/model")
        return model.strip("\0") if model else None
