"""What opened RAPL counters are as a meter, wherever they are read: zones, units, assumed accuracy, provenance."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.rapl import codec
from drivers.rapl.counters import J_PER_UJ, Counter, Found
from drivers.rapl.options import RaplOptions
from drivers.rapl.readings import UPDATE_NS
from harness.core.errors import SpecError
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.io.sysfs import Sysfs

READS_PER_WRAP = 4

ASSUMED_OFFSET_W = 0.5
ASSUMED_GAIN_REL = {"package": 0.05, "psys": 0.05, "core": 0.10, "uncore": 0.10, "dram": 0.20}
ASSUMED_SOURCE = (
    "assumed: no vendor states an accuracy for RAPL; limits are a judgement, see docs/meters/rapl.md; "
    "override with a calibration of your own"
)


def check_poll(counters: Sequence[Counter], options: RaplOptions) -> None:
    """SpecError if a counter could wrap unseen between two reads."""
    for counter in counters:
        longest_s = counter.modulus * counter.scale_j / options.max_power_w / READS_PER_WRAP
        if options.poll_s > longest_s:
            raise SpecError(
                f"rapl option poll_s is {options.poll_s:g} s, but {counter.channel} can wrap in "
                f"{longest_s * READS_PER_WRAP:.3g} s at {options.max_power_w:g} W, "
                f"so it must be read every {longest_s:.3g} s",
                hint=f"set poll_s to {longest_s:.3g} or less (the default is 0.02)",
            )


def describe(
    found: Found,
    options: RaplOptions,
    *,
    clock: str,
    simulated: bool,
) -> MeterInfo:
    """The meter that the found counters are, stamped on `clock`."""
    counters = found.counters
    names = [counter.channel for counter in counters]
    details = {"update_ns": str(UPDATE_NS), "interface": found.interface}
    details |= {f"passed_over:{interface}": error.message for interface, error in found.passed_over.items()}
    for counter in counters:
        details[f"zone:{counter.channel}"] = counter.where
        details[f"unit_uj:{counter.channel}"] = f"{counter.unit_j / J_PER_UJ:g}"
        if whole := codec.contained_in(counter.channel, names):
            details[f"part_of:{counter.channel}"] = whole
    details |= {f"left_out:{channel}": why for channel, why in found.left_out.items()}
    return MeterInfo(
        driver="rapl",
        model=_cpu_model(found.sysfs),
        serial=counters[0].where.split(":")[0] if found.interface == "powercap" else found.interface,
        firmware=_line(found.sysfs, "proc/sys/kernel/osrelease"),
        clock=clock,
        columns=tuple(ColumnSpec(counter.column, "J") for counter in counters),
        channels=tuple(_channel(counter, options) for counter in counters),
        simulated=simulated,
        details=details,
    )


def _channel(counter: Counter, options: RaplOptions) -> ChannelSpec:
    gain_rel = ASSUMED_GAIN_REL.get(counter.kind, max(ASSUMED_GAIN_REL.values()))
    return ChannelSpec(
        name=counter.channel,
        quantity="energy_j",
        columns=(counter.column,),
        reading=Reading(ReadingKind.COUNTER, period_ns=options.poll_ns, window_ns=options.poll_ns),
        accuracy=Accuracy(gain_rel, ASSUMED_OFFSET_W, source=ASSUMED_SOURCE),
        modulus_raw=counter.modulus,
        max_power_w=options.max_power_w,
    )


def _cpu_model(sysfs: Sysfs) -> str:
    for line in _line(sysfs, "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return "unknown CPU"


def _line(sysfs: Sysfs, relative: str) -> str:
    try:
        return sysfs.text(relative)
    except OSError:
        return "unknown"
