"""Samples that came in bursts: laid out to within a sample, losses and doubles found, what is not steady refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.readings.bursts.heal import heal
from analysis.readings.bursts.retime import NotSteady, Retimed, retime
from drivers.simulated.bursts import Link, Received, receive
from harness.core.clock import HOST
from harness.core.trace import (
    STAMPS,
    STAMPS_IN_BURSTS,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
    Trace,
)

LINK = Link(seconds=25.0, ppm=-4200.0, warm_ppm=1800.0, tail_s=0.0004, lost=0.004, doubled=0.004)


def found(got: Received) -> Retimed:
    return retime(got.arrival_ns, period_ns=got.period_ns, content=got.content)


def rms_samples(got: Received, out: Retimed, link: Link) -> float:
    """RMS distance of the times from the truth and the link's least delay, in samples."""
    off = out.host_ns - got.true_ns[out.kept] - link.least_s * 1e9
    return float(np.sqrt(np.mean(off**2))) / got.period_ns


@pytest.mark.parametrize(
    ("rate_hz", "burst_s", "seed"),
    [(5000, 0.032, 66001), (5000, 0.004, 66002), (2000, 0.016, 66003), (1000, 0.008, 66004), (500, 0.02, 66005),
     (200, 0.03, 66006)],
)  # fmt: skip
def test_times_are_right_to_a_sample_and_losses_and_copies_are_found(rate_hz: int, burst_s: float, seed: int) -> None:
    link = replace(LINK, rate_hz=float(rate_hz), burst_s=burst_s)
    got = receive(link, seed)
    out = found(got)
    assert rms_samples(got, out, link) < 1.0
    assert np.sqrt(np.mean((got.arrival_ns - got.true_ns) ** 2)) > 3 * got.period_ns * rms_samples(got, out, link)
    assert abs(sum(one.lost for one in out.lost) - got.lost) <= 0.02 * got.lost + 3
    unplaced = sum(one.unplaced for one in out.lost)
    assert np.count_nonzero(out.kept & got.again) <= 0.05 * got.again.sum() + 2
    assert np.count_nonzero(~out.kept & ~got.again) - unplaced <= 0.05 * got.again.sum() + 2
    assert unplaced <= 0.03 * len(out.kept)
    assert rms_samples(got, out, link) < 3 * max(out.residual_ns / got.period_ns, 0.05)  # what it says of itself


def test_nothing_is_found_where_nothing_is_missing() -> None:
    got = receive(replace(LINK, lost=0.0, doubled=0.0), 66010)
    out = found(got)
    assert out.lost == () and out.repeats == () and out.kept.all()


def test_a_long_wait_is_no_loss() -> None:
    got = receive(replace(LINK, lost=0.0, doubled=0.0, long=0.05), 66011)
    out = found(got)
    assert out.lost == () and out.late_ns[1] < 5e6


def test_one_lost_burst_is_a_gap_of_as_many_samples() -> None:
    got = receive(replace(LINK, lost=0.0, doubled=0.0, long=0.0), 66012)
    gone = (got.slot >= 80_000) & (got.slot < 80_160)
    out = retime(got.arrival_ns[~gone], period_ns=got.period_ns, content=got.content[~gone])
    assert [(one.row, one.lost) for one in out.lost] == [(80_000, 160)] or sum(o.lost for o in out.lost) == 160
    assert int(out.slot[-1]) == len(got.slot) - 1
    assert out.lost[0].u_lost < 0.5


def test_a_signal_that_stands_still_proves_no_copy_by_itself() -> None:
    got = receive(replace(LINK, lost=0.0, doubled=0.0), 66013)
    out = retime(got.arrival_ns, period_ns=got.period_ns, content=np.full_like(got.content, 7))
    assert out.repeats == () and out.kept.all()


def test_a_stretch_that_stands_still_is_no_copy_beside_noise() -> None:
    got = receive(replace(LINK, lost=0.0, doubled=0.0), 66021)
    content = got.content.copy()
    content[50_000:60_000] = 7
    content[70_000:70_300] = 7
    out = retime(got.arrival_ns, period_ns=got.period_ns, content=content)
    assert out.repeats == () and out.kept.all()


def test_the_rate_is_found_where_nobody_says_it() -> None:
    got = receive(replace(LINK, lost=0.001), 66014)
    out = retime(got.arrival_ns, content=got.content)
    assert out.period_ns == pytest.approx(got.period_ns, rel=0.01)
    off = out.host_ns - got.true_ns[out.kept] - LINK.least_s * 1e9
    assert np.sqrt(np.mean(off**2)) < got.period_ns


