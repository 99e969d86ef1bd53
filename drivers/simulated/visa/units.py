"""One instrument out of the many that its sheet allows: errors drawn by a seed, well within the limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivers.simulated.visa.electrical import Electrical, Front


@dataclass(frozen=True)
class Sheet:
    """Limits of a model: relative gain of the power, zero of the current, noise of one millisecond, clock."""

    gain_rel: float
    zero_a: float = 0.0
    noise_rel: float = 1e-3
    clock_ppm: float = 50.0


def drawn(source: Electrical, sheet: Sheet, seed: int) -> Front:
    """A unit within half of its sheet's limits."""
    rng = np.random.default_rng([seed, 488])
    volts, amps, zero, clock = rng.uniform(-0.5, 0.5, 4)
    return Front(
        source,
        volts_gain=float(volts) * sheet.gain_rel / 2,
        amps_gain=float(amps) * sheet.gain_rel / 2,
        amps_zero=float(zero) * sheet.zero_a,
        noise_rel=sheet.noise_rel,
        clock_ppm=float(clock) * sheet.clock_ppm,
        seed=seed,
    )
