"""Standby brackets: plain means; a level that switches inside one is seen where daemons' spikes are not; noisy brackets
are neither shown apart nor shown alike; warmth of work is no standby."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.energy.standby import Standby, find_standby
from analysis.energy.standby_course import Temperature
from analysis.energy.standby_levels import find_levels
from analysis.readings.curve import ChannelCurve
from analysis.verdict.standby_moved import standby_flags, standby_moved
from harness.core.curve import EnergyCurve
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import Reading, ReadingKind

PERIOD_NS = 2_000_000
BEFORE, AFTER = (0, 10), (40, 50)  # s, brackets
WORK = (12.0, 36.0)
DYNAMIC_W = 5.0
T_S = (np.arange(25_000) + 0.5) * PERIOD_NS * 1e-9


def timeline() -> Timeline:
    edges = np.linspace(*WORK, 6)
    begin = (edges[:-1] * 1e9).astype(np.int64)
    end = ((edges[1:] - 0.01) * 1e9).astype(np.int64)
    code = np.full(5, PHASE_CODE[Phase.MEASURED], np.int64)
    spans = (
        Span(0, Phase.STANDBY_BEFORE, BEFORE[0] * 10**9, BEFORE[1] * 10**9),
        Span(4, Phase.STANDBY_AFTER, AFTER[0] * 10**9, AFTER[1] * 10**9),
    )
    return Timeline("host", spans, np.arange(5), code, begin, end)


def channel(power_w: np.ndarray) -> ChannelCurve:
    edge_ns = np.arange(len(power_w) + 1, dtype=np.int64) * PERIOD_NS
    energy_j = np.concatenate([[0.0], np.cumsum(power_w) * PERIOD_NS * 1e-9])
    curve = EnergyCurve("host", edge_ns, energy_j, edge_ns.astype(np.float64))
    return ChannelCurve("main", curve, Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS), PERIOD_NS, len(power_w))


def board(seed: int) -> np.ndarray:
    """2 W at rest, work on top, white noise."""
    busy = (WORK[0] < T_S) & (WORK[1] > T_S)
    return 2.0 + DYNAMIC_W * busy + 0.02 * np.random.default_rng(seed).standard_normal(len(T_S))


def daemons(seed: int, *, rate_hz: float, mean_s: float, watt: float) -> np.ndarray:
    """Power of bursts that come at random and last 0.4 to 1.6 times `mean_s`."""
    rng = np.random.default_rng([seed, 7])
    begin = rng.uniform(0, T_S[-1], rng.poisson(rate_hz * T_S[-1]))
    power = np.zeros(len(T_S))
    for at, length in zip(begin, mean_s * rng.uniform(0.4, 1.6, len(begin)), strict=True):
        power[(at <= T_S) & (at + length > T_S)] += watt
    return power


def warmth(tau_s: float, watt: float) -> np.ndarray:
    """What a part that warms up with the work leaks."""
    busy = (WORK[0] < T_S) & (WORK[1] > T_S)
    gain, state, out = -np.expm1(-PERIOD_NS * 1e-9 / tau_s), 0.0, np.empty(len(T_S))
    for k, value in enumerate(busy.tolist()):
        state += gain * (value - state)
        out[k] = state
    return watt * out


def found(power_w: np.ndarray, temperature: Temperature | None = None) -> Standby:
    return find_standby(channel(power_w), timeline(), 0, temperature=temperature)


def told(celsius: np.ndarray) -> Temperature:
    """A temperature of the board, read once a second."""
    return Temperature(np.asarray(T_S[::500] * 1e9, np.float64), celsius[::500])


def at_work(standby: Standby) -> float:
    return float(standby.at(np.array([sum(WORK) / 2 * 1e9]))[0])


def test_quiet_brackets_are_their_plain_mean() -> None:
    standby = found(board(1))
    assert standby.problem == ""
    assert standby.brackets[0].mean_w == pytest.approx(2.0, abs=0.002)
    assert at_work(standby) == pytest.approx(2.0, abs=0.002)
    assert standby.moved_w == 0
    assert standby.difference.shown_alike(0.02 * DYNAMIC_W)


def test_a_missing_bracket_is_named() -> None:
    whole = timeline()
    short = Timeline("host", whole.spans[:1], whole.start, whole.phase, whole.begin_ns, whole.end_ns)
    assert "standby_after" in find_standby(channel(board(4)), short, 0).problem


def test_a_bracket_that_lost_its_highest_readings_is_no_standby() -> None:
    """A range that switches within the ripple loses the same readings again and again: the rest has another mean."""
    power = board(4) + 0.5 * np.sin(np.arange(len(T_S)))
    lost = (power > np.quantile(power[BEFORE[1] > T_S], 0.7)) & (BEFORE[1] > T_S)
    whole = channel(np.where(lost, 0.0, power)).curve
    covered_ns = np.concatenate([[0.0], np.cumsum(np.where(lost, 0.0, PERIOD_NS))])
    kept = replace(channel(power), curve=EnergyCurve("host", whole.edge_ns, whole.energy_j, covered_ns))
    assert kept.curve.mean_power_w(0, BEFORE[1] * 10**9) < 1.9
    assert "70% of bracket standby_before" in find_standby(kept, timeline(), 0).problem


def test_spikes_are_part_of_standby_and_move_no_level() -> None:
    """The mean holds them, all over both brackets; a trimmed one would bill them to the network."""
    power = board(2)
    power[1_000:1_125] += 2.0  # a daemon for a quarter of a second
    standby = found(power)
    assert standby.brackets[0].mean_w == pytest.approx(2.0 + 0.5 / 9.7, abs=0.004)
    assert at_work(standby) == pytest.approx(2.0 + 0.5 / 9.7 / 2, abs=0.004)
    assert standby.moved_w == 0


@pytest.mark.parametrize("at_s", [3.0, 5.0, 7.0, 43.0, 45.0, 47.0])
def test_a_fan_that_switches_within_a_bracket_is_refused(at_s: float) -> None:
    power = board(3) + 0.6 * (at_s < T_S) * (at_s + 20 > T_S)
    standby = found(power)
    assert 0.5 < standby.moved_w < 0.65
    assert "within a bracket" in standby_moved(standby, DYNAMIC_W) or "differ" in standby_moved(standby, DYNAMIC_W)


def test_busy_daemons_are_scatter_and_no_reason_to_refuse() -> None:
    """Bursts of 2 W, 0.2 s long, twice a second: over many records nearly none is refused, and none passes for
    steady."""
    records = [found(board(s) + daemons(s, rate_hz=2, mean_s=0.2, watt=2)) for s in range(60)]
    refused = sum(bool(standby_moved(r, 2.5)) for r in records)
    assert refused <= 1
    assert np.mean([standby_flags(r, 2.5)["standby_not_equivalent"] for r in records]) > 0.5
    error = np.array([at_work(r) - 2.8 for r in records])
    u = np.array([np.hypot(r.u_scatter_w, r.course.u_w if r.course else 0.0) for r in records])
    assert np.mean(np.abs(error) < 2.2 * u) > 0.88
    assert abs(error.mean()) < 3 * error.std() / 60**0.5


def test_a_jump_between_brackets_is_refused_also_under_daemons() -> None:
    seen = []
    for s in range(40):
        power = board(s) + daemons(s, rate_hz=0.5, mean_s=0.1, watt=1) + 0.8 * (14 + 0.5 * s < T_S)
        seen.append(bool(standby_moved(found(power), DYNAMIC_W)))
    assert np.mean(seen) >= 0.95


def test_a_short_noisy_record_does_not_pass_for_a_steady_one() -> None:
    power = board(5) + daemons(5, rate_hz=3, mean_s=0.4, watt=2)
    standby = found(power)
    assert not standby.difference.shown_alike(0.1 * DYNAMIC_W)
    assert not standby.difference.shown_apart(0.1 * DYNAMIC_W)
    assert standby_flags(standby, DYNAMIC_W)["standby_not_equivalent"]


@pytest.mark.parametrize("tau_s", [8.0, 20.0])
def test_warmth_that_decays_is_no_standby(tau_s: float) -> None:
    """The bracket after the work is 0.1 to 0.2 W too high; a straight line would subtract half of that."""
    power = board(6) + warmth(tau_s, 0.3)
    standby = found(power)
    assert standby.step_w > 0.05
    assert at_work(standby) == pytest.approx(2.0, abs=0.012)
    assert standby.course is not None and standby.course.warmth_w > 0.03


@pytest.mark.parametrize("drift_w", [0.2, -0.2])
def test_a_drift_of_the_room_passes_through_the_work(drift_w: float) -> None:
    power = board(7) + drift_w * T_S / 50
    standby = found(power)
    assert at_work(standby) == pytest.approx(2.0 + drift_w * sum(WORK) / 2 / 50, abs=0.02)
    assert abs(at_work(standby) - 2.0 - drift_w * sum(WORK) / 2 / 50) < 3 * (
        standby.course.u_w if standby.course else 0
    )


def test_what_cannot_be_told_apart_is_the_uncertainty() -> None:
    """A step between the brackets at an unknown moment: the interval holds both ends of what it may mean."""
    standby = found(board(8) + 0.2 * (T_S > 24))
    assert standby.course is not None and standby.course.u_w > 0.03
    assert found(board(8)).course.u_w < 0.01  # type: ignore[union-attr]


def test_signed_error_is_small_for_drifts_of_both_signs() -> None:
    rng = np.random.default_rng(11)
    error = {1: [], -1: []}  # type: dict[int, list[float]]
    for s in range(60):
        sign = 1 if s % 2 else -1
        drift_w = sign * rng.uniform(0, 0.15)
        power = board(s) + drift_w * T_S / 50 + warmth(float(rng.uniform(8, 30)), float(rng.uniform(0, 0.2)))
        error[sign].append(at_work(found(power)) - 2.0 - drift_w * sum(WORK) / 2 / 50)
    for sign in (1, -1):
        assert abs(np.mean(error[sign])) < 0.002 * DYNAMIC_W
    assert abs(np.mean(error[1] + error[-1])) < 0.001 * DYNAMIC_W


def test_levels_follow_the_quiet_slices_and_nothing_is_trimmed() -> None:
    power = board(9) + daemons(9, rate_hz=1, mean_s=0.1, watt=1)
    first, _ = find_levels(channel(power), [(0, 9 * 10**9), (41 * 10**9, 50 * 10**9)])
    assert first.level_w == pytest.approx(2.0, abs=0.05)
    whole = float(first.level_w.mean() + first.excess_w.mean())
    assert whole == pytest.approx(float(power[:4500].mean()), abs=1e-3)


def test_on_request_standby_follows_the_boards_temperature() -> None:
    """0.02 W of leakage a kelvin, 20 K of warmth: subtracted at the temperature of the work, extrapolated from the
    decay."""
    warm_k = warmth(15.0, 20.0)
    power = board(10) + 0.02 * warm_k
    standby = found(power, told(40.0 + warm_k))
    worked = np.mean([warm_k[(a * 1e-9 <= T_S) & (b * 1e-9 >= T_S)].mean() for a, b in zip(*work_ns(), strict=True)])
    assert standby.course is not None and standby.course.w_per_k == pytest.approx(0.02, rel=0.1)
    assert at_work(standby) == pytest.approx(2.0 + 0.02 * worked, abs=3 * standby.course.u_w)
    assert standby.course.u_w < 0.05
    assert at_work(found(power)) == pytest.approx(2.0, abs=0.02)


def test_a_board_that_tells_no_temperature_during_the_work_has_no_such_standby() -> None:
    whole = told(40.0 + warmth(15.0, 20.0))
    rest = (whole.t_ns < WORK[0] * 1e9) | (whole.t_ns > WORK[1] * 1e9)
    standby = found(board(10), Temperature(whole.t_ns[rest], whole.celsius[rest]))
    assert "no temperature" in standby.problem


def work_ns() -> tuple[np.ndarray, np.ndarray]:
    return timeline().rows(Phase.MEASURED)
