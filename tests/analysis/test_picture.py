"""The picture: an envelope that hides no peak, drawn in bounded size, with the figure and its marks on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.picture import BINS, _figure_text, _second_line, envelope, picture_png
from harness.core.curve import EnergyCurve


def test_the_envelope_keeps_a_single_high_reading_and_leaves_gaps_open() -> None:
    power = np.full(200_000, 2.0)
    power[123_456] = 9.0
    covered = np.full(200_000, 200_000.0)
    covered[50_000:60_000] = 0
    edge = np.arange(200_001, dtype=np.int64) * 200_000
    curve = EnergyCurve("c", edge, np.r_[0, np.cumsum(power * covered * 1e-9)], np.r_[0, np.cumsum(covered)])
    _, low, mean, high = envelope(curve, 0, int(edge[-1]))
    assert len(mean) == BINS
    assert np.nanmax(high) == pytest.approx(9.0)
    assert np.nanmin(low) == pytest.approx(2.0)
    assert np.isnan(mean).sum() == pytest.approx(BINS / 20, abs=2)


def test_the_heading_holds_figure_interval_and_flags(SmallWorld: Any, tmp_path: Path) -> None:
    analysis = analyse_run(SmallWorld(starts=1).run(tmp_path))
    text = _figure_text(analysis.primary)
    assert "±" in text
    assert "95 % interval" in text
    assert "single_start" in _second_line(analysis.primary)


@pytest.mark.parametrize("settings", [{"n": 5}, {"probe_pause_s": 0.0}, {"lose": 0.6}, {"n": 0}], ids=str)
def test_every_kind_of_run_can_be_drawn(settings: dict[str, Any], SmallWorld: Any, tmp_path: Path) -> None:
    png = picture_png(analyse_run(SmallWorld(**settings).run(tmp_path)))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) < 500_000
