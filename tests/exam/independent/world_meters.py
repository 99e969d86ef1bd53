"""Meters of an independent world: what they make of the true power, with errors of their own, in numpy alone.

The Monsoon's packets are packed from its documented format (shared by the vendor's API guide and two public
parsers), not from anybody's code.
"""

import struct

import numpy as np

SHEET = {"gain_rel": 0.01, "offset_w": 0.005}


class Clock:
    """A device's clock over true time: an offset, a rate, and a slow wander."""

    def __init__(self, rng, *, origin_s, rate_ppm, wander_s=0.0):
        self.origin_s, self.rate = origin_s, 1 + rng.uniform(-rate_ppm, rate_ppm) * 1e-6
        self.wander_s, self.turn_s, self.phase = wander_s, rng.uniform(60, 200), rng.uniform(0, 6)

    def __call__(self, t_s):
        t_s = np.asarray(t_s)
        return self.origin_s + self.rate * t_s + self.wander_s * np.sin(2 * np.pi * t_s / self.turn_s + self.phase)


def imperfect(rng, watt, noise_w):
    """Gain and zero within the sheet, a wandering zero, noise with heavier tails than a normal one."""
    gain = 1 + SHEET["gain_rel"] * rng.normal(0, 1 / 3)
    zero = SHEET["offset_w"] * rng.uniform(-0.8, 0.8) + 2e-6 * np.cumsum(rng.normal(0, 1, len(watt)))
    return gain * watt + zero + rng.laplace(0, noise_w / np.sqrt(2), len(watt)), gain


def window_means(power, end_s, window_s):
    return (power.energy_until(end_s) - power.energy_until(end_s - window_s)) / window_s


def ticks(power, period_s, lead_s=0.0):
    """True times at which a meter of this period reads, from when its first window is whole."""
    last = power.t_s[-1]
    return np.arange(lead_s + period_s, last, period_s)


def anchors(rng, clock, host, last_s):
    """(meter time, host arrival): late by a constant, an exponential delay and bursts of the bus, never early."""
    t_s = np.arange(0.05, last_s, 0.05)
    late_s = rng.uniform(5e-4, 4e-3) + rng.exponential(3e-4, len(t_s))
    late_s += np.where(rng.random(len(t_s)) < 0.03, rng.uniform(2e-3, 60e-3, len(t_s)), 0)
    return clock(t_s), np.maximum.accumulate(host(t_s + late_s))


def means(rng, power):
    period_s = float(rng.choice([2e-4, 5e-4, 1e-3, 2e-3]))
    t_s = ticks(power, period_s)
    watt, gain = imperfect(rng, window_means(power, t_s, period_s), 0.02)
    return t_s, np.round(watt / 2e-4) * 2e-4, {"kind": "mean", "period_s": period_s}, gain


def part_time(rng, power):
    period_s = float(rng.choice([0.005, 0.01]))
    window_s = period_s * float(rng.uniform(0.3, 0.7))
    t_s = ticks(power, period_s)
    watt, gain = imperfect(rng, window_means(power, t_s, window_s), 0.01)
    return t_s, watt, {"kind": "part_time", "period_s": period_s, "window_s": window_s}, gain


def overlapping(rng, power):
    period_s, window_s = 0.02, 0.1
    t_s = ticks(power, period_s, window_s)
    watt, gain = imperfect(rng, window_means(power, t_s, window_s), 0.005)
    return t_s, watt, {"kind": "overlapping", "period_s": period_s, "window_s": window_s}, gain


def filtered(rng, power):
    """Each reading is (1 - k) of the last one and k of the mean since: an averaging count in a cheap meter."""
    period_s, tau_s = 0.01, 0.08
    t_s = ticks(power, period_s)
    fresh, keep = window_means(power, t_s, period_s), np.exp(-period_s / tau_s)
    y, last = np.empty(len(fresh)), fresh[0]
    for i, x in enumerate(fresh):
        last = keep * last + (1 - keep) * x
        y[i] = last
    watt, gain = imperfect(rng, y, 0.005)
    return t_s, watt, {"kind": "filtered", "period_s": period_s, "tau_s": tau_s}, gain


def counter(rng, power):
    """A register in units of 61 uJ that is renewed every millisecond, wraps at 2^24 units, and is polled."""
    unit_j, modulus_raw, renew_s, period_s = 61.035e-6, 1 << 24, 1e-3, 0.01
    t_s = ticks(power, period_s) + rng.exponential(1e-4, len(ticks(power, period_s)))
    gain = 1 + SHEET["gain_rel"] * rng.normal(0, 1 / 3)
    energy_j = 900.0 + gain * power.energy_until(np.floor(t_s / renew_s) * renew_s)
    raw = (energy_j / unit_j).astype(np.int64) % modulus_raw
    return t_s, raw, {"kind": "counter", "period_s": period_s, "unit_j": unit_j, "modulus_raw": modulus_raw}, gain


