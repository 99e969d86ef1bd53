"""One campaign over SSH, two meters at once: the processor's counters, read by the board, and a meter outside of it.

pytest tests/e2e/ssh/test_two_meters.py -s     prints the cross-check, what nobody could notice, and the observer's cost
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ssh.lab import Lab, laboratory, need_sshd, write_yaml

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(600)]

PROTOCOL = {"measure_s": 1.5, "starts": 3, "standby_s": 2.0}
SCATTER = ("below_standby", "standby_moved")  # what a busy machine may make of few short starts
# the simulated board's package draws three quarters of what enters the board; the rest is memory, supply and the like
BETWEEN = {"upstream": "monsoon", "downstream": "cpu", "efficiency": [0.70, 0.80], "constant_w": [0, 0.3]}
WRONG = {**BETWEEN, "efficiency": [0.94, 1.0]}  # as a shunt that is off by a quarter would look


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need_sshd(networks=True)
    with laboratory(tmp_path) as lab:
        yield lab


def bench(lab: Lab, name: str, between: dict[str, Any]) -> None:
    """The board `pi` with both meters."""
    monsoon = {"name": "monsoon", "meter": "monsoon-hvpm", "plane": "dc_input", "rails": {"main": "main"}}
    rapl = {"name": "cpu", "meter": "rapl", "plane": "package", "rails": {"package-0": "package-0"}}
    meters = [{**monsoon, "total": ["main"]}, {**rapl, "total": ["package-0"]}]
    content = {"board": "pi", "meters": meters, "plane_models": [between]}
    write_yaml(lab.configs / "benches" / f"{name}.yaml", content)


def measured(lab: Lab, name: str, between: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The run's JSON and what `show` prints of it."""
    bench(lab, name, between)
    campaign = lab.campaign(f"campaign-{name}", name, protocol=PROTOCOL)
    outcome = lab.measure(campaign)
    assert outcome.status == 0, outcome.stderr
    outcome.assert_honest()
    root = lab.root_of(campaign)
    run_id = next(iter({row["run_id"] for row in outcome.rows}))
    shown = json.loads(lab.call("show", run_id, "--root", root, "--json").stdout)
    text = lab.call("show", run_id, "--root", root).stdout
    print(text)
    report = lab.call("report", run_id, "--root", root)
    assert report.returncode == 0, report.stderr
    page = Path(report.stdout.splitlines()[0]).read_text("utf-8")
    assert "What holds the scale" in page and "Observer cpu" in page
    return shown, text


def test_an_on_board_and_an_external_meter_at_once(lab: Lab) -> None:
    lab.board("pi", network=True)
    shown, text = measured(lab, "right", BETWEEN)
    assert [m["meter"] for m in shown["meters"]] == ["monsoon", "cpu"]
    (pair,) = shown["crosschecks"]
    if all(m["status"] == "valid" for m in shown["meters"]):
        assert pair["outcome"] == "agree", pair
        assert "meters_disagree" not in shown["flags"]
    else:
        assert pair["outcome"] == "not_comparable"
        assert any(m["reason"] in SCATTER for m in shown["meters"]), shown["meters"]
    (observer,) = shown["observers"]
    assert observer["meter"] == "cpu"
    assert 0 < observer["cpu_share"] < 0.05
    assert observer["power_w"] is None
    assert "observer cpu" in text and "boards cost right" in text
    assert "unobservable" in text

    shown, text = measured(lab, "wrong", WRONG)
    (pair,) = shown["crosschecks"]
    if all(m["status"] == "valid" for m in shown["meters"]):
        assert pair["outcome"] == "disagree", pair
        assert all("meters_disagree" in m["flags"] for m in shown["meters"])
        assert "sigma beyond it" in text

    cost = lab.call("boards", "cost", "right", "--sim", "--turns", "3", "--seconds", "0.5", "--configs", lab.configs)
    assert cost.returncode == 0, cost.stderr
    print(cost.stdout)
    assert "power at rest (monsoon)" in cost.stdout
    assert "observer: {power_w:" in cost.stdout or "less cannot be" in cost.stdout
