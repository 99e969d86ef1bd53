"""Combination of parts, Student's quantile, and scatter of correlated data."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.energy.scatter import block_mean_u
from analysis.uncertainty.first_order import combine, student_975


def test_combination_by_hand() -> None:
    """JCGM 100, G.4: u = 5, nu = 5^4 / (3^4 / 4) = 30.86."""
    found = combine([3.0, 4.0], [4.0, float("inf")])
    assert found.u_j == pytest.approx(5.0)
    assert found.dof == pytest.approx(625 / (81 / 4))
    assert found.half_j == pytest.approx(2.0398 * 5, rel=1e-3)


@pytest.mark.parametrize(("dof", "quantile"), [(1, 12.706), (2, 4.303), (10, 2.228), (float("inf"), 1.95996)])
def test_student_quantiles_of_the_tables(dof: float, quantile: float) -> None:
    assert student_975(dof) == pytest.approx(quantile, rel=1e-4)


def test_block_scatter_of_white_noise_is_the_textbook_one() -> None:
    rng = np.random.default_rng(5)
    found = np.array([block_mean_u(rng.standard_normal(24))[0] for _ in range(2000)])
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1 / np.sqrt(24), rel=0.15)


def test_block_scatter_honours_autocorrelation() -> None:
    rng = np.random.default_rng(6)
    walk = np.zeros((4000, 40))
    for i in range(1, 40):
        walk[:, i] = 0.7 * walk[:, i - 1] + rng.standard_normal(4000)
    true = walk[:, 8:].mean(axis=1).std()
    found = np.sqrt(np.mean([block_mean_u(row[8:])[0] ** 2 for row in walk]))
    naive = np.sqrt(np.mean(walk[:, 8:].var(axis=1, ddof=1) / 32))
    assert found == pytest.approx(true, rel=0.25)
    assert naive < 0.55 * true


def test_one_value_has_no_scatter_and_says_so() -> None:
    assert block_mean_u([1.0]) == (float("inf"), 0.0)
