"""A CSV whose rows a host stamped as bursts of samples came in: laid out on the device's clock when asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.bursts import Link, receive
from harness.cli.importing import document_of
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.source import read_source
from harness.imports.table import ColumnMap, build

LINK = Link(rate_hz=1000.0, seconds=14.0, ppm=2500.0, burst_s=0.03, tail_s=0.0005, lost=0.01, doubled=0.01)
MARKS = (7.355, 7.695)  # a stretch of high power, s after the device began; the link is late by 0.5 ms at least


def table(path: Path) -> tuple[Path, float]:
    """(CSV of power in mW, stamp of the first row in s)."""
    got = receive(LINK, 66_030)
    rows = [f"{t * 1e-9:.6f},{v}\n" for t, v in zip(got.arrival_ns.tolist(), got.content[:, 0].tolist(), strict=True)]
    path.write_text("t_s,p_mW\n" + "".join(rows), encoding="utf-8")
    return path, float(got.arrival_ns[0]) * 1e-9


def energy_j(path: Path, root: Path, stamps: str) -> tuple[float, dict[str, object]]:
    columns = ColumnMap(time="t_s:s", power="p_mW:mW", kind="mean")
    declared = Declared(alignment_u_s=0.001)
    run = build(read_source(path), columns, list(MARKS), "10", [], declared, stamps=stamps)
    found = document_of(write_run(root, run), new=True)
    return float(found["windows"][0]["energy_j"]), found["result"]["details"].get("retimed", {})


def test_rows_in_bursts_are_laid_out_and_raw_stamps_are_worse(tmp_path: Path) -> None:
    path, _ = table(tmp_path / "log.csv")
    true = 1.6 * (MARKS[1] - MARKS[0])
    healed, told = energy_j(path, tmp_path / "a", "bursts")
    assert healed == pytest.approx(true, rel=0.02)
    assert float(str(told["residual_s"])) < 0.001 and int(str(told["lost_samples"])) > 0
    assert int(str(told["doubled_samples"])) > 0
    raw, nothing = energy_j(path, tmp_path / "b", "own")
    assert not nothing and abs(raw - true) > 2 * abs(healed - true)


def test_other_words_are_refused(tmp_path: Path) -> None:
    path, _ = table(tmp_path / "log.csv")
    with pytest.raises(SpecError, match="--stamps 'usb' is unknown"):
        energy_j(path, tmp_path, "usb")
    assert np.isfinite(path.stat().st_size)
