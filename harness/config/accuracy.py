"""Limits of error of a meter on a bench, by channel and range: offsets in ampere or volt become watt here."""

from __future__ import annotations

from collections.abc import Mapping

from harness.config.facts import ChannelAccuracySection
from harness.config.yaml_lines import Document, Location
from harness.core.bench_facts import ChannelAccuracy

VOLTAGE_OPTIONS = ("voltage_v", "supply_v")  # options of drivers that say at which voltage the board is fed
SHUNT_OPTION = "shunt_ohm"
TOLERANCE_OPTION = "shunt_tolerance_rel"

Options = Mapping[str, str | int | float]


def resolve_accuracy(
    channel: str, sections: tuple[ChannelAccuracySection, ...], options: Options, document: Document, at: Location
) -> tuple[ChannelAccuracy, ...]:
    """Limits of one channel, a row for each range. `options`: of the driver as the bench has it.

    Where neither an option nor the section says the voltage, the zero stays in A: the analysis knows the voltage that
    was read. SpecError (at `at` in `document`, the meter file) if a range stands twice, a condition is about an option
    without a default, or an offset across the shunt has no shunt.
    """
    held = tuple(section for section in sections if _holds(section, options, document, at))
    codes = [section.range for section in held]
    for code in codes:
        if codes.count(code) > 1:
            named = "all ranges" if code is None else f"range {code}"
            raise document.error(f"{channel} has two accuracies for {named}", at, hint="keep one of them")
    return tuple(_resolved(channel, section, options, document, at) for section in held)


def _holds(section: ChannelAccuracySection, options: Options, document: Document, at: Location) -> bool:
    for name, value in section.when.items():
        if name not in options:
            raise document.error(
                f"an accuracy holds when {name} is {value!r}, but the meter file gives no default of {name}",
                at,
                hint=f"add it to the file's options: {{{name}: ...}}",
            )
    return all(options[name] == value for name, value in section.when.items())


def _resolved(
    channel: str, section: ChannelAccuracySection, options: Options, document: Document, at: Location
) -> ChannelAccuracy:
    """Gain + the shunt's tolerance; offset_w + (offset_a + offset_v / R) x V."""
    offset_a = section.offset_a or 0.0
    if section.offset_v is not None:
        shunt_ohm = _positive(options, (SHUNT_OPTION,)) or section.shunt_ohm
        if shunt_ohm is None:
            raise document.error(
                "a limit of the zero across the shunt needs the shunt",
                at,
                hint="add `shunt_ohm:` to it, or give the meter the option shunt_ohm",
            )
        offset_a += section.offset_v / shunt_ohm
    voltage_v = _positive(options, VOLTAGE_OPTIONS) or section.voltage_v
    watt = (section.offset_w or 0.0) + offset_a * (voltage_v or 0.0)
    tolerance = section.shunt_tolerance_rel
    if tolerance is not None:
        tolerance = _positive(options, (TOLERANCE_OPTION,)) or tolerance
    return ChannelAccuracy(
        channel, section.range, float(section.gain_rel + (tolerance or 0.0)), float(watt), float(section.noise_w),
        section.bandwidth_hz, section.window_s, section.update_s, section.source,
        offset_a=float(offset_a) if voltage_v is None else 0.0,
    )  # fmt: skip


def _positive(options: Options, names: tuple[str, ...]) -> float | None:
    for name in names:
        value = options.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None
