"""What the found rails are as a meter: channels, what a reading means, limits of error, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drivers.ina2xx.kernel import PRINTED_A, Generation
from drivers.ina2xx.options import InaOptions
from drivers.ina2xx.rails import FALLBACK_V, Rail, part_of
from drivers.ina2xx.timing import Timing, Update, reading_of
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo

SKEW_GAIN_REL = 0.001
SKEW_NOISE_REL = 0.005
"""Assumed, for V and I of different conversions: a supply that sags by 5 % under the load multiplies the new current
with the old voltage in one reading of ten; of up and down a fiftieth remains. Less where power1_input is used."""

AVERAGED_GAIN_REL = 0.025
"""Assumed as well, for the product of a current and a voltage that were each averaged over many conversions: with that
sag and a load that is on for half of the time, within one average, it is too large by half of the sag. It makes no
difference whether the averages are windows (INA226) or exponential filters (INA3221)."""

NEAR_FULL = 0.9  # the supply sags under the current that is cut off, so power stops short of full scale times voltage


def describe(
    rails: Sequence[Rail],
    updates: Sequence[Update],
    timing: Timing,
    options: InaOptions,
    *,
    clock: str,
    release: str,
    generation: Generation,
    left_out: Mapping[str, str],
    simulated: bool,
) -> MeterInfo:
    """The meter that `rails` are, stamped on `clock`; `left_out`: channel -> why it is not among them."""
    names = [rail.channel for rail in rails]
    details = {"kernel_driver": str(generation), "poll_s": f"{timing.poll_s:g}", "update_s": f"{timing.update_s:.6g}"}
    for rail, update in zip(rails, updates, strict=True):
        details |= _facts(rail, update)
        if whole := part_of(rail.channel, names):
            details[f"part_of:{rail.channel}"] = whole
    details |= {f"left_out:{channel}": why for channel, why in left_out.items()}
    chips = sorted({rail.chip.name for rail in rails})
    return MeterInfo(
        driver="ina2xx",
        model=" ".join(sorted({rail.chip.kind.sheet.name for rail in rails})),
        serial="+".join(chips),
        firmware=release or "unknown",
        clock=clock,
        columns=tuple(ColumnSpec(item.column, item.unit) for rail in rails for item in rail.items),
        channels=tuple(_channel(rail, update, timing, options) for rail, update in zip(rails, updates, strict=True)),
        simulated=simulated,
        details=details,
    )


def _facts(rail: Rail, update: Update) -> dict[str, str]:
    name, shunt = rail.channel, rail.shunt
    facts = {
        f"chip:{name}": f"{rail.chip.name} ({rail.chip.layout})",
        f"power_from:{name}": " x ".join(column.partition(":")[2] for column in rail.power),
        f"step_w:{name}": f"{rail.step_w:.6g}",
        f"update:{name}": f"{update.update_s * 1e3:.6g} ms, {update.source}",
        f"shunt_ohm:{name}": f"{shunt.ohm:g} ({shunt.source})" if shunt.ohm else shunt.source,
    }
    if shunt.kernel_uohm is not None:
        facts[f"kernel_shunt_ohm:{name}"] = f"{shunt.kernel_uohm * 1e-6:g}"
    if shunt.overridden:
        facts[f"shunt_override:{name}"] = f"current and power of the kernel x {shunt.scale:.6g}"
    if math.isfinite(rail.full_a):
        facts[f"full_scale_a:{name}"] = f"{rail.full_a:.4g}"
    return facts


def _channel(rail: Rail, update: Update, timing: Timing, options: InaOptions) -> ChannelSpec:
    full_w = NEAR_FULL * rail.full_a * rail.bus_v if rail.bus_v > 0 and math.isfinite(rail.full_a) else None
    return ChannelSpec(
        name=rail.channel,
        quantity="power_w",
        columns=rail.power,
        reading=reading_of(update, timing),
        accuracy=accuracy_of(rail, update, options),
        max_power_w=full_w,
    )


def accuracy_of(rail: Rail, update: Update, options: InaOptions) -> Accuracy:
    """Limits at the voltage that was found: the chip's sheet, the resistor's tolerance, whole mA, and V beside I."""
    sheet, volt = rail.chip.kind.sheet, rail.bus_v if rail.bus_v > 0 else FALLBACK_V
    inside = rail.shunt.source == "inside the chip"
    tolerance_rel = 0.0 if inside else options.shunt_tolerance_rel
    gain_rel = sheet.power_gain_rel(volt, shunt_tolerance_rel=tolerance_rel)
    zero_a = sheet.zero_a(rail.shunt.ohm) if rail.shunt.ohm else sheet.shunt_offset_v / 0.005  # Jetsons: 1 to 5 mohm
    if rail.by_power_file:
        added_rel, offset_w, skew_rel = 0.0, zero_a * volt + rail.step_w, SKEW_NOISE_REL / 2
    else:
        printed_a = 0.5 * PRINTED_A * (rail.shunt.scale if rail.item("current") else 1.0)
        added_rel = AVERAGED_GAIN_REL if update.averaged else SKEW_GAIN_REL
        offset_w, skew_rel = (zero_a + printed_a) * volt, SKEW_NOISE_REL
    noise_w = math.hypot(rail.step_w / math.sqrt(12), skew_rel * abs(rail.now_a) * volt)
    shunt = "shunt inside" if inside else f"shunt {tolerance_rel:.1%}"
    return Accuracy(
        gain_rel + added_rel, offset_w, noise_w,
        source=f"{sheet.source}; {shunt}; at {volt:.2f} V; assumed for V and I of different conversions: "
        f"{added_rel:.1%} (docs/meters/ina2xx.md)",
    )  # fmt: skip
