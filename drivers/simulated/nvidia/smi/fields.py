"""Fields that the fake nvidia-smi can be asked for: their names, units, and what it prints for them.

Names, units and aliases are those of the real program's help text; a field prints a bracketed word where a real one
has no value to print. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.simulated.nvidia.layout import GRAPHICS, MEMORY, SM, VIDEO, Gpu, State
from drivers.simulated.nvidia.state import failing

OLD_WORDS = 465  # drivers before this say [Not Supported]; the exact one is not known
WORDS = {4: "[Insufficient Permissions]", 15: "[GPU is lost]", 16: "[GPU requires reset]"}
COMPUTE_MODES = ("Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process")


@dataclass(frozen=True)
class Seen:
    """One look at one GPU: `now` as it was between two writings, `live` where calls are counted."""

    state: State
    now: Gpu
    live: Gpu
    index: int
    stamp: str

    @property
    def driver(self) -> int:
        """The driver's major version."""
        return int(bytes(self.state.driver_version).split(b".")[0])

    def word(self, code: int) -> str:
        """What is printed instead of a value."""
        if code == 3:
            return "[Not Supported]" if self.driver < OLD_WORDS else "[N/A]"
        return WORDS.get(code, "[Unknown Error]")


@dataclass(frozen=True)
class Field:
    """`feature`: what must work for it; `text`: the value without its unit; `since`: driver that first has it."""

    unit: str
    feature: str
    text: Callable[[Seen], str]
    since: int = 0
    aliases: tuple[str, ...] = ()

    def value(self, seen: Seen, *, units: bool) -> str:
        if code := failing(seen.live, self.feature):
            return seen.word(code)
        text = self.text(seen)
        return f"{text} {self.unit}" if units and self.unit and not text.startswith("[") else text


def clock_mhz(gpu: Gpu, domain: int) -> int:
    """The clock as it is with what is locked."""
    now, s = int(gpu.clock[domain]), gpu.settings
    least, most = (s.memory_lock_min, s.memory_lock_max) if domain == MEMORY else (s.lock_min, s.lock_max)
    return now if most == 0 or domain == VIDEO else max(int(least), min(now, int(most)))


def _text(name: str) -> Callable[[Seen], str]:
    return lambda seen: bytes(getattr(seen.now, name)).decode("ascii") or seen.word(3)


def _number(name: str, form: str = "{}") -> Callable[[Seen], str]:
    return lambda seen: form.format(getattr(seen.now, name))


def _watt(name: str) -> Callable[[Seen], str]:
    return lambda seen: f"{getattr(seen.now, name) / 1000:.2f}"


def _clock(domain: int, kind: str) -> Callable[[Seen], str]:
    if kind == "now":
        return lambda seen: str(clock_mhz(seen.now, domain))
    if kind == "max":
        return lambda seen: str(seen.now.clock_max[domain])

    def set_clock(seen: Seen) -> str:
        default = seen.now.clock_default[domain]
        given = seen.now.settings.app_memory if domain == MEMORY else seen.now.settings.app_sm
        shown = given if kind == "set" and given else default
        return str(shown) if default else seen.word(3)

    return set_clock


def _mebibytes(name: str) -> Callable[[Seen], str]:
    return lambda seen: str(getattr(seen.now, name) >> 20)


def _free(seen: Seen) -> str:
    gpu = seen.now
    return str((gpu.memory_total - gpu.memory_used - gpu.memory_reserved) >> 20)


def _busy(name: str) -> Callable[[Seen], str]:
    return lambda seen: seen.word(3) if seen.now.settings.mig_mode else str(getattr(seen.now, name))


def _mig(seen: Seen) -> str:
    return "Enabled" if seen.now.settings.mig_mode else "Disabled"