def powercap(rng, power, clock):
    """Files of /sys/class/powercap read every 10 ms: wraps in the middle of the run, a read now and then fails.

    The kernel counts units of 61.035 uJ in 32 bits and prints microjoules.
    """
    unit_uj, counts = 61.035, 1 << 32
    t_s = ticks(power, 0.01) + rng.exponential(2e-5, len(ticks(power, 0.01)))
    gain = 1 + SHEET["gain_rel"] * rng.normal(0, 1 / 3)
    half_j = power.energy_until(power.t_s[-1] / 2)
    seen_j = gain * power.energy_until(np.floor(t_s / 1e-3) * 1e-3)
    unit = ((counts * unit_uj * 1e-6 - half_j + seen_j) / (unit_uj * 1e-6)).astype(np.int64) % counts
    text = [str(int(u * 61035 // 1000)) for u in unit]
    for failed in rng.integers(1, len(text) - 1, 5):
        text[failed] = ""
    zone = {"name": "package-0", "max_energy_range_uj": (counts - 1) * 61035 // 1000}
    took_s = rng.uniform(5e-6, 3e-5, len(t_s))
    return {"begin_s": clock(t_s), "end_s": clock(t_s + took_s), "intel-rapl:0": text}, zone, gain


def monsoon(rng, power, clock, host, volts=4.2):
    """5 kHz packets of a Monsoon HVPM: (bytes, arrival (K,), length (K,), EEPROM words, gain of the unit)."""
    slots = int((power.t_s[-1] - 0.01) / 2e-4)
    slot_s = np.arange(1, slots + 1) * 2e-4
    watt = window_means(power, slot_s, 2e-4)
    gain = 1 + SHEET["gain_rel"] * rng.normal(0, 1 / 3)
    ampere = gain * watt / volts
    scale, zero_offset = (36200, 6350), (21, 4)  # fine uA, coarse mA at the reference level
    zero = (2030.0 + rng.normal(0, 20), 1290.0 + rng.normal(0, 20))
    reference = (40100.0 + rng.normal(0, 50), 29500.0 + rng.normal(0, 50))
    codes = []
    for k, full_a in enumerate((scale[0] * 1e-6, scale[1] * 1e-3)):
        whole = zero[k] + zero_offset[k]
        codes.append(np.clip(whole + ampere / full_a * (reference[k] - whole) + rng.normal(0, 2, slots), 0, 65535))
    fine, coarse = (np.rint(c).astype(int) for c in codes)
    volt = np.rint(np.full(slots, volts) / 4.0 / 62.5e-6).astype(int)
    kind = np.zeros(slots, int)
    kind[np.arange(0, slots, 6250)] = 0x10  # a zero and a reference sample every 1.25 s
    kind[np.arange(1, slots, 6250)] = 0x30
    for k in range(5):  # and five of each at once, as after a start
        kind[2 * k], kind[2 * k + 1] = 0x10, 0x30
    lost, packets, lengths, ends, dropped, at, sequence = set(), [], [], [], 0, 0, 0
    for hole in rng.integers(slots // 10, slots, 3):
        lost.add(int(hole) // 3 * 3)
    while at + 3 <= slots:
        if at in lost:  # the unit's buffer ran over: it counts what it dropped
            dropped, at = dropped + 60, at + 60
            continue
        body = b"".join(
            _observation(fine[i], coarse[i], volt[i], int(kind[i]), zero, reference) for i in range(at, at + 3)
        )
        packets.append(struct.pack("<HBB", dropped & 0xFFFF, 0x20 | sequence & 15, 3) + body)
        lengths.append(len(packets[-1]))
        at, sequence = at + 3, sequence + 1
        ends.append(at)
    sent_s = np.array(ends) * 2e-4
    late_s = 1e-3 + rng.exponential(2e-4, len(sent_s)) + np.where(rng.random(len(sent_s)) < 0.002, 0.03, 0)
    # the unit counts slots of its own 200 us: its rate is that of its clock
    arrival = np.maximum.accumulate(host(sent_s + late_s))
    eeprom = {"scale": {"main": list(scale)}, "zero_offset": {"main": list(zero_offset)}, "output_v": volts}
    return b"".join(packets), arrival, np.array(lengths), eeprom, gain


def _observation(fine, coarse, volt, kind, zero, reference):
    if kind == 0x10:
        fine, coarse = round(zero[0]), round(zero[1])
    elif kind == 0x30:
        fine, coarse = round(reference[0]), round(reference[1])
    return struct.pack(">8H2B", coarse, fine, 7, 7, 7, 7, volt, 0, 0x0F, 0x01 | kind)
