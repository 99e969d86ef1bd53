"""RAPL as perf events: the PMUs `power` and `power_core`, whose counts the kernel extends to 64 bits.

Source: arch/x86/events/rapl.c; ABI/testing/sysfs-bus-event_source-devices-events; perf_event_open(2).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection

from drivers.rapl import access, codec, topology, units
from drivers.rapl.counters import Counter, Event, Found, Machine
from drivers.rapl.zones import DENIED
from harness.io.sysfs import Sysfs, reason

DEVICES = "sys/bus/event_source/devices"
PATTERNS = (
    *(f"{DEVICES}/power*/{name}" for name in ("type", "cpumask", "events/energy-*", "format/event")),
    *topology.PATTERNS,
)
KINDS = {"energy-pkg": "package", "energy-cores": "core", "energy-gpu": "uncore", "energy-ram": "dram",
         "energy-psys": "psys", "energy-core": "core"}  # fmt: skip
PMUS = {"power": tuple(KINDS)[:-1], "power_core": ("energy-core",)}
FORMAT = "config:0-7"
USUAL_UNIT_J = 2.0**-14  # the scale hides the hardware's unit; most have this one
_CONFIG = re.compile(r"event=(0x[0-9a-fA-F]+|\d+)")


def find(machine: Machine, wanted: Collection[str]) -> Found:
    """The channels in `wanted` (all but single cores if empty). Raises DeviceError as `zones.find`."""
    sysfs = machine.look(PATTERNS)
    left_out: dict[str, str] = {}
    shown = [counter for pmu in PMUS for counter in _counters(sysfs, pmu, left_out)]
    if not shown:
        raise access.no_events(next(iter(left_out.values()), f"{sysfs.path(DEVICES)} has no PMU `power`"))
    if missing := sorted(set(wanted) - {counter.channel for counter in shown}):
        raise access.missing(missing[0], [counter.channel for counter in shown], "perf")
    asked = []
    for counter in shown:
        if counter.channel in wanted or (not wanted and "/core-" not in counter.channel):
            asked.append(counter)
        elif not wanted:
            left_out[counter.channel] = "single cores are read where `rails` names them"
    events = [counter.target for counter in asked if isinstance(counter.target, Event)]
    counters: list[Counter] = []
    for counter, answer in zip(asked, machine.probe(events), strict=True):
        why = _refused(counter, answer)
        if why and wanted:
            raise access.no_events(f"{counter.where}: {why}")
        if why:
            left_out[counter.channel] = why
        else:
            counters.append(counter)
    if not counters:
        raise access.no_events("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    return Found("perf", tuple(counters), left_out, sysfs)


def _refused(counter: Counter, answer: bytes | int) -> str:
    """Why an event cannot be counted; NotPermitted is raised."""
    if isinstance(answer, int):
        if answer in DENIED:
            raise access.events_not_permitted(counter.where)
        return f"perf_event_open gives {errno.errorcode.get(answer, str(answer))}"
    try:
        counter.decode(answer)
    except ValueError as error:
        return str(error)
    return ""


def _counters(sysfs: Sysfs, pmu: str, left_out: dict[str, str]) -> list[Counter]:
    """What a PMU shows, packages in order; its events that cannot be used go to `left_out`."""
    folder = f"{DEVICES}/{pmu}"
    try:
        names = set(sysfs.names(f"{folder}/events"))
        pmu_type, leads = int(sysfs.text(f"{folder}/type")), topology.cpu_list(sysfs.text(f"{folder}/cpumask"))
        form = sysfs.text(f"{folder}/format/event")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        left_out[pmu] = f"{sysfs.path(folder)} cannot be read ({error})"
        return []
    if form != FORMAT:
        left_out[pmu] = f"its events are coded as {form!r}, not {FORMAT!r}"
        return []
    for name in sorted(n for n in names if n.startswith("energy-") and "." not in n and n not in PMUS[pmu]):
        left_out[f"{pmu}/{name}"] = "no known domain"
    places = topology.places(sysfs)
    if missing := [cpu for cpu in leads if cpu not in places]:
        left_out[pmu] = f"CPU {missing[0]} of its cpumask has no topology"
        return []
    found: list[Counter] = []
    for name in PMUS[pmu]:
        if name not in names:
            continue
        try:
            config, scale_j = _event(sysfs, f"{folder}/events/{name}")
        except (OSError, ValueError) as error:
            left_out[f"{pmu}/{name}"] = reason(error) if isinstance(error, OSError) else str(error)
            continue
        for cpu, channel in _channels(name, places, leads).items():
            if any(counter.channel == channel for counter in found):
                left_out[f"{channel} on CPU {cpu}"] = "the same domain as on another CPU: never counted twice"
                continue
            unit_j = units.fixed_unit_j(topology.processor(sysfs), KINDS[name]) or USUAL_UNIT_J
            event = Event(pmu_type, config, cpu)
            where = f"{pmu}/{name} on CPU {cpu}"
            found.append(Counter(channel, where, event, scale_j, codec.EVENT_MODULUS, max(unit_j, scale_j)))
    return sorted(found, key=_order)


def _order(counter: Counter) -> tuple[bool, int]:
    assert isinstance(counter.target, Event)
    return counter.kind == "psys", counter.target.cpu


def _event(sysfs: Sysfs, path: str) -> tuple[int, float]:
    """(config, joules a count) of an event. OSError or ValueError."""
    said, unit = sysfs.text(path), sysfs.text(f"{path}.unit")
    match = _CONFIG.fullmatch(said)
    if match is None:
        raise ValueError(f"it is coded as {said!r}, which is not understood")
    if unit != "Joules":
        raise ValueError(f"it counts {unit!r}, not Joules")
    scale_j = float(sysfs.text(f"{path}.scale"))
    if not 0 < scale_j < 1e6:
        raise ValueError(f"its scale is {scale_j:g}")
    return int(match[1], 0), scale_j


def _channels(event: str, places: dict[int, topology.Place], leads: list[int]) -> dict[int, str]:
    """CPU of the cpumask -> the channel that the event shows there."""
    if event == "energy-core":  # one CPU a core
        packages = topology.names_of_packages(places, topology.lead_cpus(places, by_die=False))
        named = {places[cpu].package: name for cpu, name in packages.items()}
        return topology.core_names({cpu: places[cpu] for cpu in leads}, named)
    packages, kind = topology.names_of_packages(places, leads), KINDS[event]
    if kind == "package":
        return packages
    if kind == "psys":
        return {cpu: topology.psys_name(name, packages[min(leads)]) for cpu, name in packages.items()}
    return {cpu: f"{name}/{kind}" for cpu, name in packages.items()}
