"""A converter's ripple is taken out of the readings; noise and edges are left as they are."""

from __future__ import annotations

import numpy as np

from analysis.timing.tones import line_of


def test_a_ripple_is_taken_out_and_the_noise_stays() -> None:
    rng = np.random.default_rng(4)
    n = np.arange(1000)
    noise = 0.01 * rng.standard_normal(1000)
    ripple = 0.4 * np.cos(2 * np.pi * 0.2374 * n + 0.3)
    left = noise + ripple - line_of(noise + ripple)
    assert np.std(left) < 1.1 * np.std(noise)


def test_noise_has_no_line() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        assert not line_of(rng.standard_normal(1000)).any()


def test_what_is_slow_is_no_line() -> None:
    """Chips come 20 to 50 times a second: what a course leaves of them must not vanish with the ripple."""
    n = np.arange(1000)
    slow = np.cos(2 * np.pi * 0.01 * n)
    assert np.std(line_of(slow + 0.01 * np.random.default_rng(6).standard_normal(1000))) < 0.01
