"""Numbers that an instrument printed, as whole pico-units: a pile of one value is clipping only where scatter shows."""

import numpy as np

from analysis.readings.clipping import clipped_share
from harness.core.clock import HOST
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace

PICO = 1_000_000_000_000


def share(power_w: np.ndarray) -> float:
    info = MeterInfo(
        "made-up", "m", "1", "1", HOST, (ColumnSpec("p_raw", "W"),),
        (ChannelSpec("power", "power_w", ("p_raw",), Reading(ReadingKind.MEAN, 10**8, 10**8)),),
    )  # fmt: skip
    t_ns = np.arange(1, len(power_w) + 1, dtype=np.int64) * 10**8
    raw = np.rint(power_w * PICO).astype(np.int64)
    trace = Trace(
        info, t_ns, {"p_raw": raw}, (CalibrationPiece(0, "p_raw", 0, 1 / PICO, 0.0),), (), np.zeros((0, 2), np.int64)
    )
    return clipped_share(trace, ["power"], [(0, int(t_ns[-1]) + 1)])


def test_a_steady_load_on_a_display_of_five_digits_is_not_clipped() -> None:
    power_w = np.where(np.arange(400) % 12 == 5, 4.998, 4.999)
    power_w[:100] = 2.0
    assert share(power_w) == 0.0


def test_noise_that_is_cut_at_a_range_is() -> None:
    noisy = np.round(np.random.default_rng(1).normal(5.0, 0.01, 600), 4)
    noisy[:100] = 2.0
    assert share(noisy) == 0.0
    assert 0.5 < share(np.minimum(noisy, 4.995)) < 0.9
