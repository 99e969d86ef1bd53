"""Overlap through the supply's filter against a brute-force filter on a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import cont2discrete, lfilter

from analysis.attribute.normal import gram
from analysis.attribute.overlap import Pieces, decayed_sums, overlap_shares
from analysis.attribute.supply import SupplyFilter

COLUMNS, STEP_NS = 5, 100.0


def _pieces(rng: np.random.Generator) -> tuple[np.ndarray, Pieces]:
    knot = np.r_[0.0, np.sort(rng.uniform(0, 6e6, 60))]
    return knot, Pieces(knot[:-1], knot[1:], np.arange(60) % COLUMNS, np.ones(60))


@pytest.mark.parametrize(("tau_ns", "q"), [(0.0, 1.0), (3e4, 0.3), (2e5, 0.5), (3e5, 2.5), (1e5, 0.8)])
@pytest.mark.parametrize("jitter_ns", [0.0, 60_000.0])
def test_overlap_is_exact(tau_ns: float, q: float, jitter_ns: float) -> None:
    rng = np.random.default_rng(7)
    knot, pieces = _pieces(rng)
    edge = np.arange(0, 5.8e6, 2e5)
    edge[1:] += np.rint(rng.uniform(0, jitter_ns, len(edge) - 1) / STEP_NS) * STEP_NS
    shares = overlap_shares(edge, pieces, COLUMNS, SupplyFilter(tau_ns, q))
    middle = np.arange(0, edge[-1], STEP_NS) + STEP_NS / 2
    column = pieces.column[np.clip(np.searchsorted(knot, middle, side="right") - 1, 0, 59)]
    x = (column[:, None] == np.arange(COLUMNS)).astype(float)
    x[middle > knot[-1]] = 0
    if tau_ns:
        b, a, _ = cont2discrete(([1.0], [tau_ns**2, tau_ns / q, 1.0]), STEP_NS, method="zoh")
        x = lfilter(b[0], a, x, axis=0)
        x = 0.5 * (x + np.r_[x[1:], x[-1:]])  # the grid's filter answers at the end of a step
    total = np.r_[np.zeros((1, COLUMNS)), np.cumsum(x, axis=0)]
    at = np.rint(edge / STEP_NS).astype(int)
    expected = np.diff(total[at], axis=0) / np.diff(at)[:, None]
    np.testing.assert_allclose(shares, expected, atol=2e-3)


def test_a_filter_moves_energy_and_loses_none() -> None:
    _, pieces = _pieces(np.random.default_rng(3))
    edge = np.arange(0, 40e6, 1e6)
    for supply in (SupplyFilter(2e5, 0.7), SupplyFilter(4e5, 0.35), SupplyFilter(1e5, 2.0)):
        total = overlap_shares(edge, pieces, COLUMNS, supply).sum(axis=0) * 1e6
        np.testing.assert_allclose(
            total, overlap_shares(edge, pieces, COLUMNS, SupplyFilter()).sum(axis=0) * 1e6, rtol=1e-9
        )
    assert SupplyFilter(2e5, 0.5).delay_ns == pytest.approx(4e5)


def test_decayed_sums_is_the_recursion_at_any_length() -> None:
    rng = np.random.default_rng(1)
    for n in (1, 2, 17, 100, 1000):
        add, keep = rng.standard_normal((n, 3)), rng.uniform(0, 1, n)
        state, rows = np.zeros(3), []
        for i in range(n):
            state = keep[i] * state + add[i]
            rows.append(state)
        np.testing.assert_allclose(decayed_sums(add, keep), np.array(rows), rtol=1e-12, atol=1e-12)


def test_gram_is_the_product() -> None:
    x = np.random.default_rng(2).standard_normal((777, 23))
    np.testing.assert_allclose(gram(x), x.T @ x, rtol=1e-10, atol=1e-10)
