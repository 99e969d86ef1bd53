"""derived/ is written whole, says where it came from, and can be checked against the raw data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.derive import check, derive
from analysis.figures import interval, with_u
from harness.core.errors import SpecError


def test_result_and_picture_are_written(SmallWorld: Any, tmp_path: Path) -> None:
    run = SmallWorld(n=40).run(tmp_path).path
    result = derive(run)
    stored = json.loads((run / "derived/result.json").read_text())
    assert stored["energy_per_inference_j"] == result.energy_per_inference_j
    assert stored["run_id"] == run.name == stored["provenance"]["run_id"]
    assert len(stored["provenance"]["manifest_sha256"]) == 64
    assert [m["meter"] for m in stored["meters"]] == ["main"]
    assert (run / "derived/trace.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_invalid_run_is_written_with_nulls(SmallWorld: Any, tmp_path: Path) -> None:
    run = SmallWorld(lose=0.5).run(tmp_path).path
    assert derive(run).reason == "coverage"
    stored = json.loads((run / "derived/result.json").read_text())
    assert stored["energy_per_inference_j"] is None
    assert (run / "derived/trace.png").stat().st_size > 10_000


def test_check_is_bit_for_bit_and_sees_a_changed_digit(SmallWorld: Any, tmp_path: Path) -> None:
    run = SmallWorld(n=40).run(tmp_path).path
    with pytest.raises(SpecError, match=r"result\.json does not exist"):
        check(run)
    derive(run)
    assert check(run).identical
    path = run / "derived/result.json"
    stored = json.loads(path.read_text())
    energy = stored["energy_per_inference_j"]
    for factor, close in ((1 + 1e-11, True), (1 + 1e-6, False)):
        path.write_text(json.dumps({**stored, "energy_per_inference_j": energy * factor}))
        report = check(run)
        assert (report.identical, report.close) == (False, close)
        assert report.differences == ("energy_per_inference_j",)
    path.write_text(json.dumps({**stored, "flags": ["made_up"]}))
    assert not check(run).close


def test_another_process_gets_the_same_bits(SmallWorld: Any, tmp_path: Path) -> None:
    run = SmallWorld(n=40, dither_s=0.003).run(tmp_path).path
    derive(run)
    code = (
        "import sys; from pathlib import Path; from analysis.derive import check; print(check(Path(sys.argv[1])).text)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(run)], cwd=root, capture_output=True, text=True, check=True)
    assert "bit for bit" in done.stdout


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (0.03531, 0.00038, "35.31 ± 0.38 mJ"),
        (1.2, 0.2, "1.20 ± 0.20 J"),
        (4.2e-5, 3.1e-6, "42.0 ± 3.1 µJ"),
        (123.4, 15.0, "123 ± 15 J"),
    ],
)
def test_a_figure_shows_what_is_known(value: float, u: float, text: str) -> None:
    assert with_u(value, u, "J") == text


def test_an_interval_shares_its_prefix() -> None:
    assert interval(0.0342, 0.0364, "J") == "[34.2, 36.4] mJ"
