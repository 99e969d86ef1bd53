"""What published hosts of the old serial firmware disagree on, told from the unit itself in a trial stretch.

- Whether the last 8 bytes of a data packet are a record: one well-known host leaves them out. Both readings of a packet
  give a rate of samples, and only one of them is the unit's.
- Whether a count of the voltage word is 125 uV or (hardware revision 1, says one host) 62.5 uV: only one agrees with
  the voltage that the output is set to.
- Whether the current at the reference follows from the resistors that the status names (as in the vendor's code for the
  same hardware with USB firmware) or is the same for all units: nobody can tell from here, so the limits cover both
  unless the option `scale` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivers.monsoon.identity import GAIN_LIMIT_REL, OFFSET_LIMIT_A
from drivers.monsoon.models import LVPM_FACTORY_OHM, LVPM_SCALE
from drivers.monsoon.serial_codec import MEASURED, RECORD, VOLTAGE_MARKS, Layout
from drivers.monsoon.serial_frames import DATA_HEAD, RECORD_BYTES, records_of
from drivers.monsoon.serial_options import VOLT_LSB_UV, SerialOptions
from drivers.monsoon.serial_status import Status
from harness.core.errors import DeviceError
from harness.core.trace import Accuracy

FIXED_A = (0.0332, 2.88)  # fine, coarse: the constants of published hosts
RATE_TOLERANCE = 0.05
VOLTAGE_TOLERANCE = 0.10
RESISTOR_RANGE_OHM = (0.04, 0.07)


@dataclass(frozen=True)
class Trial:
    """Data packets of a trial stretch in order, and the host times (K,) at which they came."""

    packets: Sequence[bytes]
    arrival_ns: Sequence[int]


def decide(status: Status, trial: Trial, options: SerialOptions) -> tuple[Layout, Accuracy, dict[str, str]]:
    """The layout, the limits that go with it, and words for MeterInfo.details. DeviceError where nothing fits."""
    trailing, rate_words = _trailing(status, trial)
    volt_per_count, volt_words = _volt_per_count(status, trial, options)
    by_resistors = _by_resistors(status)
    apart = max(abs(fixed / mine - 1) for fixed, mine in zip(FIXED_A, by_resistors, strict=True))
    scale_a = FIXED_A if options.scale == "fixed" else by_resistors
    output_v = status.output_v or 4.55
    source = "vendor's published +-1 % or +-50 uA, unverified"
    if not options.scale:
        source += f"; both published conversions, {apart:.1%} apart for this unit, lie within (option scale)"
    accuracy = Accuracy(
        gain_rel=GAIN_LIMIT_REL + (0.0 if options.scale else apart), offset_w=OFFSET_LIMIT_A * output_v, source=source
    )
    details = {
        "packet_layout": rate_words,
        "voltage_lsb": volt_words,
        "scale": options.scale or f"resistors (option scale not given; fixed would be {apart:.1%} apart)",
        "scale_a": f"{scale_a[0]:.6g}/{scale_a[1]:.6g}",
    }
    return Layout(trailing, 1_000_000_000 // status.samples_per_s, scale_a, volt_per_count), accuracy, details


def _by_resistors(status: Status) -> tuple[float, float]:
    for ohm in status.resistors_ohm:
        if not RESISTOR_RANGE_OHM[0] <= ohm <= RESISTOR_RANGE_OHM[1]:
            raise DeviceError(
                f"the status names a resistor of {ohm:.4f} ohm, outside "
                f"{RESISTOR_RANGE_OHM[0]}-{RESISTOR_RANGE_OHM[1]} ohm",
                hint="the unit's EEPROM is damaged, or this is no LVPM: it needs service",
            )
    fine, coarse = status.resistors_ohm
    return (
        LVPM_SCALE[0] * 1e-6 * LVPM_FACTORY_OHM / fine,
        LVPM_SCALE[1] * 1e-3 * LVPM_FACTORY_OHM / coarse,
    )


def _trailing(status: Status, trial: Trial) -> tuple[bool, str]:
    """Whether the last 8 bytes are no record, by the rate of samples; with the first packet counting begins."""
    nominal = status.samples_per_s
    span_s = (trial.arrival_ns[-1] - trial.arrival_ns[0]) * 1e-9 if len(trial.packets) > 1 else 0.0
    if not nominal or span_s <= 0:
        raise DeviceError(
            f"{len(trial.packets)} data packets came in a trial stretch, the Monsoon's status says {nominal} samples/s",
            hint="power-cycle the meter; another program may have changed its settings",
        )
    # a sequence that jumped hides packets: count what the sequence says was sent
    steps = np.diff([p[0] & 0x0F for p in trial.packets]) % 16
    whole = np.array([records_of(p) for p in trial.packets[1:]], np.float64)
    rates = {trailing: float(((whole - trailing) * steps).sum()) / span_s for trailing in (False, True)}
    trailing = min(rates, key=lambda t: abs(rates[t] - nominal))
    if abs(rates[trailing] - nominal) > RATE_TOLERANCE * nominal:
        raise DeviceError(
            f"the Monsoon sends {rates[False]:.0f} samples/s (without the last of each packet {rates[True]:.0f}), "
            f"its status says {nominal}",
            hint="plug it into a port of its own and run again; a busy host loses packets",
        )
    words = "the last 8 bytes of a packet are no record" if trailing else "records to the end of a packet"
    return trailing, f"{words}: {rates[trailing]:.0f} samples/s, the status says {nominal}"


def _volt_per_count(status: Status, trial: Trial, options: SerialOptions) -> tuple[float, str]:
    if options.volt_lsb_uv is not None:
        return options.volt_lsb_uv * 1e-6, f"{options.volt_lsb_uv:g} uV, as the bench says"
    usual = VOLT_LSB_UV[status.raw["hardware_revision"] == 1]
    words = [
        np.frombuffer(p[DATA_HEAD : DATA_HEAD + RECORD_BYTES * max(1, records_of(p) - 1)], RECORD)["voltage"]
        for p in trial.packets
        if p[1] == MEASURED
    ]
    if not status.output_v or not words:
        return usual * 1e-6, f"{usual:g} uV, by the hardware revision alone: the output is off"
    count = float(np.median(np.concatenate(words) & ~np.uint16(VOLTAGE_MARKS)))
    fits = [lsb for lsb in VOLT_LSB_UV if abs(count * lsb * 1e-6 / status.output_v - 1) <= VOLTAGE_TOLERANCE]
    if not fits:
        seen = " or ".join(f"{count * lsb * 1e-6:.3f} V" for lsb in VOLT_LSB_UV)
        raise DeviceError(
            f"the Monsoon measures {seen} at its main output, which is set to {status.output_v:.2f} V",
            hint="the output may have tripped: look for a short; or give volt_lsb_uv (125 or 62.5)",
        )
    return fits[0] * 1e-6, f"{fits[0]:g} uV: {count * fits[0] * 1e-6:.3f} V at an output set to {status.output_v:.2f} V"
