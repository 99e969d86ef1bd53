"""What is a reading, what is the same conversion again, what is a gap: passes typed in by hand, with their reasons."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ina2xx.onboard import OnBoardIna, open_on_board
from drivers.simulated.ina2xx.fronts import HeldFront
from drivers.simulated.ina2xx.layouts import LAYOUTS, Layout, build
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, RawSamples
from harness.core.trace import Block, ReadingKind, Trace, join_blocks

Make = Callable[..., Any]
Entry = bytes | int
Pass = Sequence[Entry]
MS = 1_000_000
ROOT = Path("/simulated")
_AVERAGES = LAYOUTS["orin-nano-averages"].chips[0]


def fed(bench: Any, passes: Sequence[Pass], *, every_ms: float, took_ms: float = 1.0, **counts: int) -> list[Block]:
    begin = np.array([round(k * every_ms * MS) for k in range(len(passes))], np.int64)
    took = np.full(len(passes), round(took_ms * MS), np.int64)
    samples = RawSamples(begin, begin + took, tuple(tuple(p) for p in passes), counts)
    blocks = [bench.meter.decode(samples), bench.meter.finish()]
    return [block for block in blocks if block is not None]


def joined(bench: Any, blocks: list[Block]) -> Trace:
    return join_blocks(bench.info, blocks)


def ina226(current_ma: int) -> list[Entry]:
    """voltage, current, power, shunt of the `ina226` layout (0.01 ohm)."""
    return [b"5000\n", b"%d\n" % current_ma, b"%d\n" % (current_ma * 5000), b"%d\n" % (current_ma // 100)]


def ina219(current_ma: int) -> list[Entry]:
    """The same of the `ina219` layout (0.1 ohm)."""
    return [b"5000\n", b"%d\n" % current_ma, b"%d\n" % (current_ma * 5000), b"%d\n" % (current_ma // 10)]


# --- repeated registers ---------------------------------------------------------------------------------


def test_a_register_read_again_within_one_conversion_is_no_sample(make_held: Make) -> None:
    """35.2 ms an update, read every 8.8 ms: four reads of each."""
    bench = make_held("ina226")
    values = [400, 430, 410, 450]
    trace = joined(bench, fed(bench, [ina226(v) for v in values for _ in range(4)], every_ms=8.8))
    assert trace.columns["main:curr1_ma"].tolist() == values
    assert trace.counts["repeated"] == 12
    assert np.diff(trace.t_ns) == pytest.approx([35.2 * MS] * 3, rel=0.13)
    assert not trace.gaps


def test_a_value_that_stays_is_a_new_sample_once_a_conversion_is_over(make_held: Make) -> None:
    bench = make_held("ina226")
    trace = joined(bench, fed(bench, [ina226(400)] * 40, every_ms=8.8))
    steps_ms = np.diff(trace.t_ns) / MS
    assert len(trace) == 8
    assert steps_ms.min() >= 35.2 and steps_ms.max() < 1.5 * 35.2
    assert not trace.gaps


def test_an_update_between_two_passes_is_stamped_between_them(make_held: Make) -> None:
    bench = make_held("ina226")
    trace = joined(bench, fed(bench, [ina226(400)] * 4 + [ina226(500)] * 4, every_ms=8.8))
    assert trace.t_ns[1] / MS == pytest.approx(3.5 * 8.8 + 0.5, abs=0.01)


def test_polled_slower_than_it_converts_every_pass_is_a_sample(make_held: Make) -> None:
    bench = make_held("ina219")
    trace = joined(bench, fed(bench, [ina219(400)] * 5, every_ms=10.0))
    assert len(trace) == 5 and "repeated" not in trace.counts


def test_other_channels_turns_of_one_round_are_one_row(make_prepared: Make) -> None:
    """INA3221 with long conversions: three channels change at three times of a round; rows stay a round apart."""
    board = build("orin-nano", ROOT, front_of=lambda label: HeldFront(1.0 if label == "VDD_IN" else 0.4, 5.0))
    board.add("sys/bus/i2c/devices/1-0040/hwmon/hwmon2", {"update_interval": b"49\n"})
    bench = make_prepared(board)
    assert bench.plan.period_s == pytest.approx(0.0122, abs=1e-4)

    def at(k: int) -> list[Entry]:
        """What pass `k` of four a round sees: the channels' results come a third of a round after each other."""
        milliampere = [(1000 if c == 0 else 400) + 8 * ((3 * k - 4 * c) // 12) for c in range(3)]
        return [entry for ma in milliampere for entry in (b"5000\n", b"%d\n" % ma)]

    trace = joined(bench, fed(bench, [at(k) for k in range(400)], every_ms=12.25))
    assert trace.columns["VDD_IN:curr1_ma"].tolist() == [1000 + 8 * k for k in range(100)]
    assert np.median(np.diff(trace.t_ns)) == pytest.approx(49 * MS, rel=0.01)


def test_a_quick_chip_beside_a_slow_one_makes_no_row_of_its_own(make_prepared: Make) -> None:
    """The larger current is that of an INA3221 whose filter moves at every round of 6.6 ms, the INA226 takes 35.2."""
    both = Layout((LAYOUTS["ina226"].chips[0], dataclasses.replace(_AVERAGES, place="1-0041")))
    front = {"main": 0.5, "VDD_IN": 2.0}
    bench = make_prepared(build(both, ROOT, front_of=lambda label: HeldFront(front.get(label, 0.1), 5.0)))
    assert bench.info.channel("VDD_IN").reading.kind is ReadingKind.FILTERED
    names = [column.name for column in bench.info.columns]

    def at(k: int) -> list[Entry]:
        moving = {"main:curr1_ma": 500 + 10 * (k // 4), "main:power1_uw": 2_500_000 + 50_000 * (k // 4)}
        moving |= {"VDD_IN:curr1_ma": 2000 + 8 * k}
        return [b"%d\n" % moving.get(name, 5000 if "in1_mv" in name or "in2_mv" in name or "in3_mv" in name else 40)
                for name in names]  # fmt: skip

    trace = joined(bench, fed(bench, [at(k) for k in range(200)], every_ms=8.8))
    assert trace.columns["main:curr1_ma"].tolist() == [500 + 10 * k for k in range(50)]


@pytest.mark.parametrize(
    ("layout", "kind", "period_ms", "window_ms"),
    [
        ("ina226", ReadingKind.MEAN, 35.2, 35.2),
        ("ina226-old", ReadingKind.MEAN, 35.2, 35.2),
        ("ina260", ReadingKind.MEAN, 35.2, 35.2),
        ("iio-ina226", ReadingKind.MEAN, 35.2, 35.2),
        ("ina219", ReadingKind.PART_TIME, 10.0, 0.532),
        ("iio-ina219", ReadingKind.PART_TIME, 10.0, 0.532),
        ("orin-nano", ReadingKind.PART_TIME, 10.0, 7.0 / 6),
        ("nano", ReadingKind.PART_TIME, 10.0, 1.1),
    ],
)
def test_what_a_reading_is(make_held: Make, layout: str, kind: ReadingKind, period_ms: float, window_ms: float) -> None:
    reading = make_held(layout).info.channels[0].reading
    assert reading.kind is kind
    assert (reading.period_ns / MS, reading.window_ns / MS) == pytest.approx((period_ms, window_ms), rel=1e-3)


def test_polled_slower_than_its_averages_an_ina226_sees_a_part_of_the_time(make_held: Make) -> None:
    reading = make_held("ina226", poll_s=0.2).info.channels[0].reading
    assert (reading.kind, reading.period_ns, reading.window_ns) == (ReadingKind.PART_TIME, 200 * MS, round(35.2 * MS))


@pytest.mark.parametrize("poll_s", [0.0118, 0.02, 0.035, 0.038])
def test_a_beat_that_misses_and_repeats_in_turns_is_refused(make_held: Make, poll_s: float) -> None:
    with pytest.raises(SpecError, match="read twice"):
        make_held("ina226", poll_s=poll_s)


# --- what is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ENXIO, errno.ETIMEDOUT, errno.EAGAIN, errno.ENODEV, errno.ENODATA, errno.ENOBUFS]
)
def test_failed_reads_are_a_gap_with_their_reason(make_held: Make, code: int) -> None:
    bench = make_held("ina219")
    broken: list[Entry] = [b"5000\n", code, b"0\n", b"0\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 3 + [broken] * 4 + [ina219(500)] * 2, every_ms=10.0))
    (gap,) = trace.gaps
    assert gap.reason == f"main: {errno.errorcode[code]} (curr1_input)"
    assert (gap.begin_ns, gap.end_ns, gap.lost) == (round(20.5 * MS), round(60.5 * MS), 4)
    assert len(trace) == 5 and trace.counts["failed_passes"] == 4
    assert 0 not in trace.columns["main:curr1_ma"]


def test_one_failed_pass_of_four_in_an_update_loses_nothing(make_held: Make) -> None:
    bench = make_held("ina226")
    passes: list[Pass] = [ina226(400)] * 4 + [ina226(430)] * 4 + [ina226(410)] * 4
    passes[6] = [errno.EAGAIN] * 4
    trace = joined(bench, fed(bench, passes, every_ms=8.8))
    assert trace.columns["main:curr1_ma"].tolist() == [400, 430, 410]
    assert not trace.gaps and trace.counts["failed_passes"] == 1


@pytest.mark.parametrize("text", [b"", b"\n", b"4", b"40x\n", b"4 0\n"])
def test_what_is_no_number_is_a_gap(make_held: Make, text: bytes) -> None:
    bench = make_held("ina219")
    broken: list[Entry] = [b"5000\n", b"400\n", text, b"40\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 2 + [broken] * 2 + [ina219(400)], every_ms=10.0))
    assert len(trace) == 3
    assert trace.gaps[0].reason.startswith("main: power1_input reads ")


def test_a_brown_out_that_zeroed_the_calibration_is_no_zero(make_held: Make) -> None:
    bench = make_held("ina219")
    dead: list[Entry] = [b"4980\n", b"0\n", b"0\n", b"41\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 2 + [dead] * 3 + [ina219(400)], every_ms=10.0))
    assert trace.power_w("main").min() > 1.9
    assert "lost its calibration" in trace.gaps[0].reason and "41 mV" in trace.gaps[0].reason


def test_a_rail_that_is_switched_off_is_a_zero(make_held: Make) -> None:
    bench = make_held("ina219")
    off: list[Entry] = [b"0\n", b"0\n", b"0\n", b"0\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 2 + [off] * 3, every_ms=10.0))
    assert trace.power_w("main").tolist()[-3:] == [0.0, 0.0, 0.0]
    assert not trace.gaps


def test_current_without_a_bus_voltage_is_no_zero(make_held: Make) -> None:
    bench = make_held("ina219-old")
    loose: list[Entry] = [b"0\n", b"400\n", b"0\n", b"40\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 2 + [loose] * 3 + [ina219(400)], every_ms=10.0))
    assert len(trace) == 3 and "no bus voltage" in trace.gaps[0].reason


def test_a_power_register_of_zero_beside_a_current_is_no_zero(make_held: Make) -> None:
    bench = make_held("ina219")
    half: list[Entry] = [b"5000\n", b"400\n", b"0\n", b"40\n"]
    trace = joined(bench, fed(bench, [ina219(400)] * 2 + [half] * 2 + [ina219(400)], every_ms=10.0))
    assert len(trace) == 3 and "power1_input reads 0" in trace.gaps[0].reason


def test_a_slow_pass_is_left_out_and_said(make_held: Make) -> None:
    """The kernel sleeps 69 ms in the read in which it sets up a chip anew."""
    bench = make_held("ina219")
    blocks = fed(bench, [ina219(400)] * 3, every_ms=100.0, took_ms=71.0)
    assert sum(len(block) for block in blocks) == 0
    assert "took 71 ms" in blocks[-1].gaps[0].reason
    assert blocks[-1].counts["slow_passes"] == 3


def test_a_sampler_that_was_held_up_leaves_a_gap(make_held: Make) -> None:
    bench = make_held("ina219")
    begin = np.array([0, 10, 20, 400, 410], np.int64) * MS
    block = bench.meter.decode(
        RawSamples(begin, begin + MS, tuple(tuple(ina219(400)) for _ in begin), {"late_passes": 37})
    )
    trace = joined(bench, [block])
    (gap,) = trace.gaps
    assert gap.reason == "not read for 0.380 s" and gap.end_ns == round(390.5 * MS)
    assert trace.counts["late_polls"] == 37


def test_what_is_missing_at_both_ends_is_a_gap(make_held: Make) -> None:
    bench = make_held("ina219")
    dead: list[Entry] = [errno.ENODEV] * 4
    trace = joined(bench, fed(bench, [dead] * 2 + [ina219(400)] * 2 + [dead] * 3, every_ms=10.0))
    assert [(g.begin_ns // MS, g.end_ns // MS, g.lost) for g in trace.gaps] == [(0, 20, 2), (30, 61, 3)]


def test_saturated_readings_are_counted_and_reach_the_largest_power(make_held: Make) -> None:
    """0.1 ohm below an INA226 ends at 0.819 A, while the supply sags a little."""
    from drivers.simulated.ina2xx.layouts import Layout, Wired

    small = Layout((Wired("ina226", "1-0040", shunt_ohm=(0.1,), kernel_uohm=(100_000,)),))
    bench = make_held(small, current_a=0.5)
    limit_w = bench.info.channel("main").max_power_w
    assert limit_w == pytest.approx(0.9 * 0.819 * 5, rel=1e-3)
    high: list[Entry] = [b"4900\n", b"819\n", b"4013000\n", b"82\n"]
    trace = joined(bench, fed(bench, [high] * 20, every_ms=8.8))
    assert trace.counts["saturated:main"] == 20
    assert trace.power_w("main").min() > limit_w


def test_decoding_needs_what_was_found() -> None:
    none = np.empty(0, np.int64)
    with pytest.raises(DeviceError, match="not prepared"):
        open_on_board(MeterRequest("ina")).decode(RawSamples(none, none, ()))


# --- health -----------------------------------------------------------------------------------------------


def checks(bench: Any) -> Mapping[str, Any]:
    return {item.name: item for item in bench.meter.self_test()}


def test_a_healthy_chip_has_nothing_to_mend(make_held: Make) -> None:
    assert all(item.ok and not item.mend for item in checks(make_held("ina219")).values())


def test_self_test_names_the_wrong_shunt_and_what_to_type(make_held: Make) -> None:
    from drivers.simulated.ina2xx.layouts import Layout, Wired

    layout = Layout((Wired("ina219", "1-0040", kernel_uohm=(10_000,)),))
    item = checks(make_held(layout, shunt_ohm=0.1))["shunt main"]
    assert not item.ok and "0.01 ohm" in item.found
    assert item.mend == "echo 100000 | sudo tee /sys/bus/i2c/devices/1-0040/hwmon/hwmon2/shunt_resistor"


def test_self_test_sees_a_chip_calibrated_for_another_shunt(make_held: Make) -> None:
    """kernel_shunt_ohm that is not true shows in what the shunt and the current say together."""
    bench = make_held("ina219", kernel_shunt_ohm=0.01, shunt_ohm=0.1)
    item = checks(bench)["calibration main"]
    assert not item.ok and "0.1 ohm" in item.found


def test_self_test_sees_a_lost_calibration_a_missing_bus_and_a_burden(make_prepared: Make) -> None:
    board = build("ina219", ROOT, front_of=lambda label: HeldFront(0.5, 5.0))
    board.chips["1-0040"].calibrated = lambda t_ns: False
    assert not checks(make_prepared(board))["calibration main"].ok
    board = build("ina219", ROOT, front_of=lambda label: HeldFront(2.5, 0.0))
    found = checks(make_prepared(board))
    assert not found["bus main"].ok and not found["burden main"].ok and not found["range main"].ok
    assert "250 mV" in found["burden main"].found


# --- anything at all ----------------------------------------------------------------------------------

ENTRY = st.one_of(
    st.sampled_from([errno.EIO, errno.ENODEV]), st.binary(max_size=12),
    st.integers(-(10**6), 10**7).map(lambda v: b"%d\n" % v),
)  # fmt: skip


def _fresh(layout: str) -> OnBoardIna:
    meter = open_on_board(MeterRequest("ina", sysfs_root=ROOT))
    meter.prepare(build(layout, ROOT, front_of=lambda label: HeldFront(0.4, 5.0)), clock="board:pi")
    return meter


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["ina226", "ina219"]),
    st.lists(st.tuples(st.integers(1, 60), st.tuples(ENTRY, ENTRY, ENTRY, ENTRY)), max_size=60),
    st.integers(1, 7),
)
def test_whatever_is_read_rows_increase_and_gaps_are_empty(
    layout: str, passes: list[tuple[int, tuple[Entry, ...]]], chunk: int
) -> None:
    meter, blocks, t_ns = _fresh(layout), [], 0
    for first in range(0, len(passes), chunk):
        begin, data = [], []
        for wait_ms, entries in passes[first : first + chunk]:
            t_ns += wait_ms * MS
            begin.append(t_ns)
            data.append(entries)
        stamps = np.array(begin, np.int64)
        blocks.append(meter.decode(RawSamples(stamps, stamps + MS // 2, tuple(data))))
    blocks.append(meter.finish())
    kept = [block for block in blocks if block is not None]
    times = [int(t) for block in kept for t in block.t_ns]
    assert all(a < b for a, b in pairwise(times))
    gaps = [gap for block in kept for gap in block.gaps]
    assert all(gap.end_ns > gap.begin_ns and gap.reason for gap in gaps)
    assert all(a.end_ns <= b.begin_ns for a, b in pairwise(gaps))
    assert not any(gap.begin_ns < t < gap.end_ns for gap in gaps for t in times)