FIELDS: Mapping[str, Field] = {
    "timestamp": Field("", "all", lambda seen: seen.stamp),
    "driver_version": Field("", "all", lambda seen: bytes(seen.state.driver_version).decode("ascii")),
    "count": Field("", "all", lambda seen: str(sum(bool(g.listed) for g in seen.state.gpus[: seen.state.gpu_count]))),
    "name": Field("", "all", _text("name"), aliases=("gpu_name",)),
    "serial": Field("", "all", _text("serial"), aliases=("gpu_serial",)),
    "uuid": Field("", "all", _text("uuid"), aliases=("gpu_uuid",)),
    "pci.bus_id": Field("", "all", _text("bus_id"), aliases=("gpu_bus_id",)),
    "pci.domain": Field("", "all", _number("domain", "0x{:04X}")),
    "pci.bus": Field("", "all", _number("bus", "0x{:02X}")),
    "pci.device": Field("", "all", _number("device", "0x{:02X}")),
    "pci.device_id": Field("", "all", _number("pci_device_id", "0x{:08X}")),
    "index": Field("", "all", lambda seen: str(seen.index)),
    "persistence_mode": Field("", "all", lambda s: "Enabled" if s.now.settings.persistence else "Disabled"),
    "vbios_version": Field("", "all", _text("vbios")),
    "fan.speed": Field("%", "fan", _number("fan")),
    "pstate": Field("", "pstate", _number("pstate", "P{}")),
    "clocks_event_reasons.active": Field("", "clocks", _number("throttle_reasons", "0x{:016x}"),
                                         aliases=("clocks_throttle_reasons.active",)),
    "memory.total": Field("MiB", "memory", _mebibytes("memory_total")),
    "memory.reserved": Field("MiB", "memory", _mebibytes("memory_reserved"), since=510),
    "memory.used": Field("MiB", "memory", _mebibytes("memory_used")),
    "memory.free": Field("MiB", "memory", _free),
    "compute_mode": Field("", "all", lambda seen: COMPUTE_MODES[seen.now.settings.compute_mode]),
    "compute_cap": Field("", "all", lambda seen: f"{seen.now.cc_major}.{seen.now.cc_minor}", since=510),
    "utilization.gpu": Field("%", "utilization", _busy("utilization_gpu")),
    "utilization.memory": Field("%", "utilization", _busy("utilization_memory")),
    "ecc.mode.current": Field("", "all", lambda s: ("Disabled", "Enabled", s.word(3))[s.now.settings.ecc]),
    "temperature.gpu": Field("", "temperature", _number("temperature_c")),
    "temperature.memory": Field("", "memory_average", _number("memory_temperature_c")),
    "power.management": Field("", "limits", lambda seen: "Supported" if seen.driver < OLD_WORDS else "Enabled"),
    "power.draw": Field("W", "power", _watt("power_mw")),
    "power.draw.average": Field("W", "average", _watt("average_mw"), since=530, aliases=("gpu.power.draw.average",)),
    "power.draw.instant": Field("W", "instant", _watt("instant_mw"), since=530, aliases=("gpu.power.draw.instant",)),
    "power.limit": Field("W", "limits", lambda s: f"{s.now.settings.limit_mw / 1000:.2f}",
                         aliases=("gpu.power.requested_limit",)),
    "enforced.power.limit": Field("W", "limits", lambda s: f"{s.now.settings.limit_mw / 1000:.2f}",
                                  aliases=("gpu.power.current_limit",)),
    "power.default_limit": Field("W", "limits", _watt("limit_default_mw"), aliases=("gpu.power.default_limit",)),
    "power.min_limit": Field("W", "limits", _watt("limit_min_mw"), aliases=("gpu.power.min_limit",)),
    "power.max_limit": Field("W", "limits", _watt("limit_max_mw"), aliases=("gpu.power.max_limit",)),
    "module.power.draw.average": Field("W", "module_average", _watt("module_average_mw"), since=545),
    "module.power.draw.instant": Field("W", "module_instant", _watt("module_instant_mw"), since=545),
    "clocks.current.graphics": Field("MHz", "clocks", _clock(GRAPHICS, "now"), aliases=("clocks.gr",)),
    "clocks.current.sm": Field("MHz", "clocks", _clock(SM, "now"), aliases=("clocks.sm",)),
    "clocks.current.memory": Field("MHz", "clocks", _clock(MEMORY, "now"), aliases=("clocks.mem",)),
    "clocks.current.video": Field("MHz", "clocks", _clock(VIDEO, "now"), aliases=("clocks.video",)),
    "clocks.applications.graphics": Field("MHz", "clocks", _clock(SM, "set"), aliases=("clocks.applications.gr",)),
    "clocks.applications.memory": Field("MHz", "clocks", _clock(MEMORY, "set"), aliases=("clocks.applications.mem",)),
    "clocks.default_applications.graphics": Field("MHz", "clocks", _clock(SM, "default"),
                                                  aliases=("clocks.default_applications.gr",)),
    "clocks.default_applications.memory": Field("MHz", "clocks", _clock(MEMORY, "default"),
                                                aliases=("clocks.default_applications.mem",)),
    "clocks.max.graphics": Field("MHz", "clocks", _clock(GRAPHICS, "max"), aliases=("clocks.max.gr",)),
    "clocks.max.sm": Field("MHz", "clocks", _clock(SM, "max")),
    "clocks.max.memory": Field("MHz", "clocks", _clock(MEMORY, "max"), aliases=("clocks.max.mem",)),
    "mig.mode.current": Field("", "mig", _mig),
    "mig.mode.pending": Field("", "mig", _mig),
}  # fmt: skip
_BY_NAME = {alias: name for name, field in FIELDS.items() for alias in (name, *field.aliases)}


def known(name: str, driver: int) -> str | None:
    """The name under which a driver prints the field that it is asked for as `name`; None if it has none."""
    full = _BY_NAME.get(name.strip())
    return full if full is not None and driver >= FIELDS[full].since else None


def header(names: list[str]) -> str:
    """The first line of CSV: units stand in it, whether or not they stand beside the values."""
    return ", ".join(f"{name} [{FIELDS[name].unit}]" if FIELDS[name].unit else name for name in names)


def row(seen: Seen, names: list[str], *, units: bool) -> str:
    """One GPU's line of CSV."""
    return ", ".join(FIELDS[name].value(seen, units=units) for name in names)


def help_text(driver: int) -> str:
    """What --help-query-gpu prints, without the prose."""
    lines = ['List of valid properties to query for the switch "--query-gpu=":', ""]
    for name, field in FIELDS.items():
        if driver >= field.since:
            lines += [" or ".join(f'"{alias}"' for alias in (name, *field.aliases)), f"{name} of the GPU.", ""]
    return "\n".join(lines)
