"""Limits of error of a meter on a bench, by channel and range: offsets in ampere or volt become watt here."""

from __future__ import annotations

from collections.abc import Mapping

from harness.config.facts import ChannelAccuracySection
from harness.config.yaml_lines import Document, Location
from harness.core.bench_facts import ChannelAccuracy

VOLTAGE_OPTIONS = ("voltage_v", "supply_v")  # options of drivers that say at which voltage the board is fed
SHUNT_OPTION = "shunt_ohm"

Options = Mapping[str, str | int | float]


def resolve_accuracy(
    channel: str, sections: tuple[ChannelAccuracySection, ...], options: Options, document: Document, at: Location
) -> tuple[ChannelAccuracy, ...]:
    """Limits in W of one channel, a row for each range. `options`: of the driver as the bench has it.

    SpecError (at `at` in `document`, the meter file) if a range stands twice or an offset cannot become watt.
    """
    codes = [section.range for section in sections]
    for code in codes:
        if codes.count(code) > 1:
            named = "all ranges" if code is None else f"range {code}"
            raise document.error(f"{channel} has two accuracies for {named}", at, hint="keep one of them")
    return tuple(
        ChannelAccuracy(
            channel, section.range, float(section.gain_rel), _offset_w(section, options, document, at),
            float(section.noise_w), section.bandwidth_hz, section.window_s, section.update_s, section.source,
        )
        for section in sections
    )  # fmt: skip


def _offset_w(section: ChannelAccuracySection, options: Options, document: Document, at: Location) -> float:
    """offset_w + offset_a x V + offset_v / R x V."""
    watt = section.offset_w or 0.0
    if section.offset_a is None and section.offset_v is None:
        return float(watt)
    voltage_v = _positive(options, VOLTAGE_OPTIONS) or section.voltage_v
    if voltage_v is None:
        raise document.error(
            "a limit of the zero in ampere or volt needs the supply's voltage to become watt",
            at,
            hint="add `voltage_v:` to it (the highest that is measured), or give the meter the option voltage_v",
        )
    watt += (section.offset_a or 0.0) * voltage_v
    if section.offset_v is not None:
        shunt_ohm = _positive(options, (SHUNT_OPTION,)) or section.shunt_ohm
        if shunt_ohm is None:
            raise document.error(
                "a limit of the zero across the shunt needs the shunt to become watt",
                at,
                hint="add `shunt_ohm:` to it, or give the meter the option shunt_ohm",
            )
        watt += section.offset_v / shunt_ohm * voltage_v
    return float(watt)


def _positive(options: Options, names: tuple[str, ...]) -> float | None:
    for name in names:
        value = options.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None
