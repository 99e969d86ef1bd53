"""What a streamer is, as a MeterInfo: channel, kind of reading, limits of error, and what the shunt costs the board."""

from __future__ import annotations

from drivers.chips import ina219 as chip
from drivers.ina219.messages import Hello
from drivers.ina219.options import InaOptions
from drivers.ina219.rows import NEAR_FULL_SCALE, RowShape
from harness.core.clock import meter_clock
from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

CHANNEL = "load"
PI_UNDERVOLTAGE_V = 4.63  # where a Raspberry Pi reports under-voltage
CABLE_V = 0.1  # what plugs and cable take as well
FIVE_VOLT = (4.4, 5.6)  # supplies for which that matters


def reading_of(options: InaOptions, shape: RowShape) -> Reading:
    """Contiguous means only if nothing but the shunt is converted and every conversion is sent."""
    contiguous = options.shunt_only and shape.period_ns == shape.window_ns
    kind = ReadingKind.MEAN if contiguous else ReadingKind.PART_TIME
    return Reading(kind, shape.period_ns, shape.window_ns)


def accuracy_of(options: InaOptions, voltage_v: float) -> Accuracy:
    """Limits of error in W at this voltage: the shunt's tolerance, the chip's gains and offset and, where the voltage
    is not measured along, its tolerance. Relative limits add up, as limits do."""
    limits = chip.limits(options.range_mv, grade=options.grade)
    parts = [f"shunt +-{options.shunt_tolerance_rel:.2%} (shunt_tolerance_rel)", limits.source]
    gain = options.shunt_tolerance_rel + limits.shunt_gain_rel
    if options.supply_v is None:
        gain += limits.bus_gain_rel + chip.BUS_LSB_V / 2 / voltage_v
    if options.shunt_only:
        gain += options.supply_tolerance_rel
        parts.append(
            f"assumed: the supply holds its voltage within +-{options.supply_tolerance_rel:.1%} (supply_tolerance_rel)"
        )
    offset_a = limits.shunt_offset_v / options.shunt_ohm + chip.SELF_CURRENT_A
    step_v = chip.SHUNT_LSB_V * (1 << 12 - options.bits)
    return Accuracy(
        gain_rel=gain,
        offset_w=offset_a * voltage_v,
        noise_w=step_v / 12**0.5 / options.shunt_ohm * voltage_v,
        source="; ".join(parts),
    )


def burden_warning(options: InaOptions, voltage_v: float, current_a: float) -> str:
    """What the shunt takes from the board, if that is more than it can spare at `current_a`; else an empty text."""
    drop_v = chip.burden_v(current_a, options.shunt_ohm)
    board_v = voltage_v - drop_v
    if FIVE_VOLT[0] < voltage_v < FIVE_VOLT[1] and board_v < PI_UNDERVOLTAGE_V + CABLE_V:
        return (
            f"at {current_a:.2f} A the shunt of {options.shunt_ohm:g} ohm takes {drop_v:.2f} V: "
            f"the board gets {board_v:.2f} V, less what plugs and cable take, and "
            f"a Raspberry Pi browns out below {PI_UNDERVOLTAGE_V} V"
        )
    if drop_v > 0.1 * voltage_v:
        return f"at {current_a:.2f} A the shunt of {options.shunt_ohm:g} ohm takes {drop_v:.2f} V of {voltage_v:.2f} V"
    return ""


def meter_info(hello: Hello, options: InaOptions, shape: RowShape, *, supply_v: float, simulated: bool) -> MeterInfo:
    """`supply_v`: the voltage on the supply's side, as declared or measured when opened."""
    uid = hello.keys.get("uid", "unknown") or "unknown"
    full_a = options.range_mv * 1e-3 / options.shunt_ohm
    details = {f"hello_{key}": value for key, value in hello.keys.items()} | {
        "protocol": hello.version,
        "port": options.port,
        "mode": options.mode,
        "config": f"{options.word():04X}",
        "shunt_ohm": f"{options.shunt_ohm:g}",
        "full_scale_a": f"{full_a:.4g}",
        "voltage_side": "load" if options.load_side else "supply",
        "voltage_source": _voltage_source(options, supply_v),
        "burden_v_at_full_scale": f"{chip.burden_v(full_a, options.shunt_ohm):.3f}",
    }
    if warning := burden_warning(options, supply_v, full_a):
        details["warning_burden"] = warning
    about_v = max(round(supply_v, 1), 0.1)  # limits need no more, and are the same each time it is opened
    channel = ChannelSpec(
        CHANNEL,
        "power_w",
        ("shunt_raw", "voltage_raw"),
        reading_of(options, shape),
        accuracy_of(options, about_v),
        max_power_w=NEAR_FULL_SCALE * full_a * about_v,
    )
    return MeterInfo(
        driver="ina219",
        model=hello.keys.get("chip", "ina219") or "ina219",
        serial=uid,
        firmware=hello.keys.get("fw", "unknown") or "unknown",
        clock=meter_clock(uid),
        columns=(ColumnSpec("shunt_raw", "A", "clip"), ColumnSpec("voltage_raw", "V")),
        channels=(channel,),
        simulated=simulated,
        details=details,
    )


def _voltage_source(options: InaOptions, supply_v: float) -> str:
    if not options.shunt_only:
        return "bus register, in turn with the shunt"
    if options.supply_v is not None:
        return f"declared: supply_v {options.supply_v:g} V"
    return f"bus register when opened: {supply_v:.3f} V on the supply's side, taken as constant"