def test_what_no_steady_device_sends_is_refused() -> None:
    rng = np.random.default_rng(66015)
    slow = 1 + 3 * (np.arange(20_000) // 900 % 2)  # a loop that slows down, and back
    steps = rng.exponential(0.005, 20_000) * slow
    with pytest.raises(NotSteady):
        retime(np.cumsum(steps * 1e9).astype(np.int64), period_ns=10_000_000)
    got = receive(LINK, 66016)
    with pytest.raises(NotSteady, match="another rate"):
        retime(got.arrival_ns, period_ns=round(1.2 * got.period_ns))
    back = got.arrival_ns.copy()
    back[90_000:] -= 400_000_000
    with pytest.raises(NotSteady, match="run back by"):
        retime(back, period_ns=got.period_ns)
    with pytest.raises(NotSteady, match="at least 100"):
        retime(got.arrival_ns[:50], period_ns=got.period_ns)


def trace_of(got: Received, clock: str, *, stamps: str = STAMPS_IN_BURSTS) -> Trace:
    n = len(got.arrival_ns)
    t_ns = (np.arange(n) + 1) * got.period_ns if clock != HOST else got.arrival_ns
    channel = ChannelSpec("main", "power_w", ("p",), Reading(ReadingKind.MEAN, got.period_ns, got.period_ns))
    info = MeterInfo("d", "m", "", "", clock, (ColumnSpec("p", "W"),), (channel,), details={STAMPS: stamps})
    pieces = (CalibrationPiece(0, "p", 0, 1e-3, 0.0), CalibrationPiece(n // 2, "p", 0, 2e-3, 0.0))
    anchors = np.stack([t_ns, got.arrival_ns], axis=1)
    return Trace(info, t_ns, {"p": got.content[:, 0]}, pieces, (), anchors)


def test_a_trace_is_healed_with_its_gaps_and_calibration() -> None:
    got = receive(LINK, 66017)
    whole = trace_of(got, "meter:x")
    healed = heal(whole)
    trace, told = healed.trace, healed.told
    steps = np.diff(trace.t_ns)
    assert np.all(steps > 0) and np.all(steps % got.period_ns == 0)
    jumps = np.flatnonzero(steps > got.period_ns)
    assert [g.begin_ns for g in trace.gaps] == [int(t) for t in trace.t_ns[jumps]]
    assert sum(g.lost for g in trace.gaps) == told["lost_samples"] + told["unplaced_samples"]
    assert trace.counts["lost_samples"] > 0 and "samples_doubled" in healed.flags
    half = trace.calibration[1].first_row
    row = np.flatnonzero(np.isin(np.arange(len(whole)), np.flatnonzero(whole.values("p") >= 0)))[len(whole) // 2]
    assert abs(half - np.count_nonzero(~got.again[:row])) <= told["unplaced_samples"]
    assert np.nanmean(trace.values("p")) == pytest.approx(np.nanmean(whole.values("p")), rel=0.05)


def test_other_traces_are_left_as_they_are() -> None:
    got = receive(LINK, 66018)
    own = trace_of(got, "meter:x", stamps="own")
    assert heal(own).trace is own and heal(own).flags == ()
    back = replace(got, arrival_ns=np.r_[got.arrival_ns[:1000], got.arrival_ns[1000:] - 500_000_000])
    odd = heal(trace_of(back, "meter:x"))
    assert odd.flags == ("stamps_not_healed",) and "run back" in odd.told["refused"]


def test_rows_of_two_files_are_healed_each_by_itself() -> None:
    one, two = receive(LINK, 66019), receive(LINK, 66020, origin_ns=100_000_000_000)
    a, b = trace_of(one, "meter:x"), trace_of(two, "meter:x")
    later = b.t_ns + 100_000_000_000
    joined = replace(
        a, t_ns=np.r_[a.t_ns, later], columns={"p": np.r_[a.columns["p"], b.columns["p"]]},
        gaps=(Gap(int(a.t_ns[-1]), 0, -1, "another file"),),
        anchors=np.r_[a.anchors, np.stack([later, b.anchors[:, 1]], axis=1)],
    )  # fmt: skip
    assert heal(joined).told["losses"] == heal(a).told["losses"] + heal(b).told["losses"]
