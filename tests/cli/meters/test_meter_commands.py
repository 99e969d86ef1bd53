"""`joulebench meters ...` on simulated meters: the same commands a user types, their output read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.core.errors import SpecError
from harness.io.capture import read_capture


@pytest.fixture(scope="module", autouse=True)
def own_benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Simulated benches of this module only, ended afterwards."""
    from drivers.simulated.rig.client import live_benches

    folder = tmp_path_factory.mktemp("s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOULEBENCH_SIM", str(folder))
        yield
        for bench in live_benches(folder):
            bench.quit()


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["meters", *words])


def test_list_names_every_driver() -> None:
    from harness import registry

    result = typed("list", "--json")
    rows = json.loads(result.stdout)
    drivers = set(registry.registered(registry.METERS)) | set(registry.registered(registry.ON_BOARD))
    assert {row["driver"] for row in rows} == drivers
    assert all(row["package"].startswith("joulebench") for row in rows)


def test_read_gives_watts_with_a_limit() -> None:
    result = typed("read", "demo", "--sim", "--seconds", "1", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    (channel,) = [row for row in told["channels"] if row["channel"] == "main"]
    assert told["simulated"]
    assert 0.5 < channel["mean_w"] < 20
    assert channel["limit_w"] is None or channel["limit_w"] > 0
    assert channel["readings"] > 3000
    assert channel["covered"] == pytest.approx(1.0, abs=0.05)


def test_watch_prints_lines() -> None:
    result = typed("watch", "demo/monsoon", "--sim", "--seconds", "1.6")
    lines = [line for line in result.stdout.splitlines() if "readings]" in line]
    assert len(lines) >= 2
    assert all(" W " in line for line in lines)


def test_selftest_of_a_well_meter_and_of_none(tmp_path: Path) -> None:
    result = typed("selftest", "this-machine", "--sim", "--seconds", "1", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (0, True), told
    missing = typed("selftest", "ina219", "-o", f"port={tmp_path / 'no-such-port'}", "-o", "shunt_ohm=0.1")
    assert missing.exit_code == 3
    assert "not well" in missing.stdout


def test_characterise_lite_tells_rate_and_step() -> None:
    result = typed("characterise-lite", "demo", "--sim", "--seconds", "2", "--json")
    (channel,) = [row for row in json.loads(result.stdout)["channels"] if row["channel"] == "main"]
    assert channel["rate_hz"] == pytest.approx(5000, rel=0.05)
    assert 0 < channel["step_w"] < 0.02
    assert channel["stated"]["period_s"] == pytest.approx(0.0002)


def test_capture_is_a_fixture(tmp_path: Path) -> None:
    path = tmp_path / "unit.jsonl"
    result = typed("capture", "demo", str(path), "--sim", "--seconds", "1")
    assert result.exit_code == 0, result.output
    capture = read_capture(path)
    assert capture.about["driver"] == "monsoon"
    assert capture.about["simulated"]
    assert len(capture.received()) > 50_000
    again = typed("capture", "demo", str(path), "--sim", "--seconds", "1")
    assert isinstance(again.exception, SpecError)


def test_what_does_not_fit_is_said() -> None:
    for words, why in (
        (["read", "nosuch"], "neither a meter driver nor a bench"),
        (["read", "rapl", "--sim"], "name a bench|is a driver"),
        (["read", "demo/other", "--sim"], "has no meter 'other'"),
        (["read", "demo", "-o", "cal_ms"], "not of the form key=value"),
    ):
        error = typed(*words).exception
        assert isinstance(error, SpecError)
        import re

        assert re.search(why, str(error)), error
