"""Samples to rows: the wrapping clock, lost and repeated samples, flags, clipping, and which side of the shunt."""

import numpy as np
import pytest

from drivers.chips.ina219 import Config, config_word
from drivers.ina219.messages import Samples
from drivers.ina219.rows import MicrosClock, RowBuilder, RowShape

BOTH = Config.of(config_word(range_mv=80, bus_range_v=16, sadc=11, badc=8))
SHUNT = Config.of(config_word(range_mv=80, bus_range_v=16, sadc=11, badc=8, mode=5))
BUS_5V = 1250 << 3 | 2


def one(seq: int, t_us: int, shunt: int = 1000, bus: int = BUS_5V) -> Samples:
    return Samples(seq, *(np.array([v], np.int64) for v in (t_us % (1 << 32), shunt, bus)))


def builder(config: Config = BOTH, **shape: object) -> RowBuilder:
    rows = RowBuilder(RowShape(config, 0, 0.1, **shape), MicrosClock())  # type: ignore[arg-type]
    rows.restart()
    return rows


def test_the_clock_wraps_and_time_goes_on() -> None:
    rows = builder(SHUNT)
    start = (1 << 32) - 10_000
    for k in range(6):
        rows.add(one(k, start + 4260 * k), 10**12 + 4_260_000 * k)
    block = rows.take()
    assert block is not None
    assert np.diff(block.t_ns).tolist() == [4_260_000] * 5
    assert not block.gaps


def test_lost_samples_are_a_gap_with_their_number() -> None:
    rows = builder(SHUNT)
    for k in (0, 1, 5, 6):
        rows.add(one(k, 4260 * k), 10**12 + 4_260_000 * k)
    block = rows.take()
    assert block is not None
    (gap,) = block.gaps
    assert gap.lost == 3
    assert (gap.begin_ns, gap.end_ns) == (4_260_000, 4 * 4_260_000)
    assert block.counts["lost_samples"] == 3


def test_the_sequence_wraps_without_a_loss() -> None:
    rows = builder(SHUNT)
    rows._expected = 65_534
    for k in range(4):
        rows.add(one((65_534 + k) % 65_536, 4260 * k + 1), 10**12)
    block = rows.take()
    assert block is not None
    assert not block.gaps
    assert len(block) == 4


def test_conversions_that_nobody_sent_are_a_gap_of_unknown_number() -> None:
    rows = builder(SHUNT)
    for k, t_us in enumerate((0, 4260, 13_000)):
        rows.add(one(k, t_us), 10**12)
    block = rows.take()
    assert block is not None
    assert [gap.lost for gap in block.gaps] == [-1]


def test_a_sample_that_comes_twice_is_one_row() -> None:
    rows = builder(SHUNT)
    for sample in (one(0, 0), one(0, 0), one(1, 4260)):
        rows.add(sample, 10**12)
    block = rows.take()
    assert block is not None
    assert len(block) == 2
    assert block.counts == {"repeated_samples": 1}


def test_a_stamp_that_makes_no_sense_is_no_row() -> None:
    rows = builder(SHUNT)
    for sample in (one(0, 10_000), one(1, 9_000), one(2, 14_260 + 40_000_000), one(1, 14_260)):
        rows.add(sample, 10**12)
    block = rows.take()
    assert block is not None
    assert len(block) == 2
    assert block.counts["senseless_samples"] == 2


def test_a_row_ends_with_its_shunt_window() -> None:
    rows = builder(BOTH)
    rows.add(one(0, 1_000_000), 10**12)
    block = rows.take()
    assert block is not None
    assert block.t_ns[0] == 1_000_000_000 - 532_000


def test_the_overflow_flag_is_counted_and_changes_nothing() -> None:
    rows = builder(BOTH)
    rows.add(one(0, 0, 1000, BUS_5V), 10**12)
    rows.add(one(1, 4792, 1000, BUS_5V | 1), 10**12)
    block = rows.take()
    assert block is not None
    assert len(set(block.columns["voltage_raw"].tolist())) == 1
    assert block.counts == {"math_overflow_flags": 1}


def test_voltage_on_either_side_is_an_exact_integer() -> None:
    shunt, bus = np.array([1000, -20, 8000]), np.array([BUS_5V] * 3)
    load = RowShape(BOTH, 0, 0.1)
    supply = RowShape(BOTH, 0, 0.1, load_side=False)
    assert load.voltage_raw(shunt, bus).tolist() == [500_000] * 3
    assert supply.voltage_raw(shunt, bus).tolist() == [501_000, 499_980, 508_000]


def test_in_shunt_mode_the_bus_bits_are_not_believed() -> None:
    shunt = np.array([1000, 2000])
    known = RowShape(SHUNT, 0, 0.1, supply_raw=510_000)
    assert known.voltage_raw(shunt, np.array([2, 2])).tolist() == [509_000, 508_000]
    known = RowShape(SHUNT, 0, 0.1, supply_raw=510_000, load_side=False)
    assert known.voltage_raw(shunt, np.array([2, 2])).tolist() == [510_000, 510_000]


@pytest.mark.parametrize(("shunt", "code"), [(8000, 1), (-8000, 2), (7999, 0), (-7999, 0), (0, 0)])
def test_a_shunt_at_the_end_of_its_range_is_marked(shunt: int, code: int) -> None:
    rows = builder(BOTH)
    rows.add(one(0, 0, shunt), 10**12)
    block = rows.take()
    assert block is not None
    assert block.columns["clip"].tolist() == [code]
    assert block.counts.get("saturated_samples", 0) == (code > 0)


def test_reversed_full_scale_has_no_calibration() -> None:
    assert {p.code for p in RowShape(BOTH, 0, 0.1).calibration(0) if p.column == "shunt_raw"} == {0, 1}


def test_after_an_interruption_calibration_is_stated_again() -> None:
    rows = builder(BOTH)
    rows.add(one(0, 0), 10**12)
    rows.interrupt("configured anew (epoch 2)")
    rows.add(one(1, 4792), 10**12)
    block = rows.take()
    assert block is not None
    assert [p.first_row for p in block.calibration if p.column == "voltage_raw"] == [0, 1]
    assert [gap.reason for gap in block.gaps] == ["configured anew (epoch 2)"]
